"""Checks the golden vectors in the file given with jwcrypto: header, key, signature, payload.

Ends with 0 if all hold, with 1 if a signature is wrong, with anything else on other trouble.
"""

import base64
import hashlib
import json
import sys

from jwcrypto import jwk, jws

Z32 = "ybndrfg8ejkmcpqxot1uwisza345h769"


def key_bytes(z32):
    number = 0
    for letter in z32:
        number = number << 5 | Z32.index(letter)
    # 52 letters carry 260 bits: 256 of the key and four of padding.
    return (number >> 4).to_bytes(32, "big")


def check(vector):
    token = jws.JWS()
    token.deserialize(vector["jws"])
    header = token.jose_header
    assert header == {"alg": "EdDSA", "typ": vector["typ"], "kid": vector["public_key_z32"]}, header
    raw = key_bytes(header["kid"])
    assert raw.hex() == vector["public_key_hex"], raw.hex()
    x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    key = jwk.JWK(kty="OKP", crv="Ed25519", x=x)
    token.verify(key, alg="EdDSA")
    payload = json.loads(token.payload)
    assert payload == vector["payload"], (payload, vector["payload"])
    digest = hashlib.sha256(vector["jws"].encode()).digest()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == vector["hash"], digest


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        vectors = json.load(file)
    if not vectors:
        sys.exit("no vectors")
    for vector in vectors:
        try:
            check(vector)
        except jws.InvalidJWSSignature:
            print(f"wrong signature: {vector['typ']}")
            sys.exit(1)
    types = sorted({vector["typ"] for vector in vectors})
    print(f"{len(vectors)} vectors of {len(types)} types verified: {', '.join(types)}")


if __name__ == "__main__":
    # Any other failure must not look like a refused signature.
    try:
        main()
    except (AssertionError, KeyError, ValueError, OSError) as error:
        print(f"{type(error).__name__}: {error}")
        sys.exit(2)

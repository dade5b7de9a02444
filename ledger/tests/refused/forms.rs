//! What is wrong around the fields: headers, parts, base64, sizes, signatures.

use atomicity_ledger::{Keypair, MAX_RECORD_BYTES};
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

use super::support::{BAKER_BOOK, raw_jws};
use super::{Case, STATE, case, header, sound};

/// Headers that are none of ours, each under a sound signature.
pub fn bad_headers() -> Vec<Case> {
    let (json, secret) = sound(STATE);
    let good = header(STATE, &secret);
    let with = |description: &str, from: &str, to: &str, code| {
        assert!(good.contains(from));
        case(
            description,
            raw_jws(&good.replacen(from, to, 1), &json, &secret),
            code,
        )
    };
    let mut one = [0u8; 32];
    one[0] = 1;
    let kid = Keypair::from_secret(&secret).signer_key().to_string();
    let other = Keypair::from_secret(&BAKER_BOOK).signer_key().to_string();
    vec![
        with("alg none", "EdDSA", "none", "header_invalid"),
        with("alg in lower case", "EdDSA", "eddsa", "header_invalid"),
        with("alg HS256", "EdDSA", "HS256", "header_invalid"),
        with(
            "a type that nobody knows",
            STATE,
            "atomicity-stone",
            "unknown_type",
        ),
        with(
            "the type of another record",
            STATE,
            "atomicity-payment",
            "payload_invalid",
        ),
        with(
            "no type",
            r#","typ":"atomicity-state""#,
            "",
            "header_invalid",
        ),
        with(
            "an unknown header member",
            "\"}",
            "\",\"crit\":[]}",
            "header_invalid",
        ),
        with(
            "a header member twice",
            "\"alg\"",
            "\"alg\":\"EdDSA\",\"alg\"",
            "header_invalid",
        ),
        with(
            "a key in the header",
            "\"}",
            "\",\"jwk\":{}}",
            "header_invalid",
        ),
        with(
            "a kid of small order",
            &kid,
            &z32::encode(&one),
            "header_invalid",
        ),
        with(
            "a kid in upper case",
            &kid,
            &kid.to_uppercase(),
            "header_invalid",
        ),
        with("the kid of another key", &kid, &other, "signature_invalid"),
        with(
            "no kid",
            &format!(",\"kid\":\"{kid}\""),
            "",
            "header_invalid",
        ),
        case(
            "a header that is a list",
            raw_jws("[]", &json, &secret),
            "header_invalid",
        ),
        case(
            "an empty header",
            raw_jws("", &json, &secret),
            "header_invalid",
        ),
    ]
}

/// What is wrong around header and payload: parts, base64, size, nesting, signature.
pub fn bad_forms() -> Vec<Case> {
    let (json, secret) = sound(STATE);
    let good = raw_jws(&header(STATE, &secret), &json, &secret);
    let parts: Vec<&str> = good.split('.').collect();
    let [head, body, signature] = parts[..] else {
        panic!("three parts")
    };
    let padded = |part: &str| {
        let text = URL_SAFE.encode(URL_SAFE_NO_PAD.decode(part).unwrap());
        assert!(text.ends_with('='));
        text
    };
    let deep = |depth: usize| format!("{{\"v\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    let sign = |payload: &str| raw_jws(&header(STATE, &secret), payload, &secret);
    vec![
        case("nothing", "", "jws_malformed"),
        case("one part", head, "jws_malformed"),
        case("two parts", format!("{head}.{body}"), "jws_malformed"),
        case("a trailing dot", format!("{good}."), "jws_malformed"),
        case(
            "a fourth part",
            format!("{good}.{signature}"),
            "jws_malformed",
        ),
        case(
            "an empty signature",
            format!("{head}.{body}."),
            "jws_malformed",
        ),
        case(
            "a line feed at the end",
            format!("{good}\n"),
            "jws_malformed",
        ),
        case("a space in front", format!(" {good}"), "jws_malformed"),
        case(
            "padding after the signature",
            format!("{head}.{body}.{}", padded(signature)),
            "jws_malformed",
        ),
        case(
            "stray bits after the signature",
            format!("{head}.{body}.{}", stray_bits(signature)),
            "jws_malformed",
        ),
        case(
            "standard base64",
            format!(
                "{head}.{body}.{}",
                signature.replace('-', "+").replace('_', "/")
            ),
            "jws_malformed",
        ),
        case(
            "a signature of 63 bytes",
            format!("{head}.{body}.{}", &signature[..84]),
            "jws_malformed",
        ),
        case(
            "a signature of 65 bytes",
            format!("{head}.{body}.{}AAA", &signature[..84]),
            "jws_malformed",
        ),
        case(
            "a signature with the order of the group added to S",
            format!("{head}.{body}.{}", malleated(signature)),
            "signature_invalid",
        ),
        case(
            "a signature of zeros",
            format!("{head}.{body}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
            "signature_invalid",
        ),
        case(
            "the signature of another record",
            format!("{head}.{body}.{}", sign("{}").rsplit_once('.').unwrap().1),
            "signature_invalid",
        ),
        case(
            "a payload that is no JSON",
            sign("balance"),
            "payload_invalid",
        ),
        case("an empty payload", sign(""), "payload_invalid"),
        case("a payload that is a list", sign("[]"), "payload_invalid"),
        case(
            "a payload with something behind it",
            sign(&format!("{json}{{}}")),
            "payload_invalid",
        ),
        case(
            "a payload that is not UTF-8",
            not_utf8(&json, &secret),
            "payload_invalid",
        ),
        case("lists 100 deep", sign(&deep(100)), "payload_invalid"),
        case("lists 20000 deep", sign(&deep(20_000)), "payload_invalid"),
        case(
            "a record above 64 KiB",
            sign(&json.replacen(
                "\"v\"",
                &format!("\"{}\":1,\"v\"", "x".repeat(MAX_RECORD_BYTES)),
                1,
            )),
            "record_too_large",
        ),
    ]
}

/// The last character of a 64-byte signature carries four bits that must be zero.
fn stray_bits(signature: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = signature.bytes().last().unwrap();
    let place = ALPHABET.iter().position(|c| *c == last).unwrap();
    let stray = char::from(ALPHABET[place | 1]);
    assert_ne!(stray, char::from(last));
    format!("{}{stray}", &signature[..signature.len() - 1])
}

/// The same signature with S + L instead of S: accepted by verifiers that do not check the range (RFC 8032 §5.1.7).
fn malleated(signature: &str) -> String {
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut carry = 0u16;
    for (byte, order) in bytes[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn not_utf8(json: &str, secret: &[u8; 32]) -> String {
    use ed25519_dalek::Signer as _;
    let mut payload = json.as_bytes().to_vec();
    let place = json.find("BREAD").unwrap();
    payload[place] = 0xff;
    let input = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header(STATE, secret)),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let signature = ed25519_dalek::SigningKey::from_bytes(secret).sign(input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

/// A key of small order and a signature that plain verifiers accept under it for every message.
pub fn weak_key_signs_anything() -> Case {
    let (json, _) = sound(STATE);
    let mut one = [0u8; 32];
    one[0] = 1;
    let header = format!(
        r#"{{"alg":"EdDSA","typ":"{STATE}","kid":"{}"}}"#,
        z32::encode(&one)
    );
    let mut signature = [0u8; 64];
    signature[0] = 1;
    let jws = format!(
        "{}.{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(json),
        URL_SAFE_NO_PAD.encode(signature)
    );
    case(
        "a signature that holds for every message, by a key of small order",
        jws,
        "header_invalid",
    )
}

//! What the fuzz targets share: fixed keys, and signing of any payload.
//!
//! A signature check would stop nearly every mutated record at the door. So the targets sign what the fuzzer makes up, and what
//! lies behind the door is reached too.

use atomicity_ledger::Keypair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};

/// Every type of record, and the foreign one that is read too. An input names a type by its place.
pub const TYPES: [&str; 32] = [
    "atomicity-ack",
    "atomicity-book",
    "atomicity-contacts",
    "atomicity-credit-line",
    "atomicity-delegation",
    "atomicity-diary",
    "atomicity-manifest",
    "atomicity-payment",
    "atomicity-profile",
    "atomicity-refusal",
    "atomicity-revocation",
    "atomicity-snapshot",
    "atomicity-state",
    "pubky-grant",
    "atomicity-conditional-iou",
    "atomicity-publication",
    "atomicity-release",
    "atomicity-view",
    "atomicity-invoice",
    "atomicity-advert",
    "atomicity-rating",
    "atomicity-reply",
    "atomicity-rates",
    "atomicity-endpoints",
    "atomicity-settlement",
    "atomicity-settlement-answer",
    "atomicity-settlement-withdrawal",
    "atomicity-request",
    "atomicity-request-state",
    "atomicity-part",
    "atomicity-part-answer",
    "atomicity-spend",
    "atomicity-pass",
];

/// The secrets of the golden vectors: two users, root and book key each. An input names a key by its place.
pub const SECRETS: [[u8; 32]; 4] = [[0x11; 32], [0x12; 32], [0x21; 32], [0x22; 32]];

/// The keys of [`SECRETS`].
pub fn key(place: u8) -> Keypair {
    Keypair::from_secret(&SECRETS[usize::from(place) % SECRETS.len()])
}

/// Signs `payload`, whatever it is, as a record of the type at `typ` with the key at `signer`.
pub fn sign(typ: u8, signer: u8, payload: &[u8]) -> String {
    let typ = TYPES[usize::from(typ) % TYPES.len()];
    let header = if typ == "pubky-grant" {
        format!(r#"{{"alg":"EdDSA","typ":"{typ}"}}"#)
    } else {
        let kid = key(signer).signer_key();
        format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{kid}"}}"#)
    };
    let input = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let secret = SECRETS[usize::from(signer) % SECRETS.len()];
    let signature = SigningKey::from_bytes(&secret).sign(input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

/// Reads an input of several records: each a line of type, signer and payload.
pub fn records(input: &[u8]) -> Vec<String> {
    input
        .split(|byte| *byte == b'\n')
        .take(64)
        .filter_map(|line| match line {
            [typ, signer, payload @ ..] => Some(sign(*typ, *signer, payload)),
            _ => None,
        })
        .collect()
}

/// The seed that [`sign`] turns into this record again, if it is of a known type by a known key.
pub fn unsign(jws: &str) -> Option<Vec<u8>> {
    let mut parts = jws.split('.');
    let header = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
    let payload = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
    let header: serde_json::Value = serde_json::from_slice(&header).ok()?;
    let typ = TYPES.iter().position(|typ| header["typ"] == **typ)?;
    let signer = (0..4u8).find(|n| header["kid"] == key(*n).signer_key().to_string())?;
    Some(seed(typ, signer, &payload))
}

/// The input that [`sign`] takes apart. Places are counted round, so that neither is a line feed.
pub fn seed(typ: usize, signer: u8, payload: &[u8]) -> Vec<u8> {
    let typ = u8::try_from(typ % TYPES.len() + TYPES.len()).unwrap_or(0);
    [&[typ, signer % 4 + 12], payload].concat()
}

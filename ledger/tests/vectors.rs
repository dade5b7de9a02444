//! Golden vectors: what a record of each type looks like, byte for byte, for this and any other implementation.
//!
//! `UPDATE_VECTORS=1 cargo test -p atomicity-ledger --test vectors` writes them anew after a wanted change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;

use atomicity_ledger::record::AnyRecord;
use atomicity_ledger::seal::{
    Agreement, EncryptionSecret, KeyId, Parcel, PrivateKey, channel_path, open_channel_file,
    open_known, open_private, open_stranger, seal_channel_file, seal_known, seal_private,
    seal_stranger,
};
use atomicity_ledger::{Keypair, RecordHash};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use support::{BAKER, MILKMAN, samples, testdata};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares with the stored vectors, or stores them if that was asked for.
fn golden(name: &str, value: &Value) {
    let path = testdata(name);
    let mut text = serde_json::to_string_pretty(value).unwrap();
    text.push('\n');
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap();
    assert!(stored == text, "{name} differs from what is written now");
}

fn payload(jws: &str) -> Value {
    let part = jws.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The vectors of records as they are written now, compared with the stored ones.
fn stored_records() -> Vec<Value> {
    let vectors: Vec<Value> = samples()
        .iter()
        .map(|sample| {
            json!({
                "typ": sample.typ,
                "description": sample.description,
                "secret_key_hex": hex(&sample.secret),
                "public_key_z32": sample.key().signer_key().to_string(),
                "public_key_hex": hex(sample.key().signer_key().as_bytes()),
                "payload": payload(&sample.jws),
                "jws": sample.jws,
                "hash": RecordHash::of(&sample.jws).to_string(),
            })
        })
        .collect();
    let vectors = Value::Array(vectors);
    golden("records.json", &vectors);
    let text = std::fs::read_to_string(testdata("records.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn records_are_written_as_they_always_were_and_of_every_type_there_is_one() {
    let vectors = stored_records();
    let mut types = BTreeSet::new();
    for vector in &vectors {
        let field = |name: &str| vector[name].as_str().unwrap();
        let record = AnyRecord::decode(field("jws")).unwrap();
        assert_eq!(record.typ(), field("typ"));
        assert_eq!(record.kid().to_string(), field("public_key_z32"));
        assert_eq!(hex(record.kid().as_bytes()), field("public_key_hex"));
        assert_eq!(record.hash().to_string(), field("hash"));
        assert_eq!(payload(record.jws()), vector["payload"]);
        assert_eq!(vector["payload"]["v"], 1);
        types.insert(record.typ());
    }
    let all: Vec<&str> = AnyRecord::TYPES.to_vec();
    assert_eq!(types, all.into_iter().collect::<BTreeSet<_>>());
}

#[test]
fn seals_are_written_as_they_always_were() {
    let (milkman, baker) = (Keypair::from_secret(&MILKMAN), Keypair::from_secret(&BAKER));
    let own = EncryptionSecret::new(KeyId::new(2), [0x31; 32]);
    let other = EncryptionSecret::new(KeyId::new(1), [0x41; 32]);
    let outgoing = Agreement::outgoing(
        &milkman.user_key(),
        &own,
        &baker.user_key(),
        &other.public(),
        other.id(),
    )
    .unwrap();
    let incoming = Agreement::incoming(
        &baker.user_key(),
        &other,
        &milkman.user_key(),
        &own.public(),
        own.id(),
    )
    .unwrap();
    let nonce: [u8; 24] = std::array::from_fn(|i| i as u8);
    let entropy: [u8; 32] = std::array::from_fn(|i| 0x80 + i as u8);
    let file = seal_channel_file(&outgoing, nonce, b"channel").unwrap();
    assert_eq!(open_channel_file(&incoming, &file).unwrap(), b"channel");
    let parcel = Parcel::new(
        milkman.user_key(),
        vec!["header.payload.signature".to_owned()],
    );
    let parcel = parcel.unwrap();
    let known = seal_known(&outgoing, nonce, &parcel).unwrap();
    assert_eq!(open_known(&incoming, &known).unwrap(), parcel);
    let to = baker.user_key();
    let strange = seal_stranger(&to, &other.public(), other.id(), entropy, &parcel).unwrap();
    assert_eq!(
        open_stranger(&to, std::slice::from_ref(&other), &strange).unwrap(),
        parcel
    );
    let private = PrivateKey::of_root(&baker).unwrap();
    let path = "/priv/atomicity/v0/contacts/0";
    let kept = seal_private(&private, path, nonce, b"private").unwrap();
    assert_eq!(
        open_private(&private, path, &kept).unwrap().as_slice(),
        b"private"
    );
    golden(
        "seals.json",
        &json!({
            "agreement": {
                "description": "what the milkman writes to the baker",
                "from": milkman.user_key().to_string(),
                "to": baker.user_key().to_string(),
                "from_key_id": own.id().get(),
                "to_key_id": other.id().get(),
                "from_secret_hex": hex(own.to_bytes().as_slice()),
                "to_secret_hex": hex(other.to_bytes().as_slice()),
                "from_public_z32": own.public().to_string(),
                "to_public_z32": other.public().to_string(),
                "blind": outgoing.blind().to_string(),
                "tag": outgoing.tag().to_string(),
            },
            "channel_file": {
                "path": channel_path(outgoing.blind()),
                "nonce_hex": hex(&nonce),
                "content_utf8": "channel",
                "sealed_base64url": URL_SAFE_NO_PAD.encode(&file),
            },
            "envelope_known": {
                "nonce_hex": hex(&nonce),
                "parcel": parcel,
                "envelope": known,
            },
            "envelope_stranger": {
                "description": "the ephemeral key comes from entropy in a way that is this implementation's own: open it only",
                "entropy_hex": hex(&entropy),
                "parcel": parcel,
                "envelope": strange,
            },
            "private_file": {
                "root_secret_hex": hex(&BAKER),
                "path": path,
                "nonce_hex": hex(&nonce),
                "content_utf8": "private",
                "sealed_base64url": URL_SAFE_NO_PAD.encode(&kept),
            },
        }),
    );
}

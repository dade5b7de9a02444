//! Whatever a log, a cosigner or a watchtower sends: it is read or refused without a panic, and what was read is written as it was.
#![no_main]

use atomicity_witness_log::tile::{decode_bundle, decode_tile, encode_bundle, encode_tile};
use atomicity_witness_log::{
    AddCheckpoint, Checkpoint, ExpiryProof, Follower, ForkProof, Leaf, LogTerms, Policy,
    PublicationProof, SignedCheckpoint, SignedNote, TilePath, TlogProof, Tombstone,
};
use libfuzzer_sys::fuzz_target;

/// The policy of the vectors: most proofs fail by it, some of the seeds hold.
const POLICY: &[u8] = include_bytes!("../../witness-log/testdata/vectors/policy");

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    match kind % 11 {
        0 => same(rest, Leaf::decode(rest).ok().map(|leaf| leaf.encode())),
        1 => same(
            rest,
            SignedNote::parse(rest)
                .ok()
                .map(|note| note.to_string().into_bytes()),
        ),
        2 => {
            let read = SignedCheckpoint::parse(rest).ok();
            same(
                rest,
                read.map(|signed| signed.note().to_string().into_bytes()),
            );
        }
        3 => texts(rest),
        4 => policy(rest),
        5 => same(
            rest,
            TlogProof::parse(rest)
                .ok()
                .map(|proof| proof.to_string().into_bytes()),
        ),
        6 => publication(rest),
        7 => expiry(rest),
        8 => fork(rest),
        9 => {
            same(
                rest,
                AddCheckpoint::parse(rest)
                    .ok()
                    .map(|request| request.to_string().into_bytes()),
            );
            let _ = atomicity_witness_log::add_checkpoint::parse_response(rest);
            same(
                rest,
                Follower::decode(rest)
                    .ok()
                    .map(|follower| follower.encode()),
            );
        }
        _ => tiles(rest),
    }
});

/// What was read is written as it was.
fn same(given: &[u8], written: Option<Vec<u8>>) {
    if let Some(written) = written {
        assert_eq!(
            given, written,
            "it was read as something that is written otherwise"
        );
    }
}

fn texts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    same(
        bytes,
        Checkpoint::parse(text)
            .ok()
            .map(|c| c.to_string().into_bytes()),
    );
    same(
        bytes,
        Tombstone::parse(text)
            .ok()
            .map(|t| t.to_string().into_bytes()),
    );
    same(
        bytes,
        text.parse::<TilePath>()
            .ok()
            .map(|path| path.to_string().into_bytes()),
    );
}

fn policy(bytes: &[u8]) {
    if let Ok(policy) = Policy::parse(bytes) {
        assert_eq!(policy.as_bytes(), bytes);
    }
}

/// Calls `check` with terms by the policy of the vectors.
fn with_terms(check: impl FnOnce(&LogTerms<'_>)) {
    let Ok(policy) = Policy::parse(POLICY) else {
        return;
    };
    let Some(log) = policy.logs().first() else {
        return;
    };
    check(&LogTerms {
        policy: &policy,
        origin: log.key.name(),
        hash: &[7; 32],
        from_size: 1,
        deadline_ms: 1_800_000_000_000,
    });
}

fn publication(bytes: &[u8]) {
    if let Ok(proof) = PublicationProof::parse(bytes) {
        same(bytes, Some(proof.to_string().into_bytes()));
        with_terms(|terms| {
            let _ = proof.verify(terms);
        });
    }
}

fn expiry(bytes: &[u8]) {
    if let Ok(proof) = ExpiryProof::decode(bytes) {
        same(bytes, Some(proof.encode()));
        with_terms(|terms| {
            let _ = proof.verify(terms);
        });
    }
}

fn fork(bytes: &[u8]) {
    if let Ok(proof) = ForkProof::decode(bytes) {
        same(bytes, Some(proof.encode()));
        let _ = proof.verify();
    }
}

/// A path, a line feed, and what lies there.
fn tiles(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
        return;
    };
    let (path, content) = (&bytes[..end], &bytes[end + 1..]);
    let path = std::str::from_utf8(path)
        .ok()
        .and_then(|p| p.parse::<TilePath>().ok());
    let Some(path) = path else { return };
    same(
        content,
        decode_tile(&path, content)
            .ok()
            .map(|hashes| encode_tile(&hashes)),
    );
    let written = decode_bundle(&path, content)
        .ok()
        .and_then(|b| encode_bundle(&b).ok());
    same(content, written);
}

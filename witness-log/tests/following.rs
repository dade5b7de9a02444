//! A cosigner that follows a log: what it cosigns, what it refuses, whom it convicts, and how it buries.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use atomicity_witness_log::follower::MAX_SKEW_MS;
use atomicity_witness_log::fork::Misdeed;
use atomicity_witness_log::tombstone::DEAD_AFTER_MS;
use atomicity_witness_log::*;
use common::*;
use proptest::prelude::*;

/// A running log and a cosigner that follows it.
struct Pair {
    log: LogState,
    store: Store,
    follower: Follower,
    now_ms: u64,
}

impl Pair {
    fn new() -> Self {
        let follower = Follower::new(log_key().verifier());
        Self {
            log: LogState::new(ORIGIN),
            store: Store::default(),
            follower,
            now_ms: NOW,
        }
    }

    fn step(&mut self, preimages: &[u64]) -> SignedNote {
        self.now_ms += 1000;
        let preimages: Vec<_> = preimages.iter().copied().map(preimage).collect();
        let batch = self.log.append(&preimages, self.now_ms).unwrap();
        self.store.write(&batch);
        batch.checkpoint.sign(&log_key()).unwrap()
    }

    fn follow(&mut self, note: &SignedNote) -> Result<(), LogError> {
        let entries = self.store.entries(self.follower.size(), self.log.size());
        self.follower.advance(note, &entries, Some(self.now_ms))
    }
}

#[test]
fn a_cosigner_follows_and_cosigns() {
    let mut pair = Pair::new();
    let key = cosigner_key(0);
    assert!(pair.follower.cosign(&key, 5).is_err());
    for n in 0..300 {
        let note = pair.step(&[n, n + 1000]);
        if n % 3 == 0 {
            pair.follow(&note).unwrap();
            let line = pair.follower.cosign(&key, pair.now_ms / 1000).unwrap();
            let mut signed = SignedCheckpoint::new(note.clone()).unwrap();
            signed.add(&[line]).unwrap();
            assert_eq!(
                signed.verify_cosigner(&key.verifier()),
                Ok(pair.now_ms / 1000)
            );
            assert_eq!(
                (pair.follower.size(), pair.follower.root()),
                (pair.log.size(), pair.log.root())
            );
            assert_eq!(pair.follower.last_time_ms(), Some(pair.now_ms));
            let stored = pair.follower.encode();
            assert_eq!(Follower::decode(&stored).unwrap(), pair.follower);
            // The same head again changes nothing.
            let before = pair.follower.clone();
            pair.follower
                .advance::<&[u8]>(&note, &[], Some(pair.now_ms))
                .unwrap();
            assert_eq!(pair.follower, before);
        }
    }
}

#[test]
fn a_follower_refuses_what_is_wrong_and_stays_as_it_was() {
    let mut pair = Pair::new();
    let old = pair.step(&[1]);
    pair.follow(&old).unwrap();
    let before = pair.follower.clone();
    let note = pair.step(&[2, 3]);
    let entries = pair.store.entries(2, 5);
    let now = Some(pair.now_ms);
    let try_with = |note: &SignedNote, entries: &[Vec<u8>], now: Option<u64>| {
        let mut follower = before.clone();
        let result = follower.advance(note, entries, now);
        assert_eq!(follower == before, result.is_err());
        result
    };
    assert_eq!(try_with(&note, &entries, now), Ok(()));
    assert_eq!(
        try_with(&note, &entries[..2], now),
        Err(LogError::EntriesMissing { wanted: 3, got: 2 })
    );
    let mut swapped = entries.clone();
    swapped.swap(0, 1);
    assert_eq!(try_with(&note, &swapped, now), Err(LogError::RootMismatch));
    let tick_ms = pair.now_ms;
    for now_ms in [tick_ms + MAX_SKEW_MS + 1, tick_ms - MAX_SKEW_MS - 1] {
        assert_eq!(
            try_with(&note, &entries, Some(now_ms)),
            Err(LogError::TickSkewed { tick_ms, now_ms })
        );
    }
    for now_ms in [tick_ms + MAX_SKEW_MS, tick_ms - MAX_SKEW_MS] {
        assert_eq!(try_with(&note, &entries, Some(now_ms)), Ok(()));
    }
    assert_eq!(try_with(&note, &entries, None), Ok(()));
    let stranger = SigningKey::from_secret(ORIGIN, KeyKind::Ed25519, [9; 32]).unwrap();
    let forged = Checkpoint::parse(note.text())
        .unwrap()
        .sign(&stranger)
        .unwrap();
    assert!(matches!(
        try_with(&forged, &entries, now),
        Err(LogError::NotSigned(_))
    ));
    // Backwards.
    let mut ahead = before.clone();
    ahead.advance(&note, &entries, now).unwrap();
    assert_eq!(
        ahead.advance::<Vec<u8>>(&old, &[], now),
        Err(LogError::Shrunk { known: 5, got: 2 })
    );
}

/// What a follower that has seen the first two entries says to a log that goes on with these.
fn lie(entries: &[Vec<u8>]) -> LogError {
    let mut pair = Pair::new();
    let note = pair.step(&[1]);
    pair.follow(&note).unwrap();
    let mut all = pair.store.entries(0, 2);
    all.extend_from_slice(entries);
    let tree = MemoryTree::from_entries(&all);
    let note = Checkpoint::new(ORIGIN, tree.size(), tree.root())
        .sign(&log_key())
        .unwrap();
    let before = pair.follower.clone();
    let refusal = pair
        .follower
        .advance(&note, entries, Some(pair.now_ms))
        .unwrap_err();
    assert_eq!(pair.follower, before);
    refusal
}

fn convicted(refusal: LogError) -> Misdeed {
    let LogError::Forked(proof) = refusal else {
        panic!("no proof: {refusal:?}")
    };
    let culprit = proof.verify().unwrap();
    assert_eq!(culprit.key, log_key().verifier());
    culprit.what
}

#[test]
fn a_log_that_lies_is_convicted_by_its_follower() {
    let tick = |time_ms| Leaf::Tick { time_ms }.encode();
    let leaf = |time_ms| {
        Leaf::Preimage {
            time_ms,
            preimage: preimage(9),
        }
        .encode()
    };
    let time = NOW + 1000;
    assert_eq!(convicted(lie(&[tick(time - 1)])), Misdeed::FallingTimes);
    assert_eq!(
        convicted(lie(&[leaf(time + 5), tick(time + 4)])),
        Misdeed::FallingTimes
    );
    assert_eq!(
        convicted(lie(&[leaf(time), b"odd".to_vec(), tick(time)])),
        Misdeed::MalformedLeaf
    );
    assert_eq!(lie(&[tick(time), leaf(time)]), LogError::NoTick);
    // Another tree of the known size.
    let mut pair = Pair::new();
    let note = pair.step(&[1]);
    pair.follow(&note).unwrap();
    let other = Checkpoint::new(ORIGIN, 2, Hash::from_bytes([3; 32]))
        .sign(&log_key())
        .unwrap();
    let refusal = pair
        .follower
        .advance::<Vec<u8>>(&other, &[], None)
        .unwrap_err();
    assert_eq!(convicted(refusal), Misdeed::SameSize);
    // A restored backup: the same beginning, another continuation.
    assert_eq!(pair.follower.size(), 2);
}

#[test]
fn falling_times_are_proven_over_any_boundary() {
    for batches in 1..40u64 {
        let mut pair = Pair::new();
        for n in 0..batches {
            let note = pair.step(&vec![n; (n % 4) as usize]);
            pair.follow(&note).unwrap();
        }
        let mut all = pair.store.entries(0, pair.log.size());
        let late = Leaf::Tick {
            time_ms: pair.now_ms - 1,
        }
        .encode();
        all.push(late.clone());
        let tree = MemoryTree::from_entries(&all);
        let note = Checkpoint::new(ORIGIN, tree.size(), tree.root())
            .sign(&log_key())
            .unwrap();
        let mut follower = Follower::decode(&pair.follower.encode()).unwrap();
        let refusal = follower.advance(&note, &[late], None).unwrap_err();
        assert_eq!(convicted(refusal), Misdeed::FallingTimes);
    }
}

#[test]
fn a_dead_log_is_buried_for_good() {
    let mut pair = Pair::new();
    let key = cosigner_key(0);
    let note = pair.step(&[1]);
    pair.follow(&note).unwrap();
    let died = pair.now_ms;
    assert_eq!(
        pair.follower.bury(&key, died + DEAD_AFTER_MS),
        Err(LogError::NotDead)
    );
    let tombstone = pair.follower.bury(&key, died + DEAD_AFTER_MS + 1).unwrap();
    let said = Tombstone::verify(&tombstone, &key.verifier()).unwrap();
    assert_eq!(
        (said.origin.as_str(), said.size, said.root),
        (ORIGIN, 2, pair.log.root())
    );
    // It holds after a restart, and when the log comes back.
    let mut restored = Follower::decode(&pair.follower.encode()).unwrap();
    assert_eq!(restored, pair.follower);
    let note = pair.step(&[2]);
    assert_eq!(pair.follow(&note), Err(LogError::Tombstoned { size: 2 }));
    let entries = pair.store.entries(2, 4);
    assert_eq!(
        restored.advance(&note, &entries, None),
        Err(LogError::Tombstoned { size: 2 })
    );
    assert_eq!(restored.bury(&key, died).unwrap(), tombstone);
    assert_eq!(restored.bury(&log_key(), died), Err(LogError::KeyKindWrong));
    // A follower that never saw an entry has nothing to bury.
    assert_eq!(
        Follower::new(log_key().verifier()).bury(&key, u64::MAX),
        Err(LogError::NotDead)
    );
}

#[test]
fn a_stored_follower_is_checked() {
    let mut pair = Pair::new();
    for n in 0..5 {
        let note = pair.step(&[n]);
        pair.follow(&note).unwrap();
    }
    let stored = pair.follower.encode();
    for changed in mutations(&stored) {
        assert!(Follower::decode(&changed).is_err());
    }
    for end in 0..stored.len() {
        assert!(Follower::decode(&stored[..end]).is_err());
    }
    let fresh = Follower::new(log_key().verifier());
    assert_eq!(Follower::decode(&fresh.encode()).unwrap(), fresh);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Follower::decode(&bytes);
        let _ = Follower::decode(&[b"atomicity-follower/v1\n", &bytes[..]].concat());
        let head = Checkpoint::new(ORIGIN, 1 + bytes.len() as u64, Hash::from_bytes([1; 32]));
        let _ = LogState::restore(&head, |_| Some(bytes.clone()));
        let note = head.sign(&log_key()).unwrap();
        let entries: Vec<_> = bytes.chunks(9).collect();
        let _ = Follower::new(log_key().verifier()).advance(&note, &entries, Some(NOW));
    }
}

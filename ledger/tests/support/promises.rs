//! Samples of what belongs to conditional IOUs. The proof is one of a real log with fixed keys.

// Some tests use both this and the other module.
#[allow(clippy::duplicate_mod)]
#[path = "../common/log.rs"]
mod log;

use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{
    Ack, AckItem, ConditionalIou, IouAck, LogTerm, Publication, Release, ReleaseReason, Terms, View,
};
use atomicity_ledger::{PolicyHash, RecordHash};
use log::{TestLog, hash, preimage};

use super::{
    BAKER_BOOK, MILKMAN_BOOK, Sample, address, amount, at, cast, epoch, iou, sample, unit,
};

/// When the log of the samples begins.
const NOW: u64 = super::AT;

pub fn promise_samples() -> Vec<Sample> {
    let c = cast();
    let (milkman, baker) = (c.milkman.user_key(), c.baker.user_key());
    let mut log = TestLog::new(1);
    let first = ConditionalIou {
        v: Version,
        from: milkman,
        to: baker,
        unit: unit("BREAD/2"),
        epoch: epoch(0),
        number: iou(0),
        amount: amount(200),
        terms: log.terms(7, 60_000),
        onward: None,
        at: at(1000),
    };
    let onward = ConditionalIou {
        epoch: epoch(1),
        number: iou((1 << 32) + 5),
        terms: Terms {
            logs: vec![
                LogTerm {
                    origin: address("log.example/1"),
                    policy_hash: PolicyHash::from_bytes([0x11; 32]),
                    from_size: 0,
                },
                LogTerm {
                    origin: address("log.example/2"),
                    policy_hash: PolicyHash::from_bytes([0x22; 32]),
                    from_size: (1 << 53) - 1,
                },
            ],
            ..first.terms.clone()
        },
        onward: Some("c2VhbGVkIGxheWVycw".parse().unwrap()),
        ..first.clone()
    };
    let direct = ConditionalIou {
        number: iou(1),
        terms: Terms {
            hash: hash(9),
            logs: vec![],
            deadline_ms: 0,
        },
        ..first.clone()
    };
    let promised = sample("a conditional IOU on one log", MILKMAN_BOOK, first);
    let named = RecordHash::of(&promised.jws);
    let release = Release {
        v: Version,
        from: baker,
        to: milkman,
        unit: unit("BREAD/2"),
        epoch: epoch(0),
        number: iou(0),
        iou: named,
        reason: ReleaseReason::Expired,
        failure: None,
        at: at(61_000),
    };
    let failed = Release {
        reason: ReleaseReason::Onward,
        failure: Some("c2VhbGVkIGZhaWx1cmU".parse().unwrap()),
        ..release.clone()
    };
    log.publish(&[preimage(7)], 30_000);
    let shown = Publication {
        v: Version,
        from: baker,
        to: milkman,
        iou: named,
        preimage: preimage(7),
        proof: Some(log.proof(preimage(7))),
        at: at(31_000),
    };
    let unproven = Publication {
        iou: RecordHash::of("a direct release"),
        preimage: preimage(9),
        proof: None,
        ..shown.clone()
    };
    let view = View {
        v: Version,
        from: baker,
        to: milkman,
        checkpoints: vec![log.checkpoint().to_string().parse().unwrap()],
        at: at(31_000),
    };
    let ack = Ack {
        v: Version,
        from: baker,
        to: milkman,
        items: vec![AckItem::Iou(IouAck { hash: named })],
        at: at(1100),
    };
    vec![
        promised,
        sample(
            "a conditional IOU on two logs with layers for the next hops",
            MILKMAN_BOOK,
            onward,
        ),
        sample("a direct release", MILKMAN_BOOK, direct),
        sample("a release of what has expired", BAKER_BOOK, release),
        sample("a release with a sealed failure", BAKER_BOOK, failed),
        sample("a publication with its proof", BAKER_BOOK, shown),
        sample("a preimage without a proof", BAKER_BOOK, unproven),
        sample("a view", BAKER_BOOK, view),
        sample("an ack of a conditional IOU", BAKER_BOOK, ack),
    ]
}

//! Whatever a peer signs: the pair takes it or refuses it, never half, and what its owner has given never shrinks.
#![no_main]

use std::collections::BTreeMap;

use atomicity_fuzz::{key, records};
use atomicity_ledger::pair::{KnownLog, KnownLogs, LineTerms, NewBook, Pair};
use atomicity_ledger::{AnyRecord, Epoch, LedgerError, Timestamp, Total, Unit};
use libfuzzer_sys::fuzz_target;

const NOW: u64 = 1_767_225_700_000;

fuzz_target!(|data: &[u8]| {
    let outcome = play(data);
    assert!(outcome.is_ok(), "{outcome:?}");
});

/// Whatever a promise hangs on is known, as far as it says.
fn known_logs(record: &AnyRecord) -> KnownLogs {
    let mut logs = KnownLogs::default();
    if let AnyRecord::ConditionalIou(iou) = record {
        for log in &iou.record().terms.logs {
            let known = KnownLog {
                policies: [log.policy_hash].into(),
                newest_size: log.from_size,
                refused: false,
            };
            logs.insert(log.origin.clone(), known);
        }
    }
    logs
}

fn play(data: &[u8]) -> Result<(), LedgerError> {
    let now = Timestamp::from_millis(NOW)?;
    let bread: Unit = "BREAD/2".parse()?;
    let (root, pen) = (key(2), key(3));
    let mut pair = Pair::new(root.user_key(), key(0).user_key())?;
    let book = NewBook {
        key: pen.signer_key(),
        caps: BTreeMap::from([(bread.clone(), Total::from_minor(1 << 40)?)]),
        continues: true,
        at_least: Epoch::ZERO,
    };
    pair.open_book(book, &root, now)?;
    let terms = LineTerms::simple(bread.clone(), Total::from_minor(1 << 30)?)?;
    pair.set_line(terms, &pen, now)?;
    pair.authority_checked(key(1).signer_key(), now);
    for jws in records(data) {
        let before = pair.clone();
        let _ = pair.learn_authority(&jws, now);
        let Ok(record) = AnyRecord::decode(&jws) else {
            continue;
        };
        let learnt = pair.clone();
        let logs = known_logs(&record);
        if pair.receive_with(&record, &logs, now, Some(&pen)).is_err() {
            assert!(pair == learnt, "a refused record has changed the pair");
        }
        assert!(pair.own().issued(&bread) >= before.own().issued(&bread));
        let balance = pair.balance(&bread);
        assert_eq!(balance.mirrored().mirrored(), balance);
        for side in [pair.own(), pair.theirs()] {
            let Some(unit) = side.unit(&bread) else {
                continue;
            };
            assert!(unit.totals().issued <= unit.claim() && unit.claim() <= unit.exposure());
        }
    }
    let stored = serde_json::to_string(&pair).unwrap_or_default();
    assert!(serde_json::from_str::<Pair>(&stored).is_ok_and(|read| read == pair));
    Ok(())
}

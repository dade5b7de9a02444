//! Evidence: what a third person learns from a bundle, and that nothing in it can be altered unseen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use atomicity_ledger::evidence;
use atomicity_ledger::jws::{Record, peek_typ};
use atomicity_ledger::record::Manifest;
use atomicity_ledger::{AnyRecord, LedgerError, Memo};
use common::{Party, friends};

/// Milk and bread: the milkman owes the baker 2.00, then the baker takes milk for 2.50.
fn milk_and_bread() -> (Party, Party) {
    let (mut milkman, mut baker) = friends(500, 300);
    for amount in [150, 50] {
        let issued = milkman.issue(amount).unwrap();
        deliver(
            &mut milkman,
            &mut baker,
            vec![issued.state.into(), issued.payment.into()],
        );
    }
    let issued = baker.issue(250).unwrap();
    deliver(
        &mut baker,
        &mut milkman,
        vec![issued.state.into(), issued.payment.into()],
    );
    assert_eq!((milkman.balance(), baker.balance()), (50, -50));
    (milkman, baker)
}

fn deliver(from: &mut Party, to: &mut Party, records: Vec<AnyRecord>) {
    for record in records {
        let (_, replies) = to.take(&record);
        for reply in replies {
            from.take(&reply);
        }
    }
}

fn export_of(party: &Party, note: Option<Memo>) -> String {
    evidence::export(
        party.user(),
        party.pair.peer(),
        &party.pair.evidence_records(),
        note,
        &party.device,
        common::at(5),
    )
    .unwrap()
}

#[test]
fn a_third_person_learns_who_owes_whom() {
    let (milkman, baker) = milk_and_bread();
    for exporter in [&milkman, &baker] {
        let text = export_of(exporter, Some("for the court".parse().unwrap()));
        let report = evidence::verify(text.as_bytes(), None).unwrap();
        assert_eq!(
            (report.user, report.peer),
            (exporter.user(), exporter.pair.peer())
        );
        assert_eq!(report.note.as_ref().unwrap().as_str(), "for the court");
        assert_eq!(report.judged_at, common::at(5));
        assert_eq!(report.records, text.lines().count() - 2);
        let [net] = &report.net[..] else {
            panic!("one unit")
        };
        assert_eq!((net.creditor, net.debtor), (milkman.user(), baker.user()));
        assert_eq!(net.amount.minor(), 50);
        let mut issued: Vec<_> = report
            .channels
            .iter()
            .map(|c| (c.from, c.issued.minor(), c.seq.get(), c.acknowledged))
            .collect();
        issued.sort();
        let mut expected = vec![(milkman.user(), 200, 2, true), (baker.user(), 250, 1, true)];
        expected.sort();
        assert_eq!(issued, expected);
        assert!(report.keys.iter().all(|key| key.valid) && report.keys.len() == 2);
        assert!(report.not_counted.is_empty() && report.contradictions.is_empty());
        let words = report.sentences().join("\n");
        assert!(words.contains(&format!(
            "{} owes {} 0.50 BREAD.",
            baker.user(),
            milkman.user()
        )));
    }
}

#[test]
fn any_changed_byte_fails_and_names_the_record_and_its_type() {
    let (_, baker) = milk_and_bread();
    let text = export_of(&baker, None);
    let types: Vec<String> = std::iter::once("header".to_owned())
        .chain(text.lines().skip(1).map(|line| peek_typ(line).unwrap()))
        .collect();
    assert!(types.len() > 10);
    assert_eq!(types.last().unwrap(), Manifest::TYP);
    let bytes = text.as_bytes();
    let mut line = 0;
    for place in 0..bytes.len() {
        // One flip for every byte, and in turn another one, or what makes a line end, a dot or a letter of it.
        let flips = [bytes[place] ^ 0x20, bytes[place] ^ 0x80, b'\n', b'.', b'A'];
        let turn = (place % 4 == 0).then(|| flips[place / 4 % flips.len()]);
        for other in std::iter::once(bytes[place] ^ 0x01).chain(turn) {
            if other == bytes[place] {
                continue;
            }
            let mut changed = bytes.to_vec();
            changed[place] = other;
            match evidence::verify(&changed, None) {
                Err(LedgerError::EvidenceInvalid { index, typ, .. }) => {
                    assert_eq!(
                        (index, &typ),
                        (line, &types[line]),
                        "byte {place} to {other:#x}"
                    );
                }
                outcome => panic!("byte {place} to {other:#x}: {outcome:?}"),
            }
        }
        line += usize::from(bytes[place] == b'\n');
    }
    assert_eq!(line, types.len());
}

#[test]
fn lines_can_be_neither_dropped_nor_added_nor_exchanged_nor_cut() {
    let (_, baker) = milk_and_bread();
    let text = export_of(&baker, None);
    let lines: Vec<&str> = text.lines().collect();
    let broken_at = |lines: &[&str]| {
        let text = format!("{}\n", lines.join("\n"));
        match evidence::verify(text.as_bytes(), None) {
            Err(LedgerError::EvidenceInvalid { index, .. }) => index,
            outcome => panic!("{outcome:?}"),
        }
    };
    for place in 1..lines.len() {
        let mut fewer = lines.clone();
        fewer.remove(place);
        assert_eq!(broken_at(&fewer), place);
        let mut doubled = lines.clone();
        doubled.insert(place, lines[place]);
        assert!(broken_at(&doubled) >= place);
    }
    for place in 1..lines.len() - 2 {
        let mut exchanged = lines.clone();
        exchanged.swap(place, place + 1);
        assert_eq!(broken_at(&exchanged), place);
    }
    for length in 0..text.len() {
        assert!(evidence::verify(&text.as_bytes()[..length], None).is_err());
    }
    let (_, other) = milk_and_bread();
    let foreign = export_of(&other, Some("another".parse().unwrap()));
    let mut mixed = lines.clone();
    let last = mixed.len() - 1;
    mixed[last] = foreign.lines().last().unwrap();
    // The same records under another whole manifest of the same exporter are a sound bundle.
    assert!(evidence::verify(format!("{}\n", mixed.join("\n")).as_bytes(), None).is_ok());
}

#[test]
fn too_much_is_not_even_read() {
    let huge = vec![b'a'; evidence::MAX_BUNDLE_BYTES + 1];
    assert_eq!(
        evidence::verify(&huge, None).unwrap_err().code(),
        "too_large"
    );
    let many = "a\n".repeat(100_000);
    assert!(evidence::verify(format!("{}\n{many}", evidence::HEADER).as_bytes(), None).is_err());
}

//! Books that change hands while something is being settled: who may still say what, and who may sign.

use std::collections::BTreeMap;

use atomicity_ledger::jws::Version;
use atomicity_ledger::pair::{NewBook, PendingReason};
use atomicity_ledger::record::{SettlementAnswer, SettlementSaid};
use atomicity_ledger::settle::{Demand, Discharge, Holding, Known};
use atomicity_ledger::{AnyRecord, Epoch, LedgerError, RecordHash, Signed};

use crate::common::{Party, at, bread, delegation, key, revocation, total};
use crate::world::{EXPIRES, by_bank, neighbour, owing};

/// `from` hands its books over to another key, and `to` hears of it.
fn hands_over(from: &mut Party, to: &mut Party) {
    let next = key(77);
    let word = delegation(&from.root, &next, 1_000_000, 9);
    from.pair.learn_own_authority(word.jws(), at(2)).unwrap();
    let new = NewBook {
        key: next.signer_key(),
        caps: BTreeMap::from([(bread(), total(1_000_000))]),
        continues: true,
        at_least: Epoch::ZERO,
    };
    let book = from.pair.open_book(new, &from.device, at(2)).unwrap();
    to.pair.learn_authority(word.jws(), at(2)).unwrap();
    to.pair.authority_checked(next.signer_key(), at(2));
    // Whoever has handed their own books over knows of it, and says nothing.
    to.receive(&book.into()).unwrap();
}

#[test]
fn an_earlier_keeper_may_answer_and_asks_for_nothing_that_could_still_be_paid() {
    let (mut holder, mut issuer) = owing(2_000);
    let asked = Demand::open(by_bank(), neighbour(&mut holder), Holding::default(), at(1));
    let request: AnyRecord = asked.unwrap().settlement().clone().into();
    assert_eq!(issuer.pair.judge_settling(&request, at(1)), Ok(None));
    hands_over(&mut holder, &mut issuer);
    let unknown = Ok(Some(PendingReason::BookUnknown));
    assert_eq!(issuer.pair.judge_settling(&request, at(3)), unknown);
    let late = at(EXPIRES + 1);
    assert_eq!(issuer.pair.judge_settling(&request, late), Ok(None));

    let answer = SettlementAnswer {
        v: Version,
        settlement: RecordHash::of("a request"),
        from: holder.user(),
        to: issuer.user(),
        said: SettlementSaid::Accepted,
        at: at(1),
    };
    let answer: AnyRecord = Signed::sign(answer, &holder.device).unwrap().into();
    assert_eq!(issuer.pair.judge_settling(&answer, at(3)), Ok(None));
    // Not for somebody else, nor once the root has taken the key's authority back.
    let foreign = holder.pair.judge_settling(&answer, at(3));
    assert_eq!(foreign, Err(LedgerError::ForeignChannel));
    issuer.take(&revocation(&holder.root, &holder.device).into());
    for record in [&answer, &request] {
        let judged = issuer.pair.judge_settling(record, late);
        assert!(
            matches!(judged, Err(LedgerError::KeyRevoked { .. })),
            "{judged:?}"
        );
    }
}

#[test]
fn who_keeps_the_books_no_more_signs_nothing_about_settlements() {
    let (mut holder, mut issuer) = owing(2_000);
    let demand = Demand::open(by_bank(), neighbour(&mut holder), Holding::default(), at(1));
    let mut demand = demand.unwrap();
    let asked = demand.settlement().clone();
    hands_over(&mut issuer, &mut holder);
    hands_over(&mut holder, &mut issuer);
    let known = Known {
        withdrawn: true,
        ..Known::default()
    };
    let (discharge, step) = Discharge::receive(asked, known, at(3));
    let with = neighbour(&mut issuer);
    let said = discharge.carry_out(&step.entries, with, at(3));
    assert!(matches!(said, Err(LedgerError::NoPen { .. })), "{said:?}");
    let before = demand.clone();
    let taken_back = demand.withdraw(&neighbour(&mut holder), at(3));
    assert!(matches!(taken_back, Err(LedgerError::NoPen { .. })));
    assert_eq!(demand, before);
    let again = Demand::open(by_bank(), neighbour(&mut holder), Holding::default(), at(3));
    assert!(matches!(again, Err(LedgerError::NoPen { .. })));
}

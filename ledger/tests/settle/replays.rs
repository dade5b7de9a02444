//! Requests, hashes and words that come again, late, or for something else.

use atomicity_ledger::pair::NewPromise;
use atomicity_ledger::record::{SettleReason, Settlement, Target, Terms};
use atomicity_ledger::settle::{
    Demand, Discharge, Entry, Holding, Known, Next, Proof, RailSaid, Stage,
};
use atomicity_ledger::{PaymentHash, RecordId, Signed};

use crate::common::{amount, at, bread};
use crate::faults::refused;
use crate::world::{Case, coffee, hand, neighbour, owing, preimage};

#[test]
fn a_payment_hash_is_taken_once() {
    let mut case = Case::coffee();
    case.hash_taken = true;
    assert_eq!(refused(case).0, SettleReason::HashUsed);
    let mut case = Case::coffee();
    let next = case.send();
    let (facts, now) = (case.facts.clone(), case.now);
    assert_eq!(next, Next::Judge);
    let step = case.discharge().judge(&facts, now);
    case.carry(step);
    let standing = case.standing();
    let step = case.discharge().reserve(&standing, now);
    let taken: Vec<PaymentHash> = step
        .entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::TakeHash(hash) => Some(*hash),
            _ => None,
        })
        .collect();
    assert_eq!(taken, [preimage().hash()]);
    // The pair itself lets the holder give no second release on it either.
    let new = NewPromise {
        unit: bread(),
        amount: amount(1),
        terms: Terms {
            hash: preimage().hash(),
            logs: vec![],
            deadline_ms: 0,
        },
        onward: None,
    };
    let (device, none) = (case.holder.device.clone(), Default::default());
    let twice = case.holder.pair.promise(new, None, &none, &device, at(1));
    assert_eq!(twice.unwrap_err().code(), "terms_refused");
}

#[test]
fn a_replay_under_an_old_id_or_with_anothers_release_takes_nothing_from_the_first() {
    let mut case = Case::coffee();
    case.order();
    let first = case.demand.settlement().record().clone();
    for (known, why) in [
        (
            Known {
                id_used: true,
                release_named: true,
                ..Known::default()
            },
            SettleReason::IdUsed,
        ),
        (
            Known {
                release_named: true,
                ..Known::default()
            },
            SettleReason::ReleaseDiffers,
        ),
    ] {
        let again = Settlement {
            id: RecordId::from_entropy([u8::from(known.id_used); 16]),
            memo: None,
            ..first.clone()
        };
        let again = Signed::sign(again, &case.holder.device).unwrap();
        let (mut second, step) = Discharge::receive(again, known, at(2));
        assert!(matches!(second.stage(), Stage::Declined { reason, .. } if *reason == why));
        let with = neighbour(&mut case.issuer);
        second.carry_out(&step.entries, with, at(2)).unwrap();
        // What belongs to the first is not given up by the end of the second.
        let step = second.release_came();
        let with = neighbour(&mut case.issuer);
        second.carry_out(&step.entries, with, at(2)).unwrap();
        assert_eq!(case.books(), (2_000, 500, 500));
    }
    case.rail(1, RailSaid::Succeeded(Proof::Preimage(preimage())));
    assert_eq!(case.books(), (1_500, 0, 0));
}

#[test]
fn a_release_of_less_or_on_another_hash_is_not_what_was_asked_for() {
    for (minor, hash) in [
        (499, preimage().hash()),
        (500, PaymentHash::from_bytes([3; 32])),
    ] {
        let (mut holder, issuer) = owing(2_000);
        let mut draft = coffee();
        draft.amount = amount(minor);
        draft.hash = Some(hash);
        let with = neighbour(&mut holder);
        let demand = Demand::open(draft, with, Holding::default(), at(1)).unwrap();
        let mut record = demand.settlement().record().clone();
        record.amount = amount(500);
        let mut case = Case::coffee();
        case.holder = holder;
        case.issuer = issuer;
        case.demand = demand;
        case.send_release();
        let asked = Signed::sign(record, &case.holder.device).unwrap();
        let (discharge, step) = Discharge::receive(asked, Known::default(), case.now);
        case.discharge = Some(discharge);
        let with = neighbour(&mut case.issuer);
        let nothing = case.discharge.as_ref().unwrap();
        assert!(
            nothing
                .carry_out(&step.entries, with, at(1))
                .unwrap()
                .is_empty()
        );
        let (facts, now) = (case.facts.clone(), case.now);
        case.discharge().judge(&facts, now);
        let standing = case.standing();
        let step = case.discharge().reserve(&standing, now);
        let with = neighbour(&mut case.issuer);
        let records = case.discharge.as_ref().unwrap();
        let records = records.carry_out(&step.entries, with, at(1)).unwrap();
        assert!(matches!(case.discharge().stage(),
            Stage::Declined { reason, .. } if *reason == SettleReason::ReleaseDiffers));
        let (mut issuer, mut holder) = (case.issuer, case.holder);
        let books = records
            .into_iter()
            .filter(|r| r.typ() != "atomicity-settlement-answer");
        hand(&mut issuer, &mut holder, books.collect());
        assert_eq!(crate::world::undecided(&holder), 0);
        assert_eq!(crate::world::claim(&holder), 2_000);
    }
}

#[test]
fn a_withdrawal_that_comes_first_counts() {
    let mut case = Case::coffee();
    case.send_release();
    let settlement = case.demand.settlement().clone();
    let known = Known {
        withdrawn: true,
        ..Known::default()
    };
    let (discharge, step) = Discharge::receive(settlement, known, case.now);
    case.discharge = Some(discharge);
    assert_eq!(case.carry(step), Next::Over);
    assert_eq!(case.books(), (2_000, 0, 0));
}

#[test]
fn a_rail_that_takes_its_word_back_raises_an_alarm() {
    let mut case = Case::coffee();
    case.order();
    case.rail(1, RailSaid::FailedForGood);
    let proof = Proof::Preimage(preimage());
    assert_eq!(case.rail(1, RailSaid::Succeeded(proof)), Next::Alarm);
    assert_eq!(case.books(), (2_000, 0, 0));
}

#[test]
fn steps_out_of_turn_change_nothing() {
    let mut case = Case::coffee();
    case.order();
    let before = case.discharge.clone();
    let (standing, facts, now) = (case.standing(), case.facts.clone(), case.now);
    assert!(matches!(
        case.discharge().judge(&facts, now).next,
        Next::LookUp(_)
    ));
    assert!(matches!(
        case.discharge().reserve(&standing, now).next,
        Next::LookUp(_)
    ));
    assert!(matches!(
        case.discharge().dispatch(&standing, now).next,
        Next::LookUp(_)
    ));
    assert!(matches!(case.discharge().booked().next, Next::LookUp(_)));
    for attempt in [0, 2, u32::MAX] {
        let said = RailSaid::FailedForGood;
        case.discharge().rail_said(attempt, said, now);
        let proof = Proof::Preimage(preimage());
        case.discharge()
            .rail_said(attempt, RailSaid::Succeeded(proof), now);
    }
    assert!(case.discharge == before);
    let wrong: Vec<Target> = vec![];
    let mut draft = coffee();
    draft.targets = wrong;
    let with = neighbour(&mut case.holder);
    let error = Demand::open(draft, with, Holding::default(), at(1)).unwrap_err();
    assert_eq!(error.code(), "target_malformed");
}

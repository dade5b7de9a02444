//! Requests that must not be paid, and why not.

use atomicity_ledger::record::{ClaimRef, Pays, SettleReason, Settlement, SettlementSaid};
use atomicity_ledger::settle::{
    Demand, Discharge, Facts, Holding, InvoiceFacts, Known, MIN_LEFT_MS, Next, Quote, Stage,
};
use atomicity_ledger::{RecordHash, Signed};

use crate::common::{Party, amount, at, bread};
use crate::world::{
    Case, EXPIRES, by_bank, coffee, coffee_facts, hand, invoice, neighbour, owing, sats, target,
    way,
};

/// What the holder hears of a request that goes as far as it can.
fn declined(case: &mut Case) -> (SettleReason, Option<Pays>) {
    let next = case.send();
    assert_eq!(case.go(next), Next::Over);
    let Stage::Declined { reason, offer } = case.discharge().stage().clone() else {
        panic!("not declined")
    };
    let said = SettlementSaid::Declined {
        reason,
        offer: offer.clone(),
    };
    let heard = case.discharge().asked_again();
    assert_eq!(
        heard.entries,
        [atomicity_ledger::settle::Entry::Answer(said)]
    );
    (reason, offer)
}

/// A request that is declined changes no claim and keeps nothing.
pub fn refused(mut case: Case) -> (SettleReason, Option<Pays>) {
    let owed = case.books().0;
    let why = declined(&mut case);
    assert_eq!(case.books(), (owed, 0, 0), "{why:?}");
    assert!(case.demand.is_over() && case.demand.reserves().is_none());
    why
}

fn reason(change: impl FnOnce(&mut Facts)) -> SettleReason {
    let mut facts = coffee_facts();
    change(&mut facts);
    refused(Case::new(2_000, coffee(), facts)).0
}

#[test]
fn what_the_issuer_knows_decides() {
    assert_eq!(reason(|f| f.unit_known = false), SettleReason::UnitUnknown);
    assert_eq!(reason(|f| f.allowed = false), SettleReason::NotAllowed);
    assert_eq!(reason(|f| f.busy = true), SettleReason::Busy);
    assert_eq!(reason(|f| f.ways.clear()), SettleReason::NoMethod);
    assert_eq!(reason(|f| f.invoice = None), SettleReason::TargetMalformed);
    let elsewhere = way("lnd", target("btc-lightning-bolt11", "lnbcrt50u1thief"));
    assert_eq!(reason(|f| f.ways = vec![elsewhere]), SettleReason::NoMethod);
}

#[test]
fn a_wrong_amount_and_an_open_one_are_not_paid() {
    for millisatoshi in [Some(5_000_001), Some(4_999_999), Some(0), None] {
        let wrong = InvoiceFacts {
            millisatoshi,
            ..invoice()
        };
        let why = reason(|f| f.invoice = Some(wrong));
        assert_eq!(why, SettleReason::AmountDiffers, "{millisatoshi:?}");
    }
    // What the unit counts is paid one for one.
    let mut draft = by_bank();
    draft.pays = Some(Pays {
        asset: "BREAD".parse().unwrap(),
        amount: "5.01".parse().unwrap(),
    });
    let facts = crate::world::bank_facts();
    let why = refused(Case::new(2_000, draft, facts));
    assert_eq!(why, (SettleReason::AmountDiffers, None));
}

#[test]
fn what_has_expired_is_not_begun() {
    let soon = InvoiceFacts {
        expires: at(1 + MIN_LEFT_MS),
        ..invoice()
    };
    let why = reason(|f| f.invoice = Some(soon));
    assert_eq!(why, SettleReason::Expired);
    for now in [EXPIRES - MIN_LEFT_MS, EXPIRES, 2 * EXPIRES] {
        let mut case = Case::coffee();
        case.now = at(now);
        assert_eq!(refused(case).0, SettleReason::Expired);
    }
    // It expires while it waits for its turn.
    let mut case = Case::coffee();
    let next = case.send();
    let step = {
        let (facts, now) = (case.facts.clone(), case.now);
        assert_eq!(next, Next::Judge);
        case.discharge().judge(&facts, now)
    };
    case.carry(step);
    let standing = case.standing();
    let now = case.now;
    let step = case.discharge().reserve(&standing, now);
    assert_eq!(case.carry(step), Next::Dispatch);
    let step = case.discharge().dispatch(&standing, at(EXPIRES));
    assert_eq!(case.carry(step), Next::Over);
    assert_eq!(case.books(), (2_000, 0, 0));
    assert!(matches!(
        case.discharge().stage(),
        Stage::Failed {
            reason: SettleReason::Expired
        }
    ));
}

#[test]
fn a_rate_that_moved_is_declined_with_the_rate_of_now() {
    let quoted = |amount: &str, spread_ppm| {
        let pays = sats(amount);
        let mut facts = coffee_facts();
        facts.quote = Some(Quote { pays, spread_ppm });
        Case::new(2_000, coffee(), facts)
    };
    // One percent of 0.00005 below and above is within; a millionth more is not.
    for good in ["0.00005", "0.0000505", "0.00004951"] {
        let mut case = quoted(good, 10_000);
        case.order();
    }
    for off in ["0.0000506", "0.0000495", "1", "0.00000001"] {
        let why = refused(quoted(off, 10_000));
        assert_eq!(why, (SettleReason::RateOff, Some(sats(off))));
    }
    assert_eq!(reason(|f| f.quote = None), SettleReason::RateOff);
    let other = Quote {
        pays: Pays {
            asset: "EUR".parse().unwrap(),
            amount: "0.00005".parse().unwrap(),
        },
        spread_ppm: 1_000_000,
    };
    assert_eq!(reason(|f| f.quote = Some(other)), SettleReason::RateOff);
}

#[test]
fn nobody_is_paid_who_holds_no_claim_or_a_smaller_one() {
    // An honest holder does not even ask.
    for (owed, code) in [(0, "no_claim"), (499, "claim_smaller")] {
        let (mut holder, _) = owing(owed);
        let before = holder.pair.clone();
        let with = neighbour(&mut holder);
        let error = Demand::open(coffee(), with, Holding::default(), at(1)).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(holder.pair == before);
    }
    for (holding, code) in [
        (
            Holding {
                reserved: 1_501,
                hash_released: false,
            },
            "claim_smaller",
        ),
        (
            Holding {
                reserved: 0,
                hash_released: true,
            },
            "hash_used",
        ),
    ] {
        let (mut holder, _) = owing(2_000);
        let with = neighbour(&mut holder);
        let error = Demand::open(coffee(), with, holding, at(1)).unwrap_err();
        assert_eq!(error.code(), code);
    }
    // Another one is refused by the issuer.
    for (owed, why) in [
        (0, SettleReason::NoClaim),
        (499, SettleReason::ClaimSmaller),
    ] {
        let (mut holder, mut issuer) = owing(owed);
        let forged = forged(&mut holder, |_| {});
        assert_eq!(answer(&mut issuer, forged), why);
    }
}

/// A request for a transfer that the holder's wallet would not have signed.
fn forged(holder: &mut Party, change: impl FnOnce(&mut Settlement)) -> Signed<Settlement> {
    let draft = by_bank();
    let mut record = Settlement {
        v: atomicity_ledger::jws::Version,
        id: draft.id,
        holder: holder.user(),
        issuer: holder.pair.peer(),
        unit: draft.unit,
        amount: draft.amount,
        targets: draft.targets,
        pays: None,
        release: None,
        claim: None,
        memo: None,
        expires: draft.expires,
        at: at(0),
    };
    change(&mut record);
    Signed::sign(record, &holder.device).unwrap()
}

/// Why the issuer does not pay it.
fn answer(issuer: &mut Party, asked: Signed<Settlement>) -> SettleReason {
    let (mut discharge, _) = Discharge::receive(asked.clone(), Known::default(), at(1));
    discharge.judge(&crate::world::bank_facts(), at(1));
    let standing =
        atomicity_ledger::settle::Standing::read(&issuer.pair, asked.record(), None, 0, false);
    let step = discharge.reserve(&standing, at(1));
    assert_eq!(step.next, Next::Over);
    let with = neighbour(issuer);
    assert_eq!(
        discharge
            .carry_out(&step.entries, with, at(1))
            .unwrap()
            .len(),
        1
    );
    match discharge.stage() {
        Stage::Declined { reason, .. } => *reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_claim_on_a_state_that_the_issuer_never_signed_is_none() {
    let claim = |holder: &Party, seq: u64, hash| ClaimRef {
        epoch: holder.pair.theirs().epoch().unwrap(),
        seq: atomicity_ledger::Seq::new(seq).unwrap(),
        hash,
    };
    let invented = RecordHash::of("a state of a million");
    for seq in [1, 2] {
        let (mut holder, mut issuer) = owing(2_000);
        let named = claim(&holder, seq, invented);
        let asked = forged(&mut holder, |record| record.claim = Some(named));
        assert_eq!(answer(&mut issuer, asked), SettleReason::NoClaim);
    }
    let (mut holder, mut issuer) = owing(2_000);
    let newest = holder.pair.theirs().unit(&bread()).unwrap();
    let named = claim(&holder, 1, newest.newest().unwrap().hash());
    let asked = forged(&mut holder, |record| {
        record.claim = Some(named);
        record.amount = amount(2_001);
    });
    assert_eq!(answer(&mut issuer, asked), SettleReason::ClaimSmaller);
}

#[test]
fn what_other_requests_reserve_can_not_be_had_twice() {
    let mut case = Case::by_bank();
    case.reserved = 1_500;
    case.order();
    let mut case = Case::by_bank();
    case.reserved = 1_501;
    assert_eq!(refused(case).0, SettleReason::ClaimSmaller);
    // Between reserving and paying the holder pays the issuer: it no longer covers the request.
    let mut case = Case::by_bank();
    let next = case.send();
    let (facts, now) = (case.facts.clone(), case.now);
    assert_eq!(next, Next::Judge);
    let step = case.discharge().judge(&facts, now);
    case.carry(step);
    let standing = case.standing();
    let step = case.discharge().reserve(&standing, now);
    assert_eq!(case.carry(step), Next::Dispatch);
    let paid = case.holder.issue(1_600).unwrap();
    hand(&mut case.holder, &mut case.issuer, vec![paid.state.into()]);
    assert_eq!(case.go(Next::Dispatch), Next::Over);
    assert_eq!(case.discharge().attempts(), 0);
    assert_eq!(case.books(), (400, 0, 0));
    // A direct release takes its part of the claim from all others.
    let mut case = Case::coffee();
    case.order();
    let owes = case.issuer.pair.surely_owes(&bread());
    assert_eq!(owes, 1_500);
}

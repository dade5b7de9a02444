//! Whole runs over real books.

use atomicity_ledger::record::{SettleReason, SettlementSaid};
use atomicity_ledger::settle::{
    Demand, DemandNext, DemandStage, Discharge, Known, LOOK_UP_GRACE_MS, Next, Proof, RailSaid,
    Stage,
};
use atomicity_ledger::{AnyRecord, Preimage};

use crate::common::at;
use crate::world::{Case, EXPIRES, hand, neighbour, preimage};

fn succeeded() -> RailSaid {
    RailSaid::Succeeded(Proof::Preimage(preimage()))
}

fn by_text() -> RailSaid {
    RailSaid::Succeeded(Proof::Text("transfer 7731".parse().unwrap()))
}

#[test]
fn a_claim_falls_by_exactly_what_the_invoice_was_for() {
    let mut case = Case::coffee();
    assert_eq!(case.books(), (2_000, 500, 0));
    let order = case.order();
    assert_eq!(order.pays.millisatoshi(), Some(5_000_000));
    assert_eq!(order.not_after, at(EXPIRES));
    assert_eq!(order.ticket.attempt, 1);
    // While it is under way the claim stands, and can't be spent twice.
    assert_eq!(case.books(), (2_000, 500, 500));
    assert_eq!(case.demand.stage(), &DemandStage::Accepted);
    assert_eq!(case.holder.pair.surely_owed(&crate::common::bread()), 1_500);
    assert_eq!(case.rail(1, succeeded()), Next::Wait);
    assert_eq!(case.books(), (1_500, 0, 0));
    assert_eq!(case.demand.stage(), &DemandStage::Booked);
    assert!(case.demand.is_over());
    let discharge = case.discharge.clone().unwrap();
    assert!(discharge.is_booked_in(&case.issuer.pair));
    let step = case.discharge().booked();
    assert_eq!(case.carry(step), Next::Over);
    assert!(matches!(
        case.discharge().stage(),
        Stage::Done { proof: Proof::Preimage(shown) } if *shown == preimage()
    ));
}

#[test]
fn a_transfer_counts_once_the_holder_confirms_it() {
    let mut case = Case::by_bank();
    assert_eq!(case.demand.reserves().unwrap().minor(), 500);
    let order = case.order();
    assert_eq!(order.way.rail.as_str(), "bank");
    assert_eq!(case.discharge().reserves().unwrap().minor(), 500);
    case.rail(1, by_text());
    assert!(matches!(case.demand.stage(), DemandStage::Paid { .. }));
    assert_eq!(case.demand.next(), DemandNext::Confirm);
    assert_eq!(case.books(), (2_000, 0, 0));
    assert_eq!(case.confirm(false).unwrap(), 2);
    assert_eq!(case.books(), (1_500, 0, 0));
    assert_eq!(case.confirm(false).unwrap(), 0);
    assert_eq!(case.confirm(true).unwrap(), 0);
    assert_eq!(case.books(), (1_500, 0, 0));
    assert!(matches!(case.discharge().stage(), Stage::Done { .. }));
    assert_eq!(case.discharge().reserves(), None);
}

#[test]
fn what_fails_for_good_leaves_the_claim_and_reserves_nothing() {
    for (mut case, ways) in [(Case::coffee(), 1), (Case::by_bank(), 2)] {
        case.order();
        for attempt in 1..=ways {
            let next = case.rail(attempt, RailSaid::FailedForGood);
            assert_eq!(next == Next::Over, attempt == ways, "{next:?}");
        }
        assert_eq!(case.books(), (2_000, 0, 0));
        let reason = SettleReason::RailFailed;
        assert_eq!(case.demand.stage(), &DemandStage::Failed { reason });
        assert!(case.demand.is_over() && case.demand.reserves().is_none());
        assert!(case.discharge().reserves().is_none());
    }
}

#[test]
fn the_next_way_is_tried_only_after_the_first_failed_for_good() {
    let mut case = Case::by_bank();
    case.order();
    for said in [
        RailSaid::Unknown,
        RailSaid::InFlight,
        RailSaid::NeverSeen {
            authoritative: false,
        },
        RailSaid::NeverSeen {
            authoritative: true,
        },
    ] {
        assert!(matches!(case.rail(1, said), Next::LookUp(order) if order.ticket.attempt == 1));
    }
    let Next::Pay(order) = case.rail(1, RailSaid::FailedForGood) else {
        panic!("the second way is not tried")
    };
    assert_eq!((order.way.rail.as_str(), order.ticket.attempt), ("cash", 2));
    // What is said of the first attempt again says nothing about the second.
    assert!(matches!(
        case.rail(1, RailSaid::FailedForGood),
        Next::LookUp(_)
    ));
    assert_eq!(case.discharge().stage(), &Stage::Dispatched);
    case.rail(2, by_text());
    assert!(
        matches!(case.demand.stage(), DemandStage::Paid { method, .. }
        if method.as_str() == "bread-cash-hand")
    );
}

#[test]
fn the_unknown_holds_everything_for_hours_until_the_rail_answers() {
    let mut case = Case::coffee();
    case.order();
    case.rail(1, RailSaid::Unknown);
    for hour in 1..5 {
        case.now = at(hour * 3_600_000);
        for said in [
            RailSaid::Unknown,
            RailSaid::InFlight,
            RailSaid::NeverSeen {
                authoritative: false,
            },
        ] {
            assert!(matches!(case.rail(1, said), Next::LookUp(_)));
        }
        let now = case.now;
        let step = case.discharge().tick(now);
        assert!(step.entries.is_empty() && matches!(step.next, Next::LookUp(_)));
        assert_eq!(case.books(), (2_000, 500, 500));
        assert!(case.demand.is_overdue(case.now) && !case.demand.abandon(now));
    }
    case.now = at(200_000);
    case.rail(1, succeeded());
    assert_eq!(case.books(), (1_500, 0, 0));
}

#[test]
fn what_was_never_seen_is_not_paid_only_after_it_has_expired() {
    let mut case = Case::coffee();
    case.order();
    let never = RailSaid::NeverSeen {
        authoritative: true,
    };
    for now in [1, EXPIRES, EXPIRES + LOOK_UP_GRACE_MS] {
        case.now = at(now);
        assert!(matches!(case.rail(1, never.clone()), Next::LookUp(_)));
        assert_eq!(case.books(), (2_000, 500, 500));
    }
    case.now = at(EXPIRES + LOOK_UP_GRACE_MS + 1);
    assert_eq!(case.rail(1, never), Next::Over);
    assert_eq!(case.books(), (2_000, 0, 0));
}

#[test]
fn a_rail_that_is_down_for_an_hour_is_tried_again_or_given_up() {
    let mut case = Case::coffee();
    case.order();
    for attempt in 1..20 {
        let next = case.rail(attempt, RailSaid::NotSent);
        assert!(matches!(next, Next::Pay(order) if order.ticket.attempt == attempt + 1));
    }
    case.now = at(3_600_000);
    assert_eq!(case.rail(20, RailSaid::NotSent), Next::Over);
    assert_eq!(case.books(), (2_000, 0, 0));
}

#[test]
fn a_withdrawal_counts_until_a_rail_was_told() {
    let mut case = Case::coffee();
    let next = case.send();
    let with = neighbour(&mut case.holder);
    assert!(case.demand.withdraw(&with, at(2)).unwrap());
    assert!(matches!(
        case.demand.to_send().last(),
        Some(AnyRecord::SettlementWithdrawal(_))
    ));
    let step = case.discharge().withdraw();
    assert_eq!(case.carry(step), Next::Over);
    let reason = SettleReason::Withdrawn;
    assert!(matches!(case.demand.stage(), DemandStage::Declined { reason: r, .. } if *r == reason));
    assert_eq!(case.go(next), Next::Over);
    assert_eq!(case.books(), (2_000, 0, 0));

    let mut case = Case::coffee();
    case.order();
    let step = case.discharge().withdraw();
    assert!(matches!(case.carry(step), Next::LookUp(_)));
    assert_eq!(case.demand.stage(), &DemandStage::Accepted);
    assert_eq!(case.books(), (2_000, 500, 500));
    case.rail(1, succeeded());
    assert_eq!(case.books(), (1_500, 0, 0));

    // Too late for the first way, and early enough for the second.
    let mut case = Case::by_bank();
    case.order();
    let step = case.discharge().withdraw();
    case.carry(step);
    assert_eq!(case.rail(1, RailSaid::FailedForGood), Next::Over);
    assert_eq!(case.demand.stage(), &DemandStage::Failed { reason });
    assert_eq!(case.books(), (2_000, 0, 0));
}

#[test]
fn an_issuer_who_pays_and_never_tells_leaves_the_claim_as_it_was() {
    let mut case = Case::by_bank();
    case.order();
    // The proof stays with the issuer; nobody hears of it.
    let now = case.now;
    let step = case.discharge().rail_said(1, by_text(), now);
    assert!(!step.entries.is_empty());
    assert_eq!(case.books(), (2_000, 0, 0));
    let late = at(EXPIRES + 3_600_000);
    assert!(case.demand.is_overdue(late));
    assert_eq!(case.demand.next(), DemandNext::Send);
    // The holder asks once more, and is answered as if nothing had been lost.
    let step = case.discharge().asked_again();
    case.carry(step);
    assert!(matches!(case.demand.stage(), DemandStage::Paid { .. }));
    // Or the holder saw the money and says so.
    let mut seen = Case::by_bank();
    seen.order();
    assert_eq!(seen.confirm(false).unwrap(), 0);
    assert_eq!(seen.confirm(true).unwrap(), 2);
    assert_eq!(seen.books(), (1_500, 0, 0));
    // Or gives the request up; what is paid after all still counts.
    let mut given_up = Case::by_bank();
    given_up.order();
    assert!(given_up.demand.abandon(late));
    assert_eq!(given_up.demand.reserves(), None);
    given_up.rail(1, by_text());
    assert_eq!(given_up.confirm(false).unwrap(), 2);
    assert_eq!(given_up.books(), (1_500, 0, 0));
}

#[test]
fn a_publication_that_was_lost_is_shown_again_and_books_once() {
    let mut case = Case::coffee();
    case.order();
    let now = case.now;
    let step = case.discharge().rail_said(1, succeeded(), now);
    let discharge = case.discharge.clone().unwrap();
    let lost = discharge.carry_out(&step.entries, neighbour(&mut case.issuer), now);
    assert_eq!(lost.unwrap().len(), 1);
    // The issuer holds the proof: it is owed what it paid, booked or not.
    assert_eq!(crate::world::claim(&case.issuer), -1_500);
    assert_eq!(crate::world::claim(&case.holder), 2_000);
    for _ in 0..2 {
        let step = case.discharge().asked_again();
        case.carry(step);
        assert_eq!(case.books(), (1_500, 0, 0));
    }
}

#[test]
fn a_preimage_of_another_hash_is_no_proof() {
    let mut case = Case::coffee();
    case.order();
    let other = Proof::Preimage(Preimage::from_bytes([9; 32]));
    for wrong in [other, Proof::Text("paid, honestly".parse().unwrap())] {
        assert!(matches!(
            case.rail(1, RailSaid::Succeeded(wrong)),
            Next::LookUp(_)
        ));
        assert_eq!(case.books(), (2_000, 500, 500));
    }
}

#[test]
fn a_request_that_comes_again_is_answered_and_paid_once() {
    let mut case = Case::coffee();
    case.order();
    for _ in 0..3 {
        let step = case.discharge().asked_again();
        assert!(matches!(step.next, Next::LookUp(_)));
        case.carry(step);
    }
    case.rail(1, succeeded());
    let step = case.discharge().asked_again();
    assert_eq!(case.carry(step), Next::Wait);
    assert_eq!(case.books(), (1_500, 0, 0));
    assert_eq!(case.discharge().attempts(), 1);
}

#[test]
fn the_direct_release_may_come_after_the_request_or_after_its_end() {
    let mut case = Case::coffee();
    let settlement = case.demand.settlement().clone();
    let (discharge, step) = Discharge::receive(settlement, Known::default(), case.now);
    case.discharge = Some(discharge);
    let next = case.carry(step);
    assert_eq!(case.go(next), Next::Wait);
    assert_eq!(case.discharge().stage(), &Stage::Checked);
    let mut late = Case::coffee();
    std::mem::swap(&mut case, &mut late);
    // It comes: the request goes on.
    late.send_release();
    let step = late.discharge().release_came();
    let next = late.carry(step);
    assert!(matches!(late.go(next), Next::Pay(_)));
    // It does not come in time: declined, and given back when it comes.
    let settlement = case.demand.settlement().clone();
    let (discharge, step) = Discharge::receive(settlement, Known::default(), case.now);
    case.discharge = Some(discharge);
    let next = case.carry(step);
    case.go(next);
    case.now = at(EXPIRES);
    let now = case.now;
    let step = case.discharge().tick(now);
    assert_eq!(case.carry(step), Next::Over);
    let reason = SettleReason::ReleaseMissing;
    assert!(matches!(case.demand.stage(), DemandStage::Declined { reason: r, .. } if *r == reason));
    assert_eq!(case.demand.next(), DemandNext::Wait);
    case.send_release();
    assert_eq!(case.books(), (2_000, 500, 500));
    let step = case.discharge().release_came();
    case.carry(step);
    assert_eq!(case.books(), (2_000, 0, 0));
    assert!(case.demand.is_over());
}

#[test]
fn answers_in_any_order_end_in_the_same() {
    let accepted = SettlementSaid::Accepted;
    let paid = SettlementSaid::Paid {
        method: "bread-bank-iban".parse().unwrap(),
        proof: "transfer 7731".parse().unwrap(),
    };
    let mut demand: Demand = Case::by_bank().demand;
    assert!(demand.heard(&paid) && !demand.heard(&accepted) && !demand.heard(&paid));
    assert!(matches!(demand.stage(), DemandStage::Paid { .. }));
    let failed = SettlementSaid::Failed {
        reason: SettleReason::RailFailed,
    };
    assert!(!demand.heard(&failed));
    // Money may come after all; of a Lightning invoice only the preimage counts.
    let mut demand: Demand = Case::by_bank().demand;
    assert!(demand.heard(&failed) && demand.heard(&paid));
    let mut demand: Demand = Case::coffee().demand;
    assert!(!demand.heard(&paid));
    assert!(!demand.confirm(true));
}

#[test]
fn books_that_the_issuer_shows_beyond_the_request_are_taken_as_ever() {
    // The holder goes on paying the issuer while the request is under way: what is reserved stays.
    let mut case = Case::coffee();
    case.order();
    let paid = case.holder.issue(1_500).unwrap();
    hand(&mut case.holder, &mut case.issuer, vec![paid.state.into()]);
    assert_eq!(case.books(), (500, 500, 500));
    assert!(case.holder.issue(1).is_err());
    case.rail(1, succeeded());
    assert_eq!(case.books(), (0, 0, 0));
}

#[test]
fn a_holder_to_whom_nothing_came_disputes_it_and_nothing_repeated_changes_that() {
    let mut case = Case::by_bank();
    case.order();
    let with = neighbour(&mut case.holder);
    // Nobody says that it was paid.
    assert!(!case.demand.dispute(&with, at(2)).unwrap());
    case.rail(1, by_text());
    assert!(!case.discharge().is_disputed());
    let with = neighbour(&mut case.holder);
    assert!(case.demand.dispute(&with, at(3)).unwrap());
    assert!(!case.demand.dispute(&with, at(3)).unwrap());
    let disputed = |stage: &DemandStage| matches!(stage, DemandStage::Disputed { proof, .. } if proof.as_str() == "transfer 7731");
    assert!(disputed(case.demand.stage()));
    // The claim stands and is free; a rule does not confirm it, and the request is not sent any more.
    assert_eq!(case.demand.reserves(), None);
    assert_eq!(case.demand.next(), DemandNext::Over);
    assert_eq!(case.confirm(false).unwrap(), 0);
    assert_eq!(case.books(), (2_000, 0, 0));
    let sent = case.demand.to_send();
    let withdrawal = |record: &AnyRecord| matches!(record, AnyRecord::SettlementWithdrawal(_));
    assert!(sent.iter().any(withdrawal));
    // The issuer hears of it, keeps the proof, and says the same again.
    let step = case.discharge().withdraw();
    assert!(case.discharge().is_disputed());
    assert_eq!(case.carry(step), Next::Wait);
    assert!(disputed(case.demand.stage()));
    let failed = SettlementSaid::Failed {
        reason: SettleReason::RailFailed,
    };
    assert!(!case.demand.heard(&failed));
    // Stored and read again it is the same.
    let text = serde_json::to_string(&case.demand).unwrap();
    assert_eq!(serde_json::from_str::<Demand>(&text).unwrap(), case.demand);
    // If the money comes after all, the claim falls once.
    assert_eq!(case.confirm(true).unwrap(), 2);
    assert_eq!(case.confirm(true).unwrap(), 0);
    assert_eq!(case.books(), (1_500, 0, 0));
    case.discharge().booked();
    assert!(!case.discharge().is_disputed());
}

//! What accounts have paid outside: judged like a friend's request, paid at most once, and freed only if it failed for good.

use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{Pays, SettleReason, Spend, SpendTo, Target};
use atomicity_ledger::settle::{
    Facts, InvoiceFacts, LOOK_UP_GRACE_MS, Outlay, OutlayNext, OutlayStage, Proof, Quote, RailSaid,
};
use atomicity_ledger::{Keypair, Preimage, RecordId, Signed, UserKey};
use proptest::prelude::*;

use crate::common::{amount, at, bread};
use crate::world::{EXPIRES, invoice_target, preimage, sats, target, way};

fn user(n: u8) -> UserKey {
    Keypair::from_secret(&[n; 32]).user_key()
}

fn spend(to: Target, pays: Option<Pays>) -> Signed<Spend> {
    let spend = Spend {
        v: Version,
        id: RecordId::from_entropy([1; 16]),
        owner: user(1),
        plugin: user(9),
        unit: bread(),
        amount: amount(500),
        to: SpendTo::Target(to),
        pays,
        max_fee: None,
        memo: None,
        expires: at(EXPIRES),
        at: at(0),
    };
    Signed::sign(spend, &Keypair::from_secret(&[2; 32])).unwrap()
}

/// 5.00 for an invoice of 5000 satoshi.
fn coffee() -> Signed<Spend> {
    spend(invoice_target(), Some(sats("0.00005")))
}

/// The rate fits, and two nodes can pay it.
fn facts() -> Facts {
    Facts {
        unit_known: true,
        allowed: true,
        busy: false,
        ways: vec![
            way("first", invoice_target()),
            way("second", invoice_target()),
        ],
        invoice: Some(InvoiceFacts {
            hash: preimage().hash(),
            millisatoshi: Some(5_000_000),
            expires: at(EXPIRES * 2),
        }),
        quote: Some(Quote {
            pays: sats("0.0000501"),
            spread_ppm: 10_000,
        }),
    }
}

fn planned() -> Outlay {
    Outlay::judge(&coffee(), &facts(), at(0)).unwrap()
}

fn paid() -> RailSaid {
    RailSaid::Succeeded(Proof::Preimage(preimage()))
}

fn never_seen() -> RailSaid {
    RailSaid::NeverSeen {
        authoritative: true,
    }
}

fn ended(outlay: &Outlay) -> Option<SettleReason> {
    match outlay.stage() {
        OutlayStage::Failed { reason } => Some(*reason),
        _ => None,
    }
}

#[test]
fn a_spend_is_judged_by_the_owners_rate_and_by_what_the_invoice_says() {
    let outlay = planned();
    let plan = outlay.plan();
    assert_eq!(plan.hash, Some(preimage().hash()));
    assert_eq!((plan.ways.len(), plan.not_after), (2, at(EXPIRES)));
    let refused = |change: fn(&mut Facts), now| {
        let mut facts = facts();
        change(&mut facts);
        Outlay::judge(&coffee(), &facts, at(now)).unwrap_err()
    };
    let dear = |f: &mut Facts| {
        f.quote = Some(Quote {
            pays: sats("0.00004"),
            spread_ppm: 10_000,
        });
    };
    let offer = Some(sats("0.00004"));
    assert_eq!(refused(dear, 0), (SettleReason::RateOff, offer));
    assert_eq!(refused(|f| f.quote = None, 0).0, SettleReason::RateOff);
    assert_eq!(refused(|f| f.ways.clear(), 0).0, SettleReason::NoMethod);
    assert_eq!(
        refused(|f| f.invoice = None, 0).0,
        SettleReason::TargetMalformed
    );
    let other = |f: &mut Facts| f.invoice.as_mut().unwrap().millisatoshi = Some(5_000_001);
    assert_eq!(refused(other, 0).0, SettleReason::AmountDiffers);
    let open = |f: &mut Facts| f.invoice.as_mut().unwrap().millisatoshi = None;
    assert_eq!(refused(open, 0).0, SettleReason::AmountDiffers);
    let late = |f: &mut Facts| f.invoice.as_mut().unwrap().expires = at(1_000);
    assert_eq!(refused(late, 0).0, SettleReason::Expired);
    assert_eq!(refused(|_| (), EXPIRES).0, SettleReason::Expired);
    let elsewhere =
        |f: &mut Facts| f.ways = vec![way("first", target("btc-lightning-bolt11", "x"))];
    assert_eq!(refused(elsewhere, 0).0, SettleReason::NoMethod);
}

#[test]
fn what_the_unit_counts_is_paid_one_for_one_and_a_user_is_no_place() {
    let place = target("bread-cash-hand", "at the café");
    let own = Facts {
        ways: vec![way("purse", place.clone())],
        invoice: None,
        quote: None,
        ..facts()
    };
    let outlay = Outlay::judge(&spend(place.clone(), None), &own, at(0)).unwrap();
    assert_eq!(outlay.plan().pays.amount.to_string(), "5");
    let less = Pays {
        asset: outlay.plan().pays.asset.clone(),
        amount: "4.99".parse().unwrap(),
    };
    let refused = Outlay::judge(&spend(place.clone(), Some(less)), &own, at(0)).unwrap_err();
    assert_eq!(refused.0, SettleReason::AmountDiffers);
    let mut to_user = spend(place, None).record().clone();
    to_user.to = SpendTo::Peer(user(3));
    let to_user = Signed::sign(to_user, &Keypair::from_secret(&[2; 32])).unwrap();
    let refused = Outlay::judge(&to_user, &own, at(0)).unwrap_err();
    assert_eq!(refused.0, SettleReason::TargetMalformed);
}

#[test]
fn a_rail_is_told_once_for_each_attempt_and_the_next_only_after_it_has_failed_for_good() {
    let mut outlay = planned();
    assert_eq!(outlay.next(), OutlayNext::Dispatch);
    let first = outlay.dispatch(at(1)).unwrap();
    assert_eq!(
        (first.way.rail.as_str(), first.ticket.attempt),
        ("first", 1)
    );
    // Whoever died here is told to look it up, and never to pay.
    assert_eq!(outlay.next(), OutlayNext::LookUp(first.clone()));
    assert_eq!(outlay.dispatch(at(2)), None);
    for said in [RailSaid::Unknown, RailSaid::InFlight, never_seen()] {
        outlay.rail_said(1, said, at(EXPIRES));
        assert_eq!(outlay.next(), OutlayNext::LookUp(first.clone()));
    }
    outlay.rail_said(1, RailSaid::FailedForGood, at(3));
    let second = outlay.dispatch(at(4)).unwrap();
    assert_eq!(
        (second.way.rail.as_str(), second.ticket.attempt),
        ("second", 2)
    );
    // What was not sent is tried again, by the same rail.
    outlay.rail_said(2, RailSaid::NotSent, at(5));
    let third = outlay.dispatch(at(6)).unwrap();
    assert_eq!(
        (third.way.rail.as_str(), third.ticket.attempt),
        ("second", 3)
    );
    // A proof of another invoice is none, and neither are words.
    let other = Proof::Preimage(Preimage::from_bytes([7; 32]));
    outlay.rail_said(3, RailSaid::Succeeded(other), at(7));
    outlay.rail_said(
        3,
        RailSaid::Succeeded(Proof::Text("paid".parse().unwrap())),
        at(7),
    );
    outlay.rail_said(4, paid(), at(7));
    assert_eq!(outlay.next(), OutlayNext::LookUp(third));
    // An earlier attempt counts if it was paid after all.
    outlay.rail_said(1, paid(), at(8));
    let proof = Proof::Preimage(preimage());
    assert_eq!(*outlay.stage(), OutlayStage::Paid { proof });
    assert_eq!(outlay.next(), OutlayNext::Over);
    outlay.rail_said(3, RailSaid::FailedForGood, at(9));
    assert!(matches!(outlay.stage(), OutlayStage::Paid { .. }));
    assert_eq!(outlay.dispatch(at(9)), None);
}

#[test]
fn it_ends_unpaid_only_when_that_is_certain() {
    let mut failed = planned();
    for attempt in 1..=2 {
        failed.dispatch(at(1)).unwrap();
        failed.rail_said(attempt, RailSaid::FailedForGood, at(2));
    }
    assert_eq!(ended(&failed), Some(SettleReason::RailFailed));
    let mut silent = planned();
    silent.dispatch(at(1)).unwrap();
    silent.rail_said(1, never_seen(), at(EXPIRES + LOOK_UP_GRACE_MS));
    assert_eq!(ended(&silent), None);
    silent.rail_said(1, RailSaid::Unknown, at(EXPIRES * 9));
    assert_eq!(ended(&silent), None);
    silent.rail_said(1, never_seen(), at(EXPIRES + LOOK_UP_GRACE_MS + 1));
    assert_eq!(ended(&silent), Some(SettleReason::Expired));
    let mut late = planned();
    assert_eq!(late.dispatch(at(EXPIRES)), None);
    assert_eq!(ended(&late), Some(SettleReason::Expired));
    // A way that fails too late has no next one.
    let mut slow = planned();
    slow.dispatch(at(1)).unwrap();
    slow.rail_said(1, RailSaid::FailedForGood, at(EXPIRES));
    assert_eq!(ended(&slow), Some(SettleReason::Expired));
}

proptest! {
    /// Whatever is said in whatever order, and whenever the owner dies: nothing begins while an attempt is open, what was paid stays
    /// paid, and what is stored comes back as it was.
    #[test]
    fn no_attempt_begins_while_another_is_open(said in proptest::collection::vec((0u8..6, 1u32..4, 0..EXPIRES * 3), 1..40)) {
        let mut outlay = planned();
        let mut open = false;
        for (word, attempt, now) in said {
            let stored = serde_json::to_string(&outlay).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Outlay>(&stored).unwrap(), &outlay);
            if let Some(order) = outlay.dispatch(at(now)) {
                prop_assert!(!open);
                prop_assert_eq!(order.ticket.attempt, outlay.attempts());
                open = true;
            }
            let over = matches!(outlay.stage(), OutlayStage::Paid { .. });
            let said = match word {
                0 => paid(),
                1 => RailSaid::FailedForGood,
                2 => RailSaid::NotSent,
                3 => RailSaid::InFlight,
                4 => never_seen(),
                _ => RailSaid::Unknown,
            };
            let decides = attempt == outlay.attempts() && matches!(word, 1 | 2 | 4);
            let before = outlay.clone();
            outlay.rail_said(attempt, said, at(now));
            if outlay.stage() != before.stage() {
                prop_assert!(open && (word == 0 || decides));
                open = false;
            }
            prop_assert!(!over || outlay == before);
        }
    }
}

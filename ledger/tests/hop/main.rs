//! Payments over several hops: all or nothing, each hop with exactly its fee, whatever breaks on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clearing;
#[path = "../common/mod.rs"]
mod common;
mod crashes;
mod exchange;
mod liars;
mod net;
mod parts;
mod play;
mod refusals;
mod unattended;

use atomicity_ledger::hop::{CollectionStage, Fate, RelayStage};
use atomicity_ledger::onion::{Failure, FailureCode};
use atomicity_ledger::pair::Standing;
use common::at;
use common::log::preimage;
use net::{DEADLINE, HASH, Net, user};

/// 1 pays 4 over 2 and 3: 500 arrive, 3 takes 6 and 2 takes 7.
fn paying() -> Net {
    let mut net = Net::chain(4);
    net.invoice(4, 500);
    net.attempt(1, 500, 520);
    let route = net.route(&[2, 3, 4], 500, 500);
    net.send(1, 0, &route).unwrap();
    net
}

fn wealth(net: &Net) -> Vec<i64> {
    net.people.iter().map(net::Person::wealth).collect()
}

fn stages(net: &Net) -> Vec<RelayStage> {
    let relays = net.people.iter().flat_map(|p| &p.store.relays);
    relays.map(|relay| relay.stage).collect()
}

fn fate(net: &Net) -> Fate {
    let attempt = net.who(1).store.attempt.as_ref().unwrap();
    attempt.parts()[0].fate.clone()
}

#[test]
fn everybody_merges_and_every_hop_ends_with_exactly_its_fee() {
    let mut net = paying();
    net.run();
    assert_eq!(wealth(&net), [-513, 7, 6, 500]);
    net.check_zero_sum();
    assert_eq!(stages(&net), [RelayStage::Paid; 2]);
    let fees: Vec<u64> = [2, 3].map(|n| net.who(n).store.relays[0].fee()).into();
    assert_eq!(fees, [7, 6]);
    assert_eq!(fate(&net), Fate::Paid);
    let attempt = net.who(1).store.attempt.as_ref().unwrap();
    let receipt = attempt.receipt().unwrap();
    assert_eq!(receipt.preimage, preimage(HASH));
    assert!(receipt.proof.is_some());
    assert_eq!(
        (attempt.progress().paid, attempt.progress().missing),
        (513, 0)
    );
    let collection = net.who(4).store.collection.as_ref().unwrap();
    let paid = CollectionStage::Paid {
        preimage: preimage(HASH),
    };
    assert_eq!((collection.stage(), collection.collected()), (&paid, 500));
    assert_eq!((net.asked.len(), net.asked[0].amount), (1, 500));
}

#[test]
fn nothing_is_owed_before_the_payee_publishes() {
    let mut net = paying();
    net.publishes = false;
    net.run();
    assert_eq!(wealth(&net), [0; 4]);
    assert_eq!((net.who(1).claim(2), net.who(4).claim(3)), (0, 0));
    assert_eq!(net.asked.len(), 1);
    let attempt = net.who(1).store.attempt.as_ref().unwrap();
    assert_eq!(attempt.progress().outstanding, 513);
    net.publish_now(3);
    net.run();
    assert_eq!(wealth(&net), [-513, 7, 6, 500]);
}

#[test]
fn a_hop_that_hears_nothing_reads_the_log() {
    let mut net = paying();
    net.publishes = false;
    net.run();
    // The payee publishes and says nothing to anybody.
    net.log.publish(&[preimage(HASH)], 1_000);
    net.read_log_of(1);
    assert_eq!(net.who(2).claim(1), 513);
    // It booked towards the hop after it too, who hears it that way.
    assert_eq!(net.who(2).balance(3), -506);
    net.run();
    // Its neighbour took the booking without having seen why; it finds that where everybody does.
    assert_eq!((net.who(3).balance(2), net.who(3).balance(4)), (506, 0));
    net.read_log_of(2);
    net.run();
    assert_eq!(wealth(&net), [-513, 7, 6, 500]);
    net.check_zero_sum();
}

#[test]
fn what_was_booked_before_its_payee_saw_why_is_paid() {
    let mut net = paying();
    net.publishes = false;
    net.run();
    net.log.publish(&[preimage(HASH)], 1_000);
    // The hop before the payee is quicker in reading the log, and books: both sides have settled it then.
    net.read_log_of(2);
    net.run();
    assert_eq!(net.who(4).balance(3), 500);
    let collection = net.who(4).store.collection.as_ref().unwrap();
    let preimage = preimage(HASH);
    assert_eq!(collection.stage(), &CollectionStage::Paid { preimage });
    // Nothing of the promise itself is kept.
    let kept = net.who(4).pair(3).promise_held(collection.parts()[0].iou);
    assert!(kept.is_none());
}

#[test]
fn a_promise_that_is_gone_without_having_been_booked_pays_no_invoice() {
    let mut net = paying();
    net.publishes = false;
    net.run();
    // Books that begin anew bind to nothing that their author never said: what was promised over the old ones is gone.
    let anew = Net::chain(4).who(4).pair(3).clone();
    net.person(4).store.take(user(3)).unwrap();
    net.person(4).store.put(anew);
    net.log.publish(&[preimage(HASH)], 1_000);
    net.read_log_of(3);
    // A change of the books by which nothing was booked.
    net.collect(3, &[]);
    let collection = net.who(4).store.collection.as_ref().unwrap();
    assert_eq!(collection.stage(), &CollectionStage::Failed);
    assert_eq!(net.who(4).balance(3), 0);
}

#[test]
fn a_hop_learns_its_neighbours_and_nothing_else() {
    let mut net = paying();
    net.publishes = false;
    net.run();
    let text = serde_json::to_string(&net.who(2).store.relays).unwrap();
    assert!(text.contains(&user(1).to_string()) && text.contains(&user(3).to_string()));
    assert!(!text.contains(&user(4).to_string()));
    let sizes: Vec<usize> = [(2u8, 1u8), (3, 2), (4, 3)]
        .iter()
        .map(|(n, from)| {
            let side = net
                .who(*n)
                .pair(*from)
                .theirs()
                .unit(&common::bread())
                .unwrap();
            let onward = side.promises()[0].iou().record().onward.as_ref();
            onward.unwrap().as_str().len()
        })
        .collect();
    assert_eq!(sizes, [sizes[0]; 3]);
}

#[test]
fn a_release_that_races_a_publication_costs_the_hop_nothing() {
    // The payee publishes, and tells its friend that it gives the promise up.
    let mut net = paying();
    net.publishes = false;
    net.run();
    net.with_collection(3, |collection, _, _| {
        let bill = collection.bill().clone();
        *collection = atomicity_ledger::hop::Collection::new(bill);
    });
    let iou = net.who(3).store.relays[0].outgoing.iou;
    let mut pair = net.person(4).store.take(user(3)).unwrap();
    let device = net.who(4).device.clone();
    let reason = atomicity_ledger::record::ReleaseReason::Declined;
    let released = pair.release(iou, reason, None, &device, net.now).unwrap();
    net.person(4).store.put(pair);
    net.log.publish(&[preimage(HASH)], 1_000);
    // The hop hears of the publication first: what went is booked, and the release comes too late.
    let mut first = net_with(&net);
    first.read_log_of(2);
    first.deliver(2, user(4), &released[0]);
    first.run();
    first.sync();
    assert_eq!((first.who(3).balance(4), first.who(3).wealth()), (-500, 6));
    // It hears of the release first: it releases in turn, and stays even.
    let mut second = net_with(&net);
    second.deliver(2, user(4), &released[0]);
    second.run();
    second.read_log();
    second.run();
    assert_eq!(wealth(&second), [0; 4]);
    // The hop before hears of the publication first, and books: what went is given up all the same, and it is the payee who loses.
    let mut third = net_with(&net);
    third.read_log_of(1);
    third.run();
    third.deliver(2, user(4), &released[0]);
    third.run();
    third.read_log();
    third.run();
    assert_eq!(wealth(&third), [-513, 7, 506, 0]);
    third.check_zero_sum();
}

/// A copy, from what everybody stored.
fn net_with(net: &Net) -> Net {
    let mut copy = Net::new(4);
    copy.log = net.log.clone();
    copy.now = net.now;
    copy.publishes = net.publishes;
    for (person, stored) in copy.people.iter_mut().zip(net.stored_all()) {
        person.restart(&stored);
    }
    copy
}

#[test]
fn a_silent_neighbour_leaves_everybody_with_what_they_can_prove() {
    let mut net = paying();
    net.publishes = false;
    // 3 takes the promise and then says nothing.
    for _ in 0..2 {
        net.step();
    }
    net.person(3).mute = true;
    net.run();
    net.now = at(DEADLINE + 10);
    net.log.tick(DEADLINE + 1);
    net.read_log();
    net.run();
    // 2 can't give back what it may still have to pay, but its friend is free by proof.
    let relay = net.who(2).store.relays[0].clone();
    assert_eq!(relay.stage, RelayStage::Sent);
    let standing = |net: &Net| {
        let held = net.who(2).pair(1).promise_held(relay.incoming.iou);
        held.map(|p| p.standing())
    };
    assert_eq!(standing(&net), Some(Standing::Expired));
    let expired = Failure::of_edge(FailureCode::Expired, user(1), user(2));
    assert_eq!(net.failure(1, 0), (None, expired));
    let can_pay = |net: &Net| {
        net.who(1)
            .pair(2)
            .limits(&common::bread(), None, net.now)
            .can_issue
    };
    assert_eq!(can_pay(&net), 1_000);
    // 3 comes back, reads the log, and releases: so does 2.
    net.person(3).mute = false;
    net.sync();
    net.read_log();
    net.sync();
    assert_eq!(stages(&net)[0], RelayStage::Returned);
    assert_eq!(wealth(&net), [0; 4]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(12))]

    #[test]
    fn whatever_the_length_the_amount_and_the_fees_each_hop_ends_with_its_fee(
        n in 2..=7u8, arrives in 1..600u64, fees in proptest::collection::vec((0..20u64, 0..50_000u32), 7)
    ) {
        let mut net = Net::chain(n);
        net.invoice(n, arrives);
        let stops: Vec<u8> = (2..=n).collect();
        let mut route = net.route(&stops, arrives, arrives);
        let mut expected = vec![arrives as i64];
        for at in (0..stops.len() - 1).rev() {
            let (base, ppm) = fees[at];
            let onward = route.stops[at + 1].amount;
            let rule = &mut net.person(stops[at]).policy.rules[0];
            (rule.base, rule.ppm) = (common::total(base), ppm);
            let fee = atomicity_ledger::record::fee(common::total(base), ppm, onward).unwrap().minor();
            route.stops[at].amount = common::amount(onward.minor() + fee);
            expected.insert(0, fee as i64);
        }
        let pays = route.stops[0].amount.minor();
        expected.insert(0, -(pays as i64));
        net.attempt(1, arrives, pays);
        net.send(1, 0, &route).unwrap();
        net.run();
        proptest::prop_assert_eq!(wealth(&net), expected);
        net.check_zero_sum();
    }
}

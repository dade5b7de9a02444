//! Payments over several hops in which one thing goes wrong, each played from beginning to end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use atomicity_ledger::hop::Fate;
use atomicity_ledger::onion::FailureCode;
use atomicity_ledger::{PaymentHash, Preimage};
use atomicity_sim::exchange::Exchange;
use atomicity_sim::plan::{Lie, LogPlan, Plan};
use atomicity_sim::rng::Rng;
use atomicity_sim::routed::Order;
use atomicity_sim::world::{SKEW, Secret, World};

fn plan(nodes: usize, edges: &[(usize, usize)]) -> Plan {
    Plan {
        nodes,
        edges: edges.to_vec(),
        units: 2,
        accept: 1_000,
        cosigners: vec![false],
        threshold: 1,
        logs: vec![LogPlan::Honest],
        liars: BTreeMap::new(),
        drop: 0,
        repeat: 0,
        reorder: 0,
        crash: 0,
        epochs: true,
        fees: vec![(1, 10_000); nodes],
        exchanges: vec![Vec::new(); nodes],
        budget: (16, 1_000_000, 40),
        min_left_ms: 1_000,
        clearing: true,
        away: false,
        steps: 0,
    }
}

/// People in a row, each a friend of the next.
fn row(nodes: usize) -> World {
    let edges: Vec<(usize, usize)> = (1..nodes).map(|n| (n - 1, n)).collect();
    world(plan(nodes, &edges))
}

fn world(plan: Plan) -> World {
    let mut world = World::of_plan(1, Rng::new(1), plan, true).unwrap();
    // Nothing is lost and nobody crashes but where a test says so.
    world.faulty = false;
    for node in &mut world.nodes {
        node.skew_ms = SKEW;
    }
    world
}

/// `payee` asks for so much in the first unit, and `payer` promises it in the unit of this number.
fn pay(world: &mut World, payer: usize, payee: usize, amount: u64, unit: usize) -> PaymentHash {
    let preimage = Preimage::from_bytes(world.rng.bytes());
    let secret = Secret {
        preimage,
        amount,
        publish_at: Some(0),
        declines: false,
    };
    let asked = world.units[0].clone();
    world.invoice(payee, &asked, secret).unwrap();
    let order = Order {
        payee,
        unit: world.units[unit].clone(),
        give: None,
        amount,
        most: 2 * amount,
    };
    assert!(world.begin(payer, &order, preimage.hash(), None).unwrap());
    world.send_parts(payer, preimage.hash(), &[amount]).unwrap();
    preimage.hash()
}

/// The logs go on, and everybody reads them.
fn go_on(world: &mut World) {
    for _ in 0..4 {
        world.deliver_all().unwrap();
        world.now_ms += 500;
        let now = world.now_ms;
        world.logs.tick(0, 0, now).unwrap();
        for n in 0..world.nodes.len() {
            world.wake(n).unwrap();
        }
    }
    world.deliver_all().unwrap();
}

fn fate(world: &World, payer: usize, hash: PaymentHash) -> Fate {
    let payment = &world.nodes[payer].live.payments[&hash];
    payment.attempt.parts()[0].fate.clone()
}

/// What all friends together owe somebody, in the unit of this number.
fn wealth(world: &World, n: usize, unit: usize) -> i64 {
    let pairs = world.nodes[n].live.pairs.values();
    pairs.map(|p| p.balance(&world.units[unit]).minor()).sum()
}

/// Brings everything to rest, and nothing may have happened that must not.
fn rest(world: &mut World) {
    world.rest().unwrap();
    assert_eq!(world.watch.violations, Vec::<String>::new());
}

#[test]
fn everybody_on_the_way_ends_with_the_fee() {
    let mut world = row(4);
    let hash = pay(&mut world, 0, 3, 50, 0);
    go_on(&mut world);
    assert_eq!(fate(&world, 0, hash), Fate::Paid);
    rest(&mut world);
    let all: Vec<i64> = (0..4).map(|n| wealth(&world, n, 0)).collect();
    assert_eq!(all, [-54, 2, 2, 50]);
}

#[test]
fn an_invoice_in_one_currency_is_not_paid_in_another() {
    let mut world = row(4);
    let hash = pay(&mut world, 0, 3, 50, 1);
    go_on(&mut world);
    let Fate::Failed { hop, failure } = fate(&world, 0, hash) else {
        panic!("it must fail");
    };
    assert_eq!((hop, failure.code), (Some(2), FailureCode::WrongAmount));
    rest(&mut world);
    for n in 0..4 {
        for pair in world.nodes[n].live.pairs.values() {
            for unit in &world.units {
                assert_eq!(pair.net_claim(unit).minor(), 0);
            }
        }
    }
}

/// Plays a payment over 0, 1, 2 and 3 that begins like this; before the record of each number arrives, `f` happens. Returns what
/// became of each, and what all friends together owed everybody then in the two units.
fn every_middle(
    begin: impl Fn() -> (World, PaymentHash),
    f: impl Fn(&mut World),
) -> Vec<(Fate, [Vec<i64>; 2])> {
    let mut ends = Vec::new();
    for at in 0.. {
        let (mut world, hash) = begin();
        for _ in 0..at {
            if !world.deliver_next().unwrap() {
                return ends;
            }
        }
        f(&mut world);
        go_on(&mut world);
        rest(&mut world);
        let all = |unit| (0..4).map(|n| wealth(&world, n, unit)).collect();
        ends.push((fate(&world, 0, hash), [all(0), all(1)]));
    }
    ends
}

/// The same with a payment of 50.
fn in_the_middle(f: impl Fn(&mut World)) -> Vec<Fate> {
    let begin = || {
        let mut world = row(4);
        let hash = pay(&mut world, 0, 3, 50, 0);
        (world, hash)
    };
    let whole = |(at, (fate, all)): (usize, (Fate, [Vec<i64>; 2]))| {
        match fate {
            Fate::Paid => assert_eq!(all[0], [-54, 2, 2, 50], "{at}"),
            Fate::Failed { .. } => assert_eq!(all[0], [0; 4], "{at}"),
            Fate::Outstanding => panic!("{at}: nothing is undecided at rest"),
        }
        fate
    };
    every_middle(begin, f)
        .into_iter()
        .enumerate()
        .map(whole)
        .collect()
}

/// 0 has the first unit, 3 wants 50 of the second, and 1 gives three of the second for seven of the first: 2 takes 2, 1 takes 2, and for
/// 54 it asks 126.
fn exchanging(asked: u64) -> (World, PaymentHash) {
    let mut plan = plan(4, &[(0, 1), (1, 2), (2, 3)]);
    plan.exchanges[1] = vec![Exchange {
        take: 0,
        give: 1,
        num: 7,
        den: 3,
        max: 200,
    }];
    let mut world = world(plan);
    // What the payer believes.
    world.plan.exchanges[1][0].num = asked;
    let preimage = Preimage::from_bytes(world.rng.bytes());
    let secret = Secret {
        preimage,
        amount: 50,
        publish_at: Some(0),
        declines: false,
    };
    let [unit, give] = [world.units[0].clone(), world.units[1].clone()];
    world.invoice(3, &give, secret).unwrap();
    let order = Order {
        payee: 3,
        unit,
        give: Some(give),
        amount: 50,
        most: 500,
    };
    assert!(world.begin(0, &order, preimage.hash(), None).unwrap());
    world.send_parts(0, preimage.hash(), &[50]).unwrap();
    world.plan.exchanges[1][0].num = 7;
    (world, preimage.hash())
}

const EXCHANGED: [[i64; 4]; 2] = [[-126, 126, 0, 0], [0, -52, 2, 50]];

#[test]
fn an_invoice_in_one_currency_is_paid_in_another_where_a_hop_exchanges() {
    let (mut world, hash) = exchanging(7);
    go_on(&mut world);
    assert_eq!(fate(&world, 0, hash), Fate::Paid);
    rest(&mut world);
    for (unit, all) in EXCHANGED.iter().enumerate() {
        let owed: Vec<i64> = (0..4).map(|n| wealth(&world, n, unit)).collect();
        assert_eq!(owed, all);
    }
    // At any other rate than the hop's nothing is owed.
    let (mut world, hash) = exchanging(6);
    go_on(&mut world);
    let Fate::Failed { hop, failure } = fate(&world, 0, hash) else {
        panic!("it must fail");
    };
    assert_eq!((hop, failure.code), (Some(0), FailureCode::FeeTooLow));
    rest(&mut world);
    for unit in 0..2 {
        assert!((0..4).all(|n| wealth(&world, n, unit) == 0));
    }
}

#[test]
fn who_exchanges_is_whole_in_both_units_whatever_happens_in_the_middle() {
    let faults: [&dyn Fn(&mut World); 5] = [
        &|world| world.hand_over(1, 0).unwrap(),
        &|world| world.hand_over(1, 2).unwrap(),
        &|world| world.restart(1).unwrap(),
        &|world| world.remove_friend(1, 2).unwrap(),
        &|world| world.recover(1).unwrap(),
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        let ends = every_middle(|| exchanging(7), fault);
        assert!(ends.len() >= 6, "{}", ends.len());
        for (at, (fate, all)) in ends.into_iter().enumerate() {
            match fate {
                Fate::Paid => assert_eq!(all, EXCHANGED, "{number} {at}"),
                Fate::Failed { .. } => assert_eq!(all, [[0; 4]; 2], "{number} {at}"),
                Fate::Outstanding => panic!("{number} {at}: nothing is undecided at rest"),
            }
        }
    }
}

#[test]
fn a_channel_is_handed_over_in_the_middle_of_a_payment() {
    for (n, peer) in [(0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2)] {
        let fates = in_the_middle(|world| world.hand_over(n, peer).unwrap());
        assert!(fates.len() >= 6, "{}", fates.len());
        assert!(
            fates.iter().all(|fate| *fate == Fate::Paid),
            "{n} to {peer}: {fates:?}"
        );
    }
}

#[test]
fn a_store_is_lost_in_the_middle_of_a_payment() {
    for n in [1, 2] {
        let fates = in_the_middle(|world| world.recover(n).unwrap());
        assert!(fates.len() >= 6, "{}", fates.len());
    }
}

#[test]
fn a_friend_is_removed_in_the_middle_of_a_payment() {
    for (n, peer) in [(1, 0), (1, 2), (2, 1), (2, 3), (3, 2)] {
        let fates = in_the_middle(|world| world.remove_friend(n, peer).unwrap());
        // What is promised already goes on.
        assert_eq!(fates.last(), Some(&Fate::Paid), "{n} and {peer}");
    }
    // Nobody promises anything to a friend who was removed.
    let fates = in_the_middle(|world| world.remove_friend(2, 3).unwrap());
    let Some(Fate::Failed { failure, .. }) = fates.first() else {
        panic!("{fates:?}");
    };
    assert_eq!(failure.code, FailureCode::UnknownNext);
}

#[test]
fn nothing_is_acknowledged_that_was_not_stored() {
    let mut world = row(3);
    let hash = pay(&mut world, 0, 2, 50, 0);
    let stored = world.nodes[1].stored.pairs.clone();
    // Whatever 1 does now ends in a crash before it is stored: 0 and 2 hear nothing of it.
    let promise = world.net[&(0, 1)].clone();
    world.faulty = true;
    world.plan.crash = 1_000;
    assert!(world.deliver_next().unwrap());
    assert_eq!(world.nodes[1].stored.pairs, stored);
    assert!(world.nodes[1].stored.relays.is_empty());
    assert!(world.net.values().all(Vec::is_empty));
    // It comes again.
    world.plan.crash = 0;
    world.faulty = false;
    world.net.insert((0, 1), promise);
    go_on(&mut world);
    assert_eq!(fate(&world, 0, hash), Fate::Paid);
    rest(&mut world);
}

#[test]
fn whoever_only_locks_credit_gets_no_more_than_its_budget() {
    // 1 promises over 0 to everybody, and never publishes; 2 pays 3 over 0 all the while.
    let mut plan = plan(6, &[(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]);
    plan.budget = (3, 60, 4);
    plan.liars.insert(1, vec![Lie::Locks]);
    let mut world = world(plan);
    let mut most = 0;
    let mut passed_on = 0;
    for round in 0..12 {
        for _ in 0..4 {
            world.lock(1).unwrap();
            world.deliver_all().unwrap();
        }
        let upstream = world.nodes[1].user();
        let relays = world.nodes[0].live.relays.values();
        let locked: Vec<u64> = relays
            .filter(|relay| relay.incoming.peer == upstream && relay.unit == world.units[0])
            .map(|relay| relay.incoming.amount.minor())
            .collect();
        let sum: u64 = locked.iter().sum();
        assert!(locked.len() <= 3 && sum <= 60, "{locked:?}");
        most = most.max(locked.len());
        passed_on += locked.len();
        let hash = pay(&mut world, 2, 3, 5, 0);
        go_on(&mut world);
        assert_eq!(fate(&world, 2, hash), Fate::Paid, "round {round}");
        world.now_ms += 10_000;
        assert_eq!(world.watch.violations, Vec::<String>::new());
    }
    // It did get something, and far less than it asked for.
    assert!(most > 0 && passed_on < 48, "{most} {passed_on}");
    rest(&mut world);
}

/// How many channels are stored, and how many records sent, when 1 pays 2 over 0, who has so many friends.
fn cost(friends: usize) -> (u64, u64) {
    let edges: Vec<(usize, usize)> = (1..=friends).map(|friend| (0, friend)).collect();
    let mut world = world(plan(friends + 1, &edges));
    // Everybody owes and is owed something already.
    for friend in 3..=friends {
        pay(&mut world, friend, if friend == 3 { 2 } else { 3 }, 5, 0);
    }
    go_on(&mut world);
    let before = (world.stats.stored, world.stats.records);
    let hash = pay(&mut world, 1, 2, 50, 0);
    world.deliver_all().unwrap();
    let held = world.nodes[2].live.collections[&hash].collected();
    assert_eq!(held, 50);
    let after = (world.stats.stored, world.stats.records);
    (after.0 - before.0, after.1 - before.1)
}

#[test]
fn a_payment_costs_a_hop_with_many_friends_what_it_costs_one_with_few() {
    let few = cost(2);
    assert!(few.0 > 0 && few.1 > 0);
    assert_eq!(cost(5), few);
    assert_eq!(cost(24), few);
}

//! Whatever network, homeservers and lost devices do, both sides end with the same balances.
//!
//! Two users pay each other in two units, move their credit lines up and down, hand their books over, lose their devices and
//! recover, while the network between them reorders, repeats and loses what they send, and files are read late and in any order.
//! Then each reads the other's newest file, as a sync does, until nothing is left to say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;

use common::world::{Actor, Failed, Step, World, units};
use proptest::prelude::*;

/// The most refusals of one unit that a wallet keeps until the peer has read them.
const KEPT_REFUSALS: usize = 8;

fn who() -> impl Strategy<Value = usize> {
    0..2usize
}

/// What happens between two wallets that stay as they are.
fn everyday() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (who(), 0..2usize, 1u64..400)
            .prop_map(|(by, unit, minor)| Step::Pay { by, unit, minor }),
        2 => (who(), 0..2usize, 0u64..600)
            .prop_map(|(by, unit, accept)| Step::Line { by, unit, accept }),
        1 => who().prop_map(|by| Step::Rebook { by }),
        7 => (who(), any::<usize>(), any::<bool>())
            .prop_map(|(to, pick, keep)| Step::Deliver { to, pick, keep }),
        2 => (who(), any::<usize>()).prop_map(|(to, pick)| Step::Lose { to, pick }),
        1 => who().prop_map(|by| Step::Publish { by }),
        1 => (who(), any::<bool>(), any::<u64>())
            .prop_map(|(by, old, order)| Step::Read { by, old, order }),
    ]
}

/// The same, and devices that come and go.
fn troubled() -> impl Strategy<Value = Step> {
    prop_oneof![
        16 => everyday(),
        1 => who().prop_map(|by| Step::HandOver { by }),
        1 => (who(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(by, old_own, old_peers, revoke)| Step::Recover { by, old_own, old_peers, revoke }
        ),
    ]
}

fn played(steps: Vec<Step>) -> World {
    let mut world = World::new(300);
    for step in steps {
        world.play(step);
    }
    world.settle();
    world
}

/// Both say the same, and nobody waits for anything.
fn at_rest(world: &World) {
    let [a, b] = &world.actors;
    for unit in &units() {
        let (own_a, own_b) = (a.pair.own(), b.pair.own());
        assert_eq!(own_a.issued(unit), b.pair.theirs().issued(unit));
        assert_eq!(own_b.issued(unit), a.pair.theirs().issued(unit));
        assert_eq!(a.pair.balance(unit), b.pair.balance(unit).mirrored());
    }
    for actor in [a, b] {
        assert!(!actor.pair.is_waiting() && !actor.pair.is_behind());
        for unit in &units() {
            assert!(actor.pair.frozen(unit).is_none());
            let open = actor.pair.own().unit(unit).map(|u| u.unacknowledged());
            assert_eq!(open.unwrap_or(0), 0, "{unit} is not acknowledged");
        }
    }
}

/// Nothing was told twice, nothing failed that was not given back, and of what was given back everything was told.
fn rightly_told(payer: &Actor, payee: &Actor) {
    let told: BTreeSet<String> = payee
        .told
        .payments
        .iter()
        .map(|id| id.to_string())
        .collect();
    assert_eq!(told.len(), payee.told.payments.len(), "told twice");
    let refused: BTreeSet<&Failed> = payer.told.refused.iter().collect();
    assert_eq!(refused.len(), payer.told.refused.len(), "refused twice");
    if payer.lost_notes || payee.lost_notes {
        return;
    }
    let paid_back: BTreeSet<&Failed> = payee.told.paid_back.iter().collect();
    assert!(refused.is_subset(&paid_back), "refused, but not paid back");
    for unit in &units() {
        let of_unit = |set: &BTreeSet<&Failed>| set.iter().filter(|f| f.0 == *unit).count();
        if of_unit(&paid_back) <= KEPT_REFUSALS {
            assert_eq!(of_unit(&refused), of_unit(&paid_back), "paid back untold");
        }
    }
}

/// What was lost on the way comes after all. It changes nothing any more, unless a recovery could not know of it: then both come
/// to rest anew.
fn late_records_do_no_harm(world: &mut World) {
    let balances = |world: &World| {
        let of = |actor: &Actor| units().map(|unit| actor.pair.balance(&unit));
        [of(&world.actors[0]), of(&world.actors[1])]
    };
    let before = balances(world);
    for to in 0..2 {
        for record in world.on_the_way[to].clone() {
            world.deliver(to, &record);
        }
    }
    if !world.actors.iter().any(|actor| actor.recovered) {
        assert_eq!(balances(world), before);
    }
    world.settle();
    at_rest(world);
}

fn check(steps: Vec<Step>) {
    let mut world = played(steps);
    at_rest(&world);
    late_records_do_no_harm(&mut world);
    let [a, b] = &world.actors;
    rightly_told(a, b);
    rightly_told(b, a);
}

/// Both homeservers show files from before a recovery, and the device goes on before anybody has answered: the other has a book of the root
/// that is newer than the one that this device began with.
#[test]
fn who_recovers_from_files_before_another_recovery_learns_of_it() {
    let recover = |old| Step::Recover {
        by: 0,
        old_own: old,
        old_peers: old,
        revoke: false,
    };
    check(vec![
        Step::HandOver { by: 0 },
        recover(false),
        Step::HandOver { by: 0 },
        Step::Deliver {
            to: 1,
            pick: 6_573_895_924_967_068_573,
            keep: false,
        },
        recover(true),
        Step::Rebook { by: 0 },
        Step::HandOver { by: 0 },
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn both_sides_agree_in_the_end(steps in proptest::collection::vec(everyday(), 1..60)) {
        check(steps);
    }

    #[test]
    fn both_sides_agree_in_the_end_although_devices_are_handed_over_and_lost(
        steps in proptest::collection::vec(troubled(), 1..50),
    ) {
        check(steps);
    }
}

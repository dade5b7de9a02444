//! A village in debt: circles are found in what people publish, and cleared by payments over real channels and real hops.
//!
//! Whatever is cleared, everybody's net position stays what it was, nobody takes a fee, no debt grows; at the end no circle is left of
//! debts that are worth it and that both ends agree to have cleared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../ledger/tests/common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../../ledger/tests/hop/net.rs"]
mod net;
#[allow(dead_code)]
#[path = "../../ledger/tests/hop/play.rs"]
mod play;

use std::collections::{BTreeMap, BTreeSet};

use atomicity_ledger::hop::{CollectionStage, Fate, HopRule, RelayStage, Route};
use atomicity_ledger::pair::PaymentNote;
use atomicity_ledger::record::{Clears, coarse};
use atomicity_ledger::{Preimage, RecordId, Seq, Timestamp, UserKey};
use atomicity_routing::{CircleRequest, Debt, DebtCircle, Debts, MAX_CIRCLE_EDGES, MAX_CIRCLES};
use atomicity_sim::rng::Rng;
use common::{amount, at, bread, total};
use net::{Net, user};

const PEOPLE: u8 = 50;
/// What everybody lets a friend owe.
const LINE: u64 = 1_000;
/// Smaller debts are not worth a payment.
const LEAST: u64 = 20;

/// By creditor and debtor, what is owed.
type Owed = BTreeMap<(u8, u8), u64>;

struct Village {
    net: Net,
    names: BTreeMap<UserKey, u8>,
    /// Those who do not agree to have anything cleared.
    reserved: BTreeSet<u8>,
    rng: Rng,
    circles: u32,
    promises: usize,
}

impl Village {
    /// People with random friends, who owe each other random debts.
    fn new(seed: u64) -> Self {
        let mut village = Self {
            net: Net::new(PEOPLE),
            names: (1..=PEOPLE).map(|n| (user(n), n)).collect(),
            reserved: BTreeSet::new(),
            rng: Rng::new(seed),
            circles: 0,
            promises: 0,
        };
        for n in 1..=PEOPLE {
            let agrees = !village.rng.chance(60);
            if !agrees {
                village.reserved.insert(n);
            }
            // Nobody passes on anything else, and whoever clears takes nothing: a fee would be a failure.
            village.net.person(n).policy.rules = vec![HopRule {
                forward: false,
                clearing: agrees,
                ..HopRule::allow(None, None, total(1), 10_000).unwrap()
            }];
        }
        let mut friends = BTreeSet::new();
        while friends.len() < 150 {
            let (a, b) = (village.anybody(), village.anybody());
            if a != b && friends.insert((a.min(b), a.max(b))) {
                village.net.connect(a, b, LINE, LINE);
                let minor = village.rng.between(1, LINE);
                village.give(b, a, minor);
            }
        }
        village
    }

    fn anybody(&mut self) -> u8 {
        u8::try_from(self.rng.between(1, PEOPLE.into())).unwrap()
    }

    /// `from` pays by owing.
    fn give(&mut self, from: u8, to: u8, minor: u64) {
        let now = self.net.now;
        let id = RecordId::from_entropy(self.rng.bytes()[..16].try_into().unwrap());
        let note = PaymentNote {
            id,
            reference: None,
            memo: None,
        };
        let person = self.net.person(from);
        let device = person.device.clone();
        let mut pair = person.store.take(user(to)).unwrap();
        let issued = pair.issue(&bread(), amount(minor), None, note, &device, now);
        person.store.put(pair);
        let issued = issued.unwrap();
        for record in [issued.state.into(), issued.payment.into()] {
            self.net.wire.push_back((user(from), user(to), record));
        }
        self.net.run();
    }

    fn owed(&self) -> Owed {
        let mut owed = Owed::new();
        for (person, a) in self.net.people.iter().zip(1u8..) {
            for (peer, pair) in &person.store.pairs {
                let balance = pair.balance(&bread()).minor();
                assert_eq!(balance, pair.net_claim(&bread()).minor());
                if balance > 0 {
                    owed.insert((a, self.names[peer]), balance.unsigned_abs());
                }
            }
        }
        owed
    }

    fn wealth(&self) -> Vec<i64> {
        let people = self.net.people.iter();
        people.map(|person| person.wealth()).collect()
    }

    /// What everybody publishes about their debts now.
    fn published(&self, seq: u64) -> Debts {
        let mut debts = Debts::new();
        for (person, n) in self.net.people.iter().zip(1u8..) {
            if self.reserved.contains(&n) {
                continue;
            }
            for (peer, pair) in &person.store.pairs {
                let owed = coarse(pair.surely_owed(&bread())).map(Clears::Owed);
                let clears = owed.or_else(|| coarse(pair.surely_owes(&bread())).map(Clears::Owes));
                let Some(clears) = clears else { continue };
                let debt = Debt {
                    from: person.user,
                    to: *peer,
                    seq: Seq::new(seq).unwrap(),
                    clears,
                    expires: Timestamp::saturating_from_millis(u64::MAX),
                };
                debts.apply(&bread(), &debt).unwrap();
            }
        }
        debts
    }

    fn circles_of(&self, debts: &Debts, n: u8) -> Vec<DebtCircle> {
        let request = CircleRequest {
            user: user(n),
            unit: bread(),
            max_edges: MAX_CIRCLE_EDGES,
            most: MAX_CIRCLES,
            min: amount(LEAST),
            now: at(1),
        };
        debts.circles(&request).unwrap()
    }

    /// A payment from `n` to `n` round the circle.
    fn clear(&mut self, n: u8, circle: &DebtCircle) {
        self.net.now = self.net.now.plus_millis(1);
        self.net.secret = Preimage::from_bytes(self.rng.bytes());
        let minor = circle.amount.minor();
        self.net.invoice(n, minor);
        self.net.attempt(n, minor, minor);
        let stops: Vec<u8> = circle.users.iter().map(|user| self.names[user]).collect();
        let mut route: Route = self.net.route(&stops, minor, minor);
        for stop in &mut route.stops {
            stop.amount = circle.amount;
        }
        self.net.send(n, 0, &route).unwrap();
        self.net.run();

        let store = &self.net.who(n).store;
        let attempt = store.attempt.as_ref().unwrap();
        assert_eq!(attempt.parts()[0].fate, Fate::Paid, "{circle:?}");
        assert_eq!(attempt.progress().paid, minor);
        let stage = store.collection.as_ref().unwrap().stage();
        assert!(matches!(stage, CollectionStage::Paid { .. }));
        // Everybody between has passed it on for nothing, and has both proofs.
        for hop in &stops[..stops.len() - 1] {
            let relays = std::mem::take(&mut self.net.person(*hop).store.relays);
            assert_eq!(relays.len(), 1);
            assert_eq!((relays[0].fee(), relays[0].stage), (0, RelayStage::Paid));
        }
        self.circles += 1;
        self.promises += stops.len();
    }

    /// Clears until nobody finds a circle any more.
    fn clear_all(&mut self) {
        for seq in 1.. {
            let before = self.circles;
            for n in 1..=PEOPLE {
                let debts = self.published(seq);
                for circle in self.circles_of(&debts, n) {
                    self.clear(n, &circle);
                }
            }
            if self.circles == before {
                return;
            }
        }
    }
}

/// Whether a chain of at most so many of these debts leads from somebody back to them. Not the way in which a router looks.
fn has_circle(debts: &BTreeSet<(u8, u8)>, most: usize) -> bool {
    (1..=PEOPLE).any(|start| {
        let mut here = BTreeSet::from([start]);
        (0..most).any(|_| {
            let next = debts.iter().filter(|(from, _)| here.contains(from));
            here = next.map(|(_, to)| *to).collect();
            here.contains(&start)
        })
    })
}

/// What both agree to have cleared, and is worth it.
fn worth_it(owed: &Owed, reserved: &BTreeSet<u8>) -> BTreeSet<(u8, u8)> {
    let agreed = |(a, b): &(u8, u8)| !reserved.contains(a) && !reserved.contains(b);
    let wide = |minor: u64| coarse(minor).is_some_and(|told| told.minor() >= LEAST);
    let edges = owed
        .iter()
        .filter(|(edge, minor)| agreed(edge) && wide(**minor));
    edges.map(|(edge, _)| *edge).collect()
}

fn play(seed: u64) {
    let mut village = Village::new(seed);
    let (owed, wealth) = (village.owed(), village.wealth());
    assert!(has_circle(
        &worth_it(&owed, &village.reserved),
        MAX_CIRCLE_EDGES
    ));
    village.clear_all();

    let after = village.owed();
    let gross = |owed: &Owed| owed.values().sum::<u64>();
    println!(
        "seed {seed}: {} debts of {} became {} of {}, by {} circles of {} promises; {} of {PEOPLE} do not take part",
        owed.len(),
        gross(&owed),
        after.len(),
        gross(&after),
        village.circles,
        village.promises,
        village.reserved.len(),
    );
    assert_eq!(village.wealth(), wealth);
    village.net.check_zero_sum();
    // Each debt is as large as it was or smaller, and nobody owes anybody who did not before.
    for (edge, minor) in &after {
        assert!(owed.get(edge).is_some_and(|before| before >= minor));
        assert!(*minor <= LINE);
    }
    // What those who did not agree owe and are owed is untouched.
    for (edge, minor) in &owed {
        if village.reserved.contains(&edge.0) || village.reserved.contains(&edge.1) {
            assert_eq!(after.get(edge), Some(minor));
        }
    }
    assert!(gross(&after) < gross(&owed));
    let left = worth_it(&after, &village.reserved);
    assert!(!has_circle(&left, MAX_CIRCLE_EDGES), "{left:?}");
}

#[test]
fn fifty_people_owe_each_other_less_and_nobody_is_richer_or_poorer() {
    for seed in 1..=3 {
        play(seed);
    }
}

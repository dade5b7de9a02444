//! Whatever the network does, both sides end with the same balances.
//!
//! Two users pay each other, move their credit lines up and down and hand their books over, while the network between them
//! reorders, repeats and loses what they send. Then each gets the other's newest records once more, as a sync brings them, until
//! nothing is left to say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use atomicity_ledger::pair::{NewBook, Outcome, Pair};
use atomicity_ledger::{AnyRecord, Epoch};
use common::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Pay { by: bool, minor: u64 },
    Line { by: bool, accept: u64 },
    Rebook { by: bool },
    Deliver { to: bool, pick: usize, keep: bool },
    Lose { to: bool, pick: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), 1u64..400).prop_map(|(by, minor)| Step::Pay { by, minor }),
        2 => (any::<bool>(), 0u64..600).prop_map(|(by, accept)| Step::Line { by, accept }),
        1 => any::<bool>().prop_map(|by| Step::Rebook { by }),
        6 => (any::<bool>(), any::<usize>(), any::<bool>())
            .prop_map(|(to, pick, keep)| Step::Deliver { to, pick, keep }),
        2 => (any::<bool>(), any::<usize>()).prop_map(|(to, pick)| Step::Lose { to, pick }),
    ]
}

struct World {
    a: Party,
    b: Party,
    to_a: Vec<AnyRecord>,
    to_b: Vec<AnyRecord>,
}

impl World {
    fn new() -> Self {
        let (a, b) = friends(300, 300);
        Self {
            a,
            b,
            to_a: Vec::new(),
            to_b: Vec::new(),
        }
    }

    /// (who acts, what is on the way to the other).
    fn acting(&mut self, by_a: bool) -> (&mut Party, &mut Vec<AnyRecord>) {
        if by_a {
            (&mut self.a, &mut self.to_b)
        } else {
            (&mut self.b, &mut self.to_a)
        }
    }

    /// (who receives, what is on the way to them, what goes back).
    fn receiving(&mut self, to_a: bool) -> (&mut Party, &mut Vec<AnyRecord>, &mut Vec<AnyRecord>) {
        if to_a {
            (&mut self.a, &mut self.to_a, &mut self.to_b)
        } else {
            (&mut self.b, &mut self.to_b, &mut self.to_a)
        }
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Pay { by, minor } => {
                let (party, out) = self.acting(by);
                if let Ok(issued) = party.issue(minor) {
                    out.push(issued.state.into());
                    out.push(issued.payment.into());
                }
            }
            Step::Line { by, accept } => {
                let (party, out) = self.acting(by);
                let line = party.line(accept);
                out.push(line);
            }
            Step::Rebook { by } => {
                let (party, out) = self.acting(by);
                let new = NewBook {
                    key: party.device.signer_key(),
                    caps: BTreeMap::from([(bread(), total(1_000_000))]),
                    continues: true,
                    at_least: Epoch::ZERO,
                };
                let pen = party.device.clone();
                let book = party.pair.open_book(new, &pen, at(1)).unwrap();
                out.push(book.into());
            }
            Step::Deliver { to, pick, keep } => {
                let (party, queue, back) = self.receiving(to);
                if queue.is_empty() {
                    return;
                }
                let at = pick % queue.len();
                let record = if keep {
                    queue[at].clone()
                } else {
                    queue.remove(at)
                };
                deliver(party, &record, back);
            }
            Step::Lose { to, pick } => {
                let (_, queue, _) = self.receiving(to);
                if !queue.is_empty() {
                    let at = pick % queue.len();
                    queue.remove(at);
                }
            }
        }
    }

    /// Lets both read each other's channel files until neither learns anything new.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 12, "the two never come to rest");
            let (before_a, before_b) = (self.a.pair.clone(), self.b.pair.clone());
            read_file(&mut self.a, &before_b);
            read_file(&mut self.b, &before_a);
            if self.a.pair == before_a && self.b.pair == before_b {
                return;
            }
        }
    }
}

/// Totals may never fall, whatever arrives.
fn deliver(party: &mut Party, record: &AnyRecord, back: &mut Vec<AnyRecord>) {
    let before = (
        party.pair.own().issued(&bread()),
        party.pair.theirs().issued(&bread()),
    );
    if let Ok(Outcome::Applied { replies, .. }) = party.receive(record) {
        back.extend(replies);
    }
    let after = (
        party.pair.own().issued(&bread()),
        party.pair.theirs().issued(&bread()),
    );
    assert!(after.0 >= before.0 && after.1 >= before.1, "a total fell");
}

fn read_file(reader: &mut Party, writer: &Pair) {
    let mut unsent = Vec::new();
    for jws in writer.file_records().own {
        deliver(reader, &AnyRecord::decode(&jws).unwrap(), &mut unsent);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn both_sides_agree_in_the_end(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.play(step);
        }
        world.settle();
        let (a, b) = (&world.a, &world.b);
        prop_assert_eq!(a.balance(), -b.balance());
        prop_assert_eq!(a.pair.own().issued(&bread()), b.pair.theirs().issued(&bread()));
        prop_assert_eq!(b.pair.own().issued(&bread()), a.pair.theirs().issued(&bread()));
        for party in [a, b] {
            prop_assert!(party.pair.frozen(&bread()).is_none());
            prop_assert!(!party.pair.is_behind());
            prop_assert_eq!(party.pair.own().unit(&bread()).map_or(0, |u| u.unacknowledged()), 0);
        }
        // What was lost on the way and comes after all changes nothing any more.
        let (before_a, before_b) = (a.balance(), b.balance());
        let World { mut a, mut b, to_a, to_b } = world;
        for record in &to_a {
            deliver(&mut a, record, &mut Vec::new());
        }
        for record in &to_b {
            deliver(&mut b, record, &mut Vec::new());
        }
        prop_assert_eq!((a.balance(), b.balance()), (before_a, before_b));
    }
}

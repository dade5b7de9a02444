//! Somebody crashes at any step: before what it did is stored, or after that and before it is sent.

use atomicity_ledger::hop::{Neighbour, Relay, RelayStage, Tally, follow};
use atomicity_ledger::pair::Event;

use crate::common::log::preimage;
use crate::common::{at, bread};
use crate::net::{DEADLINE, HASH, Net, user};
use crate::{paying, wealth};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Crash {
    /// Nothing of the step was stored; the record comes again.
    BeforeStore,
    /// The step was stored, and nothing of it was sent.
    BeforeSend,
}

impl Net {
    pub fn stored_all(&self) -> Vec<String> {
        self.people.iter().map(crate::net::Person::stored).collect()
    }
}

/// Plays a payment; at step `at` whoever handles it crashes. Whether there was such a step.
fn play(mut net: Net, step: usize, crash: Crash) -> (Net, bool) {
    let mut crashed = false;
    for n in 0..500 {
        if n == step && !net.wire.is_empty() {
            crashed = true;
            let before = net.stored_all();
            let (sent, taken) = (net.wire.clone(), net.wire[0].clone());
            net.step();
            match crash {
                Crash::BeforeStore => {
                    for (person, stored) in net.people.iter_mut().zip(&before) {
                        person.restart(stored);
                    }
                    net.wire = sent;
                }
                Crash::BeforeSend => {
                    let after = net.stored_all();
                    for (person, stored) in net.people.iter_mut().zip(&after) {
                        person.restart(stored);
                    }
                    // What others had under way before arrives; what this step said does not.
                    net.wire = sent;
                    net.wire.pop_front();
                    // The neighbour has heard nothing and sends its record again.
                    net.wire.push_back(taken);
                }
            }
        } else if !net.step() {
            break;
        }
    }
    (net, crashed)
}

fn every_step(make: impl Fn() -> Net, end: impl Fn(Net, usize, Crash)) -> usize {
    let mut steps = 0;
    for crash in [Crash::BeforeStore, Crash::BeforeSend] {
        for step in 0.. {
            let (mut net, crashed) = play(make(), step, crash);
            if !crashed {
                break;
            }
            steps += 1;
            net.sync();
            end(net, step, crash);
        }
    }
    steps
}

#[test]
fn a_payment_ends_whole_whoever_crashes_at_whatever_step() {
    let steps = every_step(paying, |mut net, step, crash| {
        // What was stored and not sent is published again; then everybody reads the log.
        net.read_log();
        net.sync();
        assert_eq!(wealth(&net), [-513, 7, 6, 500], "step {step}, {crash:?}");
        net.check_zero_sum();
        let relays = net.people.iter().map(|p| p.store.relays.len());
        assert_eq!(relays.collect::<Vec<_>>(), [0, 1, 1, 0]);
    });
    assert!(steps >= 30, "{steps}");
}

#[test]
fn a_payment_that_fails_leaves_nothing_whoever_crashes_at_whatever_step() {
    let failing = || {
        let mut net = paying();
        net.person(4).store.collection = None;
        net
    };
    let steps = every_step(failing, |mut net, step, crash| {
        net.now = at(DEADLINE + 10);
        net.log.tick(DEADLINE + 1);
        net.read_log();
        net.sync();
        assert_eq!(wealth(&net), [0; 4], "step {step}, {crash:?}");
        for (a, b) in [(1, 2), (2, 3), (3, 4)] {
            let side = net.who(a).pair(b).own().unit(&bread());
            assert_eq!(
                side.map_or(0, |s| s.undecided()),
                0,
                "step {step}, {crash:?}"
            );
        }
        let attempt = net.who(1).store.attempt.as_ref().unwrap();
        assert_eq!(attempt.progress().outstanding, 0);
    });
    assert!(steps >= 12, "{steps}");
}

#[test]
fn the_same_record_again_changes_nothing() {
    // Everything is delivered twice, and each promise is acted on twice.
    let mut net = paying();
    for _ in 0..500 {
        let Some(taken) = net.wire.front().cloned() else {
            break;
        };
        net.step();
        let (before, wire) = (net.stored_all(), net.wire.clone());
        let here = net.people.iter().position(|p| p.user == taken.1).unwrap();
        net.deliver(here, taken.0, &taken.2);
        assert_eq!(net.stored_all(), before, "{}", taken.2.typ());
        net.wire = wire;
    }
    assert_eq!(wealth(&net), [-513, 7, 6, 500]);
}

#[test]
fn a_store_that_has_lost_its_relays_promises_nothing_twice() {
    let mut net = paying();
    net.publishes = false;
    net.run();
    let before = net.who(2).store.relays.clone();
    // As after a recovery: the promises are there, and not what connects them.
    let relay = net.person(2).store.relays.remove(0);
    let mut pair = net.person(2).store.take(relay.incoming.peer).unwrap();
    pair.mark_forwarded(relay.incoming.iou, false).unwrap();
    net.person(2).store.put(pair);
    net.react(1, relay.incoming.peer, &[]);
    assert_eq!(net.who(2).store.relays, before);
    let given = net.who(2).pair(3).own().unit(&bread()).unwrap();
    assert_eq!(given.promises().len(), 1);
    net.publish_now(3);
    net.run();
    assert_eq!(wealth(&net), [-513, 7, 6, 500]);
}

/// Calls `follow` for the relay of 2, and says how far it is then.
fn followed(net: &mut Net, relay: &mut Relay, events: &[Event]) -> (RelayStage, usize) {
    let step = net.with_context(1, |person, context| {
        let mut incoming = person.store.take(user(1)).unwrap();
        let mut outgoing = person.store.take(user(3)).unwrap();
        let pen = &person.device;
        let step = follow(
            relay,
            Neighbour {
                pair: &mut incoming,
                pen,
            },
            Neighbour {
                pair: &mut outgoing,
                pen,
            },
            events,
            &person.policy,
            &mut Tally::default(),
            context,
        );
        person.store.put(incoming);
        person.store.put(outgoing);
        step.unwrap()
    });
    let sent = step.send.len();
    net.post(user(2), step);
    (relay.stage, sent)
}

#[test]
fn a_promise_that_was_booked_and_forgotten_is_still_paid_for() {
    let mut net = paying();
    net.publishes = false;
    net.run();
    let mut relay = net.who(2).store.relays[0].clone();
    // The promise onward is gone from its pair, and nobody says why: nothing follows.
    let merged = Event::Merged {
        iou: relay.outgoing.iou,
        unit: bread(),
        amount: relay.outgoing.amount,
        preimage: preimage(HASH),
    };
    let mut other = relay.clone();
    other.outgoing.iou = relay.incoming.iou;
    assert_eq!(followed(&mut net, &mut other, &[]), (RelayStage::Sent, 0));
    assert_eq!(
        followed(&mut net, &mut other, std::slice::from_ref(&merged)),
        (RelayStage::Sent, 0)
    );
    // It was booked in this very step: what was published is to be looked for.
    assert_eq!(relay.wanted(), None);
    let due = RelayStage::Due {
        preimage: preimage(HASH),
    };
    assert_eq!(followed(&mut net, &mut relay, &[merged]), (due, 0));
    assert_eq!(relay.wanted(), Some(preimage(HASH)));
    // From then on nothing is given back, even where the log says that it has expired.
    relay.outgoing.iou = other.outgoing.iou;
    net.now = at(DEADLINE + 10);
    net.log.tick(DEADLINE + 1);
    net.person(2).store.relays.clear();
    net.read_log_of(1);
    assert_eq!(followed(&mut net, &mut relay, &[]), (due, 0));
    // The other, of which nobody knows anything, is given back by that proof.
    assert_eq!(
        followed(&mut net, &mut other, &[]),
        (RelayStage::Returned, 1)
    );
    net.run();
    assert!(
        net.who(1)
            .pair(2)
            .own()
            .unit(&bread())
            .unwrap()
            .slots_taken()
            == 0
    );
}

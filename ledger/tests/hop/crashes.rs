//! Somebody crashes at any step: before what it did is stored, or after that and before it is sent.

use atomicity_ledger::hop::{Neighbour, Relay, RelayStage, Tally, follow};
use atomicity_ledger::pair::{Event, NewBook, NewPromise, Standing};
use atomicity_ledger::{AnyRecord, Epoch};

use crate::common::log::preimage;
use crate::common::{amount, at, bread, key, total};
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
    set_outgoing(&mut net, |pair| pair["waiting"] = true.into());
    net.react(1, relay.incoming.peer, &[]);
    // Until 3 has answered, 2 can't know whether it had promised anything.
    assert_eq!(net.who(2).store.relays, []);
    let held = net.who(2).pair(1).theirs().unit(&bread()).unwrap();
    assert_eq!(held.undecided(), 513);
    set_outgoing(&mut net, |pair| {
        pair["waiting"] = false.into();
        pair["own"]["units"]["BREAD/2"]["promises"][0]["found"] = true.into();
    });
    net.react(1, relay.incoming.peer, &[]);
    assert_eq!(net.who(2).store.relays, before);
    let given = net.who(2).pair(3).own().unit(&bread()).unwrap();
    assert_eq!(given.promises().len(), 1);
    net.publish_now(3);
    net.run();
    assert_eq!(wealth(&net), [-513, 7, 6, 500]);
}

/// Changes what 2 has stored about 3.
fn set_outgoing(net: &mut Net, change: impl Fn(&mut serde_json::Value)) {
    let pair = net.person(2).store.take(user(3)).unwrap();
    let mut value = serde_json::to_value(&pair).unwrap();
    change(&mut value);
    net.person(2)
        .store
        .put(serde_json::from_value(value).unwrap());
}

#[test]
fn what_a_lost_store_may_have_published_is_not_given_up_as_unknown() {
    let lost = |found: bool| {
        let mut net = paying();
        net.publishes = false;
        net.run();
        net.person(4).store.collection = None;
        let pair = net.person(4).store.take(user(3)).unwrap();
        let mut value = serde_json::to_value(&pair).unwrap();
        value["theirs"]["units"]["BREAD/2"]["promises"][0]["found"] = found.into();
        let pair = serde_json::from_value(value).unwrap();
        net.person(4).store.put(pair);
        net.react(3, user(3), &[]);
        net.run();
        net.log.publish(&[preimage(HASH)], 1_000);
        net.read_log();
        net.run();
        net.sync();
        wealth(&net)
    };
    assert_eq!(lost(true), [-513, 7, 6, 500]);
    // Of an invoice that there never was, nothing is kept.
    assert_eq!(lost(false), [0; 4]);
}

#[test]
fn what_comes_only_after_a_loss_may_have_come_before_it() {
    let lost = |by_root: bool| {
        let mut net = paying();
        net.publishes = false;
        net.person(4).store.collection = None;
        let mut pair = net.person(4).store.take(user(3)).unwrap();
        let device = net.person(4).device.clone();
        let book = NewBook {
            key: device.signer_key(),
            caps: [(bread(), total(1_000_000))].into(),
            continues: true,
            at_least: Epoch::ZERO,
        };
        let signer = if by_root { key(4) } else { device };
        let book = pair.open_book(book, &signer, net.now).unwrap();
        net.person(4).store.put(pair);
        net.wire.push_front((user(4), user(3), book.into()));
        net.run();
        net.log.publish(&[preimage(HASH)], 1_000);
        net.read_log();
        net.run();
        net.sync();
        wealth(&net)
    };
    assert_eq!(lost(true), [-513, 7, 6, 500]);
    // Whose store goes on under another key has forgotten nothing.
    assert_eq!(lost(false), [0; 4]);
}

/// 1 promises once more, and hangs the layers of its first promise on that.
fn repeat_layers(net: &mut Net) -> AnyRecord {
    let logs = net.log.known();
    let now = net.now;
    let person = net.person(1);
    let device = person.device.clone();
    let mut pair = person.store.take(user(2)).unwrap();
    let first = pair.own().unit(&bread()).unwrap().promises()[0]
        .iou()
        .clone();
    let first = first.record();
    let again = NewPromise {
        unit: first.unit.clone(),
        amount: amount(1),
        terms: first.terms.clone(),
        onward: first.onward.clone(),
    };
    let iou = pair.promise(again, None, &logs, &device, now).unwrap();
    person.store.put(pair);
    iou.into()
}

#[test]
fn layers_that_come_again_are_another_promise_and_not_the_one_that_was_passed_on() {
    let mut net = paying();
    net.publishes = false;
    net.run();
    let before = net.who(2).store.relays.clone();
    let again = repeat_layers(&mut net);
    net.wire.push_back((user(1), user(2), again.clone()));
    net.run();
    // What it promises does not pay for what the layers ask for: it is given up, and nothing else has changed.
    assert_eq!(net.who(2).store.relays, before);
    let held = net.who(2).pair(1).promise_held(again.hash()).unwrap();
    assert!(!held.is_forwarded());
    assert_eq!(held.standing(), Standing::Released);
    // Nor is it connected with what a lost store has found again: that was made for more.
    let again = repeat_layers(&mut net);
    let relay = net.person(2).store.relays.remove(0);
    let mut pair = net.person(2).store.take(relay.incoming.peer).unwrap();
    pair.mark_forwarded(relay.incoming.iou, false).unwrap();
    net.person(2).store.put(pair);
    set_outgoing(&mut net, |pair| {
        pair["own"]["units"]["BREAD/2"]["promises"][0]["found"] = true.into();
    });
    net.wire.push_back((user(1), user(2), again));
    net.run();
    assert_eq!(net.who(2).store.relays, before);
    let given = net.who(2).pair(3).own().unit(&bread()).unwrap();
    assert!(!given.promises()[0].is_found());
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

//! People with friends, a wire between them, and one log: what a wallet does around the functions of the hop.

use std::collections::VecDeque;

use atomicity_ledger::hop::{
    Attempt, Bill, Collection, Context, Errand, HopPolicy, HopRule, Neighbour, Publish, Relay,
    Route, Step, Stop, Tally, TrustedLog, decline, errands, follow, forward,
};
use atomicity_ledger::onion::{Answer, Failure, FailureCode, HopKey, Payload};
use atomicity_ledger::pair::{Event, KnownLogs, LineTerms, Outcome, Pair};
use atomicity_ledger::record::{Terms, fee};
use atomicity_ledger::seal::{EncryptionSecret, KeyId};
use atomicity_ledger::{
    AnyRecord, Keypair, LedgerError, PolicyHash, Preimage, RecordHash, RecordId, Timestamp, UserKey,
};
use serde::{Deserialize, Serialize};

use crate::common::log::{TestLog, preimage};
use crate::common::{Party, amount, at, bread, coffee, introduce, key, total};

/// The number of the payment in every test.
pub const HASH: u8 = 7;
pub const DEADLINE: u64 = 60_000;

/// Everything that somebody stores: it survives a crash as text.
#[derive(Clone, Serialize, Deserialize)]
pub struct Store {
    pub pairs: Vec<(UserKey, Pair)>,
    pub relays: Vec<Relay>,
    pub tallies: Vec<(UserKey, Tally)>,
    pub collection: Option<Collection>,
    pub attempt: Option<Attempt>,
}

pub struct Person {
    pub user: UserKey,
    pub device: Keypair,
    pub secret: EncryptionSecret,
    pub policy: HopPolicy,
    pub store: Store,
    /// What was shown to them as a payer.
    pub shown: Vec<(usize, UserKey, Answer)>,
    pub mute: bool,
}

pub struct Net {
    pub people: Vec<Person>,
    pub wire: VecDeque<(UserKey, UserKey, AnyRecord)>,
    pub log: TestLog,
    pub now: Timestamp,
    /// Whether the payee's preimage goes to the log as soon as all is there.
    pub publishes: bool,
    pub asked: Vec<Publish>,
    /// What the payments of now hang on.
    pub secret: Preimage,
    entropy: u64,
}

pub fn user(n: u8) -> UserKey {
    key(n).user_key()
}

impl Person {
    fn new(n: u8) -> Self {
        let mut policy = HopPolicy::none();
        policy
            .rules
            .push(HopRule::allow(None, None, total(1), 10_000).unwrap());
        Self {
            user: user(n),
            device: key(100 + n),
            secret: EncryptionSecret::new(KeyId::new(1), [n ^ 0x55; 32]),
            policy,
            store: Store {
                pairs: Vec::new(),
                relays: Vec::new(),
                tallies: Vec::new(),
                collection: None,
                attempt: None,
            },
            shown: Vec::new(),
            mute: false,
        }
    }

    pub fn pair(&self, peer: u8) -> &Pair {
        let found = self.store.pairs.iter().find(|(p, _)| *p == user(peer));
        &found.unwrap().1
    }

    /// What the peer owes them, booked or not.
    pub fn claim(&self, peer: u8) -> i64 {
        self.pair(peer).net_claim(&bread()).minor()
    }

    pub fn balance(&self, peer: u8) -> i64 {
        self.pair(peer).balance(&bread()).minor()
    }

    /// What all friends together owe them.
    pub fn wealth(&self) -> i64 {
        let pairs = self.store.pairs.iter();
        pairs.map(|(_, pair)| pair.balance(&bread()).minor()).sum()
    }

    fn hop(&self) -> HopKey {
        HopKey {
            user: self.user,
            key: self.secret.public(),
            id: self.secret.id(),
        }
    }

    /// As after a crash: from what was stored.
    pub fn restart(&mut self, stored: &str) {
        self.store = serde_json::from_str(stored).unwrap();
    }

    pub fn stored(&self) -> String {
        serde_json::to_string(&self.store).unwrap()
    }
}

impl Store {
    pub fn take(&mut self, peer: UserKey) -> Option<Pair> {
        let at = self.pairs.iter().position(|(p, _)| *p == peer)?;
        Some(self.pairs.remove(at).1)
    }

    pub fn put(&mut self, pair: Pair) {
        self.pairs.push((pair.peer(), pair));
        self.pairs.sort_by_key(|(peer, _)| *peer);
    }

    fn tally(&self, peer: UserKey) -> Tally {
        let found = self.tallies.iter().find(|(p, _)| *p == peer);
        found.map(|(_, tally)| tally.clone()).unwrap_or_default()
    }

    fn put_tally(&mut self, peer: UserKey, tally: Tally) {
        self.tallies.retain(|(p, _)| *p != peer);
        self.tallies.push((peer, tally));
        self.tallies.sort_by_key(|(peer, _)| *peer);
    }
}

impl Net {
    /// People 1 to n, without friends.
    pub fn new(n: u8) -> Self {
        Self {
            people: (1..=n).map(Person::new).collect(),
            wire: VecDeque::new(),
            log: TestLog::new(1),
            now: at(1),
            publishes: true,
            asked: Vec::new(),
            secret: preimage(HASH),
            entropy: 0,
        }
    }

    /// A chain of friends who let each other owe 1,000.
    pub fn chain(n: u8) -> Self {
        let mut net = Self::new(n);
        for i in 1..n {
            net.connect(i, i + 1, 1_000, 1_000);
        }
        net
    }

    pub fn person(&mut self, n: u8) -> &mut Person {
        &mut self.people[usize::from(n) - 1]
    }

    pub fn who(&self, n: u8) -> &Person {
        &self.people[usize::from(n) - 1]
    }

    pub fn index(&self, user: UserKey) -> usize {
        self.people.iter().position(|p| p.user == user).unwrap()
    }

    /// Makes friends: i accepts that j owes so much, and the other way round.
    pub fn connect(&mut self, i: u8, j: u8, i_accepts: u64, j_accepts: u64) {
        let cap = 1_000_000;
        let units = [bread(), coffee()];
        let [mut a, mut b] =
            [(i, j), (j, i)].map(|(me, peer)| Party::new_in(&units, me, peer, cap));
        introduce(&mut a, &mut b);
        let [book_a, book_b] =
            [&mut a, &mut b].map(|party| AnyRecord::from(party.open_book_in(&units, cap)));
        let (_, acks_a) = b.take(&book_a);
        let (_, acks_b) = a.take(&book_b);
        acks_a.iter().for_each(|ack| drop(a.take(ack)));
        acks_b.iter().for_each(|ack| drop(b.take(ack)));
        let (line_a, line_b) = (a.line(i_accepts), b.line(j_accepts));
        b.take(&line_a);
        a.take(&line_b);
        self.person(i).store.put(a.pair);
        self.person(j).store.put(b.pair);
    }

    /// i lets j owe on other terms from now on; j hears of it if `told`.
    pub fn set_line(&mut self, i: u8, j: u8, told: bool, change: impl Fn(&mut LineTerms)) {
        let mut terms = LineTerms::simple(bread(), total(1_000)).unwrap();
        change(&mut terms);
        let now = self.now;
        let person = self.person(i);
        let device = person.device.clone();
        let mut pair = person.store.take(user(j)).unwrap();
        let line = pair.set_line(terms, &device, now).unwrap();
        person.store.put(pair);
        if told {
            self.wire.push_back((user(i), user(j), line.into()));
            self.run();
        }
    }

    fn fresh(&mut self) -> [u8; 32] {
        self.entropy += 1;
        let mut entropy = [0x5a; 32];
        entropy[..8].copy_from_slice(&self.entropy.to_be_bytes());
        entropy
    }

    pub fn terms(&self) -> Terms {
        Terms {
            hash: self.secret.hash(),
            ..self.log.terms(HASH, DEADLINE)
        }
    }

    pub fn bill(&self, asked: Option<u64>) -> Bill {
        let term = self.log.term();
        Bill {
            invoice: RecordId::from_entropy([9; 16]),
            unit: bread(),
            amount: asked.map(amount),
            hash: self.secret.hash(),
            logs: vec![TrustedLog {
                origin: term.origin,
                policy_hash: PolicyHash::from_bytes(*term.policy_hash.as_bytes()),
            }],
            expires: at(3_000_000),
            min_left_ms: 10_000,
        }
    }

    pub fn invoice(&mut self, payee: u8, asked: u64) {
        let bill = self.bill(Some(asked));
        self.person(payee).store.collection = Some(Collection::new(bill));
    }

    pub fn attempt(&mut self, payer: u8, asked: u64, most: u64) {
        let attempt = Attempt::new(bread(), self.terms(), amount(asked), amount(most));
        self.person(payer).store.attempt = Some(attempt.unwrap());
    }

    /// Over these stops, with the fees that everybody takes.
    pub fn route(&self, stops: &[u8], arrives: u64, of: u64) -> Route {
        let mut amounts = vec![amount(arrives)];
        for _ in 1..stops.len() {
            let onward = amounts[0];
            let fee = fee(total(1), 10_000, onward).unwrap().minor();
            amounts.insert(0, amount(onward.minor() + fee));
        }
        let stops = stops.iter().zip(amounts).map(|(n, amount)| Stop {
            key: self.who(*n).hop(),
            amount,
            unit: None,
        });
        Route {
            stops: stops.collect(),
            payload: Payload::Deliver {
                invoice: RecordId::from_entropy([9; 16]),
                total: amount(of),
            },
            ask: false,
        }
    }

    /// Sends one part; nothing is delivered yet.
    pub fn send(&mut self, payer: u8, number: usize, route: &Route) -> Result<(), LedgerError> {
        let (entropy, logs, now) = (self.fresh(), self.log.known(), self.now);
        let person = self.person(payer);
        let mut attempt = person.store.attempt.clone().unwrap();
        let mut pair = person.store.take(route.stops[0].key.user).unwrap();
        let secrets = [person.secret.clone()];
        let context = Context {
            now,
            logs: &logs,
            secrets: &secrets,
            entropy,
        };
        let first = Neighbour {
            pair: &mut pair,
            pen: &person.device,
        };
        let sent = attempt.send(number, first, route, None, &context);
        person.store.put(pair);
        person.store.attempt = Some(attempt);
        let from = person.user;
        self.post(from, sent?);
        Ok(())
    }

    pub fn post(&mut self, from: UserKey, step: Step) {
        for (to, record) in step.send {
            self.wire.push_back((from, to, record));
        }
    }

    /// Delivers until nobody has anything to say.
    pub fn run(&mut self) {
        for _ in 0..2_000 {
            if !self.step() {
                return;
            }
        }
        panic!("they never stop");
    }

    /// Delivers one record. Whether there was any.
    pub fn step(&mut self) -> bool {
        let Some((from, to, record)) = self.wire.pop_front() else {
            return false;
        };
        let here = self.index(to);
        if !self.people[here].mute && !self.people[self.index(from)].mute {
            self.deliver(here, from, &record);
        }
        true
    }

    pub fn deliver(&mut self, here: usize, from: UserKey, record: &AnyRecord) {
        let (logs, now) = (self.log.known(), self.now);
        let person = &mut self.people[here];
        let device = person.device.clone();
        let mut pair = person.store.take(from).unwrap();
        let outcome = pair.receive_with(record, &logs, now, Some(&device));
        person.store.put(pair);
        let me = person.user;
        // What was settled may come again.
        let Ok(Outcome::Applied { events, replies }) = outcome else {
            return;
        };
        let mut step = Step::default();
        step.send
            .extend(replies.into_iter().map(|reply| (from, reply)));
        self.post(me, step);
        self.react(here, from, &events);
    }

    /// Everything that a change of one pair may lead to.
    pub fn react(&mut self, here: usize, peer: UserKey, events: &[Event]) {
        for event in events {
            if let Event::Reply(reply) = event {
                self.replied(here, reply);
            }
        }
        self.follow(here, peer, events);
        let pair = self.people[here]
            .store
            .pairs
            .iter()
            .find(|(p, _)| *p == peer);
        for iou in errands(&pair.unwrap().1) {
            self.act(here, peer, iou);
        }
        self.collect(here, events);
    }

    pub fn with_context<T>(
        &mut self,
        here: usize,
        f: impl FnOnce(&mut Person, &Context<'_>) -> T,
    ) -> T {
        let (entropy, logs, now): (_, KnownLogs, _) = (self.fresh(), self.log.known(), self.now);
        let person = &mut self.people[here];
        let secrets = [person.secret.clone()];
        let context = Context {
            now,
            logs: &logs,
            secrets: &secrets,
            entropy,
        };
        f(person, &context)
    }

    pub fn act(&mut self, here: usize, peer: UserKey, iou: RecordHash) {
        let step = self.with_context(here, |person, context| {
            let mut pair = person.store.take(peer).unwrap();
            let step = act_on(person, &mut pair, iou, context);
            person.store.put(pair);
            step
        });
        let me = self.people[here].user;
        self.post(me, step);
    }

    fn follow(&mut self, here: usize, peer: UserKey, events: &[Event]) {
        for at in 0..self.people[here].store.relays.len() {
            let step = self.with_context(here, |person, context| {
                let store = &mut person.store;
                let mut relay = store.relays[at].clone();
                let upstream = relay.incoming.peer;
                let mut incoming = store.take(upstream).unwrap();
                let mut outgoing = store.take(relay.outgoing.peer).unwrap();
                let mut tally = store.tally(upstream);
                let events = if relay.outgoing.peer == peer {
                    events
                } else {
                    &[]
                };
                let step = follow(
                    &mut relay,
                    Neighbour {
                        pair: &mut incoming,
                        pen: &person.device,
                    },
                    Neighbour {
                        pair: &mut outgoing,
                        pen: &person.device,
                    },
                    events,
                    &person.policy,
                    &mut tally,
                    context,
                );
                store.put(incoming);
                store.put(outgoing);
                store.put_tally(upstream, tally);
                store.relays[at] = relay;
                step.unwrap()
            });
            let me = self.people[here].user;
            self.post(me, step);
        }
        let store = &mut self.people[here].store;
        if let Some(attempt) = &mut store.attempt {
            let pair = &store.pairs.iter().find(|(p, _)| *p == peer).unwrap().1;
            attempt.follow(pair, events);
        }
    }
}

/// What a wallet does with one promise that waits.
fn act_on(person: &mut Person, pair: &mut Pair, iou: RecordHash, context: &Context<'_>) -> Step {
    let device = person.device.clone();
    let errand = Errand::read(pair, iou, context);
    let mut from = Neighbour { pair, pen: &device };
    let errand = match errand {
        Ok(Some(errand)) => errand,
        Ok(None) => return Step::default(),
        Err(_) => {
            let failure = Failure::here(FailureCode::Temporary);
            return decline(from, iou, failure, context).unwrap();
        }
    };
    let store = &mut person.store;
    match errand.payload() {
        Payload::Forward { next, .. } | Payload::Exchange { next, .. } => {
            let upstream = from.pair.peer();
            let at = store.relays.iter().position(|r| r.incoming.iou == iou);
            let mut relay = at.map(|at| store.relays.remove(at));
            let mut outgoing = store.take(*next);
            let mut tally = store.tally(upstream);
            let step = forward(
                &mut relay,
                from.again(),
                outgoing
                    .as_mut()
                    .map(|pair| Neighbour { pair, pen: &device }),
                &errand,
                &person.policy,
                &mut tally,
                context,
            );
            store.relays.extend(relay);
            outgoing.into_iter().for_each(|pair| store.put(pair));
            store.put_tally(upstream, tally);
            step.unwrap()
        }
        Payload::Deliver { .. } => match &mut store.collection {
            Some(collection) => collection.take(from, &errand, context).unwrap(),
            None => {
                let failure = Failure::here(FailureCode::UnknownInvoice);
                decline(from, iou, failure, context).unwrap()
            }
        },
        Payload::Gift { .. } => Step::default(),
    }
}

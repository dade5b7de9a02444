//! What the people of the net do besides handing records on: collecting, reading the log, publishing their files anew.

use atomicity_ledger::hop::{Collection, Context, Fate, Neighbour, Step, pass_on};
use atomicity_ledger::onion::Failure;
use atomicity_ledger::pair::{Event, Pair, Standing};
use atomicity_ledger::record::{Reply, Terms};
use atomicity_ledger::{AnyRecord, RecordHash, UserKey};

use crate::common::{at, bread};
use crate::net::Net;

impl Net {
    /// Calls f with the collection and its pairs.
    pub fn with_collection<T>(
        &mut self,
        here: usize,
        f: impl FnOnce(&mut Collection, &mut [Neighbour<'_>], &Context<'_>) -> T,
    ) -> Option<T> {
        self.with_context(here, |person, context| {
            let store = &mut person.store;
            let mut collection = store.collection.clone()?;
            let mut pairs: Vec<Pair> = store.pairs.drain(..).map(|(_, pair)| pair).collect();
            let device = person.device.clone();
            let mut all: Vec<Neighbour<'_>> = pairs
                .iter_mut()
                .map(|pair| Neighbour { pair, pen: &device })
                .collect();
            let done = f(&mut collection, &mut all, context);
            pairs.into_iter().for_each(|pair| store.put(pair));
            store.collection = Some(collection);
            Some(done)
        })
    }

    /// The payee publishes if all is there.
    pub fn collect(&mut self, here: usize, events: &[Event]) {
        let shown = self.people[here].store.collection.as_ref();
        if let Some((secret, proof)) = shown.and_then(|c| c.shown_by(events)) {
            let step = self.with_collection(here, |collection, pairs, context| {
                collection.published(pairs, secret, &proof, context)
            });
            let me = self.people[here].user;
            return self.post(me, step.unwrap().unwrap());
        }
        let secret = self.secret;
        let decided = self.with_collection(here, |collection, pairs, context| {
            collection.note(events);
            let decided = collection.decide(pairs, context).unwrap();
            if collection.is_booked(pairs).unwrap() {
                collection.booked(secret);
            }
            decided
        });
        let Some((step, publish)) = decided else {
            return;
        };
        let me = self.people[here].user;
        self.post(me, step);
        let Some(publish) = publish else { return };
        self.asked.push(publish);
        if self.publishes {
            self.publish_now(here);
        }
    }

    pub fn publish_now(&mut self, here: usize) {
        let secret = self.secret;
        if !self.log.holds(secret) {
            let ms = self.now.millis() - at(0).millis();
            self.log.publish(&[secret], ms);
        }
        let proof = self.log.proof(secret);
        let step = self.with_collection(here, |collection, pairs, context| {
            collection
                .published(pairs, secret, &proof, context)
                .unwrap()
        });
        let me = self.people[here].user;
        self.post(me, step.unwrap());
    }

    pub fn replied(&mut self, here: usize, reply: &Reply) {
        let step = self.with_context(here, |person, context| {
            let store = &mut person.store;
            if let Some(shown) = store.attempt.as_ref().and_then(|a| a.shown(reply).ok()) {
                person.shown.push(shown);
                return Step::default();
            }
            let mut step = Step::default();
            for at in 0..store.relays.len() {
                let mut relay = store.relays[at].clone();
                let mut pair = store.take(relay.incoming.peer).unwrap();
                let incoming = Neighbour {
                    pair: &mut pair,
                    pen: &person.device,
                };
                if let Ok(passed) = pass_on(&mut relay, &incoming, reply, context) {
                    step.send.extend(passed.send);
                }
                store.put(pair);
                store.relays[at] = relay;
            }
            step
        });
        let me = self.people[here].user;
        self.post(me, step);
    }

    /// Everybody reads the log: what it says is known on every promise.
    pub fn read_log(&mut self) {
        for here in 0..self.people.len() {
            self.read_log_of(here);
        }
    }

    /// Reads the log for all undecided promises of one person.
    pub fn read_log_of(&mut self, here: usize) {
        let (log, now, secret) = (self.log.clone(), self.now, self.secret);
        let peers: Vec<UserKey> = self.people[here].store.pairs.iter().map(|p| p.0).collect();
        for peer in peers {
            let person = &mut self.people[here];
            let device = person.device.clone();
            let mut pair = person.store.take(peer).unwrap();
            let mut step = Step::default();
            let mut events = Vec::new();
            for iou in undecided(&pair) {
                let terms = terms_of(&pair, iou);
                let done = if log.holds(secret) {
                    let proof = Some(log.proof(secret));
                    pair.publish(iou, secret, proof, &device, now)
                } else if log.is_past(terms.deadline_ms) {
                    pair.expire(iou, &[log.expiry(&terms)], &device, now)
                } else {
                    continue;
                };
                let done = done.unwrap();
                step.send
                    .extend(done.records.into_iter().map(|r| (peer, r)));
                events.extend(done.events);
            }
            person.store.put(pair);
            let me = person.user;
            self.post(me, step);
            self.react(here, peer, &events);
        }
    }

    /// Everybody sends everybody what lies in the channel files, as after an outage.
    pub fn sync(&mut self) {
        for here in 0..self.people.len() {
            let me = self.people[here].user;
            let pairs = self.people[here].store.pairs.iter();
            let files: Vec<(UserKey, Vec<String>)> = pairs
                .map(|(peer, pair)| (*peer, pair.file_records().own))
                .collect();
            for (peer, file) in files {
                for jws in file {
                    let record = AnyRecord::decode(&jws).unwrap();
                    self.wire.push_back((me, peer, record));
                }
            }
        }
        self.run();
        for here in 0..self.people.len() {
            let peers: Vec<UserKey> = self.people[here].store.pairs.iter().map(|p| p.0).collect();
            for peer in peers {
                self.react(here, peer, &[]);
            }
        }
        self.run();
    }

    pub fn failure(&self, payer: u8, part: usize) -> (Option<u8>, Failure) {
        let attempt = self.who(payer).store.attempt.as_ref().unwrap();
        match &attempt.parts()[part].fate {
            Fate::Failed { hop, failure } => (*hop, *failure),
            other => panic!("{other:?}"),
        }
    }

    /// Nobody owes anything that nobody claims.
    pub fn check_zero_sum(&self) {
        for person in &self.people {
            for (peer, pair) in &person.store.pairs {
                let other = &self.people[self.index(*peer)];
                let back = other.store.pairs.iter().find(|(p, _)| *p == person.user);
                let back = back.unwrap().1.balance(&bread());
                assert_eq!(pair.balance(&bread()).minor(), -back.minor());
            }
        }
    }
}

fn undecided(pair: &Pair) -> Vec<RecordHash> {
    let sides = [pair.own(), pair.theirs()];
    let units = sides.into_iter().filter_map(|side| side.unit(&bread()));
    let promises = units.flat_map(|unit| unit.promises());
    promises
        .filter(|p| p.standing() == Standing::Undecided)
        .map(|p| p.iou().hash())
        .collect()
}

fn terms_of(pair: &Pair, iou: RecordHash) -> Terms {
    let promise = pair.promise_given(iou).or(pair.promise_held(iou));
    promise.unwrap().iou().record().terms.clone()
}

//! Two wallets and a network that reorders, repeats and loses what they send; homeservers that may show old files; devices that
//! are handed over, lost and recovered.

use std::collections::BTreeMap;

use atomicity_ledger::pair::{
    Event, FileRecords, LineTerms, NewBook, Outcome, Pair, PaymentNote, PendingReason,
};
use atomicity_ledger::record::{Delegation, DelegationLimit, Revocation};
use atomicity_ledger::{
    AnyRecord, Epoch, Keypair, RecordId, Seq, SignerKey, Timestamp, Total, Unit,
};

use super::hostile::{decoded, sign};
use super::{amount, at, delegation, key, total};

const CAP: u64 = 1_000_000;

pub fn units() -> [Unit; 2] {
    ["BREAD/2", "HOUR"].map(|unit| unit.parse().unwrap())
}

fn caps() -> BTreeMap<Unit, Total> {
    units().map(|unit| (unit, total(CAP))).into()
}

/// The states of one payer that were given back: unit, epoch, after, to, how much.
pub type Failed = (Unit, Epoch, Seq, Seq, u64);

/// What one wallet has told its user since it was set up.
#[derive(Default)]
pub struct Told {
    /// Payments of the peer, by their ids.
    pub payments: Vec<RecordId>,
    /// The peer's payments that were given back.
    pub paid_back: Vec<Failed>,
    /// The own payments that the peer gave back.
    pub refused: Vec<Failed>,
}

/// One user with one wallet.
pub struct Actor {
    pub root: Keypair,
    pub device: Keypair,
    pub pair: Pair,
    pub told: Told,
    /// Whether the wallet was ever set up anew.
    pub recovered: bool,
    /// Whether another key goes on: what an earlier key had left to say may be lost.
    pub lost_notes: bool,
    /// Delegations and revocations, as they lie on the homeserver.
    published: Vec<String>,
    /// An old copy of the own channel file.
    old_file: FileRecords,
    /// How many keys there were.
    keys: u8,
    ids: u8,
}

impl Actor {
    fn new(n: u8, peer: u8) -> Self {
        let (root, device) = (key(n), key(100 + n));
        let pair = Pair::new(root.user_key(), key(peer).user_key()).unwrap();
        let mut actor = Self {
            root,
            device: device.clone(),
            pair,
            told: Told::default(),
            recovered: false,
            lost_notes: false,
            published: Vec::new(),
            old_file: FileRecords::default(),
            keys: 0,
            ids: 0,
        };
        actor.delegate(&device);
        actor
    }

    /// The root delegates to `device`, and publishes that.
    fn delegate(&mut self, device: &Keypair) {
        self.keys += 1;
        let word = delegation(&self.root, device, CAP, u64::from(self.keys));
        let limits = caps().into_iter().map(|(unit, per_peer)| DelegationLimit {
            unit,
            per_peer,
            per_day: None,
        });
        let word = Delegation {
            limits: limits.collect(),
            ..word.record().clone()
        };
        let word = sign(word, &self.root);
        self.pair.learn_own_authority(word.jws(), at(0)).unwrap();
        self.published.push(word.jws().to_owned());
    }

    fn next_key(&self) -> Keypair {
        key(100 + self.root.secret()[0] + 2 * self.keys)
    }

    /// Learns what lies under the keys of `of`, and notes that it was looked for.
    fn look_up(&mut self, published: &[String], keys: &[SignerKey], now: Timestamp) {
        for jws in published {
            let _ = self.pair.learn_authority(jws, now);
        }
        for key in keys {
            self.pair.authority_checked(*key, now);
        }
    }

    fn totals(&self) -> Vec<(Total, Total)> {
        let (own, theirs) = (self.pair.own(), self.pair.theirs());
        units()
            .iter()
            .map(|unit| (own.issued(unit), theirs.issued(unit)))
            .collect()
    }

    fn note(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Payment(payment) => self.told.payments.push(payment.id),
                Event::PaidBack {
                    unit,
                    amount,
                    epoch,
                    after_seq,
                    to_seq,
                } => {
                    let failed = (unit, epoch, after_seq, to_seq, amount.minor());
                    self.told.paid_back.push(failed);
                }
                Event::Refused {
                    unit,
                    amount,
                    epoch,
                    after_seq,
                    to_seq,
                } => {
                    let failed = (unit, epoch, after_seq, to_seq, amount.minor());
                    self.told.refused.push(failed);
                }
                _ => {}
            }
        }
    }
}

/// What may happen.
#[derive(Clone, Debug)]
pub enum Step {
    Pay {
        by: usize,
        unit: usize,
        minor: u64,
    },
    Line {
        by: usize,
        unit: usize,
        accept: u64,
    },
    Rebook {
        by: usize,
    },
    HandOver {
        by: usize,
    },
    Publish {
        by: usize,
    },
    Recover {
        by: usize,
        old_own: bool,
        old_peers: bool,
        revoke: bool,
    },
    Deliver {
        to: usize,
        pick: usize,
        keep: bool,
    },
    Lose {
        to: usize,
        pick: usize,
    },
    Read {
        by: usize,
        old: bool,
        order: u64,
    },
}

/// Two users, 0 and 1, and what is on the way to each.
pub struct World {
    pub actors: [Actor; 2],
    pub on_the_way: [Vec<AnyRecord>; 2],
    clock: u64,
}

impl World {
    pub fn new(accept: u64) -> Self {
        let mut world = Self {
            actors: [Actor::new(1, 2), Actor::new(2, 1)],
            on_the_way: [Vec::new(), Vec::new()],
            clock: 0,
        };
        for by in 0..2 {
            world.play(Step::Rebook { by });
        }
        for by in 0..2 {
            for unit in 0..2 {
                world.play(Step::Line { by, unit, accept });
            }
        }
        world.settle();
        for by in 0..2 {
            world.on_the_way[by].clear();
            world.play(Step::Publish { by });
        }
        world
    }

    pub fn now(&self) -> Timestamp {
        at(self.clock)
    }

    pub fn play(&mut self, step: Step) {
        self.clock += 1;
        match step {
            Step::Pay { by, unit, minor } => self.pay(by, &units()[unit], minor),
            Step::Line { by, unit, accept } => self.line(by, &units()[unit], accept),
            Step::Rebook { by } => {
                let key = self.actors[by].device.clone();
                self.open_book(by, &key);
            }
            Step::HandOver { by } => {
                let key = self.actors[by].next_key();
                self.actors[by].delegate(&key);
                if self.open_book(by, &key) {
                    self.actors[by].device = key;
                    self.actors[by].lost_notes = true;
                }
            }
            Step::Publish { by } => {
                self.actors[by].old_file = self.actors[by].pair.file_records();
            }
            Step::Recover {
                by,
                old_own,
                old_peers,
                revoke,
            } => {
                let file = |actor: &Actor, old: bool| {
                    if old {
                        actor.old_file.clone()
                    } else {
                        actor.pair.file_records()
                    }
                };
                let old_own = old_own && self.is_recent(by, &self.actors[by].old_file);
                let own = file(&self.actors[by], old_own);
                let peers = file(&self.actors[1 - by], old_peers);
                self.recover(by, &own, &peers, revoke);
            }
            Step::Deliver { to, pick, keep } => self.deliver_one(to, pick, keep),
            Step::Lose { to, pick } => {
                let queue = &mut self.on_the_way[to];
                if !queue.is_empty() {
                    let at = pick % queue.len();
                    queue.remove(at);
                }
            }
            Step::Read { by, old, order } => {
                let peer = &self.actors[1 - by];
                let file = if old {
                    peer.old_file.clone()
                } else {
                    peer.pair.file_records()
                };
                let replies = self.read(by, &file, Some(order));
                self.on_the_way[1 - by].extend(replies);
            }
        }
    }

    fn pay(&mut self, by: usize, unit: &Unit, minor: u64) {
        let now = self.now();
        let actor = &mut self.actors[by];
        actor.ids += 1;
        let note = PaymentNote {
            id: RecordId::from_entropy([actor.ids + 100 * u8::try_from(by).unwrap(); 16]),
            reference: None,
            memo: None,
        };
        let paid = actor
            .pair
            .issue(unit, amount(minor), None, note, &actor.device, now);
        if let Ok(issued) = paid {
            let records = [issued.state.into(), issued.payment.into()];
            self.on_the_way[1 - by].extend(records);
        }
    }

    fn line(&mut self, by: usize, unit: &Unit, accept: u64) {
        let now = self.now();
        let actor = &mut self.actors[by];
        let terms = LineTerms::simple(unit.clone(), total(accept)).unwrap();
        if let Ok(line) = actor.pair.set_line(terms, &actor.device, now) {
            self.on_the_way[1 - by].push(line.into());
        }
    }

    /// Whether the other still finds every book of `by` that it must take one after another.
    ///
    /// A known limit: a wallet forgets all but its last three acknowledged books. If the peer then loses its store and its own file
    /// is older than those, only a book by the root brings the two together again.
    fn can_follow(&self, by: usize) -> bool {
        let (own, known) = (
            self.actors[by].pair.own(),
            self.actors[1 - by].pair.theirs(),
        );
        let (own, known) = (own.epoch(), known.epoch());
        let number = |epoch: Option<Epoch>| epoch.map_or(0, |epoch| epoch.get());
        own.is_none() || number(own) < number(known) + 3
    }

    /// The peer's epoch that this old file knows is not too old; see [`Self::can_follow`].
    fn is_recent(&self, by: usize, file: &FileRecords) -> bool {
        let peer = &self.actors[1 - by];
        let known = decoded(&file.held).into_iter().filter_map(|r| match r {
            AnyRecord::Book(book) if book.record().from == peer.pair.me() => {
                Some(book.record().epoch.get())
            }
            _ => None,
        });
        let now = peer.pair.own().epoch().map_or(0, |epoch| epoch.get());
        known.max().is_some_and(|known| now < known + 3)
    }

    /// The same store goes on with `key`. A wallet whose book was written elsewhere does not.
    fn open_book(&mut self, by: usize, key: &Keypair) -> bool {
        let now = self.now();
        let actor = &mut self.actors[by];
        let new = NewBook {
            key: key.signer_key(),
            caps: caps(),
            continues: true,
            at_least: Epoch::ZERO,
        };
        if actor.pair.is_behind() || !self.can_follow(by) {
            return false;
        }
        let actor = &mut self.actors[by];
        let opened = actor.pair.open_book(new, &actor.device, now);
        let done = opened.is_ok();
        self.on_the_way[1 - by].extend(opened.map(AnyRecord::from));
        done
    }

    /// The device is lost: a fresh one begins anew from what the two files show.
    fn recover(&mut self, by: usize, own: &FileRecords, peers: &FileRecords, revoke: bool) {
        let now = self.now();
        let new = self.actors[by].next_key();
        if revoke {
            let actor = &mut self.actors[by];
            let revocation = Revocation {
                at: now,
                ..super::revocation(&actor.root, &actor.device)
                    .record()
                    .clone()
            };
            let revocation = sign(revocation, &actor.root);
            actor.published.push(revocation.jws().to_owned());
        }
        self.actors[by].delegate(&new);
        let mut mine = decoded(&own.own);
        mine.extend(decoded(&peers.held));
        let words: Vec<String> = self
            .actors
            .iter()
            .flat_map(|a| a.published.clone())
            .collect();
        let actor = &mut self.actors[by];
        let recovered = Pair::recover(
            actor.pair.me(),
            actor.pair.peer(),
            &mine,
            &decoded(&own.held),
            &words,
            caps(),
            &actor.root,
            &new,
            now,
        )
        .unwrap();
        actor.pair = recovered.pair;
        actor.device = new;
        actor.told = Told::default();
        actor.recovered = true;
        actor.lost_notes = true;
        let to_peer = &mut self.on_the_way[1 - by];
        to_peer.push(recovered.book.into());
        to_peer.extend(recovered.lines.into_iter().map(AnyRecord::from));
        to_peer.extend(recovered.acks.into_iter().map(AnyRecord::from));
    }

    fn deliver_one(&mut self, to: usize, pick: usize, keep: bool) {
        let queue = &mut self.on_the_way[to];
        if queue.is_empty() {
            return;
        }
        let at = pick % queue.len();
        let record = if keep {
            queue[at].clone()
        } else {
            queue.remove(at)
        };
        let replies = self.deliver(to, &record);
        self.on_the_way[1 - to].extend(replies);
    }

    /// Gives `record` to `to`, who looks up what it needs. Totals may never fall, whatever arrives.
    pub fn deliver(&mut self, to: usize, record: &AnyRecord) -> Vec<AnyRecord> {
        let now = self.now();
        let published = self.actors[1 - to].published.clone();
        let actor = &mut self.actors[to];
        let before = actor.totals();
        let mut answered = Vec::new();
        for _ in 0..4 {
            match actor.pair.receive(record, now, Some(&actor.device)) {
                Ok(Outcome::Applied { events, replies }) => {
                    actor.note(events);
                    answered = replies;
                    break;
                }
                Ok(Outcome::Pending(PendingReason::RevocationUnknown { key })) => {
                    actor.look_up(&published, &[key], now);
                }
                _ => break,
            }
        }
        for (before, after) in before.iter().zip(actor.totals()) {
            assert!(after.0 >= before.0 && after.1 >= before.1, "a total fell");
        }
        answered
    }

    /// `by` reads a channel file of the other, in the order written or in any other.
    fn read(&mut self, by: usize, file: &FileRecords, order: Option<u64>) -> Vec<AnyRecord> {
        let (mut held, mut own) = (decoded(&file.held), decoded(&file.own));
        if let Some(order) = order {
            shuffle(&mut held, order);
            shuffle(&mut own, order);
        }
        let now = self.now();
        for record in held {
            let before = self.actors[by].totals();
            let _ = self.actors[by].pair.show_own(&record, now);
            assert_eq!(before, self.actors[by].totals(), "showing changes no total");
        }
        let mut replies = Vec::new();
        for record in own {
            replies.extend(self.deliver(by, &record));
        }
        replies
    }

    /// Lets both look up keys and read each other's channel files until neither learns anything new. Who learns that the book
    /// was written elsewhere recovers from the files as they are then.
    pub fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 24, "the two never come to rest");
            self.clock += 1;
            let now = self.now();
            let before = [0, 1].map(|n: usize| self.actors[n].pair.clone());
            let files = [0, 1].map(|n: usize| self.actors[n].pair.file_records());
            for by in 0..2 {
                let published = self.actors[1 - by].published.clone();
                self.actors[by].look_up(&published, &[], now);
                if self.actors[by].pair.is_behind() {
                    self.recover(by, &files[by], &files[1 - by], false);
                } else {
                    self.read(by, &files[1 - by], None);
                }
            }
            if [0, 1]
                .iter()
                .all(|n: &usize| self.actors[*n].pair == before[*n])
            {
                return;
            }
        }
    }
}

/// One of the orders, by a small generator that a failing case repeats.
fn shuffle<T>(list: &mut [T], order: u64) {
    let mut random = order;
    for place in (1..list.len()).rev() {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from(random >> 33).unwrap() % (place + 1);
        list.swap(place, other);
    }
}

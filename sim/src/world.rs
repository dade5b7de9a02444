//! The users, what lies between them, and how they come to know each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use atomicity_ledger::hop::{Attempt, Collection, HopPolicy, Relay, Tally};
use atomicity_ledger::jws::Version;
use atomicity_ledger::onion::HopKey;
use atomicity_ledger::pair::{FileRecords, KnownLog, KnownLogs, NewBook, Pair};
use atomicity_ledger::record::{Delegation, DelegationLimit, Scope, Terms};
use atomicity_ledger::seal::{EncryptionSecret, KeyId};
use atomicity_ledger::{
    AnyRecord, Epoch, Keypair, PaymentHash, Preimage, RecordHash, Serial, Signed, Timestamp, Total,
    Unit, UserKey,
};

use crate::check::Watch;
use crate::error::SimError;
use crate::lies::OldPen;
use crate::logs::{Logs, secret};
use crate::plan::{Lie, Plan};
use crate::report::Stats;
use crate::rng::Rng;
use crate::trace::Trace;
use crate::view::View;
use crate::work::Work;

/// When everything begins, in unix milliseconds.
pub const BEGIN_MS: u64 = 1_800_000_000_000;
/// The most that a book key may let its user owe.
pub const CAP: u64 = 1_000_000_000;

/// A preimage that its owner may publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// What hangs on it.
    pub preimage: Preimage,
    /// What is asked for it.
    pub amount: u64,
    /// When it is to be published, by the own clock; never, if its owner doesn't want to.
    pub publish_at: Option<u64>,
    /// Whether its owner says so, if they don't want to.
    pub declines: bool,
}

/// A payment over several hops, as its payer keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// What was promised for it, and what became of that.
    pub attempt: Attempt,
    /// Who is to be paid.
    pub payee: usize,
    /// How often other ways were looked for.
    pub tries: u8,
    /// The edges that failed.
    pub avoid: BTreeSet<(UserKey, UserKey)>,
    /// Of a gift, whether the last hop has shown a promise that is enough.
    pub shown: Option<bool>,
}

/// What a user has stored.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// All channels with each friend.
    pub pairs: BTreeMap<usize, Pair>,
    /// The key that keeps the books towards each.
    pub pens: BTreeMap<usize, Keypair>,
    /// What was promised onward, by the promise that came.
    pub relays: BTreeMap<RecordHash, Relay>,
    /// What failed lately, by who had promised.
    pub tallies: BTreeMap<usize, Tally>,
    /// Payments over several hops, by their hashes.
    pub payments: BTreeMap<PaymentHash, Payment>,
    /// What has come for the own invoices.
    pub collections: BTreeMap<PaymentHash, Collection>,
    /// The own preimages, by their hashes.
    pub secrets: BTreeMap<PaymentHash, Secret>,
}

/// One user.
#[derive(Clone, Debug)]
pub struct Node {
    /// The user's name.
    pub root: Keypair,
    /// What the user works with.
    pub live: Store,
    /// What a crash leaves.
    pub stored: Store,
    /// What can't be judged yet; lost in a crash.
    pub pending: Vec<(usize, AnyRecord)>,
    /// The logs, as the user has seen them.
    pub views: Vec<View>,
    /// Delegations and revocations, as they lie on the user's homeserver.
    pub published: Vec<String>,
    /// Older copies of the channel files.
    pub flushed: BTreeMap<usize, FileRecords>,
    /// How the user lies.
    pub lies: Vec<Lie>,
    /// What a liar keeps back.
    pub drawer: Vec<(usize, AnyRecord)>,
    /// The promises for which a liar has shown an entry that came too late.
    pub insisted: BTreeSet<RecordHash>,
    /// The keys of books that have ended.
    pub old_pens: BTreeMap<usize, OldPen>,
    /// How far the user's clock is ahead, in milliseconds, counted from [`SKEW`].
    pub skew_ms: u64,
    /// The keys that layers are sealed to: the current one first.
    pub sealing: Vec<EncryptionSecret>,
    /// What the user passes on, and for how much.
    pub policy: HopPolicy,
    /// Friends who get nothing new.
    pub removed: BTreeSet<usize>,
    keys: usize,
}

/// The middle of the clocks.
pub const SKEW: u64 = 20_000;

impl Node {
    /// Whether the user lies.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.lies.is_empty()
    }

    /// Whether the user lies like this.
    #[must_use]
    pub fn does(&self, lie: Lie) -> bool {
        self.lies.contains(&lie)
    }

    /// The channels with a friend, and the key that keeps the books.
    ///
    /// # Errors
    /// [`SimError::Missing`] if they are no friends.
    pub fn with(&mut self, peer: usize) -> Result<(&mut Pair, &Keypair), SimError> {
        let pair = self.live.pairs.get_mut(&peer);
        let pen = self.live.pens.get(&peer);
        pair.zip(pen).ok_or(SimError::Missing("a friend"))
    }

    /// The user's name in records.
    #[must_use]
    pub fn user(&self) -> UserKey {
        self.root.user_key()
    }

    /// Whom layers for this user are sealed to.
    #[must_use]
    pub fn hop_key(&self) -> HopKey {
        let secret = &self.sealing[0];
        HopKey {
            user: self.user(),
            key: secret.public(),
            id: secret.id(),
        }
    }
}

/// What somebody was asked to pay, for those who watch.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who asks, or gets a gift.
    pub payee: usize,
    /// The most that the payer means to owe.
    pub most: u64,
}

/// A hash, and until when something hangs on it.
pub type Hangs = (PaymentHash, u64);

/// What hangs on terms, and until when.
#[must_use]
pub fn hangs(terms: &Terms) -> Hangs {
    (terms.hash, terms.deadline_ms)
}

/// Everything there is.
#[derive(Debug)]
pub struct World {
    /// What was drawn in advance.
    pub plan: Plan,
    /// The chances.
    pub rng: Rng,
    /// What happened.
    pub trace: Trace,
    /// What is counted.
    pub stats: Stats,
    /// The units in use.
    pub units: Vec<Unit>,
    /// True time, in unix milliseconds.
    pub now_ms: u64,
    /// The users.
    pub nodes: Vec<Node>,
    /// Logs and cosigners.
    pub logs: Logs,
    /// What is on the way, by sender and receiver.
    pub net: BTreeMap<(usize, usize), Vec<AnyRecord>>,
    /// The payments over several hops, by payer and hash.
    pub asked: BTreeMap<(usize, PaymentHash), Asked>,
    /// The deadlines of everything that was promised.
    pub deadlines: BTreeSet<Hangs>,
    /// What must hold.
    pub watch: Watch,
    /// Whether the network loses things and users crash.
    pub faulty: bool,
    /// Releases that were sent, for those who send them again.
    pub old_releases: Vec<(usize, usize, AnyRecord)>,
    /// Answers that were sent, and by whom.
    pub old_replies: Vec<(usize, atomicity_ledger::record::Reply)>,
    /// Records that were read from files and checked.
    pub(crate) decoded: HashMap<String, AnyRecord>,
    pub(crate) seed: u64,
}

impl World {
    /// The world of a seed, in which friends know each other.
    ///
    /// # Errors
    /// [`SimError`] if the simulator can't make what it needs.
    pub fn new(seed: u64, keep_trace: bool) -> Result<Self, SimError> {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng);
        Self::of_plan(seed, rng, plan, keep_trace)
    }

    /// The world of a plan, in which friends know each other.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn of_plan(seed: u64, rng: Rng, plan: Plan, keep_trace: bool) -> Result<Self, SimError> {
        let units = ["BREAD/2", "HOUR"].iter().take(plan.units);
        let units = units.map(|u| u.parse()).collect::<Result<Vec<Unit>, _>>()?;
        let logs = Logs::new(seed, &plan)?;
        let mut world = Self {
            trace: Trace::new(keep_trace),
            stats: Stats::default(),
            units,
            now_ms: BEGIN_MS,
            nodes: Vec::new(),
            logs,
            net: BTreeMap::new(),
            asked: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            watch: Watch::default(),
            faulty: false,
            old_releases: Vec::new(),
            old_replies: Vec::new(),
            decoded: HashMap::new(),
            seed,
            rng,
            plan,
        };
        world.trace.line(format_args!("{:?}", world.plan));
        for n in 0..world.plan.nodes {
            world.add_node(n)?;
        }
        for log in 0..world.logs.logs.len() {
            world.logs.tick(log, 0, BEGIN_MS)?;
        }
        for (a, b) in world.plan.edges.clone() {
            for (n, peer) in [(a, b), (b, a)] {
                world.befriend(n, peer)?;
            }
        }
        for (a, b) in world.plan.edges.clone() {
            for (n, peer) in [(a, b), (b, a)] {
                for unit in world.units.clone() {
                    let accept = world.plan.accept;
                    world.set_line(n, peer, &unit, accept)?;
                }
            }
        }
        for n in 0..world.plan.nodes {
            world.follow_all(n)?;
        }
        world.deliver_all()?;
        world.faulty = true;
        Ok(world)
    }

    fn add_node(&mut self, n: usize) -> Result<(), SimError> {
        let root = Keypair::from_secret(&secret(self.seed, "root", n));
        let views = self.logs.logs.iter().map(View::new);
        let store = Store::default();
        let spread = *crate::plan::pick(&mut self.rng, &[0, 2_000, SKEW]);
        self.nodes.push(Node {
            root,
            live: store.clone(),
            stored: store,
            pending: Vec::new(),
            views: views.collect::<Result<_, _>>()?,
            published: Vec::new(),
            flushed: BTreeMap::new(),
            lies: self.plan.liars.get(&n).cloned().unwrap_or_default(),
            drawer: Vec::new(),
            insisted: BTreeSet::new(),
            old_pens: BTreeMap::new(),
            skew_ms: SKEW - spread + self.rng.below(2 * spread + 1),
            sealing: Vec::new(),
            policy: self.plan.policy(n, &self.units)?,
            removed: BTreeSet::new(),
            keys: 0,
        });
        self.new_sealing_key(n);
        Ok(())
    }

    /// The next key that layers for a user are sealed to; the two before it are still read.
    pub fn new_sealing_key(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let number = node.sealing.first().map_or(0, |newest| newest.id().get()) + 1;
        let bytes = secret(self.seed, &format!("sealing {n}"), number as usize);
        let key = EncryptionSecret::new(KeyId::new(number), bytes);
        node.sealing.insert(0, key);
        node.sealing.truncate(3);
    }

    /// A user's clock.
    #[must_use]
    pub fn clock(&self, n: usize) -> Timestamp {
        Timestamp::saturating_from_millis(self.now_ms + self.nodes[n].skew_ms - SKEW)
    }

    /// A fresh key to which the root delegates.
    ///
    /// # Errors
    /// [`SimError::Ledger`] if the delegation can't be signed.
    pub fn new_key(&mut self, n: usize) -> Result<Keypair, SimError> {
        let limits = self.units.iter().map(|unit| {
            Ok(DelegationLimit {
                unit: unit.clone(),
                per_peer: Total::from_minor(CAP)?,
                per_day: None,
            })
        });
        let limits = limits.collect::<Result<Vec<_>, SimError>>()?;
        let node = &mut self.nodes[n];
        node.keys += 1;
        let key = Keypair::from_secret(&secret(self.seed, &format!("device {n}"), node.keys));
        let word = Delegation {
            v: Version,
            root: node.user(),
            key: key.signer_key(),
            scopes: vec![Scope::Book],
            peers: None,
            limits,
            not_before: Timestamp::saturating_from_millis(BEGIN_MS - 2 * SKEW),
            not_after: Timestamp::saturating_from_millis(BEGIN_MS * 2),
            serial: Serial::new(node.keys as u64)?,
        };
        let word = Signed::sign(word, &node.root)?;
        node.published.push(word.jws().to_owned());
        Ok(key)
    }

    /// The book of a key, with the caps that everybody has.
    ///
    /// # Errors
    /// [`SimError::Ledger`], never.
    pub fn new_book(&self, key: &Keypair, continues: bool) -> Result<NewBook, SimError> {
        let cap = Total::from_minor(CAP)?;
        Ok(NewBook {
            key: key.signer_key(),
            caps: self.units.iter().map(|unit| (unit.clone(), cap)).collect(),
            continues,
            at_least: Epoch::ZERO,
        })
    }

    /// `n` opens a book towards `peer`.
    fn befriend(&mut self, n: usize, peer: usize) -> Result<(), SimError> {
        let now = self.clock(n);
        let mut pair = Pair::new(self.nodes[n].user(), self.nodes[peer].user())?;
        let key = match self.nodes[n].live.pens.values().next() {
            Some(key) => key.clone(),
            None => self.new_key(n)?,
        };
        for word in &self.nodes[n].published {
            pair.learn_own_authority(word, now)?;
        }
        let book = pair.open_book(self.new_book(&key, true)?, &key, now)?;
        let store = &mut self.nodes[n].live;
        store.pairs.insert(peer, pair);
        store.pens.insert(peer, key);
        let mut work = Work::of(peer);
        work.send(peer, book);
        self.commit(n, work)
    }

    /// The logs as a user knows them.
    #[must_use]
    pub fn known_logs(&self, n: usize) -> KnownLogs {
        let mut known = KnownLogs::default();
        for (log, view) in self.logs.logs.iter().zip(&self.nodes[n].views) {
            let policy = atomicity_ledger::PolicyHash::of(&log.text);
            let Ok(origin) = log.origin.parse() else {
                continue;
            };
            known.insert(
                origin,
                KnownLog {
                    policies: BTreeSet::from([policy]),
                    newest_size: view.size(),
                    refused: view.refused,
                },
            );
        }
        known
    }

    /// Looks up what a friend has published about keys.
    pub fn look_up(&mut self, n: usize, peer: usize, key: Option<atomicity_ledger::SignerKey>) {
        let now = self.clock(n);
        let published = self.nodes[peer].published.clone();
        if let Some(pair) = self.nodes[n].live.pairs.get_mut(&peer) {
            for word in &published {
                // What was learnt before is no news, and an old word is no harm.
                let _ = pair.learn_authority(word, now);
            }
            if let Some(key) = key {
                pair.authority_checked(key, now);
            }
        }
    }

    /// Whether two users tell the truth.
    #[must_use]
    pub fn both_honest(&self, a: usize, b: usize) -> bool {
        self.nodes[a].is_honest() && self.nodes[b].is_honest()
    }

    /// Who a name is.
    #[must_use]
    pub fn index_of(&self, user: UserKey) -> Option<usize> {
        self.nodes.iter().position(|node| node.user() == user)
    }
}

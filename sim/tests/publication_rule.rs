//! The publication rule in every order of events of a small world: a log that may lie, three cosigners of whom one signs whatever it is
//! given, a quorum of two, trees of up to three entries.
//!
//! Checked with the crate's own rule, and with real signatures wherever two proofs contradict each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use atomicity_witness_log::checkpoint::cosign;
use atomicity_witness_log::fork::Role;
use atomicity_witness_log::leaf::preimage_hash;
use atomicity_witness_log::tombstone::Tombstone;
use atomicity_witness_log::tree::{CompactRange, root};
use atomicity_witness_log::*;
use stateright::{Checker as _, Model, Property};

const ORIGIN: &str = "log.example/model";
const DEADLINE_MS: u64 = 2;
const PREIMAGE: [u8; 32] = [7; 32];
/// The cosigners: two true ones, and one that is not.
const LIAR: usize = 2;
const MAX_ENTRIES: usize = 3;

/// An entry: a tick or the preimage in time, or a tick after the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Entry {
    Tick,
    Preimage,
    Late,
}

const ENTRIES: [Entry; 3] = [Entry::Tick, Entry::Preimage, Entry::Late];

impl Entry {
    fn leaf(self) -> Leaf {
        match self {
            Self::Tick => Leaf::Tick { time_ms: 2 },
            Self::Preimage => Leaf::Preimage {
                time_ms: 2,
                preimage: PREIMAGE,
            },
            Self::Late => Leaf::Tick { time_ms: 3 },
        }
    }
}

type Tree = Vec<Entry>;

fn leaves(tree: &[Entry]) -> Vec<Leaf> {
    tree.iter().map(|entry| entry.leaf()).collect()
}

/// A log that could be true: times never fall, and the head ends with a tick.
fn is_true(tree: &[Entry]) -> bool {
    let leaves = leaves(tree);
    let rises = leaves.windows(2).all(|w| w[0].time_ms() <= w[1].time_ms());
    rises && leaves.last().is_some_and(Leaf::is_tick)
}

/// What was signed so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Signed {
    /// The trees that the log signed, with the true cosigners who cosigned each.
    heads: BTreeMap<Tree, BTreeSet<usize>>,
    /// The newest tree of each true cosigner.
    newest: [Tree; 2],
    /// Those who promised never to cosign a larger one.
    buried: [bool; 2],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Act {
    /// The log signs a tree.
    Sign(Tree),
    /// A true cosigner takes it.
    Cosign(usize, Tree),
    /// A true cosigner signs its tombstone.
    Bury(usize),
}

#[derive(Clone)]
struct World {
    /// Whether the log signs anything at all, or only what follows from what it has signed.
    lies: bool,
    max_heads: usize,
    from: usize,
}

fn all_trees() -> Vec<Tree> {
    let mut trees: Vec<Tree> = vec![Vec::new()];
    for _ in 0..MAX_ENTRIES {
        let longer = trees
            .iter()
            .flat_map(|tree| ENTRIES.map(|entry| [tree.as_slice(), &[entry]].concat()));
        let mut all: BTreeSet<Tree> = longer.collect();
        all.extend(trees);
        trees = all.into_iter().collect();
    }
    trees.into_iter().filter(|tree| !tree.is_empty()).collect()
}

impl Model for World {
    type State = Signed;
    type Action = Act;

    fn init_states(&self) -> Vec<Signed> {
        vec![Signed::default()]
    }

    fn actions(&self, state: &Signed, actions: &mut Vec<Act>) {
        if state.heads.len() < self.max_heads {
            let newest = state.heads.keys().max_by_key(|tree| tree.len());
            let follows = |tree: &Tree| {
                is_true(tree) && newest.is_none_or(|n| tree.len() > n.len() && tree.starts_with(n))
            };
            let mut trees = all_trees();
            trees.retain(|tree| !state.heads.contains_key(tree) && (self.lies || follows(tree)));
            actions.extend(trees.into_iter().map(Act::Sign));
        }
        for who in 0..LIAR {
            for tree in state.heads.keys() {
                let newer = tree.len() > state.newest[who].len();
                let goes_on = newer && tree.starts_with(&state.newest[who]);
                if goes_on && is_true(tree) && !state.buried[who] {
                    actions.push(Act::Cosign(who, tree.clone()));
                }
            }
            if !state.newest[who].is_empty() && !state.buried[who] {
                actions.push(Act::Bury(who));
            }
        }
    }

    fn next_state(&self, last: &Signed, action: Act) -> Option<Signed> {
        let mut next = last.clone();
        match action {
            Act::Sign(tree) => {
                next.heads.insert(tree, BTreeSet::new());
            }
            Act::Cosign(who, tree) => {
                next.heads.get_mut(&tree)?.insert(who);
                next.newest[who] = tree;
            }
            Act::Bury(who) => next.buried[who] = true,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "two proofs convict somebody",
                |world: &Self, state: &Signed| {
                    world
                        .contradictions(state)
                        .iter()
                        .all(|(publication, expiry)| convicts(publication, expiry, world.from))
                },
            ),
            Property::always(
                "a true log never proves both",
                |world: &Self, state: &Signed| {
                    world.lies
                    || world.contradictions(state).iter().all(|(_, expiry)| {
                        // A liar's tombstone of a tree that is long past convicts the liar.
                        matches!(expiry, Expiry::Dead(_, stones) if stones.len() < 2 || stones.contains_key(&LIAR))
                    })
                },
            ),
            Property::always("the deadline decides", |world: &Self, state: &Signed| {
                let quorate = state.heads.iter().filter(|(_, who)| !who.is_empty());
                let mut late = quorate
                    .filter(|(tree, _)| tree.iter().skip(world.from).any(|e| *e == Entry::Late));
                late.all(|(tree, _)| world.published(tree) || world.expired(tree))
            }),
            Property::sometimes("published", |world: &Self, state: &Signed| {
                !world.publications(state).is_empty()
            }),
            Property::sometimes("expired", |world: &Self, state: &Signed| {
                !world.expiries(state).is_empty()
            }),
            Property::sometimes("both", |world: &Self, state: &Signed| {
                !world.lies || !world.contradictions(state).is_empty()
            }),
        ]
    }
}

/// A head that proves a publication, with its cosigners.
type Publication = (Tree, BTreeSet<usize>);

/// What proves an expiry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Expiry {
    /// A head.
    Head(Tree, BTreeSet<usize>),
    /// Tombstones, by those who signed them, of which the largest is of this tree.
    Dead(Tree, BTreeMap<usize, Tree>),
}

impl World {
    fn judge(&self, tree: &[Entry]) -> Verdict {
        let window = leaves(tree.get(self.from..).unwrap_or_default());
        judge(
            self.from as u64,
            DEADLINE_MS,
            &preimage_hash(&PREIMAGE),
            &window,
        )
    }

    /// What a proof of publication can show: an entry of the window with a time that is not too late.
    fn published(&self, tree: &[Entry]) -> bool {
        tree.iter().skip(self.from).any(|e| *e == Entry::Preimage)
    }

    fn expired(&self, tree: &[Entry]) -> bool {
        matches!(self.judge(tree), Verdict::Expired { .. })
    }

    /// The liar's cosignature makes a quorum with any other.
    fn quorate<'a>(&self, state: &'a Signed) -> impl Iterator<Item = Publication> + 'a {
        let heads = state.heads.iter().filter(|(_, who)| !who.is_empty());
        heads.map(|(tree, who)| {
            let who = who.iter().copied().chain([LIAR]);
            (tree.clone(), who.collect())
        })
    }

    fn publications(&self, state: &Signed) -> Vec<Publication> {
        self.quorate(state)
            .filter(|(tree, _)| self.published(tree))
            .collect()
    }

    fn expiries(&self, state: &Signed) -> Vec<Expiry> {
        let heads = self.quorate(state).filter(|(tree, _)| self.expired(tree));
        let mut found: Vec<Expiry> = heads.map(|(tree, who)| Expiry::Head(tree, who)).collect();
        let truly: Vec<(usize, Tree)> = (0..LIAR)
            .filter(|who| state.buried[*who])
            .map(|who| (who, state.newest[who].clone()))
            .collect();
        // Two tombstones leave no quorum: those of both, or of one and the liar, who names any tree.
        let mut sets: Vec<BTreeMap<usize, Tree>> = Vec::new();
        if truly.len() == 2 {
            sets.push(truly.iter().cloned().collect());
        }
        for (who, tree) in &truly {
            for any in state.heads.keys() {
                sets.push([(*who, tree.clone()), (LIAR, any.clone())].into());
            }
        }
        for set in sets {
            let end = set
                .values()
                .max_by_key(|tree| tree.len())
                .cloned()
                .unwrap_or_default();
            let agree = set
                .values()
                .all(|tree| tree.len() < end.len() || *tree == end);
            let mut watch =
                rule::Watch::new(self.from as u64, DEADLINE_MS, &preimage_hash(&PREIMAGE));
            for leaf in leaves(end.get(self.from..).unwrap_or_default()) {
                watch.see(&leaf);
            }
            if agree && matches!(watch.end(), Verdict::Expired { .. }) {
                found.push(Expiry::Dead(end, set));
            }
        }
        found
    }

    fn contradictions(&self, state: &Signed) -> Vec<(Publication, Expiry)> {
        let expiries = self.expiries(state);
        let publications = self.publications(state);
        let pairs = publications.iter().flat_map(|publication| {
            let expiries = expiries.iter();
            expiries.map(|expiry| (publication.clone(), expiry.clone()))
        });
        pairs.collect()
    }
}

fn cosigner(who: usize) -> SigningKey {
    let name = format!("cosigner.example/{who}");
    SigningKey::from_secret(&name, KeyKind::Cosignature, [40 + who as u8; 32]).unwrap()
}

fn log_key() -> SigningKey {
    SigningKey::from_secret(ORIGIN, KeyKind::Ed25519, [1; 32]).unwrap()
}

fn memory(tree: &[Entry]) -> MemoryTree {
    let mut memory = MemoryTree::new();
    leaves(tree)
        .iter()
        .for_each(|leaf| memory.push(leaf.hash()));
    memory
}

fn note(tree: &[Entry], who: &BTreeSet<usize>) -> SignedNote {
    let size = tree.len() as u64;
    let head = Checkpoint::new(ORIGIN, size, root(&memory(tree), size).unwrap());
    let mut signed = SignedCheckpoint::new(head.sign(&log_key()).unwrap()).unwrap();
    for who in who {
        let line = cosign(&signed, &cosigner(*who), 1).unwrap();
        signed.add(&[line]).unwrap();
    }
    signed.note().clone()
}

fn tombstone(who: usize, tree: &[Entry]) -> SignedNote {
    let size = tree.len() as u64;
    let root = root(&memory(tree), size).unwrap();
    let origin = ORIGIN.to_owned();
    Tombstone { origin, size, root }
        .sign(&cosigner(who))
        .unwrap()
}

static SEEN: Mutex<BTreeMap<(Publication, Expiry, usize), bool>> = Mutex::new(BTreeMap::new());

/// Whether the two, with real signatures, hold and name somebody who signed what excludes each other.
fn convicts(publication: &Publication, expiry: &Expiry, from: usize) -> bool {
    let key = (publication.clone(), expiry.clone(), from);
    let mut seen = SEEN.lock().unwrap();
    *seen
        .entry(key)
        .or_insert_with(|| really_convicts(publication, expiry, from))
}

fn really_convicts((tree, who): &Publication, expiry: &Expiry, from: usize) -> bool {
    let keys: Vec<_> = (0..3).map(|who| (cosigner(who).verifier(), None)).collect();
    let policy = Policy::from_parts(&[(log_key().verifier(), None)], &keys, 2).unwrap();
    let hash = preimage_hash(&PREIMAGE);
    let terms = LogTerms {
        policy: &policy,
        origin: ORIGIN,
        hash: &hash,
        from_size: from as u64,
        deadline_ms: DEADLINE_MS,
    };
    let index = (from..tree.len())
        .find(|at| tree[*at] == Entry::Preimage)
        .unwrap();
    let publication = PublicationProof::build(
        &memory(tree),
        index as u64,
        tree[index].leaf(),
        note(tree, who),
    )
    .unwrap();
    let expiry = expiry_proof(expiry, from);
    // A true log and two true tombstones can't be contradicted.
    assert!(publication.verify(&terms).is_ok() && expiry.verify(&terms).is_ok());
    let Ok(proof) = ForkProof::from_contradiction(&terms, &publication, &expiry) else {
        return false;
    };
    let culprit = proof.verify().unwrap();
    match culprit.role {
        Role::Log => culprit.key == log_key().verifier(),
        Role::Cosigner => culprit.key.public() == cosigner(LIAR).verifier().public(),
    }
}

fn expiry_proof(expiry: &Expiry, from: usize) -> ExpiryProof {
    let range = |tree: &[Entry]| CompactRange::from_source(&memory(tree), from as u64).unwrap();
    match expiry {
        Expiry::Head(tree, who) => {
            let end = (from..tree.len())
                .find(|at| tree[*at] == Entry::Late)
                .unwrap();
            let window = leaves(&tree[from..=end]);
            ExpiryProof::build(range(tree), window, &memory(tree), note(tree, who)).unwrap()
        }
        Expiry::Dead(tree, stones) => {
            let notes = stones
                .iter()
                .map(|(who, tree)| tombstone(*who, tree))
                .collect();
            if from >= tree.len() {
                let none = CompactRange::new();
                return ExpiryProof::build_tombstoned(none, Vec::new(), None, notes).unwrap();
            }
            let last = note(tree, &BTreeSet::new());
            ExpiryProof::build_tombstoned(range(tree), leaves(&tree[from..]), Some(last), notes)
                .unwrap()
        }
    }
}

fn check(world: World) {
    let checker = world.checker().threads(1).spawn_bfs().join();
    checker.assert_properties();
    println!("{} states", checker.unique_state_count());
}

#[test]
fn a_true_log_and_a_lying_cosigner() {
    for from in 0..2 {
        check(World {
            lies: false,
            max_heads: 3,
            from,
        });
    }
}

#[test]
fn a_lying_log_and_a_lying_cosigner() {
    for from in 0..2 {
        check(World {
            lies: true,
            max_heads: 2,
            from,
        });
    }
}

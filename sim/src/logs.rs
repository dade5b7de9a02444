//! Logs and cosigners, true ones and others, and what they have signed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use atomicity_witness_log::checkpoint::cosign;
use atomicity_witness_log::tombstone::{DEAD_AFTER_MS, Tombstone};
use atomicity_witness_log::tree::root;
use atomicity_witness_log::{
    Checkpoint, Follower, ForkProof, KeyKind, Leaf, LogError, LogState, MemoryTree, NoteSignature,
    Policy, SignedCheckpoint, SignedNote, SigningKey,
};
use sha2::{Digest as _, Sha256};

use crate::error::SimError;
use crate::plan::{LogPlan, Plan};

/// One of the trees that a log shows; an honest log has one.
#[derive(Clone, Debug)]
pub struct Branch {
    /// The code of a true log, as long as the tree could be one's.
    state: Option<LogState>,
    /// The entries.
    pub leaves: Vec<Leaf>,
    /// The tree over them.
    pub tree: MemoryTree,
    /// What waits for the next head.
    pub waiting: Vec<[u8; 32]>,
    /// The heads that the log signed, by their sizes, with what cosigners added.
    pub heads: BTreeMap<u64, SignedNote>,
    /// Of these, the sizes of those that satisfy the policy.
    pub proven: Vec<u64>,
}

impl Branch {
    fn new(origin: &str) -> Self {
        Self {
            state: Some(LogState::new(origin)),
            leaves: Vec::new(),
            tree: MemoryTree::new(),
            waiting: Vec::new(),
            heads: BTreeMap::new(),
            proven: Vec::new(),
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// The time of the newest entry.
    #[must_use]
    pub fn last_ms(&self) -> u64 {
        self.leaves.iter().map(Leaf::time_ms).max().unwrap_or(0)
    }

    /// The largest size that satisfies the policy.
    #[must_use]
    pub fn proven_size(&self) -> u64 {
        self.proven.last().copied().unwrap_or(0)
    }

    fn push(&mut self, leaf: Leaf) {
        self.leaves.push(leaf);
        self.tree.push(leaf.hash());
    }
}

/// A log.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its name.
    pub origin: String,
    /// The policy by which everybody judges its heads.
    pub policy: Policy,
    /// The policy's text.
    pub text: String,
    /// How it behaves.
    pub plan: LogPlan,
    /// Its trees.
    pub branches: Vec<Branch>,
    /// Which of them each user is shown.
    pub audience: Vec<usize>,
    /// Which of them each cosigner is shown.
    pub shown: Vec<usize>,
    /// Whether it has ended.
    pub dead: bool,
    key: SigningKey,
    /// The heads that the policy let through: what is checked once need not be checked for everybody.
    checked: RefCell<BTreeSet<String>>,
}

/// A cosigner of all logs.
#[derive(Clone, Debug)]
pub struct Cosigner {
    /// Whether it signs whatever it is given.
    pub lies: bool,
    key: SigningKey,
    followers: Vec<Follower>,
}

/// All logs and cosigners.
#[derive(Clone, Debug)]
pub struct Logs {
    /// The logs.
    pub logs: Vec<Log>,
    /// The cosigners.
    pub cosigners: Vec<Cosigner>,
    /// What true cosigners found out.
    pub proofs: Vec<ForkProof>,
}

/// Thirty-two bytes that stand for a name in the world of a seed.
#[must_use]
pub fn secret(seed: u64, what: &str, at: usize) -> [u8; 32] {
    Sha256::digest(format!("{seed} {what} {at}").as_bytes()).into()
}

impl Logs {
    /// The logs and cosigners of a plan.
    ///
    /// # Errors
    /// [`SimError`] if a key or policy can't be made.
    pub fn new(seed: u64, plan: &Plan) -> Result<Self, SimError> {
        let mut cosigners = Vec::new();
        for (at, lies) in plan.cosigners.iter().enumerate() {
            let name = format!("cosigner.example/{at}");
            let secret = secret(seed, "cosigner", at);
            let key = SigningKey::from_secret(&name, KeyKind::Cosignature, secret)?;
            cosigners.push(Cosigner {
                lies: *lies,
                key,
                followers: Vec::new(),
            });
        }
        let mut logs = Vec::new();
        for (at, log_plan) in plan.logs.iter().enumerate() {
            let origin = format!("log.example/{at}");
            let key = SigningKey::from_secret(&origin, KeyKind::Ed25519, secret(seed, "log", at))?;
            let names: Vec<_> = cosigners.iter().map(|c| (c.key.verifier(), None)).collect();
            let policy = Policy::from_parts(&[(key.verifier(), None)], &names, plan.threshold)?;
            for cosigner in &mut cosigners {
                cosigner.followers.push(Follower::new(key.verifier()));
            }
            logs.push(Log {
                text: String::from_utf8_lossy(policy.as_bytes()).into_owned(),
                policy,
                plan: *log_plan,
                branches: vec![Branch::new(&origin)],
                audience: vec![0; plan.nodes],
                shown: vec![0; plan.cosigners.len()],
                dead: false,
                origin,
                key,
                checked: RefCell::default(),
            });
        }
        Ok(Self {
            logs,
            cosigners,
            proofs: Vec::new(),
        })
    }

    /// Adds what waits and a tick to a tree, has the head cosigned by whoever takes it, and shows it if that is enough.
    ///
    /// # Errors
    /// [`SimError`] if the log's own code refuses what it must take.
    pub fn tick(&mut self, log: usize, branch: usize, time_ms: u64) -> Result<(), SimError> {
        let of = &mut self.logs[log];
        let tree = &mut of.branches[branch];
        let time_ms = time_ms.max(tree.last_ms() + 1);
        let waiting = std::mem::take(&mut tree.waiting);
        match &mut tree.state {
            Some(state) => {
                for leaf in state.append(&waiting, time_ms)?.leaves {
                    tree.push(leaf);
                }
            }
            None => {
                for preimage in waiting {
                    tree.push(Leaf::Preimage { time_ms, preimage });
                }
                tree.push(Leaf::Tick { time_ms });
            }
        }
        self.head(log, branch, time_ms)
    }

    /// Adds entries that no true log would, and a head over them.
    ///
    /// # Errors
    /// [`SimError`] if a head can't be signed.
    pub fn forge(&mut self, log: usize, branch: usize, leaves: &[Leaf]) -> Result<(), SimError> {
        let tree = &mut self.logs[log].branches[branch];
        tree.state = None;
        let time_ms = tree.last_ms() + 1;
        for leaf in leaves {
            tree.push(*leaf);
        }
        tree.push(Leaf::Tick { time_ms });
        self.head(log, branch, time_ms)
    }

    /// A second tree that begins as the first.
    pub fn fork(&mut self, log: usize) -> usize {
        let of = &mut self.logs[log];
        let copy = of.branches[0].clone();
        of.branches.push(copy);
        of.branches.len() - 1
    }

    fn head(&mut self, log: usize, branch: usize, time_ms: u64) -> Result<(), SimError> {
        let of = &mut self.logs[log];
        let tree = &mut of.branches[branch];
        let size = tree.size();
        let checkpoint = Checkpoint::new(&of.origin, size, root(&tree.tree, size)?);
        if let Some(state) = &tree.state
            && state.checkpoint() != checkpoint
        {
            return Err(SimError::Missing("the root that the log's own code has"));
        }
        let note = checkpoint.sign(&of.key)?;
        let mut signed = SignedCheckpoint::new(note.clone())?;
        for at in 0..self.cosigners.len() {
            if let Some(line) = self.cosign(at, log, branch, &note, time_ms)? {
                signed.add(&[line])?;
            }
        }
        let of = &mut self.logs[log];
        let enough = of.check(signed.note()).is_ok();
        let tree = &mut of.branches[branch];
        if enough {
            tree.proven.push(size);
        }
        tree.heads.insert(size, signed.note().clone());
        Ok(())
    }

    /// What one cosigner answers.
    fn cosign(
        &mut self,
        at: usize,
        log: usize,
        branch: usize,
        note: &SignedNote,
        now_ms: u64,
    ) -> Result<Option<NoteSignature>, SimError> {
        let of = &self.logs[log];
        let cosigner = &mut self.cosigners[at];
        if cosigner.lies {
            let signed = SignedCheckpoint::new(note.clone())?;
            return Ok(Some(cosign(&signed, &cosigner.key, now_ms / 1000)?));
        }
        if of.shown[at] != branch {
            return Ok(None);
        }
        let follower = &mut cosigner.followers[log];
        let known = usize::try_from(follower.size()).unwrap_or(usize::MAX);
        let new = of.branches[branch].leaves.get(known..).unwrap_or_default();
        let entries: Vec<Vec<u8>> = new.iter().map(Leaf::encode).collect();
        match follower.advance(note, &entries, Some(now_ms)) {
            Ok(()) => Ok(Some(follower.cosign(&cosigner.key, now_ms / 1000)?)),
            Err(LogError::Forked(proof)) => {
                self.proofs.push(*proof);
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    /// What the cosigners sign when a log has ended: every set of as many tombstones as end it.
    ///
    /// Before they do they mirror from one another what the log has signed, and cosign it.
    ///
    /// # Errors
    /// [`SimError`] if a signature can't be made.
    pub fn bury(&mut self, log: usize, now_ms: u64) -> Result<Vec<Vec<SignedNote>>, SimError> {
        for branch in 0..self.logs[log].branches.len() {
            let newest = self.logs[log].branches[branch].heads.last_key_value();
            let Some((size, note)) = newest.map(|(size, note)| (*size, note.clone())) else {
                continue;
            };
            let mut signed = SignedCheckpoint::new(note.clone())?;
            let then = self.logs[log].branches[branch].last_ms();
            for at in 0..self.cosigners.len() {
                if self.cosigners[at].followers[log].tombstone().is_none()
                    && let Some(line) = self.cosign(at, log, branch, &note, then)?
                {
                    signed.add(&[line])?;
                }
            }
            let of = &mut self.logs[log];
            let enough = of.check(signed.note()).is_ok();
            let tree = &mut of.branches[branch];
            if enough && tree.proven_size() < size {
                tree.proven.push(size);
            }
            tree.heads.insert(size, signed.note().clone());
        }
        let mut tombstones = Vec::new();
        for at in 0..self.cosigners.len() {
            if let Some(note) = self.tombstone(at, log, now_ms)? {
                tombstones.push(note);
            }
        }
        tombstones.sort_by_key(|(size, _)| *size);
        let needed = self.cosigners.len() + 1 - self.quorum(log);
        let notes: Vec<SignedNote> = tombstones.into_iter().map(|(_, note)| note).collect();
        let sets = (0_u32..1 << notes.len()).filter(|set| set.count_ones() as usize == needed);
        let members = |set: u32| {
            let notes = notes.iter().enumerate();
            let chosen = notes.filter(move |(at, _)| set >> at & 1 == 1);
            chosen.map(|(_, note)| note.clone()).collect()
        };
        Ok(sets.map(members).collect())
    }

    /// An honest cosigner that has cosigned a tree in which times fall, if there is one.
    #[must_use]
    pub fn cosigned_lie(&self) -> Option<String> {
        for (at, cosigner) in self.cosigners.iter().enumerate() {
            for (log, follower) in self.logs.iter().zip(&cosigner.followers) {
                let seen = usize::try_from(follower.size()).unwrap_or(usize::MAX);
                let tree = &log.branches[log.shown[at]];
                let leaves = tree.leaves.get(..seen).unwrap_or_default();
                let falls = leaves.windows(2).any(|w| w[0].time_ms() > w[1].time_ms());
                if falls && !cosigner.lies {
                    let origin = &log.origin;
                    return Some(format!(
                        "cosigner {at} has cosigned times of {origin} that fall"
                    ));
                }
            }
        }
        None
    }

    fn quorum(&self, log: usize) -> usize {
        let policy = &self.logs[log].policy;
        let keys = || self.cosigners.iter().map(|c| *c.key.verifier().public());
        (1..=self.cosigners.len())
            .find(|k| policy.reaches_quorum(&keys().take(*k).collect()))
            .unwrap_or(0)
    }

    /// One cosigner's tombstone. One that lies names a tree that is long past.
    fn tombstone(
        &mut self,
        at: usize,
        log: usize,
        now_ms: u64,
    ) -> Result<Option<(u64, SignedNote)>, SimError> {
        let of = &self.logs[log];
        let cosigner = &mut self.cosigners[at];
        if cosigner.lies {
            let tree = &of.branches[0];
            let Some((size, _)) = tree.heads.iter().nth(tree.heads.len() / 2) else {
                return Ok(None);
            };
            let tombstone = Tombstone {
                origin: of.origin.clone(),
                size: *size,
                root: root(&tree.tree, *size)?,
            };
            return Ok(Some((*size, tombstone.sign(&cosigner.key)?)));
        }
        let follower = &mut cosigner.followers[log];
        match follower.bury_after(&cosigner.key, now_ms, DEAD_AFTER_MS) {
            Ok(note) => Ok(Some((follower.size(), note))),
            Err(LogError::NotDead) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
}

impl Log {
    /// Checks a head by the policy.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, note: &SignedNote) -> Result<Checkpoint, LogError> {
        let text = note.to_string();
        if self.checked.borrow().contains(&text) {
            return Checkpoint::parse(note.text());
        }
        let checked = self.policy.check_origin(note, &self.origin)?;
        self.checked.borrow_mut().insert(text);
        Ok(checked.checkpoint().clone())
    }

    /// The newest head that a user of the log may rely on, with its tree; `back` heads before it for a log that withholds.
    #[must_use]
    pub fn shown_to(&self, node: usize, back: usize) -> Option<(&SignedNote, &Branch)> {
        let tree = &self.branches[self.audience[node]];
        let at = tree.proven.len().checked_sub(1 + back)?;
        Some((tree.heads.get(tree.proven.get(at)?)?, tree))
    }

    /// The key that the log signs with.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// How many heads satisfy the policy.
    #[must_use]
    pub fn proven(&self) -> usize {
        self.branches.iter().map(|tree| tree.proven.len()).sum()
    }

    /// Whether a preimage stands where no quorum has cosigned it.
    #[must_use]
    pub fn holds_unproven(&self, hash: &[u8; 32]) -> bool {
        self.branches.iter().any(|tree| {
            let proven = usize::try_from(tree.proven_size()).unwrap_or(0);
            let mut rest = tree.leaves.iter().skip(proven);
            rest.any(|leaf| leaf.publishes(hash))
        })
    }

    /// Whether a proof of publication can exist: an entry with the preimage, in time, in a tree that a quorum cosigned.
    #[must_use]
    pub fn has_published(&self, hash: &[u8; 32], from: u64, deadline_ms: u64) -> bool {
        self.branches.iter().any(|tree| {
            let upto = usize::try_from(tree.proven_size()).unwrap_or(0);
            let entries = tree.leaves.iter().enumerate().take(upto);
            let mut in_window = entries.skip(usize::try_from(from).unwrap_or(usize::MAX));
            in_window.any(|(_, leaf)| match leaf {
                Leaf::Preimage { time_ms, preimage } => {
                    *time_ms <= deadline_ms && <[u8; 32]>::from(Sha256::digest(preimage)) == *hash
                }
                Leaf::Tick { .. } => false,
            })
        })
    }
}

impl Cosigner {
    /// Whether this is the cosigner of a key.
    #[must_use]
    pub fn is(&self, key: &atomicity_witness_log::VerifierKey) -> bool {
        self.key.verifier().public() == key.public()
    }
}

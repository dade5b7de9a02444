//! One log as one user has seen it: only what the checks of the log's crate have let through.

use atomicity_ledger::pair::Expiry;
use atomicity_ledger::record::{LogProof, LogTerm};
use atomicity_witness_log::tree::{CompactRange, root};
use atomicity_witness_log::{
    Checkpoint, ExpiryProof, Follower, ForkProof, Leaf, LogError, MemoryTree, PublicationProof,
    SignedNote, Tombstones, Verdict, fork, judge,
};

use crate::error::SimError;
use crate::logs::{Branch, Log};

/// Where a log ended.
#[derive(Clone, Debug)]
pub struct Ending {
    tombstones: Vec<SignedNote>,
    last: Option<SignedNote>,
    leaves: Vec<Leaf>,
}

/// What a user knows of a log.
#[derive(Clone, Debug)]
pub struct View {
    follower: Follower,
    /// The entries seen.
    pub leaves: Vec<Leaf>,
    /// The tree over them.
    pub tree: MemoryTree,
    /// The newest head relied on.
    pub note: Option<SignedNote>,
    /// How the log ended, as several sets of tombstones have it.
    pub ends: Vec<Ending>,
    /// What was found out about the log.
    pub proofs: Vec<ForkProof>,
    /// Whether it is not trusted with anything new.
    pub refused: bool,
}

impl View {
    /// Nothing seen yet.
    ///
    /// # Errors
    /// [`SimError::Missing`] if the policy does not list the log.
    pub fn new(log: &Log) -> Result<Self, SimError> {
        let key = log.policy.log(&log.origin);
        let key = key.ok_or(SimError::Missing("the log's key"))?.key.clone();
        Ok(Self {
            follower: Follower::new(key),
            leaves: Vec::new(),
            tree: MemoryTree::new(),
            note: None,
            ends: Vec::new(),
            proofs: Vec::new(),
            refused: false,
        })
    }

    /// How many entries were seen.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// Takes a newer head and the entries that it adds. Returns whether anything was new.
    ///
    /// # Errors
    /// What is wrong with them; nothing has changed then, but that what was caught is noted.
    pub fn take(&mut self, log: &Log, note: &SignedNote, tree: &Branch) -> Result<bool, LogError> {
        let known = self.size();
        // What is no news need not be checked.
        if Checkpoint::parse(note.text())?.size <= known {
            return Ok(false);
        }
        let checked = log.check(note)?;
        let size = checked.size;
        let at = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
        let new = tree.leaves.get(at(known)..at(size)).unwrap_or_default();
        let entries: Vec<Vec<u8>> = new.iter().map(Leaf::encode).collect();
        match self.follower.advance(note, &entries, None) {
            Ok(()) => {}
            Err(error) => {
                if let LogError::Forked(proof) = &error {
                    self.proofs.push((**proof).clone());
                }
                self.refused = true;
                // Whoever lies about times has still signed these entries: what they decide can be shown.
                let mut all = self.tree.clone();
                new.iter().for_each(|leaf| all.push(leaf.hash()));
                if root(&all, size)? != checked.root {
                    return Err(error);
                }
            }
        }
        for leaf in new {
            self.leaves.push(*leaf);
            self.tree.push(leaf.hash());
        }
        self.note = Some(note.clone());
        Ok(true)
    }

    /// The log has ended, and mirrors have shown all there is up to there. Whoever shows tombstones chooses which.
    pub fn bury(&mut self, log: &Log, tombstones: &[Vec<SignedNote>]) {
        self.ends.clear();
        for notes in tombstones {
            let end = Tombstones::end(&log.policy, &log.origin, notes);
            let Ok(Some(end)) = end else { continue };
            let holds = |tree: &&Branch| {
                end.size <= tree.size() && root(&tree.tree, end.size).is_ok_and(|r| r == end.root)
            };
            let Some(tree) = log.branches.iter().find(holds) else {
                continue;
            };
            let upto = usize::try_from(end.size).unwrap_or(usize::MAX);
            self.ends.push(Ending {
                tombstones: notes.clone(),
                last: tree.heads.get(&end.size).cloned(),
                leaves: tree.leaves.iter().take(upto).copied().collect(),
            });
        }
    }

    /// What the entries say about terms.
    #[must_use]
    pub fn verdict(&self, term: &LogTerm, hash: &[u8; 32], deadline_ms: u64) -> Verdict {
        let from = usize::try_from(term.from_size).unwrap_or(usize::MAX);
        let leaves = self.leaves.get(from..).unwrap_or_default();
        judge(term.from_size, deadline_ms, hash, leaves)
    }

    /// The proof that an entry is in the log, if a head that counts holds it.
    ///
    /// # Errors
    /// [`SimError`] if the proof can't be built.
    pub fn publication(&self, log: &Log, index: u64) -> Result<Option<LogProof>, SimError> {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let (Some(note), Some(leaf)) = (&self.note, self.leaves.get(at)) else {
            return Ok(None);
        };
        if Checkpoint::parse(note.text())?.size <= index {
            return Ok(None);
        }
        let proof = PublicationProof::build(&self.tree, index, *leaf, note.clone())?;
        Ok(Some(LogProof {
            policy: log.text.parse()?,
            proof: proof.to_string().parse()?,
        }))
    }

    /// The proof that nothing came in time, if the entries decide it.
    ///
    /// # Errors
    /// [`SimError`] if the proof can't be built.
    pub fn expiry(
        &self,
        log: &Log,
        term: &LogTerm,
        hash: &[u8; 32],
        deadline_ms: u64,
    ) -> Result<Option<Expiry>, SimError> {
        let verdict = self.verdict(term, hash, deadline_ms);
        let proof = match verdict {
            Verdict::Expired { index } if self.proves(index) => {
                Some(self.window(term, index + 1, self.note.clone())?)
            }
            _ => self.ended(term, hash, deadline_ms)?,
        };
        Ok(proof.map(|proof| Expiry {
            policy: log.text.clone(),
            proof: proof.encode(),
        }))
    }

    /// Whether the newest head holds this entry.
    fn proves(&self, index: u64) -> bool {
        let size = self
            .note
            .as_ref()
            .map(|note| Checkpoint::parse(note.text()));
        matches!(size, Some(Ok(checkpoint)) if checkpoint.size > index)
    }

    fn window(
        &self,
        term: &LogTerm,
        end: u64,
        note: Option<SignedNote>,
    ) -> Result<ExpiryProof, SimError> {
        let note = note.ok_or(SimError::Missing("a head"))?;
        let range = CompactRange::from_source(&self.tree, term.from_size)?;
        Ok(ExpiryProof::build(
            range,
            self.between(term.from_size, end),
            &self.tree,
            note,
        )?)
    }

    /// The proof by the first set of tombstones that leaves the preimage out.
    fn ended(
        &self,
        term: &LogTerm,
        hash: &[u8; 32],
        deadline_ms: u64,
    ) -> Result<Option<ExpiryProof>, SimError> {
        for end in &self.ends {
            let from = usize::try_from(term.from_size).unwrap_or(usize::MAX);
            let window = end.leaves.get(from..).unwrap_or_default();
            let verdict = judge(term.from_size, deadline_ms, hash, window);
            if matches!(verdict, Verdict::Published { .. }) {
                continue;
            }
            let notes = end.tombstones.clone();
            let proof = if window.is_empty() {
                ExpiryProof::build_tombstoned(CompactRange::new(), Vec::new(), None, notes)
            } else {
                let mut tree = MemoryTree::new();
                end.leaves.iter().for_each(|leaf| tree.push(leaf.hash()));
                let range = CompactRange::from_source(&tree, term.from_size)?;
                ExpiryProof::build_tombstoned(range, window.to_vec(), end.last.clone(), notes)
            };
            return Ok(Some(proof?));
        }
        Ok(None)
    }

    fn between(&self, from: u64, to: u64) -> Vec<Leaf> {
        let at = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
        self.leaves
            .get(at(from)..at(to))
            .unwrap_or_default()
            .to_vec()
    }

    /// Compares a head that somebody else relied on with what was seen here, as far as that reaches.
    ///
    /// # Errors
    /// What is wrong with the head.
    pub fn compare(&mut self, log: &Log, other: &SignedNote) -> Result<bool, LogError> {
        let Some(note) = &self.note else {
            return Ok(false);
        };
        let theirs = Checkpoint::parse(other.text())?;
        let mine = Checkpoint::parse(note.text())?;
        if theirs.origin != log.origin || theirs.size > mine.size {
            return Ok(false);
        }
        let key = self.follower.log().clone();
        let Some(proof) = fork::compare(&key, note, other, &self.tree)? else {
            return Ok(false);
        };
        self.proofs.push(proof);
        self.refused = true;
        Ok(true)
    }
}

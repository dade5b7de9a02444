//! The entries of a log that terms ask about, and what they say, with the proof, checked as everybody else will check it.
//!
//! Whoever fills a [`Window`] has made sure that its entries, after the hashes before them, add up to the tree of its checkpoint.

use crate::error::LogError;
use crate::expiry::ExpiryProof;
use crate::leaf::Leaf;
use crate::note::SignedNote;
use crate::proof::PublicationProof;
use crate::rule::{LogTerms, Verdict, judge};
use crate::tree::{CompactRange, RangeSource};

/// All entries of a log from some index on, as a checkpoint has them.
#[derive(Clone, Debug)]
pub struct Window {
    base: CompactRange,
    leaves: Vec<Leaf>,
    note: SignedNote,
}

/// How a dead log ended.
#[derive(Clone, Debug)]
pub struct End {
    notes: Vec<SignedNote>,
    size: u64,
    window: Option<Window>,
}

/// What a log says about terms.
#[derive(Clone, Debug)]
pub enum Said {
    /// Published in time.
    Published {
        /// The preimage.
        preimage: [u8; 32],
        /// That it stands in the log.
        proof: PublicationProof,
    },
    /// Not published in time, and it never will have been.
    Expired(ExpiryProof),
}

impl Window {
    /// `base`: the hashes before; `leaves`: the entries from there on; `note`: the checkpoint of the tree that ends with them.
    #[must_use]
    pub fn new(base: CompactRange, leaves: Vec<Leaf>, note: SignedNote) -> Self {
        Self { base, leaves, note }
    }

    /// The hashes before the first entry.
    #[must_use]
    pub fn base(&self) -> &CompactRange {
        &self.base
    }

    /// The time of the newest entry, in unix milliseconds of the log's clock.
    #[must_use]
    pub fn last_time_ms(&self) -> Option<u64> {
        self.leaves.last().map(Leaf::time_ms)
    }

    /// The entries from `from` on.
    #[must_use]
    pub fn from(&self, from: u64) -> &[Leaf] {
        let at = from.saturating_sub(self.base.size());
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        self.leaves.get(at..).unwrap_or_default()
    }

    /// What the log says about these terms so far.
    #[must_use]
    pub fn verdict(&self, terms: &LogTerms<'_>) -> Verdict {
        if terms.from_size < self.base.size() {
            return Verdict::Open;
        }
        judge(
            terms.from_size,
            terms.deadline_ms,
            terms.hash,
            self.from(terms.from_size),
        )
    }

    /// The hashes before `index`, which is not before the first entry.
    fn range_at(&self, index: u64) -> Result<CompactRange, LogError> {
        let mut range = self.base.clone();
        let count = index.saturating_sub(self.base.size());
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        for leaf in self.leaves.iter().take(count) {
            range.append(leaf.hash())?;
        }
        Ok(range)
    }

    fn source(&self) -> RangeSource {
        RangeSource::new(
            self.base.clone(),
            self.leaves.iter().map(Leaf::hash).collect(),
        )
    }

    /// That the entry at `index` stands in the log.
    fn publication(&self, index: u64) -> Result<PublicationProof, LogError> {
        let leaf = *self.from(index).first().ok_or(LogError::OutOfRange)?;
        PublicationProof::build(&self.source(), index, leaf, self.note.clone())
    }

    /// That these terms expired with the entry at `index`.
    fn expiry(&self, terms: &LogTerms<'_>, index: u64) -> Result<ExpiryProof, LogError> {
        let range = self.range_at(terms.from_size)?;
        let count = index.saturating_sub(terms.from_size).saturating_add(1);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let leaves = self.from(terms.from_size).iter().take(count);
        let leaves = leaves.copied().collect();
        ExpiryProof::build(range, leaves, &self.source(), self.note.clone())
    }
}

impl End {
    /// `notes`: the tombstones that leave no quorum; `size`: the largest tombstoned one; `window`: everything that is asked about, under
    /// the log's own checkpoint of that size. Without it only terms that begin at `size` or beyond can be judged.
    #[must_use]
    pub fn new(notes: Vec<SignedNote>, size: u64, window: Option<Window>) -> Self {
        Self {
            notes,
            size,
            window,
        }
    }

    /// That these terms had expired when the log ended; `None` if they had not.
    fn expiry(&self, terms: &LogTerms<'_>) -> Result<Option<ExpiryProof>, LogError> {
        let notes = self.notes.clone();
        if terms.from_size >= self.size {
            let range = CompactRange::new();
            return ExpiryProof::build_tombstoned(range, Vec::new(), None, notes).map(Some);
        }
        let Some(window) = &self.window else {
            return Ok(None);
        };
        if terms.from_size < window.base.size() {
            return Ok(None);
        }
        if matches!(window.verdict(terms), Verdict::Published { .. }) {
            return Ok(None);
        }
        let leaves = window.from(terms.from_size).to_vec();
        let (range, last) = (window.range_at(terms.from_size)?, window.note.clone());
        ExpiryProof::build_tombstoned(range, leaves, Some(last), notes).map(Some)
    }
}

/// What a log says about terms, by its entries, or by its end where they say nothing. `None`: nothing yet.
///
/// # Errors
/// Why the proof does not hold: the checkpoint does not count by the policy of the terms, or the entries are not those of its tree.
pub fn said(
    window: Option<&Window>,
    end: Option<&End>,
    terms: &LogTerms<'_>,
) -> Result<Option<Said>, LogError> {
    let verdict = window.map_or(Verdict::Open, |window| window.verdict(terms));
    let expired = |proof: ExpiryProof| {
        proof.verify(terms)?;
        Ok(Some(Said::Expired(proof)))
    };
    match (verdict, window) {
        (Verdict::Published { index }, Some(window)) => {
            let proof = window.publication(index)?;
            let preimage = proof.verify(terms)?.preimage;
            Ok(Some(Said::Published { preimage, proof }))
        }
        (Verdict::Expired { index }, Some(window)) => expired(window.expiry(terms, index)?),
        _ => match end {
            Some(end) => end.expiry(terms)?.map_or(Ok(None), expired),
            None => Ok(None),
        },
    }
}

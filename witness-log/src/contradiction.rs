//! Published *and* expired under the same terms: somebody signed two things that exclude each other. This finds out who.

use crate::checkpoint::Checkpoint;
use crate::error::LogError;
use crate::expiry::{Ending, ExpiryProof};
use crate::fork::ForkProof;
use crate::leaf::Leaf;
use crate::note::{SignedNote, VerifierKey};
use crate::proof::{PublicationProof, TlogProof};
use crate::rule::LogTerms;
use crate::tree::{Hash, RangeSource, inclusion_across, prove_inclusion};

pub(crate) fn convict(
    terms: &LogTerms<'_>,
    publication: &PublicationProof,
    expiry: &ExpiryProof,
) -> Result<ForkProof, LogError> {
    let published = publication.verify(terms)?;
    let expired = expiry.verify(terms)?;
    let log = terms
        .policy
        .log(terms.origin)
        .ok_or_else(|| LogError::OriginUnknown(terms.origin.to_owned()))?;
    let case = Case {
        log: &log.key,
        publication: publication.tlog_proof(),
        expiry,
        index: published.index,
        decided: expired.index,
    };
    let proof = match &expiry.ending {
        Ending::Deadline { consistency, note } => case.deadline(consistency, note)?,
        Ending::Tombstoned {
            last: Some(last), ..
        } if published.index < Checkpoint::parse(last.text())?.size => case.dead_log(last)?,
        Ending::Tombstoned { notes, .. } => return case.broken_promise(terms, notes),
    };
    proof.confirm()
}

struct Case<'a> {
    log: &'a VerifierKey,
    publication: &'a TlogProof,
    expiry: &'a ExpiryProof,
    /// Index of the published leaf.
    index: u64,
    /// Index of the first leaf after the deadline, or the size at which the log ended.
    decided: u64,
}

impl Case<'_> {
    /// The shown entries as a tree, and the one at this index.
    fn shown(&self, index: u64) -> Result<(RangeSource, &Leaf), LogError> {
        let hashes = self.expiry.leaves.iter().map(Leaf::hash).collect();
        let source = RangeSource::new(self.expiry.range.clone(), hashes);
        let leaf = index
            .checked_sub(self.expiry.range.size())
            .and_then(|at| self.expiry.leaves.get(usize::try_from(at).ok()?))
            .ok_or(LogError::OutOfRange)?;
        Ok((source, leaf))
    }

    /// Either another entry stands where the preimage was published, or it was published after a later time.
    fn deadline(&self, consistency: &[Hash], note: &SignedNote) -> Result<ForkProof, LogError> {
        let end = self
            .expiry
            .range
            .size()
            .saturating_add(self.expiry.leaves.len() as u64);
        let index = self.index.min(end.saturating_sub(1));
        let (source, leaf) = self.shown(index)?;
        let size = Checkpoint::parse(note.text())?.size;
        let shown = TlogProof {
            extra: Some(leaf.encode()),
            index,
            path: inclusion_across(&source, index, (end, size), consistency)?,
            note: note.clone(),
        };
        let (key, publication) = (self.log.clone(), self.publication.clone());
        Ok(if index == self.index {
            ForkProof::DifferentLeaves {
                key,
                a: shown,
                b: publication,
            }
        } else {
            ForkProof::FallingTimes {
                key,
                before: shown,
                after: publication,
            }
        })
    }

    /// The log ended with a tree that has another entry where the preimage was published, or it was published after a later time.
    fn dead_log(&self, last: &SignedNote) -> Result<ForkProof, LogError> {
        let index = self.index.min(self.decided);
        let (source, leaf) = self.shown(index)?;
        let size = Checkpoint::parse(last.text())?.size;
        let shown = TlogProof {
            extra: Some(leaf.encode()),
            index,
            path: prove_inclusion(&source, index, size)?,
            note: last.clone(),
        };
        let (key, publication) = (self.log.clone(), self.publication.clone());
        Ok(if index == self.index {
            ForkProof::DifferentLeaves {
                key,
                a: shown,
                b: publication,
            }
        } else {
            ForkProof::FallingTimes {
                key,
                before: shown,
                after: publication,
            }
        })
    }

    /// The preimage was published where no quorum could cosign any more: one who signed a tombstone did.
    fn broken_promise(
        &self,
        terms: &LogTerms<'_>,
        notes: &[SignedNote],
    ) -> Result<ForkProof, LogError> {
        let pairs = terms
            .policy
            .cosigner_keys()
            .flat_map(|key| notes.iter().map(move |note| (key, note)));
        pairs
            .filter_map(|(key, note)| {
                let proof = ForkProof::BrokenTombstone {
                    key: key.clone(),
                    tombstone: note.clone(),
                    cosigned: self.publication.note.clone(),
                };
                proof.confirm().ok()
            })
            .next()
            .ok_or(LogError::NotAFork("no cosigner signed both"))
    }
}

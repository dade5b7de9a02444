//! Tombstones: cosigners' promises never to cosign a larger tree of a log that died.
//!
//! A tombstone is a signed note, `atomicity-tombstone/v1`, origin, size and root on a line each, signed with the cosigner's Ed25519 key
//! under signature type 0x01. Tombstones of so many cosigners that no quorum remains end the log: nothing at or beyond the largest
//! tombstoned size can ever be proven under the policy. Who shows tombstones chooses them; a single cosigner's false one keeps nobody
//! from using the others, and one that contradicts the cosigner's other signatures convicts it.

use std::collections::BTreeSet;
use std::fmt;

use crate::checkpoint::Checkpoint;
use crate::error::LogError;
use crate::note::{KeyKind, SignedNote, SigningKey, VerifierKey};
use crate::policy::{MAX_POLICY_ITEMS, Policy};
use crate::tree::Hash;

/// The first line of every tombstone.
pub const HEADER: &str = "atomicity-tombstone/v1";
/// A log is dead when its newest tick is older than this, in milliseconds.
pub const DEAD_AFTER_MS: u64 = 3_600_000;

/// What a tombstone says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The log.
    pub origin: String,
    /// No tree with more entries will be cosigned.
    pub size: u64,
    /// The root of the tree of this size.
    pub root: Hash,
}

impl Tombstone {
    /// Reads the text of a tombstone.
    ///
    /// # Errors
    /// [`LogError::CheckpointMalformed`].
    pub fn parse(text: &str) -> Result<Self, LogError> {
        let malformed = LogError::CheckpointMalformed;
        let body = text
            .strip_prefix(HEADER)
            .and_then(|rest| rest.strip_prefix('\n'))
            .ok_or(malformed("this is no tombstone"))?;
        // What follows the header has the form of a checkpoint without extension lines.
        let Checkpoint {
            origin,
            size,
            root,
            extensions,
        } = Checkpoint::parse(body)?;
        if extensions.is_empty() {
            Ok(Self { origin, size, root })
        } else {
            Err(malformed("a tombstone has four lines"))
        }
    }

    /// Signs it as a cosigner, with the secret of its cosignatures.
    ///
    /// # Errors
    /// [`LogError::KeyKindWrong`] unless the key is of kind [`KeyKind::Cosignature`]; [`LogError::CheckpointMalformed`] if the origin
    /// makes no line.
    pub fn sign(&self, key: &SigningKey) -> Result<SignedNote, LogError> {
        if key.kind() != KeyKind::Cosignature {
            return Err(LogError::KeyKindWrong);
        }
        let text = self.to_string();
        if Self::parse(&text)? != *self {
            return Err(LogError::CheckpointMalformed(
                "a line break within the origin",
            ));
        }
        SignedNote::sign(text, &key.with_kind(KeyKind::Ed25519))
    }

    /// Reads a signed tombstone of the cosigner with this key, given as it cosigns.
    ///
    /// # Errors
    /// [`LogError::CheckpointMalformed`], [`LogError::NotSigned`], [`LogError::SignatureInvalid`].
    pub fn verify(note: &SignedNote, cosigner: &VerifierKey) -> Result<Self, LogError> {
        let tombstone = Self::parse(note.text())?;
        note.verify(&cosigner.with_kind(KeyKind::Ed25519))?;
        Ok(tombstone)
    }
}

impl fmt::Display for Tombstone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\n{}\n{}\n{}", self.origin, self.size, self.root)
    }
}

/// Where a log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TombstoneEnd {
    /// The largest size among the tombstones.
    pub size: u64,
    /// The root tombstoned at that size.
    pub root: Hash,
}

/// Judging sets of tombstones.
#[derive(Clone, Copy, Debug)]
pub struct Tombstones;

impl Tombstones {
    /// Where the log of this origin ended, if these tombstones leave no quorum of the policy. Notes by others than the policy's
    /// cosigners, and of other logs, count for nothing.
    ///
    /// # Errors
    /// [`LogError::TooLarge`]; [`LogError::CheckpointMalformed`] if one is no tombstone; [`LogError::SignatureInvalid`];
    /// [`LogError::TombstonesDisagree`] if different roots stand at the largest size.
    pub fn end(
        policy: &Policy,
        origin: &str,
        notes: &[SignedNote],
    ) -> Result<Option<TombstoneEnd>, LogError> {
        if notes.len() > MAX_POLICY_ITEMS {
            return Err(LogError::TooLarge {
                what: "a set of tombstones",
                limit: MAX_POLICY_ITEMS,
            });
        }
        let mut without = BTreeSet::new();
        let mut largest: Option<TombstoneEnd> = None;
        for note in notes {
            let tombstone = Tombstone::parse(note.text())?;
            if tombstone.origin != origin {
                continue;
            }
            for key in policy.cosigner_keys() {
                match Tombstone::verify(note, key) {
                    Ok(_) => without.insert(*key.public()),
                    Err(LogError::NotSigned(_)) => continue,
                    Err(other) => return Err(other),
                };
                let Tombstone { size, root, .. } = tombstone;
                match largest {
                    Some(end) if end.size == size && end.root != root => {
                        return Err(LogError::TombstonesDisagree { size });
                    }
                    Some(end) if end.size >= size => {}
                    _ => largest = Some(TombstoneEnd { size, root }),
                }
            }
        }
        Ok(largest.filter(|_| !policy.can_still_reach_quorum(&without)))
    }
}

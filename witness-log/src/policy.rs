//! Trust policies (`c2sp.org/tlog-policy`): which logs count, which cosigners, and how many of them make a quorum.
//!
//! Terms name a policy by the hash of its bytes, so the bytes are kept as they came. Only a checkpoint that passed
//! [`Policy::check`] can prove anything: that is what [`CheckedCheckpoint`] stands for.
//!
//! Stricter than the specification: keys are Ed25519 (0x01 for logs, 0x04 for cosigners), an origin has one key (a contradiction
//! between two keys would convict neither), and URLs are UTF-8.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::error::LogError;
use crate::note::{KeyKind, SignedNote, VerifierKey};
use crate::planted::{self, Bug};

/// Larger policies are refused unread.
pub const MAX_POLICY_BYTES: usize = 64 * 1024;
/// The most logs, and the most cosigners, and the most groups, of a policy.
pub const MAX_POLICY_ITEMS: usize = 64;

/// A log that a policy accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its key; the name is the log's origin.
    pub key: VerifierKey,
    /// Where it is found.
    pub url: Option<String>,
}

/// A cosigner that a policy knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyCosigner {
    /// Its name within the policy: opaque bytes.
    pub name: Vec<u8>,
    /// Its key.
    pub key: VerifierKey,
    /// Where it takes checkpoints.
    pub url: Option<String>,
}

/// A member of a group, or the quorum: positions in the policy's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    Cosigner(usize),
    Group(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) threshold: usize,
    pub(crate) members: Vec<Member>,
}

/// A policy, with the bytes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) bytes: Vec<u8>,
    pub(crate) logs: Vec<PolicyLog>,
    pub(crate) cosigners: Vec<PolicyCosigner>,
    pub(crate) groups: Vec<Group>,
    /// None: no cosignature is asked for.
    pub(crate) quorum: Option<Member>,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`LogError::TooLarge`]; [`LogError::PolicyMalformed`] with the line; [`LogError::KeyInvalid`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        crate::policy_parse::parse(bytes)
    }

    /// Writes the policy of these logs and a quorum of `threshold` among these cosigners, who get the names `c1`, `c2` …; no cosigners
    /// and threshold 0 make `quorum none`.
    ///
    /// # Errors
    /// As for [`Self::parse`]; [`LogError::OutOfRange`] if the threshold is not between 1 and the number of cosigners.
    pub fn from_parts(
        logs: &[(VerifierKey, Option<String>)],
        cosigners: &[(VerifierKey, Option<String>)],
        threshold: usize,
    ) -> Result<Self, LogError> {
        if threshold > cosigners.len() || (threshold == 0) != cosigners.is_empty() {
            return Err(LogError::OutOfRange);
        }
        let with_url =
            |url: &Option<String>| url.as_ref().map_or(String::new(), |url| format!(" {url}"));
        let mut text = String::new();
        for (key, url) in logs {
            text.push_str(&format!("log {key}{}\n", with_url(url)));
        }
        let mut group = format!("group cosigners {threshold}");
        for (at, (key, url)) in cosigners.iter().enumerate() {
            text.push_str(&format!("witness c{} {key}{}\n", at + 1, with_url(url)));
            group.push_str(&format!(" c{}", at + 1));
        }
        if cosigners.is_empty() {
            text.push_str("quorum none\n");
        } else {
            text.push_str(&format!("{group}\nquorum cosigners\n"));
        }
        let policy = Self::parse(text.as_bytes())?;
        // A URL with a space or a line break in it would have become something else.
        let same = policy
            .logs
            .iter()
            .map(|log| (&log.key, &log.url))
            .eq(logs.iter().map(|(key, url)| (key, url)))
            && policy
                .cosigners
                .iter()
                .map(|c| (&c.key, &c.url))
                .eq(cosigners.iter().map(|(key, url)| (key, url)));
        if same {
            Ok(policy)
        } else {
            Err(LogError::PolicyMalformed {
                line: 0,
                why: "a URL holds a space or a line break",
            })
        }
    }

    /// The bytes, as they came.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes: what terms name.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }

    /// The logs.
    #[must_use]
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The log of this origin.
    #[must_use]
    pub fn log(&self, origin: &str) -> Option<&PolicyLog> {
        self.logs.iter().find(|log| log.key.name() == origin)
    }

    /// The cosigners, also those that don't count for the quorum.
    #[must_use]
    pub fn cosigners(&self) -> &[PolicyCosigner] {
        &self.cosigners
    }

    /// Whether a quorum is possible among these cosigners, given by their Ed25519 keys.
    #[must_use]
    pub fn reaches_quorum(&self, cosigners: &BTreeSet<[u8; 32]>) -> bool {
        self.quorum_of(|key| cosigners.contains(key.public()))
    }

    /// Whether a quorum is possible without these cosigners, given by their Ed25519 keys. If not, they are enough to end a log: n − k + 1
    /// of n where k make a quorum.
    #[must_use]
    pub fn can_still_reach_quorum(&self, without: &BTreeSet<[u8; 32]>) -> bool {
        self.quorum_of(|key| !without.contains(key.public()))
    }

    fn quorum_of(&self, present: impl Fn(&VerifierKey) -> bool) -> bool {
        // Groups name only what stands before them, so one pass from the first to the last decides all.
        let mut reached = Vec::with_capacity(self.groups.len());
        let holds = |member: &Member, reached: &[bool]| match *member {
            Member::Cosigner(at) => self.cosigners.get(at).is_some_and(|c| present(&c.key)),
            Member::Group(at) => reached.get(at).copied().unwrap_or(false),
        };
        for group in &self.groups {
            let count = group
                .members
                .iter()
                .filter(|member| holds(member, &reached))
                .count();
            reached.push(count >= group.threshold);
        }
        self.quorum.is_none_or(|quorum| holds(&quorum, &reached))
    }

    /// Checks a note as a checkpoint under this policy: signed by a log of its origin, cosigned by a quorum, no signature of a known key
    /// bad.
    ///
    /// # Errors
    /// [`LogError::CheckpointMalformed`], [`LogError::OriginUnknown`], [`LogError::NotSigned`], [`LogError::SignatureInvalid`],
    /// [`LogError::QuorumNotReached`].
    pub fn check(&self, note: &SignedNote) -> Result<CheckedCheckpoint, LogError> {
        let signed = SignedCheckpoint::new(note.clone())?;
        let origin = &signed.checkpoint().origin;
        let log = self
            .log(origin)
            .ok_or_else(|| LogError::OriginUnknown(origin.clone()))?;
        signed.verify_log(&log.key)?;
        let log_key = log.key.clone();
        let mut cosigned = BTreeMap::new();
        for cosigner in &self.cosigners {
            match signed.verify_cosigner(&cosigner.key) {
                Ok(time_s) => {
                    cosigned.insert(*cosigner.key.public(), time_s);
                }
                Err(LogError::NotSigned(_)) => {}
                Err(other) => return Err(other),
            }
        }
        let enough = self.quorum_of(|key| cosigned.contains_key(key.public()));
        if !enough && !planted::on(Bug::NoQuorum) {
            return Err(LogError::QuorumNotReached);
        }
        Ok(CheckedCheckpoint {
            signed,
            log_key,
            cosigned,
            policy_hash: self.hash(),
        })
    }

    /// As [`Self::check`], for the log of this origin alone.
    ///
    /// # Errors
    /// As for [`Self::check`].
    pub fn check_origin(
        &self,
        note: &SignedNote,
        origin: &str,
    ) -> Result<CheckedCheckpoint, LogError> {
        let checked = self.check(note)?;
        if checked.checkpoint().origin == origin {
            Ok(checked)
        } else {
            Err(LogError::OriginUnknown(checked.checkpoint().origin.clone()))
        }
    }
}

/// A checkpoint that a policy accepted. There is no other way to have one than [`Policy::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedCheckpoint {
    signed: SignedCheckpoint,
    log_key: VerifierKey,
    cosigned: BTreeMap<[u8; 32], u64>,
    policy_hash: [u8; 32],
}

impl CheckedCheckpoint {
    /// What it says.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        self.signed.checkpoint()
    }

    /// The note, to be stored or handed on.
    #[must_use]
    pub fn note(&self) -> &SignedNote {
        self.signed.note()
    }

    /// The log's key.
    #[must_use]
    pub fn log_key(&self) -> &VerifierKey {
        &self.log_key
    }

    /// The cosigners of the policy who signed, by their Ed25519 keys, with the time of each in unix seconds.
    #[must_use]
    pub fn cosigned(&self) -> &BTreeMap<[u8; 32], u64> {
        &self.cosigned
    }

    /// The hash of the policy that accepted it.
    #[must_use]
    pub fn policy_hash(&self) -> &[u8; 32] {
        &self.policy_hash
    }
}

impl Policy {
    /// The keys of the cosigners, as they cosign.
    pub(crate) fn cosigner_keys(&self) -> impl Iterator<Item = &VerifierKey> {
        self.cosigners.iter().map(|cosigner| &cosigner.key)
    }

    /// Whether a key is one of this policy's: a log's of that origin, or a cosigner's. Whoever is shown a [`crate::ForkProof`] asks this
    /// about its culprit.
    #[must_use]
    pub fn names(&self, key: &VerifierKey) -> bool {
        match key.kind() {
            KeyKind::Ed25519 => self.logs.iter().any(|log| log.key == *key),
            // Cosignatures don't commit to the cosigner's name.
            KeyKind::Cosignature => self
                .cosigner_keys()
                .any(|known| known.public() == key.public()),
        }
    }
}

//! `atomicity-manifest`: what an evidence bundle consists of, signed by whoever exports it.

use serde::{Deserialize, Serialize};

use super::rule;
use crate::error::LedgerError;
use crate::jws::{Record, RecordHash, Version};
use crate::key::UserKey;
use crate::text::Memo;
use crate::time::Timestamp;

/// The most records in one bundle.
pub const MAX_RECORDS: usize = 512;

/// The last record of an evidence bundle: types and hashes of all records before it, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version 1.
    pub v: Version,
    /// Who exports.
    pub user: UserKey,
    /// About whom.
    pub peer: UserKey,
    /// What the bundle holds.
    pub records: Vec<ManifestEntry>,
    /// Why it was exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Memo>,
    /// When it was exported.
    pub at: Timestamp,
}

/// One record of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestEntry {
    /// Its type.
    pub typ: String,
    /// Its hash.
    pub hash: RecordHash,
}

impl Record for Manifest {
    const TYP: &'static str = "atomicity-manifest";

    fn author(&self) -> UserKey {
        self.user
    }

    fn check(&self) -> Result<(), LedgerError> {
        rule(
            Self::TYP,
            self.user != self.peer,
            "user and peer are the same",
        )?;
        rule(
            Self::TYP,
            self.records.len() <= MAX_RECORDS,
            "it lists more than 512 records",
        )?;
        rule(
            Self::TYP,
            self.records.iter().all(|r| r.typ.len() <= 64),
            "it names a type of more than 64 bytes",
        )
    }
}

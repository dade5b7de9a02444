//! `atomicity-profile`: how to reach a user and what to seal to.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ascending, rule};
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::UserKey;
use crate::seal::{EncryptionKey, KeyId};
use crate::seq::Serial;
use crate::text::{Address, Name};
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most inboxes in a profile.
pub const MAX_INBOXES: usize = 8;
/// The most units in a profile.
pub const MAX_UNITS: usize = 64;

/// The service record of a user, at `/pub/atomicity/v0/profile`. Signed by the root, or by a key whose grant names that path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Version 1.
    pub v: Version,
    /// Whose profile.
    pub user: UserKey,
    /// Later profiles have greater serials.
    pub serial: Serial,
    /// What they call themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Encryption keys, the current one first, then those before it that are still read; descending by number.
    pub encryption: Vec<EncryptionKeyEntry>,
    /// Where records can be left, best first.
    pub inboxes: Vec<Inbox>,
    /// Units that the user deals in and shows to everybody, ascending.
    pub units: Vec<Unit>,
    /// Origins of logs that the user trusts.
    pub logs_trusted: Vec<Address>,
    /// Origins of logs that the user refuses.
    pub logs_refused: Vec<Address>,
    /// Whether anybody may show a page about them: name, units, and where they can be paid. All of that is public anyway; this is consent to
    /// have it put together and shown to people. Left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub page: bool,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// One X25519 key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptionKeyEntry {
    /// Its number, from 1: 0 stands for the X25519 form of the root key.
    pub n: KeyId,
    /// The key.
    #[serde(serialize_with = "key_out", deserialize_with = "key_in")]
    pub key: EncryptionKey,
}

pub(super) fn key_out<S: Serializer>(
    key: &EncryptionKey,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

pub(super) fn key_in<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<EncryptionKey, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(serde::de::Error::custom)
}

/// A sidecar that takes records for a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbox {
    /// The sidecar's own Pkarr key.
    pub plugin: UserKey,
    /// Where it is reached by plain HTTP(S), for those who can't resolve its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Address>,
}

impl Profile {
    /// The encryption key in force.
    #[must_use]
    pub fn current_key(&self) -> Option<&EncryptionKeyEntry> {
        self.encryption.first()
    }
}

impl Record for Profile {
    const TYP: &'static str = "atomicity-profile";

    fn author(&self) -> UserKey {
        self.user
    }

    fn check(&self) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        rule(
            (1..=4).contains(&self.encryption.len()),
            "it must name one to four encryption keys",
        )?;
        rule(
            ascending(&self.encryption, |e| std::cmp::Reverse(e.n)),
            "encryption keys must be strictly descending by number",
        )?;
        rule(
            self.encryption.iter().all(|e| e.n.get() >= 1),
            "encryption keys are numbered from 1",
        )?;
        rule(
            self.inboxes.len() <= MAX_INBOXES,
            "it names more than 8 inboxes",
        )?;
        rule(
            self.units.len() <= MAX_UNITS && ascending(&self.units, Clone::clone),
            "units must be at most 64, strictly ascending",
        )?;
        rule(
            self.logs_trusted.len() <= 16 && self.logs_refused.len() <= 16,
            "more than 16 logs are named",
        )
    }
}

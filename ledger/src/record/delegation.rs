//! `atomicity-delegation` and `atomicity-revocation`: what a root key lets another key do, and that it no longer may.

use serde::{Deserialize, Serialize};

use super::{ascending, rule};
use crate::amount::Total;
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::{SignerKey, UserKey};
use crate::seq::Serial;
use crate::text::RecordId;
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most peers, and the most units, in one delegation.
pub const MAX_ENTRIES: usize = 64;

/// What a delegated key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Keep books: sign states, lines, acks.
    Book,
    /// Accept conditional IOUs for a payee who is away.
    Receive,
    /// Ask the holder of the book key to pay.
    Request,
    /// Beside [`Scope::Request`]: ask for places outside to be paid too, by the rails of the root's wallet.
    Rails,
}

/// `root` lets `key` act for it. Signed by the root; there are no chains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// Version 1.
    pub v: Version,
    /// Who delegates.
    pub root: UserKey,
    /// To which key.
    pub key: SignerKey,
    /// What it may do, ascending.
    pub scopes: Vec<Scope>,
    /// Towards whom; everybody if absent. Ascending. A place outside is nobody: [`Scope::Rails`] alone opens those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<UserKey>>,
    /// How much, per unit, ascending by unit. A unit that is not listed can't be used to owe anybody anything.
    pub limits: Vec<DelegationLimit>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until, exclusive.
    pub not_after: Timestamp,
    /// Later delegations have greater serials.
    pub serial: Serial,
}

/// How much a delegated key may commit its root to, in one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelegationLimit {
    /// The unit.
    pub unit: Unit,
    /// The most net debt towards any one peer, in minor units: no book of this key may name a higher cap. For a key that may only ask
    /// ([`Scope::Request`]): the most that it has paid in all.
    pub per_peer: Total,
    /// The most that may be issued in a day, in minor units, where somebody else enforces it; unlimited if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_day: Option<Total>,
}

impl Delegation {
    /// The limit in `unit`, if the delegation names one.
    #[must_use]
    pub fn limit_for(&self, unit: &Unit) -> Option<&DelegationLimit> {
        self.limits.iter().find(|limit| limit.unit == *unit)
    }
}

impl Record for Delegation {
    const TYP: &'static str = "atomicity-delegation";

    fn author(&self) -> UserKey {
        self.root
    }

    fn check(&self) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        rule(
            !self.key.is_root_of(&self.root),
            "a root key needs no delegation",
        )?;
        rule(
            !self.scopes.is_empty() && ascending(&self.scopes, |s| *s),
            "scopes must be one or more, strictly ascending",
        )?;
        if let Some(peers) = &self.peers {
            rule(
                peers.len() <= MAX_ENTRIES && ascending(peers, |p| *p),
                "peers must be at most 64, strictly ascending",
            )?;
        }
        rule(
            self.limits.len() <= MAX_ENTRIES && ascending(&self.limits, |l| l.unit.clone()),
            "limits must be at most 64, strictly ascending by unit",
        )?;
        rule(self.not_before < self.not_after, "it ends before it begins")
    }
}

/// `key` acts for `root` no longer. Signed by the root, or a grant to a key that may write this revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// Version 1.
    pub v: Version,
    /// Who revokes.
    pub root: UserKey,
    /// Which key.
    pub key: SignerKey,
    /// The grant that is revoked, if the key's authority was a grant; else every delegation of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<RecordId>,
    /// When it was signed; information only, validity is judged by arrival.
    pub at: Timestamp,
}

impl Record for Revocation {
    const TYP: &'static str = "atomicity-revocation";

    fn author(&self) -> UserKey {
        self.root
    }

    fn check(&self) -> Result<(), LedgerError> {
        rule(
            Self::TYP,
            !self.key.is_root_of(&self.root),
            "a root key can't be revoked",
        )
    }
}

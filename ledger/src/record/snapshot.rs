//! `atomicity-snapshot`: balances as a wallet saw them, for web apps that ask the user's sidecar.

use serde::{Deserialize, Serialize};

use super::{ascending, rule};
use crate::amount::{Balance, Total};
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::UserKey;
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most channels in one snapshot.
pub const MAX_CHANNELS: usize = 256;

/// What `user`'s channels looked like at `at`. Signed by a book key of the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Version 1.
    pub v: Version,
    /// Whose.
    pub user: UserKey,
    /// When.
    pub at: Timestamp,
    /// One entry per peer and unit, ascending.
    pub channels: Vec<SnapshotChannel>,
}

/// One channel in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotChannel {
    /// With whom.
    pub peer: UserKey,
    /// In what.
    pub unit: Unit,
    /// What the peer owes the user, net, in minor units.
    pub balance: Balance,
    /// How much the user lets the peer owe.
    pub accept: Total,
    /// How much the peer lets the user owe.
    pub accepted_by_peer: Total,
    /// Whether the channel is frozen by a contradiction of the peer.
    pub frozen: bool,
}

impl Record for Snapshot {
    const TYP: &'static str = "atomicity-snapshot";

    fn author(&self) -> UserKey {
        self.user
    }

    fn check(&self) -> Result<(), LedgerError> {
        rule(
            Self::TYP,
            self.channels.len() <= MAX_CHANNELS
                && ascending(&self.channels, |c| (c.peer, c.unit.clone())),
            "channels must be at most 256, strictly ascending by peer and unit",
        )?;
        rule(
            Self::TYP,
            self.channels.iter().all(|c| c.peer != self.user),
            "a user has no channel with themselves",
        )
    }
}

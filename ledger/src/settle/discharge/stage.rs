//! How far a request has come at the issuer.

use serde::{Deserialize, Serialize};

use super::super::Proof;
use crate::record::{Pays, SettleReason};

/// How long after an order has expired a rail that has never seen it is believed, in milliseconds: clocks differ.
pub const LOOK_UP_GRACE_MS: u64 = 60_000;

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Stage {
    /// It is here, and was not judged.
    Received,
    /// What it asks for is good; the ledger was not asked, or the direct release is awaited.
    Checked,
    /// The claim covers it and is kept for it, and so is the payment hash. Both sides have signed.
    Reserved,
    /// A rail may have been told to pay. Nothing is freed and nothing is repeated before it is known what became of that.
    Dispatched,
    /// It was paid, and the holder is told.
    Proven {
        /// What shows it.
        proof: Proof,
    },
    /// It was paid, and the holder's books say so.
    Done {
        /// What shows that it was paid.
        proof: Proof,
    },
    /// It was not accepted.
    Declined {
        /// Why.
        reason: SettleReason,
        /// What would be paid instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offer: Option<Pays>,
    },
    /// It was accepted, and is not paid.
    Failed {
        /// Why.
        reason: SettleReason,
    },
}

/// What is known of other requests of the same holder when a new one comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Another request had the same id.
    pub id_used: bool,
    /// Another request names the same direct release.
    pub release_named: bool,
    /// The withdrawal came before the request.
    pub withdrawn: bool,
}

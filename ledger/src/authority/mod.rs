//! Who may sign for whom: delegations and Pubky grants, judged with time as an argument.
//!
//! A root key speaks for itself. Any other key needs one of two voices of the root:
//!
//! - a [`Delegation`], a record of ours, or
//! - a Pubky *grant* (`typ: pubky-grant`), which an authenticator signs after its consent screen, and one of whose capabilities
//!   names the very file that stands for the power: `/pub/atomicity/v0/book/<key>`, `/pub/atomicity/v0/profile`, or
//!   `/pub/atomicity/v0/revoke/<key>`. Write access to a directory is never authority to sign.
//!
//! There are no chains. A revocation ends an authority from the moment it arrives; whoever accepts records of a key must have
//! looked for one within [`REVOCATION_MAX_AGE_MS`].

mod grant;
mod judge;
mod learn;
mod relied;

pub use grant::{
    GRANT_TYP, Grant, GrantClaims, PROFILE_PATH, book_path, delegation_path, revoke_path,
};

use serde::{Deserialize, Serialize};

use crate::amount::Total;
use crate::jws::{RecordHash, Signed, stored};
use crate::key::{SignerKey, UserKey};
use crate::record::{AnyRecord, Delegation, Revocation};
use crate::time::Timestamp;
use crate::unit::Unit;

/// How old the last look for a revocation may be: ten minutes, in milliseconds.
pub const REVOCATION_MAX_AGE_MS: u64 = 10 * 60 * 1000;
/// The most delegations, and the most grants, that are kept for one user, besides those that books were taken under.
pub const MAX_CREDENTIALS: usize = 16;
/// The most revocations that are kept for one user. None is ever dropped: a stolen key must not come back.
pub const MAX_REVOCATIONS: usize = 1024;
/// How far another clock may be ahead, in milliseconds.
const CLOCK_SKEW_MS: u64 = 60_000;

/// What a signature is to be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Keeping the books towards this peer.
    Book(UserKey),
    /// Publishing the profile.
    Profile,
    /// Revoking this key.
    Revoke(SignerKey),
    /// Signing a balance snapshot, an evidence manifest or a rating: any book key of the user may.
    Report,
    /// Signing an invoice or a request to be paid: any book key of the user may, and any key that is there to receive only.
    Receive,
    /// Asking the agent of the user, who keeps the books, to pay this peer or to have them pay: what a web app's key may. To others
    /// it is worth nothing.
    Request(UserKey),
}

impl Purpose {
    /// What the key of a record about endpoints, settlements and requests must be good for.
    #[must_use]
    pub fn of(record: &AnyRecord) -> Option<Self> {
        Some(match record {
            AnyRecord::Endpoints(r) => Self::Book(r.record().to),
            AnyRecord::Settlement(r) => Self::Book(r.record().issuer),
            AnyRecord::SettlementAnswer(r) => Self::Book(r.record().to),
            AnyRecord::SettlementWithdrawal(r) => Self::Book(r.record().to),
            AnyRecord::PaymentRequest(_)
            | AnyRecord::RequestState(_)
            | AnyRecord::PartAnswer(_) => Self::Receive,
            AnyRecord::Part(_) => Self::Report,
            _ => return None,
        })
    }
}

/// When somebody last looked for a revocation of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Checked {
    key: SignerKey,
    at: Timestamp,
}

/// Everything that is known about the authority of one user's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    user: UserKey,
    #[serde(with = "stored::list")]
    delegations: Vec<Signed<Delegation>>,
    grants: Vec<Grant>,
    #[serde(with = "stored::list")]
    revocations: Vec<Signed<Revocation>>,
    checked: Vec<Checked>,
    /// The delegations and grants that books were taken under: whatever comes later, they stay as evidence.
    #[serde(default)]
    relied: Vec<RecordHash>,
}

/// Whose word an authority is, in the order of precedence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The root itself.
    Root,
    /// A delegation.
    Delegation(Box<Delegation>),
    /// A grant.
    Grant {
        /// Issued at, Unix seconds.
        iat: u64,
        /// Valid until, exclusive, Unix seconds.
        exp: u64,
    },
}

impl Authority {
    /// For choosing between two books of one epoch: the root first, then the later serial or time of issue.
    #[must_use]
    pub fn rank(&self) -> (bool, u64) {
        match self {
            Self::Root => (true, 0),
            Self::Delegation(delegation) => (false, delegation.serial.get()),
            Self::Grant { iat, .. } => (false, *iat),
        }
    }

    /// The highest cap that a book under this authority may name in `unit`; `None` if the authority sets no bound.
    #[must_use]
    pub fn cap_bound(&self, unit: &Unit) -> Option<Total> {
        match self {
            Self::Root | Self::Grant { .. } => None,
            Self::Delegation(delegation) => Some(
                delegation
                    .limit_for(unit)
                    .map_or(Total::ZERO, |limit| limit.per_peer),
            ),
        }
    }
}

impl Credentials {
    /// Nothing known yet about the keys of `user`: only the root may sign.
    #[must_use]
    pub fn new(user: UserKey) -> Self {
        Self {
            user,
            delegations: Vec::new(),
            grants: Vec::new(),
            revocations: Vec::new(),
            checked: Vec::new(),
            relied: Vec::new(),
        }
    }

    /// Whose keys these are.
    #[must_use]
    pub fn user(&self) -> UserKey {
        self.user
    }

    /// What the delegation of `key` that is in force says, if there is one; whether it counts now is judged by [`Credentials::judge`].
    #[must_use]
    pub fn delegation(&self, key: SignerKey) -> Option<&Delegation> {
        self.delegation_of(key).map(Signed::record)
    }

    fn delegations_of(&self, key: SignerKey) -> impl Iterator<Item = &Signed<Delegation>> {
        self.delegations
            .iter()
            .filter(move |known| known.record().key == key)
    }

    /// The delegation of `key` that is in force: the one with the latest serial.
    fn delegation_of(&self, key: SignerKey) -> Option<&Signed<Delegation>> {
        self.delegations_of(key).max_by_key(|d| d.record().serial)
    }
}

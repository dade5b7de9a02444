//! Two users and everything between them: the state machine that takes or refuses a record, signs what is owed, and says who
//! owes whom.
//!
//! A [`Pair`] is a plain value, the same for a phone and for a sidecar. It is changed by what its owner does ([`Pair::issue`],
//! [`Pair::set_line`], [`Pair::open_book`]) and by what the peer sent ([`Pair::receive`]). Each call either succeeds and returns
//! what must be sent, or fails and leaves the pair as it was. The caller stores the pair before it sends anything.
//!
//! It holds no history: per unit and direction the newest state, the last cleared one, and what belongs to them.

mod book;
mod book_ack;
mod endpoints;
mod epoch;
mod event;
mod export;
mod holder;
mod issue;
mod issuer;
mod limits;
mod logs;
mod own;
mod promise;
mod publish;
mod receive;
mod recover;
mod restore;
mod restore_promises;
mod settling;
mod shown;
mod side;
mod state;

pub use book::FIRST_EPOCH_OF_ROOT;
pub use epoch::NewBook;
pub use event::{Event, Outcome, PendingReason};
pub use export::FileRecords;
pub use issue::{Issued, LineTerms, PaymentNote};
pub use issuer::NewPromise;
pub use limits::Limits;
pub use logs::{KnownLog, KnownLogs, MAX_WINDOW_LEAVES};
pub use promise::{MAX_PROMISES, Promise, Standing};
pub use publish::{Expiry, Published};
pub use recover::Recovered;
pub use side::{Frozen, Side, Totals, UnitSide};

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::amount::{Balance, Total};
use crate::authority::{Credentials, Purpose};
use crate::error::LedgerError;
use crate::jws::{Signed, Version};
use crate::key::{Keypair, SignerKey, UserKey};
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most units between two users.
pub const MAX_UNITS: usize = 64;

/// All channels between its owner and one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    v: Version,
    me: UserKey,
    peer: UserKey,
    /// What the owner gives the peer.
    own: Side,
    /// What the peer gives the owner.
    theirs: Side,
    /// The peer has not yet acknowledged a book that may not know everything.
    waiting: bool,
    /// Something shows that the owner's book key was used elsewhere, or that this store is older than its own signatures.
    behind: bool,
}

impl Pair {
    /// Two users who know nothing of each other yet.
    ///
    /// # Errors
    /// [`LedgerError::ForeignChannel`] if both are the same user.
    pub fn new(me: UserKey, peer: UserKey) -> Result<Self, LedgerError> {
        if me == peer {
            return Err(LedgerError::ForeignChannel);
        }
        Ok(Self {
            v: Version,
            me,
            peer,
            own: Side::new(me),
            theirs: Side::new(peer),
            waiting: false,
            behind: false,
        })
    }

    /// The owner.
    #[must_use]
    pub fn me(&self) -> UserKey {
        self.me
    }

    /// The peer.
    #[must_use]
    pub fn peer(&self) -> UserKey {
        self.peer
    }

    /// The owner's side: what the owner gives the peer.
    #[must_use]
    pub fn own(&self) -> &Side {
        &self.own
    }

    /// The peer's side: what the peer gives the owner.
    #[must_use]
    pub fn theirs(&self) -> &Side {
        &self.theirs
    }

    /// Every unit in which either side has anything, ascending.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        let units: BTreeSet<&Unit> = self
            .own
            .units
            .keys()
            .chain(self.theirs.units.keys())
            .collect();
        units.into_iter().cloned().collect()
    }

    /// `d(me, peer)`: what the peer owes the owner, net.
    #[must_use]
    pub fn balance(&self, unit: &Unit) -> Balance {
        Balance::between(self.theirs.issued(unit), self.own.issued(unit))
    }

    /// Whether the peer must acknowledge the owner's new book before the owner can sign a state.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Whether the owner must not sign, because the same book was written elsewhere.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// Marks that the owner's book was written elsewhere: from now on nothing is signed under this epoch.
    pub fn mark_behind(&mut self) {
        self.behind = true;
    }

    /// How the peer's side of this unit was frozen, if it was.
    #[must_use]
    pub fn frozen(&self, unit: &Unit) -> Option<&Frozen> {
        self.theirs.units.get(unit).and_then(|u| u.frozen.as_ref())
    }

    /// Takes a delegation, a grant or a revocation of the peer. Returns whether it was new.
    ///
    /// # Errors
    /// What is wrong with it; the pair is unchanged.
    pub fn learn_authority(&mut self, jws: &str, now: Timestamp) -> Result<bool, LedgerError> {
        self.theirs.credentials.learn(jws, now)
    }

    /// Takes a delegation, a grant or a revocation of the owner, so that it can be shown to others.
    ///
    /// # Errors
    /// What is wrong with it; the pair is unchanged.
    pub fn learn_own_authority(&mut self, jws: &str, now: Timestamp) -> Result<bool, LedgerError> {
        self.own.credentials.learn(jws, now)
    }

    /// Notes that a revocation of the peer's `key` was looked for at `now` (and learnt, if there was one).
    pub fn authority_checked(&mut self, key: SignerKey, now: Timestamp) {
        self.theirs.credentials.mark_checked(key, now);
    }

    /// What is known about the authority of the peer's keys.
    #[must_use]
    pub fn peer_credentials(&self) -> &Credentials {
        &self.theirs.credentials
    }

    /// What is known about the authority of the owner's own keys.
    #[must_use]
    pub fn own_credentials(&self) -> &Credentials {
        &self.own.credentials
    }

    /// Checks that `pen` keeps the owner's books here and may sign now.
    pub(crate) fn check_pen(&self, pen: &Keypair) -> Result<(), LedgerError> {
        let book = self.own.book.as_ref().ok_or(LedgerError::NoPen {
            why: "no book towards this peer was opened yet",
        })?;
        if book.record().key != pen.signer_key() {
            return Err(LedgerError::NoPen {
                why: "another key keeps the books now",
            });
        }
        if self.behind {
            return Err(LedgerError::NoPen {
                why: "the same book was written elsewhere; recover from the root key to begin a new epoch",
            });
        }
        Ok(())
    }

    /// How much the owner lets the peer owe: the owner's own line, within what the peer's key may commit to.
    fn accept(&self, unit: &Unit, now: Timestamp) -> Total {
        self.own
            .accept_at(unit, now)
            .min(cap_now(&self.theirs, self.me, unit, now))
    }
}

/// The most that the key of `side`'s book may let its user owe `other` now: the cap of the book, and if the root has since
/// delegated less, no more than that.
fn cap_now(side: &Side, other: UserKey, unit: &Unit, now: Timestamp) -> Total {
    let Some(book) = side.book.as_ref().map(Signed::record) else {
        return Total::ZERO;
    };
    let delegated = side
        .credentials
        .judge(book.key, Purpose::Book(other), now)
        .ok()
        .and_then(|authority| authority.cap_bound(unit));
    book.cap_for(unit).min(delegated.unwrap_or(Total::MAX))
}

//! What the books of the two say about a request.

use crate::digest::PaymentHash;
use crate::jws::{RecordHash, Signed};
use crate::pair::{self, Pair};
use crate::record::{SettleReason, Settlement};

/// What becomes of the holder's direct release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseStanding {
    /// The request needs none.
    NotNeeded,
    /// It has not come.
    Missing,
    /// It is here, undecided, and what the request needs.
    Good,
    /// It is on another hash, or of another amount or unit.
    Differs,
    /// It was given up already, or is due already.
    Gone,
}

/// What the issuer's books say about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What the issuer owes the holder whatever becomes of the holder's other promises, in minor units. What this request reserves is
    /// part of it.
    pub owed: u64,
    /// What other requests of the holder reserve in the unit ([`Discharge::reserves`](super::Discharge::reserves)), in minor units.
    pub reserved: u64,
    /// Whether the state that the request names is one that the issuer may have signed.
    pub claim_stands: bool,
    /// The direct release.
    pub release: ReleaseStanding,
    /// Whether another request has taken the payment hash.
    pub hash_taken: bool,
}

impl Standing {
    /// Reads what the issuer's `pair` with the holder says. `reserved` and `hash_taken` are from the issuer's other requests.
    #[must_use]
    pub fn read(
        pair: &Pair,
        asked: &Settlement,
        hash: Option<PaymentHash>,
        reserved: u64,
        hash_taken: bool,
    ) -> Self {
        let release = release_standing(pair, asked, hash);
        let exposure = i128::from(pair.peer_exposure(&asked.unit).minor());
        let own = if release == ReleaseStanding::Good {
            i128::from(asked.amount.minor())
        } else {
            0
        };
        Self {
            owed: u64::try_from((own - exposure).max(0)).unwrap_or(u64::MAX),
            reserved,
            claim_stands: claim_stands(pair, asked),
            release,
            hash_taken,
        }
    }

    /// Why the request can't be paid, if it can't.
    pub(super) fn obstacle(&self, asked: &Settlement) -> Option<SettleReason> {
        if self.owed == 0 || !self.claim_stands {
            return Some(SettleReason::NoClaim);
        }
        if self.owed.saturating_sub(self.reserved) < asked.amount.minor() {
            return Some(SettleReason::ClaimSmaller);
        }
        if self.hash_taken {
            return Some(SettleReason::HashUsed);
        }
        match self.release {
            ReleaseStanding::Differs | ReleaseStanding::Gone => Some(SettleReason::ReleaseDiffers),
            ReleaseStanding::NotNeeded | ReleaseStanding::Missing | ReleaseStanding::Good => None,
        }
    }
}

fn release_standing(pair: &Pair, asked: &Settlement, hash: Option<PaymentHash>) -> ReleaseStanding {
    let Some(iou) = asked.release else {
        return ReleaseStanding::NotNeeded;
    };
    let Some(promise) = pair.promise_held(iou) else {
        return ReleaseStanding::Missing;
    };
    let given = promise.iou().record();
    let fits = given.unit == asked.unit
        && given.amount == asked.amount
        && given.terms.is_direct()
        && Some(given.terms.hash) == hash;
    if !fits {
        return ReleaseStanding::Differs;
    }
    match promise.standing() {
        pair::Standing::Undecided => ReleaseStanding::Good,
        _ => ReleaseStanding::Gone,
    }
}

/// A state beyond the newest of the issuer, or another one of the same number, is none that the issuer signed.
fn claim_stands(pair: &Pair, asked: &Settlement) -> bool {
    let Some(claim) = &asked.claim else {
        return true;
    };
    let newest = pair.own().unit(&asked.unit).and_then(|unit| unit.newest());
    let Some(newest) = newest else {
        return false;
    };
    let (record, hash): (_, RecordHash) = (newest.record(), Signed::hash(newest));
    match (claim.epoch, claim.seq).cmp(&(record.epoch, record.seq)) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Equal => claim.hash == hash,
        std::cmp::Ordering::Greater => false,
    }
}

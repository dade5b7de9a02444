//! Payment accounts: what a key may spend that the root let *ask* for payments, judged alike by the agent and by the owner's wallet.
//!
//! An account is a [`Delegation`] with the scope `request`, and `rails` if it reaches places outside, in one unit. Its `per_day` bounds what is spent on one day (UTC), its
//! `per_peer` what is spent in all, its `peers` to whom. Whoever enforces it keeps count of what was spent ([`Used`]).

use crate::amount::Total;
use crate::authority::{Authority, Credentials, Purpose};
use crate::error::LedgerError;
use crate::jws::Signed;
use crate::record::{Delegation, Scope, Spend, SpendTo};
use crate::time::Timestamp;
use crate::unit::Unit;

/// The longest that a spend may wait, milliseconds: seven days.
pub const MAX_SPEND_LIFE_MS: u64 = 7 * DAY_MS;
/// The longest that a pass may count, milliseconds: five minutes.
pub const MAX_PASS_LIFE_MS: u64 = 5 * 60 * 1000;
/// A day, in milliseconds.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Why a spend is not paid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpendFault {
    /// The key may not spend: it was revoked, its time is over or has not begun, or the root never let it.
    #[error(transparent)]
    Authority(#[from] LedgerError),
    /// What the root signed for the key is no account.
    #[error("the key is no payment account: {0}")]
    NoAccount(&'static str),
    /// It is in another unit.
    #[error("the account spends {account}, not {spend}")]
    Unit {
        /// The unit of the account.
        account: Unit,
        /// The unit of the spend.
        spend: Unit,
    },
    /// The account does not reach to this payee.
    #[error("the account may not pay this payee")]
    Peer,
    /// The account does not reach outside.
    #[error("the account may not have places outside paid")]
    Target,
    /// Its time is over.
    #[error("the spend has expired")]
    Expired,
    /// It is to wait for longer than a spend may.
    #[error("the spend expires too late: seven days from now at most")]
    TooLong,
    /// The invoice has expired.
    #[error("the invoice has expired")]
    InvoiceExpired,
    /// The day's sum does not leave room.
    #[error("of what the account may spend on one day, {left} is left")]
    Day {
        /// What is left, in minor units.
        left: u64,
    },
    /// The sum of all does not leave room.
    #[error("of what the account may spend in all, {left} is left")]
    InAll {
        /// What is left, in minor units.
        left: u64,
    },
}

impl SpendFault {
    /// A stable name, for machines.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Authority(error) => error.code(),
            Self::NoAccount(_) => "not_an_account",
            Self::Unit { .. } => "unit_not_allowed",
            Self::Peer => "peer_not_allowed",
            Self::Target => "target_not_allowed",
            Self::Expired => "spend_expired",
            Self::TooLong => "spend_too_long",
            Self::InvoiceExpired => "invoice_expired",
            Self::Day { .. } => "account_day_limit_exceeded",
            Self::InAll { .. } => "account_limit_exceeded",
        }
    }
}

/// What an account may spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountTerms {
    /// In what.
    pub unit: Unit,
    /// The most on one day (UTC), in minor units.
    pub per_day: Option<Total>,
    /// The most in all, in minor units.
    pub in_all: Total,
    /// Whether places outside are paid for it, by the rails of its owner.
    pub rails: bool,
}

/// What was spent so far, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// On the day of the next spend.
    pub today: u64,
    /// In all.
    pub in_all: u64,
}

impl AccountTerms {
    /// The terms of the account that this delegation makes of its key.
    ///
    /// # Errors
    /// [`SpendFault::NoAccount`] saying what is missing.
    pub fn of(delegation: &Delegation) -> Result<Self, SpendFault> {
        let rails = match delegation.scopes.as_slice() {
            [Scope::Request] => false,
            [Scope::Request, Scope::Rails] => true,
            _ => {
                let why = "its scopes must be `request`, or `request` and `rails`";
                return Err(SpendFault::NoAccount(why));
            }
        };
        let [limit] = delegation.limits.as_slice() else {
            return Err(SpendFault::NoAccount("it must have exactly one unit"));
        };
        Ok(Self {
            unit: limit.unit.clone(),
            per_day: limit.per_day,
            in_all: limit.per_peer,
            rails,
        })
    }

    /// What can still be spent on the day, and in all.
    #[must_use]
    pub fn left(&self, used: Used) -> (u64, u64) {
        let in_all = self.in_all.minor().saturating_sub(used.in_all);
        let today = self.per_day.map_or(in_all, |most| {
            most.minor().saturating_sub(used.today).min(in_all)
        });
        (today, in_all)
    }

    /// Whether `cost` fits on top of what was spent.
    ///
    /// # Errors
    /// [`SpendFault::InAll`], [`SpendFault::Day`].
    pub fn fits(&self, cost: Total, used: Used) -> Result<(), SpendFault> {
        let (today, in_all) = self.left(used);
        if cost.minor() > in_all {
            return Err(SpendFault::InAll { left: in_all });
        }
        if cost.minor() > today {
            return Err(SpendFault::Day { left: today });
        }
        Ok(())
    }
}

/// The day (UTC) of a time, as whoever counts what was spent numbers them.
#[must_use]
pub fn day_of(at: Timestamp) -> u64 {
    at.millis() / DAY_MS
}

/// Whether the key that signed `spend` may ask for it at `now`, apart from what was spent before. `credentials` are the owner's.
///
/// # Errors
/// Everything of [`SpendFault`] but the limits.
pub fn judge(
    credentials: &Credentials,
    spend: &Signed<Spend>,
    now: Timestamp,
) -> Result<AccountTerms, SpendFault> {
    let record = spend.record();
    if record.owner != credentials.user() {
        return Err(LedgerError::ForeignChannel.into());
    }
    let named = credentials.delegation(spend.kid());
    let peers = named.and_then(|delegation| delegation.peers.clone());
    // Whether the key may ask for anything at all, before whom it asks for.
    let anybody = peers.iter().flatten().next().copied();
    let purpose = Purpose::Request(anybody.unwrap_or(record.owner));
    let Authority::Delegation(delegation) = credentials.judge(spend.kid(), purpose, now)? else {
        return Err(SpendFault::NoAccount("it is no delegation"));
    };
    let terms = AccountTerms::of(&delegation)?;
    if terms.unit != record.unit {
        return Err(SpendFault::Unit {
            account: terms.unit,
            spend: record.unit.clone(),
        });
    }
    // A place outside is nobody: `peers` say nothing of it.
    let reached = match (record.payee(), &delegation.peers) {
        (Some(payee), Some(peers)) => peers.contains(&payee),
        (Some(_), None) => true,
        (None, _) if !terms.rails => return Err(SpendFault::Target),
        (None, _) => true,
    };
    if !reached {
        return Err(SpendFault::Peer);
    }
    if record.has_expired(now) {
        return Err(SpendFault::Expired);
    }
    if record.expires > now.plus_millis(MAX_SPEND_LIFE_MS) {
        return Err(SpendFault::TooLong);
    }
    match &record.to {
        SpendTo::Invoice(invoice) if invoice.record().has_expired(now) => {
            Err(SpendFault::InvoiceExpired)
        }
        _ => Ok(terms),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::amount::Amount;
    use crate::jws::Version;
    use crate::key::Keypair;
    use crate::record::{DelegationLimit, Revocation, Target};
    use crate::seq::Serial;
    use crate::text::RecordId;

    const NOW: u64 = 1_767_225_600_000;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms).unwrap()
    }

    fn total(minor: u64) -> Total {
        Total::from_minor(minor).unwrap()
    }

    fn key(n: u8) -> Keypair {
        Keypair::from_secret(&[n; 32])
    }

    /// The owner 1 lets the key 2 spend 500 a day and 800 in all, towards 3.
    fn delegation() -> Delegation {
        Delegation {
            v: Version,
            root: key(1).user_key(),
            key: key(2).signer_key(),
            scopes: vec![Scope::Request],
            peers: Some(vec![key(3).user_key()]),
            limits: vec![DelegationLimit {
                unit: "USD/2".parse().unwrap(),
                per_peer: total(800),
                per_day: Some(total(500)),
            }],
            not_before: at(NOW - 1),
            not_after: at(NOW + DAY_MS),
            serial: Serial::new(1).unwrap(),
        }
    }

    fn spend() -> Spend {
        Spend {
            v: Version,
            id: RecordId::from_entropy([7; 16]),
            owner: key(1).user_key(),
            plugin: key(9).user_key(),
            unit: "USD/2".parse().unwrap(),
            amount: Amount::from_minor(200).unwrap(),
            to: SpendTo::Peer(key(3).user_key()),
            pays: None,
            max_fee: None,
            memo: None,
            expires: at(NOW + 1000),
            at: at(NOW),
        }
    }

    fn judged(
        delegation: Delegation,
        spend: Spend,
        now: u64,
    ) -> Result<AccountTerms, &'static str> {
        let mut credentials = Credentials::new(key(1).user_key());
        let word = Signed::sign(delegation, &key(1)).unwrap();
        credentials.learn(word.jws(), at(now)).unwrap();
        let spend = Signed::sign(spend, &key(2)).unwrap();
        judge(&credentials, &spend, at(now)).map_err(|fault| fault.code())
    }

    #[test]
    fn a_key_asks_within_what_the_root_signed_and_for_nothing_else() {
        let terms = judged(delegation(), spend(), NOW).unwrap();
        assert_eq!(
            (terms.per_day, terms.in_all),
            (Some(total(500)), total(800))
        );
        let code = |change: fn(&mut Delegation), other: fn(&mut Spend), now| {
            let (mut delegation, mut spend) = (delegation(), spend());
            change(&mut delegation);
            other(&mut spend);
            judged(delegation, spend, now).unwrap_err()
        };
        assert_eq!(
            code(|_| (), |s| s.unit = "EUR/2".parse().unwrap(), NOW),
            "unit_not_allowed"
        );
        assert_eq!(
            code(|_| (), |s| s.to = SpendTo::Peer(key(4).user_key()), NOW),
            "peer_not_allowed"
        );
        let outside = |s: &mut Spend| {
            let (method, value) = ("usd-cash-hand".parse(), "at the door".parse());
            s.to = SpendTo::Target(Target {
                method: method.unwrap(),
                value: value.unwrap(),
            });
        };
        assert_eq!(code(|_| (), outside, NOW), "target_not_allowed");
        assert_eq!(code(|_| (), |_| (), NOW + 1000), "spend_expired");
        assert_eq!(
            code(|_| (), |s| s.expires = at(NOW + 8 * DAY_MS), NOW),
            "spend_too_long"
        );
        assert_eq!(
            code(|_| (), |s| s.expires = at(NOW + 2 * DAY_MS), NOW + DAY_MS),
            "authority_expired"
        );
        assert_eq!(code(|_| (), |_| (), NOW - 2), "authority_not_yet_valid");
        assert_eq!(
            code(|d| d.scopes = vec![Scope::Receive], |_| (), NOW),
            "not_authorized"
        );
        assert_eq!(
            code(|d| d.scopes = vec![Scope::Book], |_| (), NOW),
            "not_an_account"
        );
        assert_eq!(code(|d| d.limits.clear(), |_| (), NOW), "not_an_account");
        assert_eq!(
            code(|d| d.key = key(5).signer_key(), |_| (), NOW),
            "not_authorized"
        );
        assert_eq!(
            code(|_| (), |s| s.owner = key(6).user_key(), NOW),
            "foreign_channel"
        );
        let mut abroad = spend();
        outside(&mut abroad);
        let anybody = Delegation {
            peers: None,
            ..delegation()
        };
        let refused = judged(anybody, abroad.clone(), NOW).unwrap_err();
        assert_eq!(refused, "target_not_allowed");
        // With the scope it is paid, whoever may be paid in credit; and nothing else opens by it.
        let outward = || Delegation {
            scopes: vec![Scope::Request, Scope::Rails],
            ..delegation()
        };
        assert!(judged(outward(), abroad, NOW).unwrap().rails);
        assert!(judged(outward(), spend(), NOW).is_ok());
        let mut stranger = spend();
        stranger.to = SpendTo::Peer(key(4).user_key());
        let refused = judged(outward(), stranger, NOW).unwrap_err();
        assert_eq!(refused, "peer_not_allowed");
        assert_eq!(
            code(|d| d.scopes = vec![Scope::Rails], |_| (), NOW),
            "not_authorized"
        );
    }

    #[test]
    fn a_revoked_key_asks_in_vain() {
        let mut credentials = Credentials::new(key(1).user_key());
        let word = Signed::sign(delegation(), &key(1)).unwrap();
        credentials.learn(word.jws(), at(NOW)).unwrap();
        let revocation = Revocation {
            v: Version,
            root: key(1).user_key(),
            key: key(2).signer_key(),
            grant: None,
            at: at(NOW),
        };
        let revocation = Signed::sign(revocation, &key(1)).unwrap();
        credentials.learn(revocation.jws(), at(NOW)).unwrap();
        let spend = Signed::sign(spend(), &key(2)).unwrap();
        let fault = judge(&credentials, &spend, at(NOW)).unwrap_err();
        assert_eq!(fault.code(), "key_revoked");
    }

    #[test]
    fn what_was_spent_counts_for_the_day_and_for_all() {
        let terms = AccountTerms::of(&delegation()).unwrap();
        let used = |today, in_all| Used { today, in_all };
        assert_eq!(terms.left(used(0, 0)), (500, 800));
        assert_eq!(terms.left(used(400, 700)), (100, 100));
        assert_eq!(terms.left(used(900, 900)), (0, 0));
        assert!(terms.fits(total(500), used(0, 300)).is_ok());
        assert_eq!(
            terms.fits(total(501), used(0, 0)),
            Err(SpendFault::Day { left: 500 })
        );
        assert_eq!(
            terms.fits(total(101), used(0, 700)),
            Err(SpendFault::InAll { left: 100 })
        );
        let free = AccountTerms {
            per_day: None,
            ..terms
        };
        assert_eq!(free.left(used(700, 700)), (100, 100));
        assert_eq!(day_of(at(NOW)) + 1, day_of(at(NOW + DAY_MS)));
    }
}

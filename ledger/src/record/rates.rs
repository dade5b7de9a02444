//! `atomicity-rates`: what a user asks of one unit for another.

use serde::{Deserialize, Serialize};

use super::advert::is_coarse;
use super::{ascending, rule};
use crate::amount::Amount;
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::UserKey;
use crate::planted::{self, Bug};
use crate::seq::Serial;
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most rates that a user can publish.
pub const MAX_RATES: usize = 64;
/// Where the rates of a user lie on their homeserver.
pub const RATES_PATH: &str = "/pub/atomicity/v0/rates";

/// `from` tells everybody which units they exchange: what they want to be promised in one for what they promise onward in another.
/// It binds nobody: what counts is what the hop accepts when the payment comes. There is one at a time, at [`RATES_PATH`]; the
/// greatest serial counts. Signed by the root or any book key of `from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// Version 1.
    pub v: Version,
    /// Who exchanges.
    pub from: UserKey,
    /// Later rates have greater serials.
    pub serial: Serial,
    /// The rates, ascending by `take` and `give`; none if they are withdrawn.
    pub rates: Vec<Rate>,
    /// From then on they count as withdrawn.
    pub expires: Timestamp,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// How much of one unit is asked for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// What the hop is promised.
    pub take: Unit,
    /// What it promises onward; another unit.
    pub give: Unit,
    /// This many minor units of `take` are asked …
    pub num: Amount,
    /// … for this many of `give`.
    pub den: Amount,
    /// The most of `give` in one payment, in minor units; coarse, as in an [`Advert`](super::Advert).
    pub max: Amount,
}

impl Rate {
    /// What of `take` is asked for `given` of `give`, rounded up; both in minor units.
    ///
    /// # Errors
    /// [`LedgerError::TotalOverflow`] if it exceeds every amount.
    pub fn taken(&self, given: Amount) -> Result<Amount, LedgerError> {
        let product = u128::from(given.minor()) * u128::from(self.num.minor());
        let den = u128::from(self.den.minor());
        let taken = if planted::on(Bug::RateRoundedDown) {
            product / den
        } else {
            product.div_ceil(den)
        };
        let taken = u64::try_from(taken).ok();
        taken
            .and_then(|minor| Amount::from_minor(minor).ok())
            .ok_or(LedgerError::TotalOverflow)
    }
}

impl Rates {
    /// The rate for `give` against `take` at `now`; nothing once they have expired.
    #[must_use]
    pub fn rate_at(&self, take: &Unit, give: &Unit, now: Timestamp) -> Option<&Rate> {
        let in_force = now < self.expires;
        self.rates
            .iter()
            .find(|rate| in_force && rate.take == *take && rate.give == *give)
    }
}

impl Record for Rates {
    const TYP: &'static str = "atomicity-rates";

    fn author(&self) -> UserKey {
        self.from
    }

    fn check(&self) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        rule(
            self.rates.len() <= MAX_RATES && ascending(&self.rates, |r| (&r.take, &r.give)),
            "rates must be at most 64, strictly ascending",
        )?;
        for rate in &self.rates {
            rule(
                rate.take != rate.give,
                "a rate is between a unit and itself",
            )?;
            rule(
                is_coarse(rate.max),
                "a max is not 1, 2 or 5 times a power of ten",
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::amount::MAX_MINOR;

    #[test]
    fn what_is_asked_is_rounded_up_and_never_wraps() {
        let amount = |minor| Amount::from_minor(minor).unwrap();
        let of = |num, den, given| {
            let rate = Rate {
                take: "USD/2".parse().unwrap(),
                give: "EUR/2".parse().unwrap(),
                num: amount(num),
                den: amount(den),
                max: amount(1),
            };
            rate.taken(amount(given)).map(Amount::minor)
        };
        assert_eq!(of(108, 100, 100), Ok(108));
        assert_eq!(of(108, 100, 1), Ok(2));
        assert_eq!(of(1, MAX_MINOR, 1), Ok(1));
        assert_eq!(of(1, MAX_MINOR, MAX_MINOR), Ok(1));
        assert_eq!(of(MAX_MINOR, MAX_MINOR, MAX_MINOR), Ok(MAX_MINOR));
        assert_eq!(of(MAX_MINOR, 1, 1), Ok(MAX_MINOR));
        assert_eq!(of(MAX_MINOR, 1, 2), Err(LedgerError::TotalOverflow));
        assert_eq!(of(3, 2, MAX_MINOR), Err(LedgerError::TotalOverflow));
    }
}

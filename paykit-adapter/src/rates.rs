//! What one asset is worth in another: where prices come from, and how what somebody asks for is judged by them.
//!
//! Each side of a settlement has a source of its own. [`RateSource::rate`] brings a price, [`Rate::quote`] makes of it what a debt is worth
//! outside, and [`judge`] compares that with what the other side wrote. No rate is signed, and no floating point is used: a price is read
//! from the text that it was sent as.
//!
//! **Rounding.** What somebody has to give is rounded up to the smallest amount that can be paid: against the one who gives it, who is the one
//! that makes the quote. So rounding never pays whoever calculates, two sides with the same price come to the same amount, and nothing that
//! is owed is worth nothing. It is less than one smallest unit.
//!
//! **Age.** A price that is too old, or of which nobody knows anything now, is an error. There is no price of last resort.
//!
//! ```
//! use atomicity_ledger::{Money, Timestamp};
//! use atomicity_paykit_adapter::rates::{Fixed, Judgement, Pair, RateSource as _, Terms, judge};
//!
//! let pair = Pair::new("BTC".parse()?, "USD".parse()?)?;
//! let terms = Terms { max_age_ms: 60_000, spread_ppm: 10_000 };
//! let source = Fixed::new(pair, "100000".parse()?, None, terms)?;
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # runtime.block_on(async {
//! let now = Timestamp::saturating_from_millis(1_800_000_000_000);
//! let rate = source.rate(now).await?;
//! let debt = Money::parse("5.00 USD/2", &[])?;
//! let mine = rate.quote(&debt, &"BTC".parse()?, 11, source.terms(), now)?;
//! assert_eq!(mine.pays.amount.to_string(), "0.00005");
//! let mut theirs = mine.pays.clone();
//! theirs.amount = "0.0000506".parse()?;
//! assert_eq!(judge(&theirs, &mine.pays, mine.spread_ppm), Judgement::Offer(mine.pays));
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod exact;
mod json;
mod url;

use std::fmt;
use std::time::Duration;

use atomicity_ledger::record::Pays;
use atomicity_ledger::settle::Quote;
use atomicity_ledger::{Asset, Decimal, Money, Timestamp};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use exact::Exact;

pub use url::{TimeAt, TimeUnit, Url, UrlConfig};

/// How far ahead of our clock a source may be, in milliseconds.
pub const MAX_AHEAD_MS: u64 = 60_000;

/// Where prices come from.
pub trait RateSource: fmt::Debug + Send + Sync {
    /// Of what in what.
    fn pair(&self) -> &Pair;

    /// How old a price may be, and how far the other side may be off.
    fn terms(&self) -> Terms;

    /// The price at `now`, which is the caller's clock.
    ///
    /// # Errors
    /// If there is none now.
    fn rate(&self, now: Timestamp) -> BoxFuture<'_, Result<Rate, RateError>>;
}

/// Two assets: the price says how much of `quote` one of `base` costs. It is used in both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    base: Asset,
    quote: Asset,
}

impl Pair {
    /// How much of `quote` one of `base` costs.
    ///
    /// # Errors
    /// [`RateError::ConfigInvalid`] if they are the same: that is paid one for one.
    pub fn new(base: Asset, quote: Asset) -> Result<Self, RateError> {
        if base == quote {
            let why = format!("a rate is between two assets, not {base} and itself");
            return Err(RateError::ConfigInvalid(why));
        }
        Ok(Self { base, quote })
    }

    /// What is priced.
    #[must_use]
    pub fn base(&self) -> &Asset {
        &self.base
    }

    /// What the price is an amount of.
    #[must_use]
    pub fn quote(&self) -> &Asset {
        &self.quote
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.quote)
    }
}

/// What the owner of a source thinks of its prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// From this age on, in milliseconds, a price is too old.
    pub max_age_ms: u64,
    /// How far the other side may be off, in millionths of what we say.
    pub spread_ppm: u32,
}

/// A price and its age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    pair: Pair,
    price: Exact,
    as_of: Option<Timestamp>,
}

impl Rate {
    /// One of the pair's base costs `price` of the other, as of then; without a time it does not age.
    ///
    /// # Errors
    /// [`RateError::PriceUnusable`] if it is zero or has more than 18 digits that count.
    pub fn new(pair: Pair, price: Decimal, as_of: Option<Timestamp>) -> Result<Self, RateError> {
        let price = Exact::price(price)?;
        Ok(Self { pair, price, as_of })
    }

    /// When it was so; nothing if it does not age.
    #[must_use]
    pub fn as_of(&self) -> Option<Timestamp> {
        self.as_of
    }

    /// Whether it may be used at `now`.
    ///
    /// # Errors
    /// [`RateError::Stale`], or [`RateError::Ahead`] if it is of a time that has not come.
    pub fn check_age(&self, terms: Terms, now: Timestamp) -> Result<(), RateError> {
        let Some(as_of) = self.as_of else {
            return Ok(());
        };
        if as_of.millis_since(now) > MAX_AHEAD_MS {
            return Err(RateError::Ahead);
        }
        let age = now.millis_since(as_of);
        if age >= terms.max_age_ms {
            return Err(RateError::Stale {
                age: Duration::from_millis(age),
                max: Duration::from_millis(terms.max_age_ms),
            });
        }
        Ok(())
    }

    /// What has to be given in `into` for `debt`, in as many decimal places as can be paid there (11 with Lightning, 8 on the chain),
    /// rounded up.
    ///
    /// # Errors
    /// If the price is too old, is of other assets, or the amount has no place in a [`Decimal`].
    pub fn quote(
        &self,
        debt: &Money,
        into: &Asset,
        places: u8,
        terms: Terms,
        now: Timestamp,
    ) -> Result<Quote, RateError> {
        self.check_age(terms, now)?;
        let from = Asset::of(&debt.unit);
        let amount = Decimal::from_minor(debt.amount.minor(), debt.unit.decimals())
            .map_err(|_| RateError::OutOfRange)?;
        let amount = self.convert(&from, amount, into, places)?;
        Ok(Quote {
            pays: Pays {
                asset: into.clone(),
                amount,
            },
            spread_ppm: terms.spread_ppm,
        })
    }

    fn convert(
        &self,
        from: &Asset,
        amount: Decimal,
        into: &Asset,
        places: u8,
    ) -> Result<Decimal, RateError> {
        let amount = Exact::from(amount);
        let pair = (&self.pair.base, &self.pair.quote);
        let converted = if pair == (from, into) {
            amount.times(self.price, places)
        } else if pair == (into, from) {
            amount.divided_by(self.price, places)
        } else {
            return Err(RateError::PairMissing {
                from: from.clone(),
                into: into.clone(),
            });
        };
        converted.ok_or(RateError::OutOfRange)
    }
}

/// What is thought of an amount that the other side wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Judgement {
    /// It is near enough.
    Agreed,
    /// It is not; this would be.
    Offer(Pays),
}

/// Compares what the other side wrote with what we would have written: it may be off by `spread_ppm` millionths of ours, in either direction.
/// The same comparison is part of [`Discharge::judge`](atomicity_ledger::settle::Discharge::judge); this is for whoever is asked by an offer.
pub fn judge(theirs: &Pays, mine: &Pays, spread_ppm: u32) -> Judgement {
    if theirs.asset == mine.asset && theirs.amount.is_near(mine.amount, spread_ppm) {
        Judgement::Agreed
    } else {
        Judgement::Offer(mine.clone())
    }
}

/// A price that somebody set.
#[derive(Clone, Debug)]
pub struct Fixed {
    rate: Rate,
    terms: Terms,
}

impl Fixed {
    /// One of the pair's base costs `price` of the other. If it says when it was set, it ages from then on; otherwise it holds until it is
    /// changed.
    ///
    /// # Errors
    /// [`RateError::PriceUnusable`].
    pub fn new(
        pair: Pair,
        price: Decimal,
        set_at: Option<Timestamp>,
        terms: Terms,
    ) -> Result<Self, RateError> {
        let rate = Rate::new(pair, price, set_at)?;
        Ok(Self { rate, terms })
    }
}

impl RateSource for Fixed {
    fn pair(&self) -> &Pair {
        &self.rate.pair
    }

    fn terms(&self) -> Terms {
        self.terms
    }

    fn rate(&self, now: Timestamp) -> BoxFuture<'_, Result<Rate, RateError>> {
        let checked = self.rate.check_age(self.terms, now);
        async move { checked.map(|()| self.rate.clone()) }.boxed()
    }
}

/// Why there is no price. [`RateError::code`] is stable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RateError {
    /// The settings can't be used.
    #[error("the source of rates is set up wrongly: {0}")]
    ConfigInvalid(String),
    /// Nobody answers.
    #[error("the source of rates can't be reached: {0}")]
    Unreachable(String),
    /// The answer did not come in time.
    #[error("the source of rates gave no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The source answered with something else than success.
    #[error("the source of rates answered with status {0}")]
    SourceFailed(u16),
    /// The connection broke in the middle of the answer.
    #[error("the answer of the source of rates broke off: {0}")]
    AnswerBroken(String),
    /// The answer is longer than any that is read.
    #[error("the answer of the source of rates is longer than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The answer is no JSON, or has no number where it should be.
    #[error("the answer of the source of rates is unusable: {0}")]
    AnswerMalformed(&'static str),
    /// A price of zero, or with too many digits.
    #[error("the price is zero or has more than 18 digits")]
    PriceUnusable,
    /// The price is too old.
    #[error("the price is {} s old, of at most {} s", .age.as_secs(), .max.as_secs())]
    Stale {
        /// How old it is.
        age: Duration,
        /// From which age on it is too old.
        max: Duration,
    },
    /// The price is of a time that has not come yet.
    #[error("the price is of a time that has not come yet")]
    Ahead,
    /// The source knows other assets.
    #[error("the source has no price for {from} in {into}")]
    PairMissing {
        /// What is owed.
        from: Asset,
        /// What is to be paid.
        into: Asset,
    },
    /// The amount has too many digits.
    #[error("the amount is out of range")]
    OutOfRange,
}

impl RateError {
    /// A stable name of the kind of failure, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ConfigInvalid(_) => "rate_config_invalid",
            Self::Unreachable(_) => "rate_unreachable",
            Self::Timeout(_) => "rate_timeout",
            Self::SourceFailed(_) => "rate_source_failed",
            Self::AnswerBroken(_) => "rate_answer_broken",
            Self::TooLarge { .. } => "rate_answer_too_large",
            Self::AnswerMalformed(_) => "rate_answer_malformed",
            Self::PriceUnusable => "rate_price_unusable",
            Self::Stale { .. } => "rate_stale",
            Self::Ahead => "rate_ahead",
            Self::PairMissing { .. } => "rate_pair_missing",
            Self::OutOfRange => "rate_out_of_range",
        }
    }
}

#[cfg(test)]
#[path = "rates/tests.rs"]
mod tests;

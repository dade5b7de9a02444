//! Decimal arithmetic without loss: a whole number and how many of its digits stand after the point.

use atomicity_ledger::Decimal;

use super::RateError;

/// A price has at most this many digits that count: then no product with an amount of any unit overflows.
const PRICE_DIGITS: u32 = 18;
/// The most places of a [`Decimal`].
const MAX_PLACES: u8 = 18;

/// `digits` · 10^−`places`, with no zero at the end of a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exact {
    digits: u128,
    places: u32,
}

impl From<Decimal> for Exact {
    /// A decimal is written in its one spelling: 37 digits at most, which fit.
    fn from(number: Decimal) -> Self {
        let text = number.to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let digits = whole.bytes().chain(fraction.bytes());
        Self {
            digits: digits.fold(0u128, |all, digit| {
                all.saturating_mul(10)
                    .saturating_add(u128::from(digit.saturating_sub(b'0')))
            }),
            places: u32::try_from(fraction.len()).unwrap_or(u32::MAX),
        }
    }
}

impl Exact {
    /// A number that others are multiplied with and divided by.
    pub(super) fn price(number: Decimal) -> Result<Self, RateError> {
        let price = Self::from(number);
        if price.digits == 0 || price.digits >= 10u128.pow(PRICE_DIGITS) {
            return Err(RateError::PriceUnusable);
        }
        Ok(price)
    }

    /// The product in so many places, rounded up; nothing if it is out of range.
    pub(super) fn times(self, price: Self, places: u8) -> Option<Decimal> {
        let product = self.digits.checked_mul(price.digits)?;
        let have = self.places.checked_add(price.places)?;
        let want = u32::from(places);
        let scaled = if have >= want {
            product.div_ceil(10u128.checked_pow(have - want)?)
        } else {
            product.checked_mul(10u128.checked_pow(want - have)?)?
        };
        decimal(scaled, places)
    }

    /// The quotient in so many places, rounded up; nothing if it is out of range.
    pub(super) fn divided_by(self, price: Self, places: u8) -> Option<Decimal> {
        let have = u32::from(places).checked_add(price.places)?;
        let mut divisor = price.digits;
        let steps = if have >= self.places {
            have - self.places
        } else {
            divisor = divisor.checked_mul(10u128.checked_pow(self.places - have)?)?;
            0
        };
        let mut quotient = self.digits.checked_div(divisor)?;
        let mut rest = self.digits.checked_rem(divisor)?;
        // Digit by digit, as on paper: nothing gets larger than ten times the divisor.
        for _ in 0..steps {
            rest = rest.checked_mul(10)?;
            quotient = quotient
                .checked_mul(10)?
                .checked_add(rest.checked_div(divisor)?)?;
            rest = rest.checked_rem(divisor)?;
        }
        decimal(quotient.checked_add(u128::from(rest > 0))?, places)
    }
}

/// `minor` units with so many places.
fn decimal(minor: u128, places: u8) -> Option<Decimal> {
    if places > MAX_PLACES {
        return None;
    }
    let scale = 10u128.checked_pow(u32::from(places))?;
    let width = usize::from(places).max(1);
    let text = format!("{}.{:0width$}", minor / scale, minor % scale);
    Decimal::read(&text).ok()
}

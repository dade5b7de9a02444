//! What a hop takes.

use atomicity_ledger::amount::MAX_MINOR;

/// Parts in a million.
const MILLION: u64 = 1_000_000;

/// `base + ceil(onward × ppm / 10^6)`, or `None` above the largest amount.
#[inline]
pub(crate) fn fee(base: u64, ppm: u32, onward: u64) -> Option<u64> {
    let share = match onward.checked_mul(u64::from(ppm)) {
        Some(product) => product.div_ceil(MILLION),
        // Rare: a division of 128 bits costs ten times as much.
        None => {
            let wide = (u128::from(onward) * u128::from(ppm)).div_ceil(u128::from(MILLION));
            u64::try_from(wide).ok()?
        }
    };
    base.checked_add(share).filter(|fee| *fee <= MAX_MINOR)
}

/// The same for bounds: what is too large to count is the largest amount.
#[inline]
pub(crate) fn fee_at_least(base: u64, ppm: u32, onward: u64) -> u64 {
    fee(base, ppm, onward).unwrap_or(MAX_MINOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_round_up_and_never_wrap() {
        assert_eq!(fee(0, 0, 1), Some(0));
        assert_eq!(fee(3, 1, 1), Some(4));
        assert_eq!(fee(3, 1_000_000, 7), Some(10));
        assert_eq!(fee(0, 1_000_000, MAX_MINOR), Some(MAX_MINOR));
        assert_eq!(fee(1, 1_000_000, MAX_MINOR), None);
        assert_eq!(fee(0, u32::MAX, MAX_MINOR), None);
        assert_eq!(fee(0, 1, MAX_MINOR), Some(MAX_MINOR / 1_000_000 + 1));
        assert_eq!(fee_at_least(u64::MAX, 1, 1), MAX_MINOR);
    }
}

//! Waiting longer after each failure, with jitter so that many clients don't come back in step.

use std::time::Duration;

/// Exponential back-off between two bounds.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// Counts a failure and says how long to wait: between half and all of `first · 2^n`, capped at `longest`.
    pub(crate) fn fail(&mut self) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        doubled
            .min(self.longest)
            .mul_f64(rand::random_range(0.5..=1.0))
    }

    pub(crate) fn succeed(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_start_over() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, longest);
        for n in 0..80u32 {
            let full = first
                .saturating_mul(1u32.checked_shl(n).unwrap_or(u32::MAX))
                .min(longest);
            let wait = backoff.fail();
            assert!(
                wait <= full && wait >= full / 2,
                "{n}: {wait:?} of {full:?}"
            );
        }
        backoff.succeed();
        assert!(backoff.fail() <= first);
    }
}

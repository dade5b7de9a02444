//! Wrong passwords, counted by address: who guesses is slowed down, who knows is not. On one machine everybody has the same address, so
//! that a password that nobody can guess is taken from whoever brings it, however many wrong ones came before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::PluginError;
use crate::limits::AddressKey;

const MINUTE: Duration = Duration::from_secs(60);
/// Most addresses that are remembered; beyond that, all share what is left.
const MOST: usize = 4_096;

/// How hard a password is to guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// Somebody made it up: it may be short, or a word.
    Chosen,
    /// 32 random bytes.
    Random,
}

struct Failures {
    count: u32,
    since: Instant,
}

/// Counts wrong passwords.
pub struct Attempts {
    most: u32,
    failures: Mutex<HashMap<Option<AddressKey>, Failures>>,
}

impl Attempts {
    /// Allows `most` wrong passwords in a minute from one address.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self {
            most,
            failures: Mutex::default(),
        }
    }

    /// Tries a password: `right` is asked only if the address has guesses left, or if guessing is of no use.
    ///
    /// # Errors
    /// `too_many_attempts`; `admin_password_wrong`.
    pub fn guard(
        &self,
        address: AddressKey,
        strength: Strength,
        right: impl Fn() -> Result<bool, PluginError>,
    ) -> Result<(), PluginError> {
        if strength == Strength::Random && right()? {
            return Ok(());
        }
        let now = Instant::now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, known| now.duration_since(known.since) < MINUTE);
        let crowded = failures.len() >= MOST && !failures.contains_key(&Some(address));
        let who = (!crowded).then_some(address);
        if let Some(known) = failures.get(&who).filter(|known| known.count >= self.most) {
            let wait = MINUTE.saturating_sub(now.duration_since(known.since));
            return Err(PluginError::TooMany {
                code: "too_many_attempts",
                detail: "too many wrong passwords from here: wait a minute",
                retry_after: Duration::from_secs(wait.as_secs().saturating_add(1)),
            });
        }
        if strength == Strength::Chosen && right()? {
            return Ok(());
        }
        let known = failures.entry(who).or_insert(Failures {
            count: 0,
            since: now,
        });
        known.count = known.count.saturating_add(1);
        Err(PluginError::Unauthorized {
            code: "admin_password_wrong",
            detail: "this needs the operator's password",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn from(n: u8) -> AddressKey {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, n)).into()
    }

    #[test]
    fn who_guesses_is_not_even_asked_after_a_while_and_others_are() {
        let attempts = Attempts::new(3);
        let code = |n: u8, right: bool| {
            attempts
                .guard(from(n), Strength::Chosen, || Ok(right))
                .map_err(|error| error.code())
        };
        // The right one costs nothing.
        for _ in 0..10 {
            assert_eq!(code(1, true), Ok(()));
        }
        for _ in 0..3 {
            assert_eq!(code(1, false), Err("admin_password_wrong"));
        }
        assert_eq!(code(1, true), Err("too_many_attempts"));
        assert_eq!(code(2, true), Ok(()));
    }

    #[test]
    fn who_has_a_password_that_can_not_be_guessed_is_not_locked_out_by_others() {
        let attempts = Attempts::new(2);
        let code = |right: bool| {
            attempts
                .guard(from(1), Strength::Random, || Ok(right))
                .map_err(|error| error.code())
        };
        for expected in [
            "admin_password_wrong",
            "admin_password_wrong",
            "too_many_attempts",
        ] {
            assert_eq!(code(false), Err(expected));
            assert_eq!(code(true), Ok(()));
        }
    }
}

//! Who is logged in on the page of operators. Kept in memory: a restart logs everybody out, and so does another password.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::password::same;
use crate::auth::token;

/// Most browsers that are logged in at once; the oldest makes room.
const MOST: usize = 64;

/// Somebody who is logged in.
#[derive(Clone)]
pub struct Session {
    /// What every form of theirs must bear.
    pub csrf: Zeroizing<String>,
    /// When they are logged out, on the clock of this process.
    ends: Instant,
    /// The password that they knew.
    password: [u8; 32],
}

/// All that are logged in, by the hash of what their browsers hold.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl Sessions {
    /// Logs somebody in who knew the password with this fingerprint; what their browser is to hold.
    pub fn open(&self, password: [u8; 32], lasts: Duration) -> Zeroizing<String> {
        let (token, _) = token::generate();
        let (csrf, _) = token::generate();
        let now = Instant::now();
        let session = Session {
            csrf,
            ends: now.checked_add(lasts).unwrap_or(now),
            password,
        };
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, known| known.ends > now);
        if open.len() >= MOST
            && let Some(oldest) = open.iter().min_by_key(|(_, known)| known.ends)
        {
            let oldest = *oldest.0;
            open.remove(&oldest);
        }
        open.insert(hash(&token), session);
        token
    }

    /// Who holds `token`, if they are logged in still and the password is the one that they knew.
    #[must_use]
    pub fn find(&self, token: &str, password: &[u8; 32]) -> Option<Session> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = open.get(&hash(token))?;
        let stands = session.ends > Instant::now() && same(&session.password, password);
        stands.then(|| session.clone())
    }

    /// Logs the holder of `token` out.
    pub fn close(&self, token: &str) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&hash(token));
    }
}

/// Whether two secrets are the same text, told in the same time wherever they differ.
#[must_use]
pub fn equal(one: &str, other: &str) -> bool {
    same(&hash(one), &hash(other))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_session_ends_with_its_time_its_password_and_its_log_out() {
        let (sessions, hour) = (Sessions::default(), Duration::from_secs(3_600));
        let token = sessions.open([1; 32], hour);
        assert!(sessions.find(&token, &[1; 32]).is_some());
        assert!(sessions.find(&token, &[2; 32]).is_none());
        assert!(sessions.find("other", &[1; 32]).is_none());
        sessions.close(&token);
        assert!(sessions.find(&token, &[1; 32]).is_none());
        let over = sessions.open([1; 32], Duration::ZERO);
        assert!(sessions.find(&over, &[1; 32]).is_none());
    }

    #[test]
    fn there_are_only_so_many() {
        let sessions = Sessions::default();
        let first = sessions.open([1; 32], Duration::from_secs(1_000));
        for n in 0..u64::try_from(MOST).unwrap() {
            sessions.open([1; 32], Duration::from_secs(2_000 + n));
        }
        assert!(sessions.find(&first, &[1; 32]).is_none());
        assert_eq!(sessions.0.lock().unwrap().len(), MOST);
    }
}

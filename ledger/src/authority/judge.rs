//! Whether a key may sign, at which time, and by whose word.

use super::{
    Authority, CLOCK_SKEW_MS, Credentials, Grant, PROFILE_PATH, Purpose, REVOCATION_MAX_AGE_MS,
    book_path, revoke_path,
};
use crate::error::LedgerError;
use crate::key::SignerKey;
use crate::record::{Delegation, Scope};
use crate::time::Timestamp;

impl Credentials {
    /// Whether a revocation of `key` was looked for recently enough to take its records at `now`. Root keys can't be revoked.
    #[must_use]
    pub fn is_fresh(&self, key: SignerKey, now: Timestamp) -> bool {
        key.is_root_of(&self.user) || self.is_revoked(key) || self.was_checked(key, now)
    }

    /// A look that claims to be of the future, because the clock was wrong then, is none.
    fn was_checked(&self, key: SignerKey, now: Timestamp) -> bool {
        self.checked.iter().any(|checked| {
            checked.key == key
                && now.millis_since(checked.at) <= REVOCATION_MAX_AGE_MS
                && checked.at.millis_since(now) <= CLOCK_SKEW_MS
        })
    }

    /// Whether an authority that seems to be missing or to have ended may simply not have been looked up lately.
    #[must_use]
    pub fn may_have_changed(&self, error: &LedgerError, key: SignerKey, now: Timestamp) -> bool {
        let open = matches!(
            error,
            LedgerError::NotAuthorized { .. } | LedgerError::AuthorityExpired { .. }
        );
        open && !self.was_checked(key, now)
    }

    pub(super) fn is_revoked(&self, key: SignerKey) -> bool {
        self.revocations
            .iter()
            .any(|r| r.record().key == key && r.record().grant.is_none())
    }

    /// Whether `key` may sign for the user at `now` to this purpose, and by whose word.
    ///
    /// # Errors
    /// [`LedgerError::NotAuthorized`], [`LedgerError::AuthorityExpired`], [`LedgerError::AuthorityNotYetValid`],
    /// [`LedgerError::KeyRevoked`].
    pub fn judge(
        &self,
        key: SignerKey,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Authority, LedgerError> {
        if key.is_root_of(&self.user) {
            return Ok(Authority::Root);
        }
        if self.is_revoked(key) {
            return Err(LedgerError::KeyRevoked { key });
        }
        let by_delegation = self.judge_delegation(key, purpose, now);
        if by_delegation.is_ok() {
            return by_delegation;
        }
        let by_grant = self.judge_grants(key, purpose, now);
        match (&by_delegation, &by_grant) {
            // A delegation that exists but does not hold says more than a grant that does not exist.
            (Err(LedgerError::NotAuthorized { .. }), _) | (_, Ok(_)) => by_grant,
            _ => by_delegation,
        }
    }

    pub(super) fn judge_delegation(
        &self,
        key: SignerKey,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Authority, LedgerError> {
        let refuse = |why| {
            Err(LedgerError::NotAuthorized {
                key,
                user: self.user,
                why,
            })
        };
        let Some(signed) = self.delegation_of(key) else {
            return refuse("neither a delegation nor a grant of the root names this key");
        };
        let delegation = signed.record();
        if let Some(why) = uncovered(delegation, purpose) {
            return refuse(why);
        }
        if now < delegation.not_before {
            return Err(LedgerError::AuthorityNotYetValid { key });
        }
        if now >= delegation.not_after {
            return Err(LedgerError::AuthorityExpired { key });
        }
        Ok(Authority::Delegation(Box::new(delegation.clone())))
    }

    fn judge_grants(
        &self,
        key: SignerKey,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Authority, LedgerError> {
        let mut why = LedgerError::NotAuthorized {
            key,
            user: self.user,
            why: "neither a delegation nor a grant of the root names this key",
        };
        for grant in self.grants.iter().filter(|g| g.claims.cnf == key) {
            match self.judge_grant(grant, key, purpose, now) {
                Ok(authority) => return Ok(authority),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    pub(super) fn judge_grant(
        &self,
        grant: &Grant,
        key: SignerKey,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Authority, LedgerError> {
        let path = match purpose {
            Purpose::Book(_) | Purpose::Report | Purpose::Receive | Purpose::Request(_) => {
                book_path(&key)
            }
            Purpose::Profile => PROFILE_PATH.to_owned(),
            Purpose::Revoke(revoked) => revoke_path(&revoked),
        };
        if !grant.names(&path) {
            return Err(LedgerError::NotAuthorized {
                key,
                user: self.user,
                why: "its grant does not name the file that stands for this power; access to a directory is not enough",
            });
        }
        let revoked = self.revocations.iter().any(|r| {
            r.record()
                .grant
                .is_some_and(|id| id.to_string() == grant.claims.jti)
        });
        if revoked {
            return Err(LedgerError::KeyRevoked { key });
        }
        let now_s = now.millis() / 1000;
        if now_s < grant.claims.iat {
            return Err(LedgerError::AuthorityNotYetValid { key });
        }
        if now_s >= grant.claims.exp {
            return Err(LedgerError::AuthorityExpired { key });
        }
        Ok(Authority::Grant {
            iat: grant.claims.iat,
            exp: grant.claims.exp,
        })
    }
}

/// What keeps a delegation from serving this purpose, at whatever time.
pub(super) fn uncovered(delegation: &Delegation, purpose: Purpose) -> Option<&'static str> {
    let has = |scope| delegation.scopes.contains(&scope);
    match (purpose, &delegation.peers) {
        (Purpose::Profile, _) => Some("a delegation does not cover the profile"),
        (Purpose::Revoke(_), _) => Some("a delegation does not cover revocations"),
        (Purpose::Receive, _) if !has(Scope::Book) && !has(Scope::Receive) => {
            Some("its delegation does not let it receive")
        }
        (Purpose::Book(_) | Purpose::Report, _) if !has(Scope::Book) => {
            Some("its delegation does not let it keep books")
        }
        (Purpose::Request(_), _) if !has(Scope::Book) && !has(Scope::Request) => {
            Some("its delegation does not let it ask for payments")
        }
        (Purpose::Book(peer) | Purpose::Request(peer), Some(peers)) if !peers.contains(&peer) => {
            Some("its delegation does not cover this peer")
        }
        (Purpose::Book(_) | Purpose::Report | Purpose::Receive | Purpose::Request(_), _) => None,
    }
}

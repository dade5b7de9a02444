//! Whether a key may sign for a user: from the file that lies at the user's homeserver, and how long that holds.

use atomicity_ledger::authority::{Authority, Credentials, Grant, Purpose};
use atomicity_ledger::record::Revocation;
use atomicity_ledger::{LedgerError, Signed, SignerKey, Timestamp, UserKey};

/// How often revocations are looked for, in milliseconds: well within the ten minutes that a look may be old.
pub const LOOK_EVERY_MS: i64 = 480_000;
/// Most keys of one user that are known here.
pub const MAX_KEYS: i64 = 16;

/// What is known of one key of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFile {
    /// The delegation or grant.
    pub authority: Option<String>,
    /// The revocation. It was checked when it came, and is never taken back.
    pub revocation: Option<String>,
    /// The homeserver's validator of its file.
    pub etag: Option<String>,
    /// When it was looked for last, Unix ms.
    pub checked_at: i64,
}

impl KeyFile {
    /// Whether the last look is younger than this, in milliseconds, and recent enough in any case.
    #[must_use]
    pub fn is_fresh(&self, every: i64, now: i64) -> bool {
        (0..every.min(LOOK_EVERY_MS)).contains(&now.saturating_sub(self.checked_at))
    }

    /// Takes in a delegation or grant of `user` about `key`, unless it is older than the one that is known.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn learn(
        &mut self,
        user: UserKey,
        key: SignerKey,
        text: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut credentials = Credentials::new(user);
        credentials.learn(text, now)?;
        if credentials.about(key).is_empty() {
            return Err(LedgerError::ForeignChannel);
        }
        if let Some(known) = &self.authority {
            credentials.learn(known, now)?;
            if credentials.about(key) == [known.clone()] {
                return Ok(());
            }
        }
        self.authority = Some(text.to_owned());
        Ok(())
    }

    /// Takes in a revocation of `key`. If another key than the root signed it, `voice` is the file of that key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn revoke(
        &mut self,
        user: UserKey,
        key: SignerKey,
        revocation: &Signed<Revocation>,
        voice: Option<&str>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let record = revocation.record();
        if record.root != user || record.key != key {
            return Err(LedgerError::ForeignChannel);
        }
        let mut credentials = Credentials::new(user);
        if let Some(voice) = voice {
            credentials.learn(voice, now)?;
        }
        credentials.learn(revocation.jws(), now)?;
        // A revocation of one grant must not hide that of the key.
        let narrower = record.grant.is_some() && self.revocation.is_some();
        if !narrower {
            self.revocation = Some(revocation.jws().to_owned());
        }
        Ok(())
    }

    fn is_revoked(&self, grant: Option<&Grant>) -> bool {
        let Some(text) = &self.revocation else {
            return false;
        };
        let Ok(revocation) = Signed::<Revocation>::decode(text) else {
            return true;
        };
        match (revocation.record().grant, grant) {
            (None, _) => true,
            (Some(id), Some(grant)) => id.to_string() == grant.claims().jti,
            (Some(_), None) => false,
        }
    }

    /// Until when `key` may sign for `user` to this purpose, as far as is known here, Unix ms.
    ///
    /// # Errors
    /// Why it may not.
    pub fn judge(
        &self,
        user: UserKey,
        key: SignerKey,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        let grant = self
            .authority
            .as_deref()
            .and_then(|text| Grant::decode(text).ok());
        if self.is_revoked(grant.as_ref()) {
            return Err(LedgerError::KeyRevoked { key });
        }
        let mut credentials = Credentials::new(user);
        if let Some(text) = &self.authority {
            credentials.learn(text, now)?;
        }
        match credentials.judge(key, purpose, now)? {
            Authority::Root => Ok(u64::MAX),
            Authority::Delegation(delegation) => Ok(delegation.not_after.millis()),
            Authority::Grant { exp, .. } => Ok(exp.saturating_mul(1_000)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::record::Delegation;
    use atomicity_ledger::{Keypair, Record};
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn key(n: u8) -> Keypair {
        Keypair::from_secret(&[n; 32])
    }

    fn time(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn signed<T: Record + DeserializeOwned>(record: Value, by: &Keypair) -> Signed<T> {
        Signed::sign(serde_json::from_value(record).unwrap(), by).unwrap()
    }

    fn delegation(serial: u64, until: u64) -> String {
        let record = json!({
            "v": 1, "root": key(1).user_key(), "key": key(2).signer_key(), "scopes": ["book"], "limits": [],
            "not_before": 1, "not_after": until, "serial": serial,
        });
        signed::<Delegation>(record, &key(1)).jws().to_owned()
    }

    #[test]
    fn the_latest_delegation_counts_until_its_end() {
        let (user, device) = (key(1).user_key(), key(2).signer_key());
        let mut file = KeyFile::default();
        let purpose = Purpose::Book(key(3).user_key());
        assert!(file.judge(user, device, purpose, time(5)).is_err());
        file.learn(user, device, &delegation(2, 200), time(5))
            .unwrap();
        assert_eq!(file.judge(user, device, purpose, time(5)), Ok(200));
        // An older one, served again, changes nothing.
        file.learn(user, device, &delegation(1, 900), time(5))
            .unwrap();
        assert_eq!(file.judge(user, device, purpose, time(5)), Ok(200));
        file.learn(user, device, &delegation(3, 300), time(5))
            .unwrap();
        assert_eq!(file.judge(user, device, purpose, time(5)), Ok(300));
        assert!(file.judge(user, device, purpose, time(300)).is_err());
        // One of another key, or another user, is none.
        let other = key(4).signer_key();
        assert!(
            KeyFile::default()
                .learn(user, other, &delegation(1, 9), time(5))
                .is_err()
        );
        let stranger = key(5).user_key();
        assert!(
            KeyFile::default()
                .learn(stranger, device, &delegation(1, 9), time(5))
                .is_err()
        );
    }

    #[test]
    fn what_is_revoked_stays_revoked() {
        let (user, device) = (key(1).user_key(), key(2).signer_key());
        let mut file = KeyFile::default();
        file.learn(user, device, &delegation(1, 200), time(5))
            .unwrap();
        let revocation = json!({"v": 1, "root": user, "key": device, "at": 5});
        let forged = signed::<Revocation>(revocation.clone(), &key(9));
        assert!(file.revoke(user, device, &forged, None, time(5)).is_err());
        assert!(file.judge(user, device, Purpose::Report, time(5)).is_ok());
        let true_one = signed::<Revocation>(revocation, &key(1));
        file.revoke(user, device, &true_one, None, time(5)).unwrap();
        file.learn(user, device, &delegation(2, 900), time(6))
            .unwrap();
        let judged = file.judge(user, device, Purpose::Report, time(6));
        assert_eq!(judged, Err(LedgerError::KeyRevoked { key: device }));
    }

    #[test]
    fn a_look_is_fresh_for_minutes_and_never_from_the_future() {
        let file = KeyFile {
            checked_at: 1_000,
            ..KeyFile::default()
        };
        assert!(file.is_fresh(i64::MAX, 1_000) && file.is_fresh(i64::MAX, LOOK_EVERY_MS));
        assert!(!file.is_fresh(i64::MAX, 1_000 + LOOK_EVERY_MS));
        assert!(!file.is_fresh(500, 1_500));
        assert!(!file.is_fresh(i64::MAX, 999));
    }
}

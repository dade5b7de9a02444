//! What is taken in: delegations, grants, revocations, and that somebody looked for one.

use super::{Checked, Credentials, Grant, MAX_CREDENTIALS, MAX_REVOCATIONS, Purpose};
use crate::error::LedgerError;
use crate::jws::{self, Signed};
use crate::key::SignerKey;
use crate::record::{Delegation, Revocation};
use crate::time::Timestamp;

/// The most delegations of one key that no book was taken under.
const MAX_DELEGATIONS_OF_KEY: usize = 8;

impl Credentials {
    /// Takes a delegation, a grant or a revocation, after checking that it is this user's and rightly signed. Returns whether
    /// it was new.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn learn(&mut self, jws: &str, now: Timestamp) -> Result<bool, LedgerError> {
        match jws_kind(jws) {
            Kind::Grant => self.learn_grant(Grant::decode(jws)?),
            // The same bytes were checked before.
            Kind::Delegation if self.delegations.iter().any(|known| known.jws() == jws) => {
                Ok(false)
            }
            Kind::Delegation => self.learn_delegation(Signed::decode(jws)?),
            Kind::Revocation => self.learn_revocation(Signed::decode(jws)?, now),
            Kind::Other(typ) => Err(LedgerError::WrongType {
                expected: "atomicity-delegation, atomicity-revocation or pubky-grant",
                found: typ,
            }),
        }
    }

    fn learn_grant(&mut self, grant: Grant) -> Result<bool, LedgerError> {
        if grant.claims.iss != self.user {
            return Err(LedgerError::ForeignChannel);
        }
        if self.grants.contains(&grant) {
            return Ok(false);
        }
        let relied = &self.relied;
        let spare = |known: &Grant| !relied.contains(&known.hash());
        make_room(&mut self.grants, MAX_CREDENTIALS, spare, |_| true);
        self.grants.push(grant);
        Ok(true)
    }

    fn learn_delegation(&mut self, signed: Signed<Delegation>) -> Result<bool, LedgerError> {
        let record = signed.record();
        if record.root != self.user {
            return Err(LedgerError::ForeignChannel);
        }
        if !signed.kid().is_root_of(&self.user) {
            return Err(LedgerError::NotAuthorized {
                key: signed.kid(),
                user: self.user,
                why: "only the root key delegates",
            });
        }
        let key = record.key;
        let same = |known: &Signed<Delegation>| {
            known.record().key == key && known.record().serial == signed.record().serial
        };
        if self.delegations.iter().any(same) {
            return Ok(false);
        }
        // Of several delegations of one key the latest serial is in force; the earlier ones stay as evidence.
        let newest = self.delegation_of(key).map(|known| known.record().serial);
        let is_newer = newest.is_none_or(|serial| signed.record().serial > serial);
        let relied = &self.relied;
        let spare = |known: &Signed<Delegation>| !relied.contains(&known.hash());
        let of_key = |known: &Signed<Delegation>| known.record().key == key && spare(known);
        let serials = self.delegations.iter().filter(|known| of_key(known));
        let oldest = serials.map(|known| known.record().serial).min();
        make_room(
            &mut self.delegations,
            MAX_DELEGATIONS_OF_KEY,
            of_key,
            |known| Some(known.record().serial) == oldest,
        );
        make_room(&mut self.delegations, MAX_CREDENTIALS, spare, |_| true);
        self.delegations.push(signed);
        Ok(is_newer)
    }

    fn learn_revocation(
        &mut self,
        signed: Signed<Revocation>,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let record = signed.record();
        if record.root != self.user {
            return Err(LedgerError::ForeignChannel);
        }
        let known = |known: &Signed<Revocation>| {
            known.record().key == record.key
                && (known.record().grant.is_none() || known.record().grant == record.grant)
        };
        if self.revocations.iter().any(known) {
            return Ok(false);
        }
        // A grant that has ended since could revoke when it did; one that had not begun could not.
        let then = record.at.min(now);
        self.judge(signed.kid(), Purpose::Revoke(record.key), then)?;
        if self.revocations.len() >= MAX_REVOCATIONS {
            return Err(LedgerError::OutOfRange("number of revocations"));
        }
        self.revocations.push(signed);
        Ok(true)
    }

    /// Notes that a revocation of `key` was looked for at `now`, and what was found was learnt.
    pub fn mark_checked(&mut self, key: SignerKey, now: Timestamp) {
        self.checked.retain(|checked| checked.key != key);
        if self.checked.len() >= MAX_CREDENTIALS {
            self.checked.remove(0);
        }
        self.checked.push(Checked { key, at: now });
    }
}

/// Drops the first one that `goes` of those that `count`, if there are `max` of them.
pub(super) fn make_room<T>(
    list: &mut Vec<T>,
    max: usize,
    counts: impl Fn(&T) -> bool,
    goes: impl Fn(&T) -> bool,
) {
    if list.iter().filter(|item| counts(item)).count() >= max
        && let Some(place) = list.iter().position(|item| counts(item) && goes(item))
    {
        list.remove(place);
    }
}

enum Kind {
    Delegation,
    Revocation,
    Grant,
    Other(String),
}

fn jws_kind(text: &str) -> Kind {
    use crate::jws::Record as _;
    match jws::peek_typ(text) {
        Ok(typ) if typ == Delegation::TYP => Kind::Delegation,
        Ok(typ) if typ == Revocation::TYP => Kind::Revocation,
        Ok(typ) => Kind::Other(typ),
        // Grants have no `kid` and so are no records of ours.
        Err(_) => Kind::Grant,
    }
}

//! What books were taken under: it stays as evidence, whatever the root said afterwards.

use super::judge::uncovered;
use super::learn::make_room;
use super::{Credentials, Grant, Purpose, book_path};
use crate::jws::{RecordHash, Signed};
use crate::key::{SignerKey, UserKey};
use crate::record::Delegation;
use crate::time::Timestamp;

/// The most delegations and grants that are kept because books were taken under them.
const MAX_RELIED: usize = 32;

impl Credentials {
    /// Whether the root ever let `key` keep the books towards `peer`, as far as is known here, whatever it said afterwards.
    pub(crate) fn ever_let(&self, key: SignerKey, peer: UserKey, now: Timestamp) -> bool {
        let delegated = |d: &Signed<Delegation>| {
            uncovered(d.record(), Purpose::Book(peer)).is_none() && d.record().not_before <= now
        };
        let path = book_path(&key);
        let granted = |g: &Grant| {
            g.claims.cnf == key && g.names(&path) && g.claims.iat <= now.millis() / 1000
        };
        key.is_root_of(&self.user)
            || self.is_revoked(key)
            || self.delegations_of(key).any(delegated)
            || self.grants.iter().any(granted)
    }

    /// Keeps for good, as far as `MAX_RELIED` goes, what lets `key` keep the books towards `peer`: a book was taken under it.
    pub(crate) fn rely_on(&mut self, key: SignerKey, peer: UserKey, now: Timestamp) {
        if let Some(word) = self.word_for(key, peer, now) {
            self.relied.retain(|known| *known != word);
            make_room(&mut self.relied, MAX_RELIED, |_| true, |_| true);
            self.relied.push(word);
        }
    }

    /// The delegation or grant that lets `key` keep the books now; if none does any more, the first that ever did.
    fn word_for(&self, key: SignerKey, peer: UserKey, now: Timestamp) -> Option<RecordHash> {
        let purpose = Purpose::Book(peer);
        if self.judge_delegation(key, purpose, now).is_ok() {
            return self.delegation_of(key).map(Signed::hash);
        }
        let path = book_path(&key);
        let named = |g: &&Grant| g.claims.cnf == key && g.names(&path);
        let holds = |g: &&Grant| self.judge_grant(g, key, purpose, now).is_ok();
        let grants = || self.grants.iter().filter(named);
        let first = || {
            self.delegations_of(key)
                .filter(|d| uncovered(d.record(), purpose).is_none())
                .min_by_key(|d| d.record().serial)
                .map(Signed::hash)
        };
        grants()
            .find(holds)
            .map(Grant::hash)
            .or_else(first)
            .or_else(|| grants().next().map(Grant::hash))
    }

    /// The compact forms of what bears on `key`: what a peer or a court needs to judge its signatures. Of several words that serve
    /// one purpose the newest, and those that books were taken under.
    #[must_use]
    pub fn about(&self, key: SignerKey) -> Vec<String> {
        let newest = self.delegation_of(key).map(Signed::hash);
        let delegations = self.delegations_of(key).filter(|d| {
            let hash = d.hash();
            Some(hash) == newest || self.relied.contains(&hash)
        });
        let path = book_path(&key);
        let named = |g: &&Grant| g.claims.cnf == key && g.names(&path);
        let newest = self.grants.iter().filter(named);
        let newest = newest.max_by_key(|g| g.claims.iat).map(Grant::hash);
        let grants: Vec<&Grant> = self
            .grants
            .iter()
            .filter(named)
            .filter(|g| Some(g.hash()) == newest || self.relied.contains(&g.hash()))
            .collect();
        let revocations = self.revocations.iter().filter(|r| {
            let of_grant = r.record().grant.map(|id| id.to_string());
            let bears = |id: &String| grants.iter().any(|g| g.claims.jti == *id);
            r.record().key == key && of_grant.as_ref().is_none_or(bears)
        });
        let delegations = delegations.map(|d| d.jws().to_owned());
        delegations
            .chain(grants.iter().map(|g| g.jws.clone()))
            .chain(revocations.map(|r| r.jws().to_owned()))
            .collect()
    }
}

//! Who may sign for whom: delegations and Pubky grants, judged with time as an argument.
//!
//! A root key speaks for itself. Any other key needs one of two voices of the root:
//!
//! - a [`Delegation`], a record of ours, or
//! - a Pubky *grant* (`typ: pubky-grant`), which an authenticator signs after its consent screen, and one of whose capabilities
//!   names the very file that stands for the power: `/pub/atomicity/v0/book/<key>`, `/pub/atomicity/v0/profile`, or
//!   `/pub/atomicity/v0/revoke/<key>`. Write access to a directory is never authority to sign.
//!
//! There are no chains. A revocation ends an authority from the moment it arrives; whoever accepts records of a key must have
//! looked for one within [`REVOCATION_MAX_AGE_MS`].

mod grant;

pub use grant::{
    GRANT_TYP, Grant, GrantClaims, PROFILE_PATH, book_path, delegation_path, revoke_path,
};

use serde::{Deserialize, Serialize};

use crate::amount::Total;
use crate::error::LedgerError;
use crate::jws::{self, RecordHash, Signed, stored};
use crate::key::{SignerKey, UserKey};
use crate::record::{Delegation, Revocation, Scope};
use crate::time::Timestamp;
use crate::unit::Unit;

/// How old the last look for a revocation may be: ten minutes, in milliseconds.
pub const REVOCATION_MAX_AGE_MS: u64 = 10 * 60 * 1000;
/// The most delegations, and the most grants, that are kept for one user, besides those that books were taken under.
pub const MAX_CREDENTIALS: usize = 16;
/// The most delegations and grants that are kept because books were taken under them.
const MAX_RELIED: usize = 32;
/// The most revocations that are kept for one user. None is ever dropped: a stolen key must not come back.
pub const MAX_REVOCATIONS: usize = 1024;
/// The most delegations of one key that no book was taken under.
const MAX_DELEGATIONS_OF_KEY: usize = 8;
/// How far another clock may be ahead, in milliseconds.
const CLOCK_SKEW_MS: u64 = 60_000;

/// What a signature is to be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Keeping the books towards this peer.
    Book(UserKey),
    /// Publishing the profile.
    Profile,
    /// Revoking this key.
    Revoke(SignerKey),
    /// Signing a balance snapshot or an evidence manifest: any book key of the user may.
    Report,
}

/// When somebody last looked for a revocation of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Checked {
    key: SignerKey,
    at: Timestamp,
}

/// Everything that is known about the authority of one user's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    user: UserKey,
    #[serde(with = "stored::list")]
    delegations: Vec<Signed<Delegation>>,
    grants: Vec<Grant>,
    #[serde(with = "stored::list")]
    revocations: Vec<Signed<Revocation>>,
    checked: Vec<Checked>,
    /// The delegations and grants that books were taken under: whatever comes later, they stay as evidence.
    #[serde(default)]
    relied: Vec<RecordHash>,
}

/// Whose word an authority is, in the order of precedence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The root itself.
    Root,
    /// A delegation.
    Delegation(Box<Delegation>),
    /// A grant, issued at this Unix second.
    Grant {
        /// Issued at, Unix seconds.
        iat: u64,
    },
}

impl Authority {
    /// For choosing between two books of one epoch: the root first, then the later serial or time of issue.
    #[must_use]
    pub fn rank(&self) -> (bool, u64) {
        match self {
            Self::Root => (true, 0),
            Self::Delegation(delegation) => (false, delegation.serial.get()),
            Self::Grant { iat } => (false, *iat),
        }
    }

    /// The highest cap that a book under this authority may name in `unit`; `None` if the authority sets no bound.
    #[must_use]
    pub fn cap_bound(&self, unit: &Unit) -> Option<Total> {
        match self {
            Self::Root | Self::Grant { .. } => None,
            Self::Delegation(delegation) => Some(
                delegation
                    .limit_for(unit)
                    .map_or(Total::ZERO, |limit| limit.per_peer),
            ),
        }
    }
}

impl Credentials {
    /// Nothing known yet about the keys of `user`: only the root may sign.
    #[must_use]
    pub fn new(user: UserKey) -> Self {
        Self {
            user,
            delegations: Vec::new(),
            grants: Vec::new(),
            revocations: Vec::new(),
            checked: Vec::new(),
            relied: Vec::new(),
        }
    }

    /// Whose keys these are.
    #[must_use]
    pub fn user(&self) -> UserKey {
        self.user
    }

    /// Takes a delegation, a grant or a revocation, after checking that it is this user's and rightly signed. Returns whether
    /// it was new.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn learn(&mut self, jws: &str, now: Timestamp) -> Result<bool, LedgerError> {
        match jws_kind(jws) {
            Kind::Grant => self.learn_grant(Grant::decode(jws)?),
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

    fn delegations_of(&self, key: SignerKey) -> impl Iterator<Item = &Signed<Delegation>> {
        self.delegations
            .iter()
            .filter(move |known| known.record().key == key)
    }

    /// The delegation of `key` that is in force: the one with the latest serial.
    fn delegation_of(&self, key: SignerKey) -> Option<&Signed<Delegation>> {
        self.delegations_of(key).max_by_key(|d| d.record().serial)
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

    fn is_revoked(&self, key: SignerKey) -> bool {
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

    fn judge_delegation(
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

    fn judge_grant(
        &self,
        grant: &Grant,
        key: SignerKey,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Authority, LedgerError> {
        let path = match purpose {
            Purpose::Book(_) | Purpose::Report => book_path(&key),
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
        })
    }

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

/// What keeps a delegation from serving this purpose, at whatever time.
fn uncovered(delegation: &Delegation, purpose: Purpose) -> Option<&'static str> {
    let scoped = delegation.scopes.contains(&Scope::Book);
    match (purpose, &delegation.peers) {
        (Purpose::Profile, _) => Some("a delegation does not cover the profile"),
        (Purpose::Revoke(_), _) => Some("a delegation does not cover revocations"),
        (Purpose::Book(_) | Purpose::Report, _) if !scoped => {
            Some("its delegation does not let it keep books")
        }
        (Purpose::Book(peer), Some(peers)) if !peers.contains(&peer) => {
            Some("its delegation does not cover this peer")
        }
        (Purpose::Book(_) | Purpose::Report, _) => None,
    }
}

/// Drops the first one that `goes` of those that `count`, if there are `max` of them.
fn make_room<T>(
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

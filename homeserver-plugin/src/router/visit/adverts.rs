//! Advertisements: read, checked, kept, and taken out again.

use std::collections::{BTreeSet, HashMap};

use atomicity_ledger::authority::Purpose;
use atomicity_ledger::record::{Advert, advert_path};
use atomicity_ledger::{MAX_RECORD_BYTES, Signed, Timestamp, UserKey};

use super::{Broken, Visitor, now, store, text};
use crate::clock;
use crate::resolve::Fetched;
use crate::router::crawl;
use crate::router::frontier::FRESH_HOME_MS;
use crate::router::store::adverts::{Held, New};

/// Where advertisements lie.
const ROUTES: &str = "/pub/atomicity/v0/routes/";
/// However long one is meant to last, it counts no longer than this unless it is seen again, in milliseconds: 30 days.
pub(super) const MAX_LIFE_MS: i64 = 30 * 86_400_000;
/// From then on before that end it is read anew, in milliseconds.
pub(super) const RENEW_MS: i64 = 10 * 86_400_000;
/// How often in a row a file must not have been there before it counts as deleted.
pub(super) const MISSING_TIMES: i16 = 2;

impl Visitor<'_> {
    /// The peers about whom there is a file, and those about whom something is held.
    pub(super) async fn listed_adverts(&mut self) -> Result<Vec<UserKey>, Broken> {
        let most = self.router.config.adverts_per_user;
        let listed = self.list(ROUTES, most).await?;
        let held = store::adverts::of_user(&self.state.pool, &self.user).await?;
        let counted = held.iter().filter(|advert| !advert.withdrawn);
        let all: BTreeSet<UserKey> = listed
            .into_iter()
            .chain(counted.map(|advert| advert.peer))
            .collect();
        // Those for whom there was no room before.
        self.suggest(all.iter().copied());
        Ok(all.into_iter().collect())
    }

    /// Reads the advertisements about these peers.
    pub(super) async fn read_adverts(
        &mut self,
        peers: &[UserKey],
        deleted: &BTreeSet<UserKey>,
    ) -> Result<(), Broken> {
        let held = store::adverts::of_user(&self.state.pool, &self.user).await?;
        let mut count = held.iter().filter(|advert| !advert.withdrawn).count();
        let held: HashMap<UserKey, Held> = held.into_iter().map(|one| (one.peer, one)).collect();
        let mut room = self.router.frontier().room_for_adverts(&self.home);
        for peer in peers {
            if *peer == self.user {
                continue;
            }
            let known = held.get(peer);
            let counts = known.is_some_and(|known| !known.withdrawn);
            if !counts && count >= self.router.config.adverts_per_user {
                self.router.metrics.refused("adverts_per_user");
                continue;
            }
            if !counts && room == 0 {
                self.router.metrics.refused("adverts_per_homeserver");
                continue;
            }
            let said_deleted = deleted.contains(peer);
            let taken = self.read_advert(peer, known, said_deleted).await?;
            if taken && !counts {
                count = count.saturating_add(1);
                room = room.saturating_sub(1);
            }
        }
        Ok(())
    }

    /// Reads one; whether something new is held now.
    async fn read_advert(
        &mut self,
        peer: &UserKey,
        known: Option<&Held>,
        said_deleted: bool,
    ) -> Result<bool, Broken> {
        let now_ms = clock::now_ms();
        // One that is about to end for us is read anew, whether it changed or not.
        let is_young = |held: &&Held| held.expires.saturating_sub(now_ms) > RENEW_MS;
        let etag = known
            .filter(is_young)
            .filter(|held| !held.withdrawn)
            .and_then(|held| held.etag.clone());
        let found = self
            .get(&advert_path(peer), etag.as_deref(), MAX_RECORD_BYTES)
            .await?;
        match found {
            Fetched::Found { body, etag } => self.take(peer, known, &body, etag).await,
            Fetched::NotModified => {
                store::adverts::present(&self.state.pool, &self.user, peer).await?;
                Ok(false)
            }
            Fetched::NotFound => {
                if known.is_some_and(|known| !known.withdrawn) {
                    self.not_there(peer, said_deleted).await?;
                }
                Ok(false)
            }
        }
    }

    /// Checks an advertisement and keeps it.
    async fn take(
        &mut self,
        peer: &UserKey,
        known: Option<&Held>,
        body: &[u8],
        etag: Option<String>,
    ) -> Result<bool, Broken> {
        let Some(signed) = text(body).and_then(|text| Signed::<Advert>::decode(text).ok()) else {
            self.refuse("advert_malformed");
            return Ok(false);
        };
        let advert = signed.record();
        if advert.from != self.user || advert.to != *peer {
            self.refuse("advert_misplaced");
            return Ok(false);
        }
        if known.is_some_and(|known| known.serial > advert.serial.get()) {
            return Ok(false); // an old file, served again
        }
        if advert.expires <= now() {
            self.router.metrics.refused("advert_expired");
            return Ok(false);
        }
        let until = match self.judge(signed.kid(), Purpose::Book(*peer)).await? {
            Ok(until) => until,
            Err(error) => {
                self.refuse(error.code());
                if known.is_some_and(|known| known.signer == signed.kid()) {
                    self.withdraw(peer).await?;
                }
                return Ok(false);
            }
        };
        self.keep(&signed, until, etag).await
    }

    async fn keep(
        &mut self,
        signed: &Signed<Advert>,
        until: u64,
        etag: Option<String>,
    ) -> Result<bool, Broken> {
        let now_ms = clock::now_ms();
        let advert = signed.record();
        let ends = i64::try_from(advert.expires.millis().min(until)).unwrap_or(i64::MAX);
        let expires = ends.min(now_ms.saturating_add(MAX_LIFE_MS));
        let new = New {
            owner: &self.user,
            peer: &advert.to,
            serial: advert.serial.get(),
            signer: &signed.kid(),
            expires,
            jws: signed.jws(),
            etag: etag.as_deref(),
        };
        let pool = &self.state.pool;
        let before = store::adverts::text(pool, &self.user, &advert.to).await?;
        let before = before.and_then(|text| Signed::<Advert>::decode(&text).ok());
        if !store::adverts::put(pool, &new, now_ms).await? {
            self.refuse("advert_conflicts");
            return Ok(false);
        }
        let expires = u64::try_from(expires).unwrap_or(0);
        self.router.map.put(
            advert,
            before.as_ref().map(Signed::record),
            Timestamp::saturating_from_millis(expires),
            self.router.config.units_per_advert,
        );
        self.router.heard(now_ms);
        self.suggest(std::iter::once(advert.to));
        Ok(true)
    }

    /// Whether the homeserver that is being asked is the user's now: a file that was there counts as deleted only then, and if the
    /// homeserver says so more than once or announced it.
    pub(super) async fn is_at_home(&mut self) -> Result<bool, Broken> {
        let now_ms = clock::now_ms();
        if now_ms.saturating_sub(self.home_at) > FRESH_HOME_MS {
            let home = match crawl::settle(self.state, self.router, self.user).await {
                Ok(home) => home,
                Err(error @ crate::error::PluginError::Database(_)) => return Err(error.into()),
                Err(_) => None,
            };
            if home != Some(self.home) {
                // They moved, or nobody knows: no news.
                return Ok(false);
            }
            self.home_at = now_ms;
        }
        Ok(true)
    }

    async fn not_there(&mut self, peer: &UserKey, said_deleted: bool) -> Result<(), Broken> {
        if !self.is_at_home().await? {
            return Ok(());
        }
        let times = store::adverts::missing(&self.state.pool, &self.user, peer).await?;
        if said_deleted || times >= MISSING_TIMES {
            self.withdraw(peer).await?;
        } else {
            self.doubtful.insert(*peer);
        }
        Ok(())
    }

    /// An advertisement counts no more.
    pub(super) async fn withdraw(&mut self, peer: &UserKey) -> Result<(), Broken> {
        let pool = &self.state.pool;
        let text = store::adverts::text(pool, &self.user, peer).await?;
        store::adverts::withdraw(pool, &self.user, peer).await?;
        if let Some(signed) = text.and_then(|text| Signed::<Advert>::decode(&text).ok()) {
            self.router.map.withdraw(signed.record());
        }
        Ok(())
    }
}

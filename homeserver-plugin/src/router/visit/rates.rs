//! Rates: what the user exchanges, read, checked, kept, and taken out again, as advertisements are.

use atomicity_ledger::authority::Purpose;
use atomicity_ledger::record::{RATES_PATH, Rates};
use atomicity_ledger::{MAX_RECORD_BYTES, Signed, Timestamp};

use super::adverts::{MAX_LIFE_MS, MISSING_TIMES, RENEW_MS};
use super::{Broken, Visitor, now, store, text};
use crate::clock;
use crate::resolve::Fetched;
use crate::router::store::rates::{Held, New};

impl Visitor<'_> {
    /// Reads the rates.
    pub(super) async fn read_rates(&mut self, said_deleted: bool) -> Result<(), Broken> {
        let known = store::rates::of_user(&self.state.pool, &self.user).await?;
        let now_ms = clock::now_ms();
        let is_young = |held: &&Held| held.expires.saturating_sub(now_ms) > RENEW_MS;
        let etag = known
            .as_ref()
            .filter(|held| !held.withdrawn)
            .filter(is_young)
            .and_then(|held| held.etag.clone());
        let found = self
            .get(RATES_PATH, etag.as_deref(), MAX_RECORD_BYTES)
            .await?;
        match found {
            Fetched::Found { body, etag } => self.take_rates(known.as_ref(), &body, etag).await,
            Fetched::NotModified => Ok(store::rates::present(&self.state.pool, &self.user).await?),
            Fetched::NotFound if known.is_some_and(|held| !held.withdrawn) => {
                self.rates_not_there(said_deleted).await
            }
            Fetched::NotFound => Ok(()),
        }
    }

    async fn take_rates(
        &mut self,
        known: Option<&Held>,
        body: &[u8],
        etag: Option<String>,
    ) -> Result<(), Broken> {
        let Some(signed) = text(body).and_then(|text| Signed::<Rates>::decode(text).ok()) else {
            self.refuse("rates_malformed");
            return Ok(());
        };
        let rates = signed.record();
        if rates.from != self.user {
            self.refuse("rates_misplaced");
            return Ok(());
        }
        if known.is_some_and(|known| known.serial > rates.serial.get()) {
            return Ok(()); // an old file, served again
        }
        if rates.expires <= now() {
            self.router.metrics.refused("rates_expired");
            return Ok(());
        }
        let until = match self.judge(signed.kid(), Purpose::Report).await? {
            Ok(until) => until,
            Err(error) => {
                self.refuse(error.code());
                if known.is_some_and(|known| known.signer == signed.kid()) {
                    self.withdraw_rates().await?;
                }
                return Ok(());
            }
        };
        self.keep_rates(&signed, until, etag).await
    }

    async fn keep_rates(
        &mut self,
        signed: &Signed<Rates>,
        until: u64,
        etag: Option<String>,
    ) -> Result<(), Broken> {
        let now_ms = clock::now_ms();
        let rates = signed.record();
        let ends = i64::try_from(rates.expires.millis().min(until)).unwrap_or(i64::MAX);
        let expires = ends.min(now_ms.saturating_add(MAX_LIFE_MS));
        let new = New {
            owner: &self.user,
            serial: rates.serial.get(),
            signer: &signed.kid(),
            expires,
            jws: signed.jws(),
            etag: etag.as_deref(),
        };
        if !store::rates::put(&self.state.pool, &new, now_ms).await? {
            self.refuse("rates_conflict");
            return Ok(());
        }
        let expires = Timestamp::saturating_from_millis(u64::try_from(expires).unwrap_or(0));
        self.router.map.put_rates(rates, expires);
        self.router.heard(now_ms);
        Ok(())
    }

    /// What was there is not there: see [`Visitor::is_at_home`].
    async fn rates_not_there(&mut self, said_deleted: bool) -> Result<(), Broken> {
        if !self.is_at_home().await? {
            return Ok(());
        }
        let times = store::rates::missing(&self.state.pool, &self.user).await?;
        if said_deleted || times >= MISSING_TIMES {
            self.withdraw_rates().await?;
        } else {
            self.rates_doubtful = true;
        }
        Ok(())
    }

    /// They count no more.
    pub(super) async fn withdraw_rates(&mut self) -> Result<(), Broken> {
        store::rates::withdraw(&self.state.pool, &self.user).await?;
        self.router.map.withdraw_rates(&self.user);
        Ok(())
    }
}

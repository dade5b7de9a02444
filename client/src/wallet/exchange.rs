//! Exchanging units for others as their payments pass: at which rates, and what is published about that.

use std::time::Duration;

use atomicity_ledger::authority::{Credentials, Purpose};
use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{RATES_PATH, Rate, Rates};
use atomicity_ledger::{LedgerError, MAX_RECORD_BYTES, Serial, Signed, Timestamp, Unit, UserKey};
use sqlx::SqliteConnection;

use super::{Fault, Wallet, now, profile};
use crate::error::ClientError;
use crate::net::{NetError, Target};
use crate::store::pairs::agent;
use crate::store::{publications, settings};

/// How long rates stand; every change renews all of them.
pub const RATES_STAND: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The rates of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RatesView {
    /// The rates, by what is taken and what is given.
    pub rates: Vec<Rate>,
    /// Until when, Unix milliseconds.
    pub expires: u64,
    /// Why they could not be published yet. They will be with the next `sync`.
    pub fault: Option<Fault>,
}

/// The rates of this user, newest record, in force or not.
pub(super) async fn own(conn: &mut SqliteConnection) -> Result<Option<Rates>, ClientError> {
    let Some(jws) = settings::get(conn, settings::EXCHANGE).await? else {
        return Ok(None);
    };
    let signed = Signed::<Rates>::decode(&jws).map_err(|error| ClientError::StoreCorrupt {
        what: "the rates",
        why: error.to_string(),
    })?;
    Ok(Some(signed.record().clone()))
}

/// The rates at which this user exchanges at that time.
pub(crate) async fn in_force(
    conn: &mut SqliteConnection,
    at: Timestamp,
) -> Result<Vec<Rate>, ClientError> {
    let rates = own(conn).await?.filter(|rates| at < rates.expires);
    Ok(rates.map_or_else(Vec::new, |rates| rates.rates))
}

impl Wallet {
    /// Exchanges at this rate from now on, in place of another one between the same units, and publishes that. Payments are only
    /// exchanged on their way to friends to whom they are passed on in the unit that is given.
    ///
    /// # Errors
    /// [`ClientError::UnitNotOpen`]; [`ClientError::Ledger`] if the rate breaks a rule of the record; as [`Wallet::flush`].
    pub async fn offer_exchange(&self, rate: Rate) -> Result<RatesView, ClientError> {
        let open = self.identity().await?.units;
        for unit in [&rate.take, &rate.give] {
            if !open.contains(unit) {
                return Err(ClientError::UnitNotOpen(unit.clone()));
            }
        }
        self.change_rates(|rates| {
            rates.retain(|held| (&held.take, &held.give) != (&rate.take, &rate.give));
            rates.push(rate);
            rates.sort_by(|a, b| (&a.take, &a.give).cmp(&(&b.take, &b.give)));
            Ok(())
        })
        .await
    }

    /// Does not exchange `take` for `give` any more. What is promised already goes on.
    ///
    /// # Errors
    /// [`ClientError::Usage`] if that was not offered; as [`Wallet::flush`].
    pub async fn remove_exchange(
        &self,
        take: &Unit,
        give: &Unit,
    ) -> Result<RatesView, ClientError> {
        self.change_rates(|rates| {
            let before = rates.len();
            rates.retain(|held| (&held.take, &held.give) != (take, give));
            if rates.len() == before {
                return Err(ClientError::Usage(format!(
                    "you don't give {give} for {take}"
                )));
            }
            Ok(())
        })
        .await
    }

    /// The rates of this user.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn exchange_rates(&self) -> Result<RatesView, ClientError> {
        let rates = own(&mut *self.store().read().await?).await?;
        Ok(RatesView {
            expires: rates.as_ref().map_or(0, |rates| rates.expires.millis()),
            rates: rates.map_or_else(Vec::new, |rates| rates.rates),
            fault: None,
        })
    }

    async fn change_rates(
        &self,
        change: impl FnOnce(&mut Vec<Rate>) -> Result<(), ClientError>,
    ) -> Result<RatesView, ClientError> {
        self.ensure_may_sign().await?;
        let pen = self.keys().await?.pen;
        let mut tx = self.store().write().await?;
        let at = now();
        let before = own(tx.conn()).await?;
        let serial = before
            .as_ref()
            .map_or(0, |rates| rates.serial.get().saturating_add(1));
        let mut rates = before.map_or_else(Vec::new, |rates| rates.rates);
        change(&mut rates)?;
        let stand = u64::try_from(RATES_STAND.as_millis()).unwrap_or(u64::MAX);
        let record = Rates {
            v: Version,
            from: self.user(),
            serial: Serial::new(serial.max(at.millis()))?,
            rates,
            expires: at.plus_millis(stand),
            at,
        };
        let signed = Signed::sign(record, &pen)?;
        settings::set(tx.conn(), settings::EXCHANGE, signed.jws()).await?;
        let body = Some(signed.jws().as_bytes());
        publications::put(tx.conn(), RATES_PATH, body, at.millis()).await?;
        agent::set_stale(tx.conn(), true).await?;
        tx.commit().await?;
        // The agent first: nothing is offered that it would refuse. If it can't be reached, it is told with the next `sync`.
        let untold = self.tend_agent().await?.failed;
        Ok(RatesView {
            rates: signed.record().rates.clone(),
            expires: signed.record().expires.millis(),
            fault: match (self.flush().await?.fault, untold) {
                (None, Some(error)) => Some(Fault::from(&error)),
                (fault, _) => fault,
            },
        })
    }

    /// What another user publishes, its signature and the key's authority checked; `None` if they exchange nothing.
    ///
    /// # Errors
    /// Network errors; [`ClientError::Ledger`] for what is not signed as it must be.
    pub async fn rates_of(&self, user: &UserKey) -> Result<Option<RatesView>, ClientError> {
        let rates = self.published_rates(user).await?;
        let rates = rates.filter(|rates| now() < rates.expires);
        Ok(rates.map(|rates| RatesView {
            expires: rates.expires.millis(),
            rates: rates.rates,
            fault: None,
        }))
    }

    /// At which rate `user` gives `units.1` for `units.0`: by what they publish, or by what somebody else shows of theirs, if that is
    /// newer or they can't be reached.
    pub(super) async fn rate_of(
        &self,
        user: &UserKey,
        units: (&Unit, &Unit),
        shown: Option<&str>,
    ) -> Result<Option<Rate>, ClientError> {
        let shown = match shown {
            Some(text) if text.len() <= MAX_RECORD_BYTES => self.judge_rates(user, text).await,
            _ => Ok(None),
        };
        let published = self.published_rates(user).await;
        let newest = match (published, shown) {
            (Ok(published), shown) => {
                let shown = shown.unwrap_or_default();
                published.into_iter().chain(shown).max_by_key(|r| r.serial)
            }
            (Err(error @ ClientError::Store(_)), _) => return Err(error),
            (Err(_), Ok(Some(shown))) => Some(shown),
            (Err(error), _) => return Err(error),
        };
        let found = newest.filter(|rates| now() < rates.expires);
        let fits = |rate: &Rate| (&rate.take, &rate.give) == units;
        Ok(found.and_then(|rates| rates.rates.into_iter().find(fits)))
    }

    async fn published_rates(&self, user: &UserKey) -> Result<Option<Rates>, ClientError> {
        let target = Target::new(*user, RATES_PATH.to_owned()).at_most(profile::MAX_BYTES);
        let text = match self.net().fetch(&target).await {
            Ok(fetched) => fetched.body.bytes().map(profile::text).transpose()?,
            Err(NetError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        match text {
            Some(text) => self.judge_rates(user, &text).await,
            None => Ok(None),
        }
    }

    async fn judge_rates(&self, user: &UserKey, text: &str) -> Result<Option<Rates>, ClientError> {
        let signed: Signed<Rates> = Signed::decode(text)?;
        let at = now();
        if signed.record().from != *user {
            return Err(LedgerError::ForeignChannel.into());
        }
        let mut credentials = Credentials::new(*user);
        if !signed.kid().is_root_of(user)
            && let Some(text) = self.fetch_authority(user, signed.kid()).await?
        {
            credentials.learn(&text, at)?;
        }
        credentials.judge(signed.kid(), Purpose::Report, at)?;
        Ok(Some(signed.record().clone()))
    }
}

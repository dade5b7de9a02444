//! What a debt is worth outside, by the sources of rates in the settings.

use std::sync::Arc;
use std::time::Duration;

use atomicity_ledger::record::{MILLISATOSHI_PLACES, Pays, Settlement, Target};
use atomicity_ledger::settle::Quote;
use atomicity_ledger::{Asset, Decimal, Money};
use atomicity_paykit_adapter::rates::{Fixed, RateError, RateSource, Url, UrlConfig};

use super::super::{Wallet, now};
use super::SettleFault;
use crate::config::RateConfig;
use crate::error::ClientError;

/// How long one question to a source may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// In how many decimal places is paid what is not bitcoin.
const PLACES: u8 = 2;
/// The same for bitcoin on the chain.
const SATOSHI_PLACES: u8 = 8;
const BITCOIN: &str = "BTC";

/// A source of rates, as it is shown.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RateView {
    /// What is priced, and in what: `BTC/USD`.
    pub pair: String,
    /// Where the price comes from: a host, or the settings.
    pub from: String,
    /// What one of the first costs in the second now, or why nobody knows: a code and words.
    pub price: Result<Decimal, (&'static str, String)>,
    /// How far others may be off it, in millionths.
    pub spread_ppm: u32,
    /// From which age on a price is too old, in milliseconds.
    pub max_age_ms: u64,
}

fn fault(error: &RateError) -> ClientError {
    SettleFault::Rate {
        code: error.code(),
        why: error.to_string(),
    }
    .into()
}

/// Opens a source as the settings describe it.
fn open(config: &RateConfig, testnet: bool) -> Result<Arc<dyn RateSource>, RateError> {
    let pair = config.pair.clone();
    Ok(match (&config.url, config.price) {
        (Some(url), _) => Arc::new(Url::new(UrlConfig {
            pair,
            url: url.clone(),
            pointer: config.pointer.clone(),
            time: config.time.clone(),
            terms: config.terms,
            reuse_ms: config.reuse_ms,
            timeout: TIMEOUT,
            allow_loopback: testnet,
        })?),
        (None, Some(price)) => Arc::new(Fixed::new(pair, price, None, config.terms)?),
        (None, None) => {
            let why = "it has neither a url nor a price".to_owned();
            return Err(RateError::ConfigInvalid(why));
        }
    })
}

impl Wallet {
    /// One for the whole process: it knows what it was told last.
    async fn rate_source(&self, config: &RateConfig) -> Result<Arc<dyn RateSource>, RateError> {
        let mut opened = self.inner.rates.lock().await;
        let pair = config.pair.to_string();
        if let Some(known) = opened.get(&pair) {
            return Ok(known.clone());
        }
        let source = open(config, self.config().network.testnet)?;
        opened.insert(pair, source.clone());
        Ok(source)
    }

    /// What `debt` is worth in `into`, by the first source in the settings that knows both.
    ///
    /// # Errors
    /// [`SettleFault::Rate`] with the code of the source if it has no price now, or `rate_pair_missing` if there is no source.
    pub async fn quote(
        &self,
        debt: &Money,
        into: &Asset,
        places: u8,
    ) -> Result<Quote, ClientError> {
        let from = Asset::of(&debt.unit);
        let knows = |config: &&RateConfig| {
            let pair = (config.pair.base(), config.pair.quote());
            pair == (&from, into) || pair == (into, &from)
        };
        let sources = &self.config().rates;
        let missing = || RateError::PairMissing {
            from: from.clone(),
            into: into.clone(),
        };
        let config = sources.iter().find(knows);
        let config = config.ok_or_else(|| fault(&missing()))?;
        let quoted = async {
            let source = self.rate_source(config).await?;
            let now = now();
            let rate = source.rate(now).await?;
            rate.quote(debt, into, places, source.terms(), now)
        };
        quoted.await.map_err(|error: RateError| fault(&error))
    }

    /// What a request's debt is worth in what it wants paid, by the user's own sources. Nothing if it wants what the unit counts.
    pub(super) async fn quote_for(&self, asked: &Settlement) -> Result<Option<Pays>, ClientError> {
        let pays = asked.payment()?;
        if pays.asset == Asset::of(&asked.unit) {
            return Ok(None);
        }
        let quote = self
            .quote(
                &debt(asked),
                &pays.asset,
                places(&asked.targets, &pays.asset),
            )
            .await?;
        Ok(Some(quote.pays))
    }

    /// The sources of rates in the settings, and what they say now.
    pub async fn rate_sources(&self) -> Vec<RateView> {
        let mut views = Vec::new();
        for config in &self.config().rates {
            let price = async {
                let source = self.rate_source(config).await?;
                let now = now();
                let rate = source.rate(now).await?;
                // One of what is priced.
                let unit = config.pair.base().as_str().parse();
                let one = Money {
                    amount: atomicity_ledger::Amount::from_minor(1)
                        .map_err(|_| RateError::OutOfRange)?,
                    unit: unit.map_err(|_| RateError::OutOfRange)?,
                };
                let quote = config.pair.quote();
                let quoted = rate.quote(&one, quote, MILLISATOSHI_PLACES, source.terms(), now)?;
                Ok(quoted.pays.amount)
            };
            let price: Result<Decimal, RateError> = price.await;
            let host = config.url.as_ref().and_then(|url| url.host_str());
            views.push(RateView {
                pair: config.pair.to_string(),
                from: host.unwrap_or("the settings").to_owned(),
                price: price.map_err(|error| (error.code(), error.to_string())),
                spread_ppm: config.terms.spread_ppm,
                max_age_ms: config.terms.max_age_ms,
            });
        }
        views
    }
}

/// What a request is about, as money.
pub(super) fn debt(asked: &Settlement) -> Money {
    Money {
        amount: asked.amount,
        unit: asked.unit.clone(),
    }
}

/// In how many places something is paid at these targets.
pub(super) fn places(targets: &[Target], asset: &Asset) -> u8 {
    match asset.as_str() {
        BITCOIN if targets.iter().any(Target::is_invoice) => MILLISATOSHI_PLACES,
        BITCOIN => SATOSHI_PLACES,
        _ => PLACES,
    }
}

/// The same before there is a request: nothing but an invoice is paid in parts of a satoshi.
pub(super) fn places_of(asset: &Asset) -> u8 {
    if asset.as_str() == BITCOIN {
        SATOSHI_PLACES
    } else {
        PLACES
    }
}

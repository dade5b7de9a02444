//! Prices from a web address: one JSON answer, one number in it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atomicity_ledger::Timestamp;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::header::{ACCEPT, AGE, HeaderMap};
use rustls_platform_verifier::BuilderVerifierExt as _;

use super::json::Pointer;
use super::{Pair, Rate, RateError, RateSource, Terms};
use crate::rail::{is_loopback, with_causes};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 256 * 1024;
/// An age that makes every price too old.
const VERY_OLD_S: u64 = 1 << 40;

/// Where prices are had, and how they are read.
#[derive(Clone, Debug)]
pub struct UrlConfig {
    /// Of what in what: one of the base costs the number in the answer.
    pub pair: Pair,
    /// `https://…`, or `http://` on this machine if `allow_loopback`.
    pub url: reqwest::Url,
    /// Where the number stands, as a JSON pointer: `/data/0/price`. It may be a number or text.
    pub pointer: String,
    /// Where the answer says of when the price is, if it does. Otherwise it is of when it was asked for.
    pub time: Option<TimeAt>,
    /// How old a price may be, and how far the other side may be off.
    pub terms: Terms,
    /// How long an answer is used before the source is asked again, in milliseconds. Never for longer than the price may be old.
    pub reuse_ms: u64,
    /// How long one question may take.
    pub timeout: Duration,
    /// Whether plain HTTP to a loopback address is allowed.
    pub allow_loopback: bool,
}

/// Where an answer says of when its price is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeAt {
    /// Where, as a JSON pointer.
    pub pointer: String,
    /// In what.
    pub unit: TimeUnit,
}

/// How Unix time is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// In seconds; parts of a second are cut off.
    Seconds,
    /// In milliseconds.
    Milliseconds,
}

impl TimeUnit {
    fn places(self) -> usize {
        match self {
            Self::Seconds => 3,
            Self::Milliseconds => 0,
        }
    }
}

/// A source of prices at a web address. Every price is asked for, unless the last answer is fresh enough; a failure is never covered up
/// with an older price.
pub struct Url {
    http: reqwest::Client,
    url: reqwest::Url,
    pair: Pair,
    pointer: Pointer,
    time: Option<(Pointer, TimeUnit)>,
    terms: Terms,
    reuse_ms: u64,
    timeout: Duration,
    last: Mutex<Option<Last>>,
}

struct Last {
    asked_at: Timestamp,
    rate: Rate,
}

impl Url {
    /// Reads the settings. Nobody is asked yet.
    ///
    /// # Errors
    /// [`RateError::ConfigInvalid`].
    pub fn new(config: UrlConfig) -> Result<Self, RateError> {
        let invalid = |why: &str| RateError::ConfigInvalid(why.to_owned());
        let loopback = config.allow_loopback && is_loopback(&config.url);
        if config.url.scheme() != "https" && !(config.url.scheme() == "http" && loopback) {
            return Err(invalid("its address must begin with https://"));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_platform_verifier())
            .map_err(|why| RateError::ConfigInvalid(with_causes(&why)))?
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .user_agent(concat!("atomicity/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(config.timeout)
            .build()
            .map_err(|why| RateError::ConfigInvalid(with_causes(&why)))?;
        let time = config.time.map(|at| {
            let pointer = Pointer::parse(&at.pointer)?;
            Ok::<_, RateError>((pointer, at.unit))
        });
        Ok(Self {
            http,
            url: config.url,
            pair: config.pair,
            pointer: Pointer::parse(&config.pointer)?,
            time: time.transpose()?,
            terms: config.terms,
            reuse_ms: config.reuse_ms.min(config.terms.max_age_ms),
            timeout: config.timeout,
            last: Mutex::new(None),
        })
    }

    /// The last price, if it was asked for just now and may still be used.
    fn fresh(&self, now: Timestamp) -> Option<Rate> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last.as_ref()?;
        let since = now.millis_since(last.asked_at);
        let usable = last.rate.check_age(self.terms, now).is_ok();
        (now >= last.asked_at && since < self.reuse_ms && usable).then(|| last.rate.clone())
    }

    async fn ask(&self, now: Timestamp) -> Result<Rate, RateError> {
        if let Some(rate) = self.fresh(now) {
            return Ok(rate);
        }
        let (text, cached_for_s) = self.fetch().await?;
        let price = self.pointer.number(&text)?;
        let asked_at = Timestamp::saturating_from_millis(
            now.millis()
                .saturating_sub(cached_for_s.saturating_mul(1000)),
        );
        let as_of = match &self.time {
            Some((pointer, unit)) => asked_at.min(self.time_of(pointer, *unit, &text, now)?),
            None => asked_at,
        };
        let rate = Rate::new(self.pair.clone(), price, Some(as_of))?;
        rate.check_age(self.terms, now)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(Last {
            asked_at: now,
            rate: rate.clone(),
        });
        Ok(rate)
    }

    /// What the answer says of its age. A time that has not come yet is an error rather than *now*.
    fn time_of(
        &self,
        pointer: &Pointer,
        unit: TimeUnit,
        text: &str,
        now: Timestamp,
    ) -> Result<Timestamp, RateError> {
        let number = pointer.number(text)?.to_string();
        let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
        let places = unit.places();
        let fraction: String = fraction.chars().chain("000".chars()).take(places).collect();
        let millis = format!("{whole}{fraction}").parse();
        let millis = millis.map_err(|_| RateError::AnswerMalformed("its time is out of range"))?;
        let time = Timestamp::saturating_from_millis(millis);
        if time.millis_since(now) > super::MAX_AHEAD_MS {
            return Err(RateError::Ahead);
        }
        Ok(time)
    }

    /// The answer, and for how many seconds it lay in caches on the way.
    async fn fetch(&self) -> Result<(String, u64), RateError> {
        let request = self.http.get(self.url.clone());
        let request = request.header(ACCEPT, "application/json");
        let mut response = request
            .send()
            .await
            .map_err(|why| self.failed(why, false))?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(RateError::SourceFailed(status));
        }
        let age = age(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|why| self.failed(why, true))?
        {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(RateError::TooLarge { limit: MAX_ANSWER });
            }
            body.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(body);
        let text = text.map_err(|_| RateError::AnswerMalformed("it is not UTF-8"))?;
        Ok((text, age))
    }

    fn failed(&self, why: reqwest::Error, begun: bool) -> RateError {
        if why.is_timeout() {
            return RateError::Timeout(self.timeout);
        }
        // The address may hold a key.
        let words = with_causes(&why.without_url());
        if begun {
            RateError::AnswerBroken(words)
        } else {
            RateError::Unreachable(words)
        }
    }
}

/// How long an answer lay in caches, in seconds; an age that can't be read is a great one.
fn age(headers: &HeaderMap) -> u64 {
    let Some(age) = headers.get(AGE) else {
        return 0;
    };
    let text = age.to_str().ok().filter(|text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit());
        plain && !text.is_empty()
    });
    let seconds: Option<u64> = text.and_then(|text| text.parse().ok());
    seconds.unwrap_or(VERY_OLD_S).min(VERY_OLD_S)
}

impl RateSource for Url {
    fn pair(&self) -> &Pair {
        &self.pair
    }

    fn terms(&self) -> Terms {
        self.terms
    }

    fn rate(&self, now: Timestamp) -> BoxFuture<'_, Result<Rate, RateError>> {
        self.ask(now).boxed()
    }
}

/// The address may hold a key: only its host is shown.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Url")
            .field("host", &self.url.host_str())
            .field("pair", &self.pair)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;

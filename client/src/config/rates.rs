//! Sources of rates, as `config.toml` names them.

use atomicity_ledger::{Asset, Decimal};
use atomicity_paykit_adapter::rates::{Pair, Terms, TimeAt, TimeUnit};
use serde::Deserialize;
use url::Url;

use super::ConfigError;

/// How old a price may be, in seconds, if nothing else is said.
const MAX_AGE_S: u64 = 300;
/// How far others may be off a price, in hundredths of a percent, if nothing else is said.
const SPREAD_BP: u32 = 100;
/// How long an answer is used again, in seconds, if nothing else is said.
const REUSE_S: u64 = 30;

/// A source of rates: what one of `pair`'s base costs in the other.
#[derive(Clone, Debug)]
pub struct RateConfig {
    /// Of what in what.
    pub pair: Pair,
    /// The price, if it is fixed.
    pub price: Option<Decimal>,
    /// Where it is asked for, else.
    pub url: Option<Url>,
    /// Where in the answer it stands, as a JSON pointer.
    pub pointer: String,
    /// Where the answer says of when it is, if it does.
    pub time: Option<TimeAt>,
    /// How old it may be, and how far others may be off.
    pub terms: Terms,
    /// How long an answer is used again, in milliseconds.
    pub reuse_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRate {
    base: String,
    quote: String,
    price: Option<String>,
    url: Option<String>,
    pointer: Option<String>,
    time_pointer: Option<String>,
    time_unit: Option<String>,
    max_age_s: Option<u64>,
    spread_bp: Option<u32>,
    reuse_s: Option<u64>,
}

pub(super) fn rates_of(file: Vec<FileRate>, place: &str) -> Result<Vec<RateConfig>, ConfigError> {
    let invalid = |reason: String| ConfigError::Invalid {
        place: place.to_owned(),
        reason,
    };
    let mut rates: Vec<RateConfig> = Vec::new();
    for rate in file {
        let name = format!("rates, {}/{}", rate.base, rate.quote);
        let rate = read(rate).map_err(|why| invalid(format!("{name}: {why}")))?;
        let (base, quote) = (rate.pair.base(), rate.pair.quote());
        let same = |known: &RateConfig| {
            let known = (known.pair.base(), known.pair.quote());
            known == (base, quote) || known == (quote, base)
        };
        if rates.iter().any(same) {
            return Err(invalid(format!("{name}: there are two sources of it")));
        }
        rates.push(rate);
    }
    Ok(rates)
}

fn read(file: FileRate) -> Result<RateConfig, String> {
    let asset = |text: &str| text.parse::<Asset>().map_err(|why| why.to_string());
    let pair = Pair::new(asset(&file.base)?, asset(&file.quote)?).map_err(|why| why.to_string())?;
    let price = file.price.as_deref().map(Decimal::read).transpose();
    let price = price.map_err(|why| why.to_string())?;
    let url = file.url.as_deref().map(str::parse::<Url>).transpose();
    let url = url.map_err(|why| format!("url: {why}"))?;
    if price.is_some() == url.is_some() {
        return Err("it needs either a price or a url".to_owned());
    }
    let time = match (file.time_pointer, file.time_unit.as_deref()) {
        (None, None) => None,
        (Some(pointer), Some("s")) => Some((pointer, TimeUnit::Seconds)),
        (Some(pointer), Some("ms")) => Some((pointer, TimeUnit::Milliseconds)),
        _ => return Err("time_pointer goes with a time_unit, \"s\" or \"ms\"".to_owned()),
    };
    let spread_bp = file.spread_bp.unwrap_or(SPREAD_BP);
    let max_age_s = file.max_age_s.unwrap_or(MAX_AGE_S);
    if spread_bp > 10_000 || max_age_s == 0 {
        return Err("spread_bp is at most 10000, and max_age_s above 0".to_owned());
    }
    Ok(RateConfig {
        pair,
        price,
        url,
        pointer: file.pointer.unwrap_or_default(),
        time: time.map(|(pointer, unit)| TimeAt { pointer, unit }),
        terms: Terms {
            max_age_ms: max_age_s.saturating_mul(1000),
            spread_ppm: spread_bp * 100,
        },
        reuse_ms: file.reuse_s.unwrap_or(REUSE_S).saturating_mul(1000),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Deserialize)]
    struct Rates {
        rates: Vec<FileRate>,
    }

    fn load(text: &str) -> Result<Vec<RateConfig>, ConfigError> {
        let read: Rates = toml::from_str(text).unwrap();
        rates_of(read.rates, "here")
    }

    #[test]
    fn a_source_has_a_price_or_an_address_and_there_is_one_for_a_pair() {
        let fixed = "[[rates]]\nbase = \"EUR\"\nquote = \"USD\"\nprice = \"1.08\"\n";
        let asked = "[[rates]]\nbase = \"BTC\"\nquote = \"USD\"\nurl = \"https://rates.example/btc\"\npointer = \"/price\"\nspread_bp = 50\n";
        let read = load(&format!("{fixed}{asked}")).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].terms.spread_ppm, 5_000);
        assert_eq!(read[0].terms.max_age_ms, 300_000);
        let turned = "[[rates]]\nbase = \"USD\"\nquote = \"EUR\"\nprice = \"0.92\"\n";
        let neither = "[[rates]]\nbase = \"EUR\"\nquote = \"USD\"\n";
        let itself = "[[rates]]\nbase = \"USD\"\nquote = \"USD\"\nprice = \"1\"\n";
        let wide = format!("{fixed}spread_bp = 10001\n");
        let timed = format!("{asked}time_pointer = \"/at\"\n");
        for bad in [&format!("{fixed}{turned}"), neither, itself, &wide, &timed] {
            assert_eq!(load(bad).unwrap_err().code(), "config_invalid", "{bad}");
        }
    }
}

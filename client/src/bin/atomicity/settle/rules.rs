//! `settle auto`, `settle auto-confirm`, `settle rates`: what goes without asking, and what is worth how much.

use atomicity_client::ClientError;
use atomicity_client::wallet::{ConfirmRule, OwnRate, RateView, SettleRule, Wallet};
use atomicity_ledger::UserKey;
use atomicity_paykit_adapter::rail::Msat;
use serde_json::{Value, json};

use super::bitcoins;
use crate::Context;
use crate::args::{SettleAuto, SettleAutoConfirm};
use crate::output::{minor_text, table};

/// What `--rate` says for the sources in the settings.
pub const BY_SOURCE: &str = "source";

async fn user(wallet: &Wallet, friend: Option<&String>) -> Result<Option<UserKey>, ClientError> {
    Ok(match friend {
        Some(friend) => Some(wallet.friend(friend).await?.user),
        None => None,
    })
}

async fn whose(wallet: &Wallet, user: Option<&UserKey>) -> Result<String, ClientError> {
    match user {
        Some(user) => wallet.name_of(user).await,
        None => Ok("everybody else".to_owned()),
    }
}

/// `settle auto`
pub async fn auto(
    context: &Context,
    wallet: &Wallet,
    args: &SettleAuto,
) -> Result<u8, ClientError> {
    let to = user(wallet, args.to.as_ref()).await?;
    if let Some(most) = &args.up_to {
        let money = wallet.parse_money(most).await?;
        let fixed = args.rate.as_deref().filter(|rate| *rate != BY_SOURCE);
        let rate = fixed.map(bitcoins).transpose()?;
        let unit = money.unit.clone();
        let mut rule = SettleRule::up_to(money, to, rate.map(Msat::get), args.spread * 100);
        rule.by_source = args.rate.as_deref() == Some(BY_SOURCE);
        if let Some(per_day) = &args.per_day {
            let per_day = wallet.parse_money(per_day).await?;
            if per_day.unit != unit {
                let why = "--per-day and --up-to must be of one unit".to_owned();
                return Err(ClientError::Usage(why));
            }
            rule.per_day = Some(per_day.amount.minor());
        }
        wallet.pay_by_itself(&rule).await?;
    } else if let Some(unit) = &args.off {
        let unit = wallet.parse_unit(unit).await?;
        if !wallet.ask_again(to.as_ref(), &unit).await? {
            return Err(ClientError::Usage(format!("nothing in {unit} is paid so")));
        }
    }
    let rules = wallet.settle_rules().await?;
    let mut rows = Vec::new();
    for rule in &rules {
        let rate = OwnRate {
            msat: rule.rate_msat,
            spread_ppm: rule.spread_ppm,
            by_source: rule.by_source,
        };
        let rate = rate_text(rate, rule.unit.code());
        let per_day = rule.per_day.map(|most| minor_text(&rule.unit, most));
        rows.push(vec![
            whose(wallet, rule.user.as_ref()).await?,
            minor_text(&rule.unit, rule.up_to),
            per_day.unwrap_or_else(|| "-".to_owned()),
            rate,
        ]);
    }
    let values: Vec<Value> = rules.iter().map(rule_value).collect();
    context.out.result(&json!({ "rules": values }), || {
        if rows.is_empty() {
            return "Nothing is paid without asking you.".to_owned();
        }
        table(&["for", "at most", "in a day", "rate"], &rows)
    });
    Ok(0)
}

/// A rate, in words.
pub fn rate_text(rate: OwnRate, code: &str) -> String {
    match rate.msat {
        Some(msat) => {
            let spread = f64::from(rate.spread_ppm) / 10_000.0;
            format!("{msat} msat for 1 {code}, within {spread} %")
        }
        None if rate.by_source => "as the sources in config.toml say".to_owned(),
        None => "one for one".to_owned(),
    }
}

fn rule_value(rule: &SettleRule) -> Value {
    json!({
        "user": rule.user,
        "unit": rule.unit,
        "up_to": rule.up_to.to_string(),
        "up_to_text": minor_text(&rule.unit, rule.up_to),
        "rate_msat": rule.rate_msat.map(|msat| msat.to_string()),
        "spread_ppm": rule.spread_ppm,
        "by_source": rule.by_source,
        "per_day": rule.per_day.map(|most| most.to_string()),
    })
}

/// `settle auto-confirm`
pub async fn confirm(
    context: &Context,
    wallet: &Wallet,
    args: &SettleAutoConfirm,
) -> Result<u8, ClientError> {
    let of = user(wallet, args.of.as_ref()).await?;
    if let Some(most) = &args.up_to {
        let money = wallet.parse_money(most).await?;
        let rule = ConfirmRule::up_to(money, of);
        wallet.confirm_by_itself(&rule).await?;
    } else if let Some(unit) = &args.off {
        let unit = wallet.parse_unit(unit).await?;
        if !wallet.confirm_by_hand_again(of.as_ref(), &unit).await? {
            return Err(ClientError::Usage(format!(
                "nobody's word is taken in {unit}"
            )));
        }
    }
    let rules = wallet.confirm_rules().await?;
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for rule in &rules {
        let most = minor_text(&rule.unit, rule.up_to);
        rows.push(vec![whose(wallet, rule.user.as_ref()).await?, most.clone()]);
        values.push(json!({
            "user": rule.user,
            "unit": rule.unit,
            "up_to": rule.up_to.to_string(),
            "up_to_text": most,
        }));
    }
    context.out.result(&json!({ "rules": values }), || {
        if rows.is_empty() {
            return "Nothing counts as paid before you say so.".to_owned();
        }
        table(&["the word of", "up to"], &rows)
    });
    Ok(0)
}

/// `settle rates`
pub async fn rates(context: &Context, wallet: &Wallet) -> Result<u8, ClientError> {
    let sources = wallet.rate_sources().await;
    let value = |source: &RateView| {
        let (price, code) = match &source.price {
            Ok(price) => (Some(price.to_string()), None),
            Err((code, _)) => (None, Some(*code)),
        };
        json!({
            "pair": source.pair,
            "from": source.from,
            "price": price,
            "code": code,
            "spread_ppm": source.spread_ppm,
            "max_age_ms": source.max_age_ms,
        })
    };
    let values: Vec<Value> = sources.iter().map(value).collect();
    context.out.result(&json!({ "rates": values }), || {
        if sources.is_empty() {
            return "config.toml names no source of rates.".to_owned();
        }
        let row = |source: &RateView| {
            let price = match &source.price {
                Ok(price) => price.to_string(),
                Err((_, why)) => format!("none: {why}"),
            };
            let spread = f64::from(source.spread_ppm) / 10_000.0;
            vec![
                source.pair.clone(),
                price,
                format!("{spread} %"),
                source.from.clone(),
            ]
        };
        let rows: Vec<Vec<String>> = sources.iter().map(row).collect();
        table(&["pair", "price", "within", "from"], &rows)
    });
    Ok(0)
}

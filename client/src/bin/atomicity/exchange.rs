//! `exchange …`, and paying with another unit than arrives.

use atomicity_client::ClientError;
use atomicity_client::wallet::{
    PayOptions, Payable, RatesView, Wallet, Way, WayExchange, parse_user,
};
use atomicity_ledger::amount::MAX_MINOR;
use atomicity_ledger::record::{Rate, coarse};
use atomicity_ledger::{Amount, Money, Unit};
use serde_json::{Value, json};

use crate::Context;
use crate::amounts::minor_in;
use crate::args::{ExchangeCommand, Pay};
use crate::output::{confirm, minor_text, print_line, table, time_text};

pub async fn run(context: &Context, command: ExchangeCommand) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let view = match command {
        ExchangeCommand::Offer { words, max } => {
            let rate = read_rate(&wallet, &words, &max).await?;
            wallet.offer_exchange(rate).await?
        }
        ExchangeCommand::Remove { give, take } => {
            let give = wallet.parse_unit(&give).await?;
            let take = wallet.parse_unit(&take).await?;
            wallet.remove_exchange(&take, &give).await?
        }
        ExchangeCommand::List { user: None } => wallet.exchange_rates().await?,
        ExchangeCommand::List { user: Some(text) } => {
            let user = match parse_user(&text) {
                Ok(user) => user,
                Err(_) => wallet.friend(&text).await?.user,
            };
            let found = wallet.rates_of(&user).await?;
            show(context, found.as_ref(), "They exchange nothing.");
            wallet.close().await;
            return Ok(0);
        }
    };
    if let Some(fault) = &view.fault {
        let why = format!(
            "not published yet: {}; `atomicity sync` tries again",
            fault.message
        );
        context.out.warn(&why);
    }
    let nothing = "You exchange nothing. Begin with: atomicity exchange offer 1 EUR/2 for 1.08 USD/2 --max 100";
    show(context, Some(&view), nothing);
    wallet.close().await;
    Ok(0)
}

/// `1 EUR/2 for 1.08 USD/2`: what is given, and what is taken for it.
async fn read_rate(wallet: &Wallet, words: &[String], max: &str) -> Result<Rate, ClientError> {
    let text = words.join(" ");
    let usage = || ClientError::Usage("write it like this: 1 EUR/2 for 1.08 USD/2".to_owned());
    let (give, take) = text.split_once(" for ").ok_or_else(usage)?;
    let give: Money = wallet.parse_money(give).await?;
    let take: Money = wallet.parse_money(take).await?;
    let max = coarse(minor_in(&give.unit, max)?).ok_or_else(usage)?;
    Ok(Rate {
        take: take.unit,
        give: give.unit,
        num: take.amount,
        den: give.amount,
        max,
    })
}

fn show(context: &Context, view: Option<&RatesView>, nothing: &str) {
    let rates = view.map_or(&[][..], |view| &view.rates);
    let value = json!({
        "rates": rates.iter().map(rate_value).collect::<Vec<_>>(),
        "expires": view.map(|view| view.expires),
    });
    context.out.result(&value, || {
        let until = view.map_or(0, |view| view.expires);
        if rates.is_empty() {
            return nothing.to_owned();
        }
        let row = |rate: &Rate| {
            vec![
                minor_text(&rate.give, rate.den.minor()),
                minor_text(&rate.take, rate.num.minor()),
                minor_text(&rate.give, rate.max.minor()),
            ]
        };
        let rows: Vec<Vec<String>> = rates.iter().map(row).collect();
        let rates = table(&["given", "for", "at most"], &rows);
        format!("{rates}\nuntil {}", time_text(until))
    });
}

/// A rate as JSON.
pub fn rate_value(rate: &Rate) -> Value {
    json!({
        "give": rate.give,
        "take": rate.take,
        "num": rate.num.minor().to_string(),
        "den": rate.den.minor().to_string(),
        "max": rate.max.minor().to_string(),
        "text": rate_words(rate),
    })
}

fn rate_words(rate: &Rate) -> String {
    format!(
        "{} for {}",
        minor_text(&rate.take, rate.num.minor()),
        minor_text(&rate.give, rate.den.minor())
    )
}

/// Where units are exchanged on a way.
pub fn of(way: &Way) -> Option<&WayExchange> {
    way.parts.first().and_then(|part| part.exchange.as_ref())
}

/// What a way with an exchange costs, in words.
pub fn quote(way: &Way, exchange: &WayExchange) -> String {
    format!(
        "with {} in all, at a rate of {}{}:",
        minor_text(&exchange.rate.take, way.promised()),
        rate_words(&exchange.rate),
        doubt(way)
    )
}

/// What is to be said where nobody looked to the end.
pub fn doubt(way: &Way) -> &'static str {
    if way.exact {
        ""
    } else {
        " (perhaps not the cheapest)"
    }
}

/// The unit to pay with, and the most of it.
pub async fn with(wallet: &Wallet, args: &Pay) -> Result<Option<(Unit, Amount)>, ClientError> {
    let Some(text) = &args.with else {
        return Ok(None);
    };
    let unit = wallet.parse_unit(text).await?;
    let most = match &args.max {
        Some(text) => Amount::from_minor(minor_in(&unit, text)?)?,
        None => Amount::from_minor(MAX_MINOR)?,
    };
    Ok(Some((unit, most)))
}

/// Shows what it costs, and has the user agree; sets the most that is promised.
pub async fn agree(
    context: &Context,
    wallet: &Wallet,
    payable: &Payable,
    options: &mut PayOptions,
    args: &Pay,
) -> Result<(), ClientError> {
    let ways = wallet.ways_to_pay(payable, options).await?;
    let Some((way, exchange)) = ways.first().and_then(|way| Some((way, of(way)?))) else {
        // It is the payee's own unit.
        options.with = None;
        return Ok(());
    };
    let quote = format!(
        "{} to {}, {}",
        payable.money,
        payable.payee(),
        quote(way, exchange).trim_end_matches(':')
    );
    if !args.yes {
        confirm(&quote, "Pay?")?;
    } else if !context.out.json {
        print_line(&quote);
    }
    if args.max.is_none() {
        let shown = way.promised();
        let most = shown.saturating_add(shown / 100 + 1);
        let most = Amount::from_minor(most.min(MAX_MINOR))?;
        options.with = Some((exchange.rate.take.clone(), most));
    }
    Ok(())
}

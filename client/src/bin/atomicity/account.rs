//! `account …`: keys that may spend for their owner.

mod app;

use atomicity_client::ClientError;
use atomicity_client::wallet::{
    AccountView, Fault, MadeAccount, NewAccount, OwnRate, SpendView, Wallet, WalletEventKind,
    parse_user,
};
use atomicity_ledger::{SignerKey, Unit, UserKey};
use atomicity_paykit_adapter::rail::Msat;
use serde_json::{Value, json};

use crate::Context;
use crate::agent::until;
use crate::args::{AccountCommand, AccountNew};
use crate::output::{fault_value, minor_text, table, time_text};
use crate::settle::{BY_SOURCE, bitcoins, pays_text, pays_value, rate_text, shown};

pub async fn run(context: &Context, command: AccountCommand) -> Result<u8, ClientError> {
    match command {
        AccountCommand::New(args) => new(context, &args).await,
        AccountCommand::List => list(context).await,
        AccountCommand::Show { name } => show(context, &name).await,
        AccountCommand::Revoke { name } => revoke(context, &name).await,
        AccountCommand::Rate { name, rate, spread } => {
            set_rate(context, &name, own_rate(rate.as_deref(), spread)?).await
        }
        AccountCommand::Spend(args) => app::spend(context, *args).await,
        AccountCommand::Status { key_file, spend } => app::status(context, &key_file, &spend).await,
        AccountCommand::Left { key_file } => app::left(context, &key_file).await,
    }
}

async fn new(context: &Context, args: &AccountNew) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let per_day = limit(&wallet, args.per_day.as_deref()).await?;
    let total = limit(&wallet, args.total.as_deref()).await?;
    let units = per_day.iter().chain(&total).map(|(_, unit)| unit.clone());
    let units: Vec<Unit> = units.collect();
    let unit = units.first().cloned();
    let unit = unit.ok_or_else(|| ClientError::Usage("an account needs a limit".to_owned()))?;
    if units.iter().any(|other| *other != unit) {
        return Err(ClientError::Usage(
            "both limits must be in one unit".to_owned(),
        ));
    }
    let mut new = NewAccount::new(args.name.parse()?, unit, until(&args.until)?);
    new.per_day = per_day.map(|(minor, _)| minor);
    new.total = total.map(|(minor, _)| minor);
    if args.to != "anyone" {
        let mut peers: Vec<UserKey> = Vec::new();
        for name in args
            .to
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            peers.push(match parse_user(name) {
                Ok(user) => user,
                Err(_) => wallet.friend(name).await?.user,
            });
        }
        new.peers = Some(peers);
    }
    if args.rails {
        new.rails = Some(own_rate(args.rate.as_deref(), args.spread)?);
    }
    new.key = args
        .key
        .as_deref()
        .map(str::parse::<SignerKey>)
        .transpose()?;
    if let Some(path) = args.key_file.as_deref().filter(|path| path.exists()) {
        return Err(ClientError::Usage(format!(
            "{} exists already",
            path.display()
        )));
    }
    let root = context.root(&wallet).await?;
    let made = wallet.new_account(&root, new).await?;
    if let (Some(key), Some(path)) = (&made.key, &args.key_file) {
        key.write(path)?;
    }
    let view = &made.account;
    let mut value = account_value(view);
    value["owner"] = json!(wallet.user());
    value["plugin"] = json!(made.plugin.key);
    value["plugin_url"] = json!(made.plugin.url.as_ref().map(ToString::to_string));
    value["key_file"] = json!(args.key_file);
    value["error"] = fault(made.fault.as_ref());
    if let Some(key) = made.key.as_ref().filter(|_| args.key_file.is_none()) {
        value["secret"] = json!(key.secret().as_str());
    }
    context
        .out
        .result(&value, || made_text(&wallet, &made, args));
    wallet.close().await;
    Ok(if made.fault.is_some() { 4 } else { 0 })
}

fn made_text(wallet: &Wallet, made: &MadeAccount, args: &AccountNew) -> String {
    let mut lines = vec![
        format!("account {}", made.account.key),
        format!("owner   {}", wallet.user()),
        format!("plugin  {}", made.plugin),
    ];
    lines.extend(terms_lines(&made.account));
    match (&made.key, &args.key_file) {
        (Some(_), Some(path)) => lines.push(format!("key     in {}", path.display())),
        (Some(key), None) => lines.push(format!(
            "secret  {}\nIt is shown once and kept nowhere: give it to the app, and to nobody else.",
            key.secret().as_str()
        )),
        (None, _) => {}
    }
    lines.extend(fault_line(made.fault.as_ref()));
    lines.join("\n")
}

async fn limit(wallet: &Wallet, text: Option<&str>) -> Result<Option<(u64, Unit)>, ClientError> {
    match text {
        Some(text) => wallet.parse_limit(text).await.map(Some),
        None => Ok(None),
    }
}

fn fault(fault: Option<&Fault>) -> Value {
    fault.map_or(Value::Null, |fault| {
        fault_value(&fault.code, &fault.message)
    })
}

fn fault_line(fault: Option<&Fault>) -> Option<String> {
    fault.map(|fault| {
        format!(
            "The agent does not know yet, and is told by `sync` or `watch`: {}",
            fault.message
        )
    })
}

fn account_value(view: &AccountView) -> Value {
    json!({
        "account": view.key,
        "name": view.name,
        "unit": view.unit,
        "per_day": view.per_day.map(|minor| minor.to_string()),
        "total": view.total.map(|minor| minor.to_string()),
        "peers": view.peers,
        "rails": view.rails.is_some(),
        "rate": view.rails.map(rate_value),
        "until": view.until,
        "state": view.state,
        "spent": view.spent.to_string(),
        "left_today": view.left_today.to_string(),
        "left": view.left.map(|minor| minor.to_string()),
        "fresh": view.fresh,
    })
}

fn terms_lines(view: &AccountView) -> Vec<String> {
    let text = |minor: u64| minor_text(&view.unit, minor);
    let per_day = view.per_day.map(|most| format!("{} a day", text(most)));
    let total = view.total.map(|most| format!("{} in all", text(most)));
    let most: Vec<String> = per_day.into_iter().chain(total).collect();
    let outside = view.rails.map(|rate| {
        let rate = rate_text(rate, view.unit.code());
        format!("outside by your rails, {rate}")
    });
    let mut lines = vec![format!("most    {}", most.join(", "))];
    lines.extend(outside);
    lines.push(format!("until   {}", time_text(view.until)));
    lines
}

/// Reads `--rate` and `--spread`.
fn own_rate(rate: Option<&str>, basis_points: u32) -> Result<OwnRate, ClientError> {
    let fixed = rate.filter(|rate| *rate != BY_SOURCE);
    let msat = fixed.map(bitcoins).transpose()?;
    Ok(OwnRate {
        msat: msat.map(Msat::get),
        spread_ppm: basis_points.saturating_mul(100),
        by_source: rate == Some(BY_SOURCE),
    })
}

fn rate_value(rate: OwnRate) -> Value {
    json!({
        "rate_msat": rate.msat.map(|msat| msat.to_string()),
        "spread_ppm": rate.spread_ppm,
        "by_source": rate.by_source,
    })
}

async fn set_rate(context: &Context, name: &str, rate: OwnRate) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let view = wallet.set_account_rate(name, rate).await?;
    context.out.result(&account_value(&view), || {
        format!(
            "Places outside are paid for {}: {}.",
            view.name,
            rate_text(rate, view.unit.code())
        )
    });
    wallet.close().await;
    Ok(0)
}

async fn list(context: &Context) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let (accounts, away) = wallet.accounts().await?;
    let values: Vec<Value> = accounts.iter().map(account_value).collect();
    let value = json!({ "accounts": values, "error": fault(away.as_ref()) });
    context.out.result(&value, || {
        if accounts.is_empty() {
            return "There are no payment accounts.".to_owned();
        }
        let rows: Vec<Vec<String>> = accounts.iter().map(row).collect();
        let mut lines = vec![table(
            &["name", "state", "left today", "left in all", "until"],
            &rows,
        )];
        lines.extend(
            away.as_ref()
                .map(|away| format!("As far as is known here: {}", away.message)),
        );
        lines.join("\n")
    });
    wallet.close().await;
    Ok(0)
}

fn row(view: &AccountView) -> Vec<String> {
    let text = |minor: u64| minor_text(&view.unit, minor);
    vec![
        view.name.clone(),
        view.state.clone(),
        text(view.left_today),
        view.left.map_or_else(|| "not bounded".to_owned(), text),
        time_text(view.until),
    ]
}

fn spend_value(spend: &SpendView) -> Value {
    json!({
        "spend": spend.id,
        "at": spend.at,
        "unit": spend.unit,
        "amount": spend.amount.to_string(),
        "amount_text": minor_text(&spend.unit, spend.amount),
        "fee": spend.fee.to_string(),
        "payee": spend.payee,
        "to": spend.to,
        "pays": spend.pays.as_ref().map(pays_value),
        "rail": spend.rail,
        "next_look": spend.next_look,
        "memo": spend.memo,
        "state": spend.stage.as_str(),
        "reason": spend.reason,
        "receipt": spend.receipt,
        "payment": spend.payment,
        "ended_at": spend.ended_at,
    })
}

fn spend_text(spend: &SpendView) -> String {
    let mut text = format!(
        "{}  {}  {} to {}: {}",
        time_text(spend.at),
        spend.id,
        minor_text(&spend.unit, spend.amount),
        shown(&spend.to),
        spend.stage.as_str()
    );
    if let Some(pays) = &spend.pays {
        let by = spend.rail.as_deref().map(|rail| format!(" by {rail}"));
        let by = by.unwrap_or_default();
        text.push_str(&format!(" ({}{by})", pays_text(Some(pays))));
    }
    for extra in [&spend.reason, &spend.memo].into_iter().flatten() {
        text.push_str(&format!(" - {extra}"));
    }
    text
}

async fn show(context: &Context, name: &str) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let (view, spends, away) = wallet.account(name).await?;
    let mut value = account_value(&view);
    value["spends"] = spends.iter().map(spend_value).collect();
    value["error"] = fault(away.as_ref());
    context.out.result(&value, || {
        let mut lines = vec![
            format!("account {} ({})", view.key, view.name),
            format!("state   {}", view.state),
        ];
        lines.extend(terms_lines(&view));
        let left = minor_text(&view.unit, view.left_today);
        lines.push(format!("left    {left} today"));
        lines.extend(spends.iter().map(spend_text));
        lines.extend(
            away.as_ref()
                .map(|away| format!("As far as is known here: {}", away.message)),
        );
        lines.join("\n")
    });
    wallet.close().await;
    Ok(0)
}

async fn revoke(context: &Context, name: &str) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let root = context.root(&wallet).await?;
    let (view, away) = wallet.revoke_account(&root, name).await?;
    let mut value = account_value(&view);
    value["error"] = fault(away.as_ref());
    context.out.result(&value, || {
        let mut lines = vec![format!("{} may spend nothing any more.", view.name)];
        lines.extend(fault_line(away.as_ref()));
        lines.join("\n")
    });
    wallet.close().await;
    Ok(if away.is_some() { 4 } else { 0 })
}

/// The members of an event of a payment account.
pub fn event_fields(kind: &WalletEventKind, put: &mut impl FnMut(&str, Value)) -> &'static str {
    if let WalletEventKind::Spend {
        id,
        account,
        unit,
        amount,
        state,
        reason,
    } = kind
    {
        put("spend", json!(id.to_string()));
        put("account", json!(account));
        put("unit", json!(unit));
        put("amount", json!(amount.to_string()));
        put("amount_text", json!(minor_text(unit, *amount)));
        put("state", json!(state));
        put("reason", json!(reason));
    }
    "spend"
}

/// Such an event in words.
pub fn event_text(kind: &WalletEventKind) -> String {
    match kind {
        WalletEventKind::Spend {
            id,
            account,
            unit,
            amount,
            state,
            reason,
        } => {
            let why = reason.as_ref().map(|why| format!(" ({why})"));
            let money = minor_text(unit, *amount);
            format!(
                "{account} spends {money}: {state}{} [{id}]",
                why.unwrap_or_default()
            )
        }
        _ => String::new(),
    }
}

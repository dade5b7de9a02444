//! `account …`: keys that may spend for their owner.

use std::path::Path;
use std::time::Duration;

use atomicity_client::ClientError;
use atomicity_client::account::{Account, AccountKey, AccountStanding, Order, SpendStatus};
use atomicity_client::net::Net;
use atomicity_client::wallet::{
    AccountView, Fault, MadeAccount, NewAccount, SpendView, Wallet, WalletEventKind, parse_user,
};
use atomicity_ledger::link::Link;
use atomicity_ledger::{Amount, Money, Signed, SignerKey, Unit, UserKey};
use serde_json::{Value, json};

use crate::Context;
use crate::agent::until;
use crate::args::{AccountCommand, AccountNew, AccountSpend};
use crate::output::{fault_value, minor_text, table, time_text};

/// How often a spend is looked at while it is waited for.
const PAUSE: Duration = Duration::from_millis(500);

pub async fn run(context: &Context, command: AccountCommand) -> Result<u8, ClientError> {
    match command {
        AccountCommand::New(args) => new(context, &args).await,
        AccountCommand::List => list(context).await,
        AccountCommand::Show { name } => show(context, &name).await,
        AccountCommand::Revoke { name } => revoke(context, &name).await,
        AccountCommand::Spend(args) => spend(context, *args).await,
        AccountCommand::Status { key_file, spend } => status(context, &key_file, &spend).await,
        AccountCommand::Left { key_file } => left(context, &key_file).await,
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
    vec![
        format!("most    {}", most.join(", ")),
        format!("until   {}", time_text(view.until)),
    ]
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
        spend.to,
        spend.stage.as_str()
    );
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

/// The account of a key; no wallet is needed.
fn account(context: &Context, file: &Path) -> Result<Account, ClientError> {
    let net = Net::new(&context.config()?.network)?;
    Ok(Account::new(&net, AccountKey::read(file)?))
}

fn money(text: &str, unit: &Unit) -> Result<Amount, ClientError> {
    let bare = text.trim();
    if !bare.contains(char::is_whitespace) {
        return Ok(Amount::from_minor(unit.parse_minor(bare)?)?);
    }
    let money = Money::parse(bare, std::slice::from_ref(unit))?;
    if money.unit == *unit {
        return Ok(money.amount);
    }
    Err(ClientError::Usage(format!(
        "this is in {unit}, not in {}",
        money.unit
    )))
}

async fn spend(context: &Context, args: AccountSpend) -> Result<u8, ClientError> {
    let account = account(context, &args.key_file)?;
    let mut order = order(&account, &args).await?;
    order.memo = args.memo.as_deref().map(str::parse).transpose()?;
    order.patience = args.expires;
    if let Some(fee) = &args.max_fee {
        order.max_fee = Amount::from_minor(order.unit.parse_minor(fee)?).ok();
    }
    let signed = account.sign(&order)?;
    if args.sign_only {
        let value = json!({ "spend": signed.jws(), "id": signed.record().id });
        context.out.result(&value, || signed.jws().to_owned());
        return Ok(0);
    }
    let mut status = account.spend(&signed).await?;
    while args.wait && status.ended_at.is_none() && status.state != "failed" {
        tokio::time::sleep(PAUSE).await;
        match account.status(&signed.record().id).await {
            Ok(newer) => status = newer,
            Err(error) if error.is_network() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(status_out(context, &status))
}

async fn order(account: &Account, args: &AccountSpend) -> Result<Order, ClientError> {
    let link = args.to.trim();
    if link
        .get(..10)
        .is_some_and(|start| start.eq_ignore_ascii_case("atomicity:"))
        && let Link::Invoice(invoice) = link.parse::<Link>()?
    {
        let invoice: Signed<_> = *invoice;
        let unit = invoice.record().unit.clone();
        let given = args
            .amount
            .as_deref()
            .map(|text| money(text, &unit))
            .transpose()?;
        let amount = given.or(invoice.record().amount);
        let amount = amount.ok_or_else(|| {
            ClientError::Usage(
                "the invoice leaves the amount open: name it with --amount".to_owned(),
            )
        })?;
        return Ok(Order::of_invoice(invoice, amount));
    }
    let user = parse_user(link)?;
    let text = args.amount.as_deref();
    let text =
        text.ok_or_else(|| ClientError::Usage("name the amount with --amount".to_owned()))?;
    // "2.00 BREAD/2" says it all; "2.00" is in the account's unit.
    let (unit, amount) = match Money::parse(text.trim(), &[]) {
        Ok(money) => (money.unit, money.amount),
        Err(_) => {
            let unit = account.standing().await?.unit;
            let amount = money(text, &unit)?;
            (unit, amount)
        }
    };
    Ok(Order::to_user(unit, amount, user))
}

async fn status(context: &Context, file: &Path, spend: &str) -> Result<u8, ClientError> {
    let status = account(context, file)?.status(&spend.parse()?).await?;
    Ok(status_out(context, &status))
}

fn status_out(context: &Context, status: &SpendStatus) -> u8 {
    let value = json!({
        "id": status.id,
        "account": status.account,
        "state": status.state,
        "reason": status.reason,
        "unit": status.unit,
        "amount": status.amount,
        "fee": status.fee,
        "direct": status.direct,
        "receipt": status.receipt,
        "at": status.at,
        "expires": status.expires,
        "ended_at": status.ended_at,
    });
    context.out.result(&value, || {
        let why = status.reason.as_ref().map(|why| format!(" ({why})"));
        format!(
            "spend {}: {}{}",
            status.id,
            status.state,
            why.unwrap_or_default()
        )
    });
    if status.state == "failed" { 3 } else { 0 }
}

async fn left(context: &Context, file: &Path) -> Result<u8, ClientError> {
    let standing: AccountStanding = account(context, file)?.standing().await?;
    let value = json!({
        "account": standing.account,
        "state": standing.state,
        "unit": standing.unit,
        "per_day": standing.per_day,
        "total": standing.total,
        "spent": standing.spent,
        "left_today": standing.left_today,
        "left": standing.left,
        "peers": standing.peers,
        "from": standing.from,
        "until": standing.until,
    });
    context.out.result(&value, || {
        let minor = standing.left_today.parse().unwrap_or(0);
        format!(
            "{}: {} left today",
            standing.state,
            minor_text(&standing.unit, minor)
        )
    });
    Ok(0)
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

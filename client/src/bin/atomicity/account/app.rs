//! What an app does with the key of an account: it needs no wallet.

use std::path::Path;
use std::time::Duration;

use atomicity_client::ClientError;
use atomicity_client::account::{Account, AccountKey, AccountStanding, Order, SpendStatus};
use atomicity_client::net::Net;
use atomicity_client::wallet::{OutsidePays, parse_user};
use atomicity_ledger::link::Link;
use atomicity_ledger::{Amount, Money, Signed, Unit};
use serde_json::json;

use crate::Context;
use crate::args::AccountSpend;
use crate::output::minor_text;
use crate::settle::{pays, target};

/// How often a spend is looked at while it is waited for.
const PAUSE: Duration = Duration::from_millis(500);

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

pub async fn spend(context: &Context, args: AccountSpend) -> Result<u8, ClientError> {
    let account = account(context, &args.key_file)?;
    let testnet = context.config()?.network.testnet;
    let mut order = order(&account, &args, testnet).await?;
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

async fn order(
    account: &Account,
    args: &AccountSpend,
    testnet: bool,
) -> Result<Order, ClientError> {
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
    let (unit, amount) = named_amount(account, args).await?;
    if link
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("lnbc"))
        || testnet
            && link
                .get(..2)
                .is_some_and(|start| start.eq_ignore_ascii_case("ln"))
    {
        return Order::lightning(unit, amount, link, testnet);
    }
    if link.contains('=') {
        let pays = match args.pays.as_deref().map(pays).transpose()? {
            None => None,
            Some(OutsidePays::Exactly(pays)) => Some(pays),
            Some(_) => {
                let why = "say how much is to arrive: 12345sat, \"4.60 EUR\"".to_owned();
                return Err(ClientError::Usage(why));
            }
        };
        return Ok(Order::outside(unit, amount, target(link)?, pays));
    }
    Ok(Order::to_user(unit, amount, parse_user(link)?))
}

/// What `--amount` says, and in what.
async fn named_amount(
    account: &Account,
    args: &AccountSpend,
) -> Result<(Unit, Amount), ClientError> {
    let text = args.amount.as_deref();
    let text =
        text.ok_or_else(|| ClientError::Usage("name the amount with --amount".to_owned()))?;
    // "2.00 BREAD/2" says it all; "2.00" is in the account's unit.
    Ok(match Money::parse(text.trim(), &[]) {
        Ok(money) => (money.unit, money.amount),
        Err(_) => {
            let unit = account.standing().await?.unit;
            let amount = money(text, &unit)?;
            (unit, amount)
        }
    })
}

pub async fn status(context: &Context, file: &Path, spend: &str) -> Result<u8, ClientError> {
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

pub async fn left(context: &Context, file: &Path) -> Result<u8, ClientError> {
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
        "rails": standing.rails,
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

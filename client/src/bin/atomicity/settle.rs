//! `settle …`: debts that are paid off outside.

mod anyone;
mod rules;

pub use rules::{BY_SOURCE, rate_text};

use std::time::Duration;

use atomicity_client::ClientError;
use atomicity_client::wallet::{
    OutsidePays, OutsideTerms, SettleRole, SettleTerms, SettlementView, Wallet,
};
use atomicity_ledger::record::{MILLISATOSHI_PLACES, Pays, Target};
use atomicity_ledger::text::{MethodName, RailProof};
use atomicity_ledger::{Asset, Decimal, Memo, RecordId};
use atomicity_paykit_adapter::rail::Msat;
use serde_json::{Value, json};

use crate::Context;
use crate::args::{Settle, SettleCommand};
use crate::output::{minor_text, spinner, table, time_text};

pub async fn run(context: &Context, args: Settle) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let code = match &args.command {
        None if args.anyone => anyone::ask(context, &wallet, &args).await,
        None => ask(context, &wallet, &args).await,
        Some(SettleCommand::List) => list(context, &wallet, false).await,
        Some(SettleCommand::Requests) => list(context, &wallet, true).await,
        Some(SettleCommand::Show { id }) => {
            let view = wallet.settlement(&name(id)?).await?;
            let rate = own_rate(&wallet, &view).await;
            let mut shown = value(&view);
            shown["own_rate"] = json!(rate.as_ref().map(pays_value));
            context.out.result(&shown, || match &rate {
                Some(rate) => format!("{}\nat your rate  {}", text(&view), pays_text(Some(rate))),
                None => text(&view),
            });
            Ok(0)
        }
        Some(SettleCommand::Withdraw { id }) => {
            let view = wallet.withdraw_settlement(&name(id)?).await?;
            show(context, &view);
            Ok(0)
        }
        Some(SettleCommand::Decline { id }) => {
            let view = wallet.decline_settlement(&name(id)?).await?;
            show(context, &view);
            Ok(0)
        }
        Some(SettleCommand::Pay { id, wait }) => {
            let view = wallet.pay_settlement(&name(id)?).await?;
            follow(context, &wallet, &view, *wait).await
        }
        Some(SettleCommand::Paid { id, reference }) => {
            let reference = reference.parse::<RailProof>()?;
            let view = wallet.paid_by_hand(&name(id)?, reference).await?;
            show(context, &view);
            Ok(0)
        }
        Some(SettleCommand::NotPaid { id, why }) => {
            let why = why.as_deref().map(str::parse::<Memo>).transpose()?;
            let view = wallet.not_paid_by_hand(&name(id)?, why).await?;
            show(context, &view);
            Ok(0)
        }
        Some(SettleCommand::Confirm { id }) => {
            let view = wallet.confirm_settlement(&name(id)?).await?;
            show(context, &view);
            Ok(0)
        }
        Some(SettleCommand::Dispute { id }) => {
            let view = wallet.dispute_settlement(&name(id)?).await?;
            show(context, &view);
            Ok(0)
        }
        Some(SettleCommand::Abandon { id }) => {
            let view = wallet.abandon_settlement(&name(id)?).await?;
            show(context, &view);
            Ok(0)
        }
        Some(SettleCommand::Auto(auto)) => rules::auto(context, &wallet, auto).await,
        Some(SettleCommand::AutoConfirm(auto)) => rules::confirm(context, &wallet, auto).await,
        Some(SettleCommand::Rates) => rules::rates(context, &wallet).await,
    };
    // What was decided keeps no books here any more.
    if let Err(error) = wallet.let_books_go().await {
        tracing::info!(
            code = error.code(),
            "the agent gets its books later: {error}"
        );
    }
    wallet.close().await;
    code
}

fn name(id: &str) -> Result<RecordId, ClientError> {
    Ok(id.parse::<RecordId>()?)
}

/// Reads `12345sat`, `12345 sat`, `1500msat` or `0.0001 BTC`.
pub(crate) fn bitcoins(text: &str) -> Result<Msat, ClientError> {
    let usage = || ClientError::Usage(format!("{text:?}: write 12345sat, 1500msat or 0.0001 BTC"));
    let text = text.trim();
    let letters = text.find(|c: char| c.is_ascii_alphabetic());
    let (number, unit) = text.split_at(letters.ok_or_else(usage)?);
    let places = match unit {
        "msat" => 0,
        "sat" | "sats" => 3,
        "BTC" => 11,
        _ => return Err(usage()),
    };
    let number = Decimal::read(number.trim()).map_err(|_| usage())?;
    let msat = number.to_minor(places).filter(|msat| *msat > 0);
    Msat::new(msat.ok_or_else(usage)?).map_err(|_| usage())
}

/// What the user's own source of rates would pay for a request that waits for their word, where it asks for something else than it is in.
async fn own_rate(wallet: &Wallet, view: &SettlementView) -> Option<Pays> {
    if !view.waits_for_user {
        return None;
    }
    // Without a rate the user decides without one.
    wallet.own_rate_for(view).await.ok().flatten()
}

async fn ask(context: &Context, wallet: &Wallet, args: &Settle) -> Result<u8, ClientError> {
    let (Some(friend), Some(amount)) = (&args.friend, &args.amount) else {
        return Err(ClientError::Usage(
            "say who owes you, and how much of it is to be paid".to_owned(),
        ));
    };
    let contact = wallet.friend(friend).await?;
    let money = wallet.parse_money(amount).await?;
    let view = match &args.invoice {
        Some(invoice) => {
            let terms = terms(args, invoice)?;
            wallet.ask_to_settle(&contact.user, money, terms).await?
        }
        None => {
            let mut terms = OutsideTerms::default();
            terms.targets = args
                .to
                .iter()
                .map(|text| target(text))
                .collect::<Result<_, _>>()?;
            terms.memo = args.memo.as_deref().map(str::parse::<Memo>).transpose()?;
            terms.expiry = args.expires;
            if let Some(text) = &args.pays {
                terms.pays = pays(text)?;
            }
            wallet
                .ask_to_settle_outside(&contact.user, money, terms)
                .await?
        }
    };
    if args.no_wait {
        show(context, &view);
        return Ok(0);
    }
    follow(context, wallet, &view, args.wait).await
}

fn terms(args: &Settle, invoice: &str) -> Result<SettleTerms, ClientError> {
    let mut terms = SettleTerms::invoice(invoice.to_owned());
    terms.pays = args.pays.as_deref().map(bitcoins).transpose()?;
    terms.memo = args.memo.as_deref().map(str::parse::<Memo>).transpose()?;
    Ok(terms)
}

/// Reads `usd-cash-hand=at the café`.
pub(crate) fn target(text: &str) -> Result<Target, ClientError> {
    let (method, value) = text.split_once('=').ok_or_else(|| {
        ClientError::Usage(format!(
            "{text:?}: write a method and a place, such as usd-cash-hand=\"at the café\""
        ))
    })?;
    Ok(Target {
        method: method.parse()?,
        value: value.parse()?,
    })
}

/// Reads `EUR`, `4.60 EUR`, or what [`bitcoins`] reads.
pub(crate) fn pays(text: &str) -> Result<OutsidePays, ClientError> {
    let text = text.trim();
    if let Ok(asset) = text.parse::<Asset>() {
        return Ok(OutsidePays::AtMyRate(asset));
    }
    if let Ok(msat) = bitcoins(text) {
        return Ok(OutsidePays::Exactly(Pays {
            asset: "BTC".parse()?,
            amount: Decimal::from_minor(msat.get(), MILLISATOSHI_PLACES)?,
        }));
    }
    let usage = || ClientError::Usage(format!("{text:?}: write 12345sat, 4.60 EUR, or EUR"));
    let (number, asset) = text.split_once(char::is_whitespace).ok_or_else(usage)?;
    let amount = Decimal::read(number).map_err(|_| usage())?;
    let asset = asset.trim().parse().map_err(|_| usage())?;
    if amount.is_zero() {
        return Err(usage());
    }
    Ok(OutsidePays::Exactly(Pays { asset, amount }))
}

async fn follow(
    context: &Context,
    wallet: &Wallet,
    view: &SettlementView,
    patience: Duration,
) -> Result<u8, ClientError> {
    let bar = spinner(context.out, "waiting");
    let done = wallet
        .await_settlement(&view.id, patience, |view| bar.set_message(words(view)))
        .await;
    bar.finish_and_clear();
    show(context, &done?);
    Ok(0)
}

fn show(context: &Context, view: &SettlementView) {
    context.out.result(&value(view), || text(view));
}

pub(crate) fn pays_text(pays: Option<&Pays>) -> String {
    match pays {
        Some(pays) => match pays.millisatoshi() {
            Some(msat) if msat % 1000 == 0 => format!("{} sat", msat / 1000),
            _ => format!("{} {}", pays.amount, pays.asset),
        },
        None => "nothing that can be read".to_owned(),
    }
}

pub(crate) fn pays_value(pays: &Pays) -> Value {
    json!({
        "asset": pays.asset.as_str(),
        "amount": pays.amount.to_string(),
        "msat": pays.millisatoshi().map(|msat| msat.to_string()),
    })
}

/// A settlement as JSON.
fn value(view: &SettlementView) -> Value {
    json!({
        "id": view.id.to_string(),
        "settlement": view.settlement,
        "role": view.role.as_str(),
        "friend": view.friend,
        "user": view.user,
        "unit": view.unit,
        "amount": view.amount.to_string(),
        "amount_text": minor_text(&view.unit, view.amount),
        "pays": view.pays.as_ref().map(pays_value),
        "pays_text": pays_text(view.pays.as_ref()),
        "targets": view.targets,
        "memo": view.memo.as_ref().map(Memo::as_str),
        "stage": view.stage,
        "reason": view.reason.map(|reason| reason.code()),
        "offer": view.offer.as_ref().map(pays_value),
        "preimage": view.preimage.map(|preimage| preimage.to_string()),
        "method": view.method.as_ref().map(MethodName::as_str),
        "proof": view.proof.as_ref().map(RailProof::as_str),
        "way": view.way,
        "by_hand": view.by_hand.as_ref().map(ToString::to_string),
        "disputed": view.disputed,
        "over": view.over,
        "waits_for_you": view.waits_for_user,
        "overdue": view.overdue,
        "attempts": view.attempts,
        "expires_at": view.expires,
        "created_at": view.created_at,
        "ended_at": view.ended_at,
    })
}

/// How far it is, in words.
fn words(view: &SettlementView) -> String {
    let reason = view.reason.map(|reason| reason.code()).unwrap_or_default();
    match view.stage {
        "sent" => format!("asked {}", view.friend),
        "accepted" => format!("{} pays", view.friend),
        "booked" | "done" => "paid".to_owned(),
        "received" if view.waits_for_user => "waits for your word".to_owned(),
        "received" | "checked" | "reserved" => "to be paid".to_owned(),
        "dispatched" if view.by_hand.is_some() => "to be paid by you, by hand".to_owned(),
        "dispatched" => "being paid".to_owned(),
        "paid" => format!("{} says it is paid", view.friend),
        "disputed" => format!("{} says it is paid, and you that nothing came", view.friend),
        "proven" if view.disputed => format!("paid; {} says that nothing came", view.friend),
        "proven" => format!("paid; {} is told", view.friend),
        "declined" => format!("declined: {reason}"),
        "failed" => format!("not paid: {reason}"),
        other => other.to_owned(),
    }
}

fn text(view: &SettlementView) -> String {
    let amount = minor_text(&view.unit, view.amount);
    let pays = pays_text(view.pays.as_ref());
    let first = match view.role {
        SettleRole::Holder => format!(
            "{} pays {pays} for you, and owes you {amount} less",
            view.friend
        ),
        SettleRole::Issuer => format!(
            "you pay {pays} for {}, and owe them {amount} less",
            view.friend
        ),
    };
    let mut lines = vec![format!("{first}: {}.", words(view))];
    lines.extend(view.memo.as_ref().map(|memo| format!("for     {memo}")));
    lines.push(format!("name    {}", view.id));
    lines.extend(view.preimage.map(|shown| format!("proof   {shown}")));
    let targets = view.targets.iter();
    let places = targets.map(|t| format!("where   {}, {}", t.method, shown(t.value.as_str())));
    match &view.way {
        Some(way) => lines.push(format!(
            "by      {}: {}, {}",
            way.rail,
            way.target.method,
            shown(way.target.value.as_str())
        )),
        None => lines.extend(places),
    }
    let method = view.method.as_ref().map_or("", |method| method.as_str());
    let proof = view.proof.iter();
    lines.extend(proof.map(|proof| format!("proof   {method}, {}", shown(proof.as_str()))));
    lines.extend(next_step(view));
    if view.overdue {
        lines.push("No word for long. This part of the claim stays reserved.".to_owned());
    } else if !view.over {
        lines.push(format!("until   {}", time_text(view.expires)));
    }
    lines.join("\n")
}

/// The beginning of what others wrote, on one line.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 160;
    let line = text.chars().take(MOST);
    let line: String = line.map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        format!("{line}…")
    } else {
        line
    }
}

/// What is left to the user.
fn next_step(view: &SettlementView) -> Option<String> {
    let id = &view.id;
    match (view.stage, &view.by_hand) {
        ("paid", _) => Some(format!(
            "If you have it: atomicity settle confirm {id}; if nothing came: settle dispute {id}."
        )),
        (_, Some(money)) => Some(format!(
            "Pay {money} by hand, then: atomicity settle paid {id} REFERENCE; or: settle not-paid {id}."
        )),
        _ => None,
    }
}

async fn list(context: &Context, wallet: &Wallet, waiting: bool) -> Result<u8, ClientError> {
    let mut all = wallet.settlements().await?;
    all.retain(|view| !waiting || view.waits_for_user);
    let values: Vec<Value> = all.iter().map(value).collect();
    context.out.result(&json!({ "settlements": values }), || {
        if all.is_empty() {
            return "Nothing is being settled.".to_owned();
        }
        let row = |view: &SettlementView| {
            let who = match view.role {
                SettleRole::Holder => format!("{} for you", view.friend),
                SettleRole::Issuer => format!("you for {}", view.friend),
            };
            vec![
                view.id.to_string(),
                who,
                minor_text(&view.unit, view.amount),
                pays_text(view.pays.as_ref()),
                words(view),
                time_text(view.created_at),
            ]
        };
        let rows: Vec<Vec<String>> = all.iter().map(row).collect();
        table(
            &["name", "who pays", "claim", "pays", "state", "since"],
            &rows,
        )
    });
    Ok(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn satoshis_are_read_in_several_ways_and_nothing_is_rounded() {
        for (text, msat) in [
            ("12345sat", 12_345_000),
            ("1 sat", 1000),
            ("1.5sats", 1500),
            ("1500msat", 1500),
            ("0.0001 BTC", 10_000_000),
        ] {
            assert_eq!(bitcoins(text).unwrap().get(), msat, "{text}");
        }
        for text in ["", "5", "0sat", "1.5msat", "-1sat", "5 USD", "0.0005sat"] {
            assert!(bitcoins(text).is_err(), "{text}");
        }
    }
}

//! `pay` over friends, `payments`, `receipt`.

use atomicity_client::ClientError;
use atomicity_client::wallet::{
    IssueOptions, MadeKind, PayOptions, PayProgress, PayTarget, Payable, PaymentState, PaymentView,
    Wallet, Way, parse_user,
};
use atomicity_ledger::{Memo, RecordId, UserKey};
use serde_json::{Value, json};

use crate::Context;
use crate::amounts::minor_in;
use crate::args::Pay;
use crate::exchange;
use crate::output::{delivery_name, delivery_words, minor_text, spinner, table, time_text};

async fn user(wallet: &Wallet, text: &str) -> Result<UserKey, ClientError> {
    match parse_user(text) {
        Ok(user) => Ok(user),
        Err(_) => Ok(wallet.friend(text).await?.user),
    }
}

async fn options(
    wallet: &Wallet,
    args: &Pay,
    payable: &Payable,
) -> Result<PayOptions, ClientError> {
    let mut options = PayOptions::default();
    options.max_fee = match &args.max_fee {
        // A bare number is in the payment's unit.
        Some(text) => Some(minor_in(&payable.money.unit, text)?),
        None => None,
    };
    options.via = match &args.via {
        Some(text) => Some(user(wallet, text).await?),
        None => None,
    };
    for text in &args.avoid {
        options.avoid.push(user(wallet, text).await?);
    }
    if !args.along.is_empty() {
        let mut along = Vec::new();
        for text in &args.along {
            along.push(user(wallet, text).await?);
        }
        options.along = Some(along);
    }
    options.routers.clone_from(&args.routers);
    options.with = exchange::with(wallet, args).await?;
    options.deadline = args.deadline;
    options.memo = args.memo.as_deref().map(str::parse).transpose()?;
    Ok(options)
}

pub async fn pay(context: &Context, args: &Pay) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    if let Some(id) = wallet.made_before(MadeKind::Payment).await? {
        // Asked for again: it goes on, whether or not it could be begun now.
        let bar = spinner(context.out, "waiting");
        let paid = wallet.wait_for_payment(&id, |_| {}).await;
        bar.finish_and_clear();
        show_paid(context, &paid?);
        wallet.close().await;
        return Ok(0);
    }
    let payable = wallet.payable(&args.whom, args.amount.as_deref()).await?;
    let mut options = options(&wallet, args, &payable).await?;
    if options.with.is_some() && !args.dry_run {
        exchange::agree(context, &wallet, &payable, &mut options, args).await?;
    }
    let plainly = fits_plainly(&wallet, &payable, &options).await?;
    let code = match (args.dry_run, plainly) {
        (true, true) => dry_run_plainly(context, &payable),
        (true, false) => dry_run(context, &wallet, &payable, &options).await?,
        (false, true) => plain(context, &wallet, &payable, &options).await?,
        (false, false) => over_friends(context, &wallet, &payable, &options).await?,
    };
    wallet.close().await;
    Ok(code)
}

/// Whether a friend who asked for nothing can simply be given it: that needs no log, and nobody else.
async fn fits_plainly(
    wallet: &Wallet,
    payable: &Payable,
    options: &PayOptions,
) -> Result<bool, ClientError> {
    let PayTarget::User(user) = &payable.target else {
        return Ok(false);
    };
    if options.via.is_some() || options.along.is_some() || options.with.is_some() {
        return Ok(false);
    }
    if wallet.made().await?.is_some() {
        // It was, when it was asked for before.
        return Ok(true);
    }
    let is_friend = wallet.friend(&user.to_z32()).await.is_ok();
    let channels = wallet
        .balances(Some(user), Some(&payable.money.unit))
        .await?;
    let fits = |view: &atomicity_client::wallet::ChannelView| {
        view.can_issue >= payable.money.amount.minor()
    };
    Ok(is_friend && channels.first().is_some_and(fits))
}

async fn plain(
    context: &Context,
    wallet: &Wallet,
    payable: &Payable,
    options: &PayOptions,
) -> Result<u8, ClientError> {
    let memo = options.memo.clone().or_else(|| payable.memo.clone());
    let money = payable.money.clone();
    let issue = IssueOptions::described(memo, None);
    let issued = wallet.issue(&payable.payee(), money, issue).await?;
    let friend = &issued.contact.name;
    let value = json!({
        "kind": "direct",
        "payment": issued.payment.to_string(),
        "payee": issued.contact.user,
        "unit": issued.money.unit,
        "amount": issued.money.amount.minor().to_string(),
        "amount_text": issued.money.to_string(),
        "fee": "0",
        "state": "paid",
        "delivery": delivery_name(issued.delivery),
    });
    context.out.result(&value, || {
        let how = delivery_words(issued.delivery, friend);
        format!("You gave {friend} {} ({how}).", issued.money)
    });
    Ok(0)
}

/// A quote, beside its ways.
fn quote_value(kind: &str, payable: &Payable, ways: Vec<Value>) -> Value {
    json!({
        "kind": kind,
        "payee": payable.payee(),
        "unit": payable.money.unit,
        "amount": payable.money.amount.minor().to_string(),
        "amount_text": payable.money.to_string(),
        "memo": payable.memo.as_ref().map(Memo::as_str),
        "ways": ways,
    })
}

/// What giving it to a friend would be.
fn dry_run_plainly(context: &Context, payable: &Payable) -> u8 {
    let (money, payee) = (&payable.money, payable.payee());
    let amount = money.amount.minor().to_string();
    let way = json!({
        "fee": "0",
        "exact": true,
        "fee_text": minor_text(&money.unit, 0),
        "promised": amount,
        "exchange": null,
        "parts": [[{ "user": payee, "amount": amount }]],
    });
    let value = quote_value("direct", payable, vec![way]);
    context.out.result(&value, || {
        format!("{money} to {payee}, directly and for no fee; nothing was signed.")
    });
    0
}

async fn dry_run(
    context: &Context,
    wallet: &Wallet,
    payable: &Payable,
    options: &PayOptions,
) -> Result<u8, ClientError> {
    let bar = spinner(context.out, "looking for a way");
    let ways = wallet.ways_to_pay(payable, options).await;
    bar.finish_and_clear();
    let ways = ways?;
    let unit = &payable.money.unit;
    let way_value = |way: &Way| {
        let parts = way.parts.iter().map(|part| {
            let hops = part.hops.iter();
            json!(
                hops.map(|(user, amount)| {
                    json!({ "user": user, "amount": amount.minor().to_string() })
                })
                .collect::<Vec<_>>()
            )
        });
        json!({
            "fee": way.fee().to_string(),
            "exact": way.exact,
            "fee_text": minor_text(unit, way.fee()),
            "promised": way.promised().to_string(),
            "exchange": exchange::of(way).map(|e| exchange::rate_value(&e.rate)),
            "parts": parts.collect::<Vec<_>>(),
        })
    };
    let value = quote_value("routed", payable, ways.iter().map(way_value).collect());
    let mut lines = vec![format!(
        "{} to {}; nothing was signed.",
        payable.money,
        payable.payee()
    )];
    for way in &ways {
        lines.push(match exchange::of(way) {
            Some(exchange) => exchange::quote(way, exchange),
            None => format!(
                "for a fee of {}{}:",
                minor_text(unit, way.fee()),
                exchange::doubt(way)
            ),
        });
        for part in &way.parts {
            let mut names = Vec::new();
            for (user, _) in &part.hops {
                names.push(wallet.name_of(user).await?);
            }
            let arrives = minor_text(unit, part.arrives());
            lines.push(format!("  {arrives} over {}", names.join(" > ")));
        }
    }
    context.out.result(&value, || lines.join("\n"));
    Ok(0)
}

async fn over_friends(
    context: &Context,
    wallet: &Wallet,
    payable: &Payable,
    options: &PayOptions,
) -> Result<u8, ClientError> {
    let bar = spinner(context.out, "looking for a way");
    let paid = wallet
        .pay(payable, options, |progress| match progress {
            PayProgress::Waiting(view) => bar.set_message(waiting_words(&view)),
            _ => bar.set_message("looking for a way"),
        })
        .await;
    bar.finish_and_clear();
    show_paid(context, &paid?);
    Ok(0)
}

fn show_paid(context: &Context, paid: &PaymentView) {
    context.out.result(&value(paid), || {
        let unit = &paid.unit;
        let cost = match &paid.with {
            Some((with, promised, _)) => format!("with {}", minor_text(with, *promised)),
            None => format!("for a fee of {}", minor_text(unit, paid.fee)),
        };
        format!(
            "Paid {} to {} {cost}.\nThe receipt: atomicity receipt {}",
            minor_text(unit, paid.amount),
            paid.payee,
            paid.id
        )
    });
}

fn waiting_words(view: &PaymentView) -> String {
    let out = view.parts.iter().filter(|part| part.fate == "outstanding");
    let failed = view
        .parts
        .iter()
        .filter(|part| part.fate == "failed")
        .count();
    let hops = out.clone().map(|part| part.hops.len()).max().unwrap_or(0);
    let mut words = match out.count() {
        0 => "looking for another way".to_owned(),
        1 => format!("promised over {hops} hops, waiting"),
        n => format!("promised in {n} parts, waiting"),
    };
    if failed > 0 {
        words.push_str(&format!(" ({failed} did not get through)"));
    }
    words
}

/// A payment as JSON.
pub fn value(payment: &PaymentView) -> Value {
    let text = |minor| minor_text(&payment.unit, minor);
    let parts = payment.parts.iter().map(|part| {
        json!({
            "hops": part.hops,
            "amount": part.amount.to_string(),
            "arrives": part.arrives.to_string(),
            "fate": part.fate,
            "failure": part.failure,
            "edge": part.edge.map(|(from, to)| json!([from, to])),
        })
    });
    json!({
        "kind": "routed",
        "payment": payment.id.to_string(),
        "hash": payment.hash,
        "payee": payment.payee,
        "invoice": payment.invoice,
        "unit": payment.unit,
        "amount": payment.amount.to_string(),
        "amount_text": text(payment.amount),
        "fee": payment.fee.to_string(),
        "fee_text": text(payment.fee),
        "max_fee": payment.max_fee.to_string(),
        "with": payment.with.as_ref().map(|(unit, promised, most)| json!({
            "unit": unit,
            "promised": promised.to_string(),
            "promised_text": minor_text(unit, *promised),
            "most": most.to_string(),
        })),
        "state": payment.state.as_str(),
        "why": payment.why,
        "memo": payment.memo.as_ref().map(Memo::as_str),
        "parts": parts.collect::<Vec<_>>(),
        "tries": payment.tries,
        "created_at": payment.created_at,
        "ended_at": payment.ended_at,
    })
}

/// `payments`, of one alone.
pub async fn show(context: &Context, id: &str) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let payment = wallet.payment(&id.parse::<RecordId>()?).await?;
    show_paid(context, &payment);
    wallet.close().await;
    Ok(0)
}

pub async fn list(context: &Context) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let payments = wallet.payments().await?;
    let values: Vec<Value> = payments.iter().map(value).collect();
    let mut rows = Vec::new();
    for payment in &payments {
        let state = match (&payment.why, payment.state) {
            (Some(why), PaymentState::Failed) => format!("failed: {why}"),
            (_, state) => state.as_str().to_owned(),
        };
        rows.push(vec![
            payment.id.to_string(),
            wallet.name_of(&payment.payee).await?,
            minor_text(&payment.unit, payment.amount),
            minor_text(&payment.unit, payment.fee),
            state,
            time_text(payment.created_at),
        ]);
    }
    context.out.result(&json!({ "payments": values }), || {
        if rows.is_empty() {
            return "No payments over friends so far.".to_owned();
        }
        table(&["payment", "to", "amount", "fee", "state", "begun"], &rows)
    });
    wallet.close().await;
    Ok(0)
}

pub async fn receipt(context: &Context, id: &str) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let receipt = wallet.receipt(&id.parse::<RecordId>()?).await?;
    let proof = receipt.proof.as_ref();
    let mut shown = value(&receipt.payment);
    shown["preimage"] = json!(receipt.preimage);
    shown["terms"] = json!(receipt.terms);
    shown["invoice_record"] = json!(receipt.invoice);
    shown["proof"] = json!(proof.map(|p| json!({
        "policy": p.policy.as_str(),
        "proof": p.proof.as_str(),
    })));
    context.out.result(&shown, || {
        let payment = &receipt.payment;
        let mut lines = vec![
            format!(
                "{} to {}, for a fee of {}",
                minor_text(&payment.unit, payment.amount),
                payment.payee,
                minor_text(&payment.unit, payment.fee)
            ),
            format!("secret {}", receipt.preimage),
            format!("hash   {}", payment.hash),
        ];
        match proof {
            Some(proof) => lines.push(format!("proof of the log:\n{}", proof.proof.as_str())),
            None => lines.push("the log's proof is no longer kept here".to_owned()),
        }
        lines.join("\n")
    });
    wallet.close().await;
    Ok(0)
}

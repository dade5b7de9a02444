//! `reassign`: handing on what a friend owes.

use atomicity_client::ClientError;
use atomicity_client::wallet::{
    MadeKind, PayOptions, PayProgress, Payable, PaymentView, Wallet, Way,
};
use atomicity_ledger::UserKey;
use serde_json::{Value, json};

use crate::Context;
use crate::amounts::minor_in;
use crate::args::Reassign;
use crate::output::{minor_text, spinner};
use crate::payment;

pub async fn run(context: &Context, args: &Reassign) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let debtor = wallet.friend(&args.debtor).await?;
    if let Some(id) = wallet.made_before(MadeKind::Payment).await? {
        // Asked for again: it goes on, whether or not it could be begun now.
        let done = wallet.wait_for_payment(&id, |_| {}).await?;
        context.out.result(&value(&done, &debtor.user), || {
            format!("{} is done.", done.id)
        });
        wallet.close().await;
        return Ok(0);
    }
    let payable = wallet.payable(&args.to, args.amount.as_deref()).await?;
    let mut options = PayOptions::default();
    if let Some(text) = &args.max_fee {
        options.max_fee = Some(minor_in(&payable.money.unit, text)?);
    }
    options.deadline = args.deadline;
    let to = wallet.name_of(&payable.payee()).await?;
    if args.dry_run {
        let ways = wallet
            .ways_to_reassign(&debtor.user, &payable, &options)
            .await?;
        show_cost(context, &payable, &ways, (&debtor.name, &to));
        wallet.close().await;
        return Ok(0);
    }
    let bar = spinner(context.out, "handing it on");
    let done = wallet
        .reassign(&debtor.user, &payable, &options, |progress| {
            if let PayProgress::Waiting(_) = progress {
                bar.set_message("promised, waiting for both to book it");
            }
        })
        .await;
    bar.finish_and_clear();
    let done = done?;
    let owed = owed_after(&wallet, &debtor.user, &payable).await?;
    context.out.result(&value(&done, &debtor.user), || {
        format!(
            "{} owes {to} {} from now on{owed}.\nThe receipt: atomicity receipt {}",
            debtor.name,
            minor_text(&done.unit, done.amount),
            done.id
        )
    });
    wallet.close().await;
    Ok(0)
}

fn value(done: &PaymentView, debtor: &UserKey) -> Value {
    let mut value = payment::value(done);
    value["kind"] = json!("reassigned");
    value["debtor"] = json!(debtor);
    value
}

/// What the debtor still owes, in words; nothing while it is not booked yet.
async fn owed_after(
    wallet: &Wallet,
    debtor: &UserKey,
    payable: &Payable,
) -> Result<String, ClientError> {
    let unit = &payable.money.unit;
    let channels = wallet.balances(Some(debtor), Some(unit)).await?;
    let left = channels.first().filter(|channel| channel.due_to_them == 0);
    let left = left.and_then(|channel| u64::try_from(channel.net.minor()).ok());
    Ok(left.map_or_else(String::new, |left| {
        format!(", and you {}", minor_text(unit, left))
    }))
}

fn show_cost(context: &Context, payable: &Payable, ways: &[Way], (debtor, to): (&str, &str)) {
    let unit = &payable.money.unit;
    let fee = ways.first().map_or(0, Way::fee);
    let value = json!({
        "unit": unit,
        "amount": payable.money.amount.minor().to_string(),
        "amount_text": payable.money.to_string(),
        "payee": payable.payee(),
        "fee": fee.to_string(),
        "fee_text": minor_text(unit, fee),
        "promised": ways.first().map_or(0, Way::promised).to_string(),
    });
    context.out.result(&value, || {
        format!(
            "{debtor} would owe {to} {}, and take {} for it; nothing was signed.",
            payable.money,
            minor_text(unit, fee)
        )
    });
}

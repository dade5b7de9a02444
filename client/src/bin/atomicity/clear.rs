//! `clear`: circles of debts.

use std::collections::BTreeMap;

use atomicity_client::ClientError;
use atomicity_client::wallet::{Circle, PaymentView, Wallet};
use atomicity_ledger::{Unit, UserKey};
use serde_json::{Value, json};

use crate::Context;
use crate::args::Clear;
use crate::output::{minor_text, spinner};

/// What became of a circle.
enum Fate {
    /// It was only looked at.
    Found,
    Cleared(Box<PaymentView>),
    Failed(ClientError),
}

pub async fn run(context: &Context, args: &Clear) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let units = match &args.unit {
        Some(text) => vec![wallet.parse_unit(text).await?],
        None => wallet.clearing_units().await?,
    };
    if units.is_empty() {
        return Err(ClientError::Usage(
            "you have not agreed to have debts cleared in any unit: see `atomicity forward clear`"
                .to_owned(),
        ));
    }
    let bar = spinner(context.out, "looking for circles");
    let mut circles = Vec::new();
    for unit in &units {
        circles.extend(wallet.circles(unit, &args.routers).await?);
    }
    let count = circles.len();
    let mut done = Vec::new();
    for (n, circle) in circles.into_iter().enumerate() {
        if args.dry_run {
            done.push((circle, Fate::Found));
            continue;
        }
        bar.set_message(format!("{}: circle {} of {count}", circle.unit, n + 1));
        match wallet.clear(&circle, args.deadline, |_| {}).await {
            Ok(payment) => done.push((circle, Fate::Cleared(Box::new(payment)))),
            // The next may go through.
            Err(error @ (ClientError::Payment(_) | ClientError::Ledger(_))) => {
                done.push((circle, Fate::Failed(error)));
            }
            Err(error) if done.is_empty() => return Err(error),
            // What was cleared before is told all the same.
            Err(error) => {
                done.push((circle, Fate::Failed(error)));
                break;
            }
        }
    }
    bar.finish_and_clear();
    show(context, &wallet, &done).await?;
    wallet.close().await;
    let failed = done.iter().any(|(_, fate)| matches!(fate, Fate::Failed(_)));
    let cleared = done
        .iter()
        .any(|(_, fate)| matches!(fate, Fate::Cleared(_)));
    Ok(if failed && !cleared { 3 } else { 0 })
}

async fn show(
    context: &Context,
    wallet: &Wallet,
    done: &[(Circle, Fate)],
) -> Result<(), ClientError> {
    let mut sums: BTreeMap<&Unit, u64> = BTreeMap::new();
    for (circle, fate) in done {
        if let Fate::Cleared(payment) = fate {
            let sum = sums.entry(&circle.unit).or_default();
            *sum = sum.saturating_add(payment.amount);
        }
    }
    let sum = |(unit, minor): (&&Unit, &u64)| {
        json!({
            "unit": unit,
            "amount": minor.to_string(),
            "amount_text": minor_text(unit, *minor),
        })
    };
    let value = json!({
        "circles": done.iter().map(|(circle, fate)| value(circle, fate)).collect::<Vec<_>>(),
        "cleared": sums.iter().map(sum).collect::<Vec<_>>(),
    });
    let mut lines = Vec::new();
    for (circle, fate) in done {
        lines.push(words(wallet, circle, fate).await?);
    }
    context.out.result(&value, || match lines.is_empty() {
        true => "No circle of debts was found that could be cleared.".to_owned(),
        false => lines.join("\n"),
    });
    Ok(())
}

fn value(circle: &Circle, fate: &Fate) -> Value {
    let (state, payment, amount, why) = match fate {
        Fate::Found => ("found", None, circle.amount.minor(), None),
        Fate::Cleared(payment) => ("cleared", Some(payment), payment.amount, None),
        Fate::Failed(error) => {
            let state = match error.code() {
                "undecided" => "undecided",
                _ => "failed",
            };
            (state, None, circle.amount.minor(), Some(error))
        }
    };
    json!({
        "unit": circle.unit,
        "amount": amount.to_string(),
        "amount_text": minor_text(&circle.unit, amount),
        "users": circle.users,
        "state": state,
        "payment": payment.map(|payment| payment.id.to_string()),
        "why": why.map(ClientError::code),
        "message": why.map(ToString::to_string),
    })
}

async fn words(wallet: &Wallet, circle: &Circle, fate: &Fate) -> Result<String, ClientError> {
    let others = circle.users.split_last().map_or(&[][..], |(_, rest)| rest);
    let mut names = Vec::new();
    for user in others {
        names.push(wallet.name_of(user).await?);
    }
    let way = format!("you > {} > you", names.join(" > "));
    let name = |user: Option<UserKey>| {
        let at = others.iter().position(|other| Some(*other) == user);
        at.and_then(|at| names.get(at)).cloned().unwrap_or_default()
    };
    let (debtor, creditor) = (name(circle.debtor()), name(circle.creditor()));
    let text = |minor| minor_text(&circle.unit, minor);
    Ok(match fate {
        Fate::Found => format!(
            "{} can be cleared round {way}: {debtor} would owe you that much less, and you {creditor}.",
            text(circle.amount.minor())
        ),
        Fate::Cleared(payment) => format!(
            "Cleared {} round {way}: {debtor} owes you that much less, and you {creditor}. It cost nothing.",
            text(payment.amount)
        ),
        Fate::Failed(error) => format!(
            "{} round {way} could not be cleared: {error}",
            text(circle.amount.minor())
        ),
    })
}

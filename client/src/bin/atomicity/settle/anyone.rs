//! `settle --anyone`: whoever owes enough and can pay.

use atomicity_client::ClientError;
use atomicity_client::wallet::{CanSettle, Wallet};
use atomicity_ledger::Money;
use serde_json::{Value, json};

use super::{show, terms, words};
use crate::Context;
use crate::args::Settle;
use crate::output::{minor_text, spinner, table};

/// `settle --anyone`: the only word is the amount.
pub async fn ask(context: &Context, wallet: &Wallet, args: &Settle) -> Result<u8, ClientError> {
    let usage = |why: &str| Err(ClientError::Usage(why.to_owned()));
    let (Some(amount), None) = (&args.friend, &args.amount) else {
        return usage("with --anyone say only how much is to be paid, not who owes it");
    };
    let money = wallet.parse_money(amount).await?;
    if args.dry_run {
        let all = wallet.who_can_settle(&money).await?;
        show_candidates(context, &money, &all);
        return Ok(0);
    }
    let Some(invoice) = &args.invoice else {
        return usage("say to which --invoice it is to be paid");
    };
    if args.no_wait {
        return usage("--anyone has to wait for answers: leave --no-wait out");
    }
    let terms = terms(args, invoice)?;
    let bar = spinner(context.out, "looking for a friend who can pay");
    let done = wallet
        .settle_with_anyone(&money, &terms, args.wait, |view| {
            bar.set_message(format!("{}: {}", view.friend, words(view)));
        })
        .await;
    bar.finish_and_clear();
    show(context, &done?);
    Ok(0)
}

fn show_candidates(context: &Context, money: &Money, all: &[CanSettle]) {
    let value = |one: &CanSettle| {
        json!({
            "friend": one.friend,
            "user": one.user,
            "claim": one.claim.to_string(),
            "line": one.line.to_string(),
            "own_word": one.own_word,
            "friends_word": one.friends_word,
            "lightning": one.lightning,
        })
    };
    let values: Vec<Value> = all.iter().map(value).collect();
    context.out.result(&json!({ "candidates": values }), || {
        if all.is_empty() {
            return "Nobody owes you that much.".to_owned();
        }
        let row = |one: &CanSettle| {
            let able = if one.lightning {
                "yes"
            } else {
                "not as far as is known"
            };
            vec![
                one.friend.clone(),
                minor_text(&money.unit, one.claim),
                able.to_owned(),
            ]
        };
        let rows: Vec<Vec<String>> = all.iter().map(row).collect();
        table(&["friend", "owes you", "can pay by Lightning"], &rows)
    });
}

//! `proposals`: what the page or an app proposes, and the user's word on it.

use atomicity_client::ClientError;
use atomicity_client::wallet::{ProposalState, ProposalView, Wallet, Wish};
use atomicity_ledger::{Memo, RecordId, UserKey};
use serde_json::{Value, json};

use crate::Context;
use crate::args::{ProposalCommand, Proposals};
use crate::output::{minor_text, spinner, time_text};

pub async fn run(context: &Context, args: Proposals) -> Result<u8, ClientError> {
    match args.command {
        None => list(context).await,
        Some(ProposalCommand::Quote { proposal }) => quote(context, &proposal).await,
        Some(ProposalCommand::Accept { proposal, max_fee }) => {
            accept(context, &proposal, max_fee.as_deref()).await
        }
        Some(ProposalCommand::Decline { proposal }) => decline(context, &proposal).await,
    }
}

async fn list(context: &Context) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let all = wallet.proposals().await?;
    let mut lines = Vec::new();
    for view in &all {
        lines.push(shown(&wallet, view).await?);
    }
    let value = json!({ "proposals": all.iter().map(value).collect::<Vec<_>>() });
    context.out.result(&value, || {
        if lines.is_empty() {
            return "Nothing is proposed.".to_owned();
        }
        lines.push(
            "Whoever has a session of yours could have made these up: accept what you know of."
                .to_owned(),
        );
        lines.join("\n")
    });
    wallet.close().await;
    Ok(0)
}

/// The proposal that is meant: by its name, or the beginning of it.
async fn find(wallet: &Wallet, text: &str) -> Result<ProposalView, ClientError> {
    let mut fitting = wallet.proposals().await?;
    fitting.retain(|view| view.id.to_string().starts_with(text));
    match fitting.len() {
        1 => fitting
            .pop()
            .ok_or_else(|| ClientError::UnknownProposal(text.to_owned())),
        0 => Err(ClientError::UnknownProposal(text.to_owned())),
        _ => Err(ClientError::Usage(format!(
            "several proposals begin with {text}: type more of it"
        ))),
    }
}

async fn quote(context: &Context, text: &str) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let view = find(&wallet, text).await?;
    let quote = wallet.quote_proposal(&view.id).await?;
    let mut value = value(&view);
    value["fee"] = json!(quote.map(|quote| quote.fee.to_string()));
    value["hops"] = json!(quote.map(|quote| quote.hops));
    let what = shown(&wallet, &view).await?;
    context
        .out
        .result(&value, || match (quote, view.wish.invoice()) {
            (Some(quote), Some(invoice)) => format!(
                "{what}\nIt would cost {} beyond the amount, over {} people.",
                minor_text(&invoice.unit, quote.fee),
                quote.hops
            ),
            _ => format!("{what}\nIt costs nothing."),
        });
    wallet.close().await;
    Ok(0)
}

async fn accept(context: &Context, text: &str, max_fee: Option<&str>) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    // What was accepted before, and was cut off, goes on: the plugin still lists it.
    let view = find(&wallet, text).await?;
    let max_fee = match (max_fee, view.wish.paid_in()) {
        (Some(text), Some(unit)) => {
            let number = text.split_whitespace().next().unwrap_or_default();
            Some(unit.parse_minor(number)?)
        }
        (Some(_), None) => {
            return Err(ClientError::Usage(
                "nothing is to be paid here: leave --max-fee out".to_owned(),
            ));
        }
        (None, _) => None,
    };
    let bar = spinner(context.out, "doing it");
    let done = wallet.accept_proposal(&view.id, max_fee).await;
    bar.finish_and_clear();
    ended(context, &wallet, &done?).await
}

async fn decline(context: &Context, text: &str) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let view = find(&wallet, text).await?;
    let done = wallet.decline_proposal(&view.id).await?;
    ended(context, &wallet, &done).await
}

async fn ended(context: &Context, wallet: &Wallet, view: &ProposalView) -> Result<u8, ClientError> {
    let what = shown(wallet, view).await?;
    context.out.result(&value(view), || what);
    wallet.close().await;
    Ok(match view.state {
        Some(ProposalState::Failed) => 1,
        _ => 0,
    })
}

async fn named(wallet: &Wallet, user: &UserKey) -> Result<String, ClientError> {
    let name = wallet.name_of(user).await?;
    let key = user.to_string();
    Ok(if name == key {
        key
    } else {
        format!("{name} ({key})")
    })
}

/// What it is for, if it is said.
fn what_for(memo: Option<&Memo>) -> String {
    memo.map_or_else(String::new, |memo| format!(" for {:?}", memo.as_str()))
}

async fn wish(wallet: &Wallet, wish: &Wish) -> Result<String, ClientError> {
    Ok(match wish {
        Wish::Friend { user, name } => match name {
            Some(name) => format!("add {user} as a friend called {name}"),
            None => format!("add {user} as a friend"),
        },
        Wish::Limit { user, unit, accept } => format!(
            "let {} owe you up to {}",
            named(wallet, user).await?,
            minor_text(unit, accept.minor())
        ),
        Wish::Block { user, blocked } => {
            let user = named(wallet, user).await?;
            match blocked {
                true => format!("block {user}"),
                false => format!("deal with {user} again"),
            }
        }
        Wish::Ask {
            user,
            unit,
            amount,
            memo,
        } => {
            let of = match user {
                Some(user) => format!("{} for", named(wallet, user).await?),
                None => "whoever has the link for".to_owned(),
            };
            let (amount, memo) = (minor_text(unit, amount.minor()), what_for(memo.as_ref()));
            format!("ask {of} {amount}{memo}")
        }
        Wish::Settle {
            user,
            unit,
            amount,
            invoice,
        } => {
            let how = match invoice {
                Some(_) => " by paying a Lightning invoice",
                None => "",
            };
            let user = named(wallet, user).await?;
            let amount = minor_text(unit, amount.minor());
            format!("have {user} pay off {amount}{how}")
        }
        Wish::Part { amount, .. } => match wish.request() {
            Some(asked) => {
                let part = amount.map_or_else(
                    || "what is left".to_owned(),
                    |amount| minor_text(&asked.unit, amount.minor()),
                );
                let payee = named(wallet, &asked.payee).await?;
                format!(
                    "pay {part} of what {payee} asks{}",
                    what_for(asked.memo.as_ref())
                )
            }
            None => unreadable(),
        },
        other => match other.invoice() {
            Some(invoice) => {
                let amount = invoice.amount.map_or(0, |amount| amount.minor());
                let amount = minor_text(&invoice.unit, amount);
                let memo = what_for(invoice.memo.as_ref());
                let payee = named(wallet, &invoice.payee).await?;
                match other {
                    Wish::Reassign { user, .. } => {
                        let debtor = named(wallet, user).await?;
                        format!("have {debtor} owe {amount} to {payee}, no more to you{memo}")
                    }
                    _ => format!("pay {amount} to {payee}{memo}"),
                }
            }
            None => unreadable(),
        },
    })
}

fn unreadable() -> String {
    "something that this version does not know".to_owned()
}

async fn shown(wallet: &Wallet, view: &ProposalView) -> Result<String, ClientError> {
    let what = wish(wallet, &view.wish).await?;
    let fee = match (view.wish.invoice(), view.state) {
        (Some(invoice), Some(ProposalState::Done)) => {
            format!(
                ", for {} beyond the amount",
                minor_text(&invoice.unit, view.fee)
            )
        }
        _ => String::new(),
    };
    let standing = match (view.state, view.expires) {
        (None, Some(expires)) => format!("until {}", time_text(expires)),
        (None, None) => "waits".to_owned(),
        (Some(ProposalState::Accepted), _) => {
            "accepted: `atomicity sync` goes on with it".to_owned()
        }
        (Some(ProposalState::Declined), _) => "declined".to_owned(),
        (Some(ProposalState::Done), _) => format!("done{fee}"),
        (Some(_), _) => format!("not done: {}", view.reason.as_deref().unwrap_or("failed")),
    };
    Ok(format!("{}  {what} ({standing})", view.id))
}

fn value(view: &ProposalView) -> Value {
    let id: &RecordId = &view.id;
    let mut value = json!({
        "id": id,
        "state": view.state.map_or("open", ProposalState::name),
        "fee": match view.state {
            Some(ProposalState::Done) => Some(view.fee.to_string()),
            _ => None,
        },
        "reason": view.reason,
        "at": view.at,
        "expires": view.expires,
    });
    if let Ok(Value::Object(wish)) = serde_json::to_value(&view.wish) {
        for (name, member) in wish {
            value[name] = member;
        }
    }
    value
}

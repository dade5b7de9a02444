//! `proposals`: what the page or an app proposes, and the user's word on it.

mod words;

use atomicity_client::ClientError;
use atomicity_client::wallet::{AcceptTerms, ProposalQuote, ProposalState, ProposalView, Wallet};
use atomicity_ledger::{RecordId, UserKey};
use serde_json::{Value, json};

use self::words::{shown, wish};
use crate::Context;
use crate::amounts::minor_in;
use crate::args::{ProposalCommand, Proposals};
use crate::output::{confirm, minor_text, print_line, spinner};

pub async fn run(context: &Context, args: Proposals) -> Result<u8, ClientError> {
    match args.command {
        None => list(context).await,
        Some(ProposalCommand::Quote { proposal, routers }) => {
            quote(context, &proposal, &routers).await
        }
        Some(ProposalCommand::Accept {
            proposal,
            max_fee,
            routers,
            yes,
        }) => accept(context, &proposal, (max_fee.as_deref(), &routers), yes).await,
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

/// The way of a payment in words: what it costs, and over whom it goes.
async fn way(wallet: &Wallet, quote: &ProposalQuote) -> Result<String, ClientError> {
    let mut ways = Vec::new();
    for way in &quote.ways {
        let mut names = Vec::new();
        for user in &way.over {
            names.push(wallet.name_of(user).await?);
        }
        ways.push(names.join(", "));
    }
    Ok(format!(
        "it goes over {}, for {} beyond the amount",
        ways.join(" and over "),
        minor_text(&quote.unit, quote.fee)
    ))
}

async fn quote(context: &Context, text: &str, routers: &[String]) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let view = find(&wallet, text).await?;
    let bar = spinner(context.out, "looking for a way");
    let quote = wallet.quote_proposal(&view, routers).await;
    bar.finish_and_clear();
    let quote = quote?;
    let mut value = value(&view);
    let route = |quote: &ProposalQuote| quote.ways.iter().map(|way| way.over.clone()).collect();
    let route: Vec<Vec<UserKey>> = quote.as_ref().map(route).unwrap_or_default();
    value["fee"] = json!(quote.as_ref().map(|quote| quote.fee.to_string()));
    value["hops"] = json!(quote.as_ref().map(ProposalQuote::hops));
    value["route"] = json!(route);
    let what = shown(&wallet, &view).await?;
    let costs = match &quote {
        Some(quote) => way(&wallet, quote).await?,
        None if view.wish.request().is_some() => {
            "what it costs is known once its payee keeps a part for you".to_owned()
        }
        None => "it costs nothing beyond that".to_owned(),
    };
    context.out.result(&value, || format!("{what}\n{costs}"));
    wallet.close().await;
    Ok(0)
}

/// Shows what is to be done and what it costs; the user agrees to just that.
async fn agree(
    context: &Context,
    wallet: &Wallet,
    view: &ProposalView,
    (routers, yes): (&[String], bool),
) -> Result<(), ClientError> {
    let bar = spinner(context.out, "looking for a way");
    let quote = wallet.quote_proposal(view, routers).await;
    bar.finish_and_clear();
    let mut what = wish(wallet, view).await?;
    if let Some(quote) = quote? {
        what = format!("{what}: {}", way(wallet, &quote).await?);
    }
    if !yes {
        confirm(&what, "Do it?")?;
    } else if !context.out.json {
        print_line(&what);
    }
    Ok(())
}

async fn accept(
    context: &Context,
    text: &str,
    (max_fee, routers): (Option<&str>, &[String]),
    yes: bool,
) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    // What was accepted before, and was cut off, goes on: the plugin still lists it.
    let view = find(&wallet, text).await?;
    let max_fee = match (max_fee, view.wish.paid_in()) {
        (Some(text), Some(unit)) => Some(minor_in(&unit, text)?),
        (Some(_), None) => {
            return Err(ClientError::Usage(
                "nothing is to be paid here: leave --max-fee out".to_owned(),
            ));
        }
        (None, _) => None,
    };
    if !routers.is_empty() && view.wish.paid_in().is_none() {
        return Err(ClientError::Usage(
            "nothing goes over others here: leave --router out".to_owned(),
        ));
    }
    if view.state.is_none() {
        agree(context, &wallet, &view, (routers, yes)).await?;
    }
    let root = match view.wish.needs_root() {
        true => Some(context.root(&wallet).await?),
        false => None,
    };
    let bar = spinner(context.out, "doing it");
    let terms = AcceptTerms::new(max_fee, routers, root.as_ref());
    let done = wallet.accept_proposal(&view, terms).await;
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

fn value(view: &ProposalView) -> Value {
    let id: &RecordId = &view.id;
    let mut value = json!({
        "id": id,
        "state": view.state.map_or("open", ProposalState::name),
        "fee": match view.state {
            Some(ProposalState::Done) => Some(view.fee.to_string()),
            _ => None,
        },
        "request": view.request,
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

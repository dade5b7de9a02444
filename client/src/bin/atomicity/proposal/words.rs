//! Proposals in words: exactly what will be done.

use atomicity_client::ClientError;
use atomicity_client::wallet::{ProposalState, ProposalView, Wallet, Wish};
use atomicity_ledger::record::Goal;
use atomicity_ledger::{Amount, Memo, Total, Unit, UserKey};

use crate::output::{minor_text, time_text};
use crate::rule::rule_says;

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

/// What is proposed.
///
/// # Errors
/// What the store says.
pub async fn wish(wallet: &Wallet, view: &ProposalView) -> Result<String, ClientError> {
    let wish = &view.wish;
    Ok(match wish {
        Wish::Friend { user, name } => {
            let known = named(wallet, user).await?;
            match name {
                Some(name) if known != user.to_string() => format!("call {known} {name:?}"),
                Some(name) => format!("add {user} as a friend called {name:?}"),
                None => format!("add {known} as a friend"),
            }
        }
        Wish::Limit { user, unit, accept } => format!(
            "let {} owe you up to {}",
            named(wallet, user).await?,
            minor_text(unit, accept.minor())
        ),
        Wish::Issue {
            user,
            unit,
            amount,
            memo,
        } => format!(
            "pay {} {}{}",
            named(wallet, user).await?,
            minor_text(unit, amount.minor()),
            what_for(memo.as_ref())
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
                Some(invoice) => by_invoice(wallet, invoice),
                None => String::new(),
            };
            let user = named(wallet, user).await?;
            let amount = minor_text(unit, amount.minor());
            format!("have {user} pay off {amount}{how}")
        }
        Wish::Rule { rule } => {
            let says = rule_says(&wallet.rule_in_words(rule).await?);
            format!("let people owe you whom you did not add: {says}")
        }
        Wish::Unrule { rule } => {
            let says = rule_says(&wallet.rule_in_words(rule).await?);
            format!("take this rule back: {says}")
        }
        Wish::Account {
            name,
            key,
            unit,
            per_day,
            total,
            until,
        } => {
            let limit = |total: &Option<Total>, how: &str| {
                total.map(|total| format!("{} {how}", minor_text(unit, total.minor())))
            };
            let limits = [limit(per_day, "a day"), limit(total, "in all")];
            let limits: Vec<String> = limits.into_iter().flatten().collect();
            format!(
                "let an app that you call {:?} spend up to {}, until {} (its key: {key})",
                name.as_str(),
                limits.join(" and "),
                time_text(until.millis())
            )
        }
        Wish::Revoke { key } => format!("end the account of the app with the key {key}"),
        Wish::Agent { until } => agent(wallet, &view.plugin, until.millis()).await?,
        Wish::AgentOff { force } => agent_off(&view.plugin, *force),
        Wish::Part {
            amount, max_fee, ..
        } => match wish.request() {
            Some(asked) => {
                let text = |amount: Amount| minor_text(&asked.unit, amount.minor());
                let part = match (amount, &asked.amount) {
                    (Some(amount), _) | (None, Goal::Exact(amount)) => text(*amount),
                    (None, Goal::Target { amount, .. }) => {
                        format!("what is left of {}", text(*amount))
                    }
                    (None, Goal::Open { .. }) => "something".to_owned(),
                };
                let payee = named(wallet, &asked.payee).await?;
                let memo = what_for(asked.memo.as_ref());
                let most = at_most(&asked.unit, *max_fee);
                format!("pay {part} to {payee}, who asks for it{memo}{most}")
            }
            None => unreadable(),
        },
        other => match other.invoice() {
            Some(invoice) => {
                let amount = invoice.amount.map_or(0, |amount| amount.minor());
                let amount = minor_text(&invoice.unit, amount);
                let memo = what_for(invoice.memo.as_ref());
                let most = other.max_fee().and_then(|fee| Total::from_minor(fee).ok());
                let most = at_most(&invoice.unit, most);
                let payee = named(wallet, &invoice.payee).await?;
                match other {
                    Wish::Reassign { user, .. } => {
                        let debtor = named(wallet, user).await?;
                        format!("have {debtor} owe {amount} to {payee}, no more to you{memo}{most}")
                    }
                    _ => format!("pay {amount} to {payee}{memo}{most}"),
                }
            }
            None => unreadable(),
        },
    })
}

/// How much it may cost beyond its amount, if whoever proposed it says so: at most what is usual counts.
fn at_most(unit: &Unit, fee: Option<Total>) -> String {
    fee.map_or_else(String::new, |fee| {
        format!(
            ", for at most {} beyond that",
            minor_text(unit, fee.minor())
        )
    })
}

/// Whom a friend is to pay, and how much, in what they pay.
fn by_invoice(wallet: &Wallet, invoice: &str) -> String {
    let asks = match wallet.read_invoice_outside(invoice) {
        Ok(asks) => asks,
        Err(error) => return format!(" by a Lightning invoice that can't be used ({error})"),
    };
    let memo = asks
        .memo
        .map_or_else(String::new, |memo| format!(" for {memo:?}"));
    format!(
        " by paying {} to the Lightning node {}{memo}",
        asks.amount, asks.node
    )
}

/// With whom an agent keeps books, and how much it may sign.
async fn agent(wallet: &Wallet, plugin: &str, until: u64) -> Result<String, ClientError> {
    let terms = wallet.agent_terms_until(until).await?;
    let whom = match &terms.peers {
        Some(peers) => format!("{} friends", peers.len()),
        None => "all friends".to_owned(),
    };
    let bound = |(unit, minor): &(Unit, u64)| minor_text(unit, *minor);
    let list = |limits: &[(Unit, u64)]| limits.iter().map(bound).collect::<Vec<_>>().join(", ");
    let each = match terms.limits.is_empty() {
        true => "as much as this device may".to_owned(),
        false => format!("at most {}", list(&terms.limits)),
    };
    let day = match terms.per_day.is_empty() {
        true => "with no limit for one day".to_owned(),
        false => format!("apps at most {} a day", list(&terms.per_day)),
    };
    Ok(format!(
        "let the agent of the plugin {plugin} keep the books of {whom} until {}; towards each {each}, {day}",
        time_text(until)
    ))
}

/// How the agent ends.
fn agent_off(plugin: &str, force: bool) -> String {
    let how = match force {
        true => {
            "by your root key, whether it answers or not: this device takes over the books that it keeps"
        }
        false => "and have it hand the books that it keeps back to this device",
    };
    format!("end the agent of the plugin {plugin} {how}")
}

fn unreadable() -> String {
    "something that this version does not know".to_owned()
}

/// What comes after the end of what was only a beginning.
fn next_step(view: &ProposalView) -> String {
    match (&view.request, &view.wish) {
        (Some(request), _) => format!(": `atomicity request show {request}` shows the code"),
        (None, Wish::Settle { .. }) => {
            ": they were asked, `atomicity settle list` shows how it goes on".to_owned()
        }
        (None, _) => String::new(),
    }
}

/// One proposal in a line: its name, what it is, how far it is.
pub async fn shown(wallet: &Wallet, view: &ProposalView) -> Result<String, ClientError> {
    let what = wish(wallet, view).await?;
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
        (Some(ProposalState::Accepted), _) if view.wish.needs_root() => {
            "accepted, but cut off: accept it once more".to_owned()
        }
        (Some(ProposalState::Accepted), _) => {
            "accepted: `atomicity sync` goes on with it".to_owned()
        }
        (Some(ProposalState::Declined), _) => "declined".to_owned(),
        (Some(ProposalState::Done), _) => format!("done{fee}{}", next_step(view)),
        (Some(_), _) => format!("not done: {}", view.reason.as_deref().unwrap_or("failed")),
    };
    Ok(format!("{}  {what} ({standing})", view.id))
}

//! `friend …`

use std::time::Duration;

use atomicity_client::ClientError;
use atomicity_client::wallet::{
    ChannelState, ChannelView, FriendDetails, UnattendedTerms, Wallet, parse_user,
};
use atomicity_ledger::Name;
use serde_json::{Value, json};

use crate::Context;
use crate::amounts::minor_in;
use crate::args::FriendCommand;
use crate::output::{
    channel_value, delivery_name, delivery_words, fault_value, minor_text, state_name, table,
    time_text,
};
use crate::pay::channel_row;
use crate::rule::grants_value;

pub async fn run(context: &Context, command: FriendCommand) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    match command {
        FriendCommand::Add { key, name } => add(context, &wallet, &key, name).await?,
        FriendCommand::List => list(context, &wallet).await?,
        FriendCommand::Remove { friend, force } => remove(context, &wallet, &friend, force).await?,
        FriendCommand::Limit {
            friend,
            amount: None,
            ..
        } => {
            limits(context, &wallet, &friend).await?;
        }
        FriendCommand::Limit {
            friend,
            amount: Some(amount),
            issue: false,
            unattended,
            until,
        } => {
            let unattended = unattended.map(|amount| (amount, until));
            limit(context, &wallet, &friend, &amount, unattended).await?;
        }
        FriendCommand::Limit {
            friend,
            amount: Some(amount),
            issue: true,
            ..
        } => {
            ceiling(context, &wallet, &friend, &amount).await?;
        }
        FriendCommand::Inspect { friend } => inspect(context, &wallet, &friend).await?,
    }
    wallet.close().await;
    Ok(0)
}

async fn add(
    context: &Context,
    wallet: &Wallet,
    key: &str,
    name: Option<String>,
) -> Result<(), ClientError> {
    let user = parse_user(key)?;
    let name: Option<Name> = name.map(|name| name.parse()).transpose()?;
    let added = wallet.add_friend(&user, name).await?;
    let warning = added.warning.as_ref();
    let value = json!({
        "user": user,
        "name": added.contact.name,
        "reached": added.reached,
        "has_profile": added.has_profile,
        "plugins": added.plugins.iter().map(|plugin| plugin.key).collect::<Vec<_>>(),
        "units": added.units,
        "was_pending": added.was_pending,
        "warning": warning.map(|fault| fault_value(&fault.code, &fault.message)),
    });
    if let Some(fault) = warning {
        context.out.warn(&fault.message);
    }
    context.out.result(&value, || {
        let name = &added.contact.name;
        if added.has_profile {
            format!("{name} is your friend now. Let them owe you something: atomicity friend limit {name:?} \"5 …\"")
        } else {
            format!("{name} is your friend now, but has no wallet that could be found yet.")
        }
    });
    Ok(())
}

async fn list(context: &Context, wallet: &Wallet) -> Result<(), ClientError> {
    let mut friends = Vec::new();
    let mut rows = Vec::new();
    let let_in = wallet.let_in().await?;
    for contact in wallet.friends().await? {
        let granted = wallet.granted(&contact.user).await?;
        let rule = let_in.get(&contact.user);
        let rule = rule.map(|why| match why {
            Some(why) => format!("by rule: {why}"),
            None => "by a rule that is gone".to_owned(),
        });
        let details = wallet.inspect(&contact.user).await?;
        let state = state_name(overall_state(&details));
        rows.push(vec![
            contact.name.clone(),
            state.to_owned(),
            rule.clone().unwrap_or_default(),
            contact
                .last_seen
                .map_or_else(|| "never".to_owned(), time_text),
            contact.user.to_string(),
        ]);
        friends.push(json!({
            "user": contact.user,
            "name": contact.name,
            "state": state,
            "added_at": contact.added_at,
            "last_seen": contact.last_seen,
            "by_rule": rule,
            "granted": grants_value(&granted),
        }));
    }
    let strangers = wallet.strangers().await?;
    let pending: Vec<Value> = strangers
        .iter()
        .map(|stranger| {
            let name = (!stranger.name.is_empty()).then_some(&stranger.name);
            json!({ "user": stranger.user, "name": name, "first_seen": stranger.added_at })
        })
        .collect();
    context
        .out
        .result(&json!({ "friends": friends, "pending": pending }), || {
            let mut text = if rows.is_empty() {
                "No friends yet. Add one with: atomicity friend add <key>".to_owned()
            } else {
                table(&["friend", "state", "", "last seen", "key"], &rows)
            };
            for stranger in &strangers {
                let name = if stranger.name.is_empty() {
                    "somebody"
                } else {
                    &stranger.name
                };
                text.push_str(&format!(
                    "\n{name} said hello; add them with: atomicity friend add {}",
                    stranger.user
                ));
            }
            text
        });
    Ok(())
}

fn overall_state(details: &FriendDetails) -> ChannelState {
    if !details.frozen.is_empty() {
        return ChannelState::Frozen;
    }
    let waits = details
        .channels
        .iter()
        .any(|channel| channel.state == ChannelState::WaitingForAck);
    if waits || details.my_book.is_none() {
        ChannelState::WaitingForAck
    } else {
        ChannelState::Active
    }
}

async fn remove(
    context: &Context,
    wallet: &Wallet,
    friend: &str,
    force: bool,
) -> Result<(), ClientError> {
    let contact = wallet.friend(friend).await?;
    wallet.remove_friend(&contact.user, force).await?;
    let value = json!({ "user": contact.user, "removed": true });
    context
        .out
        .result(&value, || format!("{} is removed.", contact.name));
    Ok(())
}

async fn limit(
    context: &Context,
    wallet: &Wallet,
    friend: &str,
    amount: &str,
    unattended: Option<(String, Duration)>,
) -> Result<(), ClientError> {
    let contact = wallet.friend(friend).await?;
    let (accept, unit) = wallet.parse_limit(amount).await?;
    let unattended = match unattended {
        Some((amount, lasts)) => {
            let amount = minor_in(&unit, &amount)?;
            Some(UnattendedTerms { amount, lasts })
        }
        None => None,
    };
    let set = wallet
        .set_line(&contact.user, &unit, accept, unattended)
        .await?;
    let text = minor_text(&unit, accept);
    let value = json!({
        "friend": set.contact.name,
        "user": set.contact.user,
        "unit": unit,
        "accept": accept.to_string(),
        "accept_text": text,
        "unattended": unattended.map(|terms| terms.amount.to_string()),
        "seq": set.seq.map(|seq| seq.to_string()),
        "delivery": set.delivery.map(delivery_name),
    });
    context.out.result(&value, || {
        let told = set
            .delivery
            .map(|delivery| delivery_words(delivery, &set.contact.name))
            .unwrap_or_default();
        format!("{} may owe you up to {text} ({told}).", set.contact.name)
    });
    Ok(())
}

async fn ceiling(
    context: &Context,
    wallet: &Wallet,
    friend: &str,
    amount: &str,
) -> Result<(), ClientError> {
    let contact = wallet.friend(friend).await?;
    let (most, unit) = wallet.parse_limit(amount).await?;
    wallet.set_own_ceiling(&contact.user, &unit, most).await?;
    let text = minor_text(&unit, most);
    let value = json!({
        "friend": contact.name,
        "user": contact.user,
        "unit": unit,
        "issue": most.to_string(),
        "issue_text": text,
    });
    context.out.result(&value, || {
        format!("You will owe {} at most {text}.", contact.name)
    });
    Ok(())
}

async fn limits(context: &Context, wallet: &Wallet, friend: &str) -> Result<(), ClientError> {
    let contact = wallet.friend(friend).await?;
    let views = wallet.balances(Some(&contact.user), None).await?;
    let value = json!({
        "friend": contact.name,
        "user": contact.user,
        "balances": views.iter().map(channel_value).collect::<Vec<_>>(),
    });
    context.out.result(&value, || channels_text(&views));
    Ok(())
}

fn channels_text(views: &[ChannelView]) -> String {
    if views.is_empty() {
        return "No credit either way yet.".to_owned();
    }
    let rows: Vec<Vec<String>> = views.iter().map(channel_row).collect();
    table(&crate::pay::CHANNEL_HEADER, &rows)
}

async fn inspect(context: &Context, wallet: &Wallet, friend: &str) -> Result<(), ClientError> {
    let contact = wallet.friend(friend).await?;
    let details = wallet.inspect(&contact.user).await?;
    let frozen: Vec<Value> = details
        .frozen
        .iter()
        .map(|(unit, why, records)| json!({ "unit": unit, "reason": why, "records": records }))
        .collect();
    let pending: Vec<Value> = details
        .pending
        .iter()
        .map(|held| json!({ "type": held.kind, "reason": held.reason, "since": held.since }))
        .collect();
    let value = json!({
        "friend": contact.name,
        "user": contact.user,
        "state": state_name(overall_state(&details)),
        "my_book": details.my_book.map(|(epoch, key, acknowledged)| {
            json!({ "epoch": epoch, "key": key, "acknowledged": acknowledged })
        }),
        "their_book": details.their_book.map(|(epoch, key)| json!({ "epoch": epoch, "key": key })),
        "balances": details.channels.iter().map(channel_value).collect::<Vec<_>>(),
        "frozen": frozen.first(),
        "frozen_units": frozen,
        "pending_records": pending,
        "reached_at": details.reached_at,
        "homeserver": contact.homeserver,
        "plugins": details.plugins.iter().map(|plugin| plugin.key).collect::<Vec<_>>(),
        "outbox": details.outbox,
    });
    context.out.result(&value, || inspect_text(&details));
    Ok(())
}

fn inspect_text(details: &FriendDetails) -> String {
    let contact = &details.contact;
    let mut lines = vec![
        format!("{} ({})", contact.name, contact.user),
        format!(
            "homeserver  {}",
            contact.homeserver.as_deref().unwrap_or("not known")
        ),
    ];
    for plugin in &details.plugins {
        lines.push(format!("plugin      {plugin}"));
    }
    if let Some((epoch, key, acknowledged)) = details.my_book {
        let word = if acknowledged {
            "acknowledged"
        } else {
            "not acknowledged yet"
        };
        lines.push(format!("my book     epoch {epoch}, {word}, key {key}"));
    }
    if let Some((epoch, key)) = details.their_book {
        lines.push(format!("their book  epoch {epoch}, key {key}"));
    }
    for (unit, why, _) in &details.frozen {
        lines.push(format!("FROZEN in {unit}: {why}"));
    }
    if !details.pending.is_empty() {
        lines.push(format!(
            "{} of their records can't be judged yet",
            details.pending.len()
        ));
    }
    if details.outbox > 0 {
        lines.push(format!(
            "{} changes wait to be sent to them",
            details.outbox
        ));
    }
    lines.push(channels_text(&details.channels));
    lines.join("\n")
}

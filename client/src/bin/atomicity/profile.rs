//! `profile …`, `snapshot …`, `diary …`.

use atomicity_client::ClientError;
use atomicity_client::wallet::{SnapshotOutcome, parse_user};
use serde_json::{Value, json};

use crate::Context;
use crate::args::{DiaryCommand, ProfileCommand, SnapshotCommand};
use crate::output::time_text;

pub async fn run(context: &Context, command: ProfileCommand) -> Result<u8, ClientError> {
    match command {
        ProfileCommand::Show { key } => show(context, key.as_deref()).await,
        ProfileCommand::Page { shown } => page(context, shown == "on").await,
    }
}

async fn page(context: &Context, shown: bool) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let root = context.root(&wallet).await?;
    let fault = wallet.show_page(&root, shown).await?;
    if let Some(fault) = &fault {
        context.out.warn(&format!(
            "not published yet, the next sync tries again: {}",
            fault.message
        ));
    }
    let user = wallet.user();
    let value = json!({ "user": user, "page": shown, "published": fault.is_none() });
    context.out.result(&value, || {
        if shown {
            format!(
                "Your plugin may show a page about you, at /u/{user}, if its operator serves pages."
            )
        } else {
            "No page about you may be shown any more.".to_owned()
        }
    });
    wallet.close().await;
    Ok(0)
}

async fn show(context: &Context, key: Option<&str>) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let user = match key {
        None => None,
        Some(text) => match parse_user(text) {
            Ok(user) => Some(user),
            Err(_) => Some(wallet.friend(text).await?.user),
        },
    };
    let published = wallet.published_profile(user.as_ref()).await?;
    let profile = published.profile.record();
    let inboxes: Vec<Value> = profile
        .inboxes
        .iter()
        .map(|inbox| json!({ "plugin": inbox.plugin, "url": inbox.url }))
        .collect();
    let value = json!({
        "user": profile.user,
        "name": profile.name,
        "encryption_key_number": profile.current_key().map(|entry| entry.n.get()),
        "inboxes": inboxes,
        "units": profile.units,
        "page": profile.page,
        "at": profile.at,
        "serial": profile.serial.get(),
        "signed_by": published.profile.kid(),
        "matches_wallet": published.matches_wallet,
    });
    context.out.result(&value, || {
        let mut lines = vec![format!("key      {}", profile.user)];
        if let Some(name) = &profile.name {
            lines.push(format!("name     {name}"));
        }
        for inbox in &profile.inboxes {
            let url = inbox
                .url
                .as_ref()
                .map(|url| format!(" ({url})"))
                .unwrap_or_default();
            lines.push(format!("inbox    {}{url}", inbox.plugin));
        }
        let units: Vec<String> = profile.units.iter().map(ToString::to_string).collect();
        lines.push(format!("units    {}", units.join(", ")));
        if profile.page {
            lines.push("page     may be shown".to_owned());
        }
        lines.push(format!("signed   {}", time_text(profile.at.millis())));
        if published.matches_wallet == Some(false) {
            lines.push("This is NOT the profile that this wallet signed last.".to_owned());
        }
        lines.join("\n")
    });
    wallet.close().await;
    Ok(0)
}

pub async fn snapshot(context: &Context, command: SnapshotCommand) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let value = match command {
        SnapshotCommand::On => outcome(&wallet.set_snapshots(true).await?),
        SnapshotCommand::Off => outcome(&wallet.set_snapshots(false).await?),
        SnapshotCommand::Push => outcome(&wallet.push_snapshot().await?),
        SnapshotCommand::Public { units } => {
            let mut public = Vec::new();
            for unit in &units {
                public.push(wallet.parse_unit(unit).await?);
            }
            wallet.set_public_units(&public).await?;
            json!({ "units": public })
        }
    };
    context.out.result(&value, || match value.get("opted_in").and_then(Value::as_bool) {
        Some(true) => "Your plugin is told your balances and may show them to web apps that you sign in to.".to_owned(),
        Some(false) => "Your plugin is no longer told your balances.".to_owned(),
        None => "Done.".to_owned(),
    });
    wallet.close().await;
    Ok(0)
}

fn outcome(done: &SnapshotOutcome) -> Value {
    json!({ "opted_in": done.opted_in, "pushed": done.pushed, "left_out": done.left_out })
}

pub async fn diary(context: &Context, command: DiaryCommand) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let done = match command {
        DiaryCommand::On => wallet.set_diary(true).await?,
        DiaryCommand::Off => wallet.set_diary(false).await?,
        DiaryCommand::Push => wallet.push_diary().await?,
    };
    let value = json!({ "opted_in": done.opted_in, "pushed": done.pushed });
    context.out.result(&value, || match done.opted_in {
        true => "Your plugin is told what waits for you and what there was, and shows it on your wallet page, to you alone.".to_owned(),
        false => "Your plugin has forgotten what it was told, and is told no more of it.".to_owned(),
    });
    wallet.close().await;
    Ok(0)
}

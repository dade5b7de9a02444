//! `recover` and `move`.

use atomicity_client::ClientError;
use atomicity_client::net::Net;
use atomicity_client::net::plugin::{self, PluginAddress};
use atomicity_client::wallet::{ChannelState, RecoveredFriend, RootKey, Wallet, parse_user};
use serde_json::{Value, json};

use crate::args::{Move, Recover};
use crate::identity::{plugin_addresses, registration_code, registration_lines, registrations};
use crate::output::{channel_value, state_name};
use crate::{Context, secrets};

pub async fn recover(context: &Context, args: Recover) -> Result<u8, ClientError> {
    let config = context.config()?;
    let passphrase = secrets::ask(&context.global, "the root key")?;
    let root = RootKey::open(&args.root_file, &passphrase).await?;
    let mut plugins: Vec<PluginAddress> = Vec::new();
    for text in &args.plugins.plugins {
        plugins.push(match text.parse() {
            Ok(address) => address,
            Err(_) => {
                let url = text
                    .parse()
                    .map_err(|e| ClientError::Usage(format!("{text:?} is no plugin: {e}")))?;
                plugin::discover(&Net::new(&config.network)?, &url).await?
            }
        });
    }
    let done = Wallet::recover(&config, &root, &passphrase, &plugins).await?;
    for warning in &done.warnings {
        context.out.warn(warning);
    }
    let value = json!({
        "user": done.wallet.user(),
        "book_key": done.book_key,
        "homeserver": done.homeserver,
        "friends": done.friends.iter().map(friend_value).collect::<Vec<_>>(),
        "plugins": registrations(&done.plugins),
        "revoked": done.revoked,
        "warnings": done.warnings,
    });
    context.out.result(&value, || {
        let mut lines = vec![format!("You are {} again.", done.wallet.user())];
        if !done.revoked.is_empty() {
            lines.push(format!(
                "{} older devices may no longer sign for you.",
                done.revoked.len()
            ));
        }
        lines.extend(registration_lines(&done.plugins));
        lines.extend(done.friends.iter().map(friend_text));
        lines.push(
            "Look at your credit lines (atomicity balance): a thief might have raised them."
                .to_owned(),
        );
        lines.join("\n")
    });
    done.wallet.close().await;
    Ok(registration_code(&done.plugins))
}

fn friend_value(friend: &RecoveredFriend) -> Value {
    json!({
        "friend": friend.contact.name,
        "user": friend.contact.user,
        "epoch": friend.epoch,
        "state": state_name(friend.state),
        "balances": friend.channels.iter().map(channel_value).collect::<Vec<_>>(),
    })
}

fn friend_text(friend: &RecoveredFriend) -> String {
    let balances: Vec<String> = friend
        .channels
        .iter()
        .map(|channel| channel.unit.format_balance(channel.net))
        .collect();
    let balances = if balances.is_empty() {
        "nothing".to_owned()
    } else {
        balances.join(", ")
    };
    let state = match friend.state {
        ChannelState::Active => "has acknowledged the new book",
        _ => "has not acknowledged the new book yet: you can't pay them until then",
    };
    format!("{}: {balances}; {state}", friend.contact.name)
}

pub async fn move_home(context: &Context, args: Move) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let homeserver = parse_user(&args.homeserver)?;
    let root = context.root(&wallet).await?;
    let plugins = plugin_addresses(&wallet, &args.plugins).await?;
    let moved = wallet
        .move_home(&root, &homeserver, args.token.as_deref(), &plugins)
        .await?;
    if let Some(fault) = &moved.fault {
        context
            .out
            .warn(&format!("not everything is written yet: {}", fault.message));
    }
    let value = json!({
        "user": wallet.user(),
        "from": moved.from,
        "to": moved.to,
        "files": moved.files,
        "plugins": registrations(&moved.plugins),
    });
    context.out.result(&value, || {
        let mut lines = vec![format!(
            "You live at {} now; {} channel files are there.",
            moved.to, moved.files
        )];
        lines.extend(registration_lines(&moved.plugins));
        lines.join("\n")
    });
    wallet.close().await;
    Ok(registration_code(&moved.plugins))
}

//! `init`, `signup`, `whoami`.

use std::io::IsTerminal as _;

use atomicity_client::ClientError;
use atomicity_client::net::plugin::PluginAddress;
use atomicity_client::wallet::{PluginOutcome, PluginRegistration, RootKey, Wallet, parse_user};
use atomicity_ledger::Name;
use qrcode::QrCode;
use qrcode::render::unicode;
use serde_json::{Value, json};

use crate::args::{Init, Plugins, Signup, Whoami};
use crate::output::fault_value;
use crate::{Context, secrets};

pub async fn init(context: &Context, args: Init) -> Result<u8, ClientError> {
    let config = context.config()?;
    if config.home.join("wallet.sqlite").exists() {
        return Err(ClientError::WalletExists(config.home));
    }
    let name: Option<Name> = args.name.map(|name| name.parse()).transpose()?;
    let imported = args.import.is_some();
    let (root, passphrase) = match args.import {
        Some(file) => {
            let passphrase = secrets::ask(&context.global, "the root key")?;
            (RootKey::open(&file, &passphrase).await?, passphrase)
        }
        None => {
            let passphrase = secrets::choose(&context.global)?;
            (RootKey::random(), passphrase)
        }
    };
    let created = Wallet::create(&config, &root, &passphrase, name).await?;
    let user = created.wallet.user();
    let value = json!({
        "user": user,
        "book_key": created.book_key,
        "home": config.home,
        "root_file": created.root_file,
        "imported": imported,
    });
    context.out.result(&value, || {
        format!(
            "You are {user}\nYour root key lies encrypted in {}: keep a copy of that file elsewhere.\nNext: atomicity signup <homeserver>",
            created.root_file.display()
        )
    });
    created.wallet.close().await;
    Ok(0)
}

/// The plugins named on the command line.
pub async fn plugin_addresses(
    wallet: &Wallet,
    plugins: &Plugins,
) -> Result<Vec<PluginAddress>, ClientError> {
    let mut addresses = Vec::new();
    for text in &plugins.plugins {
        addresses.push(wallet.plugin_address(text).await?);
    }
    if addresses.is_empty() {
        addresses.clone_from(&wallet.config().defaults.plugins);
    }
    Ok(addresses)
}

/// How registering went, for JSON.
pub fn registrations(plugins: &[PluginRegistration]) -> Value {
    plugins
        .iter()
        .map(|plugin| {
            let mut value = json!({
                "plugin": plugin.address.key,
                "url": plugin.address.url.as_ref().map(ToString::to_string),
                "registered": match &plugin.outcome {
                    PluginOutcome::New => "new",
                    PluginOutcome::Existing => "existing",
                    PluginOutcome::Failed(_) => "failed",
                },
            });
            if let PluginOutcome::Failed(fault) = &plugin.outcome {
                value["error"] = fault_value(&fault.code, &fault.message);
            }
            value
        })
        .collect()
}

/// How registering went, in words.
pub fn registration_lines(plugins: &[PluginRegistration]) -> Vec<String> {
    plugins
        .iter()
        .map(|plugin| match &plugin.outcome {
            PluginOutcome::New => format!("registered at the plugin {}", plugin.address),
            PluginOutcome::Existing => format!("known at the plugin {}", plugin.address),
            PluginOutcome::Failed(fault) => {
                format!(
                    "NOT registered at the plugin {}: {}",
                    plugin.address, fault.message
                )
            }
        })
        .collect()
}

/// 4 if a plugin could not be reached, 1 if it refused.
pub fn registration_code(plugins: &[PluginRegistration]) -> u8 {
    let failed = plugins.iter().filter_map(|plugin| match &plugin.outcome {
        PluginOutcome::Failed(fault) => Some(if fault.network { 4 } else { 1 }),
        _ => None,
    });
    failed.max().unwrap_or(0)
}

pub async fn signup(context: &Context, args: Signup) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let homeserver = parse_user(&args.homeserver)?;
    let root = context.root(&wallet).await?;
    let plugins = plugin_addresses(&wallet, &args.plugins).await?;
    let done = wallet
        .sign_up(&root, &homeserver, args.token.as_deref(), &plugins)
        .await?;
    if let Some(fault) = &done.fault {
        context.out.warn(&format!(
            "not everything is published yet: {}",
            fault.message
        ));
    }
    let user = wallet.user();
    let value = json!({
        "user": user,
        "homeserver": done.homeserver,
        "account": if done.new_account { "new" } else { "existing" },
        "plugins": registrations(&done.plugins),
        "profile_url": format!("pubky://{user}/pub/atomicity/v0/profile"),
    });
    context.out.result(&value, || {
        let account = if done.new_account {
            "You have an account"
        } else {
            "You had an account"
        };
        let mut lines = vec![format!("{account} at {}", done.homeserver)];
        lines.extend(registration_lines(&done.plugins));
        lines.push(format!("Friends add you with: atomicity friend add {user}"));
        lines.join("\n")
    });
    wallet.close().await;
    Ok(registration_code(&done.plugins))
}

pub async fn whoami(context: &Context, args: &Whoami) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let id = wallet.identity().await?;
    let plugins: Vec<Value> = id
        .plugins
        .iter()
        .map(|plugin| json!({ "plugin": plugin.key, "url": plugin.url.as_ref().map(ToString::to_string) }))
        .collect();
    let value = json!({
        "user": id.user,
        "book_key": id.book_key,
        "name": id.name,
        "homeserver": id.homeserver,
        "plugins": plugins,
        "units": id.units,
        "encryption_key_number": id.encryption_key_number,
        "generation": id.generation,
        "outbox": id.outbox,
    });
    context.out.result(&value, || {
        let mut lines = Vec::new();
        if !args.no_qr && std::io::stdout().is_terminal() {
            lines.extend(qr(&format!("pubky://{}", id.user)));
        }
        if let Some(name) = &id.name {
            lines.push(format!("name        {name}"));
        }
        lines.push(format!("key         {}", id.user));
        lines.push(format!("book key    {}", id.book_key));
        let home = id
            .homeserver
            .as_deref()
            .unwrap_or("none yet: atomicity signup <homeserver>");
        lines.push(format!("homeserver  {home}"));
        for plugin in &id.plugins {
            lines.push(format!("plugin      {plugin}"));
        }
        let units: Vec<String> = id.units.iter().map(ToString::to_string).collect();
        let units = if units.is_empty() {
            "none open: atomicity unit open USD/2".to_owned()
        } else {
            units.join(", ")
        };
        lines.push(format!("units       {units}"));
        lines.join("\n")
    });
    wallet.close().await;
    Ok(0)
}

/// A code to be scanned; `None` if it is too long for one.
pub fn qr(text: &str) -> Option<String> {
    let code = QrCode::new(text).ok()?;
    Some(code.render::<unicode::Dense1x2>().quiet_zone(true).build())
}

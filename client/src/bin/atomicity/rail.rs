//! `rail …`: what pays for the user outside.

use std::path::{Path, PathBuf};

use atomicity_client::ClientError;
use atomicity_client::wallet::{RailSettings, RailView};
use atomicity_ledger::Decimal;
use atomicity_paykit_adapter::rail::{Health, LightningNetwork, RailError};
use serde_json::{Value, json};

use crate::Context;
use crate::args::{
    LightningArgs, RailAdd, RailAddBitcoind, RailAddCln, RailAddLnd, RailCommand, RailLimits,
};
use crate::output::{spinner, table};

pub async fn run(context: &Context, command: RailCommand) -> Result<u8, ClientError> {
    match command {
        RailCommand::Add(rail) => match *rail {
            RailAdd::Lnd(args) => add_lnd(context, args).await,
            RailAdd::Cln(args) => add_cln(context, args).await,
            RailAdd::Bitcoind(args) => add_bitcoind(context, args).await,
            RailAdd::Manual(args) => {
                let settings = RailSettings::Manual {
                    methods: args.method,
                };
                add(context, &args.name, settings, &args.limits).await
            }
        },
        RailCommand::Order { names } => {
            let wallet = context.wallet().await?;
            wallet.order_rails(&names).await?;
            wallet.close().await;
            list(context).await
        }
        RailCommand::List => list(context).await,
        RailCommand::Test { name } => test(context, &name).await,
        RailCommand::Remove { name } => {
            let wallet = context.wallet().await?;
            wallet.remove_rail(&name).await?;
            wallet.close().await;
            list(context).await
        }
    }
}

/// As it will be found from any folder.
fn absolute(path: &Path) -> Result<PathBuf, ClientError> {
    std::path::absolute(path).map_err(|why| ClientError::Io {
        path: path.to_owned(),
        why,
    })
}

fn settings_value(settings: &RailSettings) -> Value {
    // Paths and names only: the settings hold no secret.
    serde_json::to_value(settings).unwrap_or_default()
}

fn value(rail: &RailView) -> Value {
    let mut value = settings_value(&rail.settings);
    value["name"] = json!(rail.name);
    value["min"] = json!(rail.min);
    value["max"] = json!(rail.max);
    value["added_at"] = json!(rail.added_at);
    value
}

fn health_value(health: &Health) -> Value {
    json!({
        "ready": health.ready,
        "identity": health.identity,
        "can_send": health.can_send.as_ref().map(ToString::to_string),
        "can_receive": health.can_receive.as_ref().map(ToString::to_string),
    })
}

fn health_text(name: &str, health: &Health) -> String {
    let ready = if health.ready {
        "is ready"
    } else {
        "answers, but is not ready to pay"
    };
    match &health.can_send {
        Some(most) => format!("{name} {ready}; it can send up to {most}."),
        None => format!("{name} {ready}."),
    }
}

fn network(args: &LightningArgs) -> Result<LightningNetwork, ClientError> {
    let network = args.network.parse();
    network.map_err(|error: RailError| ClientError::Usage(error.to_string()))
}

async fn add_lnd(context: &Context, args: RailAddLnd) -> Result<u8, ClientError> {
    let settings = RailSettings::Lnd {
        url: args.url,
        certificate: absolute(&args.cert)?,
        macaroon: absolute(&args.macaroon)?,
        network: network(&args.lightning)?,
        max_fee_ppm: args.lightning.max_fee_ppm,
    };
    add(context, &args.name, settings, &args.limits).await
}

async fn add_cln(context: &Context, args: RailAddCln) -> Result<u8, ClientError> {
    let settings = RailSettings::Cln {
        url: args.url,
        certificate: absolute(&args.cert)?,
        rune: absolute(&args.rune)?,
        network: network(&args.lightning)?,
        max_fee_ppm: args.lightning.max_fee_ppm,
    };
    add(context, &args.name, settings, &args.limits).await
}

async fn add_bitcoind(context: &Context, args: RailAddBitcoind) -> Result<u8, ClientError> {
    let secret = args.cookie.or(args.password);
    let secret = secret.ok_or_else(|| ClientError::Usage("name the node's --cookie".to_owned()))?;
    let settings = RailSettings::Bitcoind {
        url: args.url,
        wallet: args.wallet,
        user: args.user,
        secret: absolute(&secret)?,
        chain: args.chain,
        methods: args.method,
        target_blocks: args.target_blocks,
        confirmations: args.confirmations,
        max_fee_sat: args.max_fee_sat,
    };
    add(context, &args.name, settings, &args.limits).await
}

async fn add(
    context: &Context,
    name: &str,
    settings: RailSettings,
    limits: &RailLimits,
) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let bound = |text: &Option<String>| text.as_deref().map(Decimal::read).transpose();
    let bounds = (bound(&limits.min)?, bound(&limits.max)?);
    let bar = spinner(context.out, "asking it");
    let added = wallet.add_rail(name, settings, bounds).await;
    bar.finish_and_clear();
    let (rail, health) = added?;
    let mut shown = value(&rail);
    shown["health"] = health_value(&health);
    context
        .out
        .result(&shown, || health_text(&rail.name, &health));
    wallet.close().await;
    Ok(0)
}

async fn list(context: &Context) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let rails = wallet.rails().await?;
    let values: Vec<Value> = rails.iter().map(value).collect();
    context.out.result(&json!({ "rails": values }), || {
        if rails.is_empty() {
            return "Nothing pays for you. Add a node, or yourself: atomicity rail add lnd|cln|bitcoind|manual …".to_owned();
        }
        let row = |rail: &RailView| {
            let (kind, where_it_is) = match &rail.settings {
                RailSettings::Lnd { url, network, .. } => ("lnd", format!("{url}, {network}")),
                RailSettings::Cln { url, network, .. } => ("cln", format!("{url}, {network}")),
                RailSettings::Bitcoind {
                    url, wallet, chain, ..
                } => ("bitcoind", format!("{url}, {wallet}, {chain}")),
                RailSettings::Manual { methods } => ("manual", methods.join(", ")),
                _ => ("other", String::new()),
            };
            let bounds = match (rail.min, rail.max) {
                (None, None) => String::new(),
                (Some(min), None) => format!("from {min}"),
                (None, Some(max)) => format!("up to {max}"),
                (Some(min), Some(max)) => format!("{min} to {max}"),
            };
            vec![rail.name.clone(), kind.to_owned(), bounds, where_it_is]
        };
        let rows: Vec<Vec<String>> = rails.iter().map(row).collect();
        table(&["rail", "kind", "amounts", "where"], &rows)
    });
    wallet.close().await;
    Ok(0)
}

async fn test(context: &Context, name: &str) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let bar = spinner(context.out, "asking the node");
    let health = wallet.test_rail(name).await;
    bar.finish_and_clear();
    let health = health?;
    let shown = health_value(&health);
    context.out.result(&shown, || health_text(name, &health));
    wallet.close().await;
    Ok(if health.ready { 0 } else { 4 })
}

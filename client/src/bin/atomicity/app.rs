//! `app …`: web apps that read.

use atomicity_client::ClientError;
use atomicity_client::net::plugin::PluginAddress;
use atomicity_ledger::Timestamp;
use serde_json::{Value, json};

use crate::Context;
use crate::args::{AppCommand, AppGrant};
use crate::output::time_text;

pub async fn run(context: &Context, command: AppCommand) -> Result<u8, ClientError> {
    match command {
        AppCommand::Grant(args) => grant(context, &args).await,
    }
}

async fn grant(context: &Context, args: &AppGrant) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let root = context.root(&wallet).await?;
    let (grant, until) = root.grant_reading(&args.app, args.lasts)?;
    let plugins = wallet.identity().await?.plugins;
    let addresses: Vec<Value> = plugins
        .iter()
        .map(|plugin| json!({ "plugin": plugin.key, "url": plugin.url.as_ref().map(ToString::to_string) }))
        .collect();
    let value = json!({
        "app": args.app,
        "grant": grant,
        "plugins": addresses,
        "until": until.millis(),
    });
    context.out.result(&value, || text(&plugins, until, &grant));
    wallet.close().await;
    Ok(0)
}

/// What is to be typed into the app, in the order in which it asks.
fn text(plugins: &[PluginAddress], until: Timestamp, grant: &str) -> String {
    let mut lines: Vec<String> = plugins
        .iter()
        .map(|plugin| match &plugin.url {
            Some(_) => format!("plugin  {plugin}"),
            None => format!("plugin  {plugin}@<its address on the web>"),
        })
        .collect();
    lines.push(format!("until   {}", time_text(until.millis())));
    lines.push(format!("grant   {grant}"));
    lines.join("\n")
}

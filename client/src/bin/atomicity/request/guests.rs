//! `request guests`: how people without a wallet may pay.

use atomicity_client::ClientError;
use atomicity_client::wallet::{GuestWay, GuestsView, Wallet};
use serde_json::{Value, json};

use crate::Context;

pub async fn run(
    context: &Context,
    wallet: &Wallet,
    (rails, only): (&[String], Option<&str>),
    off: bool,
) -> Result<u8, ClientError> {
    let view = if off || !rails.is_empty() {
        let only = only.and_then(GuestWay::read);
        wallet.welcome_guests(rails, only).await?
    } else {
        wallet.guests().await?
    };
    context.out.result(&value(&view), || text(&view));
    Ok(0)
}

fn value(view: &GuestsView) -> Value {
    let rails = view.rails.iter();
    let rails = rails.map(|one| json!({"way": one.way, "rail": one.rail}));
    let failed = view.failed.iter();
    let failed = failed
        .map(|(rail, way, code, why)| json!({"way": way, "rail": rail, "code": code, "why": why}));
    json!({
        "guests": rails.collect::<Vec<_>>(),
        "units": view.units,
        "failed": failed.collect::<Vec<_>>(),
    })
}

/// A way in words.
pub fn words(way: &str) -> &str {
    match way {
        "lightning" => "over Lightning",
        "onchain" => "on the chain",
        other => other,
    }
}

fn text(view: &GuestsView) -> String {
    let mut lines = Vec::new();
    for one in &view.rails {
        let way = words(one.way.as_str());
        lines.push(format!("guests may pay {way}, to your rail {}", one.rail));
    }
    for (rail, way, _, why) in &view.failed {
        let way = words(way.as_str());
        lines.push(format!("not {way}, by {rail}: {why}"));
    }
    if view.rails.is_empty() {
        lines.push(
            "guests can't pay by themselves: note what they pay with `atomicity request received`"
                .to_owned(),
        );
        lines.push("let them with `atomicity request guests --rail NAME`".to_owned());
        return lines.join("\n");
    }
    if view.units.is_empty() {
        lines.push(
            "none of your units can be counted in bitcoin: say a price in the settings, `atomicity settle rates` shows those there are"
                .to_owned(),
        );
    } else {
        let units: Vec<&str> = view.units.iter().map(|unit| unit.code()).collect();
        lines.push(format!("for what you ask for in {}", units.join(", ")));
        lines.push("while `atomicity watch` runs, and your plugin serves pages".to_owned());
    }
    lines.join("\n")
}

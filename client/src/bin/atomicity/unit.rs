//! `unit open`, `unit list`, `unit close`.

use atomicity_client::ClientError;
use atomicity_client::wallet::{DEFAULT_CAP_WHOLE_UNITS, Fault};
use atomicity_ledger::{Total, Unit};
use serde_json::{Value, json};

use crate::Context;
use crate::args::UnitCommand;
use crate::output::{minor_text, time_text};

pub async fn run(context: &Context, command: UnitCommand) -> Result<u8, ClientError> {
    match command {
        UnitCommand::Open { unit, cap } => open(context, &unit, cap.as_deref()).await,
        UnitCommand::List => list(context).await,
        UnitCommand::Close { unit } => close(context, &unit).await,
    }
}

async fn open(context: &Context, unit: &str, cap: Option<&str>) -> Result<u8, ClientError> {
    let unit: Unit = unit.parse()?;
    let asked = cap.map(|text| parse_cap(&unit, text)).transpose()?;
    let wallet = context.wallet().await?;
    let root = context.root(&wallet).await?;
    let opened = wallet.open_unit(&root, unit.clone(), asked).await?;
    warn(context, opened.fault.as_ref());
    let endpoint = opened.published.then(|| {
        format!(
            "/pub/paykit/v0/apps/atomicity/endpoints/{}-atomicity-ledger",
            unit.code().to_ascii_lowercase()
        )
    });
    let value = json!({
        "unit": unit,
        "cap": opened.cap.minor().to_string(),
        "cap_text": minor_text(&unit, opened.cap.minor()),
        "endpoint": endpoint,
        "published": opened.published,
    });
    context.out.result(&value, || {
        let cap = minor_text(&unit, opened.cap.minor());
        let why = if asked.is_none() {
            format!(" ({DEFAULT_CAP_WHOLE_UNITS} whole units, as nothing else was said; --cap changes it)")
        } else {
            String::new()
        };
        format!("{unit} is open. This device may let you owe one friend at most {cap}{why}.")
    });
    wallet.close().await;
    Ok(0)
}

/// `100.00`, or with the unit behind it.
fn parse_cap(unit: &Unit, text: &str) -> Result<Total, ClientError> {
    let number = match text.trim().split_once(char::is_whitespace) {
        None => text.trim(),
        Some((number, named)) => {
            let named = named.trim();
            if named != unit.to_string() && named != unit.code() {
                return Err(ClientError::Usage(format!(
                    "the cap is in {named}, the unit is {unit}"
                )));
            }
            number
        }
    };
    Ok(Total::from_minor(unit.parse_minor(number)?)?)
}

fn warn(context: &Context, fault: Option<&Fault>) {
    if let Some(fault) = fault {
        context.out.warn(&format!(
            "not everything is published yet, the next sync tries again: {}",
            fault.message
        ));
    }
}

async fn list(context: &Context) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let open = wallet.open_units().await?;
    let units: Vec<Value> = open
        .iter()
        .map(|open| {
            json!({
                "unit": open.unit,
                "cap": open.cap.map(|cap| cap.minor().to_string()),
                "cap_text": open.cap.map(|cap| minor_text(&open.unit, cap.minor())),
                "opened_at": open.opened_at,
            })
        })
        .collect();
    context.out.result(&json!({ "units": units }), || {
        if open.is_empty() {
            return "No unit is open. Open one with: atomicity unit open USD/2".to_owned();
        }
        let lines = open.iter().map(|open| {
            let cap = open.cap.map_or_else(
                || "no cap".to_owned(),
                |cap| {
                    format!(
                        "at most {} owed to one friend",
                        minor_text(&open.unit, cap.minor())
                    )
                },
            );
            format!("{}  {cap}, since {}", open.unit, time_text(open.opened_at))
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    wallet.close().await;
    Ok(0)
}

async fn close(context: &Context, unit: &str) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let unit = wallet.parse_unit(unit).await?;
    let root = context.root(&wallet).await?;
    let closed = wallet.close_unit(&root, unit.clone()).await?;
    warn(context, closed.fault.as_ref());
    let value = json!({
        "unit": unit,
        "closed": true,
        "still_open_with": closed.still_open_with,
    });
    context.out.result(&value, || {
        if closed.still_open_with.is_empty() {
            format!("{unit} is closed.")
        } else {
            format!(
                "{unit} is closed; still to be settled with {}.",
                closed.still_open_with.join(", ")
            )
        }
    });
    wallet.close().await;
    Ok(0)
}

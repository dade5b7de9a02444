//! `forward …`: passing payments on.

use atomicity_client::ClientError;
use atomicity_client::wallet::{ForwardRule, PassedOn, Wallet};
use atomicity_ledger::{Amount, Total, Unit, UserKey};
use serde_json::{Value, json};

use crate::Context;
use crate::args::{ForwardCommand, ForwardOn};
use crate::output::{minor_text, table, time_text};

pub async fn run(context: &Context, command: ForwardCommand) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    match command {
        ForwardCommand::On(args) => on(&wallet, &args).await?,
        ForwardCommand::Off { friend, unit } => {
            let to = match &friend {
                Some(friend) => Some(wallet.friend(friend).await?.user),
                None => None,
            };
            let unit = match &unit {
                Some(unit) => Some(wallet.parse_unit(unit).await?),
                None => None,
            };
            wallet.forward_off(to.as_ref(), unit.as_ref()).await?;
        }
        ForwardCommand::Clear { unit, off } => {
            let unit = wallet.parse_unit(&unit).await?;
            wallet.agree_to_clear(&unit, !off).await?;
        }
        ForwardCommand::List => {}
    }
    list(context, &wallet).await?;
    wallet.close().await;
    Ok(0)
}

async fn on(wallet: &Wallet, args: &ForwardOn) -> Result<(), ClientError> {
    if args.friends.is_empty() != args.all {
        return Err(ClientError::Usage(
            "name friends, or pass on to all of them with --all".to_owned(),
        ));
    }
    let unit = wallet.parse_unit(&args.unit).await?;
    let base = Total::from_minor(unit.parse_minor(&args.fee)?)?;
    let min = match &args.min {
        Some(min) => Amount::from_minor(unit.parse_minor(min)?)?,
        None => Amount::from_minor(1)?,
    };
    let rule = |to: Option<UserKey>, unit: Unit| ForwardRule {
        to,
        unit,
        allowed: true,
        min,
        base,
        ppm: args.ppm,
    };
    let mut rules = Vec::new();
    for friend in &args.friends {
        let user = wallet.friend(friend).await?.user;
        rules.push(rule(Some(user), unit.clone()));
    }
    if args.all {
        rules.push(rule(None, unit));
    }
    wallet.forward_on(&rules).await
}

async fn list(context: &Context, wallet: &Wallet) -> Result<(), ClientError> {
    let rules = wallet.forward_rules().await?;
    let passed = wallet.passed_on().await?;
    let mut values = Vec::new();
    let mut rows = Vec::new();
    for rule in &rules {
        let name = match &rule.to {
            Some(user) => wallet.name_of(user).await?,
            None => "everybody else".to_owned(),
        };
        values.push(rule_value(rule, &name));
        rows.push(rule_row(rule, &name));
    }
    let passed_values: Vec<Value> = passed.iter().map(passed_value).collect();
    let clearing = wallet.clearing_units().await?;
    let value = json!({ "rules": values, "clearing": clearing, "passed_on": passed_values });
    let mut lines = Vec::new();
    if !clearing.is_empty() {
        let units: Vec<String> = clearing.iter().map(Unit::to_string).collect();
        lines.push(format!(
            "Circles of debts are cleared in {}. Anybody can read who owes whom there, and roughly how much.",
            units.join(", ")
        ));
    }
    for one in passed.iter().take(20) {
        let (from, to) = (
            wallet.name_of(&one.from).await?,
            wallet.name_of(&one.to).await?,
        );
        lines.push(format!(
            "{}  {from} to {to}: {}, fee {}, {}",
            time_text(one.at),
            minor_text(&one.unit, one.amount),
            minor_text(&one.unit, one.fee),
            one.stage
        ));
    }
    context.out.result(&value, || {
        let mut text = if rows.is_empty() {
            "You pass nothing on. Begin with: atomicity forward on --all --unit …".to_owned()
        } else {
            table(
                &["to", "unit", "", "from", "fee", "and of a million"],
                &rows,
            )
        };
        for line in &lines {
            text.push('\n');
            text.push_str(line);
        }
        text
    });
    Ok(())
}

fn rule_value(rule: &ForwardRule, name: &str) -> Value {
    json!({
        "to": rule.to,
        "friend": rule.to.map(|_| name),
        "unit": rule.unit,
        "allowed": rule.allowed,
        "min": rule.min.minor().to_string(),
        "fee": rule.base.minor().to_string(),
        "fee_text": minor_text(&rule.unit, rule.base.minor()),
        "ppm": rule.ppm,
    })
}

fn rule_row(rule: &ForwardRule, name: &str) -> Vec<String> {
    vec![
        name.to_owned(),
        rule.unit.to_string(),
        if rule.allowed { "yes" } else { "no" }.to_owned(),
        minor_text(&rule.unit, rule.min.minor()),
        minor_text(&rule.unit, rule.base.minor()),
        rule.ppm.to_string(),
    ]
}

fn passed_value(one: &PassedOn) -> Value {
    json!({
        "from": one.from,
        "to": one.to,
        "unit": one.unit,
        "amount": one.amount.to_string(),
        "fee": one.fee.to_string(),
        "stage": one.stage,
        "at": one.at,
    })
}

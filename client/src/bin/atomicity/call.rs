//! `call …`: debts that the wallet calls in by itself.

use std::time::Duration;

use atomicity_client::ClientError;
use atomicity_client::wallet::{CallRule, CallWhen, CallWho, Wallet};
use serde_json::{Value, json};

use crate::Context;
use crate::args::CallCommand;
use crate::output::{minor_text, table};
use crate::request::way;

pub async fn run(context: &Context, command: CallCommand) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    match command {
        CallCommand::Add {
            friend,
            tag,
            all: _,
            over,
            after,
            unit,
            ways,
        } => {
            let who = match (friend, tag) {
                (Some(friend), _) => CallWho::Friend(wallet.friend(&friend).await?.user),
                (None, Some(tag)) => CallWho::Tag(tag),
                (None, None) => CallWho::All,
            };
            let when = match (over, after) {
                (Some(over), _) => {
                    let (minor, unit) = wallet.parse_limit(&over).await?;
                    CallWhen::Over(minor, unit)
                }
                (None, Some(after)) => {
                    let unit = match unit {
                        Some(unit) => Some(wallet.parse_unit(&unit).await?),
                        None => None,
                    };
                    CallWhen::After(after, unit)
                }
                (None, None) => {
                    let why = "say when: --over an amount, or --after a time";
                    return Err(ClientError::Usage(why.to_owned()));
                }
            };
            let targets = ways
                .iter()
                .map(|text| way(text))
                .collect::<Result<_, _>>()?;
            let rule = wallet.call_debts(who, when, targets).await?;
            let words = row(&wallet, &rule).await?;
            context.out.result(&value(&rule), || {
                format!(
                    "Rule {}: debts of {} are called in once they are {}.",
                    rule.id, words[1], words[2]
                )
            });
        }
        CallCommand::List => {
            let rules = wallet.call_rules().await?;
            let values: Vec<Value> = rules.iter().map(value).collect();
            let mut rows = Vec::new();
            for rule in &rules {
                rows.push(row(&wallet, rule).await?.to_vec());
            }
            context.out.result(&json!({ "rules": values }), || {
                if rows.is_empty() {
                    return "No debt is called in by itself.".to_owned();
                }
                table(&["rule", "of", "once it is", "or"], &rows)
            });
        }
        CallCommand::Remove { id } => {
            wallet.forget_call_rule(id).await?;
            context
                .out
                .result(&json!({ "removed": id }), || format!("Rule {id} is gone."));
        }
    }
    wallet.close().await;
    Ok(0)
}

fn value(rule: &CallRule) -> Value {
    let (friend, tag) = match &rule.who {
        CallWho::Friend(user) => (Some(user), None),
        CallWho::Tag(tag) => (None, Some(tag)),
        _ => (None, None),
    };
    let (over, after_s, unit) = match &rule.when {
        CallWhen::Over(over, unit) => (Some(over.to_string()), None, Some(unit)),
        CallWhen::After(after, unit) => (None, Some(after.as_secs()), unit.as_ref()),
        _ => (None, None, None),
    };
    json!({
        "rule": rule.id,
        "user": friend,
        "tag": tag,
        "over": over,
        "after_s": after_s,
        "unit": unit,
        "or": rule.targets,
    })
}

async fn row(wallet: &Wallet, rule: &CallRule) -> Result<[String; 4], ClientError> {
    let who = match &rule.who {
        CallWho::Friend(user) => wallet.name_of(user).await?,
        CallWho::Tag(tag) => format!("friends tagged {tag}"),
        _ => "all friends".to_owned(),
    };
    let when = match &rule.when {
        CallWhen::Over(over, unit) => format!("over {}", minor_text(unit, *over)),
        CallWhen::After(after, unit) => {
            let unit = unit.as_ref().map(|unit| format!(", in {unit}"));
            format!("older than {}{}", age(*after), unit.unwrap_or_default())
        }
        _ => String::new(),
    };
    let ways: Vec<String> = rule
        .targets
        .iter()
        .map(|target| target.method.to_string())
        .collect();
    Ok([rule.id.to_string(), who, when, ways.join(", ")])
}

fn age(time: Duration) -> String {
    match time.as_secs() {
        days if days % 86_400 == 0 => format!("{}d", days / 86_400),
        seconds => format!("{seconds}s"),
    }
}

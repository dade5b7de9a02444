//! `agent …`: letting a plugin keep books while this device is off.

use atomicity_client::ClientError;
use atomicity_client::wallet::{
    AgentPairView, AgentSignature, AgentStage, AgentStatus, AgentTerms, TakenBack, TakenBackBy,
    Wallet,
};
use atomicity_ledger::Unit;
use serde_json::{Value, json};

use crate::Context;
use crate::args::{AgentCommand, AgentOn};
use crate::events::{event_text, event_value};
use crate::output::{day_millis, fault_value, minor_text, print_line, table, time_text};
use crate::pay::now_ms;

pub async fn run(context: &Context, command: AgentCommand) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let code = match command {
        AgentCommand::On(args) => on(context, &wallet, &args).await?,
        AgentCommand::Status => status(context, &wallet.agent_status().await?),
        AgentCommand::Log { limit } => log(context, &wallet, limit).await?,
        AgentCommand::Events => events(context, &wallet).await?,
        AgentCommand::TakeBack { friends } => {
            let mut users = Vec::new();
            for friend in &friends {
                users.push(wallet.friend(friend).await?.user);
            }
            back(context, &wallet.agent_take_back(&users).await?, false)
        }
        AgentCommand::Off { force: false } => back(context, &wallet.agent_off().await?, true),
        AgentCommand::Off { force: true } | AgentCommand::Revoke => {
            let root = context.root(&wallet).await?;
            back(context, &wallet.agent_revoke(&root).await?, true)
        }
    };
    wallet.close().await;
    Ok(code)
}

async fn on(context: &Context, wallet: &Wallet, args: &AgentOn) -> Result<u8, ClientError> {
    let mut terms = AgentTerms::until(until(&args.until)?);
    if args.peers != "all" {
        let mut users = Vec::new();
        for name in args.peers.split(',').filter(|name| !name.trim().is_empty()) {
            users.push(wallet.friend(name).await?.user);
        }
        terms.peers = Some(users);
    }
    terms.limits = amounts(wallet, &args.limit).await?;
    terms.per_day = amounts(wallet, &args.per_day).await?;
    if let Some(plugin) = &args.plugin {
        terms.plugin = Some(wallet.plugin_address(plugin).await?);
    }
    let root = context.root(wallet).await?;
    Ok(status(context, &wallet.agent_on(&root, &terms).await?))
}

async fn amounts(wallet: &Wallet, texts: &[String]) -> Result<Vec<(Unit, u64)>, ClientError> {
    let mut amounts: Vec<(Unit, u64)> = Vec::new();
    for text in texts {
        let (minor, unit) = wallet.parse_limit(text).await?;
        if amounts.iter().any(|(known, _)| *known == unit) {
            return Err(ClientError::Usage(format!("{unit} is named twice")));
        }
        amounts.push((unit, minor));
    }
    Ok(amounts)
}

/// Reads `30d` from now, or the end of a day.
pub fn until(text: &str) -> Result<u64, ClientError> {
    if let Some(begin) = day_millis(text) {
        return Ok(begin.saturating_add(86_400_000));
    }
    let span = crate::promise::span(text).map_err(|_| {
        ClientError::Usage(format!(
            "{text:?}: write a time from now such as 30d, or a day such as 2031-12-24"
        ))
    })?;
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Ok(now_ms().saturating_add(span))
}

fn status(context: &Context, status: &AgentStatus) -> u8 {
    let limits: Vec<Value> = status
        .limits
        .iter()
        .map(|limit| {
            json!({
                "unit": limit.unit,
                "per_peer": limit.per_peer,
                "per_day": limit.per_day,
            })
        })
        .collect();
    let fault = status.fault.as_ref();
    let value = json!({
        "plugin": status.plugin.key,
        "agent_key": status.key,
        "until": status.until,
        "limits": limits,
        "state": status.state,
        "why": status.why,
        "error": fault.map(|fault| fault_value(&fault.code, &fault.message)),
        "peers": status.pairs.iter().map(pair_value).collect::<Vec<_>>(),
    });
    context.out.result(&value, || status_text(status));
    match fault {
        Some(fault) if fault.network => 4,
        _ if status.pairs.iter().any(|pair| pair.fault.is_some()) => 1,
        _ => 0,
    }
}

fn pair_value(pair: &AgentPairView) -> Value {
    json!({
        "user": pair.contact.user,
        "friend": pair.contact.name,
        "stage": pair.stage.as_str(),
        "settling": pair.settling,
        "epoch": pair.epoch,
        "acknowledged": pair.acknowledged,
        "pending": pair.pending,
        "to_send": pair.to_send,
        "error": pair.fault.as_ref().map(|fault| fault_value(&fault.code, &fault.message)),
    })
}

fn status_text(status: &AgentStatus) -> String {
    let mut lines = vec![
        format!("agent   {}", status.key),
        format!("plugin  {}", status.plugin),
        format!("until   {}", time_text(status.until)),
    ];
    for limit in &status.limits {
        let mut text = format!(
            "limit   {} to any one",
            minor_text(&limit.unit, limit.per_peer.minor())
        );
        if let Some(per_day) = limit.per_day {
            let per_day = minor_text(&limit.unit, per_day.minor());
            text.push_str(&format!(", {per_day} a day for your apps"));
        }
        lines.push(text);
    }
    match (status.state.as_deref(), &status.fault) {
        (_, Some(fault)) => lines.push(format!("state   {}", fault.message)),
        (Some("active"), None) => lines.push("state   at work".to_owned()),
        (Some(state), None) => lines.push(format!("state   {state}")),
        (None, None) => {}
    }
    let rows: Vec<Vec<String>> = status.pairs.iter().map(pair_row).collect();
    if rows.is_empty() {
        lines.push("It keeps nobody's books.".to_owned());
    } else {
        lines.push(table(
            &["friend", "books", "friend knows", "to send"],
            &rows,
        ));
    }
    for pair in &status.pairs {
        if let Some(fault) = &pair.fault {
            lines.push(format!("{}: {}", pair.contact.name, fault.message));
        }
    }
    lines.join("\n")
}

fn pair_row(pair: &AgentPairView) -> Vec<String> {
    let stage = match pair.stage {
        AgentStage::Wanted if pair.settling => "here, a debt is being settled",
        AgentStage::Wanted => "here, to be handed over",
        AgentStage::Handing => "on their way",
        AgentStage::Kept => "with the agent",
        AgentStage::Returning => "coming home for a while",
    };
    vec![
        pair.contact.name.clone(),
        stage.to_owned(),
        if pair.acknowledged { "yes" } else { "not yet" }.to_owned(),
        pair.to_send.to_string(),
    ]
}

async fn log(context: &Context, wallet: &Wallet, limit: u32) -> Result<u8, ClientError> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let signed = wallet.agent_log(most).await?;
    let values: Vec<Value> = signed.iter().map(signature_value).collect();
    context.out.result(&json!({ "items": values }), || {
        if signed.is_empty() {
            return "It has signed nothing yet.".to_owned();
        }
        let lines: Vec<String> = signed.iter().map(signature_text).collect();
        lines.join("\n")
    });
    Ok(0)
}

fn signature_value(signed: &AgentSignature) -> Value {
    json!({
        "id": signed.id,
        "at": signed.at,
        "user": signed.user,
        "friend": signed.friend,
        "what": signed.what,
        "unit": signed.unit,
        "amount": signed.amount.map(|amount| amount.to_string()),
        "amount_text": amount_text(signed),
        "text": words(signed),
        "account": signed.account,
        "record": signed.record,
    })
}

fn amount_text(signed: &AgentSignature) -> Option<String> {
    let unit = signed.unit.as_ref()?;
    Some(minor_text(unit, signed.amount?))
}

fn signature_text(signed: &AgentSignature) -> String {
    format!("{}  {}", time_text(signed.at), words(signed))
}

/// What was signed, as a sentence.
fn words(signed: &AgentSignature) -> String {
    let friend = &signed.friend;
    let amount = amount_text(signed).unwrap_or_default();
    match signed.what.as_str() {
        "payment" => format!("paid {friend} {amount}"),
        "state" => format!("all that you ever gave {friend} is now {amount}"),
        "promise" => format!("promised {friend} {amount} if a secret is published"),
        "release" => format!("gave up a promise of {friend}"),
        "publication" => format!("showed {friend} that a promise is due"),
        "credit_line" => format!("said that {friend} may owe you {amount}"),
        "refusal" => format!("gave {friend} {amount} back that exceeded your limit"),
        "ack" => format!("told {friend} what has arrived"),
        "book" => format!("told {friend} who keeps your books"),
        "view" => format!("showed {friend} how logs stand"),
        "invoice" => format!("asked to be paid {amount}").trim_end().to_owned(),
        "advert" => format!("published what can go to and from {friend}"),
        "spend" => match &signed.account {
            Some(account) => format!("was asked by {account} to pay {friend} {amount}"),
            None => format!("was asked to pay {friend} {amount}"),
        },
        "reply" => format!("handed {friend} an answer for somebody who pays"),
        other => format!("signed for {friend}: {other} {amount}")
            .trim_end()
            .to_owned(),
    }
}

async fn events(context: &Context, wallet: &Wallet) -> Result<u8, ClientError> {
    let json = context.out.json;
    let report = move |event| {
        let line = if json {
            event_value(&event).to_string()
        } else {
            event_text(&event)
        };
        print_line(&line);
    };
    wallet
        .follow_agent(crate::sync::until_stopped(), report)
        .await?;
    Ok(0)
}

fn back(context: &Context, back: &[TakenBack], ended: bool) -> u8 {
    let values: Vec<Value> = back
        .iter()
        .map(|one| {
            json!({
                "user": one.contact.user,
                "friend": one.contact.name,
                "by": by_name(one.by),
                "waits_for_friend": one.waits,
                "error": one.fault.as_ref().map(|fault| fault_value(&fault.code, &fault.message)),
            })
        })
        .collect();
    let failed = back.iter().any(|one| one.fault.is_some());
    let value = json!({ "friends": values, "ended": ended && !failed });
    context.out.result(&value, || {
        let mut lines: Vec<String> = back.iter().map(back_text).collect();
        lines.push(match (ended, failed) {
            (true, false) => "The agent keeps nothing any more.".to_owned(),
            (true, true) => "Run the same command again for the rest.".to_owned(),
            (false, _) => format!("{} taken back.", back.len()),
        });
        lines.join("\n")
    });
    u8::from(failed)
}

fn by_name(by: TakenBackBy) -> &'static str {
    match by {
        TakenBackBy::Nobody => "nobody",
        TakenBackBy::Agent => "agent",
        TakenBackBy::Root => "root",
    }
}

fn back_text(one: &TakenBack) -> String {
    let name = &one.contact.name;
    match (&one.fault, one.waits) {
        (Some(fault), _) => format!("{name}: NOT taken over: {}", fault.message),
        (None, true) => {
            format!("{name}: here again; nothing can be given until they have acknowledged it")
        }
        (None, false) => format!("{name}: here again"),
    }
}

//! `log`.

use std::path::Path;

use atomicity_client::ClientError;
use atomicity_client::wallet::{ForkView, LogSource, LogView, Watchtower};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::Context;
use crate::args::{LogCommand, WatchtowerCommand};
use crate::output::{spinner, time_text};

/// The largest policy or proof that is read from a file, in bytes.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

pub async fn run(context: &Context, command: LogCommand) -> Result<u8, ClientError> {
    match command {
        LogCommand::Add { source } => add(context, &source).await,
        LogCommand::List => list(context).await,
        LogCommand::Remove { origin } => {
            let wallet = context.wallet().await?;
            wallet.remove_log(&origin).await?;
            let value = json!({ "origin": origin, "removed": true });
            context
                .out
                .result(&value, || format!("{origin} is forgotten."));
            wallet.close().await;
            Ok(0)
        }
        LogCommand::Refuse { origin, proof } => refuse(context, &origin, proof.as_deref()).await,
        LogCommand::Proof { origin, out } => proof(context, &origin, &out).await,
        LogCommand::Watchtower(command) => watchtower(context, command).await,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    use std::io::Read as _;
    let io = |why| ClientError::Io {
        path: path.to_owned(),
        why,
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    Ok(bytes)
}

fn source_of(text: &str) -> Result<LogSource, ClientError> {
    if text.starts_with("https://") || text.starts_with("http://") {
        return Ok(LogSource::Address(text.to_owned()));
    }
    let policy = String::from_utf8(read(Path::new(text))?)
        .map_err(|_| ClientError::Usage(format!("{text} is no policy")))?;
    Ok(LogSource::Policy(policy))
}

fn fork_value(fork: &ForkView) -> Value {
    json!({
        "origin": fork.origin,
        "culprit": fork.culprit,
        "role": fork.role,
        "what": fork.what,
        "words": fork.words,
        "found_at": fork.found_at,
        "proof": STANDARD.encode(&fork.proof),
    })
}

fn log_value(log: &LogView) -> Value {
    let cosigners = log.cosigners.iter();
    json!({
        "origin": log.origin,
        "url": log.url,
        "policy_hash": log.policy_hash,
        "cosigners": cosigners.map(|c| json!({ "key": c.key, "url": c.url })).collect::<Vec<_>>(),
        "quorum": log.quorum,
        "size": log.size.map(|size| size.to_string()),
        "checked_at": log.checked_at,
        "added_at": log.added_at,
        "usable": log.usable,
        "refused": log.refused,
        "forks": log.forks.iter().map(fork_value).collect::<Vec<_>>(),
    })
}

fn log_text(log: &LogView) -> String {
    let mut lines = vec![log.origin.clone(), format!("  at {}", log.url)];
    for cosigner in &log.cosigners {
        lines.push(format!("  cosigner {}", cosigner.key));
    }
    lines.push(format!("  {}", log.quorum));
    if let (Some(size), Some(at)) = (log.size, log.checked_at) {
        lines.push(format!(
            "  newest checkpoint: {size} entries, seen {}",
            time_text(at)
        ));
    }
    for fork in &log.forks {
        lines.push(format!(
            "  PROVEN: {} ({}, {})",
            fork.words,
            fork.what,
            time_text(fork.found_at)
        ));
        lines.push(format!("    the culprit's key: {}", fork.culprit));
    }
    match (log.usable, log.refused) {
        (true, _) => lines.push("  promises may hang on it".to_owned()),
        (false, true) => lines.push("  REFUSED by you".to_owned()),
        (false, false) => lines.push("  REFUSED because of the proof".to_owned()),
    }
    lines.join("\n")
}

async fn add(context: &Context, source: &str) -> Result<u8, ClientError> {
    let source = source_of(source)?;
    let wallet = context.wallet().await?;
    let bar = spinner(context.out, "reading the log");
    let added = wallet.add_log(source).await;
    bar.finish_and_clear();
    let added = added?;
    context.out.result(&log_value(&added), || log_text(&added));
    wallet.close().await;
    Ok(0)
}

async fn list(context: &Context) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let logs = wallet.logs().await?;
    let values: Vec<Value> = logs.iter().map(log_value).collect();
    context.out.result(&json!({ "logs": values }), || {
        if logs.is_empty() {
            return "No log is known. Add one with: atomicity log add https://…/log".to_owned();
        }
        logs.iter().map(log_text).collect::<Vec<_>>().join("\n")
    });
    wallet.close().await;
    Ok(0)
}

async fn refuse(context: &Context, origin: &str, proof: Option<&Path>) -> Result<u8, ClientError> {
    let bytes = proof.map(read).transpose()?;
    let wallet = context.wallet().await?;
    let refused = wallet.refuse_log(origin, bytes.as_deref()).await?;
    context
        .out
        .result(&log_value(&refused), || log_text(&refused));
    wallet.close().await;
    Ok(0)
}

async fn proof(context: &Context, origin: &str, out: &Path) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let logs = wallet.logs().await?;
    let log = logs.iter().find(|log| log.origin == origin);
    let log = log.ok_or_else(|| ClientError::LogUnknown(origin.to_owned()))?;
    let fork = log.forks.first().ok_or_else(|| {
        ClientError::Usage(format!(
            "nothing is proven against {origin} or its cosigners"
        ))
    })?;
    std::fs::write(out, &fork.proof).map_err(|why| ClientError::Io {
        path: out.to_owned(),
        why,
    })?;
    let mut value = fork_value(fork);
    value["file"] = json!(out);
    context.out.result(&value, || {
        format!("The proof that {} is in {}.", fork.words, out.display())
    });
    wallet.close().await;
    Ok(0)
}

fn tower_value(tower: &Watchtower) -> Value {
    json!({ "url": tower.url, "added_at": tower.added_at })
}

async fn watchtower(context: &Context, command: WatchtowerCommand) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    match command {
        WatchtowerCommand::Add { url } => {
            let added = wallet.add_watchtower(&url).await?;
            context.out.result(&tower_value(&added), || {
                format!("{} is asked about logs from now on.", added.url)
            });
        }
        WatchtowerCommand::List => {
            let towers = wallet.watchtowers().await?;
            let values: Vec<Value> = towers.iter().map(tower_value).collect();
            context.out.result(&json!({ "watchtowers": values }), || {
                if towers.is_empty() {
                    return "No watchtower is asked.".to_owned();
                }
                let urls: Vec<&str> = towers.iter().map(|tower| tower.url.as_str()).collect();
                urls.join("\n")
            });
        }
        WatchtowerCommand::Remove { url } => {
            wallet.remove_watchtower(&url).await?;
            let value = json!({ "url": url, "removed": true });
            context
                .out
                .result(&value, || format!("{url} is asked no more."));
        }
    }
    wallet.close().await;
    Ok(0)
}

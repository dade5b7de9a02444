//! `evidence export`, `evidence verify`.

use std::path::{Path, PathBuf};

use atomicity_client::ClientError;
use atomicity_client::wallet::verify_evidence;
use atomicity_ledger::evidence::{MAX_BUNDLE_BYTES, Report};
use serde_json::{Value, json};

use crate::Context;
use crate::args::EvidenceCommand;
use crate::output::{minor_text, print_line, time_text};

pub async fn run(context: &Context, command: EvidenceCommand) -> Result<u8, ClientError> {
    match command {
        EvidenceCommand::Export { friend, out } => export(context, &friend, out).await,
        EvidenceCommand::Verify { file } => verify(context, &file),
    }
}

async fn export(context: &Context, friend: &str, out: Option<PathBuf>) -> Result<u8, ClientError> {
    if out.is_none() && context.out.json {
        return Err(ClientError::Usage(
            "with --json, name the file with --out".to_owned(),
        ));
    }
    let wallet = context.wallet().await?;
    let contact = wallet.friend(friend).await?;
    let bundle = wallet.export_evidence(&contact.user).await?;
    match out {
        None => print_line(bundle.text.trim_end()),
        Some(path) => {
            std::fs::write(&path, &bundle.text).map_err(|why| ClientError::Io {
                path: path.clone(),
                why,
            })?;
            let value = json!({
                "file": path,
                "friend": bundle.friend,
                "user": bundle.user,
                "records": bundle.records,
            });
            context.out.result(&value, || {
                format!(
                    "{} records about {} are in {}. Anybody can check them: atomicity evidence verify {}",
                    bundle.records,
                    bundle.friend,
                    path.display(),
                    path.display()
                )
            });
        }
    }
    wallet.close().await;
    Ok(0)
}

/// Reads a file, but no more than a bundle can be.
fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    use std::io::Read as _;
    let io = |why| ClientError::Io {
        path: path.to_owned(),
        why,
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .map_err(io)?
        .take(MAX_BUNDLE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    Ok(bytes)
}

fn verify(context: &Context, file: &Path) -> Result<u8, ClientError> {
    let report = verify_evidence(&read(file)?)?;
    context
        .out
        .result(&report_value(&report), || report_text(&report));
    Ok(0)
}

fn notes(report: &Report) -> Vec<String> {
    let contradictions = report.contradictions.iter().map(|found| {
        let (first, second) = found.indexes;
        format!(
            "{} contradicts themselves in records {first} and {second}: {}",
            found.user, found.why
        )
    });
    let not_counted = report.not_counted.iter().map(|left| {
        format!(
            "record {} ({}) is not counted: {}",
            left.index, left.typ, left.why
        )
    });
    contradictions.chain(not_counted).collect()
}

fn report_value(report: &Report) -> Value {
    let channels: Vec<Value> = report
        .channels
        .iter()
        .map(|channel| {
            json!({
                "unit": channel.unit,
                "from": channel.from,
                "to": channel.to,
                "issued": channel.issued,
                "issued_text": minor_text(&channel.unit, channel.issued.minor()),
                "due": channel.due.to_string(),
                "due_text": minor_text(&channel.unit, channel.due),
                "undecided": channel.undecided.to_string(),
                "undecided_text": minor_text(&channel.unit, channel.undecided),
                "epoch": channel.epoch.get(),
                "seq": channel.seq.get().to_string(),
                "key": channel.key,
                "acknowledged": channel.acknowledged,
            })
        })
        .collect();
    let net: Vec<Value> = report
        .net
        .iter()
        .map(|net| {
            json!({
                "unit": net.unit,
                "creditor": net.creditor,
                "debtor": net.debtor,
                "amount": net.amount.minor().to_string(),
                "amount_text": minor_text(&net.unit, net.amount.minor()),
            })
        })
        .collect();
    json!({
        "valid": true,
        "records": report.records,
        "parties": [report.user, report.peer],
        "at": report.judged_at,
        "exported_at": report.exported_at,
        "channels": channels,
        "net": net,
        "notes": notes(report),
    })
}

fn report_text(report: &Report) -> String {
    let mut lines = vec![format!(
        "Valid: {} records between {} and {}, judged as of {}.",
        report.records,
        report.user,
        report.peer,
        time_text(report.judged_at.millis())
    )];
    if report.net.is_empty() {
        lines.push("Neither owes the other anything.".to_owned());
    }
    for net in &report.net {
        lines.push(format!(
            "{} owes {} {}",
            net.debtor,
            net.creditor,
            minor_text(&net.unit, net.amount.minor())
        ));
    }
    for channel in &report.channels {
        let (from, to) = (&channel.from, &channel.to);
        if channel.due > 0 {
            let due = minor_text(&channel.unit, channel.due);
            lines.push(format!(
                "of it, {from} owes {to} {due} by proofs of publication, not booked yet"
            ));
        }
        if channel.undecided > 0 {
            let promised = minor_text(&channel.unit, channel.undecided);
            lines.push(format!(
                "{from} has promised {to} {promised} more, and that is not decided"
            ));
        }
    }
    lines.extend(notes(report));
    lines.join("\n")
}

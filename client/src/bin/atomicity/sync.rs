//! `sync` and `watch`.

use std::time::{Duration, Instant};

use atomicity_client::ClientError;
use atomicity_client::wallet::{Fault, SyncReport, Wallet, WatchOptions};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::args::{Sync, Watch};
use crate::events::{event_text, event_value};
use crate::output::{Output, fault_value, print_line};

/// A progress bar is shown when it lasts longer than this.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the end waits for what has not left yet.
const LAST_SENDING: Duration = Duration::from_secs(5);

pub async fn sync(context: &Context, args: Sync) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let mut only = Vec::new();
    for friend in &args.friends {
        only.push(wallet.friend(friend).await?.user);
    }
    let began = Instant::now();
    let bar = bar(context.out);
    let report = wallet
        .sync_with(&only, |done, all| {
            if began.elapsed() >= PATIENCE {
                bar.set_length(all);
                bar.set_position(done);
            }
        })
        .await;
    bar.finish_and_clear();
    let report = report?;
    let fault = |fault: &Fault| fault_value(&fault.code, &fault.message);
    let unreachable: Vec<Value> = report
        .unreachable
        .iter()
        .map(|friend| {
            json!({
                "friend": friend.friend,
                "user": friend.user,
                "code": friend.fault.code,
                "message": friend.fault.message,
            })
        })
        .collect();
    let value = json!({
        "applied": report.applied,
        "duplicates": report.duplicates,
        "pending": report.pending,
        "refused": report.refused,
        "sent": report.sent,
        "decided": report.decided,
        "undecided": report.undecided,
        "logs": report.unreadable_logs.iter().map(|(origin, why)| {
            json!({ "origin": origin, "code": why.code, "message": why.message })
        }).collect::<Vec<_>>(),
        "queued": report.queued,
        "friends": report.friends,
        "unreachable": unreachable,
        "inbox": { "read": report.inbox.read, "error": report.inbox.fault.as_ref().map(fault) },
        "fault": report.fault.as_ref().map(fault),
        "agent": report.agent.as_ref().map(fault),
        "events": report.events.iter().map(event_value).collect::<Vec<_>>(),
    });
    context.out.result(&value, || sync_text(&report));
    wallet.close().await;
    Ok(if report.reached_anything() { 0 } else { 4 })
}

fn bar(out: Output) -> ProgressBar {
    if !out.shows_progress() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} friends") {
        bar.set_style(style);
    }
    bar
}

fn sync_text(report: &SyncReport) -> String {
    let mut lines: Vec<String> = report.events.iter().map(event_text).collect();
    for friend in &report.unreachable {
        lines.push(format!(
            "{} could not be looked at: {}",
            friend.friend, friend.fault.message
        ));
    }
    for (origin, fault) in &report.unreadable_logs {
        lines.push(format!(
            "the log {origin} could not be read: {}",
            fault.message
        ));
    }
    for fault in report
        .inbox
        .fault
        .iter()
        .chain(&report.fault)
        .chain(&report.agent)
    {
        lines.push(format!("not all went well: {}", fault.message));
    }
    let queued = if report.queued > 0 {
        format!(", {} wait to be sent", report.queued)
    } else {
        String::new()
    };
    lines.push(format!(
        "{} of {} friends looked at, {} records new, {} sent{queued}",
        report.friends - report.unreachable.len() as u64,
        report.friends,
        report.applied,
        report.sent
    ));
    lines.join("\n")
}

pub async fn watch(context: &Context, args: &Watch) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let json = context.out.json;
    wallet
        .watch(watch_options(args.poll), until_stopped(), move |event| {
            let line = if json {
                event_value(&event).to_string()
            } else {
                event_text(&event)
            };
            print_line(&line);
        })
        .await?;
    send_rest(&wallet).await;
    wallet.close().await;
    Ok(0)
}

/// How to watch, if friends' files are to be looked at this often.
pub fn watch_options(poll: Option<u64>) -> WatchOptions {
    poll.map_or_else(WatchOptions::default, |seconds| {
        WatchOptions::every(Duration::from_secs(seconds))
    })
}

/// Sends what was signed a moment ago and has not left: a friend who is paid does not have to wait until this wallet is used again.
pub async fn send_rest(wallet: &Wallet) {
    // What does not get through now stays noted, and leaves the next time.
    tokio::time::timeout(LAST_SENDING, wallet.flush())
        .await
        .ok();
}

/// Cancelled by Ctrl-C, or a polite request to end.
pub fn until_stopped() -> CancellationToken {
    let stop = CancellationToken::new();
    let signal = stop.clone();
    tokio::spawn(async move {
        stopped().await;
        signal.cancel();
    });
    stop
}

/// Waits for Ctrl-C or a polite request to end.
async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler the system's default ends the process.
    tokio::signal::ctrl_c().await.ok();
}

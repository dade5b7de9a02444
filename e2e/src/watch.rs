//! A running `atomicity watch`.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;

use crate::wait;

/// How many events of a wallet are shown when a test hangs.
const LAST_WORDS: usize = 12;

/// A running `atomicity watch`, whose events are collected. It is killed with this value.
pub struct Watch {
    name: String,
    child: Child,
    lines: Arc<Lines>,
    /// How many lines [`Watch::next`] has passed over.
    read: usize,
}

#[derive(Default)]
struct Lines {
    events: Mutex<Vec<Value>>,
    errors: Mutex<String>,
    news: Notify,
}

/// All that run, so that a test that hangs can tell what they said.
static RUNNING: Mutex<Vec<(String, Weak<Lines>)>> = Mutex::new(Vec::new());

/// What the wallets said last that are running now.
pub(crate) fn last_words() -> String {
    let mut running = lock(&RUNNING);
    running.retain(|(_, lines)| lines.strong_count() > 0);
    let mut told = String::new();
    for (name, lines) in running.iter() {
        let Some(lines) = lines.upgrade() else {
            continue;
        };
        let events = lock(&lines.events);
        let last = events.iter().rev().take(LAST_WORDS).rev();
        told.push_str(&format!("\n--- the watch of {name}\n"));
        for event in last {
            told.push_str(&format!("{event}\n"));
        }
        told.push_str(&lock(&lines.errors));
    }
    told
}

impl Watch {
    pub(crate) async fn start(name: String, mut command: Command) -> Result<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let lines = Arc::new(Lines::default());
        let stdout = child.stdout.take().context("no standard output")?;
        let stderr = child.stderr.take().context("no standard error")?;
        let (for_events, for_errors) = (lines.clone(), lines.clone());
        tokio::spawn(read_lines(stdout, move |line| {
            let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
            lock(&for_events.events).push(event);
            for_events.news.notify_waiters();
        }));
        tokio::spawn(read_lines(stderr, move |line| {
            let mut errors = lock(&for_errors.errors);
            errors.push_str(&line);
            errors.push('\n');
        }));
        lock(&RUNNING).push((name.clone(), Arc::downgrade(&lines)));
        let mut watch = Self {
            name,
            child,
            lines,
            read: 0,
        };
        watch
            .next("ready", |event| {
                event.get("event") == Some(&Value::from("ready"))
            })
            .await?;
        Ok(watch)
    }

    /// Waits for the next event that `wanted` accepts, and passes over those before it.
    ///
    /// # Errors
    /// If none comes within [`wait::PATIENCE`]; the error names `what` and shows all events so far.
    pub async fn next(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = tokio::time::Instant::now() + wait::PATIENCE;
        loop {
            let lines = self.lines.clone();
            let mut news = std::pin::pin!(lines.news.notified());
            news.as_mut().enable();
            let found = {
                let events = lock(&self.lines.events);
                let unread = events.get(self.read..).unwrap_or_default();
                let at = unread.iter().position(&wanted);
                at.and_then(|at| unread.get(at).cloned().map(|event| (at, event)))
            };
            if let Some((at, event)) = found {
                self.read += at + 1;
                return Ok(event);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the watch of {} ended with {status}\n{}",
                    self.name,
                    self.story()
                );
            }
            // Wakes up now and then to see whether the process is still there.
            let nap = std::time::Duration::from_millis(500);
            let _ = tokio::time::timeout(nap, news).await;
            if tokio::time::Instant::now() > end {
                bail!(
                    "the watch of {} never said {what}\n{}",
                    self.name,
                    self.story()
                );
            }
        }
    }

    /// All events so far.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        lock(&self.lines.events).clone()
    }

    /// Ends it with SIGTERM.
    ///
    /// # Errors
    /// If it does not end with success.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(id) = self.child.id() {
            let pid = Pid::from_raw(i32::try_from(id)?).context("not a process id")?;
            kill_process(pid, Signal::TERM)?;
        }
        let status = tokio::time::timeout(wait::PATIENCE, self.child.wait()).await;
        let status = status.context("the watch does not end")??;
        if !status.success() {
            bail!(
                "the watch of {} ended with {status}\n{}",
                self.name,
                self.story()
            );
        }
        Ok(())
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ended(&mut self) -> Result<()> {
        let status = tokio::time::timeout(wait::PATIENCE, self.child.wait()).await;
        status.with_context(|| format!("the watch of {} goes on", self.name))??;
        Ok(())
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    fn story(&self) -> String {
        let events: Vec<String> = self.events().iter().map(ToString::to_string).collect();
        format!(
            "  events: {}\n  stderr: {}",
            events.join("\n    "),
            lock(&self.lines.errors)
        )
    }
}

async fn read_lines(from: impl AsyncRead + Unpin, mut take: impl FnMut(String)) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        take(line);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

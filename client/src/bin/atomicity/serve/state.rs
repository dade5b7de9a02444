//! What all requests share: the wallet, what it tells, and what is being done.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex};

use atomicity_client::ClientError;
use atomicity_client::wallet::{Wallet, WalletEvent, WalletEventKind};
use axum::Json;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::problem::{Answer, Problem};
use super::words::Words;
use crate::args::{Command, Global};
use crate::events::event_value;
use crate::output::{Output, error_value, taking};
use crate::{Context, Lent};

/// Events that are kept for who reads slowly.
const KEPT_EVENTS: usize = 1024;
/// Streams of events at the same time.
const STREAMS: usize = 16;

/// An operation's outcome.
pub type Outcome = Result<Value, Problem>;

/// An event, as it is told.
#[derive(Debug)]
pub struct Told {
    /// Its number since the start.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// What `watch --json` prints.
    pub line: String,
}

/// What the wallet's own watching has come to.
#[derive(Debug, Default)]
struct Standing {
    ready_at: Option<u64>,
    told: u64,
    last_at: Option<u64>,
    unreachable: BTreeMap<String, Value>,
    stopped: Option<Value>,
}

/// What all requests share.
#[derive(Clone)]
pub struct Served {
    inner: Arc<Inner>,
}

struct Inner {
    global: Global,
    wallet: Wallet,
    events: broadcast::Sender<Arc<Told>>,
    standing: Mutex<Standing>,
    running: tokio::sync::Mutex<HashMap<String, watch::Receiver<Option<Outcome>>>>,
    streams: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Served {
    /// For an open wallet, until `stop` is cancelled.
    pub fn new(global: &Global, wallet: Wallet, stop: CancellationToken) -> Self {
        Self {
            inner: Arc::new(Inner {
                global: global.clone(),
                wallet,
                events: broadcast::Sender::new(KEPT_EVENTS),
                standing: Mutex::default(),
                running: tokio::sync::Mutex::default(),
                streams: Arc::new(Semaphore::new(STREAMS)),
                tasks: TaskTracker::new(),
                stop,
            }),
        }
    }

    /// The wallet.
    pub fn wallet(&self) -> &Wallet {
        &self.inner.wallet
    }

    /// When everything ends.
    pub fn stop(&self) -> &CancellationToken {
        &self.inner.stop
    }

    /// What is being done beside the requests.
    pub fn tasks(&self) -> &TaskTracker {
        &self.inner.tasks
    }

    /// The operations that are under way, by key.
    pub fn running(
        &self,
    ) -> &tokio::sync::Mutex<HashMap<String, watch::Receiver<Option<Outcome>>>> {
        &self.inner.running
    }

    /// The room for streams of events.
    pub fn streams(&self) -> &Arc<Semaphore> {
        &self.inner.streams
    }

    /// Events from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<Told>> {
        self.inner.events.subscribe()
    }

    /// What a command of the command line gets, on this wallet.
    pub fn context(&self, wallet: Wallet, passphrase: Option<String>) -> Context {
        Context {
            global: self.inner.global.clone(),
            out: Output {
                json: true,
                quiet: true,
            },
            lent: Some(Lent {
                wallet,
                passphrase: passphrase.map(Zeroizing::new),
            }),
        }
    }

    /// The same, with nothing special.
    pub fn plain(&self) -> Context {
        self.context(self.wallet().lent(), None)
    }

    /// What the command line prints for these words.
    pub async fn ask(&self, words: Words) -> Answer {
        let command = words.command()?;
        taken(perform(self.plain(), command)).await.map(Json)
    }

    /// The same for what needs the root key.
    pub async fn ask_root(&self, words: Words, passphrase: Option<String>) -> Answer {
        let command = words.command()?;
        let context = self.context(self.wallet().lent(), passphrase);
        taken(perform(context, command)).await.map(Json)
    }

    /// Tells everybody who listens what happened.
    pub fn tell(&self, event: &WalletEvent) {
        let value = event_value(event);
        let number = self.note(event, &value);
        let name = value["event"].as_str().unwrap_or("other").to_owned();
        let told = Told {
            number,
            name,
            line: value.to_string(),
        };
        // Nobody may be listening.
        self.inner.events.send(Arc::new(told)).ok();
    }

    fn note(&self, event: &WalletEvent, value: &Value) -> u64 {
        let Ok(mut standing) = self.inner.standing.lock() else {
            return 0;
        };
        match &event.kind {
            WalletEventKind::Ready => {
                standing.ready_at = Some(event.at);
                standing.stopped = None;
            }
            WalletEventKind::Unreachable { what, who, .. } => {
                standing
                    .unreachable
                    .insert(format!("{what} {who}"), value.clone());
            }
            WalletEventKind::Reachable { what, who } => {
                standing.unreachable.remove(&format!("{what} {who}"));
            }
            _ => {}
        }
        standing.last_at = Some(event.at);
        standing.told += 1;
        standing.told
    }

    /// Notes that watching has ended for now.
    pub fn halted(&self, error: &ClientError) {
        tracing::warn!(code = error.code(), "not watching: {error}");
        if let Ok(mut standing) = self.inner.standing.lock() {
            standing.ready_at = None;
            standing.stopped = Some(error_value(error));
        }
    }

    /// How far the wallet is with the news.
    pub fn standing(&self, outbox: u64) -> Value {
        let Ok(standing) = self.inner.standing.lock() else {
            return Value::Null;
        };
        json!({
            "ready": standing.ready_at.is_some(),
            "ready_at": standing.ready_at,
            "last_event_at": standing.last_at,
            "unreachable": standing.unreachable.values().collect::<Vec<_>>(),
            "error": standing.stopped,
            "outbox": outbox,
        })
    }
}

/// Runs a command of the command line.
pub fn perform(context: Context, command: Command) -> BoxFuture<'static, Result<u8, ClientError>> {
    Box::pin(async move { crate::perform(&context, command).await })
}

/// What a command prints, as the answer to a request.
pub async fn taken(work: impl Future<Output = Result<u8, ClientError>>) -> Outcome {
    let (done, printed) = taking(work).await;
    done?;
    Ok(printed.unwrap_or(Value::Null))
}

//! The published log as a live stream, entry by entry, without gaps.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use atomicity_witness_log::tile::{bundles, decode_bundle};
use atomicity_witness_log::{Leaf, TilePath};
use axum::response::sse::Event;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use utoipa::ToSchema;

use super::{Published, WitnessLog, tiles};
use crate::error::PluginError;
use crate::state::AppState;

/// Pause after the database failed.
const RETRY: Duration = Duration::from_secs(1);
/// What a client is told to wait before it comes back.
const RECONNECT: Duration = Duration::from_secs(2);

/// An entry of the log.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// Its index.
    pub index: u64,
    /// Its time, Unix milliseconds of the log's clock.
    pub time_ms: u64,
    /// The preimage, base64url; absent for a tick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preimage: Option<String>,
}

/// A live stream's place; given back when dropped.
struct Seat(WitnessLog);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.streams.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Position {
    state: AppState,
    seat: Seat,
    checkpoints: watch::Receiver<Option<Arc<Published>>>,
    next: u64,
    read: VecDeque<Leaf>,
    said_hello: bool,
}

/// The entries from index `from` on, or from the end of the published log on. Ends with the process.
///
/// # Errors
/// `too_many_streams`.
pub fn stream(
    state: AppState,
    log: WitnessLog,
    from: Option<u64>,
) -> Result<impl Stream<Item = Result<Event, Infallible>>, PluginError> {
    let before = log.0.streams.fetch_add(1, Ordering::SeqCst);
    let seat = Seat(log.clone());
    if before >= state.config.witness_log.streams {
        return Err(PluginError::TooMany {
            code: "too_many_streams",
            detail: "too many live streams of the log are open",
            retry_after: Duration::from_secs(10),
        });
    }
    let position = Position {
        checkpoints: log.0.published.subscribe(),
        next: from.unwrap_or_else(|| log.published_size()),
        state,
        seat,
        read: VecDeque::new(),
        said_hello: false,
    };
    Ok(stream::unfold(position, |mut position| async move {
        let shutdown = position.state.shutdown.clone();
        let event = tokio::select! {
            biased;
            () = shutdown.cancelled() => None,
            event = position.next() => event,
        }?;
        Some((Ok(event), position))
    }))
}

impl Position {
    async fn next(&mut self) -> Option<Event> {
        if !self.said_hello {
            self.said_hello = true;
            return Some(Event::default().retry(RECONNECT).comment("atomicity log"));
        }
        loop {
            if let Some(leaf) = self.read.pop_front() {
                let index = self.next;
                self.next += 1;
                return event(index, &leaf);
            }
            match self.read_on().await {
                Ok(true) => {}
                Ok(false) => self.checkpoints.changed().await.ok()?,
                // The reader keeps their place while the database is away.
                Err(error) => {
                    tracing::debug!(%error, "a live stream waits for the database");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Reads the rest of the bundle that holds the next entry; `false` if it is not published yet.
    async fn read_on(&mut self) -> Result<bool, PluginError> {
        let log = &self.seat.0;
        self.checkpoints.mark_unchanged();
        let size = log.published_size();
        let path: Option<TilePath> = bundles(self.next, size, size).next();
        let Some(path) = path.filter(|_| self.next < size) else {
            return Ok(false);
        };
        let bytes = log.tiles().read(&path).await?.ok_or_else(|| {
            PluginError::Internal(format!("the log's content: {path} is missing"))
        })?;
        let entries = decode_bundle(&path, &bytes).map_err(|error| tiles::failed(&error))?;
        let skip = usize::try_from(self.next.saturating_sub(path.start())).unwrap_or(usize::MAX);
        self.read = entries
            .into_iter()
            .skip(skip)
            .map(Leaf::decode)
            .collect::<Result<_, _>>()
            .map_err(|error| tiles::failed(&error))?;
        Ok(!self.read.is_empty())
    }
}

fn event(index: u64, leaf: &Leaf) -> Option<Event> {
    let entry = Entry {
        index,
        time_ms: leaf.time_ms(),
        preimage: leaf
            .preimage()
            .map(|preimage| URL_SAFE_NO_PAD.encode(preimage)),
    };
    let kind = if leaf.is_tick() { "tick" } else { "preimage" };
    let event = Event::default().id(index.to_string()).event(kind);
    event.json_data(entry).ok()
}

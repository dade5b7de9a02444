//! An inbox as a live stream: everything that waits, then what comes, without gaps.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::stream::{self, Stream};

use super::hub::Listener;
use crate::auth::Caller;
use crate::db::envelopes;
use crate::error::PluginError;
use crate::http::inbox::Item;
use crate::state::AppState;

/// Most envelopes read at once.
const PAGE: i64 = 50;
/// Pause after the database failed.
const RETRY: Duration = Duration::from_secs(1);
/// What a client is told to wait before it comes back.
const RECONNECT: Duration = Duration::from_secs(2);

struct Position {
    state: AppState,
    caller: Caller,
    listener: Listener,
    after: i64,
    read: VecDeque<Item>,
    said_hello: bool,
    said_ready: bool,
    /// As the listener told last.
    guests: u64,
}

/// The events of `caller`'s inbox above `after`. Ends with the session or the process.
pub fn events(
    state: AppState,
    caller: Caller,
    listener: Listener,
    after: i64,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let position = Position {
        guests: listener.guests(),
        state,
        caller,
        listener,
        after,
        read: VecDeque::new(),
        said_hello: false,
        said_ready: false,
    };
    stream::unfold(position, |mut position| async move {
        let shutdown = position.state.shutdown.clone();
        let event = tokio::select! {
            biased;
            () = shutdown.cancelled() => None,
            event = position.next() => event,
        }?;
        Some((Ok(event), position))
    })
}

impl Position {
    async fn next(&mut self) -> Option<Event> {
        if !self.said_hello {
            self.said_hello = true;
            return Some(Event::default().retry(RECONNECT).comment("atomicity inbox"));
        }
        loop {
            if let Some(item) = self.read.pop_front() {
                return event(&item);
            }
            match self.read_on().await {
                Ok(true) => {}
                Ok(false) if !self.said_ready => {
                    self.said_ready = true;
                    return Some(Event::default().event("ready").data(self.after.to_string()));
                }
                Ok(false) if self.has_guests() => {
                    return Some(Event::default().event("guests").data("new"));
                }
                Ok(false) => {
                    let poll = Duration::from_millis(self.state.config.inbox.poll_ms);
                    self.listener.wait(poll).await;
                    if !self.caller.may_go_on(&self.state).await {
                        return None;
                    }
                }
                // The reader keeps their place while the database is away.
                Err(error) => {
                    tracing::debug!(%error, "a live stream waits for the database");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Whether a guest has come since this was last asked.
    fn has_guests(&mut self) -> bool {
        let guests = self.listener.guests();
        std::mem::replace(&mut self.guests, guests) != guests
    }

    /// Reads the next page; `false` if there is nothing new.
    async fn read_on(&mut self) -> Result<bool, PluginError> {
        let page = envelopes::page(&self.state.pool, &self.caller.user, self.after, PAGE).await?;
        if let Some(last) = page.last() {
            self.after = last.id;
        }
        self.read = page.into_iter().map(Item::from).collect();
        Ok(!self.read.is_empty())
    }
}

fn event(item: &Item) -> Option<Event> {
    let event = Event::default().id(item.id.clone()).event("envelope");
    event.json_data(item).ok()
}

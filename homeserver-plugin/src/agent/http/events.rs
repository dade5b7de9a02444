//! What the agent signed, and what happened: to be read, and live.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::super::store::{self, EventView};
use super::{agent, bad};
use crate::auth::Caller;
use crate::error::PluginError;
use crate::http::etag;
use crate::http::extract::{QueryParams, parse_id};
use crate::inbox::hub::Listener;
use crate::problem::Problem;
use crate::state::AppState;

/// Most signatures in one page.
const MAX_PAGE: i64 = 500;
/// Events that are read at once.
const BATCH: i64 = 100;
/// Pause after the database failed.
const RETRY: Duration = Duration::from_secs(1);

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JournalQuery {
    /// Only what is above this number.
    after: Option<String>,
    /// Most items, 1 to 500; 100 if not given.
    limit: Option<i64>,
}

/// From where.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LiveQuery {
    /// Only what is above this number. The header `Last-Event-ID` counts before this.
    after: Option<String>,
}

/// A signature.
#[derive(Debug, Serialize, ToSchema)]
pub struct JournalItem {
    /// Its number; later ones are greater.
    id: String,
    /// When, Unix milliseconds.
    at: i64,
    /// Towards whom.
    peer: String,
    /// What it was: `state`, `payment`, `promise`, `release`, `ack`, `credit_line`, `book` …
    what: String,
    /// In what.
    unit: Option<String>,
    /// How much it is about, in minor units.
    amount: Option<String>,
    /// The record in compact form.
    record: String,
}

/// A page of signatures.
#[derive(Debug, Serialize, ToSchema)]
pub struct JournalPage {
    /// In order.
    items: Vec<JournalItem>,
    /// Ask with this as `after` for more; null at the end.
    next: Option<String>,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentEvent {
    /// Its number; later ones are greater.
    id: String,
    /// When, Unix milliseconds.
    at: i64,
    /// Towards whom.
    peer: Option<String>,
    /// What: `payment`, `issued`, `merged`, `released`, `expired` …
    kind: String,
    /// More of it.
    #[schema(value_type = Object)]
    body: Box<RawValue>,
}

impl From<EventView> for AgentEvent {
    fn from(view: EventView) -> Self {
        Self {
            id: view.id.to_string(),
            at: view.at,
            peer: view.peer.map(|peer| peer.to_string()),
            kind: view.kind,
            // What is stored was written by `serde_json`: it reads back.
            body: RawValue::from_string(view.body).unwrap_or_default(),
        }
    }
}

/// Every signature that the agent made for you, in order.
#[utoipa::path(get, path = "/v0/me/agent/journal", tag = "agent", security(("session" = [])), params(JournalQuery),
    responses(
        (status = 200, body = JournalPage),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`id_malformed`, `limit_invalid`, `query_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn journal(
    State(state): State<AppState>,
    headers: HeaderMap,
    QueryParams(query): QueryParams<JournalQuery>,
    caller: Caller,
) -> Result<Response, PluginError> {
    let limit = query.limit.unwrap_or(BATCH);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(bad(
            "limit_invalid",
            format!("limit must be 1 to {MAX_PAGE}"),
        ));
    }
    let after = query.after.as_deref().map_or(Ok(0), parse_id)?;
    let horizon = agent(&state)?.numbers().horizon();
    let mut rows = store::journal(&state.pool, &caller.user, (after, horizon), limit + 1).await?;
    let more = i64::try_from(rows.len()).is_ok_and(|len| len > limit);
    if more {
        rows.pop();
    }
    let next = rows.last().filter(|_| more).map(|last| last.id.to_string());
    let items = rows.into_iter().map(|row| JournalItem {
        id: row.id.to_string(),
        at: row.at,
        peer: row.peer.to_string(),
        what: row.what,
        unit: row.unit,
        amount: row.amount.map(|amount| amount.to_string()),
        record: row.record,
    });
    let page = JournalPage {
        items: items.collect(),
        next,
    };
    etag::respond(&headers, &page)
}

/// What happens to your books, live (server-sent events): `agent` with an event as data, `ready` once when everything before was sent.
/// Resumes after `Last-Event-ID`.
#[utoipa::path(get, path = "/v0/me/agent/events", tag = "agent", security(("session" = [])),
    params(LiveQuery, ("Last-Event-ID" = Option<String>, Header, description = "The last number that arrived")),
    responses(
        (status = 200, description = "A stream of `agent` events", body = AgentEvent, content_type = "text/event-stream"),
        (status = 400, description = "`id_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_streams`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn live(
    State(state): State<AppState>,
    headers: HeaderMap,
    QueryParams(query): QueryParams<LiveQuery>,
    caller: Caller,
) -> Result<impl IntoResponse, PluginError> {
    let last = headers
        .get("last-event-id")
        .map(|value| value.to_str().unwrap_or("?"));
    let after = last.or(query.after.as_deref()).map_or(Ok(0), parse_id)?;
    let listener = agent(&state)?.hub().listen(*caller.user.as_bytes())?;
    let position = Position {
        state,
        caller,
        listener,
        after,
        read: VecDeque::new(),
        said_ready: false,
    };
    // Proxies must not collect events before they pass them on.
    let headers = [("x-accel-buffering", "no"), ("cache-control", "no-store")];
    Ok((
        headers,
        Sse::new(position.stream()).keep_alive(KeepAlive::default()),
    ))
}

struct Position {
    state: AppState,
    caller: Caller,
    listener: Listener,
    after: i64,
    read: VecDeque<AgentEvent>,
    said_ready: bool,
}

impl Position {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut position| async move {
            let shutdown = position.state.shutdown.clone();
            let event = tokio::select! {
                biased;
                () = shutdown.cancelled() => None,
                event = position.next() => event,
            }?;
            Some((Ok(event), position))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.read.pop_front() {
                let data = serde_json::to_string(&event).ok()?;
                return Some(Event::default().event("agent").id(event.id).data(data));
            }
            match self.read_on().await {
                Ok(true) => {}
                Ok(false) if !self.said_ready => {
                    self.said_ready = true;
                    return Some(Event::default().event("ready").data(self.after.to_string()));
                }
                Ok(false) => {
                    let poll = Duration::from_millis(self.state.config.inbox.poll_ms);
                    self.listener.wait(poll).await;
                    if !self.caller.may_go_on(&self.state).await {
                        return None;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "events could not be read; tried again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn read_on(&mut self) -> Result<bool, PluginError> {
        let horizon = agent(&self.state)?.numbers().horizon();
        let range = (self.after, horizon);
        let rows = store::events(&self.state.pool, &self.caller.user, range, BATCH).await?;
        if let Some(last) = rows.last() {
            self.after = last.id;
        }
        self.read = rows.into_iter().map(AgentEvent::from).collect();
        Ok(!self.read.is_empty())
    }
}

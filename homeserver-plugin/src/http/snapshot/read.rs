//! Handing a user's summary to their own apps, as it was signed: once, and live.

use std::convert::Infallible;
use std::time::Duration;

use atomicity_ledger::Signed;
use atomicity_ledger::record::Snapshot;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Caller;
use crate::db::snapshots::{self, StoredSnapshot};
use crate::error::PluginError;
use crate::http::etag;
use crate::http::extract::{QueryParams, parse_id};
use crate::inbox::hub::Listener;
use crate::problem::Problem;
use crate::state::AppState;

/// Pause after the database failed.
const RETRY: Duration = Duration::from_secs(1);
/// What a client is told to wait before it comes back.
const RECONNECT: Duration = Duration::from_secs(2);

/// A summary as the user's wallet signed it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SnapshotView {
    /// When the wallet made it, by its clock, Unix milliseconds.
    pub as_of: i64,
    /// When it arrived here, Unix milliseconds.
    pub stored_at: i64,
    /// The key that signed it, z-base-32.
    pub signed_by: String,
    /// The signed record (compact JWS, `atomicity-snapshot`).
    pub snapshot: String,
}

impl TryFrom<StoredSnapshot> for SnapshotView {
    type Error = PluginError;

    fn try_from(stored: StoredSnapshot) -> Result<Self, PluginError> {
        // It was checked when it came; a tampered database must not speak in the user's name.
        let signed = Signed::<Snapshot>::decode(&stored.jws).map_err(|error| {
            PluginError::Internal(format!("a stored snapshot does not hold: {error}"))
        })?;
        Ok(Self {
            as_of: stored.at,
            stored_at: stored.stored_at,
            signed_by: signed.kid().to_z32(),
            snapshot: stored.jws,
        })
    }
}

/// From where.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LiveQuery {
    /// Only what was made after this, Unix milliseconds. The header `Last-Event-ID` counts before this.
    after: Option<String>,
}

/// The newest summary of your books, signed, for apps that check for themselves.
#[utoipa::path(get, path = "/v0/me/snapshot", tag = "credit", security(("session" = [])),
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of what you hold")),
    responses(
        (status = 200, body = SnapshotView),
        (status = 304, description = "What you hold is still right"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`no_snapshot`: your wallet pushes none", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn newest(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, PluginError> {
    let stored = snapshots::get(&state.pool, &caller.user)
        .await?
        .ok_or(PluginError::NotFound {
            code: "no_snapshot",
            detail: "your wallet has not pushed a snapshot",
        })?;
    etag::respond(&headers, &SnapshotView::try_from(stored)?)
}

/// The newest summary of your books, live (server-sent events): `snapshot` with it as data, now and whenever it changes; `ready` once
/// when what was there has been sent. Resumes after `Last-Event-ID`; summaries in between that were replaced are left out.
#[utoipa::path(get, path = "/v0/me/snapshot/events", tag = "credit", security(("session" = [])),
    params(LiveQuery, ("Last-Event-ID" = Option<String>, Header, description = "The last id that arrived")),
    responses(
        (status = 200, description = "A stream of `snapshot` events", body = SnapshotView, content_type = "text/event-stream"),
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
    let asked = last.or(query.after.as_deref());
    // A summary of the year 1970 is one too: without a last one, everything is new.
    let after = asked.map_or(Ok(-1), parse_id)?;
    let listener = state.snapshots.listen(*caller.user.as_bytes())?;
    let position = Position {
        state,
        caller,
        listener,
        after,
        said_hello: false,
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
    said_hello: bool,
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
        if !self.said_hello {
            self.said_hello = true;
            return Some(
                Event::default()
                    .retry(RECONNECT)
                    .comment("atomicity snapshot"),
            );
        }
        loop {
            match self.newer().await {
                Ok(Some(view)) => {
                    let data = serde_json::to_string(&view).ok()?;
                    let id = view.as_of.to_string();
                    return Some(Event::default().event("snapshot").id(id).data(data));
                }
                Ok(None) if !self.said_ready => {
                    self.said_ready = true;
                    return Some(Event::default().event("ready").data("0"));
                }
                Ok(None) => {
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

    async fn newer(&mut self) -> Result<Option<SnapshotView>, PluginError> {
        let stored = snapshots::get(&self.state.pool, &self.caller.user).await?;
        let Some(stored) = stored.filter(|stored| stored.at > self.after) else {
            return Ok(None);
        };
        self.after = stored.at;
        SnapshotView::try_from(stored).map(Some)
    }
}

//! What happens, live; and how far the wallet is with the news.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Body;
use super::problem::{Answer, Problem};
use super::state::Served;
use super::words::Words;

/// How often a silent stream says that it lives.
const ALIVE: Duration = Duration::from_secs(15);

/// The routes about news.
pub fn routes() -> OpenApiRouter<Served> {
    OpenApiRouter::new()
        .routes(routes!(events))
        .routes(routes!(standing, sync))
}

/// Follows what happens: the events of `atomicity watch --json`.
///
/// Server-sent events: `event` is its name, `data` the JSON object, `id` counts since the start of the process. What happened before
/// is in the history. `lagged` tells who reads too slowly that some were left out: look at the balances anew.
#[utoipa::path(
    get,
    path = "/v0/events",
    tag = "news",
    responses((status = 200, content_type = "text/event-stream", body = String, description = "Events, until either side ends"))
)]
async fn events(
    State(served): State<Served>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let room = served.streams().clone().try_acquire_owned();
    let room = room.map_err(|_| {
        let detail = "too many streams at a time";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_busy", detail)
    })?;
    let start = (served.listen(), served.stop().clone(), room);
    let events = stream::unfold(start, |(mut news, stop, room)| async move {
        let next = tokio::select! {
            () = stop.cancelled() => return None,
            next = news.recv() => next,
        };
        let event = match next {
            Ok(told) => Event::default()
                .id(told.number.to_string())
                .event(&told.name)
                .data(&told.line),
            Err(RecvError::Lagged(missed)) => Event::default()
                .event("lagged")
                .data(format!("{{\"event\":\"lagged\",\"missed\":{missed}}}")),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), (news, stop, room)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)))
}

/// Shows how far the wallet is with the news.
///
/// `ready`: everything that had happened before was read, and news come live. `unreachable`: servers and friends that can't be reached
/// now. `outbox`: what waits to be sent. `error`: why the wallet does not read news now; it tries again.
#[utoipa::path(
    get,
    path = "/v0/sync",
    tag = "news",
    responses((status = 200, body = Value, description = "How far it is"))
)]
async fn standing(State(served): State<Served>) -> Answer {
    let identity = served.wallet().identity().await?;
    Ok(Json(served.standing(identity.outbox)))
}

/// Whose news to fetch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SyncNow {
    /// Only these friends' files, by name or key; all if empty.
    #[serde(default)]
    friends: Vec<String>,
}

/// Fetches news and sends what waits, now.
#[utoipa::path(
    post,
    path = "/v0/sync",
    tag = "news",
    request_body = SyncNow,
    responses((status = 200, body = Value, description = "As `atomicity sync --json`"))
)]
async fn sync(State(served): State<Served>, Body(body): Body<SyncNow>) -> Answer {
    let mut words = Words::of("sync");
    for friend in body.friends {
        words = words.say(friend);
    }
    served.ask(words).await
}

//! What surrounds every route.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;

use super::client_addr::ClientAddr;
use crate::error::PluginError;
use crate::problem::ProblemCode;
use crate::state::AppState;

/// Counts and logs a request: route pattern, status, duration. Never path, query, headers or body.
pub async fn observe(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let (status, took) = (response.status().as_u16(), started.elapsed());
    state
        .metrics
        .http_request(method.as_str(), route, status, took);
    if let Some(ProblemCode(code)) = response.extensions().get() {
        state.metrics.rejected(code);
    }
    tracing::debug!(%method, route, status, took_ms = took.as_millis(), "answered");
    response
}

/// Refuses while this process does not hold the database: better at once than after a time-out.
pub async fn require_ready(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, PluginError> {
    if !state.readiness.lock_held() {
        return Err(PluginError::NotReady);
    }
    if state.readiness.is_draining() && is_new_work(&request) {
        return Err(PluginError::Unavailable {
            code: "draining",
            detail: "this service takes no new work at present: try again later, or elsewhere",
            retry_after: DRAIN_PAUSE,
        });
    }
    Ok(next.run(request).await)
}

/// When who is turned away while the service drains may try again.
const DRAIN_PAUSE: Duration = Duration::from_secs(30);

/// The routes that end something by POST: acknowledging, and forms of the wallet page, since browsers know no DELETE.
const ENDING: [&str; 8] = [
    "/v0/inbox/ack",
    "/wallet/accounts/end",
    "/wallet/agent/stop",
    "/wallet/invoices/{id}/withdraw",
    "/wallet/login/stop",
    "/wallet/logout",
    "/wallet/proposals/{id}/withdraw",
    "/wallet/sessions/end",
];

/// Whether a request begins something. Reading, ending and acknowledging finish what is open.
fn is_new_work(request: &Request) -> bool {
    let begins = matches!(*request.method(), Method::POST | Method::PUT);
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or(request.uri().path(), MatchedPath::as_str);
    begins && !ENDING.contains(&route)
}

/// Refuses an address that asks too often.
pub async fn limit_rate(
    State(state): State<AppState>,
    ClientAddr(address): ClientAddr,
    request: Request,
    next: Next,
) -> Result<Response, PluginError> {
    state.limits.request(address.into())?;
    Ok(next.run(request).await)
}

/// Up to this size, a body that is refused is read to its end and thrown away.
const DRAINED: usize = 1024 * 1024;
/// How long that may take.
const DRAINING: Duration = Duration::from_secs(1);

/// Refuses a body that says of itself that it is too long, without keeping it.
///
/// Who is still sending when a connection is closed may never see the answer, so that a little is read first; what is far too long
/// is not waited for.
pub async fn limit_announced(
    limit: usize,
    code: &'static str,
    request: Request,
    next: Next,
) -> Result<Response, PluginError> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<usize>().ok());
    match announced {
        Some(announced) if announced > limit => {
            if announced <= DRAINED {
                drain(request).await;
            }
            Err(PluginError::TooLarge { code })
        }
        _ => Ok(next.run(request).await),
    }
}

/// Reads what was announced, which is bounded, and throws it away.
async fn drain(request: Request) {
    let mut chunks = request.into_body().into_data_stream();
    let read = async { while matches!(chunks.next().await, Some(Ok(_))) {} };
    // Who is slower than that is answered all the same.
    tokio::time::timeout(DRAINING, read).await.ok();
}

/// Ends requests whose answer does not start in time. Streams may go on once they have started.
pub async fn limit_time(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let limit = state.config.http.request_timeout();
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => PluginError::Timeout.into_response(),
    }
}

/// Headers that every answer carries. A page says for itself what its links tell.
pub async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::REFERRER_POLICY)
        .or_insert(HeaderValue::from_static("no-referrer"));
    response
}

/// There is no such route.
pub async fn not_found() -> PluginError {
    PluginError::NotFound {
        code: "route_unknown",
        detail: "there is no such route: see /openapi.json",
    }
}

/// There is, but not with this method.
pub async fn method_not_allowed() -> PluginError {
    PluginError::MethodNotAllowed
}

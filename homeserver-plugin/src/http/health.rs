//! Health and metrics.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::db::migrate;
use crate::error::PluginError;
use crate::metrics::{PacketState, Stored};
use crate::state::AppState;
use crate::witness_log::Status;

/// How long the database may take to answer a probe.
const PATIENCE: Duration = Duration::from_secs(2);

/// The routes for probes.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(live))
        .routes(routes!(ready))
}

/// The route for Prometheus.
pub fn metrics_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// That the process answers.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Live {
    /// Always `true`.
    pub live: bool,
}

/// Whether the process may be sent requests, and what stands in the way.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// Whether all checks hold.
    pub ready: bool,
    /// The checks.
    pub checks: Vec<ReadyCheck>,
}

/// One condition.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReadyCheck {
    /// `process`, `database`, `packet` or, where there is one, `log`.
    #[schema(example = "database")]
    pub check: String,
    /// Whether it holds.
    pub ok: bool,
    /// What was found.
    #[schema(example = "reachable, schema current")]
    pub detail: String,
}

impl ReadyCheck {
    fn new(check: &str, ok: bool, detail: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            ok,
            detail: detail.into(),
        }
    }
}

/// Is the process alive?
///
/// Says nothing about what it depends on: restarting the process helps if this fails, and only then.
#[utoipa::path(
    get,
    path = "/health/live",
    tag = "health",
    responses((status = 200, body = Live, description = "It answers"))
)]
pub async fn live() -> Json<Live> {
    Json(Live { live: true })
}

/// May requests be sent here?
///
/// `process`: it is not stopping and holds its database against a second one. `database`: it answers and has the schema this version needs. `packet`: the
/// service's packet has been published since the start, so that others can find it by key; a packet that could not be renewed is told but does not count.
/// `log`: the log sequences and signs.
#[utoipa::path(
    get,
    path = "/health/ready",
    tag = "health",
    responses(
        (status = 200, body = Ready, description = "Yes"),
        (status = 503, body = Ready, description = "No, for the reasons given"),
    )
)]
pub async fn ready(State(state): State<AppState>) -> Response {
    let process = match state.readiness.obstacle() {
        None => ReadyCheck::new("process", true, "serving"),
        Some(obstacle) => ReadyCheck::new("process", false, obstacle),
    };
    let mut checks = vec![
        process,
        database_check(&state.pool).await,
        packet_check(state.metrics.packet_state()),
    ];
    if let Some(log) = &state.witness_log {
        checks.push(log_check(log.status()));
    }
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        [(header::CACHE_CONTROL, "no-store")],
        Json(Ready { ready, checks }),
    )
        .into_response()
}

async fn database_check(pool: &PgPool) -> ReadyCheck {
    let asking = async {
        let mut connection = pool.acquire().await?;
        migrate::state(&mut connection).await
    };
    match timeout(PATIENCE, asking).await {
        Ok(Ok(schema)) if schema.is_current() => {
            ReadyCheck::new("database", true, "reachable, schema current")
        }
        Ok(Ok(schema)) => {
            let detail = format!(
                "the schema is at {}, this version needs {}",
                schema.applied, schema.known
            );
            ReadyCheck::new("database", false, detail)
        }
        // The log says more; this is read by anybody.
        Ok(Err(error)) => ReadyCheck::new("database", false, error.code()),
        Err(_) => ReadyCheck::new("database", false, "no answer in time"),
    }
}

fn log_check(status: Status) -> ReadyCheck {
    match status {
        Status::Running => ReadyCheck::new("log", true, "running"),
        Status::Comparing => ReadyCheck::new("log", false, "not heard from enough cosigners yet"),
        Status::Stopped(why) => ReadyCheck::new("log", false, format!("stopped: {why}")),
    }
}

fn packet_check(state: PacketState) -> ReadyCheck {
    let (ok, detail) = match state {
        PacketState::NotConfigured => (
            true,
            "not published: no public address is configured".to_owned(),
        ),
        PacketState::NeverPublished => (false, "not published yet".to_owned()),
        PacketState::Stale(age) => (
            true,
            format!("published {} s ago and not renewed since", age.as_secs()),
        ),
        PacketState::Current(age) => (true, format!("published {} s ago", age.as_secs())),
    };
    ReadyCheck::new("packet", ok, detail)
}

/// Numbers for Prometheus.
///
/// Text format 0.0.4. No label holds a key, an address or a path of a user.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    responses((status = 200, body = String, content_type = "text/plain", description = "The numbers"))
)]
pub async fn metrics(State(state): State<AppState>) -> Result<Response, PluginError> {
    // The numbers of the process are wanted most when the database is away.
    let stored = timeout(PATIENCE, count_stored(&state.pool))
        .await
        .ok()
        .and_then(Result::ok);
    let text = state.metrics.render(stored, &state.pool)?;
    Ok((
        [
            (header::CONTENT_TYPE, "text/plain; version=0.0.4"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        text,
    )
        .into_response())
}

async fn count_stored(pool: &PgPool) -> Result<Stored, PluginError> {
    Ok(sqlx::query_as!(
        Stored,
        r#"SELECT count(*) FILTER (WHERE closed_at IS NULL) AS "open_accounts!",
                  count(*) FILTER (WHERE closed_at IS NOT NULL) AS "closed_accounts!",
                  COALESCE(sum(queued), 0)::bigint AS "envelopes!",
                  COALESCE(sum(queued_bytes), 0)::bigint AS "bytes!"
           FROM accounts"#
    )
    .fetch_one(pool)
    .await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_packet_that_was_never_published_stands_in_the_way() {
        let hour = Duration::from_secs(3600);
        assert!(packet_check(PacketState::NotConfigured).ok);
        assert!(!packet_check(PacketState::NeverPublished).ok);
        assert!(packet_check(PacketState::Stale(hour * 5)).ok);
        assert!(packet_check(PacketState::Current(hour)).ok);
    }
}

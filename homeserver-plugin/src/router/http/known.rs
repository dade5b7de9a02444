//! What the router knows, for people who want to check.

use atomicity_ledger::UserKey;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::store;
use super::router;
use crate::clock;
use crate::error::PluginError;
use crate::http::etag;
use crate::http::extract::{QueryParams, UserPath};
use crate::problem::Problem;
use crate::state::AppState;

/// Most entries of a page.
pub(in crate::router) const MAX_PAGE: i64 = 100;
/// Entries of a page that is not told how long to be.
const PAGE: i64 = 50;

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(user))
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct KnownPage {
    /// Continue after this: the `next` of the page before.
    #[serde(default)]
    pub after: Option<String>,
    /// How many at most, 1 to 100.
    #[serde(default)]
    #[param(minimum = 1, maximum = 100, default = 50)]
    pub limit: Option<i64>,
}

impl KnownPage {
    pub(in crate::router) fn read(&self) -> Result<(Option<UserKey>, i64), PluginError> {
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(PluginError::BadRequest {
                code: "limit_invalid",
                detail: format!("`limit` goes from 1 to {MAX_PAGE}"),
            });
        }
        let after = self.after.as_deref().map(str::parse::<UserKey>);
        let after = after.transpose().map_err(|_| PluginError::BadRequest {
            code: "cursor_invalid",
            detail: "`after` is the `next` of the page before".to_owned(),
        })?;
        Ok((after, limit))
    }
}

/// How the router is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RouterStatus {
    /// When it last heard from the outside, Unix ms; 0 for never since it began.
    pub as_of: i64,
    /// Users that are known.
    pub users: usize,
    /// Homeservers that are known.
    pub homeservers: usize,
    /// Of these, those that did not answer when they were asked last.
    pub homeservers_failing: usize,
    /// Keys that wait to be looked up.
    pub waiting: usize,
    /// Advertisements in the graph, one for each unit.
    pub adverts: usize,
    /// Directions that both ends publish.
    pub edges: usize,
    /// Event streams that are open.
    pub streams: usize,
    /// How long the most overdue visit waits, in milliseconds.
    pub lag_ms: i64,
    /// Whether ratings are read and served too.
    pub indexer: bool,
}

/// How the router is.
#[utoipa::path(get, path = "/v0/router/status", tag = "router",
    responses(
        (status = 200, body = RouterStatus),
        (status = 304, description = "Not modified"),
        (status = 503, description = "`router_starting`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn status(
    State(state): State<AppState>,
    headers: HeaderMap,
) -> Result<Response, PluginError> {
    let router = router(&state)?;
    let size = router.map.size();
    let status = {
        let frontier = router.frontier();
        let failing = frontier.homes().filter(|(_, home)| home.failures > 0);
        RouterStatus {
            as_of: router.heard_at(),
            users: frontier.users(),
            homeservers: frontier.homes().count(),
            homeservers_failing: failing.count(),
            waiting: frontier.waiting(),
            adverts: size.adverts,
            edges: size.edges,
            streams: router.open_streams(),
            lag_ms: frontier.lag(clock::now_ms()),
            indexer: router.indexer,
        }
    };
    etag::respond(&headers, &status)
}

/// What is known of a user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KnownUser {
    /// Their homeserver, z-base-32.
    pub homeserver: String,
    /// When the network last said so, Unix ms.
    pub homeserver_at: i64,
    /// Their signed profile, if they have one.
    pub profile: Option<String>,
    /// Their advertisements that count, by peer.
    pub adverts: Vec<KnownAdvert>,
    /// What to send as `after` for the next page; absent at the end.
    pub next: Option<String>,
}

/// An advertisement that counts, if the peer's does too.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KnownAdvert {
    /// About whom, z-base-32.
    pub peer: String,
    /// When it was fetched, Unix ms.
    pub fetched_at: i64,
    /// The signed record.
    pub jws: String,
}

/// What the router knows of a user.
#[utoipa::path(get, path = "/v0/router/users/{user}", tag = "router",
    params(("user" = String, Path, description = "The user's key, z-base-32"), KnownPage),
    responses(
        (status = 200, body = KnownUser),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`limit_invalid`, `cursor_invalid`, `user_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`user_unknown`: nothing is known of them here", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`router_starting`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn user(
    State(state): State<AppState>,
    UserPath(user): UserPath,
    QueryParams(page): QueryParams<KnownPage>,
    headers: HeaderMap,
) -> Result<Response, PluginError> {
    let router = router(&state)?;
    let (after, limit) = page.read()?;
    let known = router.frontier().user(&user).cloned();
    let known = known.ok_or(PluginError::NotFound {
        code: "user_unknown",
        detail: "nothing is known of this user here",
    })?;
    let pool = &state.pool;
    let found = store::adverts::page(pool, &user, after, limit, clock::now_ms()).await?;
    let full = found.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next = found
        .last()
        .filter(|_| full)
        .map(|(peer, ..)| peer.to_z32());
    let profile = store::profiles(pool, &[user]).await?.pop();
    let answer = KnownUser {
        homeserver: known.home.to_z32(),
        homeserver_at: known.home_at,
        profile: profile.map(|(_, jws)| jws),
        adverts: found
            .into_iter()
            .map(|(peer, fetched_at, jws)| KnownAdvert {
                peer: peer.to_z32(),
                fetched_at,
                jws,
            })
            .collect(),
        next,
    };
    etag::respond(&headers, &answer)
}

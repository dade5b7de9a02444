//! Credit over HTTP for web apps: who a user is, how they can be paid, and, for the user's own apps, what they are owed.

mod cache;
mod delegations;
pub(crate) mod endpoints;
pub(crate) mod own;
pub(crate) mod profile;
pub(crate) mod requests;
mod units;

use std::sync::Arc;
use std::time::Duration;

use atomicity_ledger::{RecordId, SignerKey, UserKey};
use axum::Extension;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::cache::Cache;
use crate::error::PluginError;
use crate::state::AppState;

/// What all kept profiles, and all kept pages of endpoints, may weigh, in bytes.
const MAX_PROFILES: usize = 32 * 1024 * 1024;
const MAX_ENDPOINT_PAGES: usize = 32 * 1024 * 1024;
/// What all kept requests may weigh, in bytes.
const MAX_REQUESTS: usize = 16 * 1024 * 1024;
/// What all kept delegations may weigh, in bytes.
const MAX_DELEGATIONS: usize = 16 * 1024 * 1024;
/// What the keys of users may weigh whose names were asked for, and what one of them weighs, in bytes.
const MAX_ASKED: usize = 4 * 1024 * 1024;
const ASKED_WEIGHT: usize = 256;

/// Which page of whose endpoints: user, `after`, `limit`.
type PageKey = (UserKey, Option<String>, usize);

/// Answers of other servers that are kept for a while.
pub(crate) struct Memory {
    profiles: Cache<UserKey, profile::Kept>,
    endpoints: Cache<PageKey, endpoints::EndpointsPage>,
    requests: Cache<(UserKey, RecordId), requests::Kept>,
    delegations: Cache<(UserKey, SignerKey), delegations::DelegationAnswer>,
    /// Whose name was asked for lately.
    asked: Cache<UserKey, ()>,
}

impl Memory {
    /// One that holds nothing yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            profiles: Cache::new(MAX_PROFILES),
            endpoints: Cache::new(MAX_ENDPOINT_PAGES),
            requests: Cache::new(MAX_REQUESTS),
            delegations: Cache::new(MAX_DELEGATIONS),
            asked: Cache::new(MAX_ASKED),
        })
    }

    /// The profile of a user as it was last seen, and how long ago; nobody is asked.
    pub(crate) fn profile(&self, user: &UserKey) -> Option<(Arc<profile::Kept>, Duration)> {
        self.profiles.get(user)
    }

    /// Whether it is `pause` ago that somebody asked for this user's name.
    pub(crate) fn may_ask(&self, user: &UserKey, pause: Duration) -> bool {
        self.asked.get(user).is_none_or(|(_, age)| age >= pause)
    }

    /// Remembers that somebody asks for this user's name.
    pub(crate) fn asked(&self, user: UserKey) {
        self.asked.put(user, Arc::new(()), ASKED_WEIGHT);
    }
}

/// The routes of this module.
pub(crate) fn routes(memory: &Arc<Memory>) -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(profile::get))
        .routes(routes!(delegations::get))
        .routes(routes!(endpoints::get))
        .routes(routes!(requests::get))
        .routes(routes!(units::of_user))
        .routes(routes!(units::mine, units::choose))
        .routes(routes!(own::balances))
        .routes(routes!(own::channels))
        .layer(Extension(Arc::clone(memory)))
}

/// How many items were asked for.
fn limit(asked: Option<u16>, default: u16, most: u16) -> Result<usize, PluginError> {
    match asked.unwrap_or(default) {
        limit if limit >= 1 && limit <= most => Ok(usize::from(limit)),
        _ => Err(PluginError::BadRequest {
            code: "limit_invalid",
            detail: format!("`limit` goes from 1 to {most}"),
        }),
    }
}

fn bad_cursor(detail: &str) -> PluginError {
    PluginError::BadRequest {
        code: "cursor_invalid",
        detail: detail.to_owned(),
    }
}

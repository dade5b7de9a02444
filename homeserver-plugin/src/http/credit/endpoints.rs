//! `GET /v0/users/{user}/endpoints`: the ways a user can be paid, as Paykit lays them out.

use std::sync::Arc;
use std::time::Duration;

use atomicity_ledger::UserKey;
use atomicity_paykit_adapter::{
    AppId, MAX_ENDPOINTS, MAX_PAYLOAD_BYTES, MethodId, Payload, endpoint_path,
};
use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Memory;
use crate::error::PluginError;
use crate::http::etag;
use crate::http::extract::{QueryParams, UserPath};
use crate::problem::Problem;
use crate::resolve::Fetched;
use crate::state::AppState;

/// The directory under which every app keeps its endpoints, and how it is listed: one request, bounded.
const LISTING: &str = "/pub/paykit/v0/apps/?limit=1000";
const APPS_DIR: &str = "/pub/paykit/v0/apps/";
const MAX_LISTING_BYTES: usize = 512 * 1024;
/// Most endpoints read at once for one request.
const CONCURRENT: usize = 8;
/// How long a page is served without asking the homeserver again.
const FRESH_FOR: Duration = Duration::from_secs(30);
const DEFAULT_LIMIT: u16 = 20;
const MAX_LIMIT: u16 = 50;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Continue after this: the `next` of the page before.
    #[serde(default)]
    pub after: Option<String>,
    /// How many at most, 1 to 50.
    #[serde(default)]
    #[param(minimum = 1, maximum = 50, default = 20)]
    pub limit: Option<u16>,
}

/// A page of endpoints.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EndpointsPage {
    /// The endpoints, by app and method.
    pub items: Vec<EndpointView>,
    /// Endpoints of this page that are there and can't be read, as `app/method`.
    pub unreadable: Vec<String>,
    /// What to send as `after` for the next page; absent at the end.
    pub next: Option<String>,
}

/// One way to pay the user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EndpointView {
    /// The app that keeps it.
    #[schema(example = "atomicity")]
    pub app: String,
    /// How: asset, rail and format.
    #[schema(example = "bread-atomicity-ledger")]
    pub method: String,
    /// Where.
    pub value: String,
    /// The least that can be paid, in the asset's major unit.
    pub min: Option<String>,
    /// The most that can be paid, in the asset's major unit.
    pub max: Option<String>,
}

/// The ways a user can be paid.
///
/// Their Paykit endpoints, of every app, read from the user's own homeserver. Nothing here is signed by the user: it is as trustworthy as their homeserver. An
/// answer is up to half a minute old.
#[utoipa::path(
    get,
    path = "/v0/users/{user}/endpoints",
    tag = "credit",
    params(
        ("user" = String, Path, description = "The user's key, z-base-32"),
        Page,
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what you hold"),
    ),
    responses(
        (status = 200, body = EndpointsPage, description = "The endpoints; none is an empty list"),
        (status = 304, description = "What you hold is still right"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`limit_invalid`, `cursor_invalid`"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`homeserver_unknown`: the key names no homeserver"),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "`upstream_unavailable`: the homeserver could not be asked"),
    )
)]
pub async fn get(
    State(state): State<AppState>,
    Extension(memory): Extension<Arc<Memory>>,
    UserPath(user): UserPath,
    QueryParams(page): QueryParams<Page>,
    headers: HeaderMap,
) -> Result<Response, PluginError> {
    let limit = super::limit(page.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let after = page.after.as_deref().map(Place::parse_cursor).transpose()?;
    let key = (user, page.after.clone(), limit);
    if let Some((held, age)) = memory.endpoints.get(&key)
        && age < FRESH_FOR
    {
        return etag::respond(&headers, held.as_ref());
    }
    let budget = state.config.http.request_timeout().mul_f32(0.8);
    let answer = tokio::time::timeout(budget, read_page(&state, &user, after, limit))
        .await
        .map_err(|_| PluginError::Upstream("the homeserver did not answer in time".to_owned()))??;
    let answer = Arc::new(answer);
    memory
        .endpoints
        .put(key, Arc::clone(&answer), answer.weight());
    etag::respond(&headers, answer.as_ref())
}

impl EndpointsPage {
    /// What it takes up in memory, roughly, in bytes.
    fn weight(&self) -> usize {
        let items: usize = self
            .items
            .iter()
            .map(|item| item.value.len().saturating_add(400))
            .sum();
        items
            .saturating_add(self.unreadable.len().saturating_mul(200))
            .saturating_add(500)
    }
}

/// Where an endpoint lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    app: AppId,
    method: MethodId,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let (app, method) = text.split_once('/')?;
        Some(Self {
            app: AppId::new(app).ok()?,
            method: MethodId::new(method).ok()?,
        })
    }

    fn parse_cursor(text: &str) -> Result<Self, PluginError> {
        Self::parse(text)
            .ok_or_else(|| super::bad_cursor("`after` is the `next` of the page before"))
    }

    /// An endpoint's address in a listing; anything else that lies there is none of ours.
    fn parse_listed(line: &str, user: &UserKey) -> Option<Self> {
        let path = line
            .trim()
            .strip_prefix("pubky://")?
            .strip_prefix(&user.to_z32())?;
        let (app, method) = path.strip_prefix(APPS_DIR)?.split_once("/endpoints/")?;
        Self::parse(&format!("{app}/{method}"))
    }

    fn cursor(&self) -> String {
        format!("{}/{}", self.app.as_str(), self.method.as_str())
    }
}

async fn read_page(
    state: &AppState,
    user: &UserKey,
    after: Option<Place>,
    limit: usize,
) -> Result<EndpointsPage, PluginError> {
    let listing = match state
        .resolver
        .get_public(user, LISTING, None, MAX_LISTING_BYTES)
        .await?
    {
        Fetched::Found { body, .. } => String::from_utf8_lossy(&body).into_owned(),
        Fetched::NotModified | Fetched::NotFound => String::new(),
    };
    let (places, more) = select(&listing, user, after.as_ref(), limit);
    let next = places.last().filter(|_| more).map(Place::cursor);
    let read: Vec<_> = stream::iter(places)
        .map(|place| async move {
            let found = read_one(state, user, &place).await;
            (place, found)
        })
        .buffered(CONCURRENT)
        .collect()
        .await;
    let mut page = EndpointsPage {
        items: Vec::new(),
        unreadable: Vec::new(),
        next,
    };
    for (place, found) in read {
        match found {
            Ok(Some(view)) => page.items.push(view),
            Ok(None) => {}
            Err(()) => page.unreadable.push(place.cursor()),
        }
    }
    Ok(page)
}

/// The endpoints of one page, and whether there are more.
fn select(
    listing: &str,
    user: &UserKey,
    after: Option<&Place>,
    limit: usize,
) -> (Vec<Place>, bool) {
    let mut places: Vec<_> = listing
        .lines()
        .filter_map(|line| Place::parse_listed(line, user))
        .collect();
    places.sort();
    places.dedup();
    places.truncate(MAX_ENDPOINTS);
    places.retain(|place| after.is_none_or(|after| place > after));
    let more = places.len() > limit;
    places.truncate(limit);
    (places, more)
}

/// One endpoint; nothing if it was removed meanwhile or is empty, an error if it can't be read.
async fn read_one(
    state: &AppState,
    user: &UserKey,
    place: &Place,
) -> Result<Option<EndpointView>, ()> {
    let path = endpoint_path(&place.app, &place.method);
    let body = match state
        .resolver
        .get_public(user, &path, None, MAX_PAYLOAD_BYTES)
        .await
    {
        Ok(Fetched::Found { body, .. }) if !body.is_empty() => body,
        Ok(_) => return Ok(None),
        Err(_) => return Err(()),
    };
    let payload = Payload::decode(&body).map_err(|_| ())?;
    Ok(Some(EndpointView {
        app: place.app.as_str().to_owned(),
        method: place.method.as_str().to_owned(),
        value: payload.value().to_owned(),
        min: payload.min().map(|limit| limit.as_str().to_owned()),
        max: payload.max().map(|limit| limit.as_str().to_owned()),
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn user() -> UserKey {
        atomicity_ledger::Keypair::from_secret(&[7; 32]).user_key()
    }

    fn listing(names: &[&str]) -> String {
        let user = user();
        names
            .iter()
            .map(|name| format!("pubky://{user}/pub/paykit/v0/apps/{name}\n"))
            .collect()
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat() {
        let text = listing(&[
            "b/endpoints/x-y-z",
            "a/endpoints/k",
            "a/endpoints/j",
            "c/endpoints/q",
        ]);
        let (first, more) = select(&text, &user(), None, 3);
        let names: Vec<_> = first.iter().map(Place::cursor).collect();
        assert_eq!(
            (names, more),
            (
                vec!["a/j".to_owned(), "a/k".to_owned(), "b/x-y-z".to_owned()],
                true
            )
        );
        let (second, more) = select(&text, &user(), first.last(), 3);
        assert_eq!(
            (second.iter().map(Place::cursor).collect::<Vec<_>>(), more),
            (vec!["c/q".to_owned()], false)
        );
    }

    #[test]
    fn what_is_no_endpoint_is_left_out() {
        let foreign = atomicity_ledger::Keypair::from_secret(&[8; 32]).user_key();
        let text = listing(&[
            "a/endpoints/",
            "a/settings.json",
            "A/endpoints/x",
            "a/endpoints/b/c",
            "a/endpoints/ok",
        ]) + &format!("pubky://{foreign}/pub/paykit/v0/apps/a/endpoints/x\nnonsense\n");
        let (places, _) = select(&text, &user(), None, 50);
        assert_eq!(
            places.iter().map(Place::cursor).collect::<Vec<_>>(),
            ["a/ok"]
        );
    }

    #[test]
    fn a_homeserver_can_not_make_the_list_endless() {
        let names: Vec<_> = (0..1000).map(|n| format!("a/endpoints/m{n:04}")).collect();
        let text = listing(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let last = Place::parse("a/m0255").unwrap();
        assert_eq!(select(&text, &user(), Some(&last), 50), (Vec::new(), false));
    }

    #[test]
    fn a_cursor_of_ones_own_invention_is_refused() {
        for wrong in ["", "a", "/", "a/", "../x", "a/b/c"] {
            assert_eq!(
                Place::parse_cursor(wrong).unwrap_err().code(),
                "cursor_invalid",
                "{wrong}"
            );
        }
    }
}

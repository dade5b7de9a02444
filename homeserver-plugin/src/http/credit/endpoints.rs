//! `GET /v0/users/{user}/endpoints`: the ways a user can be paid, as Paykit lays them out.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use atomicity_ledger::UserKey;
use atomicity_paykit_adapter::{
    AppId, LEGACY_DIR, MAX_ENDPOINTS, MAX_PAYLOAD_BYTES, MethodId, Payload, endpoint_path,
    legacy_path,
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

/// The directory under which every app keeps its endpoints.
const APPS_DIR: &str = "/pub/paykit/v0/apps/";
/// Most files that a homeserver lists at once.
const MAX_LISTED: u16 = 1000;
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
    /// The endpoints, by app and method; those of no app last.
    pub items: Vec<EndpointView>,
    /// Endpoints of this page that are there and can't be read, as `app/method`.
    pub unreadable: Vec<String>,
    /// What to send as `after` for the next page; absent at the end.
    pub next: Option<String>,
}

/// One way to pay the user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EndpointView {
    /// The app that keeps it; absent if it lies where Paykit kept endpoints formerly.
    #[schema(example = "atomicity")]
    pub app: Option<String>,
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
    let answer = find(&state, &memory, &user, after, limit).await?;
    etag::respond(&headers, answer.as_ref())
}

/// The first page of the ways a user can be paid.
///
/// # Errors
/// What [`get`] answers.
pub(crate) async fn first(
    state: &AppState,
    memory: &Memory,
    user: &UserKey,
) -> Result<Arc<EndpointsPage>, PluginError> {
    find(state, memory, user, None, usize::from(DEFAULT_LIMIT)).await
}

async fn find(
    state: &AppState,
    memory: &Memory,
    user: &UserKey,
    after: Option<Place>,
    limit: usize,
) -> Result<Arc<EndpointsPage>, PluginError> {
    let key = (*user, after.as_ref().map(Place::cursor), limit);
    if let Some((held, age)) = memory.endpoints.get(&key)
        && age < FRESH_FOR
    {
        return Ok(held);
    }
    let budget = state.config.http.request_timeout().mul_f32(0.8);
    let answer = tokio::time::timeout(budget, read_page(state, user, after, limit))
        .await
        .map_err(|_| PluginError::Upstream("the homeserver did not answer in time".to_owned()))??;
    let answer = Arc::new(answer);
    memory
        .endpoints
        .put(key, Arc::clone(&answer), answer.weight());
    Ok(answer)
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

/// Where an endpoint lies. Places are ordered as they are declared here: those of no app come last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// With an app.
    App(AppId, MethodId),
    /// At the older path, which no app owns.
    Older(MethodId),
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let (app, method) = text.split_once('/')?;
        let method = MethodId::new(method).ok()?;
        if app.is_empty() {
            return Some(Self::Older(method));
        }
        Some(Self::App(AppId::new(app).ok()?, method))
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
        if let Some(method) = path.strip_prefix(LEGACY_DIR) {
            return MethodId::new(method).ok().map(Self::Older);
        }
        let (app, method) = path.strip_prefix(APPS_DIR)?.split_once("/endpoints/")?;
        Some(Self::App(
            AppId::new(app).ok()?,
            MethodId::new(method).ok()?,
        ))
    }

    fn method(&self) -> &MethodId {
        match self {
            Self::App(_, method) | Self::Older(method) => method,
        }
    }

    fn app(&self) -> Option<&str> {
        match self {
            Self::App(app, _) => Some(app.as_str()),
            Self::Older(_) => None,
        }
    }

    fn path(&self) -> String {
        match self {
            Self::App(app, method) => endpoint_path(app, method),
            Self::Older(method) => legacy_path(method),
        }
    }

    fn cursor(&self) -> String {
        format!(
            "{}/{}",
            self.app().unwrap_or_default(),
            self.method().as_str()
        )
    }
}

async fn read_page(
    state: &AppState,
    user: &UserKey,
    after: Option<Place>,
    limit: usize,
) -> Result<EndpointsPage, PluginError> {
    let (apps, older) =
        tokio::try_join!(list(state, user, APPS_DIR), list(state, user, LEGACY_DIR))?;
    let (places, more) = select(&format!("{apps}\n{older}"), user, after.as_ref(), limit);
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

/// Everything under a directory: one request, bounded.
async fn list(state: &AppState, user: &UserKey, dir: &str) -> Result<String, PluginError> {
    let target = format!("{dir}?limit={MAX_LISTED}");
    match state
        .resolver
        .get_public(user, &target, None, MAX_LISTING_BYTES)
        .await?
    {
        Fetched::Found { body, .. } => Ok(String::from_utf8_lossy(&body).into_owned()),
        Fetched::NotModified | Fetched::NotFound => Ok(String::new()),
    }
}

/// The endpoints of one page, and whether there are more. At the older path only methods count that no app has.
fn select(
    listing: &str,
    user: &UserKey,
    after: Option<&Place>,
    limit: usize,
) -> (Vec<Place>, bool) {
    let listed: BTreeSet<_> = listing
        .lines()
        .filter_map(|line| Place::parse_listed(line, user))
        .collect();
    let with_an_app: HashSet<_> = listed
        .iter()
        .filter(|place| place.app().is_some())
        .map(Place::method)
        .collect();
    let mut places: Vec<_> = listed
        .iter()
        .filter(|place| place.app().is_some() || !with_an_app.contains(place.method()))
        .take(MAX_ENDPOINTS)
        .filter(|place| after.is_none_or(|after| *place > after))
        .cloned()
        .collect();
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
    let path = place.path();
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
        app: place.app().map(str::to_owned),
        method: place.method().as_str().to_owned(),
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
    fn the_older_path_is_read_for_methods_that_no_app_has() {
        let user = user();
        let text = listing(&["b/endpoints/x"])
            + &format!("pubky://{user}/pub/paykit.app/v0/x\npubky://{user}/pub/paykit.app/v0/a\n");
        let (places, more) = select(&text, &user, None, 50);
        assert_eq!(
            places.iter().map(Place::cursor).collect::<Vec<_>>(),
            ["b/x", "/a"]
        );
        assert!(!more);
        let after = Place::parse_cursor("b/x").unwrap();
        assert_eq!(
            select(&text, &user, Some(&after), 50).0,
            [Place::parse("/a").unwrap()]
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
        for wrong in ["", "a", "/", "a/", "../x", "a/b/c", "/a/b"] {
            assert_eq!(
                Place::parse_cursor(wrong).unwrap_err().code(),
                "cursor_invalid",
                "{wrong}"
            );
        }
    }
}

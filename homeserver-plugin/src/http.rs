//! The routes, and what surrounds all of them.

pub mod client_addr;
pub mod credit;
pub mod diary;
pub mod docs;
pub mod etag;
pub mod extract;
pub(crate) mod guests;
pub mod health;
pub mod inbox;
mod info;
mod me;
pub(crate) mod middleware;
pub(crate) mod proposals;
pub(crate) mod sessions;
mod snapshot;
pub mod web;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{from_fn, from_fn_with_state};
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use crate::error::PluginError;
use crate::inbox::envelope;
use crate::problem::Problem;
use crate::router as finding;
use crate::state::AppState;
use crate::{agent, cosigner, mirror, pages, watchtower};

/// The parts of the document that no route gives.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Atomicity homeserver plugin",
        description = "Sealed messages for users who are away, and what they want web apps to see of their credit. \
                       Times are Unix milliseconds, amounts decimal strings of minor units, keys z-base-32. \
                       Errors are problem details (RFC 9457) with a stable `code`."
    ),
    tags(
        (name = "credit", description = "Who a user is, how they can be paid and, for their own apps, what they are owed."),
        (name = "inbox", description = "Sealed messages: leave one for a user, fetch your own, live if you like."),
        (name = "account", description = "Your account at this service."),
        (name = "sessions", description = "Show that you speak for a key, once; then a token will do."),
        (name = "agent", description = "Books that are kept for you while you are away, within your limits."),
        (name = "accounts", description = "Payment accounts: what apps may spend for a user, with a key of their own."),
        (name = "log", description = "The transparency log of preimages, if this service runs one."),
        (name = "logs", description = "Logs of others: their mirrors, cosignatures, and who was caught lying."),
        (name = "router", description = "Ways to pay strangers, if this service looks for them."),
        (name = "plugin", description = "Who this service is."),
        (name = "health", description = "For whoever runs it."),
    ),
    components(schemas(Problem)),
    modifiers(&SessionScheme)
)]
struct ApiDoc;

struct SessionScheme;

impl utoipa::Modify for SessionScheme {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let mut pass = ApiKeyValue::new("Authorization");
        pass.description =
            Some("`Atomicity <atomicity-pass>`, signed by the account's key".to_owned());
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("session", scheme);
        components.add_security_scheme("pass", SecurityScheme::ApiKey(ApiKey::Header(pass)));
    }
}

/// Which listener a router is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// HTTP, for browsers and proxies.
    Http,
    /// TLS with the plugin's raw public key.
    Pubky,
}

/// `routes` with bodies of at most `limit` bytes: by what a request announces, and by what really comes.
pub(crate) fn bounded(
    routes: OpenApiRouter<AppState>,
    limit: usize,
    code: &'static str,
) -> OpenApiRouter<AppState> {
    routes
        .layer(DefaultBodyLimit::max(limit))
        .layer(from_fn(move |request, next| {
            middleware::limit_announced(limit, code, request, next)
        }))
}

/// The routes of what is switched on of cosigner and watchtower.
fn followed(
    state: &AppState,
    mut small: OpenApiRouter<AppState>,
    mut large: OpenApiRouter<AppState>,
) -> (OpenApiRouter<AppState>, OpenApiRouter<AppState>) {
    // Cosigners catch liars too.
    if !state.follow.is_empty() || state.follow.watchtower {
        small = small.merge(mirror::routes()).merge(watchtower::routes());
    }
    if state.follow.cosigner.is_some() {
        small = small.merge(cosigner::routes());
        let add = bounded(cosigner::add_routes(), cosigner::BODY, "body_too_large");
        large = large.merge(add);
    }
    if state.follow.watchtower {
        let checkpoints = watchtower::checkpoint_routes();
        let proofs = watchtower::proof_routes();
        large = large
            .merge(bounded(
                checkpoints,
                watchtower::CHECKPOINTS_BODY,
                "body_too_large",
            ))
            .merge(bounded(proofs, watchtower::PROOF_BODY, "proof_too_large"));
    }
    (small, large)
}

/// The routes of the router, and of the indexer, where they are switched on.
fn routed(
    state: &AppState,
    mut small: OpenApiRouter<AppState>,
    mut large: OpenApiRouter<AppState>,
) -> (OpenApiRouter<AppState>, OpenApiRouter<AppState>) {
    if let Some(router) = &state.router {
        small = small.merge(finding::http::routes());
        if router.indexer {
            small = small.merge(finding::index::routes());
        }
        let questions = finding::http::question_routes();
        large = large.merge(bounded(
            questions,
            finding::http::QUESTION_BODY,
            "body_too_large",
        ));
    }
    (small, large)
}

fn api(
    listener: Listener,
    state: &AppState,
    memory: &Arc<credit::Memory>,
) -> (Router<AppState>, utoipa::openapi::OpenApi) {
    let small = OpenApiRouter::new()
        .merge(info::routes())
        .merge(sessions::routes())
        .merge(me::routes())
        .merge(inbox::routes())
        .merge(proposals::routes())
        .merge(credit::routes(memory))
        .merge(guests::routes(memory))
        .merge(snapshot::read_routes());
    let small = match &state.witness_log {
        Some(_) => small.merge(crate::witness_log::http::routes()),
        None => small,
    };
    let large = OpenApiRouter::new()
        .merge(bounded(
            inbox::post_routes(),
            envelope::MAX_BODY,
            "record_too_large",
        ))
        .merge(bounded(me::tag_routes(), me::TAGS_BODY, "body_too_large"))
        .merge(bounded(
            snapshot::routes(),
            snapshot::BODY,
            "body_too_large",
        ))
        .merge(bounded(diary::routes(), diary::BODY, "body_too_large"))
        .merge(bounded(
            proposals::new_routes(),
            proposals::BODY,
            "body_too_large",
        ));
    let (small, large) = followed(state, small, large);
    let (small, large) = routed(state, small, large);
    let (small, large) = match &state.agent {
        Some(_) => agent::http::routes(small, large),
        None => (small, large),
    };
    let guarded = bounded(small, extract::SMALL_BODY, "body_too_large")
        .merge(large)
        .layer(from_fn_with_state(state.clone(), middleware::require_ready))
        .layer(from_fn_with_state(state.clone(), middleware::limit_rate));
    let mut all = OpenApiRouter::with_openapi(ApiDoc::openapi())
        .merge(guarded)
        .merge(web::routes())
        .merge(health::routes());
    if listener == Listener::Http && state.config.http.metrics {
        all = all.merge(health::metrics_routes());
    }
    all.split_for_parts()
}

/// Everything that one listener serves.
///
/// # Errors
/// [`PluginError::Config`] if an origin can't be read.
pub fn router(listener: Listener, state: &AppState) -> Result<Router, PluginError> {
    let cors = cors(&state.config.http.cors_origins)?;
    let memory = credit::Memory::new();
    let (api, document) = api(listener, state, &memory);
    let mut all = api.merge(docs::routes(document, docs::Audience::Apps));
    // Browsers don't speak TLS with raw public keys.
    let shows_pages = listener == Listener::Http && state.config.pages.enabled;
    if shows_pages {
        all = all.merge(pages::routes(state, memory)?);
    }
    let mut all = all
        .fallback(middleware::not_found)
        .method_not_allowed_fallback(middleware::method_not_allowed)
        .layer(from_fn_with_state(state.clone(), middleware::limit_time));
    if shows_pages {
        all = all.layer(from_fn(pages::problem::friendly));
    }
    Ok(all
        .layer(from_fn(middleware::harden))
        .layer(from_fn_with_state(state.clone(), middleware::observe))
        .layer(cors)
        .with_state(state.clone()))
}

fn cors(origins: &[String]) -> Result<CorsLayer, PluginError> {
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        let list = origins
            .iter()
            .map(|origin| {
                HeaderValue::from_str(origin).map_err(|_| {
                    PluginError::Config(format!("http.cors_origins: `{origin}` is no origin"))
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        AllowOrigin::list(list)
    };
    Ok(CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([header::AGE, header::ETAG, header::RETRY_AFTER])
        .max_age(std::time::Duration::from_secs(3_600)))
}

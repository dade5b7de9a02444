//! The routes for operators, and what surrounds them. They are served on their own listener only.

mod routes;

use std::net::IpAddr;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

pub use self::routes::{AccountsList, AuditPage, Drain, NewPassword, SignaturesPage};
pub(super) use self::routes::{exported, paged, renewed, set_draining};

use super::Admin;
use super::audit::{Operator, Via};
use crate::error::PluginError;
use crate::http::client_addr::ClientAddr;
use crate::http::{docs, health, middleware};
use crate::pages::problem;
use crate::problem::Problem;
use crate::state::AppState;

/// The parts of the document that no route gives.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Atomicity homeserver plugin, for operators",
        description = "On a listener of its own, behind the operator's password, sent as `Authorization: Bearer`. \
                       Times are Unix milliseconds, keys z-base-32. Errors are problem details (RFC 9457) with a stable `code`. \
                       Every action is written to the audit."
    ),
    tags(
        (name = "operator", description = "How the plugin stands, and what can be done about it."),
        (name = "health", description = "For probes."),
    ),
    components(schemas(Problem)),
    modifiers(&Password)
)]
struct ApiDoc;

struct Password;

impl utoipa::Modify for Password {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("password", scheme);
    }
}

/// Somebody who knows the password.
pub struct Known(pub Operator);

/// The listener for operators, which exists where a request of theirs arrives.
pub(super) fn admin(state: &AppState) -> Result<&Admin, PluginError> {
    state
        .admin
        .as_ref()
        .ok_or_else(|| PluginError::Internal("there is no listener for operators".to_owned()))
}

/// Whether `given` is the password; who guesses is slowed down.
///
/// # Errors
/// `admin_password_wrong`, `too_many_attempts`.
pub fn check(state: &AppState, address: IpAddr, given: &str) -> Result<(), PluginError> {
    let admin = admin(state)?;
    let password = &admin.password;
    let checked = admin
        .attempts
        .guard(address.into(), password.strength(), || password.is(given));
    if let Err(error) = &checked {
        tracing::warn!(code = error.code(), %address, "an operator was turned away");
    }
    checked
}

impl FromRequestParts<AppState> for Known {
    type Rejection = PluginError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> Result<Self, Self::Rejection> {
        let ClientAddr(address) = ClientAddr::from_request_parts(parts, state).await?;
        let value = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let given = value
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, password)| password.trim())
            .ok_or(PluginError::Unauthorized {
                code: "admin_password_wrong",
                detail: "send the operator's password as Bearer",
            })?;
        check(state, address, given)?;
        Ok(Self(Operator {
            via: Via::Api,
            address: Some(address),
        }))
    }
}

fn api() -> (Router<AppState>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(ApiDoc::openapi())
        .merge(routes::routes())
        .merge(health::routes())
        .split_for_parts()
}

/// Everything that the listener for operators serves. No page of another origin is let in.
pub fn router(state: &AppState) -> Router {
    let (api, document) = api();
    api.merge(docs::routes(document, docs::Audience::Operators))
        .merge(super::pages::routes())
        .fallback(middleware::not_found)
        .method_not_allowed_fallback(middleware::method_not_allowed)
        .layer(from_fn_with_state(state.clone(), middleware::limit_time))
        .layer(from_fn_with_state(state.clone(), from_here))
        .layer(from_fn(|request, next| {
            problem::friendly_as(super::pages::problem, request, next)
        }))
        .layer(from_fn(private))
        .layer(from_fn(middleware::harden))
        .layer(from_fn_with_state(state.clone(), middleware::observe))
        .with_state(state.clone())
}

/// What a proxy says of who stands behind it.
const FORWARDED: [HeaderName; 3] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    header::FORWARDED,
];

/// Unless `admin.anywhere` is set, no proxy stands in front: nobody's word on where a request comes from counts, and the name that a
/// browser asked for is one of this machine. Otherwise any site could give itself a name that leads here, and ask as this very page does.
async fn from_here(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Result<Response, PluginError> {
    if state.config.admin.anywhere {
        return Ok(next.run(request).await);
    }
    if !is_this_machine(request.headers()) {
        return Err(PluginError::Forbidden {
            code: "host_foreign",
            detail: "operators ask at 127.0.0.1 or localhost, through SSH if they are elsewhere: \
                     another name needs admin.anywhere, and a proxy in front",
        });
    }
    for name in FORWARDED {
        request.headers_mut().remove(name);
    }
    Ok(next.run(request).await)
}

/// Whether a request names this machine by an address of its own or as `localhost`, with any port.
fn is_this_machine(headers: &HeaderMap) -> bool {
    let asked = headers.get(header::HOST).and_then(|it| it.to_str().ok());
    let Some(asked) = asked.and_then(|it| it.parse::<Authority>().ok()) else {
        return false;
    };
    // Whoever names a user there is no browser.
    if asked.as_str().contains('@') {
        return false;
    }
    let host = asked.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Nothing of it is kept by anybody on the way, but for the files that bear their content in their names.
async fn private(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let is_immutable = headers
        .get(header::CACHE_CONTROL)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("immutable"));
    if !is_immutable {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_names() {
        let named = |host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            is_this_machine(&headers)
        };
        for host in [
            "127.0.0.1",
            "127.0.0.1:6292",
            "localhost:9999",
            "LocalHost",
            "[::1]",
            "[::1]:6292",
        ] {
            assert!(named(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:6292",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "192.168.1.2:6292",
            "[2001:db8::1]",
            "127.0.0.1@evil.example",
            "x@127.0.0.1",
        ] {
            assert!(!named(host), "{host}");
        }
        assert!(!is_this_machine(&HeaderMap::new()));
    }
}

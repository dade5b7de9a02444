//! The OpenAPI document and a page to browse it.
//!
//! The page is one answer with style and script inside: it works behind any proxy, without any other host, and its content policy allows nothing but itself
//! and requests to this server.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use utoipa::openapi::OpenApi;

use crate::error::PluginError;
use crate::state::AppState;

const PAGE: &str = include_str!("docs/page.html");
const STYLE: &str = include_str!("docs/page.css");
const SCRIPT: &str = include_str!("docs/page.js");

/// `GET /openapi.json` with the finished document, and `GET /docs`.
pub fn routes(openapi: OpenApi) -> Router<AppState> {
    let document = openapi
        .to_json()
        .map(Served::json)
        .map_err(|error| error.to_string());
    let page = Served::page();
    Router::new()
        .route(
            "/openapi.json",
            get(move |headers: HeaderMap| async move {
                match document {
                    Ok(document) => document.answer(&headers),
                    Err(error) => {
                        PluginError::Internal(format!("openapi: {error}")).into_response()
                    }
                }
            }),
        )
        .route(
            "/docs",
            get(move |headers: HeaderMap| async move { page.answer(&headers) }),
        )
}

/// An answer that never changes while the process runs.
#[derive(Clone)]
struct Served {
    body: String,
    kind: &'static str,
    etag: String,
    policy: String,
}

impl Served {
    fn new(body: String, kind: &'static str, policy: String) -> Self {
        let etag = format!("\"{}\"", hash(&body));
        Self {
            body,
            kind,
            etag,
            policy,
        }
    }

    fn json(body: String) -> Self {
        Self::new(body, "application/json", "default-src 'none'".to_owned())
    }

    /// The page, and a policy that names its style and script by their hashes.
    fn page() -> Self {
        let body = PAGE
            .replace("{{style}}", STYLE)
            .replace("{{script}}", SCRIPT);
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(STYLE),
            hash(SCRIPT)
        );
        Self::new(body, "text/html; charset=utf-8", policy)
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let held = headers
            .get(header::IF_NONE_MATCH)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let mut response = if held
            .split(',')
            .any(|tag| tag.trim().trim_start_matches("W/") == self.etag)
        {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let mut response = self.body.clone().into_response();
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
            response
        };
        let answer = response.headers_mut();
        for (name, value) in [
            (header::ETAG, &self.etag),
            (header::CONTENT_SECURITY_POLICY, &self.policy),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                answer.insert(name, value);
            }
        }
        for (name, value) in [
            (header::CACHE_CONTROL, "no-cache"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ] {
            answer.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

fn hash(text: &str) -> String {
    BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_anywhere_else() {
        let page = Served::page().body;
        assert!(!page.contains("{{"), "a part is missing");
        assert!(!page.contains("://"), "the page names another host");
        for foreign in ["src=", "<link", "<iframe", "import("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        for foreign in ["@import", "url("] {
            assert!(!STYLE.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn the_policy_allows_exactly_what_the_page_holds() {
        let page = Served::page();
        let inside = |open: &str, close: &str| {
            let start = page.body.find(open).unwrap() + open.len();
            let length = page.body[start..].find(close).unwrap();
            hash(&page.body[start..start + length])
        };
        assert!(page.policy.contains(&format!(
            "style-src 'sha256-{}'",
            inside("<style>", "</style>")
        )));
        assert!(page.policy.contains(&format!(
            "script-src 'sha256-{}'",
            inside("<script>", "</script>")
        )));
        assert!(!page.policy.contains("unsafe"));
    }

    #[test]
    fn who_holds_the_page_is_not_sent_it_again() {
        let page = Served::page();
        let first = page.answer(&HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(page.answer(&headers).status(), StatusCode::NOT_MODIFIED);
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"other\""));
        assert_eq!(page.answer(&headers).status(), StatusCode::OK);
    }
}

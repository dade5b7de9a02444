//! The OpenAPI document and a page to browse it.
//!
//! For everybody, the page is one answer with style and script inside: it works behind any proxy and under any path, without any other host, and its content
//! policy allows nothing but itself and requests to this server. Operators get it as they get their other pages: with style and script as files beside it.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use utoipa::openapi::OpenApi;

use crate::error::PluginError;
use crate::pages::asset;
use crate::pages::layout::POLICY;
use crate::state::AppState;

const PAGE: &str = include_str!("docs/page.html");
const STYLE: &str = include_str!("docs/page.css");
const SCRIPT: &str = include_str!("docs/page.js");

/// Whom the page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever writes apps.
    Apps,
    /// Operators, on their own listener, which serves the files of pages.
    Operators,
}

/// `GET /openapi.json` with the finished document, and `GET /docs`.
pub fn routes(openapi: OpenApi, audience: Audience) -> Router<AppState> {
    let document = openapi
        .to_json()
        .map(Served::json)
        .map_err(|error| error.to_string());
    let page = match audience {
        Audience::Apps => Served::page(),
        Audience::Operators => Served::page_for_operators(),
    };
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

/// What differs in the words: who asks, what for, with what, whether the server says who it is, and what the locked routes are called.
struct Words {
    lead: &'static str,
    info: &'static str,
    title: &'static str,
    who: &'static str,
    token: &'static str,
    locked: &'static str,
}

const FOR_APPS: Words = Words {
    lead: "Credit between friends. This page lists everything that apps can ask of this server, and lets you try it.",
    info: "v0/info",
    title: "Atomicity: what apps can ask of this server",
    who: "Routes marked <span class=\"lock\">signed in</span> need a session token. An app gets one from <code>POST /v0/sessions</code>, by showing that it speaks for a key. Paste one here and this page sends it along. It is forgotten when the page is closed.",
    token: "Session token",
    locked: "signed in",
};

const FOR_OPERATORS: Words = Words {
    lead: "For whoever runs this plugin. This page lists everything that operators can ask of it, and lets you try it. <a href=\"/\">To the pages</a>",
    info: "",
    title: "Atomicity: what operators can ask",
    who: "Routes marked <span class=\"lock\">operator</span> need the operator's password, which <code>atomicity-homeserver admin password</code> shows. Paste it here and this page sends it along. It is forgotten when the page is closed. Every action is written down.",
    token: "The operator's password",
    locked: "operator",
};

/// The page with this style and script, in these words.
fn dressed(style: &str, script: &str, words: Words) -> String {
    // What is put in last is not looked through for marks any more.
    [
        ("{{title}}", words.title),
        ("{{lead}}", words.lead),
        ("{{info}}", words.info),
        ("{{who}}", words.who),
        ("{{token}}", words.token),
        ("{{locked}}", words.locked),
        ("{{style}}", style),
        ("{{script}}", script),
    ]
    .iter()
    .fold(PAGE.to_owned(), |page, (mark, text)| {
        page.replace(mark, text)
    })
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
        let body = dressed(
            &format!("<style>{STYLE}</style>"),
            &format!("<script>{SCRIPT}</script>"),
            FOR_APPS,
        );
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(STYLE),
            hash(SCRIPT)
        );
        Self::new(body, "text/html; charset=utf-8", policy)
    }

    /// The page with its style and script beside it, under the policy of all pages.
    fn page_for_operators() -> Self {
        let body = dressed(
            &format!(
                "<link rel=\"stylesheet\" href=\"{}\"><link rel=\"icon\" href=\"data:,\">",
                asset("docs.css")
            ),
            &format!(
                "<script type=\"module\" src=\"{}\"></script>",
                asset("docs.js")
            ),
            FOR_OPERATORS,
        );
        Self::new(body, "text/html; charset=utf-8", POLICY.to_owned())
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
    fn the_operators_page_has_nothing_inside_and_asks_for_nothing_that_is_not_there() {
        let page = Served::page_for_operators();
        assert!(!page.body.contains("{{"), "a part is missing");
        assert!(!page.body.contains("<style") && !page.body.contains("<script>"));
        for file in ["docs.css", "docs.js"] {
            assert!(page.body.contains(&asset(file)), "{file}");
            assert_ne!(asset(file), format!("/assets/{file}"));
        }
        assert!(page.body.contains("data-info=\"\""));
        assert!(Served::page().body.contains("data-info=\"v0/info\""));
        assert_eq!(page.policy, POLICY);
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

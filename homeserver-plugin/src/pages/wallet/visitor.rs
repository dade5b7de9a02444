//! Who looks at the page, and forms that only its own pages can have sent.

use std::cell::RefCell;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use maud::{Markup, html};
use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::cookie::Cookie;
use crate::auth::{self, Caller};
use crate::error::PluginError;
use crate::http::extract::SMALL_BODY;
use crate::state::AppState;

/// Name of the field that shows that a form is ours.
const FIELD: &str = "csrf";
/// Most fields of a form.
const MAX_FIELDS: usize = 32;

/// A user who has logged in.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Who, and in which session.
    pub caller: Caller,
    /// What each of their forms must bear.
    csrf: String,
}

impl Visitor {
    /// The visitor of a session; `None` if there is none that is open.
    ///
    /// # Errors
    /// [`PluginError::Database`].
    pub async fn find(state: &AppState, headers: &HeaderMap) -> Result<Option<Self>, PluginError> {
        let Some(token) = Cookie::Session.read(&state.config, headers) else {
            return Ok(None);
        };
        let caller = auth::caller(state, &token).await?;
        Ok(caller.map(|caller| Self {
            csrf: csrf(&token),
            caller,
        }))
    }

    /// The hidden field that each of their forms bears.
    #[must_use]
    pub fn field(&self) -> Markup {
        html! { input type="hidden" name=(FIELD) value=(self.csrf); }
    }
}

/// Made of the session's token, which nobody else has; from it the token can't be found.
fn csrf(token: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"atomicity page form\0");
    hash.update(token.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(hash.finalize())
}

/// There is nobody.
fn nobody() -> PluginError {
    PluginError::Unauthorized {
        code: "session_invalid",
        detail: "you are not logged in, or no longer",
    }
}

impl FromRequestParts<AppState> for Visitor {
    type Rejection = PluginError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> Result<Self, Self::Rejection> {
        let found = Self::find(state, &parts.headers).await?;
        found.ok_or_else(nobody)
    }
}

/// Refuses what another site made a browser send.
///
/// # Errors
/// `form_foreign`.
pub fn require_own_page(headers: &HeaderMap) -> Result<(), PluginError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text("sec-fetch-site");
    // Browsers that don't say from which site still say from which origin.
    let host = text(header::HOST.as_str());
    let origin = text(header::ORIGIN.as_str()).map(|origin| {
        let url = Url::parse(origin).ok();
        let authority =
            url.map(|url| url[url::Position::BeforeHost..url::Position::AfterPort].to_owned());
        authority.is_some() && authority.as_deref() == host
    });
    match (site, origin) {
        (Some("same-origin"), _) | (None, Some(true)) => Ok(()),
        // A form that a program sends, which no browser would.
        (None, None) => Ok(()),
        _ => Err(foreign()),
    }
}

fn foreign() -> PluginError {
    PluginError::Forbidden {
        code: "form_foreign",
        detail: "this form was not made for your session: load the page again, and send it from there",
    }
}

/// A form of a page of ours, sent by the visitor for whom the page was made.
pub struct Posted<T>(pub Visitor, pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for Posted<T> {
    type Rejection = PluginError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Self::Rejection> {
        let headers = request.headers().clone();
        let visitor = Visitor::find(state, &headers).await?.ok_or_else(nobody)?;
        require_own_page(&headers)?;
        let mut fields = fields(request).await?;
        let shown = fields.remove(FIELD);
        if shown.as_ref().and_then(Value::as_str) != Some(visitor.csrf.as_str()) {
            return Err(foreign());
        }
        Ok(Self(visitor, read(fields)?))
    }
}

/// A form that is sent before anybody has logged in.
pub struct Anonymous<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Anonymous<T> {
    type Rejection = PluginError;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        require_own_page(request.headers())?;
        Ok(Self(read(fields(request).await?)?))
    }
}

fn malformed(why: &str) -> PluginError {
    PluginError::BadRequest {
        code: "body_malformed",
        detail: format!("the form is not what this page sends: {why}"),
    }
}

/// Reads the fields of a form. What is wrong with one of them is said with its name, as people know it.
fn read<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, PluginError> {
    let reading = RefCell::new(None);
    let fields = fields
        .into_iter()
        .inspect(|(name, _)| *reading.borrow_mut() = Some(name.clone()))
        .chain(std::iter::from_fn(|| {
            reading.borrow_mut().take();
            None
        }));
    let read = T::deserialize(MapDeserializer::<_, serde_json::Error>::new(fields));
    read.map_err(|error| {
        let error = error.to_string();
        if let Some(field) = error.strip_prefix("missing field `") {
            let field = field.trim_end_matches('`');
            return wrong(field, "it is empty, and has to be filled in");
        }
        match reading.take() {
            Some(field) if !error.starts_with("unknown field") => wrong(&field, &error),
            _ => malformed(&error),
        }
    })
}

/// One field is not as it should be.
fn wrong(field: &str, why: &str) -> PluginError {
    PluginError::BadRequest {
        code: "body_malformed",
        detail: format!("{}: {why}", label(field)),
    }
}

/// What a field is called on the pages.
fn label(field: &str) -> String {
    match field {
        "amount" => "the amount".to_owned(),
        "accept" => "how much they may owe".to_owned(),
        "unit" => "the unit".to_owned(),
        "memo" => "what it is for".to_owned(),
        "name" => "the name".to_owned(),
        "user" | "peer" => "the key of the user".to_owned(),
        "key" => "the key of the app".to_owned(),
        "link" => "the link".to_owned(),
        "invoice" => "the Lightning invoice".to_owned(),
        "file" => "the recovery file".to_owned(),
        "passphrase" => "the passphrase".to_owned(),
        other => format!("the field “{other}”"),
    }
}

/// The fields of a form, each once. An empty one counts as left out.
async fn fields(request: Request) -> Result<Map<String, Value>, PluginError> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|value| value.split(';').next());
    if kind.map(str::trim) != Some("application/x-www-form-urlencoded") {
        return Err(PluginError::UnsupportedMediaType);
    }
    let body = axum::body::to_bytes(request.into_body(), SMALL_BODY).await;
    let body = body.map_err(|_| PluginError::TooLarge {
        code: "body_too_large",
    })?;
    let mut fields = Map::new();
    for (name, value) in url::form_urlencoded::parse(&body) {
        if fields.len() >= MAX_FIELDS {
            return Err(malformed("it has too many fields"));
        }
        if value.is_empty() {
            continue;
        }
        let twice = fields.insert(name.into_owned(), Value::String(value.into_owned()));
        if twice.is_some() {
            return Err(malformed("a field stands there twice"));
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect::<Vec<(axum::http::HeaderName, _)>>()
            .into_iter()
            .collect()
    }

    #[test]
    fn what_another_site_sends_is_refused() {
        let own = |pairs: &[_]| require_own_page(&headers(pairs)).is_ok();
        assert!(own(&[("sec-fetch-site", "same-origin")]));
        assert!(!own(&[("sec-fetch-site", "cross-site")]));
        assert!(!own(&[("sec-fetch-site", "same-site")]));
        let host = ("host", "credit.example:8080");
        assert!(own(&[host, ("origin", "http://credit.example:8080")]));
        assert!(!own(&[host, ("origin", "http://credit.example")]));
        assert!(!own(&[host, ("origin", "https://evil.example")]));
        assert!(!own(&[host, ("origin", "null")]));
        assert!(own(&[host]));
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form {
        unit: atomicity_ledger::Unit,
        amount: String,
        #[serde(default)]
        memo: Option<atomicity_ledger::Memo>,
    }

    fn filled(fields: &[(&str, &str)]) -> Result<Form, String> {
        let fields = fields.iter();
        let fields = fields.map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
        read(fields.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_wrong_with_a_field_is_said_with_its_name() {
        let form = filled(&[("amount", "5"), ("memo", "cake"), ("unit", "USD/2")]).unwrap();
        assert_eq!((form.unit.code(), form.amount.as_str()), ("USD", "5"));
        assert_eq!(form.memo.unwrap().as_str(), "cake");
        assert!(filled(&[("amount", "5"), ("unit", "USD/2")]).is_ok());

        let typed = filled(&[("amount", "5"), ("unit", "dollars")]).unwrap_err();
        assert!(
            typed.starts_with("the unit: \"dollars\" is not a unit"),
            "{typed}"
        );
        let long = "x".repeat(5_000);
        let typed = filled(&[("memo", &long), ("unit", "X"), ("amount", "1")]).unwrap_err();
        assert!(typed.starts_with("what it is for: "), "{typed}");
        let typed = filled(&[("unit", "USD/2")]).unwrap_err();
        assert_eq!(typed, "the amount: it is empty, and has to be filled in");
        let other = filled(&[("amount", "5"), ("unit", "X"), ("z", "1")]).unwrap_err();
        assert!(
            other.starts_with("the form is not what this page sends"),
            "{other}"
        );
    }

    #[test]
    fn the_mark_of_a_form_differs_by_session_and_is_not_the_token() {
        let (one, other) = ("a".repeat(43), "b".repeat(43));
        assert_ne!(csrf(&one), csrf(&other));
        assert_ne!(csrf(&one), one);
    }
}

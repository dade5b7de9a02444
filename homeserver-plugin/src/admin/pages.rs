//! The operator's page: the same as `atomicity-homeserver admin`, for a browser. Written on the server, without scripts that matter.
//!
//! Whoever knows the password is logged in by a cookie that no script and no other site can use; every form bears a token of that
//! session besides.

mod account;
mod cookie;
mod keys;
mod login;
mod overview;

use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, Form, FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use maud::{Markup, html};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::audit::{Operator, Via};
use super::http::admin;
use super::sessions::{self, Session};
use crate::error::PluginError;
use crate::http::client_addr::ClientAddr;
use crate::http::extract::SMALL_BODY;
use crate::pages::layout::layout_above;
use crate::pages::{Frame, Page, asset};
use crate::state::AppState;

/// The pages, with what they load.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(overview::page))
        .route("/login", get(login::page).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/accounts", get(account::list))
        .route("/accounts/{user}", get(account::page))
        .route("/accounts/{user}/signatures", get(account::signatures))
        .route("/accounts/{user}/disable", post(account::disable))
        .route("/accounts/{user}/enable", post(account::enable))
        .route("/accounts/{user}/export", post(account::export))
        .route("/audit", get(overview::audit))
        .route("/keys", get(keys::page))
        .route("/drain", post(overview::drain))
        .route("/password", post(login::renew))
        .layer(DefaultBodyLimit::max(SMALL_BODY))
        .merge(asset::routes())
}

/// Somebody who is logged in. Whoever is not is led to where one logs in.
pub struct LoggedIn {
    /// The session.
    pub session: Session,
    /// Who acts, for the audit.
    pub operator: Operator,
}

impl FromRequestParts<AppState> for LoggedIn {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> Result<Self, Self::Rejection> {
        let found = look(parts, state)
            .await
            .map_err(PluginError::into_response)?;
        found.ok_or_else(|| Redirect::to("/login").into_response())
    }
}

async fn look(parts: &mut Parts, state: &AppState) -> Result<Option<LoggedIn>, PluginError> {
    let ClientAddr(address) = ClientAddr::from_request_parts(parts, state).await?;
    let Some(token) = cookie::read(&parts.headers, cookie::SESSION) else {
        return Ok(None);
    };
    let admin = admin(state)?;
    let session = admin.sessions.find(token, &admin.password.fingerprint()?);
    Ok(session.map(|session| LoggedIn {
        session,
        operator: Operator {
            via: Via::Page,
            address: Some(address),
        },
    }))
}

/// A form that somebody sent who is logged in, from a page of theirs.
pub struct Sent<T> {
    /// Who.
    pub by: LoggedIn,
    /// What.
    pub form: T,
}

/// What every form bears, and the rest of it.
#[derive(Deserialize)]
struct Tokened<T> {
    csrf: String,
    #[serde(flatten)]
    form: T,
}

/// A form with nothing in it but its token.
#[derive(Deserialize)]
pub struct Nothing {}

impl<T: DeserializeOwned + Send> FromRequest<AppState> for Sent<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Self::Rejection> {
        let (mut parts, body) = request.into_parts();
        let by = LoggedIn::from_request_parts(&mut parts, state).await?;
        let read = read_form(Request::from_parts(parts, body), state).await;
        let Tokened { csrf, form } = read.map_err(PluginError::into_response)?;
        if sessions::equal(&csrf, &by.session.csrf) {
            Ok(Self { by, form })
        } else {
            Err(forged().into_response())
        }
    }
}

fn forged() -> PluginError {
    PluginError::Forbidden {
        code: "form_foreign",
        detail: "this form does not come from your page: open the page again, and send it from there",
    }
}

async fn read_form<T: DeserializeOwned + Send>(
    request: Request,
    state: &AppState,
) -> Result<T, PluginError> {
    let read = Form::<T>::from_request(request, state).await;
    let Form(form) = read.map_err(|rejection: FormRejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            PluginError::TooLarge {
                code: "body_too_large",
            }
        } else {
            PluginError::BadRequest {
                code: "form_malformed",
                detail: "the form is not what this page takes: open the page again".to_owned(),
            }
        }
    })?;
    Ok(form)
}

/// Where one can go.
const LINKS: &[(&str, &str)] = &[
    ("/", "Overview"),
    ("/accounts", "Accounts"),
    ("/keys", "Keys"),
    ("/audit", "What was done"),
    ("/docs", "For programs"),
];
/// What stands below every page.
const FOOT: &str = "For whoever runs this plugin. What is shown here is what the plugin's own database holds; every action is written down.";

/// A page of somebody who is logged in.
fn page(title: &str, here: &str, content: Markup) -> Page {
    framed(title, here, LINKS, content)
}

/// A page that says what went wrong.
pub(super) fn problem(title: &str, content: Markup) -> Page {
    framed(title, "", LINKS, content)
}

fn framed(title: &str, here: &str, links: &[(&str, &str)], content: Markup) -> Page {
    let frame = Frame {
        title,
        home: ("/", "Operator"),
        links,
        here,
        modules: &["local.js"],
    };
    layout_above(&frame, content, FOOT)
}

/// The hidden field that every form bears.
fn token(session: &Session) -> Markup {
    html! { input type="hidden" name="csrf" value=(session.csrf.as_str()); }
}

/// A time that may not have come.
fn time(ms: Option<i64>) -> Markup {
    match ms.and_then(|ms| u64::try_from(ms).ok()) {
        Some(ms) => crate::pages::text::exact_time(ms),
        None => html! { "never" },
    }
}

/// A count, as the database gives it.
fn count(number: i64) -> Markup {
    crate::pages::text::count(u64::try_from(number).unwrap_or(0))
}

/// Bytes, in the largest unit of which there is one.
fn size(bytes: u64) -> Markup {
    let (number, unit) = match bytes {
        0..1_024 => (bytes, "B"),
        1_024..1_048_576 => (bytes >> 10, "KiB"),
        _ => (bytes >> 20, "MiB"),
    };
    html! { (crate::pages::text::count(number)) " " (unit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_not_nothing() {
        for (bytes, words) in [
            (0, ">0</data> B"),
            (1_023, ">1023</data> B"),
            (300_000, ">292</data> KiB"),
            (1_048_576, ">1</data> MiB"),
            (5_368_709_120, ">5120</data> MiB"),
        ] {
            let shown = size(bytes).into_string();
            assert!(shown.ends_with(words), "{shown}");
        }
    }
}

//! Logging in and out, and making another password.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::super::http::{admin, check, renewed};
use super::super::sessions;
use super::{Nothing, Sent, cookie, forged, read_form};
use crate::auth::token;
use crate::error::PluginError;
use crate::http::client_addr::ClientAddr;
use crate::state::AppState;

/// How long somebody may take to type the password, in seconds.
const PATIENCE: u64 = 3_600;

/// What one logs in with.
#[derive(Deserialize)]
struct Credentials {
    csrf: String,
    password: String,
}

/// `GET /login`.
///
/// # Errors
/// [`PluginError::Internal`].
pub async fn page(headers: HeaderMap) -> Result<Response, PluginError> {
    form(&headers, None)
}

/// The form, with what was wrong before.
fn form(headers: &HeaderMap, wrong: Option<&str>) -> Result<Response, PluginError> {
    let (csrf, _) = token::generate();
    let content = html! {
        h1 { "Log in" }
        p { "For whoever runs this plugin. " code { "atomicity-homeserver admin password" } " shows the password." }
        @if let Some(wrong) = wrong {
            p.bad role="alert" id="wrong" { (wrong) }
        }
        form.card action="/login" method="post" {
            input type="hidden" name="csrf" value=(csrf.as_str());
            label for="password" { "Password" }
            input id="password" name="password" type="password" required autocomplete="current-password" autofocus
                aria-describedby=[wrong.map(|_| "wrong")];
            p { button.go type="submit" { "Log in" } }
        }
    };
    let mut response = super::framed("Log in", "/login", &[], content).into_response();
    let cookie = cookie::put(headers, cookie::FORM, &csrf, PATIENCE)?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// `POST /login`.
///
/// # Errors
/// `form_foreign`, `form_malformed`, `too_many_attempts`.
pub async fn log_in(
    State(state): State<AppState>,
    ClientAddr(address): ClientAddr,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, PluginError> {
    let given: Credentials = read_form(request, &state).await?;
    let known = cookie::read(&headers, cookie::FORM);
    if !known.is_some_and(|known| sessions::equal(known, &given.csrf)) {
        return Err(forged());
    }
    match check(&state, address, &given.password) {
        Ok(()) => {}
        Err(PluginError::Unauthorized { .. }) => {
            let mut response = form(&headers, Some("That is not the password."))?;
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            return Ok(response);
        }
        Err(error) => return Err(error),
    }
    let admin = admin(&state)?;
    let lasts = state.config.admin.session_s;
    let token = admin
        .sessions
        .open(admin.password.fingerprint()?, Duration::from_secs(lasts));
    let mut response = Redirect::to("/").into_response();
    for cookie in [
        cookie::put(&headers, cookie::SESSION, &token, lasts)?,
        cookie::put(&headers, cookie::FORM, "", 0)?,
    ] {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// `POST /logout`.
///
/// # Errors
/// [`PluginError::Internal`].
pub async fn log_out(
    State(state): State<AppState>,
    headers: HeaderMap,
    _: Sent<Nothing>,
) -> Result<Response, PluginError> {
    if let Some(token) = cookie::read(&headers, cookie::SESSION) {
        admin(&state)?.sessions.close(token);
    }
    let mut response = Redirect::to("/login").into_response();
    let cookie = cookie::put(&headers, cookie::SESSION, "", 0)?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// `POST /password`: makes another one, shows it once, and logs everybody out.
///
/// # Errors
/// `password_is_a_setting`; [`PluginError::Database`].
pub async fn renew(
    State(state): State<AppState>,
    Sent { by, .. }: Sent<Nothing>,
) -> Result<Response, PluginError> {
    let password = renewed(&state, by.operator).await?;
    Ok(super::page("Another password", "/password", shown(&password)).into_response())
}

fn shown(password: &str) -> Markup {
    html! {
        h1 { "Another password" }
        p { "It counts from now on. The old one counts no longer, and everybody is logged out, you too." }
        pre { code { (password) } }
        p { a.button href="/login" { "Log in" } }
    }
}

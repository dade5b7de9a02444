//! The sessions of a user, and ending them.

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::html;
use serde::Deserialize;

use super::visitor::{Posted, Visitor};
use super::{frame, private};
use crate::auth::token::TokenHash;
use crate::clock;
use crate::db::{self, sessions::Kind};
use crate::error::PluginError;
use crate::pages::{layout, text};
use crate::state::AppState;

/// `GET /wallet/sessions`.
///
/// # Errors
/// `session_invalid`, [`PluginError::Database`].
pub async fn page(
    State(state): State<AppState>,
    visitor: Visitor,
) -> Result<Response, PluginError> {
    let caller = &visitor.caller;
    let all = db::sessions::list(&state.pool, &caller.user, clock::now_ms()).await?;
    let time = |ms: i64| text::time(u64::try_from(ms).unwrap_or(0));
    let content = html! {
        h1 { "Sessions" }
        p { "Each of these may see your books here and ask your agent to sign within its limits. This one ends " (time(caller.expires_at)) "." }
        form method="post" action="/wallet/logout" { (visitor.field()) button.go type="submit" { "Log out" } }
        div data-live="sessions" {
            @for session in &all {
                div.card.row {
                    div {
                        strong {
                            @match session.kind { Kind::Page => "A browser with this page", Kind::App => "A wallet or an app" }
                            @if session.token == caller.session { " (this one)" }
                        }
                        p.quiet { "since " (time(session.created_at)) ", until " (time(session.expires_at)) }
                    }
                    @if session.token != caller.session {
                        form method="post" action="/wallet/sessions/end" {
                            (visitor.field())
                            input type="hidden" name="session" value=(session.token.name());
                            button type="submit" { "End" }
                        }
                    }
                }
            }
        }
        p.quiet { "A wallet whose session was ended opens another by itself, as it has your key. An app that your authenticator let in does too, until its grant is revoked." }
    };
    Ok(private(layout(
        &frame("Sessions", "/wallet/sessions"),
        content,
    )))
}

/// Which session.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    session: String,
}

/// `POST /wallet/sessions/end`. Ending one that has ended does no harm.
///
/// # Errors
/// `form_foreign`, `body_malformed`, [`PluginError::Database`].
pub async fn end(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<End>,
) -> Result<Response, PluginError> {
    let session = TokenHash::from_name(&form.session).ok_or_else(|| PluginError::BadRequest {
        code: "body_malformed",
        detail: "this names no session".to_owned(),
    })?;
    db::sessions::close(&state.pool, &visitor.caller.user, &session).await?;
    state.news.wake(visitor.caller.user.as_bytes());
    Ok(Redirect::to("/wallet/sessions").into_response())
}

//! Who is asking.

pub mod proof;
pub mod token;

use atomicity_ledger::UserKey;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use crate::clock;
use crate::db;
use crate::error::PluginError;
use crate::state::AppState;
use token::TokenHash;

/// The user behind a session.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub user: UserKey,
    /// Which of their sessions.
    pub session: TokenHash,
    /// When it ends, Unix milliseconds.
    pub expires_at: i64,
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = PluginError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> Result<Self, Self::Rejection> {
        let refuse = |detail| PluginError::Unauthorized {
            code: "session_invalid",
            detail,
        };
        let value = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| refuse("this route needs a session: send its token as Bearer"))?;
        let session = value
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, token)| TokenHash::of(token.trim()))
            .ok_or_else(|| refuse("the token is malformed"))?;
        let found = db::sessions::find(&state.pool, &session, clock::now_ms()).await?;
        let (user, expires_at) =
            found.ok_or_else(|| refuse("the session has ended: open another"))?;
        Ok(Self {
            user,
            session,
            expires_at,
        })
    }
}

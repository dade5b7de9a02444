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
    /// Whether it may change something, or only read.
    pub writes: bool,
}

impl Caller {
    /// Whether what was opened for the caller may go on: the session stands, and the account was not switched off. Only a clear answer
    /// ends it, not a database that is away.
    pub async fn may_go_on(&self, state: &AppState) -> bool {
        let now = clock::now_ms();
        now < self.expires_at
            && !state.disabled.contains(&self.user)
            && !matches!(
                db::sessions::find(&state.pool, &self.session, now).await,
                Ok(None)
            )
    }
}

/// For every route that needs a session. One that only reads is refused by whatever is no reading, so that a new route can't forget it.
impl FromRequestParts<AppState> for Caller {
    type Rejection = PluginError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> Result<Self, Self::Rejection> {
        let AnyCaller(caller) = AnyCaller::from_request_parts(parts, state).await?;
        if caller.writes || parts.method.is_safe() {
            return Ok(caller);
        }
        Err(PluginError::Forbidden {
            code: "session_reads_only",
            detail: "the grant behind this session lets its app read only: changing something here takes a grant to write in /pub/atomicity/",
        })
    }
}

/// The same for the few routes that change nothing of the user's: here a session that only reads will do.
#[derive(Clone, Debug)]
pub struct AnyCaller(pub Caller);

impl FromRequestParts<AppState> for AnyCaller {
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
        let found = of_session(state, session).await?;
        found
            .map(Self)
            .ok_or_else(|| refuse("the session has ended: open another"))
    }
}

/// Whose session a token opens; `None` if it has ended, or is no token.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn caller(state: &AppState, token: &str) -> Result<Option<Caller>, PluginError> {
    match TokenHash::of(token) {
        Some(session) => of_session(state, session).await,
        None => Ok(None),
    }
}

async fn of_session(state: &AppState, session: TokenHash) -> Result<Option<Caller>, PluginError> {
    let found = db::sessions::find(&state.pool, &session, clock::now_ms()).await?;
    let Some(found) = found else {
        return Ok(None);
    };
    state.disabled.refuse(&found.user)?;
    Ok(Some(Caller {
        user: found.user,
        session,
        expires_at: found.expires_at,
        writes: found.writes,
    }))
}

//! Sessions, and the proofs that were used up to open them.

use atomicity_ledger::UserKey;
use sqlx::PgPool;

use super::key;
use crate::auth::proof::Proven;
use crate::auth::token::TokenHash;
use crate::error::PluginError;

/// What a session was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program that bears the token.
    App,
    /// A browser that shows the wallet page and bears the token as a cookie.
    Page,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Page => "page",
        }
    }
}

/// A session that is to be opened.
#[derive(Clone, Copy, Debug)]
pub struct NewSession {
    /// The hash of its token.
    pub token: TokenHash,
    /// What for.
    pub kind: Kind,
    /// Now, Unix milliseconds.
    pub now: i64,
    /// When it ends.
    pub expires_at: i64,
    /// Whether it may change something, or only read.
    pub writes: bool,
}

/// A session that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose.
    pub user: UserKey,
    /// When it ends, Unix milliseconds.
    pub expires_at: i64,
    /// Whether it may change something, or only read.
    pub writes: bool,
}

/// A session of a user, in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// The hash of its token: a name by which it can be ended and not be used.
    pub token: TokenHash,
    /// Whether it is one of the wallet page.
    pub kind: Kind,
    /// When it was opened, Unix milliseconds.
    pub created_at: i64,
    /// When it ends.
    pub expires_at: i64,
}

/// Opens a session and uses up the proof, both or neither.
///
/// # Errors
/// `proof_replayed` if the proof was used before, or [`PluginError::Database`].
pub async fn open(
    pool: &PgPool,
    proven: &Proven,
    session: &NewSession,
    max_per_user: i64,
) -> Result<(), PluginError> {
    let owner = proven.user.as_bytes();
    let mut tx = pool.begin().await?;
    let fresh = sqlx::query!(
        "INSERT INTO proof_nonces (owner, nonce, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        owner,
        proven.nonce,
        proven.nonce_until
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if fresh == 0 {
        return Err(PluginError::Unauthorized {
            code: "proof_replayed",
            detail: "this proof was used before: make another",
        });
    }
    // Of its own kind the oldest makes room: a wallet that opens one for each command ends neither the page's nor those of apps that read.
    sqlx::query!(
        "DELETE FROM sessions WHERE owner = $1 AND token_hash IN
         (SELECT token_hash FROM sessions WHERE owner = $1 AND kind = $3 AND writes = $4 ORDER BY created_at DESC OFFSET $2)",
        owner,
        max_per_user - 1,
        session.kind.word(),
        session.writes
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "INSERT INTO sessions (owner, token_hash, created_at, expires_at, kind, writes) VALUES ($1, $2, $3, $4, $5, $6)",
        owner,
        session.token.as_bytes(),
        session.now,
        session.expires_at,
        session.kind.word(),
        session.writes
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Who the session belongs to, when it ends, and what it may; `None` if it has ended.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn find(
    pool: &PgPool,
    session: &TokenHash,
    now: i64,
) -> Result<Option<Standing>, PluginError> {
    let row = sqlx::query!(
        "SELECT owner, expires_at, writes FROM sessions WHERE token_hash = $1 AND expires_at > $2",
        session.as_bytes(),
        now
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| {
        Ok(Standing {
            user: key(&row.owner)?,
            expires_at: row.expires_at,
            writes: row.writes,
        })
    })
    .transpose()
}

/// Ends a session.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn close(pool: &PgPool, user: &UserKey, session: &TokenHash) -> Result<(), PluginError> {
    sqlx::query!(
        "DELETE FROM sessions WHERE owner = $1 AND token_hash = $2",
        user.as_bytes(),
        session.as_bytes()
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The open sessions of a user, newest first.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn list(pool: &PgPool, user: &UserKey, now: i64) -> Result<Vec<Open>, PluginError> {
    let rows = sqlx::query!(
        "SELECT token_hash, kind, created_at, expires_at FROM sessions
         WHERE owner = $1 AND expires_at > $2 ORDER BY created_at DESC, token_hash",
        user.as_bytes(),
        now
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let token = TokenHash::from_bytes(&row.token_hash).ok_or_else(|| {
                PluginError::Internal("the database holds a hash that is none".to_owned())
            })?;
            Ok(Open {
                token,
                kind: match row.kind.as_str() {
                    "page" => Kind::Page,
                    _ => Kind::App,
                },
                created_at: row.created_at,
                expires_at: row.expires_at,
            })
        })
        .collect()
}

//! What operators did: one row for each action, which nobody rewrites.

use std::net::IpAddr;

use atomicity_ledger::UserKey;
use serde::{Deserialize, Serialize};
use sqlx::{PgExecutor, PgPool};
use utoipa::ToSchema;

use crate::clock;
use crate::error::PluginError;

/// On which way an operator came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// With the password, over HTTP.
    Api,
    /// On the page.
    Page,
    /// By a command on this machine that needs no running plugin.
    Program,
}

impl Via {
    fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Page => "page",
            Self::Program => "program",
        }
    }
}

/// Who acts.
#[derive(Clone, Copy, Debug)]
pub struct Operator {
    /// On which way.
    pub via: Via,
    /// From which address.
    pub address: Option<IpAddr>,
}

/// What is done.
#[derive(Clone, Copy, Debug)]
pub struct Action<'a> {
    /// A word in snake case.
    pub name: &'static str,
    /// To whose account.
    pub subject: Option<&'a UserKey>,
    /// More of it, for people.
    pub detail: &'a str,
}

/// An action as it was written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its number; later ones are greater.
    pub id: String,
    /// When, Unix milliseconds.
    pub at: i64,
    /// `api`, `page`, or `program`.
    pub via: String,
    /// From which network address; empty if none was involved.
    pub address: String,
    /// What was done.
    #[schema(example = "disable_account")]
    pub action: String,
    /// To whose account, z-base-32.
    pub subject: Option<String>,
    /// More of it.
    pub detail: String,
}

/// Writes an action down.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn note(
    executor: impl PgExecutor<'_>,
    operator: Operator,
    action: Action<'_>,
) -> Result<(), PluginError> {
    let address = operator
        .address
        .map(|address| address.to_canonical().to_string());
    let detail: String = action.detail.chars().take(256).collect();
    sqlx::query!(
        "INSERT INTO operator_audit (at, via, address, action, subject, detail) VALUES ($1, $2, $3, $4, $5, $6)",
        clock::now_ms(),
        operator.via.name(),
        address.unwrap_or_default(),
        action.name,
        action.subject.map(|user| user.as_bytes().as_slice()),
        detail
    )
    .execute(executor)
    .await?;
    tracing::info!(
        action = action.name,
        via = operator.via.name(),
        "an operator acted"
    );
    Ok(())
}

/// The newest actions below the number `before`, newest first; those about `subject` if one is given.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn page(
    pool: &PgPool,
    subject: Option<&UserKey>,
    before: i64,
    limit: i64,
) -> Result<Vec<AuditEntry>, PluginError> {
    let rows = sqlx::query!(
        "SELECT id, at, via, address, action, subject, detail FROM operator_audit
         WHERE id < $1 AND ($2::bytea IS NULL OR subject = $2) ORDER BY id DESC LIMIT $3",
        before,
        subject.map(|user| user.as_bytes().as_slice()),
        limit
    )
    .fetch_all(pool)
    .await?;
    let entries = rows.into_iter().map(|row| AuditEntry {
        id: row.id.to_string(),
        at: row.at,
        via: row.via,
        address: row.address,
        action: row.action,
        subject: row.subject.and_then(|bytes| super::accounts::z32(&bytes)),
        detail: row.detail,
    });
    Ok(entries.collect())
}

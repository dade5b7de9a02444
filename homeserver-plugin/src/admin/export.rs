//! Everything that the plugin holds about one account, as JSON lines: for a user who asks, or who moves.

use atomicity_ledger::UserKey;
use axum::body::Bytes;
use futures_util::StreamExt as _;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::mpsc;

use super::audit::{self, Action, Operator};
use crate::clock;
use crate::error::PluginError;
use crate::state::AppState;

/// Lines that wait for a slow reader.
const AHEAD: usize = 64;
/// Columns that open something, in whatever table: sealed keys of agents, what recognises a session.
const SECRET: &[&str] = &["sealed", "token_hash", "secret", "csrf"];

/// Lines of an export, as they come; an error cuts it off.
pub type Lines = mpsc::Receiver<Result<Bytes, std::io::Error>>;

/// Begins an export. The first line says what it is, the last one that it is whole.
///
/// # Errors
/// `account_unknown`; [`PluginError::Database`].
pub async fn begin(
    state: &AppState,
    operator: Operator,
    user: UserKey,
) -> Result<Lines, PluginError> {
    let exists = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM accounts WHERE owner = $1) AS "exists!""#,
        user.as_bytes()
    )
    .fetch_one(&state.pool)
    .await?;
    if !exists {
        return Err(PluginError::NotFound {
            code: "account_unknown",
            detail: "there is no such account",
        });
    }
    let action = Action {
        name: "export_account",
        subject: Some(&user),
        detail: "",
    };
    audit::note(&state.pool, operator, action).await?;
    let (lines, reader) = mpsc::channel(AHEAD);
    let state = state.clone();
    tokio::spawn(async move {
        if let Err(error) = write(&state, &user, &lines).await {
            tracing::warn!(%error, "an export was cut off");
            let cut = std::io::Error::other("the export was cut off");
            // Who has hung up does not miss it.
            drop(lines.send(Err(cut)).await);
        }
    });
    Ok(reader)
}

type Out = mpsc::Sender<Result<Bytes, std::io::Error>>;

async fn say(out: &Out, line: &str) -> Result<(), PluginError> {
    let line = Bytes::from(format!("{line}\n"));
    out.send(Ok(line))
        .await
        .map_err(|_| PluginError::Internal("nobody reads the export any more".to_owned()))
}

async fn write(state: &AppState, user: &UserKey, out: &Out) -> Result<(), PluginError> {
    let mut connection = state.pool.acquire().await?;
    let mut tx = connection.begin().await?;
    // All of it as it was at one moment, however long the reader takes.
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(&mut *tx)
        .await?;
    sqlx::query("SET LOCAL statement_timeout = 0")
        .execute(&mut *tx)
        .await?;
    let head = json!({
        "export": "atomicity-account/1",
        "user": user.to_z32(),
        "plugin": state.keypair.public_key().z32(),
        "at": clock::now_ms(),
    });
    say(out, &head.to_string()).await?;
    let mut rows = 0_u64;
    for (table, column) in tables(&mut tx).await? {
        rows = rows.saturating_add(dump(&mut tx, &table, &column, user, out).await?);
    }
    say(out, &json!({"end": true, "rows": rows}).to_string()).await
}

/// Every table that holds something about users, and the column that says about whom.
async fn tables(connection: &mut PgConnection) -> Result<Vec<(String, String)>, PluginError> {
    let rows = sqlx::query!(
        r#"SELECT quote_ident(c.table_name) AS "name!", quote_ident(c.column_name) AS "column!"
           FROM information_schema.columns c
           JOIN information_schema.tables t USING (table_schema, table_name)
           WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'
             AND (c.column_name = 'owner' OR (c.table_name = 'operator_audit' AND c.column_name = 'subject'))
           ORDER BY c.table_name"#
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.name, row.column)).collect())
}

async fn dump(
    connection: &mut PgConnection,
    table: &str,
    column: &str,
    user: &UserKey,
    out: &Out,
) -> Result<u64, PluginError> {
    // The names come from the catalogue, quoted by the database itself.
    let sql = format!(
        "SELECT json_build_object('table', $3::text, 'row', to_jsonb(t) - $2::text[])::text FROM {table} t WHERE t.{column} = $1"
    );
    let secret: Vec<String> = SECRET.iter().map(|name| (*name).to_owned()).collect();
    let mut found = sqlx::query_scalar::<_, String>(&sql)
        .bind(user.as_bytes().as_slice())
        .bind(secret)
        .bind(table)
        .fetch(connection);
    let mut rows = 0_u64;
    while let Some(line) = found.next().await {
        say(out, &line?).await?;
        rows = rows.saturating_add(1);
    }
    Ok(rows)
}

//! Single values: settings in the clear, secrets apart.

use sqlx::SqliteConnection;
use zeroize::Zeroizing;

use crate::error::ClientError;

/// Whose wallet this is (z-base-32).
pub(crate) const USER: &str = "user";
/// What the user calls themselves.
pub(crate) const NAME: &str = "name";
/// `1` if a page about the user may be shown.
pub(crate) const PAGE: &str = "page";
/// The key of the user's homeserver.
pub(crate) const HOMESERVER: &str = "homeserver";
/// JSON list of `{plugin, url?}`.
pub(crate) const PLUGINS: &str = "plugins";
/// The number of the newest encryption file key.
pub(crate) const KEY_NUMBER: &str = "encryption_key_number";
/// The mark on the homeserver that this store wrote last (JSON).
pub(crate) const GENERATION: &str = "generation";
/// The mark that this store was about to write (JSON).
pub(crate) const GENERATION_INTENT: &str = "generation_intent";
/// How many times this store signed something.
pub(crate) const SIGNED: &str = "signed";
/// The value of [`SIGNED`] when the mark on the homeserver was written.
pub(crate) const SIGNED_SHOWN: &str = "signed_shown";
/// The root-signed delegation of the device key (JWS).
pub(crate) const DELEGATION: &str = "delegation";
/// The newest serial that the root used.
pub(crate) const ROOT_SERIAL: &str = "root_serial";
/// `1` if balances are pushed to the plugin.
pub(crate) const SNAPSHOT: &str = "snapshot";
/// `1` while the plugin does not know the newest balances.
pub(crate) const SNAPSHOT_STALE: &str = "snapshot_stale";
/// `1` if the plugin is told what waits and what there was.
pub(crate) const DIARY: &str = "diary";
/// The hash of what it was told last.
pub(crate) const DIARY_SHOWN: &str = "diary_shown";
/// `1` while the own plugin does not know all inbox tags yet.
pub(crate) const TAGS_STALE: &str = "tags_stale";
/// When the own plugin may be told the tags again, Unix milliseconds.
pub(crate) const TAGS_RETRY_AT: &str = "tags_retry_at";
/// `1` while the Paykit endpoints are not yet as the open units want them.
pub(crate) const ENDPOINTS_STALE: &str = "endpoints_stale";
/// `1` while the contact list on the homeserver is behind.
pub(crate) const CONTACTS_STALE: &str = "contacts_stale";
/// How many pages the contact list had when it was last written.
pub(crate) const CONTACTS_PAGES: &str = "contacts_pages";
/// Revocations of older devices (JWS, one a line).
pub(crate) const REVOCATIONS: &str = "revocations";
/// Where other users' homeservers were last found (JSON).
pub(crate) const KNOWN_HOMES: &str = "known_homes";
/// Set while something hangs on what witness logs say; every new wish sets another value.
pub(crate) const LOGS_WANTED: &str = "logs_wanted";
/// The units in which debts may be cleared round circles (JSON list).
pub(crate) const CLEARING: &str = "clearing";
/// The rates at which the user exchanges units, as they were last published (JWS).
pub(crate) const EXCHANGE: &str = "exchange";
/// When the user's own tags were read last for rules that call debts, Unix milliseconds.
pub(crate) const CALL_TAGS_READ: &str = "call_tags_read";
/// By which rails guests may pay the user's requests (JSON list).
pub(crate) const GUESTS: &str = "guests";
/// What the own plugins were told of that last (JSON).
pub(crate) const GUESTS_TOLD: &str = "guests_told";
/// The published profile (JWS).
pub(crate) const PROFILE: &str = "profile";

/// Up to where the events and signatures of an agent that has ended were read, and at which plugin (JSON).
pub(crate) const AGENT_READ: &str = "agent_read";

/// When the agent was told last how long what rules stand on counts, Unix milliseconds.
pub(crate) const RULES_TOLD: &str = "rules_told";

/// The device's book key.
pub(crate) const BOOK_KEY: &str = "book_key";
/// The homeserver session, as the transport exports it.
pub(crate) const SESSION: &str = "session";

/// The key of the user's private files.
pub(crate) const PRIVATE_KEY: &str = "private_key";

/// Name of the secret that holds the encryption file key `n`.
pub(crate) fn encryption_key(n: u32) -> String {
    format!("encryption_key_{n}")
}

/// The value of a setting.
pub(crate) async fn get(
    conn: &mut SqliteConnection,
    name: &str,
) -> Result<Option<String>, ClientError> {
    let row = sqlx::query!("SELECT value FROM setting WHERE name = ?", name)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| row.value))
}

/// The value of a setting that must be there.
pub(crate) async fn need(
    conn: &mut SqliteConnection,
    name: &'static str,
) -> Result<String, ClientError> {
    get(conn, name).await?.ok_or(ClientError::StoreCorrupt {
        what: name,
        why: "it is missing".to_owned(),
    })
}

/// A setting that is a number; `absent` if it was never set.
pub(crate) async fn number(
    conn: &mut SqliteConnection,
    name: &'static str,
    absent: u64,
) -> Result<u64, ClientError> {
    match get(conn, name).await? {
        Some(text) => super::parse_own(&text, name),
        None => Ok(absent),
    }
}

/// Sets a setting.
pub(crate) async fn set(
    conn: &mut SqliteConnection,
    name: &str,
    value: &str,
) -> Result<(), ClientError> {
    sqlx::query!(
        "INSERT INTO setting (name, value) VALUES (?, ?)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        name,
        value
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes a setting.
pub(crate) async fn remove(conn: &mut SqliteConnection, name: &str) -> Result<(), ClientError> {
    sqlx::query!("DELETE FROM setting WHERE name = ?", name)
        .execute(conn)
        .await?;
    Ok(())
}

/// A secret's bytes.
pub(crate) async fn secret(
    conn: &mut SqliteConnection,
    name: &str,
) -> Result<Option<Zeroizing<Vec<u8>>>, ClientError> {
    let row = sqlx::query!("SELECT value FROM secret WHERE name = ?", name)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| Zeroizing::new(row.value)))
}

/// A secret of 32 bytes that must be there.
pub(crate) async fn secret32(
    conn: &mut SqliteConnection,
    name: &str,
) -> Result<Zeroizing<[u8; 32]>, ClientError> {
    let corrupt = |why: &str| ClientError::StoreCorrupt {
        what: "a secret key",
        why: why.to_owned(),
    };
    let bytes = secret(conn, name)
        .await?
        .ok_or_else(|| corrupt("it is missing"))?;
    let mut out = Zeroizing::new([0; 32]);
    if bytes.len() != out.len() {
        return Err(corrupt("it has not 32 bytes"));
    }
    out.copy_from_slice(&bytes);
    Ok(out)
}

/// Keeps a secret.
pub(crate) async fn set_secret(
    conn: &mut SqliteConnection,
    name: &str,
    value: &[u8],
) -> Result<(), ClientError> {
    sqlx::query!(
        "INSERT INTO secret (name, value) VALUES (?, ?)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        name,
        value
    )
    .execute(conn)
    .await?;
    Ok(())
}

//! Friends, strangers who said hello, and friends who were removed.

use atomicity_ledger::UserKey;
use sqlx::SqliteConnection;

use super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;

/// What somebody is to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactStatus {
    /// Added by the user.
    Friend,
    /// Said hello; has no credit until the user adds them.
    Pending,
    /// Removed by the user.
    Removed,
}

impl ContactStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Friend => "friend",
            Self::Pending => "pending",
            Self::Removed => "removed",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "friend" => Self::Friend,
            "pending" => Self::Pending,
            _ => Self::Removed,
        }
    }
}

/// Somebody this wallet knows.
#[derive(Clone, Debug)]
pub struct Contact {
    /// Their root key.
    pub user: UserKey,
    /// What the user calls them.
    pub name: String,
    /// What they are to the user.
    pub status: ContactStatus,
    /// When they became that, Unix milliseconds.
    pub added_at: u64,
    /// When anything of theirs was last read, Unix milliseconds.
    pub last_seen: Option<u64>,
    /// Their homeserver, as last resolved (z-base-32).
    pub homeserver: Option<String>,
    /// Their newest profile that verified (JWS).
    pub profile: Option<String>,
    /// When the profile was read, Unix milliseconds.
    pub profile_at: Option<u64>,
}

impl Contact {
    /// Somebody of whom only the key is known.
    pub(crate) fn new(user: UserKey, now: u64) -> Self {
        Self {
            user,
            name: String::new(),
            status: ContactStatus::Pending,
            added_at: now,
            last_seen: None,
            homeserver: None,
            profile: None,
            profile_at: None,
        }
    }
}

struct Row {
    user: String,
    name: String,
    status: String,
    added_at: i64,
    last_seen: Option<i64>,
    homeserver: Option<String>,
    profile: Option<String>,
    profile_at: Option<i64>,
}

impl TryFrom<Row> for Contact {
    type Error = ClientError;

    fn try_from(row: Row) -> Result<Self, ClientError> {
        Ok(Self {
            user: parse_own(&row.user, "a contact's key")?,
            name: row.name,
            status: ContactStatus::parse(&row.status),
            added_at: from_sql(row.added_at),
            last_seen: row.last_seen.map(from_sql),
            homeserver: row.homeserver,
            profile: row.profile,
            profile_at: row.profile_at.map(from_sql),
        })
    }
}

/// Everybody of one status, by name.
pub(crate) async fn list(
    conn: &mut SqliteConnection,
    status: ContactStatus,
) -> Result<Vec<Contact>, ClientError> {
    let status = status.as_str();
    let rows = sqlx::query_as!(
        Row,
        "SELECT user, name, status, added_at, last_seen, homeserver, profile, profile_at
         FROM contact WHERE status = ? ORDER BY name, user",
        status
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Contact::try_from).collect()
}

/// One contact by key.
pub(crate) async fn get(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<Option<Contact>, ClientError> {
    let key = user.to_string();
    let row = sqlx::query_as!(
        Row,
        "SELECT user, name, status, added_at, last_seen, homeserver, profile, profile_at
         FROM contact WHERE user = ?",
        key
    )
    .fetch_optional(conn)
    .await?;
    row.map(Contact::try_from).transpose()
}

/// The friend who bears a name, whatever its capitals.
pub(crate) async fn by_name(
    conn: &mut SqliteConnection,
    name: &str,
) -> Result<Option<Contact>, ClientError> {
    let row = sqlx::query_as!(
        Row,
        "SELECT user, name, status, added_at, last_seen, homeserver, profile, profile_at
         FROM contact WHERE name = ? AND status = 'friend'",
        name
    )
    .fetch_optional(conn)
    .await?;
    row.map(Contact::try_from).transpose()
}

/// Writes a contact.
pub(crate) async fn put(conn: &mut SqliteConnection, contact: &Contact) -> Result<(), ClientError> {
    let user = contact.user.to_string();
    let status = contact.status.as_str();
    let added_at = to_sql(contact.added_at);
    let last_seen = contact.last_seen.map(to_sql);
    let profile_at = contact.profile_at.map(to_sql);
    let done = sqlx::query!(
        "INSERT INTO contact (user, name, status, added_at, last_seen, homeserver, profile, profile_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (user) DO UPDATE SET name = excluded.name, status = excluded.status,
             added_at = excluded.added_at, last_seen = excluded.last_seen, homeserver = excluded.homeserver,
             profile = excluded.profile, profile_at = excluded.profile_at",
        user,
        contact.name,
        status,
        added_at,
        last_seen,
        contact.homeserver,
        contact.profile,
        profile_at,
    )
    .execute(conn)
    .await;
    match done {
        Ok(_) => Ok(()),
        Err(e) if is_unique_violation(&e) => Err(ClientError::NameTaken(contact.name.clone())),
        Err(e) => Err(e.into()),
    }
}

/// Notes that something of theirs was read.
pub(crate) async fn seen(
    conn: &mut SqliteConnection,
    user: &UserKey,
    at: u64,
) -> Result<(), ClientError> {
    let user = user.to_string();
    let at = to_sql(at);
    sqlx::query!("UPDATE contact SET last_seen = ? WHERE user = ?", at, user)
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes that the profile that is known is still the newest.
pub(crate) async fn profile_confirmed(
    conn: &mut SqliteConnection,
    user: &UserKey,
    at: u64,
) -> Result<(), ClientError> {
    let user = user.to_string();
    let at = to_sql(at);
    sqlx::query!("UPDATE contact SET profile_at = ? WHERE user = ?", at, user)
        .execute(conn)
        .await?;
    Ok(())
}

/// How many contacts have one status.
pub(crate) async fn count(
    conn: &mut SqliteConnection,
    status: ContactStatus,
) -> Result<u64, ClientError> {
    let status = status.as_str();
    let row = sqlx::query!("SELECT count(*) AS n FROM contact WHERE status = ?", status)
        .fetch_one(conn)
        .await?;
    Ok(from_sql(row.n))
}

fn is_unique_violation(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::Store;
    use atomicity_ledger::Keypair;

    fn contact(n: u8, name: &str) -> Contact {
        Contact {
            user: Keypair::from_secret(&[n; 32]).user_key(),
            name: name.to_owned(),
            status: ContactStatus::Friend,
            added_at: 1,
            last_seen: None,
            homeserver: None,
            profile: None,
            profile_at: None,
        }
    }

    #[tokio::test]
    async fn a_name_means_one_friend_whatever_its_capitals() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("w")).await.unwrap();
        let mut tx = store.write().await.unwrap();
        put(tx.conn(), &contact(1, "Baker")).await.unwrap();
        let taken = put(tx.conn(), &contact(2, "baker")).await;
        assert!(matches!(taken, Err(ClientError::NameTaken(_))), "{taken:?}");
        let found = by_name(tx.conn(), "BAKER").await.unwrap().unwrap();
        assert_eq!(found.user, contact(1, "").user);
    }

    #[tokio::test]
    async fn a_removed_friend_frees_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("w")).await.unwrap();
        let mut tx = store.write().await.unwrap();
        let mut first = contact(1, "Baker");
        put(tx.conn(), &first).await.unwrap();
        first.status = ContactStatus::Removed;
        put(tx.conn(), &first).await.unwrap();
        put(tx.conn(), &contact(2, "baker")).await.unwrap();
        assert_eq!(count(tx.conn(), ContactStatus::Friend).await.unwrap(), 1);
    }
}

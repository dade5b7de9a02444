//! What rules about many gave to whom.

use atomicity_ledger::policy::{Held, RuleId};
use atomicity_ledger::{Total, Unit, UserKey};
use sqlx::SqliteConnection;

use super::rule_id;
use crate::error::ClientError;
use crate::store::{from_sql, parse_own, to_sql};

/// What a rule gave somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub user: UserKey,
    pub unit: Unit,
    pub held: Held,
    pub line: Total,
    /// When they got something first, Unix milliseconds.
    pub since: u64,
}

struct Row {
    user: String,
    unit: String,
    rule: i64,
    introducer: Option<String>,
    line: i64,
    since: i64,
}

impl TryFrom<Row> for Granted {
    type Error = ClientError;

    fn try_from(row: Row) -> Result<Self, ClientError> {
        let introducer = row.introducer.as_deref();
        Ok(Self {
            user: parse_own(&row.user, "a user's key")?,
            unit: parse_own(&row.unit, "a unit")?,
            held: Held {
                rule: rule_id(row.rule),
                introducer: introducer
                    .map(|friend| parse_own(friend, "a friend's key"))
                    .transpose()?,
            },
            line: Total::from_minor(from_sql(row.line))?,
            since: from_sql(row.since),
        })
    }
}

/// Everything that was given, the earliest first.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<Granted>, ClientError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT user, unit, rule, introducer, line, since FROM granted ORDER BY since, user, unit"
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Granted::try_from).collect()
}

/// What was given to one.
pub(crate) async fn of(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<Vec<Granted>, ClientError> {
    let user = user.to_string();
    let rows = sqlx::query_as!(
        Row,
        "SELECT user, unit, rule, introducer, line, since FROM granted WHERE user = ? ORDER BY unit",
        user
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Granted::try_from).collect()
}

/// Notes what is given; when it began stays.
pub(crate) async fn put(conn: &mut SqliteConnection, granted: &Granted) -> Result<(), ClientError> {
    let (user, unit) = (granted.user.to_string(), granted.unit.to_string());
    let introducer = granted.held.introducer.map(|friend| friend.to_string());
    let (line, since) = (to_sql(granted.line.minor()), to_sql(granted.since));
    sqlx::query!(
        "INSERT INTO granted (user, unit, rule, introducer, line, since) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (user, unit) DO UPDATE SET rule = excluded.rule, introducer = excluded.introducer, line = excluded.line",
        user,
        unit,
        granted.held.rule,
        introducer,
        line,
        since
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Nothing is given any more.
pub(crate) async fn remove(
    conn: &mut SqliteConnection,
    user: &UserKey,
    unit: &Unit,
) -> Result<(), ClientError> {
    let (user, unit) = (user.to_string(), unit.to_string());
    sqlx::query!(
        "DELETE FROM granted WHERE user = ? AND unit = ?",
        user,
        unit
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that a rule let somebody in.
pub(crate) async fn let_in(
    conn: &mut SqliteConnection,
    user: &UserKey,
    rule: RuleId,
    now: u64,
) -> Result<(), ClientError> {
    let (user, now) = (user.to_string(), to_sql(now));
    sqlx::query!(
        "INSERT INTO let_in (user, rule, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        user,
        rule,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The user added them by their own hand, or removed them.
pub(crate) async fn forget_let_in(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<(), ClientError> {
    let user = user.to_string();
    sqlx::query!("DELETE FROM let_in WHERE user = ?", user)
        .execute(conn)
        .await?;
    Ok(())
}

/// Whom rules let in, and which.
pub(crate) async fn all_let_in(
    conn: &mut SqliteConnection,
) -> Result<Vec<(UserKey, RuleId)>, ClientError> {
    let rows = sqlx::query!("SELECT user, rule FROM let_in ORDER BY user")
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|row| Ok((parse_own(&row.user, "a user's key")?, rule_id(row.rule))))
        .collect()
}

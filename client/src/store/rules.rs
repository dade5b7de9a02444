//! The user's policy: what each friend may owe, and what the user wants to owe each.

use atomicity_ledger::policy::Policy;
use atomicity_ledger::{Total, Unit, UserKey};
use sqlx::SqliteConnection;

use super::{from_sql, to_sql};
use crate::error::ClientError;

/// The rules about one friend.
pub(crate) async fn policy(
    conn: &mut SqliteConnection,
    friend: &UserKey,
) -> Result<Policy, ClientError> {
    let user = friend.to_string();
    let rows = sqlx::query!("SELECT unit, accept, issue FROM rule WHERE user = ?", user)
        .fetch_all(conn)
        .await?;
    let mut policy = Policy::default();
    for row in rows {
        let unit: Unit = row.unit.parse()?;
        if let Some(accept) = row.accept {
            policy.set_accept(*friend, &unit, Total::from_minor(from_sql(accept))?)?;
        }
        if let Some(issue) = row.issue {
            policy.set_issue(*friend, &unit, Some(Total::from_minor(from_sql(issue))?))?;
        }
    }
    Ok(policy)
}

/// Sets what a friend may owe.
pub(crate) async fn set_accept(
    conn: &mut SqliteConnection,
    friend: &UserKey,
    unit: &Unit,
    accept: Total,
) -> Result<(), ClientError> {
    let (user, unit) = (friend.to_string(), unit.to_string());
    let accept = to_sql(accept.minor());
    sqlx::query!(
        "INSERT INTO rule (user, unit, accept) VALUES (?, ?, ?)
         ON CONFLICT (user, unit) DO UPDATE SET accept = excluded.accept",
        user,
        unit,
        accept
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets what the user wants to owe a friend at most.
pub(crate) async fn set_issue(
    conn: &mut SqliteConnection,
    friend: &UserKey,
    unit: &Unit,
    issue: Total,
) -> Result<(), ClientError> {
    let (user, unit) = (friend.to_string(), unit.to_string());
    let issue = to_sql(issue.minor());
    sqlx::query!(
        "INSERT INTO rule (user, unit, issue) VALUES (?, ?, ?)
         ON CONFLICT (user, unit) DO UPDATE SET issue = excluded.issue",
        user,
        unit,
        issue
    )
    .execute(conn)
    .await?;
    Ok(())
}

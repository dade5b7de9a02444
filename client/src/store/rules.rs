//! The user's policy: what each friend may owe, what the user wants to owe each, rules about many, and blocks.

pub(crate) mod facts;
pub(crate) mod grants;

use atomicity_ledger::policy::{Facts, Policy, Rule, RuleId, Verdict, Who};
use atomicity_ledger::{Total, Unit, UserKey};
use sqlx::SqliteConnection;

use super::{from_sql, json_in, json_out, parse_own, to_sql};
use crate::error::ClientError;

/// The rules that are asked about one user: what was said of them, then the rules about many; and whether they are blocked.
pub(crate) async fn policy(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<Policy, ClientError> {
    let mut policy = many(conn).await?;
    name(conn, &mut policy, user).await?;
    Ok(policy)
}

/// The rules about many, in order.
pub(crate) async fn many(conn: &mut SqliteConnection) -> Result<Policy, ClientError> {
    let rows = sqlx::query!("SELECT id, body FROM policy_rule ORDER BY position, id")
        .fetch_all(conn)
        .await?;
    let mut policy = Policy::default();
    for row in rows {
        let mut rule: Rule = json_in(&row.body, "a rule")?;
        rule.id = rule_id(row.id);
        policy.push(rule)?;
    }
    Ok(policy)
}

/// Adds what was said of one user to a policy.
pub(crate) async fn name(
    conn: &mut SqliteConnection,
    policy: &mut Policy,
    user: &UserKey,
) -> Result<(), ClientError> {
    let key = user.to_string();
    let rows = sqlx::query!("SELECT unit, accept, issue FROM rule WHERE user = ?", key)
        .fetch_all(&mut *conn)
        .await?;
    for row in rows {
        let unit: Unit = row.unit.parse()?;
        if let Some(accept) = row.accept {
            policy.set_accept(*user, &unit, Total::from_minor(from_sql(accept))?)?;
        }
        if let Some(issue) = row.issue {
            policy.set_issue(*user, &unit, Some(Total::from_minor(from_sql(issue))?))?;
        }
    }
    if is_blocked(conn, user).await? {
        policy.set_blocked(*user, true)?;
    }
    Ok(())
}

/// What the policy says about somebody, by what is known of them now.
pub(crate) async fn verdict(
    conn: &mut SqliteConnection,
    user: &UserKey,
    unit: &Unit,
) -> Result<Verdict, ClientError> {
    let policy = policy(conn, user).await?;
    let named = |rule: &Rule| matches!(rule.who, Who::Peer(_));
    let facts = if policy.rules().iter().all(named) {
        Facts::default()
    } else {
        facts::of(conn, user).await?
    };
    Ok(policy.verdict(user, unit, &facts))
}

/// Adds a rule about many: before another, or after all. Its number.
pub(crate) async fn add(
    conn: &mut SqliteConnection,
    rule: &Rule,
    before: Option<RuleId>,
) -> Result<RuleId, ClientError> {
    let body = json_out(rule)?;
    let position = match before {
        Some(before) => {
            let row = sqlx::query!("SELECT position FROM policy_rule WHERE id = ?", before)
                .fetch_optional(&mut *conn)
                .await?;
            let row = row.ok_or_else(|| unknown(before))?;
            sqlx::query!(
                "UPDATE policy_rule SET position = position + 1 WHERE position >= ?",
                row.position
            )
            .execute(&mut *conn)
            .await?;
            row.position
        }
        None => {
            let row = sqlx::query!(
                r#"SELECT COALESCE(MAX(position), 0) + 1 AS "next!: i64" FROM policy_rule"#
            )
            .fetch_one(&mut *conn)
            .await?;
            row.next
        }
    };
    let done = sqlx::query!(
        "INSERT INTO policy_rule (position, body) VALUES (?, ?)",
        position,
        body
    )
    .execute(conn)
    .await?;
    Ok(rule_id(done.last_insert_rowid()))
}

/// Takes a rule about many back.
pub(crate) async fn remove(conn: &mut SqliteConnection, id: RuleId) -> Result<(), ClientError> {
    let done = sqlx::query!("DELETE FROM policy_rule WHERE id = ?", id)
        .execute(conn)
        .await?;
    if done.rows_affected() == 0 {
        return Err(unknown(id));
    }
    Ok(())
}

fn unknown(id: RuleId) -> ClientError {
    ClientError::Usage(format!("there is no rule {id}"))
}

pub(crate) fn rule_id(n: i64) -> RuleId {
    RuleId::try_from(n).unwrap_or(RuleId::MAX)
}

/// Whether the user wants nothing to do with somebody.
pub(crate) async fn is_blocked(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<bool, ClientError> {
    let user = user.to_string();
    let row = sqlx::query!("SELECT at FROM blocked WHERE user = ?", user)
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

/// Blocks somebody, or lifts the block; `false` if it was so already.
pub(crate) async fn set_blocked(
    conn: &mut SqliteConnection,
    user: &UserKey,
    blocked: bool,
    now: u64,
) -> Result<bool, ClientError> {
    let (user, now) = (user.to_string(), to_sql(now));
    let done = if blocked {
        sqlx::query!(
            "INSERT INTO blocked (user, at) VALUES (?, ?) ON CONFLICT DO NOTHING",
            user,
            now
        )
        .execute(conn)
        .await?
    } else {
        sqlx::query!("DELETE FROM blocked WHERE user = ?", user)
            .execute(conn)
            .await?
    };
    Ok(done.rows_affected() > 0)
}

/// Who is blocked, and since when.
pub(crate) async fn blocked(
    conn: &mut SqliteConnection,
) -> Result<Vec<(UserKey, u64)>, ClientError> {
    let rows = sqlx::query!("SELECT user, at FROM blocked ORDER BY at, user")
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|row| Ok((parse_own(&row.user, "a user's key")?, from_sql(row.at))))
        .collect()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::Keypair;

    use super::*;
    use crate::store::Store;

    fn rule(cap: u64) -> Rule {
        let unit: Unit = "USD/2".parse().unwrap();
        Rule {
            accept: Some(Total::from_minor(cap).unwrap()),
            cap: Some(Total::from_minor(cap).unwrap()),
            ..Rule::about(Who::Anyone, unit)
        }
    }

    #[tokio::test]
    async fn rules_are_asked_in_their_order_and_numbers_are_used_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("w")).await.unwrap();
        let mut tx = store.write().await.unwrap();
        let conn = tx.conn();
        let user = Keypair::from_secret(&[1; 32]).user_key();
        let usd: Unit = "USD/2".parse().unwrap();
        let first = add(conn, &rule(1), None).await.unwrap();
        let second = add(conn, &rule(2), Some(first)).await.unwrap();
        let third = add(conn, &rule(3), None).await.unwrap();
        let all = many(conn).await.unwrap();
        let ids: Vec<RuleId> = all.rules().iter().map(|rule| rule.id).collect();
        assert_eq!(ids, [second, first, third]);
        let said = verdict(conn, &user, &usd).await.unwrap();
        assert_eq!((said.accept.minor(), said.by), (2, Some(second)));

        remove(conn, third).await.unwrap();
        assert_eq!(remove(conn, third).await.unwrap_err().code(), "usage");
        assert!(add(conn, &rule(4), Some(third)).await.is_err());
        let fourth = add(conn, &rule(4), None).await.unwrap();
        assert!(fourth > third);

        // What was said of one comes first, and a block before that.
        let seven = Total::from_minor(7).unwrap();
        set_accept(conn, &user, &usd, seven).await.unwrap();
        let said = verdict(conn, &user, &usd).await.unwrap();
        assert_eq!((said.accept, said.by), (seven, Some(0)));
        assert!(set_blocked(conn, &user, true, 5).await.unwrap());
        assert!(!set_blocked(conn, &user, true, 6).await.unwrap());
        assert!(verdict(conn, &user, &usd).await.unwrap().blocked);
        assert_eq!(blocked(conn).await.unwrap(), [(user, 5)]);
        assert!(set_blocked(conn, &user, false, 7).await.unwrap());
        assert!(!verdict(conn, &user, &usd).await.unwrap().blocked);
    }
}

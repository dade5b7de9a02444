//! Whose word is enough that they have paid, and which outputs of transactions have paid something.

use atomicity_ledger::{RecordHash, Unit, UserKey};
use sqlx::SqliteConnection;

use super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;

/// Whose word is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfirmRule {
    /// Whose; `None`: of whoever has no rule of their own.
    pub user: Option<UserKey>,
    /// For debts in this unit.
    pub unit: Unit,
    /// Up to how much a time, in minor units.
    pub up_to: u64,
}

impl ConfirmRule {
    /// Takes their word up to this much a time.
    #[must_use]
    pub fn up_to(most: atomicity_ledger::Money, user: Option<UserKey>) -> Self {
        Self {
            user,
            unit: most.unit,
            up_to: most.amount.minor(),
        }
    }
}

/// Keeps a rule in the place of an earlier one.
pub(crate) async fn put_rule(
    conn: &mut SqliteConnection,
    rule: &ConfirmRule,
) -> Result<(), ClientError> {
    let user = rule.user.map(|user| user.to_string()).unwrap_or_default();
    let (unit, up_to) = (rule.unit.to_string(), to_sql(rule.up_to));
    sqlx::query!(
        "INSERT INTO confirm_rule (user, unit, up_to) VALUES (?, ?, ?)
         ON CONFLICT (user, unit) DO UPDATE SET up_to = excluded.up_to",
        user,
        unit,
        up_to
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes a rule back. `false` if there is none.
pub(crate) async fn remove_rule(
    conn: &mut SqliteConnection,
    user: Option<&UserKey>,
    unit: &Unit,
) -> Result<bool, ClientError> {
    let user = user.map(ToString::to_string).unwrap_or_default();
    let unit = unit.to_string();
    let done = sqlx::query!(
        "DELETE FROM confirm_rule WHERE user = ? AND unit = ?",
        user,
        unit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// All rules.
pub(crate) async fn rules(conn: &mut SqliteConnection) -> Result<Vec<ConfirmRule>, ClientError> {
    let rows = sqlx::query!("SELECT user, unit, up_to FROM confirm_rule ORDER BY unit, user")
        .fetch_all(conn)
        .await?;
    let read = rows.into_iter().map(|row| {
        let user = Some(row.user.as_str()).filter(|user| !user.is_empty());
        Ok(ConfirmRule {
            user: user
                .map(|user| parse_own(user, "a rule's friend"))
                .transpose()?,
            unit: parse_own(&row.unit, "a rule's unit")?,
            up_to: from_sql(row.up_to),
        })
    });
    read.collect()
}

/// Keeps an output for a request, for ever. `false` if it has paid another one.
pub(crate) async fn use_output(
    conn: &mut SqliteConnection,
    output: &str,
    settlement: &RecordHash,
) -> Result<bool, ClientError> {
    let settlement = settlement.to_string();
    sqlx::query!(
        "INSERT INTO used_output (output, settlement) VALUES (?, ?) ON CONFLICT DO NOTHING",
        output,
        settlement
    )
    .execute(&mut *conn)
    .await?;
    let row = sqlx::query!(
        r#"SELECT count(*) AS "n!: i64" FROM used_output WHERE output = ? AND settlement = ?"#,
        output,
        settlement
    )
    .fetch_one(conn)
    .await?;
    Ok(row.n == 1)
}

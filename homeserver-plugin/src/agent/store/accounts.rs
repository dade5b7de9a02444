//! Payment accounts, and what is left of them.

use atomicity_ledger::account::Used;
use atomicity_ledger::{SignerKey, UserKey};
use sqlx::{PgPool, Postgres, Transaction};

use crate::error::PluginError;

/// A payment account.
#[derive(Clone, Debug)]
pub struct AccountRow {
    /// Its key.
    pub key: SignerKey,
    /// What the user calls it.
    pub name: String,
    /// The root's word.
    pub delegation: String,
    /// `active`, `revoked`, `restored`.
    pub status: String,
    /// What was spent in all, with what is reserved.
    pub spent: i64,
    /// The newest day on which something was.
    pub day: i64,
    /// How much on that day.
    pub day_spent: i64,
    /// When the user's homeserver was last seen not to hold a revocation.
    pub checked_at: i64,
    /// Since when it is known here.
    pub created_at: i64,
}

impl AccountRow {
    /// What was spent so far, on `day` and in all.
    #[must_use]
    pub fn used(&self, day: i64) -> Used {
        let minor = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
        Used {
            today: if self.day == day {
                minor(self.day_spent)
            } else {
                0
            },
            in_all: minor(self.spent),
        }
    }
}

macro_rules! row {
    ($row:expr) => {{
        let row = $row;
        Ok::<_, PluginError>(AccountRow {
            key: super::super::signer(&row.key)?,
            name: row.name,
            delegation: row.delegation,
            status: row.status,
            spent: row.spent,
            day: row.day,
            day_spent: row.day_spent,
            checked_at: row.checked_at,
            created_at: row.created_at,
        })
    }};
}

/// The account of a key.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn account(
    pool: &PgPool,
    owner: &UserKey,
    key: &SignerKey,
) -> Result<Option<AccountRow>, PluginError> {
    let row = sqlx::query!(
        "SELECT key, name, delegation, status, spent, day, day_spent, checked_at, created_at
         FROM agent_accounts WHERE owner = $1 AND key = $2",
        owner.as_bytes(),
        key.as_bytes()
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| row!(row)).transpose()
}

/// The account of a key, locked. Whoever locks books too locks them before.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn lock_account(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    key: &SignerKey,
) -> Result<Option<AccountRow>, PluginError> {
    let row = sqlx::query!(
        "SELECT key, name, delegation, status, spent, day, day_spent, checked_at, created_at
         FROM agent_accounts WHERE owner = $1 AND key = $2 FOR UPDATE",
        owner.as_bytes(),
        key.as_bytes()
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| row!(row)).transpose()
}

/// The accounts of a user by their keys, after the key `after`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn list_accounts(
    pool: &PgPool,
    owner: &UserKey,
    after: &[u8],
    limit: i64,
) -> Result<Vec<AccountRow>, PluginError> {
    let rows = sqlx::query!(
        "SELECT key, name, delegation, status, spent, day, day_spent, checked_at, created_at
         FROM agent_accounts WHERE owner = $1 AND key > $2 ORDER BY key LIMIT $3",
        owner.as_bytes(),
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| row!(row)).collect()
}

/// Keeps an account, or changes its name and its terms; what was spent stays. Returns whether it is kept: not if the user has as many
/// as `most`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn put_account(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    (key, name, delegation): (&SignerKey, &str, &str),
    (now, most): (i64, i64),
) -> Result<bool, PluginError> {
    let done = sqlx::query!(
        "INSERT INTO agent_accounts (owner, key, name, delegation, status, checked_at, created_at)
         SELECT $1, $2, $3, $4, 'active', $5, $5
         WHERE EXISTS (SELECT 1 FROM agent_accounts WHERE owner = $1 AND key = $2)
            OR (SELECT count(*) FROM agent_accounts WHERE owner = $1) < $6
         ON CONFLICT (owner, key) DO UPDATE SET name = excluded.name, delegation = excluded.delegation",
        owner.as_bytes(),
        key.as_bytes(),
        name,
        delegation,
        now,
        most
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends an account for good. Returns whether there was one that had not ended.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn revoke_account(
    pool: &PgPool,
    owner: &UserKey,
    key: &SignerKey,
) -> Result<bool, PluginError> {
    let done = sqlx::query!(
        "UPDATE agent_accounts SET status = 'revoked' WHERE owner = $1 AND key = $2 AND status = 'active'",
        owner.as_bytes(),
        key.as_bytes()
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that the user's homeserver holds no revocation.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn account_checked(
    pool: &PgPool,
    owner: &UserKey,
    key: &SignerKey,
    now: i64,
) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE agent_accounts SET checked_at = GREATEST(checked_at, $3) WHERE owner = $1 AND key = $2",
        owner.as_bytes(),
        key.as_bytes(),
        now
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Keys of accounts that have not ended.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn active_accounts(
    pool: &PgPool,
    owner: &UserKey,
) -> Result<Vec<SignerKey>, PluginError> {
    let keys = sqlx::query_scalar!(
        "SELECT key FROM agent_accounts WHERE owner = $1 AND status = 'active' ORDER BY key LIMIT 1000",
        owner.as_bytes()
    )
    .fetch_all(pool)
    .await?;
    keys.iter().map(|key| super::super::signer(key)).collect()
}

/// Counts what is spent on `day`. The account is locked, and the limits were compared.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn count_spent(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    key: &SignerKey,
    (day, cost): (i64, i64),
) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE agent_accounts SET spent = spent + $4,
             day_spent = CASE WHEN day = $3 THEN day_spent ELSE 0 END + $4, day = $3
         WHERE owner = $1 AND key = $2",
        owner.as_bytes(),
        key.as_bytes(),
        day,
        cost
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Gives back what was counted on `day` and did not happen. The account is locked.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn give_back(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    key: &SignerKey,
    (day, cost): (i64, i64),
) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE agent_accounts SET spent = spent - $4,
             day_spent = CASE WHEN day = $3 THEN day_spent - $4 ELSE LEAST(day_spent, spent - $4) END
         WHERE owner = $1 AND key = $2",
        owner.as_bytes(),
        key.as_bytes(),
        day,
        cost
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

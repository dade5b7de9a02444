//! Payment accounts: whether a key may still spend, by what its user publishes.

use atomicity_ledger::account::{SpendFault, judge};
use atomicity_ledger::authority::{Credentials, Purpose, REVOCATION_MAX_AGE_MS, delegation_path};
use atomicity_ledger::record::Spend;
use atomicity_ledger::{LedgerError, Signed, SignerKey, Timestamp, UserKey};
use sqlx::{Postgres, Transaction};

use super::keeper::Keeper;
use super::store::{self, AccountRow};
use super::{Agent, change, lookup};
use crate::clock;
use crate::error::PluginError;
use crate::state::AppState;

/// What a user publishes is not known well enough to go by it.
fn unchecked() -> PluginError {
    PluginError::Unavailable {
        code: "revocation_unknown",
        detail: "the user's homeserver can't be asked whether the account was revoked",
        retry_after: std::time::Duration::from_secs(10),
    }
}

/// No such account.
#[must_use]
pub fn unknown() -> PluginError {
    PluginError::NotFound {
        code: "payment_account_unknown",
        detail: "this key has no payment account with that user here",
    }
}

/// Why a spend is not paid, for its app.
#[must_use]
pub fn refused(fault: &SpendFault) -> PluginError {
    PluginError::Refused {
        code: fault.code(),
        detail: fault.to_string(),
    }
}

/// Refuses an account that has ended.
///
/// # Errors
/// `key_revoked`, `account_restored`.
pub fn ensure_active(row: &AccountRow) -> Result<(), PluginError> {
    match row.status.as_str() {
        "active" => Ok(()),
        "revoked" => Err(PluginError::Refused {
            code: "key_revoked",
            detail: "the account was revoked".to_owned(),
        }),
        _ => Err(PluginError::Refused {
            code: "account_restored",
            detail: "what was spent was lost with a database: the account needs a new key"
                .to_owned(),
        }),
    }
}

/// The words of the root on an account, as far as they are known here.
///
/// # Errors
/// What is wrong with them.
pub fn credentials(
    owner: UserKey,
    row: &AccountRow,
    now: Timestamp,
) -> Result<Credentials, LedgerError> {
    let mut credentials = Credentials::new(owner);
    credentials.learn(&row.delegation, now)?;
    Ok(credentials)
}

/// Whether the root's word covers this spend, apart from the limits.
///
/// # Errors
/// The code of the rule that it breaks.
pub fn judged(
    owner: UserKey,
    row: &AccountRow,
    spend: &Signed<Spend>,
    now: Timestamp,
) -> Result<atomicity_ledger::account::AccountTerms, PluginError> {
    let known = credentials(owner, row, now).map_err(SpendFault::from);
    let terms = known.and_then(|known| judge(&known, spend, now));
    terms.map_err(|fault| refused(&fault))
}

/// Looks for a revocation where the user publishes it. Returns whether the account stands.
async fn look(state: &AppState, owner: UserKey, row: &AccountRow) -> Result<bool, PluginError> {
    let now = change::now();
    let found = lookup::read(state, &owner, &delegation_path(&row.key)).await?;
    if let Some(found) = found {
        let mut known = credentials(owner, row, now)
            .map_err(|error| PluginError::Internal(error.to_string()))?;
        // What lies there and is no word of the root changes nothing.
        let _ = known.learn(found.trim(), now);
        let judged = known.judge(row.key, Purpose::Request(owner), now);
        if matches!(judged, Err(LedgerError::KeyRevoked { .. })) {
            store::revoke_account(&state.pool, &owner, &row.key).await?;
            return Ok(false);
        }
    }
    store::account_checked(&state.pool, &owner, &row.key, clock::now_ms()).await?;
    Ok(true)
}

/// Makes sure that it was looked lately whether the account was revoked.
///
/// # Errors
/// `key_revoked`, `account_restored`; `revocation_unknown` if that can't be found out.
pub async fn freshen(
    state: &AppState,
    agent: &Agent,
    owner: UserKey,
    row: &AccountRow,
) -> Result<(), PluginError> {
    ensure_active(row)?;
    let age = u64::try_from(clock::now_ms().saturating_sub(row.checked_at)).unwrap_or(0);
    if age
        <= agent
            .config()
            .authority_poll_s
            .saturating_mul(1_000)
            .min(REVOCATION_MAX_AGE_MS)
    {
        return Ok(());
    }
    match look(state, owner, row).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(PluginError::Refused {
            code: "key_revoked",
            detail: "the account was revoked".to_owned(),
        }),
        Err(error @ (PluginError::Database(_) | PluginError::NotReady)) => Err(error),
        Err(_) if age <= REVOCATION_MAX_AGE_MS => Ok(()),
        Err(error) => {
            tracing::debug!(code = error.code(), "an account could not be looked up");
            Err(unchecked())
        }
    }
}

/// Looks whether accounts of a user were revoked, and ends what nobody took up in time.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn tend(state: &AppState, keeper: &Keeper) -> Result<(), PluginError> {
    let owner = keeper.owner;
    for key in store::active_accounts(&state.pool, &owner).await? {
        if state.shutdown.is_cancelled() {
            return Ok(());
        }
        let Some(row) = store::account(&state.pool, &owner, &key).await? else {
            continue;
        };
        if let Err(error) = look(state, owner, &row).await {
            tracing::debug!(code = error.code(), "an account was not looked up");
        }
        let mut tx = state.pool.begin().await?;
        if store::lock_account(&mut tx, &owner, &key).await?.is_some() {
            expire(&mut tx, &owner, &key).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Gives back what was reserved for spends that nobody took up in time. The account is locked.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn expire(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    key: &SignerKey,
) -> Result<(), PluginError> {
    for counted in store::expire_spends(tx, owner, key, clock::now_ms()).await? {
        store::give_back(tx, owner, key, counted).await?;
    }
    Ok(())
}

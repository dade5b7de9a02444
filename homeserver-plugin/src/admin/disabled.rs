//! Accounts that the operator has switched off. The database knows; this process, which alone holds the database, remembers.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use atomicity_ledger::UserKey;
use sqlx::PgPool;

use crate::error::PluginError;

/// The users whose accounts are switched off.
#[derive(Clone, Default)]
pub struct Disabled(Arc<RwLock<HashSet<[u8; 32]>>>);

impl Disabled {
    /// Reads them from the database, before anybody is served.
    ///
    /// # Errors
    /// [`PluginError::Database`].
    pub async fn load(&self, pool: &PgPool) -> Result<(), PluginError> {
        let owners =
            sqlx::query_scalar!("SELECT owner FROM accounts WHERE disabled_at IS NOT NULL")
                .fetch_all(pool)
                .await?;
        let owners = owners.into_iter().filter_map(|owner| owner.try_into().ok());
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = owners.collect();
        Ok(())
    }

    /// Remembers what was decided.
    pub fn set(&self, user: &UserKey, is_disabled: bool) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if is_disabled {
            known.insert(*user.as_bytes());
        } else {
            known.remove(user.as_bytes());
        }
    }

    /// Whether the account of `user` is switched off.
    #[must_use]
    pub fn contains(&self, user: &UserKey) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.contains(user.as_bytes())
    }

    /// Refuses what is asked for an account that is switched off.
    ///
    /// # Errors
    /// `account_disabled`.
    pub fn refuse(&self, user: &UserKey) -> Result<(), PluginError> {
        if self.contains(user) {
            return Err(PluginError::Forbidden {
                code: "account_disabled",
                detail: "the operator has switched this account off: nothing in it is lost, ask them",
            });
        }
        Ok(())
    }
}

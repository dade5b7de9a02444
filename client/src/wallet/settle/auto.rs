//! What is paid, and what is believed to be paid, without asking the user.

use atomicity_ledger::{RecordHash, UserKey};

use super::super::Wallet;
use super::super::books::Change;
use crate::error::ClientError;
use crate::store::confirmed::{self, ConfirmRule};
use crate::store::rails::{self, SettleRule};
use crate::store::{demands, settlements};

/// For how long what a rule let go counts, in milliseconds.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Requests that are looked at again when a rule changes.
const LOOKED_AT: u32 = 10_000;

impl Wallet {
    /// Lets requests be paid without asking, from now on.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be written.
    pub async fn pay_by_itself(&self, rule: &SettleRule) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        rails::put_rule(tx.conn(), rule).await?;
        // What waits for the user may be paid by it.
        for hash in settlements::discharges_due(tx.conn(), u64::MAX, u32::MAX).await? {
            if let Some(mut row) = settlements::discharge(tx.conn(), &hash).await? {
                row.next_at = 0;
                settlements::put_discharge(tx.conn(), &row).await?;
            }
        }
        tx.commit().await
    }

    /// Takes such a rule back. `false` if there is none.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be written.
    pub async fn ask_again(
        &self,
        user: Option<&UserKey>,
        unit: &atomicity_ledger::Unit,
    ) -> Result<bool, ClientError> {
        let mut tx = self.store().write().await?;
        let removed = rails::remove_rule(tx.conn(), user, unit).await?;
        tx.commit().await?;
        Ok(removed)
    }

    /// What is paid without asking.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn settle_rules(&self) -> Result<Vec<SettleRule>, ClientError> {
        rails::rules(&mut *self.store().read().await?).await
    }

    /// Takes the word of friends who say that they have paid, from now on.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be written.
    pub async fn confirm_by_itself(&self, rule: &ConfirmRule) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        confirmed::put_rule(tx.conn(), rule).await?;
        for mut row in demands::due(tx.conn(), u64::MAX, LOOKED_AT).await? {
            row.next_at = 0;
            demands::put(tx.conn(), &row, None).await?;
        }
        tx.commit().await
    }

    /// Takes such a rule back. `false` if there is none.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be written.
    pub async fn confirm_by_hand_again(
        &self,
        user: Option<&UserKey>,
        unit: &atomicity_ledger::Unit,
    ) -> Result<bool, ClientError> {
        let mut tx = self.store().write().await?;
        let removed = confirmed::remove_rule(tx.conn(), user, unit).await?;
        tx.commit().await?;
        Ok(removed)
    }

    /// Whose word is enough.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn confirm_rules(&self) -> Result<Vec<ConfirmRule>, ClientError> {
        confirmed::rules(&mut *self.store().read().await?).await
    }
}

/// Whether a rule still lets `amount` go today; if so, it is noted that it does.
pub(super) async fn spend(
    change: &mut Change,
    rule: &SettleRule,
    settlement: &RecordHash,
    amount: u64,
) -> Result<bool, ClientError> {
    let now = change.now.millis();
    if let Some(most) = rule.per_day {
        let from = now.saturating_sub(DAY_MS);
        let gone = rails::spent_since(change.conn(), rule, from).await?;
        if gone.saturating_add(amount) > most {
            return Ok(false);
        }
    }
    rails::spend(change.conn(), rule, settlement, amount, now).await?;
    Ok(true)
}

/// Whether a friend's word is enough for this much.
pub(super) fn believes(
    rules: &[ConfirmRule],
    user: &UserKey,
    unit: &atomicity_ledger::Unit,
    amount: u64,
) -> bool {
    let of = |whose: Option<UserKey>| {
        let mut rules = rules.iter();
        rules.find(|rule| rule.user == whose && rule.unit == *unit)
    };
    of(Some(*user))
        .or_else(|| of(None))
        .is_some_and(|rule| amount <= rule.up_to)
}

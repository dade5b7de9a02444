//! At which rate places outside are paid for an account.

use super::super::Wallet;
use super::{AccountView, view};
use crate::error::ClientError;
use crate::store::accounts;
use crate::store::rails::OwnRate;

impl Wallet {
    /// Says at which rate places outside are paid for an account, from now on.
    ///
    /// # Errors
    /// [`ClientError::UnknownAccount`]; [`ClientError::Usage`] if it reaches no place outside.
    pub async fn set_account_rate(
        &self,
        name: &str,
        rate: OwnRate,
    ) -> Result<AccountView, ClientError> {
        let row = self.account_row(name).await?;
        let mut tx = self.store().write().await?;
        let shown = view(&row, tx.conn()).await?;
        if shown.rails.is_none() {
            let why = format!("{name:?} pays no place outside: make one with --rails");
            return Err(ClientError::Usage(why));
        }
        accounts::set_rate(tx.conn(), &row.key, rate).await?;
        tx.commit().await?;
        Ok(AccountView {
            rails: Some(rate),
            ..shown
        })
    }
}

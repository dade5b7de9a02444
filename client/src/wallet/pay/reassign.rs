//! Handing a claim on: what a friend owes this user becomes what the friend owes somebody else.
//!
//! It is a payment over two promises, from the user to the debtor and from the debtor to the new creditor: both are booked or neither.

use atomicity_ledger::pair::Pair;
use atomicity_ledger::{Timestamp, Unit, UserKey};

use super::super::Wallet;
use super::PayOptions;
use super::drive::PayProgress;
use super::fault::PaymentFault;
use super::target::Payable;
use super::view::PaymentView;
use super::ways::Way;
use crate::error::ClientError;

impl Wallet {
    /// What handing on would cost. Signs nothing.
    ///
    /// # Errors
    /// [`PaymentFault::ClaimTooSmall`] if the debtor owes less than that; else as [`Wallet::ways_to_pay`].
    pub async fn ways_to_reassign(
        &self,
        debtor: &UserKey,
        payable: &Payable,
        options: &PayOptions,
    ) -> Result<Vec<Way>, ClientError> {
        let options = self.reassigning(debtor, payable, options).await?;
        let ways = self.ways_to_pay(payable, &options).await?;
        let promised = ways.first().map_or(0, Way::promised);
        self.ensure_claim(debtor, payable, promised).await?;
        Ok(ways)
    }

    /// Hands on what `debtor`, a friend, owes this user, to whoever `payable` names: the debtor owes this user less, and the other the
    /// amount. All or nothing, and only if the debtor passes payments on to the other, who lets the debtor owe so much. What the debtor takes for it
    /// comes on top of the amount; at most what `options` allow.
    ///
    /// # Errors
    /// [`ClientError::UnknownFriend`]; [`PaymentFault::ClaimTooSmall`] if the debtor owes less than that; else as [`Wallet::pay`].
    pub async fn reassign(
        &self,
        debtor: &UserKey,
        payable: &Payable,
        options: &PayOptions,
        progress: impl FnMut(PayProgress),
    ) -> Result<PaymentView, ClientError> {
        if self.made().await?.is_none() {
            self.ways_to_reassign(debtor, payable, options).await?;
        }
        let options = self.reassigning(debtor, payable, options).await?;
        self.pay(payable, &options, progress).await
    }

    /// The options of a payment over the debtor and nobody else.
    pub(in super::super) async fn reassigning(
        &self,
        debtor: &UserKey,
        payable: &Payable,
        options: &PayOptions,
    ) -> Result<PayOptions, ClientError> {
        let name = self.friend(&debtor.to_z32()).await?.name;
        if payable.payee() == *debtor {
            return Err(ClientError::Usage(format!(
                "{name} is who owes it: name somebody else to hand it to"
            )));
        }
        Ok(PayOptions {
            along: Some(vec![*debtor, payable.payee()]),
            via: None,
            avoid: Vec::new(),
            with: None,
            from_claim: true,
            ..options.clone()
        })
    }

    /// That the debtor owes so much: what is handed on is a claim, no new debt.
    async fn ensure_claim(
        &self,
        debtor: &UserKey,
        payable: &Payable,
        promised: u64,
    ) -> Result<(), ClientError> {
        let unit = &payable.money.unit;
        let channels = self.balances(Some(debtor), Some(unit)).await?;
        let claim = channels.first().map_or(0, |channel| {
            let owed = u64::try_from(channel.net.minor()).unwrap_or(0);
            owed.saturating_sub(channel.promised_to_them)
        });
        covers(unit, claim, promised.max(payable.money.amount.minor()))
    }
}

fn covers(unit: &Unit, claim: u64, needed: u64) -> Result<(), ClientError> {
    if claim >= needed {
        return Ok(());
    }
    let text = |minor| format!("{} {}", unit.format_minor(minor), unit.code());
    Err(PaymentFault::ClaimTooSmall {
        claim: text(claim),
        needed: text(needed),
    }
    .into())
}

/// That the claim on `pair`'s peer still covers everything promised to them, `promised` of it just now: looked at in the transaction
/// that signs it, since the debtor may have paid back meanwhile.
pub(in crate::wallet) fn still_covers(
    pair: &Pair,
    unit: &Unit,
    promised: u64,
    at: Timestamp,
) -> Result<(), ClientError> {
    let limits = pair.limits(unit, None, at);
    let owed = u64::try_from(limits.balance.minor()).unwrap_or(0);
    let before = limits.promised_to_them.saturating_sub(promised);
    covers(unit, owed.saturating_sub(before), promised)
}

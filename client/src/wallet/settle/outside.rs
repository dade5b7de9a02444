//! The holder's side: asking a friend to pay by other rails than Lightning.

use std::time::Duration;

use atomicity_ledger::record::{Pays, Target};
use atomicity_ledger::settle::Draft;
use atomicity_ledger::{Asset, Memo, Money, RecordId, UserKey};

use super::super::{MadeKind, Wallet, entropy, now};
use super::{SettlementView, quotes};
use crate::error::ClientError;

/// How long a request without an invoice waits for the friend, if nothing else is said.
pub const DEFAULT_SETTLE_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a friend is asked to pay by other rails than Lightning.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OutsideTerms {
    /// Where, what the user likes best first; if empty, wherever the user can be paid by this friend.
    pub targets: Vec<Target>,
    /// What, and how much of it.
    pub pays: OutsidePays,
    /// What it is for.
    pub memo: Option<Memo>,
    /// For how long the friend may begin to pay.
    pub expiry: Duration,
}

/// How much is paid outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutsidePays {
    /// What the unit itself counts: 5.00 `USD/2` are five dollars.
    OneForOne,
    /// As much of this as the user's own source of rates says now.
    AtMyRate(Asset),
    /// This much.
    Exactly(Pays),
}

impl Default for OutsideTerms {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            pays: OutsidePays::OneForOne,
            memo: None,
            expiry: DEFAULT_SETTLE_EXPIRY,
        }
    }
}

impl Wallet {
    /// Asks a friend who owes the user to pay outside, by whatever rail of theirs fits; the claim falls by `money` when the user confirms
    /// that it was paid. When this returns, the request is durable here, and this part of the claim reserved.
    ///
    /// # Errors
    /// [`LedgerError::CannotSettle`](atomicity_ledger::LedgerError::CannotSettle) if the friend owes too little; [`SettleFault::Rate`](super::SettleFault::Rate) if there is no rate;
    /// [`ClientError::WithAgent`]; what hinders every signature. Nothing was signed then.
    pub async fn ask_to_settle_outside(
        &self,
        user: &UserKey,
        money: Money,
        terms: OutsideTerms,
    ) -> Result<SettlementView, ClientError> {
        if let Some(id) = self.made_before(MadeKind::Settlement).await? {
            return self.settlement(&id).await;
        }
        let draft = self.outside_draft(money, terms).await?;
        self.ensure_may_sign().await?;
        self.bring_home(user).await?;
        self.refresh(user).await?;
        let view = self.open_demand(user, draft).await?;
        self.send_now(user).await?;
        Ok(view)
    }

    /// What these terms say, at the rate of now.
    pub(in super::super) async fn outside_draft(
        &self,
        money: Money,
        terms: OutsideTerms,
    ) -> Result<Draft, ClientError> {
        if terms.targets.iter().any(Target::is_invoice) {
            let why = "an invoice is asked for by --invoice".to_owned();
            return Err(ClientError::Usage(why));
        }
        let pays = match terms.pays {
            OutsidePays::OneForOne => None,
            OutsidePays::Exactly(pays) => Some(pays),
            OutsidePays::AtMyRate(asset) if asset == Asset::of(&money.unit) => None,
            OutsidePays::AtMyRate(asset) => {
                let places = quotes::places_of(&asset);
                Some(self.quote(&money, &asset, places).await?.pays)
            }
        };
        let expiry = u64::try_from(terms.expiry.as_millis()).unwrap_or(u64::MAX);
        Ok(Draft {
            id: RecordId::from_entropy(entropy()),
            unit: money.unit,
            amount: money.amount,
            targets: terms.targets,
            pays,
            hash: None,
            memo: terms.memo,
            expires: now().plus_millis(expiry),
        })
    }
}

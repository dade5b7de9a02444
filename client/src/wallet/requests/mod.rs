//! Requests to be paid: asking for an amount, a target that many fill, or again and again; paying what others ask for.
//!
//! What is said about them travels sealed, as letters: to a friend as to a stranger, always to the wallet and never to whoever keeps the
//! books. A letter that came is stored before its envelope is forgotten and read by [`Wallet::drive_requests`], which also goes on with
//! whatever a process that ended has left.

mod calls;
mod fault;
mod grant;
mod guests;
mod handed;
mod letters;
mod own;
mod page;
mod paying;
mod reading;
mod resume;
mod turns;
mod view;

use atomicity_ledger::authority::{Credentials, Purpose};
use atomicity_ledger::{AnyRecord, LedgerError};

use super::{Wallet, WalletEvent, now};
use crate::error::ClientError;

pub use crate::store::requests::approvals::ApprovalPlace;
pub use crate::store::requests::guests::{GuestStage, GuestWay};
pub use crate::store::requests::paying::PayingStage;
pub(super) use calls::note_debts;
pub use calls::{CallRule, CallWhen, CallWho};
pub use fault::RequestFault;
pub(super) use grant::{follow, invoice_paid, paid_directly};
pub(super) use guests::no_guests_by;
pub use guests::{GuestRail, GuestsView, RequestGuest};
pub(super) use letters::sort;
pub use own::{REQUEST_HOLD, REQUEST_STANDS, RequestTerms};
pub use paying::{PART_PATIENCE, RequestProgress};
pub use turns::ApprovalView;
pub use view::{RequestPart, RequestReceipt, RequestRole, RequestView};

/// What is worked on in one go.
const BATCH: u32 = 64;

impl Wallet {
    /// Goes on with all that has to do with requests: reads letters, makes invoices for what was granted, frees what is not paid, pays
    /// what was approved.
    pub(crate) async fn drive_requests(&self) -> Result<Vec<WalletEvent>, ClientError> {
        let mut told = self.read_letters().await?;
        self.make_invoices().await?;
        told.extend(self.sweep_parts().await?);
        self.place_approvals().await?;
        self.ask_for_turns().await?;
        told.extend(self.go_on_paying().await?);
        told.extend(self.tell_of_full().await?);
        if self.looks_at_debts_now() {
            self.end_requests().await?;
            told.extend(self.apply_call_rules().await?);
        }
        Ok(told)
    }

    /// Whether the key that signed a record about requests, or an invoice, may do so: looked up where its delegation lies.
    async fn authorized(&self, record: &AnyRecord) -> Result<(), ClientError> {
        let (user, key, at) = (record.author(), record.kid(), now());
        let purpose = match record {
            AnyRecord::Invoice(_) => Purpose::Receive,
            other => Purpose::of(other).ok_or(LedgerError::ForeignChannel)?,
        };
        let mut credentials = Credentials::new(user);
        if !key.is_root_of(&user)
            && let Some(text) = self.fetch_authority(&user, key).await?
        {
            credentials.learn(&text, at)?;
        }
        credentials.judge(key, purpose, at)?;
        Ok(())
    }
}

/// Whether an error stops everything: the store. All others are somebody else's, or over later.
fn is_grave(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Store(_) | ClientError::StoreFull | ClientError::StoreCorrupt { .. }
    )
}

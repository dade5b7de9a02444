//! Being paid by invoice.

use std::time::Duration;

use atomicity_ledger::{PaymentHash, Preimage};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use super::bolt11::Bolt11;
use super::error::RailError;
use super::msat::Msat;

/// An invoice to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewInvoice {
    /// What it asks for.
    pub amount: Msat,
    /// What it says to the payer.
    pub memo: String,
    /// How long it can be paid, in whole seconds.
    pub expiry: Duration,
    /// For a hold invoice: the hash of a preimage that the node does not know. What is paid is held until
    /// [`Invoices::settle_invoice`] shows it, or [`Invoices::cancel_invoice`] gives it back.
    pub hold: Option<PaymentHash>,
}

/// How an invoice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvoiceState {
    /// Not paid yet.
    Open,
    /// A hold invoice's money has arrived and is held.
    Held,
    /// Paid.
    Settled {
        /// How much arrived.
        received: Msat,
    },
    /// Withdrawn or expired; whatever had arrived went back.
    Canceled,
}

impl InvoiceState {
    /// Whether it stays so.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Settled { .. } | Self::Canceled)
    }
}

/// A rail that is paid by invoice.
pub trait Invoices: Send + Sync {
    /// Makes an invoice. What comes back was read and says what was asked for.
    ///
    /// # Errors
    /// If the node can't, or its invoice says something else.
    fn new_invoice<'a>(
        &'a self,
        wanted: &'a NewInvoice,
    ) -> BoxFuture<'a, Result<Bolt11, RailError>>;

    /// How an invoice stands; nothing if the node has none of this hash.
    ///
    /// # Errors
    /// If the node can't be asked.
    fn look_up_invoice(
        &self,
        hash: PaymentHash,
    ) -> BoxFuture<'_, Result<Option<InvoiceState>, RailError>>;

    /// How an invoice stands, now and whenever it changes. Ends after a final state, and after an error: then watch it anew.
    fn watch_invoice(&self, hash: PaymentHash) -> BoxStream<'_, Result<InvoiceState, RailError>>;

    /// Takes what a hold invoice holds.
    ///
    /// # Errors
    /// If the node can't be asked, or nothing is held.
    fn settle_invoice(&self, preimage: Preimage) -> BoxFuture<'_, Result<(), RailError>>;

    /// Withdraws an invoice that is not settled, and gives back what it holds.
    ///
    /// # Errors
    /// If the node can't be asked, or the invoice is settled.
    fn cancel_invoice(&self, hash: PaymentHash) -> BoxFuture<'_, Result<(), RailError>>;
}

//! Rails: the ways by which money moves outside the ledger, behind one trait.
//!
//! A rail pays what a target asks for (an invoice, an address) and says what became of it. The one rule above all others: **failed
//! means that it is certain that nothing was paid and nothing will be.** Whatever is less than certain is *unknown*, and holds
//! everything until the rail knows better.
//!
//! - A payment has an id, chosen before anything is sent: with Lightning its payment hash. [`Rail::pay`] pays an id at most once.
//!   Called again after a crash, it sends nothing that was sent before and says what became of it.
//! - [`Rail::look_up`] asks what became of an id without paying.
//!
//! | `pay` says | what it means | what to do |
//! |---|---|---|
//! | [`Outcome::Succeeded`] | paid; the proof fits | book it |
//! | [`Outcome::FailedForGood`] | not paid, and never will be under this id | free what was reserved; another method may be tried |
//! | [`Outcome::Unknown`] | no answer, a broken one, or still under way | hold everything; `look_up`, or `pay` with the same order |
//!
//! [`Lnd`] is the rail of an lnd node, [`CoreLightning`] of a Core Lightning node, [`BitcoinCore`] of a Bitcoin Core
//! wallet, [`Manual`] that of people. `ScriptedRail` (feature `scripted-rail`) does as a test tells it.

mod bitcoin_core;
mod bolt11;
mod cln;
mod deposits;
mod error;
mod invoices;
mod lnd;
mod manual;
mod msat;
mod node;
mod payment;
mod pinned;
#[cfg(test)]
mod replay;
#[cfg(any(test, feature = "scripted-rail"))]
mod scripted;
mod under_way;

use std::fmt;

use futures_util::future::BoxFuture;

use crate::name::MethodId;

pub use bitcoin_core::{BitcoinCore, CoreAuth, CoreConfig, Draft, Drafts};
pub use bolt11::{Bolt11, LightningNetwork, MAX_INVOICE_LENGTH};
pub use cln::{ClnConfig, CoreLightning};
pub use deposits::{Address, Deposited, Deposits};
pub use error::RailError;
pub(crate) use error::with_causes;
pub use invoices::{InvoiceState, Invoices, NewInvoice};
pub use lnd::{Lnd, LndConfig};
pub use manual::{Confirmations, Manual, PayeeSaid, PayerSaid, Said};
pub use msat::Msat;
pub(crate) use node::is_loopback;
pub use payment::{
    Failure, FailureReason, Health, Order, Outcome, PaymentId, Proof, Quote, Receipt, Standing,
};
pub use pinned::PinnedCertificate;
#[cfg(any(test, feature = "scripted-rail"))]
pub use scripted::{Effect, Knows, Says, Script, ScriptedRail};

/// A way to pay outside the ledger.
///
/// Futures may be dropped at any point. A payment whose future was dropped goes on: its outcome is unknown.
pub trait Rail: fmt::Debug + Send + Sync {
    /// What the operator calls it.
    fn name(&self) -> &str;

    /// The Paykit methods whose endpoints it can pay.
    fn methods(&self) -> &[MethodId];

    /// Reads what a target asks for. Nothing is sent, nothing is reserved.
    ///
    /// # Errors
    /// If this rail can't pay it: malformed, without what the rail needs, of another network, or expired.
    fn check<'a>(&'a self, target: &'a str) -> BoxFuture<'a, Result<Quote, RailError>>;

    /// Pays an order, at most once for its id, whoever calls and however often. Returns by the order's deadline, plus the time that one
    /// question takes.
    ///
    /// An id that failed for good is not tried again: another attempt needs another id. Calls for one id at the same time are answered
    /// with *unknown* but for the first; two processes must not pay by one node with the same id at the same time.
    fn pay<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Outcome>;

    /// What the rail knows of an id.
    ///
    /// # Errors
    /// If it can't say: then nothing is known.
    fn look_up(&self, id: PaymentId) -> BoxFuture<'_, Result<Standing, RailError>>;

    /// Whether the rail works, and how much it could send now.
    ///
    /// # Errors
    /// If it can't be asked.
    fn health(&self) -> BoxFuture<'_, Result<Health, RailError>>;

    /// The invoices of this rail, if it can be paid by them.
    fn invoices(&self) -> Option<&dyn Invoices> {
        None
    }

    /// The addresses of this rail, if it can be paid at some.
    fn deposits(&self) -> Option<&dyn Deposits> {
        None
    }
}

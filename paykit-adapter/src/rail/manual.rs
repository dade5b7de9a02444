//! The rail of people: cash, a bank transfer, anything that somebody does by hand.
//!
//! A machine can't know whether banknotes changed hands. So the rail asks the one person who does, through [`Confirmations`], and says of a
//! payment what was said there. Both sides confirm, each where it costs them: the payer's *I have paid* makes the rail say *succeeded*, with their
//! words as proof; the payee's word lowers the debt, in the books. If the payee says *I have it* first, that is enough for the rail as well,
//! since nobody says so to their own loss. The payee's *nothing came* is kept and shown, but proves nothing: transfers take days.
//!
//! | the payer said | the payee said | the rail says |
//! |---|---|---|
//! | was never asked | | never seen |
//! | nothing yet | nothing, or *nothing came* | in flight |
//! | paid | anything | succeeded, with the payer's words |
//! | will not pay | nothing, or *nothing came* | failed for good |
//! | nothing, or will not pay | received | succeeded, with the payee's words |
//!
//! The rail stores nothing. Once the payer was asked, no clock ends the payment: only a word does.

use std::fmt;
use std::sync::Arc;

use atomicity_ledger::text::{RailProof, TargetValue};
use atomicity_ledger::{Memo, Total};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::Rail;
use super::error::RailError;
use super::node::now;
use super::payment::{
    Failure, FailureReason, Health, Order, Outcome, PaymentId, Proof, Quote, Receipt, Standing,
};
use super::under_way::UnderWay;
use crate::name::MethodId;

/// What the people on both sides were asked and have said, kept by whoever runs the rail.
pub trait Confirmations: fmt::Debug + Send + Sync {
    /// Stores that this is to be paid, and shows it to the payer. It is durable before this returns. An id that is known already is left as it is.
    ///
    /// # Errors
    /// If it could not be stored, or nobody knows whether it was.
    fn ask<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<(), RailError>>;

    /// What was said of an id; nothing if it was never asked for.
    ///
    /// # Errors
    /// If it can't be read.
    fn said(&self, id: PaymentId) -> BoxFuture<'_, Result<Option<Said>, RailError>>;
}

/// What both sides have said of one payment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The payer's word. It stands: whoever keeps it does not let it be changed.
    pub payer: Option<PayerSaid>,
    /// The payee's word; the newest.
    pub payee: Option<PayeeSaid>,
}

/// The payer's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayerSaid {
    /// It was paid; a reference, or who took it.
    Paid(RailProof),
    /// It was not paid and will not be.
    WillNotPay(Option<Memo>),
}

/// The payee's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayeeSaid {
    /// It came; in their words.
    Received(RailProof),
    /// Nothing came so far.
    NothingCame,
}

impl Said {
    /// What follows from it.
    pub fn standing(&self) -> Standing {
        let succeeded = |words: &RailProof| {
            Standing::Succeeded(Receipt {
                proof: Proof::Statement(words.as_str().to_owned()),
                fee: Total::ZERO,
            })
        };
        match (&self.payer, &self.payee) {
            (Some(PayerSaid::Paid(words)), _) | (_, Some(PayeeSaid::Received(words))) => {
                succeeded(words)
            }
            (Some(PayerSaid::WillNotPay(why)), _) => {
                let why = why.as_ref().map_or("", Memo::as_str);
                Standing::FailedForGood(Failure::new(FailureReason::Canceled, why))
            }
            (None, _) => Standing::InFlight,
        }
    }
}

/// The rail of people.
pub struct Manual {
    name: String,
    methods: Vec<MethodId>,
    confirmations: Arc<dyn Confirmations>,
    under_way: UnderWay,
}

impl Manual {
    /// A rail by which somebody pays by hand at places of these methods.
    ///
    /// # Errors
    /// [`RailError::ConfigInvalid`] without a method.
    pub fn new(
        name: impl Into<String>,
        methods: Vec<MethodId>,
        confirmations: Arc<dyn Confirmations>,
    ) -> Result<Self, RailError> {
        if methods.is_empty() {
            let why = "a rail by hand needs the methods that are paid by hand";
            return Err(RailError::ConfigInvalid(why.to_owned()));
        }
        Ok(Self {
            name: name.into(),
            methods,
            confirmations,
            under_way: UnderWay::default(),
        })
    }

    async fn standing(&self, id: PaymentId) -> Result<Standing, RailError> {
        let said = self.confirmations.said(id).await?;
        Ok(said.map_or(Standing::NeverSeen, |said| said.standing()))
    }

    async fn pay_once(&self, order: &Order) -> Outcome {
        let Some(_held) = self.under_way.hold(order.id) else {
            return Outcome::Unknown(RailError::Busy);
        };
        match self.standing(order.id).await {
            Ok(Standing::NeverSeen) => self.ask(order).await,
            Ok(standing) => standing.into(),
            Err(error) => Outcome::Unknown(error),
        }
    }

    async fn ask(&self, order: &Order) -> Outcome {
        let failed = |reason, why: &str| Outcome::FailedForGood(Failure::new(reason, why));
        if let Err(why) = read_target(&order.target) {
            return failed(FailureReason::TargetUnusable, &why.to_string());
        }
        if now() >= order.deadline {
            return failed(FailureReason::TooLate, "the deadline has passed");
        }
        match self.confirmations.ask(order).await {
            Ok(()) => Outcome::Unknown(RailError::UnderWay),
            Err(error) => Outcome::Unknown(error),
        }
    }
}

fn read_target(target: &str) -> Result<TargetValue, RailError> {
    target
        .parse()
        .map_err(|why| RailError::TargetMalformed(format!("{why}")))
}

impl Rail for Manual {
    fn name(&self) -> &str {
        &self.name
    }

    fn methods(&self) -> &[MethodId] {
        &self.methods
    }

    /// Any words that can be shown.
    fn check<'a>(&'a self, target: &'a str) -> BoxFuture<'a, Result<Quote, RailError>> {
        async move {
            read_target(target)?;
            Ok(Quote {
                id: None,
                amount: None,
                expires_at: None,
                payee: None,
                memo: None,
            })
        }
        .boxed()
    }

    fn pay<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Outcome> {
        self.pay_once(order).boxed()
    }

    fn look_up(&self, id: PaymentId) -> BoxFuture<'_, Result<Standing, RailError>> {
        self.standing(id).boxed()
    }

    /// People are always there; how much they have, they know.
    fn health(&self) -> BoxFuture<'_, Result<Health, RailError>> {
        let health = Health {
            ready: true,
            identity: None,
            can_send: None,
            can_receive: None,
        };
        async move { Ok(health) }.boxed()
    }
}

impl fmt::Debug for Manual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manual")
            .field("name", &self.name)
            .field("methods", &self.methods)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "manual_tests.rs"]
mod tests;

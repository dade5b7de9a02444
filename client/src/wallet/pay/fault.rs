//! Why a payment over friends does not happen.

use atomicity_ledger::Unit;

/// Why a payment can't be made, or was not. Nothing is owed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PaymentFault {
    /// The invoice has expired.
    #[error("this invoice has expired")]
    InvoiceExpired,
    /// It was paid from this wallet.
    #[error("this invoice was paid already: see `atomicity receipt {0}`")]
    AlreadyPaid(String),
    /// It is being paid from this wallet.
    #[error("this invoice is being paid: payment {0} is not decided yet")]
    BeingPaid(String),
    /// An invoice of the user's own is being paid: who looks after it can't change now.
    #[error("invoice {0} is just being paid")]
    InvoiceBusy(String),
    /// The user has not agreed to have debts cleared.
    #[error("you have not agreed to have debts in {0} cleared")]
    ClearingOff(Unit),
    /// The debts of a circle are not, or no more, what they were said to be.
    #[error("this circle of debts can't be cleared: {0}")]
    CircleInvalid(&'static str),
    /// A friend owes the user less than is to be handed on.
    #[error("they owe you {claim}, and this takes {needed}, fees included")]
    ClaimTooSmall {
        /// What is owed, less what is promised already.
        claim: String,
        /// What it takes.
        needed: String,
    },
    /// It is the user's own.
    #[error("this would pay yourself")]
    OwnInvoice,
    /// It is a request, of which one pays a part that the payee grants.
    #[error("this is a request: pay it with `atomicity request pay`")]
    IsRequest(String),
    /// The payer has to say how much.
    #[error("how much? nothing here names an amount")]
    AmountMissing,
    /// The invoice asks for another amount.
    #[error("the invoice asks for {asked}, not for {given}")]
    AmountFixed {
        /// What it asks for.
        asked: String,
        /// What was given.
        given: String,
    },
    /// The invoice is in another unit.
    #[error("the invoice is in {asked}, not in {given}")]
    WrongUnit {
        /// The invoice's unit.
        asked: Unit,
        /// What was given.
        given: Unit,
    },
    /// No log is relied on by both.
    #[error("you rely on none of the payee's logs under the same policy: {0}")]
    NoCommonLog(String),
    /// No friend takes anything in this unit.
    #[error("none of your friends lets you owe them anything more in {0}")]
    NoFirstHop(Unit),
    /// No router could be asked.
    #[error("no router could be asked for a way: {0}")]
    NoRouter(String),
    /// There is no way.
    #[error("no way was found: {why}")]
    NoWay {
        /// The router's code.
        code: &'static str,
        /// In words.
        why: String,
    },
    /// Every way costs more than the payer wants.
    #[error("the fee would be {fee}, and at most {most} is allowed")]
    FeeTooHigh {
        /// The cheapest.
        fee: String,
        /// The limit.
        most: String,
    },
    /// Every way on which units are exchanged costs more than the payer wants.
    #[error("that would cost {cost}, and at most {most} is allowed")]
    CostTooHigh {
        /// The cheapest.
        cost: String,
        /// The limit.
        most: String,
    },
    /// Whoever exchanges asks another rate than a router calculated with.
    #[error("whoever exchanges has changed the rate meanwhile")]
    RateChanged,
    /// The payee is away and takes nothing meanwhile.
    #[error("the payee is away and takes nothing unattended over this way: {0}")]
    NotUnattended(String),
    /// All ways were tried.
    #[error("the payment did not get through: {0}; nothing is owed")]
    NotThrough(String),
    /// Nobody knows yet what becomes of it.
    #[error("payment {0} is not decided yet: `atomicity sync` or `watch` goes on with it")]
    Undecided(String),
    /// There is no such payment.
    #[error("there is no payment {0}")]
    Unknown(String),
    /// There is no such invoice.
    #[error("there is no invoice {0} of yours")]
    InvoiceUnknown(String),
    /// The payment has no receipt: it was not paid.
    #[error("payment {0} was not paid: there is no receipt")]
    NoReceipt(String),
    /// The answer of a router can't be relied on.
    #[error("a router's answer does not add up: {0}")]
    RouteInvalid(&'static str),
}

impl PaymentFault {
    /// A stable name, for machines.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvoiceExpired => "invoice_expired",
            Self::AlreadyPaid(_) => "already_paid",
            Self::BeingPaid(_) => "being_paid",
            Self::InvoiceBusy(_) => "invoice_busy",
            Self::ClearingOff(_) => "clearing_off",
            Self::CircleInvalid(_) => "circle_invalid",
            Self::ClaimTooSmall { .. } => "claim_too_small",
            Self::OwnInvoice => "own_invoice",
            Self::IsRequest(_) => "is_request",
            Self::AmountMissing => "amount_missing",
            Self::AmountFixed { .. } => "amount_fixed",
            Self::WrongUnit { .. } => "wrong_unit",
            Self::NoCommonLog(_) => "no_common_log",
            Self::NoFirstHop(_) => "no_first_hop",
            Self::NoRouter(_) => "no_router",
            Self::NoWay { code, .. } => code,
            Self::FeeTooHigh { .. } => "fee_too_high",
            Self::CostTooHigh { .. } => "cost_too_high",
            Self::RateChanged => "rate_changed",
            Self::NotUnattended(_) => "not_unattended",
            Self::NotThrough(_) => "not_through",
            Self::Undecided(_) => "undecided",
            Self::Unknown(_) => "payment_unknown",
            Self::InvoiceUnknown(_) => "invoice_unknown",
            Self::NoReceipt(_) => "no_receipt",
            Self::RouteInvalid(_) => "route_invalid",
        }
    }

    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::InvoiceExpired => "ask for a new one; nothing was signed",
            Self::ClearingOff(unit) => {
                return Some(format!("agree with `atomicity forward clear {unit}`"));
            }
            Self::InvoiceBusy(_) => "try again in a moment",
            Self::ClaimTooSmall { .. } => {
                "hand on less, or `atomicity pay` what is missing; nothing was signed"
            }
            Self::AmountMissing => "give an amount, such as \"5.00 USD/2\"",
            Self::NoCommonLog(_) => "add one of them with `atomicity log add <address>`",
            Self::NoFirstHop(_) => "ask a friend for a credit line",
            Self::NoRouter(_) => {
                "name one with --router, or look for some with `atomicity services router`"
            }
            Self::NoWay { .. } => {
                "pay less, ask friends for larger lines, or try later; nothing was signed"
            }
            Self::FeeTooHigh { .. } => "allow more with --max-fee; nothing was signed",
            Self::CostTooHigh { .. } => "allow more with --max; nothing was signed",
            Self::RateChanged => "look at the new rate and pay again; nothing was signed",
            Self::NotUnattended(_) => {
                "they allow it with `atomicity friend limit … --unattended`; or ask them for an invoice"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// The exit code of the command line.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ClearingOff(_)
            | Self::OwnInvoice
            | Self::IsRequest(_)
            | Self::AmountMissing
            | Self::AmountFixed { .. }
            | Self::WrongUnit { .. }
            | Self::Unknown(_)
            | Self::InvoiceUnknown(_)
            | Self::NoReceipt(_) => 2,
            Self::NoRouter(_) | Self::Undecided(_) | Self::InvoiceBusy(_) => 4,
            Self::RouteInvalid(_) => 1,
            _ => 3,
        }
    }
}

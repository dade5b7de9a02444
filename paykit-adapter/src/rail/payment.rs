//! What is asked of a rail, and what it answers.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use atomicity_ledger::{Money, PaymentHash, Preimage, Timestamp, Total};

use super::error::{RailError, bounded};

/// Names one payment on its rail, for ever. With Lightning it is the payment hash; elsewhere whoever pays chooses it. Written in hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentId([u8; 32]);

impl PaymentId {
    /// Takes the 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As a payment hash, where it is one.
    #[must_use]
    pub fn as_hash(&self) -> PaymentHash {
        PaymentHash::from_bytes(self.0)
    }
}

impl From<PaymentHash> for PaymentId {
    fn from(hash: PaymentHash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PaymentId({self})")
    }
}

impl FromStr for PaymentId {
    type Err = RailError;

    fn from_str(text: &str) -> Result<Self, RailError> {
        from_hex(text)
            .map(Self)
            .ok_or(RailError::AnswerMalformed("an id is 64 digits of hex"))
    }
}

/// 32 bytes of lower-case or upper-case hex.
pub(crate) fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let value = pair.iter().fold(0, |high, digit| high * 16 + digit);
        *byte = u8::try_from(value).ok()?;
    }
    Some(bytes)
}

/// Any bytes in hex.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing into a string can't fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// What a target asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quote {
    /// The id under which it is paid, if the target fixes it, as invoices do.
    pub id: Option<PaymentId>,
    /// How much it asks for, if it says so.
    pub amount: Option<Money>,
    /// Until when it can be paid, if it ends.
    pub expires_at: Option<Timestamp>,
    /// Who is paid, as the rail names them.
    pub payee: Option<String>,
    /// What the payee wrote on it. Theirs to choose: escape it before it is shown.
    pub memo: Option<String>,
}

/// One payment to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its id; for an invoice its payment hash.
    pub id: PaymentId,
    /// Where to: an invoice, an address, words for a person.
    pub target: String,
    /// How much arrives. For an invoice exactly what it asks for.
    pub amount: Money,
    /// How much it may cost on top, in the same unit.
    pub max_fee: Total,
    /// When to stop waiting. Nothing is sent after it. What was sent before may still arrive.
    pub deadline: Timestamp,
}

/// What became of an order.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// It was paid, once.
    Succeeded(Receipt),
    /// It was not paid under this id, and never will be.
    FailedForGood(Failure),
    /// It may have been paid, may still be paid, or not.
    Unknown(RailError),
}

/// What a rail knows of an id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Standing {
    /// It was paid, once.
    Succeeded(Receipt),
    /// It was tried, was not paid, and never will be.
    FailedForGood(Failure),
    /// It is under way.
    InFlight,
    /// The rail knows no such id. A request to pay it that is still on its way can change that, until the order's deadline and what it
    /// pays have expired; paying it with the same order is safe at any time.
    NeverSeen,
}

/// A payment that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What proves it.
    pub proof: Proof,
    /// What it cost on top, in the unit of its amount.
    pub fee: Total,
}

/// What a rail gives as proof of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// The preimage of the payment hash. It was checked.
    Preimage(Preimage),
    /// A transaction on a chain, by its id.
    Transaction(String),
    /// Words: a bank's reference, who took the cash.
    Statement(String),
}

impl Proof {
    /// The preimage, if it is one.
    #[must_use]
    pub fn preimage(&self) -> Option<Preimage> {
        match self {
            Self::Preimage(preimage) => Some(*preimage),
            _ => None,
        }
    }
}

/// Why a payment failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind.
    pub reason: FailureReason,
    /// The rail's own words, shortened. Escape them before they are shown.
    pub detail: String,
}

impl Failure {
    /// A failure with at most a few hundred characters of detail.
    #[must_use]
    pub fn new(reason: FailureReason, detail: &str) -> Self {
        Self {
            reason,
            detail: bounded(detail),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason.code())?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

/// The kinds of failures for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureReason {
    /// The target can't be paid by this rail, or is not what the order says it is.
    TargetUnusable,
    /// The target expired, or the order's deadline passed, before anything was sent.
    TooLate,
    /// No way to the payee was found, or none within the fee.
    NoRoute,
    /// The rail has too little to send.
    InsufficientBalance,
    /// Every way was tried until the time was up; nothing is under way any more.
    TimedOut,
    /// The payee refused: unknown hash, wrong amount, invoice withdrawn.
    RefusedByPayee,
    /// Somebody stopped it at the rail.
    Canceled,
    /// The rail refused the order before it sent anything.
    RefusedByRail,
}

impl FailureReason {
    /// A stable name, for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TargetUnusable => "target_unusable",
            Self::TooLate => "too_late",
            Self::NoRoute => "no_route",
            Self::InsufficientBalance => "insufficient_balance",
            Self::TimedOut => "timed_out",
            Self::RefusedByPayee => "refused_by_payee",
            Self::Canceled => "canceled",
            Self::RefusedByRail => "refused_by_rail",
        }
    }
}

/// How a rail does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether it can pay now: up, and up to date with what it builds on.
    pub ready: bool,
    /// Who it is to others: a node's public key.
    pub identity: Option<String>,
    /// The most that it could send in all, before fees, if that is limited.
    pub can_send: Option<Money>,
    /// The most that it could receive in all.
    pub can_receive: Option<Money>,
}

impl From<Standing> for Outcome {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Succeeded(receipt) => Self::Succeeded(receipt),
            Standing::FailedForGood(failure) => Self::FailedForGood(failure),
            Standing::InFlight => Self::Unknown(RailError::UnderWay),
            Standing::NeverSeen => Self::Unknown(RailError::NeverSeen),
        }
    }
}

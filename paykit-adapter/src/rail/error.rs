//! What can go wrong between us and a rail.

use std::time::Duration;

/// Why a rail gave no answer that counts. For a payment that means: nothing is known. [`RailError::code`] is stable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RailError {
    /// What is to be paid can't be read.
    #[error("the target is malformed: {0}")]
    TargetMalformed(String),
    /// It can be read, but this rail does not pay such.
    #[error("this rail does not pay such a target: {0}")]
    TargetUnsupported(&'static str),
    /// It can no longer be paid.
    #[error("the target has expired")]
    TargetExpired,
    /// An amount is out of range, or of a unit that this rail does not have.
    #[error("the amount is unusable: {0}")]
    AmountUnusable(&'static str),
    /// The rail's settings or files can't be used.
    #[error("the rail is set up wrongly: {0}")]
    ConfigInvalid(String),
    /// Nobody answers, or not with the certificate that was pinned.
    #[error("the node can't be reached: {0}")]
    Unreachable(String),
    /// The answer did not come in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The connection broke in the middle of the answer.
    #[error("the answer broke off: {0}")]
    AnswerBroken(String),
    /// The answer is longer than any that we read.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The answer can't be understood, or contradicts itself.
    #[error("the node's answer is malformed: {0}")]
    AnswerMalformed(&'static str),
    /// The credentials don't allow this.
    #[error("the node does not permit this: {0}")]
    NotPermitted(String),
    /// The node is starting, or its wallet is locked.
    #[error("the node is not ready: {0}")]
    NotReady(String),
    /// The node answered with a failure of its own.
    #[error("the node answered with status {status}, code {code}: {message}")]
    NodeFailed {
        /// The HTTP status.
        status: u16,
        /// The node's own code, 0 if it gave none.
        code: i64,
        /// Its words, shortened.
        message: String,
    },
    /// The payment is under way.
    #[error("the payment is under way")]
    UnderWay,
    /// The rail knows nothing of the payment, though it should.
    #[error("the rail knows no such payment")]
    NeverSeen,
    /// Another transaction took the place of the payment's, and may have paid the same. Somebody must look at it.
    #[error("another transaction took the place of the payment's")]
    Replaced,
    /// Another call is paying the same id.
    #[error("another call is paying the same id")]
    Busy,
}

impl RailError {
    /// A stable name of the kind of failure, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TargetMalformed(_) => "target_malformed",
            Self::TargetUnsupported(_) => "target_unsupported",
            Self::TargetExpired => "target_expired",
            Self::AmountUnusable(_) => "amount_unusable",
            Self::ConfigInvalid(_) => "rail_config_invalid",
            Self::Unreachable(_) => "rail_unreachable",
            Self::Timeout(_) => "rail_timeout",
            Self::AnswerBroken(_) => "rail_answer_broken",
            Self::TooLarge { .. } => "rail_answer_too_large",
            Self::AnswerMalformed(_) => "rail_answer_malformed",
            Self::NotPermitted(_) => "rail_not_permitted",
            Self::NotReady(_) => "rail_not_ready",
            Self::NodeFailed { .. } => "rail_failed",
            Self::UnderWay => "payment_under_way",
            Self::NeverSeen => "payment_never_seen",
            Self::Replaced => "payment_replaced",
            Self::Busy => "payment_busy",
        }
    }
}

/// How much of what others say is kept.
const MAX_DETAIL: usize = 300;

/// The beginning of what somebody else wrote, without control characters.
pub(crate) fn bounded(text: &str) -> String {
    let plain = text.chars().filter(|c| !c.is_control());
    plain.take(MAX_DETAIL).collect()
}

/// An error with its causes, shortened.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        if text.len() > MAX_DETAIL {
            break;
        }
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    bounded(&text)
}

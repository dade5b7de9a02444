//! Why a request can't be made or paid.

use atomicity_ledger::record::PartReason;

/// Why a request can't be made, or a part of one can't be paid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestFault {
    /// There is no such request here.
    #[error("there is no request {0:?} here")]
    Unknown(String),
    /// Nothing can be changed any more.
    #[error("request {0} is over")]
    Over(String),
    /// It is for somebody else, or for whoever asks for it.
    #[error("this request is for somebody else to pay")]
    NotAsked,
    /// The user's own request.
    #[error("this is your own request")]
    Own,
    /// It asks for what was paid already.
    #[error("request {0} was paid already")]
    AlreadyPaid(String),
    /// The payee does not want it. Nothing was paid.
    #[error("the payee does not take it: {}", words(*.0))]
    Refused(PartReason),
    /// The payee grants something else than was asked for. Nothing was paid.
    #[error("what the payee answered can't be used: it is another amount, or no invoice for it")]
    Unusable,
    /// The payee's wallet did not answer. Nothing was paid.
    #[error("the payee's wallet has not answered: nothing is paid")]
    NoAnswer,
    /// Nobody knows yet what becomes of the payment.
    #[error("part {0} is not decided yet: `atomicity sync` or `watch` goes on with it")]
    Undecided(String),
    /// No turn of it is due that is not paid.
    #[error("nothing of it is due now")]
    NothingDue,
    /// It does not recur.
    #[error("it is paid once: there is nothing to approve for later")]
    NotRecurring,
    /// It costs more than the user wants to spend.
    #[error("it asks for {asked} each time, more than {up_to}")]
    AboveCeiling {
        /// What it asks for.
        asked: String,
        /// What the user wants to spend at most.
        up_to: String,
    },
    /// It was not approved.
    #[error("{0} is not approved")]
    NotApproved(String),
    /// The agent pays it.
    #[error("request {0} is paid by your agent")]
    AgentPays(String),
    /// There is no such rule.
    #[error("there is no rule {0} that calls debts")]
    NoRule(i64),
}

fn words(reason: PartReason) -> &'static str {
    match reason {
        PartReason::Full => "all of it is paid, or being paid",
        PartReason::Closed => "it is closed, or not to be paid in credit",
        PartReason::Expired => "it has expired",
        PartReason::TooSmall => "it is less than one payment must bring",
        PartReason::TooLarge => "it is more than one payment may bring",
        PartReason::Paid => "it is paid already",
        PartReason::Ended => "it was not paid in time: ask for it once more",
        PartReason::NotDirect => "they are not paid directly",
        PartReason::WrongTurn => "this turn is being paid, or not due",
        PartReason::Busy => "too much is being paid at once",
    }
}

impl RequestFault {
    /// A stable name, for machines.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "request_unknown",
            Self::Over(_) => "request_over",
            Self::NotAsked => "not_asked",
            Self::Own => "own_request",
            Self::AlreadyPaid(_) => "already_paid",
            Self::Refused(reason) => reason.code(),
            Self::Unusable => "answer_unusable",
            Self::NoAnswer => "no_answer",
            Self::Undecided(_) => "undecided",
            Self::NothingDue => "nothing_due",
            Self::NotRecurring => "not_recurring",
            Self::AboveCeiling { .. } => "above_ceiling",
            Self::NotApproved(_) => "not_approved",
            Self::AgentPays(_) => "agent_pays",
            Self::NoRule(_) => "rule_unknown",
        }
    }

    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unknown(_) => {
                "`atomicity request list` shows them; what somebody else asks for is named by its link"
            }
            Self::Refused(PartReason::Full | PartReason::TooLarge | PartReason::TooSmall) => {
                "`atomicity request show` tells what is left"
            }
            Self::Refused(PartReason::Closed) => {
                "a debt that is called is paid another way: `atomicity request show` tells which"
            }
            Self::NoAnswer => {
                "their wallet has to run: try again later; the same part is asked for, never a second one"
            }
            Self::Undecided(_) => "`atomicity request show` tells how it stands",
            Self::NotRecurring => "pay it with `atomicity request pay`",
            Self::NotApproved(_) => "`atomicity request approvals` shows them",
            Self::AgentPays(_) => {
                "`atomicity request approvals` shows what it paid; `atomicity request revoke` ends that"
            }
            Self::NoRule(_) => "`atomicity call list` shows them",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// The exit code of the command line.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unknown(_)
            | Self::NotAsked
            | Self::Own
            | Self::NotRecurring
            | Self::NotApproved(_)
            | Self::NoRule(_) => 2,
            Self::NoAnswer | Self::Undecided(_) => 4,
            _ => 3,
        }
    }
}

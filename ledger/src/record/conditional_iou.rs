//! `atomicity-conditional-iou`: a promise that becomes due if a preimage is published in time.

use atomicity_witness_log::{LogError, LogTerms, Policy};
use serde::{Deserialize, Serialize};

use super::{ascending, rule};
use crate::amount::Amount;
use crate::digest::{PaymentHash, PolicyHash};
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::UserKey;
use crate::seq::{Epoch, IouNumber};
use crate::text::{Address, Layers};
use crate::time::{MAX_JSON_INTEGER, Timestamp};
use crate::unit::Unit;

/// The most logs that one promise may hang on.
pub const MAX_TERM_LOGS: usize = 4;

/// `from` promises `to` this amount, due if the preimage of `terms.hash` is published under the terms and `to` has not released
/// the promise. It stands on its own signature, by the book key of `from`; no state is needed with it. Whenever the proof is
/// shown, what was published in time stays due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionalIou {
    /// Version 1.
    pub v: Version,
    /// Who promises.
    pub from: UserKey,
    /// To whom.
    pub to: UserKey,
    /// In what.
    pub unit: Unit,
    /// The epoch of the book that signs.
    pub epoch: Epoch,
    /// Its number: those of epoch e start at e · 2^32.
    pub number: IouNumber,
    /// How much.
    pub amount: Amount,
    /// When it becomes due.
    pub terms: Terms,
    /// What `to` is to do with it: sealed layers that only `to` can peel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onward: Option<Layers>,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// When a conditional IOU becomes due: the same for every hop of a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The hash of the preimage.
    pub hash: PaymentHash,
    /// The logs that decide, ascending by origin: published in any one is published, expired needs all. If none is named, the
    /// preimage shown to the issuer decides (a direct release).
    pub logs: Vec<LogTerm>,
    /// A leaf with a later time comes too late; Unix milliseconds.
    pub deadline_ms: u64,
}

/// A log that decides, and from where on it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogTerm {
    /// The log's origin (C2SP tlog-checkpoint).
    pub origin: Address,
    /// The policy by which its checkpoints count.
    pub policy_hash: PolicyHash,
    /// The index of the first leaf that counts.
    pub from_size: u64,
}

impl Terms {
    /// Whether the preimage shown to the issuer decides, and no log.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.logs.is_empty()
    }

    /// Checks a proof against what these terms say about a log under this policy; the log of which it holds.
    ///
    /// # Errors
    /// [`LedgerError::ProofInvalid`] with the reason.
    pub(crate) fn proven(
        &self,
        policy: &str,
        verify: impl Fn(&LogTerms<'_>) -> Result<(), LogError>,
    ) -> Result<&LogTerm, LedgerError> {
        let invalid = |why: String| LedgerError::ProofInvalid { why };
        let hash = PolicyHash::of(policy);
        let parsed = Policy::parse(policy.as_bytes()).map_err(|e| invalid(e.to_string()))?;
        let mut why = "its policy is not one that the promise names".to_owned();
        for log in self.logs.iter().filter(|log| log.policy_hash == hash) {
            let terms = LogTerms {
                policy: &parsed,
                origin: log.origin.as_str(),
                hash: self.hash.as_bytes(),
                from_size: log.from_size,
                deadline_ms: self.deadline_ms,
            };
            match verify(&terms) {
                Ok(()) => return Ok(log),
                Err(error) => why = error.to_string(),
            }
        }
        Err(invalid(why))
    }
}

impl ConditionalIou {
    /// Whether its number is one of its epoch.
    fn number_fits(&self) -> bool {
        let first = self.epoch.first_iou();
        let end = first.get().saturating_add(1 << 32);
        self.number >= first && self.number.get() < end
    }
}

impl Record for ConditionalIou {
    const TYP: &'static str = "atomicity-conditional-iou";

    fn author(&self) -> UserKey {
        self.from
    }

    fn check(&self) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        rule(self.from != self.to, "from and to are the same user")?;
        rule(
            self.number_fits(),
            "the number is not one of its epoch: those of epoch e start at e * 2^32",
        )?;
        rule(
            self.terms.logs.len() <= MAX_TERM_LOGS,
            "terms names more than 4 logs",
        )?;
        rule(
            ascending(&self.terms.logs, |log| log.origin.clone()),
            "logs must be strictly ascending by origin",
        )?;
        rule(
            self.terms.deadline_ms <= MAX_JSON_INTEGER
                && self
                    .terms
                    .logs
                    .iter()
                    .all(|log| log.from_size <= MAX_JSON_INTEGER),
            "deadline_ms or from_size is out of range",
        )?;
        rule(
            !self.terms.is_direct() || self.onward.is_none(),
            "a direct release can't be forwarded",
        )
    }
}

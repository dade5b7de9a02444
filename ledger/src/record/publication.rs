//! `atomicity-publication`: the proof that a preimage was published, handed over.

use atomicity_witness_log::PublicationProof;
use serde::{Deserialize, Serialize};

use super::{Terms, rule};
use crate::digest::Preimage;
use crate::error::LedgerError;
use crate::jws::{Record, RecordHash, Version};
use crate::key::UserKey;
use crate::planted::{self, Bug};
use crate::text::ProofText;
use crate::time::Timestamp;

/// `from` hands `to` what makes the conditional IOU `iou` between them due. The signature only says who handed it over: the proof
/// decides, and anybody can check it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// Version 1.
    pub v: Version,
    /// Who hands it over.
    pub from: UserKey,
    /// To whom.
    pub to: UserKey,
    /// The conditional IOU that it makes due.
    pub iou: RecordHash,
    /// What was published.
    pub preimage: Preimage,
    /// The proof; none for a direct release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<LogProof>,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// A proof under a policy, complete: no look-up is needed to check it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogProof {
    /// The policy's text (C2SP tlog-policy); its hash is what the terms name.
    pub policy: ProofText,
    /// The proof (C2SP tlog-proof) with the leaf as its extra data.
    pub proof: ProofText,
}

impl Publication {
    /// Whether it makes a promise under these terms due.
    ///
    /// # Errors
    /// [`LedgerError::ProofInvalid`] with the reason.
    pub fn verify(&self, terms: &Terms) -> Result<(), LedgerError> {
        if planted::on(Bug::MergeUnpublished) {
            return Ok(());
        }
        let invalid = |why: String| LedgerError::ProofInvalid { why };
        if self.preimage.hash() != terms.hash {
            return Err(invalid("the preimage has another hash".to_owned()));
        }
        if terms.is_direct() {
            return Ok(());
        }
        let Some(given) = &self.proof else {
            return Err(invalid(
                "the promise hangs on a log, and no proof is given".to_owned(),
            ));
        };
        let proof = PublicationProof::parse(given.proof.as_str().as_bytes())
            .map_err(|e| invalid(e.to_string()))?;
        terms
            .proven(given.policy.as_str(), |log| proof.verify(log).map(|_| ()))
            .map(|_| ())
    }
}

impl Record for Publication {
    const TYP: &'static str = "atomicity-publication";

    fn author(&self) -> UserKey {
        self.from
    }

    fn check(&self) -> Result<(), LedgerError> {
        rule(
            Self::TYP,
            self.from != self.to,
            "from and to are the same user",
        )
    }
}

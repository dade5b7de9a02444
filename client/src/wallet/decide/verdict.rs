//! What logs say about a promise, and who lied if two of their words contradict each other.

use std::collections::BTreeMap;

use atomicity_ledger::pair::Expiry;
use atomicity_ledger::record::{ConditionalIou, LogProof};
use atomicity_ledger::text::ProofText;
use atomicity_ledger::{Preimage, Signed};
use atomicity_witness_log::{
    ExpiryProof, ForkProof, LogTerms, Policy, PublicationProof, Said, said,
};

use super::{Open, Reading};
use crate::error::ClientError;

/// What is to be done with a promise.
pub(super) enum Decision {
    Published(Preimage, LogProof),
    Expired(Vec<(String, Expiry)>),
}

/// What the logs have decided about a promise; `None` if nothing yet.
pub(super) fn decision(promise: &Open, readings: &BTreeMap<String, Reading>) -> Option<Decision> {
    let terms = &promise.iou.record().terms;
    let mut expired = Vec::new();
    for log in &terms.logs {
        let said = readings.get(log.origin.as_str()).and_then(|reading| {
            let (text, policy) = reading.policies.get(&log.policy_hash.to_string())?;
            let terms = LogTerms {
                policy,
                origin: log.origin.as_str(),
                hash: terms.hash.as_bytes(),
                from_size: log.from_size,
                deadline_ms: terms.deadline_ms,
            };
            let said = said_by(reading, &terms, text);
            if let Err(error) = &said {
                tracing::warn!(origin = terms.origin, "no proof can be made: {error}");
            }
            said.ok().flatten()
        });
        match said {
            Some(Decision::Expired(proofs)) => expired.extend(proofs),
            Some(published) => return Some(published),
            None => {}
        }
    }
    (expired.len() == terms.logs.len()).then_some(Decision::Expired(expired))
}

/// What one log says, with its proof.
fn said_by(
    reading: &Reading,
    terms: &LogTerms<'_>,
    policy: &str,
) -> Result<Option<Decision>, ClientError> {
    let said = said(reading.window.as_ref(), reading.end.as_ref(), terms)?;
    Ok(match said {
        Some(Said::Published { preimage, proof }) => {
            let proof = LogProof {
                policy: ProofText::try_from(policy.to_owned())?,
                proof: ProofText::try_from(proof.to_string())?,
            };
            Some(Decision::Published(Preimage::from_bytes(preimage), proof))
        }
        Some(Said::Expired(proof)) => {
            let expiry = Expiry {
                policy: policy.to_owned(),
                proof: proof.encode(),
            };
            Some(Decision::Expired(vec![(terms.origin.to_owned(), expiry)]))
        }
        None => None,
    })
}

/// Who lied, if a proof of publication and one of expiry both hold.
pub(super) fn convict(
    iou: &Signed<ConditionalIou>,
    origin: &str,
    publication: &LogProof,
    expiry: &[u8],
) -> Option<ForkProof> {
    let terms = &iou.record().terms;
    let log = terms
        .logs
        .iter()
        .find(|log| log.origin.as_str() == origin)?;
    let policy = Policy::parse(publication.policy.as_str().as_bytes()).ok()?;
    let log_terms = LogTerms {
        policy: &policy,
        origin,
        hash: terms.hash.as_bytes(),
        from_size: log.from_size,
        deadline_ms: terms.deadline_ms,
    };
    let publication = PublicationProof::parse(publication.proof.as_str().as_bytes()).ok()?;
    let expiry = ExpiryProof::decode(expiry).ok()?;
    ForkProof::from_contradiction(&log_terms, &publication, &expiry).ok()
}

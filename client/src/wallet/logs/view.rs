//! Logs, and proofs that they lied, as they are shown.

use std::collections::BTreeMap;

use atomicity_ledger::PolicyHash;
use atomicity_witness_log::{ForkProof, Policy};

use super::why_refused;
use crate::error::ClientError;
use crate::store::logs::{ForkRow, LogRow};
use crate::store::parse_own;

/// A log, as it is shown.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogView {
    /// Its name.
    pub origin: String,
    /// Where it is.
    pub url: String,
    /// The hash of the policy in force.
    pub policy_hash: PolicyHash,
    /// The cosigners of the policy.
    pub cosigners: Vec<CosignerView>,
    /// Whose signatures count, in words.
    pub quorum: String,
    /// The size of the newest checkpoint that counted; `None` if none was seen yet.
    pub size: Option<u64>,
    /// When it was last confirmed, Unix milliseconds.
    pub checked_at: Option<u64>,
    /// Since when it is known, Unix milliseconds.
    pub added_at: u64,
    /// Whether new promises may hang on it.
    pub usable: bool,
    /// Whether the user refuses it.
    pub refused: bool,
    /// Proofs that it, or one of its cosigners, lied.
    pub forks: Vec<ForkView>,
}

/// A cosigner of a policy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CosignerView {
    /// Its verifier key.
    pub key: String,
    /// Where it is.
    pub url: Option<String>,
}

/// A proof that somebody lied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ForkView {
    /// The log.
    pub origin: String,
    /// The verifier key of who lied.
    pub culprit: String,
    /// `log` or `cosigner`.
    pub role: String,
    /// What was done, by its stable name.
    pub what: String,
    /// The same in words.
    pub words: String,
    /// When this wallet learned of it, Unix milliseconds.
    pub found_at: u64,
    /// The proof.
    pub proof: Vec<u8>,
}

pub(super) fn words_of(proof: &[u8]) -> String {
    ForkProof::decode(proof).map_or_else(|_| "it lied".to_owned(), |proof| proof.to_string())
}

impl From<ForkRow> for ForkView {
    fn from(row: ForkRow) -> Self {
        Self {
            words: words_of(&row.proof),
            origin: row.origin,
            culprit: row.culprit,
            role: row.role,
            what: row.what,
            found_at: row.found_at,
            proof: row.proof,
        }
    }
}

/// Whose cosignatures a policy asks for, in words.
fn quorum_words(policy: &str) -> String {
    let mut groups: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    let mut quorum = "none";
    for line in policy.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["group", name, threshold, members @ ..] => {
                groups.insert(name, (threshold, members.len()));
            }
            ["quorum", name] => quorum = name,
            _ => {}
        }
    }
    if quorum == "none" {
        return "no cosigner has to sign: only the log's own word counts".to_owned();
    }
    match groups.get(quorum) {
        Some(("all", of)) => format!("all {of} cosigners of the group {quorum} have to sign"),
        Some(("any", of)) => {
            format!("any 1 of the {of} cosigners of the group {quorum} has to sign")
        }
        Some((count, of)) => {
            format!("any {count} of the {of} cosigners of the group {quorum} have to sign")
        }
        None => format!("the cosigner {quorum} has to sign"),
    }
}

pub(super) fn view(row: LogRow, forks: &[ForkRow]) -> Result<LogView, ClientError> {
    let policy = Policy::parse(row.policy.as_bytes())?;
    let cosigners = policy.cosigners().iter().map(|cosigner| CosignerView {
        key: cosigner.key.to_string(),
        url: cosigner.url.clone(),
    });
    let forks_here = forks.iter().filter(|fork| fork.origin == row.origin);
    Ok(LogView {
        cosigners: cosigners.collect(),
        quorum: quorum_words(&row.policy),
        policy_hash: parse_own(&row.policy_hash, "the hash of a policy")?,
        usable: why_refused(&row, forks).is_none(),
        forks: forks_here.cloned().map(ForkView::from).collect(),
        size: row.checkpoint.as_ref().map(|_| row.size),
        checked_at: row.checked_at,
        added_at: row.added_at,
        refused: row.refused,
        origin: row.origin,
        url: row.url,
    })
}

#[cfg(test)]
mod tests {
    use super::quorum_words;

    #[test]
    fn a_quorum_is_told_in_words() {
        let none = quorum_words("log a\nquorum none\n");
        assert!(none.contains("no cosigner"), "{none}");
        let two = quorum_words("witness x k\ngroup g 2 x y z\nquorum g\n");
        assert!(two.contains("any 2 of the 3"), "{two}");
        let one = quorum_words("witness x k\nquorum x\n");
        assert!(one.contains("the cosigner x"), "{one}");
    }
}

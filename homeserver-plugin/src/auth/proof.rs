//! Proofs of possession that open a session.
//!
//! The signatures are checked by the Pubky SDK, offline. What the SDK leaves to the service is done here: who the proof is meant
//! for, what for, how old it may be; that it is used once is left to the database.

use atomicity_ledger::{SignerKey, UserKey};
use pubky::custom_pop::{
    CustomPop, CustomPopVerificationError, DEFAULT_CUSTOM_POP_CLOCK_SKEW, verify_custom_grant_pop,
};
use pubky_common::capabilities::{Action, Capability};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::PluginError;

/// What a proof for this service must say it is for.
pub const PURPOSE: &str = "atomicity-session";

/// The folders of which a grant must let its key write something, so that a session by it may change something here.
const OWN_FOLDERS: [&str; 2] = ["/pub/atomicity/", "/priv/atomicity/"];

/// Longest grant or proof that is looked at. A real one has about 400 characters.
const MAX_JWS_LEN: usize = 6 * 1024;

/// A grant and the proof made with it, as the Pubky SDK's `create_custom_pop` gives them.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The grant, signed by the user's root key (compact JWS, `pubky-grant`).
    pub grant: String,
    /// The proof, signed by the key that the grant names (compact JWS, `pubky-custom-pop-v1`), over
    /// `{"audience": <plugin's key>, "purpose": "atomicity-session"}`.
    pub pop: String,
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proof(redacted)")
    }
}

/// The data under a proof.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    audience: String,
    purpose: String,
}

/// What a good proof establishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Who.
    pub user: UserKey,
    /// The proof's own number; it counts once.
    pub nonce: String,
    /// From when on the proof is too old anyway, Unix milliseconds.
    pub nonce_until: i64,
    /// When the grant ends, Unix milliseconds.
    pub grant_until: i64,
    /// Whether the grant lets its key write anything of Atomicity's. One that only reads there, or is for other apps' files, only reads here.
    pub writes: bool,
}

/// Whether a grant lets its key write something of Atomicity's: all of it, a part of it, or more than that.
fn writes(caps: &[Capability]) -> bool {
    // A scope that ends with a slash is a folder, with all below it.
    let holds = |scope: &str, folder: &str| scope.ends_with('/') && folder.starts_with(scope);
    let ours = |scope: &str| {
        let mut folders = OWN_FOLDERS.iter();
        folders.any(|folder| holds(scope, folder) || scope.starts_with(folder))
    };
    caps.iter()
        .any(|cap| cap.actions().contains(&Action::Write) && ours(cap.scope().as_str()))
}

fn refuse(code: &'static str, detail: &'static str) -> PluginError {
    PluginError::Unauthorized { code, detail }
}

fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

/// Checks everything about `proof` but whether it was used before.
///
/// # Errors
/// `proof_invalid`, `proof_expired`, `proof_not_yet_valid`, `proof_wrong_audience`.
pub fn verify(
    proof: Proof,
    audience: &str,
    max_age_s: u64,
    now_ms: i64,
) -> Result<Proven, PluginError> {
    if proof.grant.len() > MAX_JWS_LEN || proof.pop.len() > MAX_JWS_LEN {
        return Err(refuse("proof_invalid", "the proof is too long"));
    }
    let proof = CustomPop {
        grant: proof.grant,
        pop: proof.pop,
    };
    let verified =
        verify_custom_grant_pop(&proof, DEFAULT_CUSTOM_POP_CLOCK_SKEW).map_err(explain)?;
    // The SDK's verification would accept keys of small order, for which anybody can sign.
    let user = UserKey::from_bytes(verified.identity().to_bytes())
        .map_err(|_| refuse("proof_invalid", "the grant's root key is not acceptable"))?;
    SignerKey::from_bytes(verified.grant_claims().cnf.to_bytes())
        .map_err(|_| refuse("proof_invalid", "the grant's session key is not acceptable"))?;
    let statement: Statement = serde_json::from_value(verified.data().clone())
        .map_err(|_| refuse("proof_invalid", "the proof does not say what it is for"))?;
    if statement.audience != audience || statement.purpose != PURPOSE {
        return Err(refuse(
            "proof_wrong_audience",
            "the proof was made for another service or purpose",
        ));
    }
    let nonce_until = millis(verified.iat().saturating_add(max_age_s));
    if nonce_until <= now_ms {
        return Err(refuse(
            "proof_expired",
            "the proof is too old: make another",
        ));
    }
    Ok(Proven {
        user,
        nonce: verified.nonce().as_str().to_owned(),
        nonce_until,
        grant_until: millis(verified.grant_claims().exp),
        writes: writes(&verified.grant_claims().caps),
    })
}

fn explain(error: CustomPopVerificationError) -> PluginError {
    match error {
        CustomPopVerificationError::GrantExpired => {
            refuse("proof_expired", "the grant has ended: sign in again")
        }
        CustomPopVerificationError::GrantNotYetValid
        | CustomPopVerificationError::ProofNotYetValid => refuse(
            "proof_not_yet_valid",
            "the proof comes from the future: check the clock",
        ),
        _ => refuse("proof_invalid", "the proof does not verify"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_a_grant_to_write_what_is_ours_lets_a_session_write() {
        let cap = |text: &str| text.parse::<Capability>().unwrap();
        for (caps, expected) in [
            (vec![], false),
            (vec!["/pub/atomicity/v0/:r"], false),
            (vec!["/:r"], false),
            (vec!["/pub/other.app/:rw"], false),
            (vec!["/pub/atomicity.app/:rw"], false),
            (vec!["/pub/other.app/:rw", "/pub/atomicity/v0/:r"], false),
            (vec!["/:rw"], true),
            (vec!["/pub/:rw"], true),
            (vec!["/pub/atomicity/:rw"], true),
            (vec!["/pub/atomicity/v0/:w"], true),
            (vec!["/priv/atomicity/:rw"], true),
            (
                vec!["/pub/atomicity/v0/:r", "/pub/atomicity/v0/channels/:rw"],
                true,
            ),
        ] {
            let found: Vec<Capability> = caps.iter().map(|text| cap(text)).collect();
            assert_eq!(writes(&found), expected, "{caps:?}");
        }
    }
}

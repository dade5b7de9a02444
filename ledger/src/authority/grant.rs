//! Pubky grants: what an authenticator signs after its consent screen.

use serde::{Deserialize, Serialize};

use crate::error::LedgerError;
use crate::jws::{self, RecordHash};
use crate::key::{SignerKey, UserKey};

/// The `typ` of a Pubky grant.
pub const GRANT_TYP: &str = "pubky-grant";

/// The claims of a Pubky grant, as `pubky-common` 0.17 writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantClaims {
    /// The root key that grants.
    pub iss: UserKey,
    /// The app it was granted to.
    pub client_id: String,
    /// Capabilities, each `<path>:<actions>`.
    pub caps: Vec<String>,
    /// The key that may use it.
    pub cnf: SignerKey,
    /// The grant's id.
    pub jti: String,
    /// Issued at, Unix seconds.
    pub iat: u64,
    /// Valid until, exclusive, Unix seconds.
    pub exp: u64,
}

/// A Pubky grant whose signature by its issuer was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub(super) claims: GrantClaims,
    pub(super) jws: String,
}

impl Grant {
    /// Reads a grant and checks its signature by `iss`.
    ///
    /// # Errors
    /// Names what is wrong with its form, its claims or its signature.
    pub fn decode(jws: &str) -> Result<Self, LedgerError> {
        let parse = |payload: &[u8]| {
            serde_json::from_slice::<GrantClaims>(payload).map_err(|error| {
                LedgerError::PayloadInvalid {
                    typ: GRANT_TYP.to_owned(),
                    detail: error.to_string(),
                }
            })
        };
        let payload = jws::verify_foreign(jws, GRANT_TYP, |payload| {
            Ok(parse(payload)?.iss.as_signer())
        })?;
        Ok(Self {
            claims: parse(&payload)?,
            jws: jws.to_owned(),
        })
    }

    /// What was granted.
    #[must_use]
    pub fn claims(&self) -> &GrantClaims {
        &self.claims
    }

    /// The compact form.
    #[must_use]
    pub fn jws(&self) -> &str {
        &self.jws
    }

    pub(super) fn hash(&self) -> RecordHash {
        RecordHash::of(&self.jws)
    }

    /// Whether a capability names exactly `path`, with leave to write.
    pub(super) fn names(&self, path: &str) -> bool {
        self.claims.caps.iter().any(|cap| {
            cap.rsplit_once(':')
                .is_some_and(|(scope, actions)| scope == path && actions.contains('w'))
        })
    }
}

impl Serialize for Grant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.jws)
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::decode(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The path whose literal mention in a grant is authority over the books.
#[must_use]
pub fn book_path(key: &SignerKey) -> String {
    format!("/pub/atomicity/v0/book/{key}")
}

/// The path of the profile, whose literal mention in a grant is authority to sign it.
pub const PROFILE_PATH: &str = "/pub/atomicity/v0/profile";

/// The path whose literal mention in a grant is authority to revoke `key`.
#[must_use]
pub fn revoke_path(key: &SignerKey) -> String {
    format!("/pub/atomicity/v0/revoke/{key}")
}

/// Where the delegation of `key`, or the revocation that replaces it, lies on its user's homeserver.
#[must_use]
pub fn delegation_path(key: &SignerKey) -> String {
    format!("/pub/atomicity/v0/delegations/{key}")
}

//! What is kept in memory of a user's agent: its keys, its authority, and whether it may sign.

use std::sync::Arc;

use atomicity_ledger::authority::{Authority, Credentials, Purpose};
use atomicity_ledger::seal::EncryptionSecret;
use atomicity_ledger::{Keypair, LedgerError, Timestamp, UserKey};
use pubky_common::capabilities::Action;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::settings::AgentSettings;
use crate::error::PluginError;

/// Where adverts lie.
const ADVERTS: &str = "/pub/atomicity/v0/routes/";

/// The agent of one user, ready to work. Replaced as a whole when anything changes.
pub struct Keeper {
    /// Whose agent.
    pub owner: UserKey,
    /// Its signing key.
    pub pen: Keypair,
    /// The user's file keys, the current one first.
    pub secrets: Vec<EncryptionSecret>,
    /// What answers to the agent are sealed to.
    pub reply: EncryptionSecret,
    /// The root's word.
    pub credentials: Credentials,
    /// Its compact form.
    pub authority: String,
    /// A grant to write channel files.
    pub storage: Option<String>,
    /// Whether that grant covers adverts too.
    pub may_advertise: bool,
    /// When it ends by itself.
    pub until: Timestamp,
    /// What the user allows in all.
    pub settings: AgentSettings,
    /// True as long as this keeper may sign. Held for reading by whoever is about to.
    gate: Arc<RwLock<bool>>,
}

/// Leave to sign, as long as it is held.
pub type Leave = OwnedRwLockReadGuard<bool>;

/// The parts of a [`Keeper`].
pub struct KeeperParts {
    /// Whose agent.
    pub owner: UserKey,
    /// Its signing key.
    pub pen: Keypair,
    /// The user's file keys.
    pub secrets: Vec<EncryptionSecret>,
    /// What answers to the agent are sealed to.
    pub reply: EncryptionSecret,
    /// The root's word.
    pub authority: String,
    /// A grant to write channel files.
    pub storage: Option<String>,
    /// When it ends.
    pub until: Timestamp,
    /// What the user allows.
    pub settings: AgentSettings,
}

impl Keeper {
    /// Puts the parts together; the root's word must be for this key.
    ///
    /// # Errors
    /// What is wrong with the authority.
    pub fn new(parts: KeeperParts, now: Timestamp) -> Result<Self, LedgerError> {
        let mut credentials = Credentials::new(parts.owner);
        credentials.learn(&parts.authority, now)?;
        Ok(Self {
            owner: parts.owner,
            pen: parts.pen,
            secrets: parts.secrets,
            reply: parts.reply,
            credentials,
            authority: parts.authority,
            may_advertise: parts.storage.as_deref().is_some_and(covers_adverts),
            storage: parts.storage,
            until: parts.until,
            settings: parts.settings,
            gate: Arc::new(RwLock::new(true)),
        })
    }

    /// By whose word the agent keeps the books towards `peer` at `now`.
    ///
    /// # Errors
    /// What is missing or has ended.
    pub fn authority_for(&self, peer: UserKey, now: Timestamp) -> Result<Authority, LedgerError> {
        let key = self.pen.signer_key();
        self.credentials.judge(key, Purpose::Book(peer), now)
    }

    /// Leave to sign now.
    ///
    /// # Errors
    /// `agent_stopped`.
    pub async fn leave(&self, now: Timestamp) -> Result<Leave, PluginError> {
        let leave = self.gate.clone().read_owned().await;
        if *leave && now < self.until {
            Ok(leave)
        } else {
            Err(stopped())
        }
    }

    /// Nothing is signed any more once this returns.
    pub async fn retire(&self) {
        *self.gate.write().await = false;
    }
}

/// Whether a grant for storage lets its holder write adverts.
fn covers_adverts(grant: &str) -> bool {
    let claims = pubky::GrantClaims::decode(grant);
    let named = |caps: &pubky::Capability| {
        caps.scope().as_str() == ADVERTS && caps.actions().contains(&Action::Write)
    };
    claims.is_ok_and(|claims| claims.caps.iter().any(named))
}

/// The agent does not sign any more.
#[must_use]
pub fn stopped() -> PluginError {
    PluginError::Refused {
        code: "agent_stopped",
        detail: "the agent does not keep books for you now".to_owned(),
    }
}

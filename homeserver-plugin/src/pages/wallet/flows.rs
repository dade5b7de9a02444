//! Log-ins that are under way: one for each browser, in memory, for a few minutes.
//!
//! Each has a key of its own. The user's authenticator signs, with the user's root, that this key speaks for them; with the key a proof
//! is made as any app would make one, and the proof opens a session. Then the key is forgotten. The grant allows nothing: it says who.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pubky::custom_pop::CUSTOM_POP_JWS_TYP;
use pubky::deep_links::{DeepLinkScheme, SigninGrantDeepLink, SigninGrantParams};
use pubky::{Capabilities, ClientId, GrantClaims, GrantId, Keypair, PopNonce};
use pubky_common::auth::jws::sign_jws;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;
use zeroize::Zeroizing;

use super::relay::Relay;
use crate::auth::proof::{PURPOSE, Proof};
use crate::auth::token::{self, TokenHash};
use crate::clock;
use crate::error::PluginError;
use crate::limits::AddressKey;

/// How long a user has to approve.
pub const LASTS: Duration = Duration::from_secs(5 * 60);
/// Most log-ins at once.
const MOST: usize = 1_000;
/// Most log-ins of one address; whoever begins another there loses the oldest. Otherwise a few could keep everybody else out.
const PER_ADDRESS: usize = 10;

/// How far a log-in is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The authenticator has not answered.
    Waiting,
    /// The relay does not answer; it is asked again and again.
    Silent,
    /// The user has approved.
    Approved,
    /// What came was no approval of this log-in.
    Failed,
}

impl Stage {
    /// For scripts.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Silent => "silent",
            Self::Approved => "approved",
            Self::Failed => "failed",
        }
    }
}

/// One log-in.
pub struct Flow {
    /// What the authenticator is to be shown.
    link: Url,
    until: i64,
    /// From where it was begun.
    address: AddressKey,
    /// Where the user wants to go then: a path of this server.
    next: Option<String>,
    key: Keypair,
    progress: Mutex<(Stage, Option<String>)>,
    _stop: DropGuard,
}

impl Flow {
    /// What the authenticator is to be shown: a `pubkyauth:` link.
    #[must_use]
    pub fn link(&self) -> &Url {
        &self.link
    }

    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.progress().0.clone()
    }

    /// When it ends, Unix milliseconds.
    #[must_use]
    pub fn until(&self) -> i64 {
        self.until
    }

    /// Where the user wants to go then: a path of this server.
    #[must_use]
    pub fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }

    fn progress(&self) -> MutexGuard<'_, (Stage, Option<String>)> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage) {
        let mut progress = self.progress();
        if progress.1.is_none() {
            progress.0 = stage;
        }
    }

    fn approved(&self, grant: String) {
        *self.progress() = (Stage::Approved, Some(grant));
    }

    /// The proof that opens a session at `audience`, once the user has approved.
    ///
    /// # Errors
    /// `proof_invalid` if what was approved is no grant.
    pub fn proof(&self, audience: &str) -> Result<Option<Proof>, PluginError> {
        let Some(grant) = self.progress().1.clone() else {
            return Ok(None);
        };
        let claims = GrantClaims::decode(&grant).map_err(|_| no_grant())?;
        Ok(Some(prove(grant, &claims, &self.key, audience)))
    }
}

fn no_grant() -> PluginError {
    PluginError::Unauthorized {
        code: "proof_invalid",
        detail: "what the authenticator sent is no approval of this log-in",
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    gid: &'a GrantId,
    iat: u64,
    nonce: PopNonce,
    data: Value,
}

/// A proof by `key`, which `grant` names, for the service `audience`.
#[must_use]
pub fn prove(grant: String, claims: &GrantClaims, key: &Keypair, audience: &str) -> Proof {
    let claims = Claims {
        gid: &claims.jti,
        iat: u64::try_from(clock::now_ms() / 1_000).unwrap_or(0),
        nonce: PopNonce::generate(),
        data: json!({"audience": audience, "purpose": PURPOSE}),
    };
    let pop = sign_jws(key, CUSTOM_POP_JWS_TYP, &claims);
    Proof { grant, pop }
}

/// All that are under way.
#[derive(Default)]
pub struct Flows(Mutex<HashMap<TokenHash, Arc<Flow>>>);

impl Flows {
    fn all(&self) -> MutexGuard<'_, HashMap<TokenHash, Arc<Flow>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one and waits for its approval in the background. Returns what the browser is to be known by. Who approves goes to `next`.
    ///
    /// # Errors
    /// `overloaded` if too many are under way, [`PluginError::Internal`] if `client` is no name for an app.
    pub fn begin(
        &self,
        relay: &Relay,
        client: &str,
        (address, next): (AddressKey, Option<String>),
        shutdown: &CancellationToken,
    ) -> Result<Zeroizing<String>, PluginError> {
        let internal = |error: String| PluginError::Internal(error);
        let client = ClientId::new(client).map_err(|error| internal(error.to_string()))?;
        let secret = Zeroizing::new(rand::random::<[u8; 32]>());
        let key = Keypair::random();
        // Nothing may be read or written with it: all that is wanted is to know who approves.
        let params = SigninGrantParams::new(
            Capabilities::default(),
            relay.base().clone(),
            *secret,
            client.clone(),
            key.public_key(),
        );
        let link = SigninGrantDeepLink::new(DeepLinkScheme::PubkyAuth, params).to_url();
        let lasts = i64::try_from(LASTS.as_millis()).unwrap_or(i64::MAX);
        let stop = shutdown.child_token();
        let flow = Arc::new(Flow {
            link,
            until: clock::now_ms().saturating_add(lasts),
            address,
            next,
            key,
            progress: Mutex::new((Stage::Waiting, None)),
            _stop: stop.clone().drop_guard(),
        });
        let (browser, name) = token::generate();
        self.add(name, &flow)?;
        // The task must not keep the log-in alive that it works for.
        let (weak, relay) = (Arc::downgrade(&flow), relay.clone());
        tokio::spawn(async move {
            let tell = |stage| {
                if let Some(flow) = weak.upgrade() {
                    flow.set(stage);
                }
            };
            let silent = |silent| {
                tell(if silent {
                    Stage::Silent
                } else {
                    Stage::Waiting
                })
            };
            let message = tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LASTS) => return,
                message = relay.receive(&secret, silent) => message,
            };
            let Some(flow) = weak.upgrade() else { return };
            match message
                .ok()
                .and_then(|bytes| grant(&bytes, &flow.key, &client))
            {
                Some(grant) => flow.approved(grant),
                None => flow.set(Stage::Failed),
            }
        });
        Ok(browser)
    }

    /// Makes room for one, and puts it there.
    fn add(&self, name: TokenHash, flow: &Arc<Flow>) -> Result<(), PluginError> {
        let mut all = self.all();
        let now = clock::now_ms();
        all.retain(|_, flow| flow.until > now);
        let begun = all.values().filter(|other| other.address == flow.address);
        if begun.count() >= PER_ADDRESS {
            let same = all
                .iter()
                .filter(|(_, other)| other.address == flow.address);
            let oldest = same.min_by_key(|(_, other)| other.until);
            if let Some(oldest) = oldest.map(|(name, _)| *name) {
                all.remove(&oldest);
            }
        }
        if all.len() >= MOST {
            return Err(PluginError::Overloaded);
        }
        all.insert(name, Arc::clone(flow));
        Ok(())
    }

    /// The log-in of a browser, if it is still under way.
    #[must_use]
    pub fn find(&self, browser: &str) -> Option<Arc<Flow>> {
        let name = TokenHash::of(browser)?;
        let flow = self.all().get(&name).cloned()?;
        (flow.until > clock::now_ms()).then_some(flow)
    }

    /// Ends the log-in of a browser.
    pub fn end(&self, browser: &str) {
        if let Some(name) = TokenHash::of(browser) {
            self.all().remove(&name);
        }
    }
}

/// The grant in a message, if it names this log-in's key and app. Who signed it is checked with the proof.
fn grant(message: &[u8], key: &Keypair, client: &ClientId) -> Option<String> {
    let text = std::str::from_utf8(message).ok()?;
    let claims = GrantClaims::decode(text).ok()?;
    let fits = claims.cnf == key.public_key() && claims.client_id == *client;
    fits.then(|| text.to_owned())
}

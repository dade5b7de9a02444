//! Grants: what a root key signs so that this device may act for it at a homeserver, and the proofs made with them.
//!
//! The SDK can do this too, but its sessions can't be opened while the homeserver is away, don't recover when another process has
//! exchanged the same grant, and always ask for everything. Ours are opened offline and ask for no more than a wallet needs.

use atomicity_ledger::{Keypair, SignerKey, UserKey};
use pubky::custom_pop::{CUSTOM_POP_JWS_TYP, CustomPop};
use pubky::{
    Capability, ClientId, GRANT_JWS_TYP, GrantClaims, GrantId, POP_JWS_TYP, PopNonce,
    PopProofClaims,
};
use pubky_common::auth::jws::sign_jws;
use serde::Serialize;
use zeroize::Zeroizing;

use super::error::NetError;
use super::{ServiceKey, now_ms, pubky_key, pubky_keypair};

/// Under this name the homeserver lists our grants.
const CLIENT_ID: &str = "atomicity.app";
/// The name that homeservers require for grants that create an account.
const SIGNUP_CLIENT_ID: &str = "pubky.signup";
/// Under this name homeservers list grants for keys of web apps.
const APP_CLIENT_ID: &str = "apps.atomicity.app";
/// What a web app reads: what is shown of the user's credit.
const APP_SCOPE: &str = "/pub/atomicity/v0/";
/// What a wallet reads and writes: its own folders and its Paykit endpoints. Not the account, not other apps' data.
const WALLET_SCOPES: [&str; 3] = ["/pub/atomicity/", "/priv/atomicity/", "/pub/paykit/"];
/// Where the sealed files about friends lie.
const CHANNELS: &str = "/pub/atomicity/v0/channels/";
/// Where it lies what can go over which channel.
const ROUTES: &str = "/pub/atomicity/v0/routes/";
/// The life of a wallet's grant: two years, as the ecosystem's own.
const WALLET_LIFE_S: u64 = 2 * 365 * 24 * 3600;
/// The life of a grant made for one errand.
const ERRAND_LIFE_S: u64 = 5 * 60;

/// What a grant is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Daily use.
    Wallet,
    /// Creating an account.
    SignUp,
    /// Seeing and revoking other grants.
    Administration,
}

/// A root-signed grant and the key it was given to.
#[derive(Clone)]
pub(crate) struct Grant {
    jws: String,
    claims: GrantClaims,
    client: pubky::Keypair,
    user: UserKey,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Grant({}, secret redacted)", self.claims.jti.as_str())
    }
}

fn now_s() -> u64 {
    now_ms() / 1000
}

#[derive(Serialize)]
struct CustomClaims<'a> {
    gid: &'a GrantId,
    iat: u64,
    nonce: PopNonce,
    data: serde_json::Value,
}

impl Grant {
    /// Signs a new grant with the root key, for a fresh client key.
    pub(crate) fn sign(root: &Keypair, purpose: Purpose) -> Result<Self, NetError> {
        let invalid = |reason: String| NetError::Invalid(reason);
        let client = pubky::Keypair::random();
        let (client_id, caps, life) = match purpose {
            Purpose::Wallet => {
                let caps = WALLET_SCOPES
                    .iter()
                    .map(Capability::read_write)
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|error| invalid(error.to_string()))?;
                (CLIENT_ID, caps, WALLET_LIFE_S)
            }
            Purpose::SignUp => (SIGNUP_CLIENT_ID, vec![Capability::root()], ERRAND_LIFE_S),
            Purpose::Administration => (CLIENT_ID, vec![Capability::root()], ERRAND_LIFE_S),
        };
        let now = now_s();
        let claims = GrantClaims {
            iss: pubky_key(&root.user_key())?,
            client_id: ClientId::new(client_id).map_err(|error| invalid(error.to_string()))?,
            caps,
            cnf: client.public_key(),
            jti: GrantId::generate(),
            iat: now,
            exp: now.saturating_add(life),
        };
        let jws = claims.sign(&pubky_keypair(root), GRANT_JWS_TYP);
        Ok(Self {
            jws,
            claims,
            client,
            user: root.user_key(),
        })
    }

    /// Signs a grant that lets `holder` write this user's channel files and adverts until `until_ms`, and nothing else.
    pub(crate) fn for_files(
        root: &Keypair,
        holder: &SignerKey,
        until_ms: u64,
    ) -> Result<String, NetError> {
        let caps = [CHANNELS, ROUTES].map(Capability::read_write);
        Self::for_holder(
            root,
            holder,
            (CLIENT_ID, caps.into_iter().collect()),
            until_ms,
        )
    }

    /// Signs a grant that lets the web app that holds `holder` read what is shown of this user's credit until `until_ms`, and nothing else.
    pub(crate) fn for_reading(
        root: &Keypair,
        holder: &SignerKey,
        until_ms: u64,
    ) -> Result<String, NetError> {
        let caps = Capability::read(APP_SCOPE).map(|cap| vec![cap]);
        Self::for_holder(root, holder, (APP_CLIENT_ID, caps), until_ms)
    }

    /// A grant for a key that somebody else holds.
    fn for_holder<E: std::fmt::Display>(
        root: &Keypair,
        holder: &SignerKey,
        (client_id, caps): (&str, Result<Vec<Capability>, E>),
        until_ms: u64,
    ) -> Result<String, NetError> {
        let invalid = |reason: String| NetError::Invalid(reason);
        let cnf = pubky::PublicKey::try_from_z32(&holder.to_string())
            .map_err(|error| invalid(error.to_string()))?;
        let now = now_s();
        let claims = GrantClaims {
            iss: pubky_key(&root.user_key())?,
            client_id: ClientId::new(client_id).map_err(|error| invalid(error.to_string()))?,
            caps: caps.map_err(|error| invalid(error.to_string()))?,
            cnf,
            jti: GrantId::generate(),
            iat: now,
            exp: (until_ms / 1000).max(now.saturating_add(1)),
        };
        Ok(claims.sign(&pubky_keypair(root), GRANT_JWS_TYP))
    }

    /// Puts a stored grant together again.
    pub(crate) fn restore(jws: String, secret: &[u8; 32]) -> Result<Self, NetError> {
        let unreadable = NetError::SessionUnreadable;
        let claims =
            GrantClaims::decode(&jws).map_err(|_| unreadable("its grant can't be read"))?;
        let client = pubky::Keypair::from_secret(secret);
        if client.public_key() != claims.cnf {
            return Err(unreadable("its key is not the one in the grant"));
        }
        let user = claims
            .iss
            .z32()
            .parse()
            .map_err(|_| unreadable("its user is no key"))?;
        Ok(Self {
            jws,
            claims,
            client,
            user,
        })
    }

    pub(crate) fn user(&self) -> &UserKey {
        &self.user
    }

    pub(crate) fn id(&self) -> &str {
        self.claims.jti.as_str()
    }

    /// Unix seconds.
    pub(crate) fn expires_at_s(&self) -> u64 {
        self.claims.exp
    }

    pub(crate) fn jws(&self) -> &str {
        &self.jws
    }

    pub(crate) fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.client.secret())
    }

    /// The body with which a homeserver is asked for a session or an account.
    pub(crate) fn exchange(&self, homeserver: &ServiceKey) -> Result<serde_json::Value, NetError> {
        let claims = PopProofClaims {
            aud: pubky_key(homeserver)?,
            gid: self.claims.jti.clone(),
            nonce: PopNonce::generate(),
            iat: now_s(),
        };
        let pop = sign_jws(&self.client, POP_JWS_TYP, &claims);
        Ok(serde_json::json!({ "grant": self.jws, "pop": pop }))
    }

    /// A proof of who is asking, for services other than the homeserver. Needs no network.
    pub(crate) fn custom_pop(&self, data: serde_json::Value) -> CustomPop {
        let claims = CustomClaims {
            gid: &self.claims.jti,
            iat: now_s(),
            nonce: PopNonce::generate(),
            data,
        };
        CustomPop {
            grant: self.jws.clone(),
            pop: sign_jws(&self.client, CUSTOM_POP_JWS_TYP, &claims),
        }
    }
}

/// Whether a grant lets its holder write adverts.
pub(crate) fn may_advertise(jws: &str) -> bool {
    let claims = GrantClaims::decode(jws);
    let named = |caps: &Capability| caps.scope().as_str() == ROUTES;
    claims.is_ok_and(|claims| claims.caps.iter().any(named))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use pubky::custom_pop::{DEFAULT_CUSTOM_POP_CLOCK_SKEW, verify_custom_grant_pop};

    #[test]
    fn the_ecosystems_verifier_accepts_our_proofs() {
        let root = Keypair::from_secret(&[3; 32]);
        let grant = Grant::sign(&root, Purpose::Wallet).unwrap();
        let restored = Grant::restore(grant.jws().to_owned(), &grant.secret()).unwrap();
        let data = serde_json::json!({"audience": "x"});
        let verified = verify_custom_grant_pop(
            &restored.custom_pop(data.clone()),
            DEFAULT_CUSTOM_POP_CLOCK_SKEW,
        )
        .unwrap();
        assert_eq!(verified.identity().z32(), root.user_key().to_z32());
        assert_eq!(verified.data(), &data);
    }

    #[test]
    fn a_wallets_grant_is_not_the_whole_account() {
        let root = Keypair::from_secret(&[3; 32]);
        let grant = Grant::sign(&root, Purpose::Wallet).unwrap();
        assert!(grant.claims.caps.iter().all(|cap| !cap.is_root()));
        assert_eq!(grant.claims.caps.len(), WALLET_SCOPES.len());
    }

    #[test]
    fn a_web_apps_grant_reads_and_writes_nothing() {
        let root = Keypair::from_secret(&[3; 32]);
        let app = Keypair::from_secret(&[4; 32]).signer_key();
        let until = now_ms() + 60_000;
        let grant = Grant::for_reading(&root, &app, until).unwrap();
        let claims = GrantClaims::decode(&grant).unwrap();
        let caps: Vec<String> = claims.caps.iter().map(ToString::to_string).collect();
        assert_eq!(caps, ["/pub/atomicity/v0/:r"]);
        assert_eq!(claims.cnf.z32(), app.to_string());
        assert_eq!(claims.exp, until / 1000);
        assert!(!may_advertise(&grant));
    }

    #[test]
    fn a_grant_with_somebody_elses_key_is_refused() {
        let root = Keypair::from_secret(&[3; 32]);
        let grant = Grant::sign(&root, Purpose::Wallet).unwrap();
        let error = Grant::restore(grant.jws().to_owned(), &[9; 32]).unwrap_err();
        assert_eq!(error.code(), "session_unreadable");
        assert!(!format!("{grant:?}").contains(grant.jws()));
    }
}

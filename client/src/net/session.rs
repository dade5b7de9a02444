//! A user's session at the own homeserver: made once with the root key, kept in the wallet, used daily without it.

use std::sync::Arc;
use std::time::Duration;

use atomicity_ledger::{Keypair, UserKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pubky::custom_pop::CustomPop;
use rand::RngExt as _;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::error::NetError;
use super::grant::{Grant, Purpose};
use super::{Answer, Call, Net, ServiceKey, now_ms};

pub use super::storage::{ListPage, StorageLock};

/// Bearers are replaced when they have less than this to live, in milliseconds.
const RENEW_BEFORE_MS: u64 = 60_000;
/// How often a call is sent whose bearer is turned down although the grant is taken.
const ROUNDS: u64 = 6;
/// The pause before another bearer is taken grows by so much with each round, at most, in milliseconds.
const PAUSE_MS: u64 = 100;
const MAX_SESSION_BYTES: usize = 64 * 1024;
const MAX_GRANTS_BYTES: usize = 4 * 1024 * 1024;

/// What became of [`sign_up`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignUp {
    /// The account was created.
    New,
    /// There was one already.
    Existing,
}

/// A grant that [`revoke_other_grants`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedGrant {
    /// Its identifier.
    pub id: String,
    /// The application it was given to.
    pub client: String,
}

#[derive(Clone)]
struct Bearer {
    token: Zeroizing<String>,
    /// Unix milliseconds.
    expires_at: u64,
}

struct Inner {
    net: Net,
    homeserver: ServiceKey,
    grant: Grant,
    bearer: Mutex<Option<Bearer>>,
}

/// A session at the own homeserver. Cheap to clone. Gets itself a new bearer when the old one is near its end or another process
/// has replaced it.
#[derive(Clone)]
pub struct HomeSession {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for HomeSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HomeSession")
            .field("user", self.user())
            .field("homeserver", self.homeserver())
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    v: u8,
    homeserver: ServiceKey,
    grant: String,
    secret: Zeroizing<String>,
    #[serde(default)]
    bearer: Option<Zeroizing<String>>,
    #[serde(default)]
    bearer_expires_at: u64,
}

/// Creates an account for `root` at `homeserver` (or finds that there is one) and publishes `_pubky`, so that others find the user
/// there. `token` is the invitation that some homeservers ask for.
///
/// # Errors
/// What the homeserver answers if it does not want this user; network errors; [`NetError::Dht`] if the account exists but could not be
/// published (calling again repairs that).
pub async fn sign_up(
    net: &Net,
    root: &Keypair,
    homeserver: &ServiceKey,
    token: Option<&str>,
) -> Result<SignUp, NetError> {
    net.trust(homeserver);
    let grant = Grant::sign(root, Purpose::SignUp)?;
    let mut path = "/auth/grant/signup".to_owned();
    if let Some(token) = token {
        let query = super::query([("signup_token", token)]);
        path = format!("{path}?{query}");
    }
    let call = Call::new(Method::POST, path, net.config())
        .at_most(MAX_SESSION_BYTES)
        .header("pubky-host", &root.user_key().to_z32())?
        .json(&grant.exchange(homeserver)?)?;
    let answer = net.call(homeserver, &call).await?;
    let outcome = match answer.status {
        status if status.is_success() => SignUp::New,
        StatusCode::CONFLICT => SignUp::Existing,
        _ => return Err(answer.failure(&homeserver.to_z32())),
    };
    net.publish_home(root, homeserver).await?;
    Ok(outcome)
}

/// Recovery: ends every grant at the homeserver of `keep` except its own, so that whoever holds a stolen device can write nothing
/// there any more.
///
/// # Errors
/// Network errors; what the homeserver answers. Grants that were ended before an error stay ended.
pub async fn revoke_other_grants(
    net: &Net,
    root: &Keypair,
    keep: &HomeSession,
) -> Result<Vec<RevokedGrant>, NetError> {
    #[derive(Deserialize)]
    struct Listed {
        grant_id: String,
        client_id: String,
    }
    let admin = HomeSession::new(
        net,
        keep.homeserver(),
        Grant::sign(root, Purpose::Administration)?,
        None,
    );
    let user = admin.user().to_z32();
    let listing = Call::new(Method::GET, "/auth/grant/sessions", net.config())
        .at_most(MAX_GRANTS_BYTES)
        .header("pubky-host", &user)?;
    let listed: Vec<Listed> = admin
        .send_ok(listing)
        .await?
        .json(&keep.homeserver().to_z32())?;
    let mut revoked = Vec::new();
    for grant in listed {
        if grant.grant_id == keep.grant_id() || grant.grant_id == admin.grant_id() {
            continue;
        }
        let id = super::storage::encode_segment(&grant.grant_id);
        let call = Call::new(
            Method::DELETE,
            format!("/auth/grant/session/{id}"),
            net.config(),
        )
        .header("pubky-host", &user)?;
        admin.send_ok(call).await?;
        revoked.push(RevokedGrant {
            id: super::shorten(&grant.grant_id, 64),
            client: super::shorten(&grant.client_id, 64),
        });
    }
    admin.sign_out().await?;
    Ok(revoked)
}

impl HomeSession {
    fn new(net: &Net, homeserver: &ServiceKey, grant: Grant, bearer: Option<Bearer>) -> Self {
        net.trust(homeserver);
        Self {
            inner: Arc::new(Inner {
                net: net.clone(),
                homeserver: *homeserver,
                grant,
                bearer: Mutex::new(bearer),
            }),
        }
    }

    /// One that no homeserver has seen.
    #[cfg(test)]
    pub(crate) fn unseen(
        net: &Net,
        root: &Keypair,
        homeserver: &ServiceKey,
    ) -> Result<Self, NetError> {
        let grant = Grant::sign(root, Purpose::Wallet)?;
        Ok(Self::new(net, homeserver, grant, None))
    }

    /// Signs in: the root key signs a grant for a fresh key of this device, which the homeserver exchanges for a session.
    ///
    /// # Errors
    /// Network errors; what the homeserver answers (404: no such user there).
    pub async fn sign_in(
        net: &Net,
        root: &Keypair,
        homeserver: &ServiceKey,
    ) -> Result<Self, NetError> {
        let session = Self::new(net, homeserver, Grant::sign(root, Purpose::Wallet)?, None);
        match session.renew(None).await {
            Ok(_) => Ok(session),
            // A grant that was signed this very moment has not ended.
            Err(NetError::SessionEnded(server)) => Err(NetError::Forbidden {
                server,
                detail: "it does not accept the sign-in; is this device's clock right?".to_owned(),
            }),
            Err(error) => Err(error),
        }
    }

    /// Opens a stored session without talking to anybody.
    ///
    /// # Errors
    /// [`NetError::SessionUnreadable`] if the bytes are not what [`HomeSession::export`] gave.
    pub fn restore(net: &Net, stored: &[u8]) -> Result<Self, NetError> {
        let unreadable = NetError::SessionUnreadable;
        let stored: Stored = serde_json::from_slice(stored)
            .map_err(|_| unreadable("it is not in the expected form"))?;
        if stored.v != 1 {
            return Err(unreadable("it was written by another version"));
        }
        let bytes = Zeroizing::new(
            URL_SAFE_NO_PAD
                .decode(stored.secret.as_bytes())
                .map_err(|_| unreadable("its secret can't be decoded"))?,
        );
        let secret: Zeroizing<[u8; 32]> = Zeroizing::new(
            bytes
                .as_slice()
                .try_into()
                .map_err(|_| unreadable("its secret has the wrong length"))?,
        );
        let grant = Grant::restore(stored.grant, &secret)?;
        let bearer = stored.bearer.map(|token| Bearer {
            token,
            expires_at: stored.bearer_expires_at,
        });
        Ok(Self::new(net, &stored.homeserver, grant, bearer))
    }

    /// The session as bytes for the wallet's store. **Secret**: whoever has them can write the wallet's files on the homeserver
    /// (but not sign for the user).
    pub async fn export(&self) -> Zeroizing<Vec<u8>> {
        let bearer = self.inner.bearer.lock().await.clone();
        let stored = Stored {
            v: 1,
            homeserver: self.inner.homeserver,
            grant: self.inner.grant.jws().to_owned(),
            secret: Zeroizing::new(URL_SAFE_NO_PAD.encode(*self.inner.grant.secret())),
            bearer_expires_at: bearer.as_ref().map_or(0, |b| b.expires_at),
            bearer: bearer.map(|b| b.token),
        };
        Zeroizing::new(serde_json::to_vec(&stored).unwrap_or_default())
    }

    /// Whether `stored` is this session, whatever bearer was kept with it.
    pub(crate) fn is_stored_as(&self, stored: &[u8]) -> bool {
        serde_json::from_slice::<Stored>(stored).is_ok_and(|stored| {
            stored.homeserver == self.inner.homeserver && stored.grant == self.inner.grant.jws()
        })
    }

    /// Whose session it is.
    #[must_use]
    pub fn user(&self) -> &UserKey {
        self.inner.grant.user()
    }

    /// Where it is.
    #[must_use]
    pub fn homeserver(&self) -> &ServiceKey {
        &self.inner.homeserver
    }

    /// The grant's identifier, as homeservers list it.
    #[must_use]
    pub fn grant_id(&self) -> &str {
        self.inner.grant.id()
    }

    /// When the grant ends and the root key is needed again, Unix milliseconds.
    #[must_use]
    pub fn grant_expires_at(&self) -> u64 {
        self.inner.grant.expires_at_s().saturating_mul(1000)
    }

    pub(crate) fn net(&self) -> &Net {
        &self.inner.net
    }

    /// Asks the homeserver whether the session is alive.
    ///
    /// # Errors
    /// [`NetError::SessionEnded`] if not; network errors.
    pub async fn check(&self) -> Result<(), NetError> {
        let call = Call::new(Method::GET, "/auth/grant/session", self.net().config())
            .at_most(MAX_SESSION_BYTES)
            .header("pubky-host", &self.user().to_z32())?;
        self.send_ok(call).await.map(|_| ())
    }

    /// A proof, for a service other than the homeserver, that `data` was said by this user's device. Needs no network.
    #[must_use]
    pub fn custom_pop(&self, data: serde_json::Value) -> CustomPop {
        self.inner.grant.custom_pop(data)
    }

    /// Ends the grant at the homeserver.
    ///
    /// # Errors
    /// Network errors; what the homeserver answers.
    pub async fn sign_out(self) -> Result<(), NetError> {
        let call = Call::new(Method::DELETE, "/auth/grant/session", self.net().config())
            .at_most(MAX_SESSION_BYTES)
            .header("pubky-host", &self.user().to_z32())?;
        self.send_ok(call).await.map(|_| ())
    }

    /// Exchanges the grant for a bearer, unless somebody did while we waited: `used` is the token that was turned down.
    async fn renew(&self, used: Option<&str>) -> Result<Zeroizing<String>, NetError> {
        #[derive(Deserialize)]
        struct Session {
            token: Zeroizing<String>,
            session: Times,
        }
        #[derive(Deserialize)]
        struct Times {
            token_expires_at: u64,
        }
        let mut bearer = self.inner.bearer.lock().await;
        if let Some(current) = bearer.as_ref()
            && used != Some(current.token.as_str())
            && current.expires_at > now_ms().saturating_add(RENEW_BEFORE_MS)
        {
            return Ok(current.token.clone());
        }
        let homeserver = self.homeserver();
        let call = Call::new(Method::POST, "/auth/grant/session", self.net().config())
            .at_most(MAX_SESSION_BYTES)
            .header("pubky-host", &self.user().to_z32())?
            .json(&self.inner.grant.exchange(homeserver)?)?;
        let answer = self.net().call(homeserver, &call).await?;
        let label = homeserver.to_z32();
        if answer.status == StatusCode::UNAUTHORIZED {
            return Err(NetError::SessionEnded(label));
        }
        if !answer.status.is_success() {
            return Err(answer.failure(&label));
        }
        let session: Session = answer.json(&label)?;
        *bearer = Some(Bearer {
            token: session.token.clone(),
            expires_at: session.session.token_expires_at.saturating_mul(1000),
        });
        Ok(session.token)
    }

    /// Sends a call with our bearer, with a new one if it is turned down. What was turned down was not done, so it is sent once more as
    /// it was. A homeserver keeps one bearer for each grant: other processes on this wallet replace ours, and may do so again meanwhile.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, NetError> {
        let homeserver = self.homeserver();
        let mut token = self.renew(None).await?;
        for round in 1..=ROUNDS {
            let call = call.clone().bearer(&token)?;
            let answer = self.net().call(homeserver, &call).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            // The first time is no sign that somebody else is at it now.
            if round > 1 {
                let pause = rand::rng().random_range(0..PAUSE_MS.saturating_mul(round));
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            token = self.renew(Some(&token)).await?;
        }
        Err(NetError::SessionContested(homeserver.to_z32()))
    }

    /// As [`Self::send`], with every status outside of 2xx an error.
    pub(crate) async fn send_ok(&self, call: Call) -> Result<Answer, NetError> {
        let answer = self.send(call).await?;
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(answer.failure(&self.homeserver().to_z32()))
        }
    }
}

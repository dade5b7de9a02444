//! The service record that tells others how to reach this user and what to seal to.

use atomicity_ledger::authority::PROFILE_PATH;
use atomicity_ledger::record::Profile;
use atomicity_ledger::{Name, Signed, UserKey};
use sqlx::SqliteConnection;

use super::access::{self, Keys};
use super::create::{check_root, next_serial};
use super::root::ProfilePlan;
use super::{Fault, RootKey, Wallet, now, receive};
use crate::error::ClientError;
use crate::net::{NetError, Target};
use crate::store::{parse_own, publications, settings, units};

/// A profile has at most so many bytes.
pub(crate) const MAX_BYTES: usize = atomicity_ledger::MAX_RECORD_BYTES;

/// A profile that was fetched and verified.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PublishedProfile {
    /// The record and its signature.
    pub profile: Signed<Profile>,
    /// Whether it is the one that this wallet signed last; `None` if it is somebody else's.
    pub matches_wallet: Option<bool>,
}

/// Signs the profile anew, from what the store says, and plans its publication.
pub(crate) async fn renew(
    conn: &mut SqliteConnection,
    root: &RootKey,
    me: UserKey,
) -> Result<(), ClientError> {
    let keys = Keys::load(conn, me).await?;
    let plugins = access::plugins(conn).await?;
    let open = units::list(conn).await?;
    let name = settings::get(conn, settings::NAME).await?;
    let name: Option<Name> = name
        .map(|name| parse_own(&name, "the user's name"))
        .transpose()?;
    let serial = next_serial(conn).await?;
    let now = now();
    let profile = root.profile(ProfilePlan {
        serial,
        name,
        encryption: &keys.encryption,
        plugins: &plugins,
        units: &open,
        page: settings::get(conn, settings::PAGE).await?.is_some(),
        now,
    })?;
    settings::set(conn, settings::PROFILE, profile.jws()).await?;
    let body = profile.jws().as_bytes();
    publications::put(conn, PROFILE_PATH, Some(body), now.millis()).await
}

impl Wallet {
    /// Fetches a published profile (the user's own if `user` is `None`) and verifies it.
    ///
    /// # Errors
    /// [`ClientError::Net`] if it can't be fetched, [`ClientError::Ledger`] if it does not verify.
    pub async fn published_profile(
        &self,
        user: Option<&UserKey>,
    ) -> Result<PublishedProfile, ClientError> {
        let whose = *user.unwrap_or(&self.inner.me);
        let jws = self
            .fetch_profile(&whose)
            .await?
            .ok_or_else(|| NetError::NotFound(format!("pubky://{whose}{PROFILE_PATH}")))?;
        let profile = receive::judge_profile(&jws, whose, None, now())?;
        let matches_wallet = if whose == self.user() {
            let own = settings::get(&mut *self.store().read().await?, settings::PROFILE).await?;
            Some(own.as_deref() == Some(jws.as_str()))
        } else {
            None
        };
        Ok(PublishedProfile {
            profile,
            matches_wallet,
        })
    }

    /// Says in the profile, by the root's word, whether a page about the user may be shown to everybody. `Some` if it could not be
    /// published yet.
    ///
    /// # Errors
    /// [`ClientError::OtherRoot`], [`ClientError::BookKeyInUse`], or what the store says.
    pub async fn show_page(
        &self,
        root: &RootKey,
        shown: bool,
    ) -> Result<Option<Fault>, ClientError> {
        check_root(root, self.user())?;
        self.ensure_may_sign().await?;
        let mut change = self.change().await?;
        if shown {
            settings::set(change.conn(), settings::PAGE, "1").await?;
        } else {
            settings::remove(change.conn(), settings::PAGE).await?;
        }
        renew(change.conn(), root, self.user()).await?;
        change.signed();
        change.commit().await?;
        Ok(self.flush().await?.fault)
    }

    /// Fetches somebody's profile; `None` if they published none.
    pub(crate) async fn fetch_profile(
        &self,
        user: &UserKey,
    ) -> Result<Option<String>, ClientError> {
        let target = Target::new(*user, PROFILE_PATH).at_most(MAX_BYTES);
        match self.net().fetch(&target).await {
            Ok(fetched) => Ok(fetched.body.bytes().map(text).transpose()?),
            Err(NetError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A fetched record as text.
pub(crate) fn text(bytes: Vec<u8>) -> Result<String, ClientError> {
    String::from_utf8(bytes).map_err(|_| ClientError::Malformed {
        what: "a fetched record".to_owned(),
        why: "it is no text".to_owned(),
    })
}

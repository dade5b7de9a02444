//! What operations need before they begin: secret keys, the session at the homeserver, friends by name, money by code.

use atomicity_ledger::money::{self, Money};
use atomicity_ledger::seal::{EncryptionSecret, KeyId, PrivateKey};
use atomicity_ledger::{Keypair, Unit, UserKey};
use sqlx::SqliteConnection;

use super::Wallet;
use crate::error::ClientError;
use crate::net::ServiceKey;
use crate::net::plugin::{PluginAddress, PluginClient};
use crate::net::session::HomeSession;
use crate::store::contacts::{self, Contact, ContactStatus};
use crate::store::{parse_own, settings, units};

/// How many encryption keys are still read: the current one and the one before.
const READ_KEYS: u32 = 2;

/// The secrets of this store.
pub(crate) struct Keys {
    /// The book key.
    pub(crate) pen: Keypair,
    /// Encryption file keys, newest first, never empty.
    pub(crate) encryption: Vec<EncryptionSecret>,
    /// Opens and seals the user's private files.
    pub(crate) private: PrivateKey,
}

impl Keys {
    /// Reads the secrets of the store.
    pub(crate) async fn load(
        conn: &mut SqliteConnection,
        me: UserKey,
    ) -> Result<Self, ClientError> {
        let pen = Keypair::from_secret(&*settings::secret32(conn, settings::BOOK_KEY).await?);
        let newest = settings::number(conn, settings::KEY_NUMBER, 1).await?;
        let newest = u32::try_from(newest).map_err(|_| ClientError::StoreCorrupt {
            what: settings::KEY_NUMBER,
            why: "it is too large".to_owned(),
        })?;
        let mut encryption = Vec::new();
        for n in (1..=newest).rev().take(READ_KEYS as usize) {
            let name = settings::encryption_key(n);
            if n == newest || settings::secret(conn, &name).await?.is_some() {
                let secret = settings::secret32(conn, &name).await?;
                encryption.push(EncryptionSecret::new(KeyId::new(n), *secret));
            }
        }
        let private = settings::secret32(conn, settings::PRIVATE_KEY).await?;
        Ok(Self {
            pen,
            encryption,
            private: PrivateKey::from_stored(me, *private),
        })
    }

    /// The encryption key in force.
    pub(crate) fn current(&self) -> Result<&EncryptionSecret, ClientError> {
        self.encryption.first().ok_or(ClientError::StoreCorrupt {
            what: "the encryption keys",
            why: "there is none".to_owned(),
        })
    }
}

/// Reads the plugins where this user takes records.
pub(crate) async fn plugins(
    conn: &mut SqliteConnection,
) -> Result<Vec<PluginAddress>, ClientError> {
    let Some(text) = settings::get(conn, settings::PLUGINS).await? else {
        return Ok(Vec::new());
    };
    text.split_whitespace()
        .map(|address| parse_own(address, "the address of a plugin"))
        .collect()
}

/// Keeps the plugins where this user takes records.
pub(crate) async fn set_plugins(
    conn: &mut SqliteConnection,
    plugins: &[PluginAddress],
) -> Result<(), ClientError> {
    let text: Vec<String> = plugins.iter().map(ToString::to_string).collect();
    settings::set(conn, settings::PLUGINS, &text.join(" ")).await
}

impl Wallet {
    /// The secrets of this store.
    pub(crate) async fn keys(&self) -> Result<Keys, ClientError> {
        Keys::load(&mut *self.store().read().await?, self.user()).await
    }

    /// The session at the user's homeserver. Needs no network. If another process has signed in anew, or has moved, it is that one from
    /// then on.
    ///
    /// # Errors
    /// [`ClientError::NoHomeserver`] before `signup`.
    pub(crate) async fn session(&self) -> Result<HomeSession, ClientError> {
        let stored = settings::secret(&mut *self.store().read().await?, settings::SESSION)
            .await?
            .ok_or(ClientError::NoHomeserver)?;
        let mut slot = self.inner.session.lock().await;
        if let Some(session) = slot.as_ref().filter(|open| open.is_stored_as(&stored)) {
            return Ok(session.clone());
        }
        let session = HomeSession::restore(self.net(), &stored)?;
        *slot = Some(session.clone());
        Ok(session)
    }

    /// Uses a session that was just made.
    pub(crate) async fn set_session(&self, session: HomeSession) -> Result<(), ClientError> {
        let exported = session.export().await;
        let mut tx = self.store().write().await?;
        settings::set_secret(tx.conn(), settings::SESSION, &exported).await?;
        let homeserver = session.homeserver().to_z32();
        settings::set(tx.conn(), settings::HOMESERVER, &homeserver).await?;
        tx.commit().await?;
        *self.inner.session.lock().await = Some(session);
        Ok(())
    }

    /// Keeps the session's newest form, which saves the next process one request; unless another process has put another session in its place.
    pub(crate) async fn keep_session(&self) -> Result<(), ClientError> {
        let Some(session) = self.inner.session.lock().await.clone() else {
            return Ok(());
        };
        let exported = session.export().await;
        let mut conn = self.store().read().await?;
        let stored = settings::secret(&mut conn, settings::SESSION).await?;
        drop(conn);
        if stored.as_deref() == Some(&*exported) {
            return Ok(());
        }
        let mut tx = self.store().write().await?;
        let stored = settings::secret(tx.conn(), settings::SESSION).await?;
        let ours = stored.is_some_and(|stored| session.is_stored_as(&stored));
        if !ours {
            return Ok(());
        }
        settings::set_secret(tx.conn(), settings::SESSION, &exported).await?;
        tx.commit().await
    }

    /// The user's own homeserver, if one was chosen.
    pub(crate) async fn homeserver(&self) -> Result<Option<ServiceKey>, ClientError> {
        settings::get(&mut *self.store().read().await?, settings::HOMESERVER)
            .await?
            .map(|text| parse_own(&text, "the homeserver's key"))
            .transpose()
    }

    /// Clients for the plugins where this user takes records.
    pub(crate) async fn own_plugins(&self) -> Result<Vec<PluginClient>, ClientError> {
        let plugins = plugins(&mut *self.store().read().await?).await?;
        if plugins.is_empty() {
            return Ok(Vec::new());
        }
        let session = self.session().await?;
        Ok(plugins
            .into_iter()
            .map(|address| PluginClient::with_session(self.net(), address, &session))
            .collect())
    }

    /// The friend whom a name or a key means.
    ///
    /// # Errors
    /// [`ClientError::UnknownFriend`] if nobody among the friends.
    pub async fn friend(&self, name_or_key: &str) -> Result<Contact, ClientError> {
        let wanted = name_or_key.trim();
        let mut conn = self.store().read().await?;
        let found = match parse_user(wanted) {
            Ok(user) => contacts::get(&mut conn, &user).await?,
            Err(_) => contacts::by_name(&mut conn, wanted).await?,
        };
        found
            .filter(|contact| contact.status == ContactStatus::Friend)
            .ok_or_else(|| ClientError::UnknownFriend(wanted.to_owned()))
    }

    /// Reads money as people write it: `5.00 USD/2`, or `5 USD` if exactly one open unit has that code.
    ///
    /// # Errors
    /// [`ClientError::Ledger`] naming what is wrong with the number or the unit.
    pub async fn parse_money(&self, text: &str) -> Result<Money, ClientError> {
        Ok(Money::parse(text, &self.known_units().await?)?)
    }

    /// Reads money that may be zero, as limits may.
    ///
    /// # Errors
    /// [`ClientError::Ledger`] naming what is wrong with the number or the unit.
    pub async fn parse_limit(&self, text: &str) -> Result<(u64, Unit), ClientError> {
        let (number, unit) = text.trim().split_once(char::is_whitespace).ok_or_else(|| {
            ClientError::Usage(format!(
                "{text:?}: write a number and a unit, such as 5 USD/2"
            ))
        })?;
        let unit = self.parse_unit(unit.trim()).await?;
        Ok((unit.parse_minor(number)?, unit))
    }

    /// Reads a unit, in full or by its code alone if that is clear.
    ///
    /// # Errors
    /// [`ClientError::Ledger`] naming what is wrong with it.
    pub async fn parse_unit(&self, text: &str) -> Result<Unit, ClientError> {
        Ok(money::resolve_unit(text, &self.known_units().await?)?)
    }

    async fn known_units(&self) -> Result<Vec<Unit>, ClientError> {
        let open = units::list(&mut *self.store().read().await?).await?;
        Ok(open.into_iter().map(|open| open.unit).collect())
    }
}

/// Reads a user's key as people write it: z-base-32, perhaps after `pubky` or `pk:`.
///
/// # Errors
/// [`ClientError::Ledger`] if it is no usable key.
pub fn parse_user(text: &str) -> Result<UserKey, ClientError> {
    let text = text.trim();
    let bare = text
        .strip_prefix("pubky://")
        .or_else(|| text.strip_prefix("pk:"))
        .or_else(|| text.strip_prefix("pubky").filter(|rest| rest.len() == 52))
        .unwrap_or(text);
    Ok(bare.parse()?)
}

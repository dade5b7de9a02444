//! Making a wallet: the root key's file, this device's book key, and the root's word for it.

use std::path::PathBuf;

use atomicity_ledger::seal::PrivateKey;
use atomicity_ledger::{Keypair, Name, Serial, SignerKey, UserKey};
use sqlx::SqliteConnection;
use zeroize::Zeroizing;

use super::{RootKey, Wallet, entropy, now};
use crate::config::Config;
use crate::error::ClientError;
use crate::store::{Store, settings, units};

/// Name of the file of the root key in the wallet's folder.
pub const ROOT_FILE: &str = "root.pkarr";

/// A wallet that was just made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Created {
    /// The wallet.
    pub wallet: Wallet,
    /// The book key of this device.
    pub book_key: SignerKey,
    /// The encrypted file of the root key. Without it and without the passphrase nothing can be recovered.
    pub root_file: PathBuf,
}

impl Wallet {
    /// Makes a wallet for `root` in the configured folder. Talks to nobody.
    ///
    /// # Errors
    /// [`ClientError::WalletExists`] if there is one; [`ClientError::KeyFile`], [`ClientError::Store`] or
    /// [`ClientError::StoreFull`] if something can't be written.
    pub async fn create(
        config: &Config,
        root: &RootKey,
        passphrase: &str,
        name: Option<Name>,
    ) -> Result<Created, ClientError> {
        let store = Store::create(&config.home).await?;
        let root_file = config.home.join(ROOT_FILE);
        let made = fill(&store, config, root, passphrase, name).await;
        match made {
            Ok(book_key) => Ok(Created {
                wallet: Self::over(store, config).await?,
                book_key,
                root_file,
            }),
            Err(error) => {
                // A wallet without its keys is none: the next attempt must find an empty place.
                store.discard().await;
                Err(error)
            }
        }
    }
}

async fn fill(
    store: &Store,
    config: &Config,
    root: &RootKey,
    passphrase: &str,
    name: Option<Name>,
) -> Result<SignerKey, ClientError> {
    let mut tx = store.write().await?;
    let user = root.user();
    settings::set(tx.conn(), settings::USER, &user.to_z32()).await?;
    if let Some(name) = &name {
        settings::set(tx.conn(), settings::NAME, name.as_str()).await?;
    }
    let book_key = new_device(tx.conn(), root, 1).await?;
    root.save(&config.home.join(ROOT_FILE), passphrase).await?;
    tx.commit().await?;
    Ok(book_key)
}

/// Gives the store a fresh book key with the root's delegation, and the file keys up to `key_number`.
pub(crate) async fn new_device(
    conn: &mut SqliteConnection,
    root: &RootKey,
    key_number: u32,
) -> Result<SignerKey, ClientError> {
    let pen = Keypair::from_secret(&Zeroizing::new(entropy()));
    settings::set_secret(conn, settings::BOOK_KEY, &*pen.secret()).await?;
    let private = PrivateKey::of_root(root.keypair())?;
    settings::set_secret(conn, settings::PRIVATE_KEY, &*private.to_bytes()).await?;
    for n in key_number.saturating_sub(1).max(1)..=key_number {
        let secret = root.encryption_key(n)?;
        settings::set_secret(conn, &settings::encryption_key(n), &*secret.to_bytes()).await?;
    }
    settings::set(conn, settings::KEY_NUMBER, &key_number.to_string()).await?;
    let open = units::list(conn).await?;
    let serial = next_serial(conn).await?;
    let delegation = root.delegate(pen.signer_key(), &open, serial, now())?;
    settings::set(conn, settings::DELEGATION, delegation.jws()).await?;
    Ok(pen.signer_key())
}

/// The serial for the next record that the root signs: later than any before, also of another wallet of the same root.
pub(crate) async fn next_serial(conn: &mut SqliteConnection) -> Result<Serial, ClientError> {
    let before = settings::number(conn, settings::ROOT_SERIAL, 0).await?;
    let serial = before.saturating_add(1).max(now().millis());
    settings::set(conn, settings::ROOT_SERIAL, &serial.to_string()).await?;
    Ok(Serial::new(serial)?)
}

/// Makes sure that `root` is the key of `user`.
pub(crate) fn check_root(root: &RootKey, user: UserKey) -> Result<(), ClientError> {
    if root.user() == user {
        Ok(())
    } else {
        Err(ClientError::OtherRoot {
            expected: user,
            found: root.user(),
        })
    }
}

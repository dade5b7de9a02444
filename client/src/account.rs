//! Spending from somebody's payment account: what an app does that holds only a key. It needs no wallet and no session.
//!
//! ```no_run
//! use atomicity_client::account::{Account, AccountKey, Order};
//! use atomicity_client::config::{Config, Overrides};
//! use atomicity_client::net::Net;
//!
//! # async fn example() -> Result<(), atomicity_client::ClientError> {
//! let key = AccountKey::read("shop.account".as_ref())?;
//! let account = Account::new(&Net::new(&Config::load(&Overrides::default())?.network)?, key);
//! let baker = "8pinxxgqs41n4aididenw5apqp1urfmzdztr8jt4abrkdn435ewo".parse()?;
//! let order = Order::to_user("BREAD/2".parse()?, "200".parse()?, baker);
//! let spend = account.sign(&order)?;
//! // Keep `spend` before it is sent: the same again is answered as before, and paid once.
//! let status = account.spend(&spend).await?;
//! println!("{}: {}", status.id, status.state);
//! # Ok(())
//! # }
//! ```

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use atomicity_ledger::account::MAX_PASS_LIFE_MS;
use atomicity_ledger::record::{Invoice, LIGHTNING_INVOICE, Pass, Pays, Spend, SpendTo, Target};
use atomicity_ledger::{
    Amount, Keypair, Memo, RecordId, Signed, SignerKey, Timestamp, Unit, UserKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::ClientError;
use crate::keys;
use crate::net::plugin::{PluginAddress, PluginClient};
use crate::net::{Net, NetError, now_ms};
use crate::wallet::{bitcoins, read_invoice};

pub use crate::net::plugin::{AccountStanding, SpendReceipt, SpendStatus};

/// How long a spend may wait if nothing else is said.
pub const SPEND_PATIENCE: Duration = Duration::from_secs(600);
/// A file with an account has at most so many bytes.
const MAX_FILE_BYTES: u64 = 4096;
/// How often something that may have been lost on the way is sent again.
const TRIES: u32 = 3;

/// The key of an account, and where it counts.
#[derive(Debug, Clone)]
pub struct AccountKey {
    owner: UserKey,
    plugin: PluginAddress,
    key: Keypair,
}

/// As it stands in a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    v: u8,
    owner: UserKey,
    plugin: UserKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    account: SignerKey,
    secret: Zeroizing<String>,
}

impl AccountKey {
    /// A fresh key for an account of `owner` at this plugin.
    #[must_use]
    pub fn random(owner: UserKey, plugin: PluginAddress) -> Self {
        let key = Keypair::from_secret(&keys::random_root());
        Self { owner, plugin, key }
    }

    /// A key that the app made itself.
    #[must_use]
    pub fn new(owner: UserKey, plugin: PluginAddress, key: Keypair) -> Self {
        Self { owner, plugin, key }
    }

    /// Whose account it is.
    #[must_use]
    pub fn owner(&self) -> UserKey {
        self.owner
    }

    /// The public key, which names the account.
    #[must_use]
    pub fn account(&self) -> SignerKey {
        self.key.signer_key()
    }

    /// The secret in base64url.
    #[must_use]
    pub fn secret(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(*self.key.secret()))
    }

    /// Another plugin than the one that the file names.
    #[must_use]
    pub fn at(mut self, plugin: PluginAddress) -> Self {
        self.plugin = plugin;
        self
    }

    /// Writes it to a new file that only this user of the machine can read.
    ///
    /// # Errors
    /// [`ClientError::Io`], also if there is a file already.
    pub fn write(&self, path: &Path) -> Result<(), ClientError> {
        let file = File {
            v: 1,
            owner: self.owner,
            plugin: self.plugin.key,
            url: self.plugin.url.as_ref().map(ToString::to_string),
            account: self.account(),
            secret: self.secret(),
        };
        let text =
            serde_json::to_vec_pretty(&file).map_err(|e| ClientError::Internal(e.to_string()))?;
        let text = Zeroizing::new(text);
        keys::write_new(path, &text).map_err(|why| ClientError::Io {
            path: path.to_owned(),
            why,
        })
    }

    /// Reads such a file.
    ///
    /// # Errors
    /// [`ClientError::Io`]; [`ClientError::Usage`] if it is something else.
    pub fn read(path: &Path) -> Result<Self, ClientError> {
        let io = |why| ClientError::Io {
            path: path.to_owned(),
            why,
        };
        let mut text = Zeroizing::new(String::new());
        let file = std::fs::File::open(path).map_err(io)?;
        file.take(MAX_FILE_BYTES)
            .read_to_string(&mut text)
            .map_err(io)?;
        let other = || {
            ClientError::Usage(format!(
                "{} is no file of a payment account",
                path.display()
            ))
        };
        let file: File = serde_json::from_str(&text).map_err(|_| other())?;
        let bytes = URL_SAFE_NO_PAD
            .decode(file.secret.as_bytes())
            .map(Zeroizing::new);
        let bytes = bytes
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        let key = Keypair::from_secret(&Zeroizing::new(bytes.ok_or_else(other)?));
        if file.v != 1 || key.signer_key() != file.account {
            return Err(other());
        }
        let url = file
            .url
            .map(|url| url.parse())
            .transpose()
            .map_err(|_| other())?;
        let plugin = PluginAddress {
            key: file.plugin,
            url,
        };
        Ok(Self::new(file.owner, plugin, key))
    }
}

/// What to pay.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Order {
    /// The spend's name; a random one if `None`.
    pub id: Option<RecordId>,
    /// In what.
    pub unit: Unit,
    /// How much is to arrive, in minor units.
    pub amount: Amount,
    /// Whom, or what.
    pub to: SpendTo,
    /// What arrives at a place outside, if not what the unit counts.
    pub pays: Option<Pays>,
    /// The most that those who pass it on may take, in minor units.
    pub max_fee: Option<Amount>,
    /// A few words for the payee.
    pub memo: Option<Memo>,
    /// How long it may wait.
    pub patience: Duration,
}

impl Order {
    /// Pays a user, in credit.
    #[must_use]
    pub fn to_user(unit: Unit, amount: Amount, user: UserKey) -> Self {
        Self {
            id: None,
            unit,
            amount,
            to: SpendTo::Peer(user),
            pays: None,
            max_fee: None,
            memo: None,
            patience: SPEND_PATIENCE,
        }
    }

    /// Pays an invoice; fees of at most 1 % and one smallest unit.
    #[must_use]
    pub fn of_invoice(invoice: Signed<Invoice>, amount: Amount) -> Self {
        Self {
            max_fee: Amount::from_minor(amount.minor() / 100 + 1).ok(),
            unit: invoice.record().unit.clone(),
            to: SpendTo::Invoice(Box::new(invoice)),
            pays: None,
            id: None,
            amount,
            memo: None,
            patience: SPEND_PATIENCE,
        }
    }

    /// Has a BOLT11 invoice of fixed amount paid by a rail of the owner; `amount` of the account goes for it. `testnet`: whether invoices
    /// of test networks are read too.
    ///
    /// # Errors
    /// [`ClientError::Settle`] if it can't be read, has no amount or has expired.
    pub fn lightning(
        unit: Unit,
        amount: Amount,
        invoice: &str,
        testnet: bool,
    ) -> Result<Self, ClientError> {
        let invoice = read_invoice(invoice, testnet)?;
        let target = Target {
            method: LIGHTNING_INVOICE.parse()?,
            value: invoice.as_str().parse()?,
        };
        let pays = bitcoins(invoice.amount())?;
        Ok(Self::outside(unit, amount, target, Some(pays)))
    }

    /// Has a place outside paid by a rail of the owner: `pays` arrives there, and `amount` of the account goes for it; the owner's wallet
    /// takes it if that is near its own rate. A Lightning invoice needs `pays` to be what it asks for; elsewhere it is what the unit
    /// counts if `None`.
    #[must_use]
    pub fn outside(unit: Unit, amount: Amount, target: Target, pays: Option<Pays>) -> Self {
        Self {
            id: None,
            unit,
            amount,
            to: SpendTo::Target(target),
            pays,
            max_fee: None,
            memo: None,
            patience: SPEND_PATIENCE,
        }
    }
}

/// Somebody's payment account, for whoever has its key.
#[derive(Debug, Clone)]
pub struct Account {
    key: AccountKey,
    client: PluginClient,
}

impl Account {
    /// The account of this key.
    #[must_use]
    pub fn new(net: &Net, key: AccountKey) -> Self {
        let client = PluginClient::new(net, key.plugin.clone());
        Self { key, client }
    }

    /// Signs what is to be paid. Keep it before it is sent: sent again, it is answered as before and paid once.
    ///
    /// # Errors
    /// [`ClientError::Ledger`] naming what contradicts itself.
    pub fn sign(&self, order: &Order) -> Result<Signed<Spend>, ClientError> {
        let now = now_ms();
        let patience = u64::try_from(order.patience.as_millis()).unwrap_or(u64::MAX);
        let spend = Spend {
            v: Default::default(),
            id: order
                .id
                .unwrap_or_else(|| RecordId::from_entropy(rand::random())),
            owner: self.key.owner,
            plugin: self.key.plugin.key,
            unit: order.unit.clone(),
            amount: order.amount,
            to: order.to.clone(),
            pays: order.pays.clone(),
            max_fee: order.max_fee,
            memo: order.memo.clone(),
            expires: Timestamp::saturating_from_millis(now.saturating_add(patience)),
            at: Timestamp::saturating_from_millis(now),
        };
        Ok(Signed::sign(spend, &self.key.key)?)
    }

    /// Asks for it to be paid. Tried again a few times if the answer is lost.
    ///
    /// # Errors
    /// [`ClientError::AccountRefused`] with the reason: nothing was paid, and nothing will be. [`ClientError::Net`]: nobody knows;
    /// send the same again, or ask for its [`Account::status`].
    pub async fn spend(&self, spend: &Signed<Spend>) -> Result<SpendStatus, ClientError> {
        let mut tried = 1;
        loop {
            match self.client.spend(spend).await {
                Err(error) if error.is_network() && tried < TRIES => {
                    tried += 1;
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                done => return done.map_err(refusal),
            }
        }
    }

    /// How far a spend is.
    ///
    /// # Errors
    /// [`ClientError::AccountRefused`] with `spend_unknown`; [`ClientError::Net`].
    pub async fn status(&self, id: &RecordId) -> Result<SpendStatus, ClientError> {
        let found = self.client.spend_status(&self.key.owner, id).await;
        found.map_err(refusal)
    }

    /// What is left of the account.
    ///
    /// # Errors
    /// [`ClientError::AccountRefused`] with `payment_account_unknown`; [`ClientError::Net`].
    pub async fn standing(&self) -> Result<AccountStanding, ClientError> {
        let now = now_ms();
        let pass = Pass {
            v: Default::default(),
            owner: self.key.owner,
            plugin: self.key.plugin.key,
            // Less than may be, for clocks that differ.
            expires: Timestamp::saturating_from_millis(now.saturating_add(MAX_PASS_LIFE_MS / 2)),
            at: Timestamp::saturating_from_millis(now),
        };
        let pass = Signed::sign(pass, &self.key.key)?;
        self.client.account_standing(&pass).await.map_err(refusal)
    }
}

/// What the plugin said, in the words of an app.
fn refusal(error: NetError) -> ClientError {
    match error {
        NetError::Refused { code, detail, .. } => ClientError::AccountRefused { code, detail },
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn key() -> AccountKey {
        let user = |n: u8| Keypair::from_secret(&[n; 32]).user_key();
        let plugin = PluginAddress {
            key: user(2),
            url: "https://plugin.example".parse().ok(),
        };
        AccountKey::random(user(1), plugin)
    }

    #[test]
    fn a_file_holds_all_that_an_app_needs_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.account");
        let key = key();
        key.write(&path).unwrap();
        let read = AccountKey::read(&path).unwrap();
        assert_eq!((read.owner, read.account()), (key.owner, key.account()));
        assert_eq!(read.plugin, key.plugin);
        assert_eq!(*read.secret(), *key.secret());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert!(key.write(&path).is_err(), "a key is never overwritten");
        let text = std::fs::read_to_string(&path).unwrap();
        let other = folder.path().join("other");
        let swapped = text.replace(&key.account().to_string(), &key.owner.to_z32());
        std::fs::write(&other, swapped).unwrap();
        assert_eq!(AccountKey::read(&other).unwrap_err().code(), "usage");
        assert!(!format!("{key:?}").contains(key.secret().as_str()));
    }
}

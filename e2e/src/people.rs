//! People with wallets, and what they do with the program `atomicity`.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{Homeserver, Plugin, Wallet, World};

/// A homeserver and the plugin beside it.
pub struct Site {
    /// The homeserver.
    pub homeserver: Homeserver,
    /// The plugin of its operator.
    pub plugin: Plugin,
}

impl Site {
    /// Starts both.
    ///
    /// # Errors
    /// If one of them does not start.
    pub async fn open(world: &World, name: &str) -> Result<Self> {
        let homeserver = world.homeserver(name).await?;
        let plugin = world
            .plugin(&format!("plugin-of-{name}"), &homeserver)
            .await?;
        Ok(Self { homeserver, plugin })
    }
}

/// Somebody with a wallet.
#[derive(Clone, Debug)]
pub struct Person {
    wallet: Wallet,
    key: String,
}

impl Person {
    /// Somebody who has nothing yet.
    ///
    /// # Errors
    /// If the program `atomicity` was not built.
    pub fn new(world: &World, name: &str) -> Result<Self> {
        Ok(Self {
            wallet: world.wallet(name)?,
            key: String::new(),
        })
    }

    /// The name that friends give them too.
    #[must_use]
    pub fn name(&self) -> &str {
        self.wallet.name()
    }

    /// Their root key in z-base32, once they have one.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Their wallet.
    #[must_use]
    pub fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// The same person with another folder.
    #[must_use]
    pub fn with(&self, wallet: Wallet) -> Self {
        Self {
            wallet,
            key: self.key.clone(),
        }
    }

    /// Makes a key, signs up at `site`, and opens `unit`.
    ///
    /// # Errors
    /// If the program says anything but what it should.
    pub async fn join(&mut self, site: &Site, unit: &str) -> Result<()> {
        let plugin = site.plugin.key();
        let joined = self
            .sign_up(&site.homeserver, &["--plugin", plugin], unit)
            .await?;
        expect(&joined, "/plugins/0/plugin", plugin)?;
        expect(&joined, "/plugins/0/registered", "new")
    }

    /// Makes a key, signs up at `homeserver` without a plugin, and opens `unit`.
    ///
    /// # Errors
    /// If the program says anything but what it should.
    pub async fn join_without_plugin(&mut self, homeserver: &Homeserver, unit: &str) -> Result<()> {
        self.sign_up(homeserver, &[], unit).await.map(drop)
    }

    async fn sign_up(&mut self, at: &Homeserver, more: &[&str], unit: &str) -> Result<Value> {
        let made = self
            .wallet
            .ok(&["init", "--name", self.wallet.name()])
            .await?;
        self.key = string(&made, "/user")?;
        let homeserver = at.z32();
        let joined = self
            .wallet
            .ok(&[&["signup", &homeserver], more].concat())
            .await?;
        expect(&joined, "/user", self.key.as_str())?;
        expect(&joined, "/homeserver", homeserver.as_str())?;
        expect(&joined, "/account", "new")?;
        self.wallet.ok(&["unit", "open", unit]).await?;
        Ok(joined)
    }

    /// Adds `other` as a friend, by key alone, and finds the profile.
    ///
    /// # Errors
    /// If the program says anything but what it should.
    pub async fn befriend(&self, other: &Person) -> Result<()> {
        let added = self
            .wallet
            .ok(&["friend", "add", other.key(), "--name", other.name()])
            .await?;
        expect(&added, "/user", other.key())?;
        expect(&added, "/reached", true)?;
        expect(&added, "/has_profile", true)
    }

    /// Lets `other` owe them `money`.
    ///
    /// # Errors
    /// If that is refused.
    pub async fn trust(&self, other: &Person, money: &str) -> Result<()> {
        self.wallet
            .ok(&["friend", "limit", other.name(), money])
            .await?;
        Ok(())
    }

    /// Reads the news.
    ///
    /// # Errors
    /// If nothing could be reached.
    pub async fn sync(&self) -> Result<Value> {
        self.wallet.ok(&["sync"]).await
    }

    /// Gives `money` to `other`; what the program said.
    ///
    /// # Errors
    /// If that is refused.
    pub async fn give(&self, other: &Person, money: &str, memo: &str) -> Result<Value> {
        self.wallet
            .ok(&["issue", other.name(), money, "--memo", memo])
            .await
    }

    /// The line of the balance sheet about `other`.
    ///
    /// # Errors
    /// If there is none.
    pub async fn account(&self, other: &Person, unit: &str) -> Result<Value> {
        let sheet = self
            .wallet
            .ok(&["balance", other.name(), "--unit", unit])
            .await?;
        expect(&sheet, "/balances/0/user", other.key())?;
        expect(&sheet, "/balances/0/unit", unit)?;
        sheet.pointer("/balances/0").cloned().context("no line")
    }

    /// Everything their balance sheet says, without the time.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn books(&self) -> Result<Value> {
        let mut sheet = self.wallet.ok(&["balance"]).await?;
        if let Some(sheet) = sheet.as_object_mut() {
            sheet.remove("as_of");
        }
        Ok(sheet)
    }

    /// Whom they owe, or who owes them, how much: friend, unit and net, sorted.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn nets(&self) -> Result<Vec<(String, String, i64)>> {
        let sheet = self.wallet.ok(&["balance"]).await?;
        let lines = sheet
            .get("balances")
            .and_then(Value::as_array)
            .context("no balances")?;
        let mut nets = Vec::new();
        for line in lines {
            nets.push((
                string(line, "/user")?,
                string(line, "/unit")?,
                amount(line, "/net")?,
            ));
        }
        nets.sort();
        Ok(nets)
    }
}

/// Both must show the same balance: `first` is owed `expected` by `second`. A line that says it.
///
/// # Errors
/// If they do not.
pub async fn agree(first: &Person, second: &Person, unit: &str, expected: i64) -> Result<String> {
    let (one, other) =
        futures_util::try_join!(first.account(second, unit), second.account(first, unit))?;
    let (mine, theirs) = (amount(&one, "/net")?, amount(&other, "/net")?);
    ensure!(
        mine == expected,
        "{} should be owed {expected} by {}, but shows {mine}",
        first.name(),
        second.name()
    );
    ensure!(
        Some(theirs) == mine.checked_neg(),
        "{} shows {mine} and {} shows {theirs}: not opposite",
        first.name(),
        second.name()
    );
    let (mine, theirs) = (string(&one, "/net_text")?, string(&other, "/net_text")?);
    Ok(format!(
        "{} shows {mine}, {} shows {theirs}: they agree.",
        first.name(),
        second.name()
    ))
}

/// The string at `pointer`.
///
/// # Errors
/// If there is none.
pub fn string(value: &Value, pointer: &str) -> Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    Ok(found
        .with_context(|| format!("no text at {pointer} in {value}"))?
        .to_owned())
}

/// The amount at `pointer`, in minor units.
///
/// # Errors
/// If there is none.
pub fn amount(value: &Value, pointer: &str) -> Result<i64> {
    let text = string(value, pointer)?;
    text.parse()
        .with_context(|| format!("{pointer} is {text:?}, no amount"))
}

/// What stands at `pointer` must be `expected`.
///
/// # Errors
/// If it is not.
pub fn expect(value: &Value, pointer: &str, expected: impl Into<Value>) -> Result<()> {
    let expected = expected.into();
    let found = value.pointer(pointer).unwrap_or(&Value::Null);
    ensure!(
        *found == expected,
        "{pointer} should be {expected}, but is {found} in {value}"
    );
    Ok(())
}

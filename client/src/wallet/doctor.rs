//! Looking at every part, one after the other, and saying what is wrong.

use std::path::Path;

use atomicity_ledger::record::Delegation;
use atomicity_ledger::{Serial, Signed};

use super::{ROOT_FILE, Wallet, now};
use crate::error::ClientError;
use crate::net::Freshness;
use crate::store::{self, outbox, settings};

/// A delegation or a session that ends within this time is worth a word, milliseconds.
const SOON_MS: u64 = 30 * 24 * 3600 * 1000;
/// Something that waits for longer than this is stuck, milliseconds.
const STUCK_MS: u64 = 24 * 3600 * 1000;

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// Which part.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// All parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnosis {
    /// In the order in which they were looked at.
    pub checks: Vec<Check>,
}

impl Diagnosis {
    /// Whether every part is as it should be.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }

    fn good(&mut self, name: &str, detail: impl Into<String>) {
        self.checks.push(Check {
            name: name.to_owned(),
            ok: true,
            detail: detail.into(),
            hint: None,
        });
    }

    fn bad(&mut self, name: &str, detail: impl Into<String>, hint: &str) {
        self.checks.push(Check {
            name: name.to_owned(),
            ok: false,
            detail: detail.into(),
            hint: Some(hint.to_owned()),
        });
    }

    fn result(&mut self, name: &str, good: &str, result: Result<(), ClientError>) {
        match result {
            Ok(()) => self.good(name, good),
            Err(error) => {
                let hint = error.hint().unwrap_or_default();
                self.bad(name, error.to_string(), &hint);
            }
        }
    }
}

impl Wallet {
    /// Looks at the store, the keys, the homeserver, the plugins and what waits. Changes nothing.
    ///
    /// # Errors
    /// What the store says, if it can't be read at all.
    pub async fn diagnose(&self) -> Result<Diagnosis, ClientError> {
        let mut found = Diagnosis::default();
        self.check_store(&mut found).await?;
        self.check_delegation(&mut found).await?;
        self.check_outbox(&mut found).await?;
        match self.homeserver().await? {
            None => found.bad(
                "homeserver",
                "none was chosen yet",
                "`atomicity signup <homeserver>` takes an account",
            ),
            Some(_) => self.check_network(&mut found).await?,
        }
        Ok(found)
    }

    async fn check_store(&self, found: &mut Diagnosis) -> Result<(), ClientError> {
        let answer = self.store().integrity().await?;
        if answer == "ok" {
            found.good("store", "the database is sound");
        } else {
            found.bad(
                "store",
                answer,
                "restore the folder, or recover from the root key",
            );
        }
        let loose = loose_files(self.home());
        if loose.is_empty() {
            found.good("permissions", "only you can read the wallet's files");
        } else {
            found.bad(
                "permissions",
                format!("others can read {}", loose.join(", ")),
                "make them readable by you alone: chmod 600",
            );
        }
        if self.home().join(ROOT_FILE).exists() {
            found.good(
                "root_file",
                "the encrypted root key is here; keep a copy elsewhere",
            );
        } else {
            found.good("root_file", "the root key is kept elsewhere");
        }
        Ok(())
    }

    async fn check_delegation(&self, found: &mut Diagnosis) -> Result<(), ClientError> {
        let mut conn = self.store().read().await?;
        let jws = settings::need(&mut conn, settings::DELEGATION).await?;
        let delegation: Signed<Delegation> = Signed::decode(&jws)?;
        let left = delegation.record().not_after.millis_since(now());
        if left == 0 {
            found.bad(
                "delegation",
                "it has expired",
                "`atomicity unit open` signs a new one",
            );
        } else if left < SOON_MS {
            found.bad(
                "delegation",
                "it ends soon",
                "`atomicity unit open` signs a new one",
            );
        } else {
            found.good(
                "delegation",
                format!("valid for {} days", left / 86_400_000),
            );
        }
        let serial: Serial = delegation.record().serial;
        if serial.get() > now().millis().saturating_add(SOON_MS) {
            found.bad("clock", "this machine's clock is behind", "set the clock");
        } else {
            found.good("clock", "plausible");
        }
        Ok(())
    }

    async fn check_outbox(&self, found: &mut Diagnosis) -> Result<(), ClientError> {
        let (waiting, since) = outbox::waiting(&mut *self.store().read().await?, None).await?;
        let age = since.map_or(0, |since| now().millis().saturating_sub(since));
        if age > STUCK_MS {
            found.bad(
                "outbox",
                format!(
                    "{waiting} changes wait, the oldest for {} hours",
                    age / 3_600_000
                ),
                "`atomicity sync` tries again and says what is wrong",
            );
        } else {
            found.good("outbox", format!("{waiting} changes wait"));
        }
        Ok(())
    }

    async fn check_network(&self, found: &mut Diagnosis) -> Result<(), ClientError> {
        let session = self.session().await?;
        let expected = *session.homeserver();
        match self.net().home_of(&self.user(), Freshness::Network).await {
            Ok(home) if home == expected => {
                found.good("homeserver", format!("the world finds you at {home}"));
            }
            Ok(home) => found.bad(
                "homeserver",
                format!("the world looks for you at {home}, but this wallet writes to {expected}"),
                "`atomicity signup` again, or `atomicity move`",
            ),
            Err(error) => found.result("homeserver", "", Err(error.into())),
        }
        found.result(
            "session",
            "the homeserver takes this wallet's session",
            session.check().await.map_err(ClientError::from),
        );
        found.result(
            "generation",
            "this store keeps the books",
            self.ensure_may_sign().await,
        );
        match self.published_profile(None).await {
            Ok(published) if published.matches_wallet == Some(true) => {
                found.good("profile", "published, and the one that this wallet signed");
            }
            Ok(_) => found.bad(
                "profile",
                "the published profile is another one",
                "`atomicity sync` writes it again; if that does not help, `atomicity signup` again",
            ),
            Err(error) => found.result("profile", "", Err(error)),
        }
        for plugin in self.own_plugins().await? {
            let name = format!("plugin {}", plugin.address());
            let answer = plugin.inbox(None, 1).await.map(|_| ());
            found.result(
                &name,
                "it answers and knows this user",
                answer.map_err(ClientError::from),
            );
        }
        Ok(())
    }
}

#[cfg(unix)]
fn loose_files(home: &Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let files = [ROOT_FILE, store::DATABASE_FILE];
    files
        .into_iter()
        .filter(|name| {
            std::fs::metadata(home.join(name))
                .is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(not(unix))]
fn loose_files(_home: &Path) -> Vec<String> {
    Vec::new()
}

//! The rails that pay for this user.

mod open;

use std::collections::BTreeSet;
use std::path::PathBuf;

use atomicity_ledger::{Decimal, Name};
use atomicity_paykit_adapter::rail::{Health, LightningNetwork};
use serde::{Deserialize, Serialize};

use super::super::{Wallet, now};
use super::SettleFault;
use crate::error::ClientError;
use crate::store::rails::{self, RailRow};
use crate::store::requests::guests;
use crate::store::{accounts, json_in, json_out, settlements};
use open::{fault, open};

pub(in super::super) use open::{OpenRail, RailKind};

/// Where a rail is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum RailSettings {
    /// An lnd node, over REST.
    Lnd {
        /// Its REST interface, `https://…`.
        url: String,
        /// Its TLS certificate: the only one that is accepted.
        certificate: PathBuf,
        /// A macaroon that may pay.
        macaroon: PathBuf,
        /// Which network the node is of.
        network: LightningNetwork,
        /// The most that a payment may cost on top, in millionths of it; ten satoshis are always allowed.
        max_fee_ppm: u32,
    },
    /// A Core Lightning node, over REST.
    Cln {
        /// Its REST interface, `https://…`.
        url: String,
        /// Its TLS certificate: the only one that is accepted.
        certificate: PathBuf,
        /// A file with a rune that may pay.
        rune: PathBuf,
        /// Which network the node is of.
        network: LightningNetwork,
        /// The most that a payment may cost on top, in millionths of it; ten satoshis are always allowed.
        max_fee_ppm: u32,
    },
    /// A wallet of a Bitcoin Core node on this machine.
    Bitcoind {
        /// Its JSON-RPC interface, `http://127.0.0.1:8332`.
        url: String,
        /// The wallet that pays.
        wallet: String,
        /// The user, if the file holds their password; otherwise it is the node's cookie.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// The cookie, or the file with the password.
        secret: PathBuf,
        /// Which chain the node is on: `main`, `test`, `signet`, `regtest`.
        chain: String,
        /// The methods whose places are plain addresses.
        methods: Vec<String>,
        /// In how many blocks a payment should be, when its fee is chosen.
        target_blocks: u16,
        /// How many confirmations make a payment.
        confirmations: u32,
        /// The most that a payment may cost on top, in satoshi.
        max_fee_sat: u64,
    },
    /// The user, who pays by hand.
    Manual {
        /// The methods that are paid so, in the user's order.
        methods: Vec<String>,
    },
}

/// A rail, as it is shown.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RailView {
    /// What the user calls it.
    pub name: String,
    /// Where it is.
    pub settings: RailSettings,
    /// The least that is paid by it, in the asset's major unit.
    pub min: Option<Decimal>,
    /// The most that is paid by it, in the asset's major unit.
    pub max: Option<Decimal>,
    /// Since when, Unix milliseconds.
    pub added_at: u64,
}

/// The least and the most that is paid by a rail, in the asset's major unit.
pub type RailBounds = (Option<Decimal>, Option<Decimal>);

impl Wallet {
    /// Keeps a rail, as the last one that is tried, if it answers. `bounds` are the least and the most that is paid by it.
    ///
    /// # Errors
    /// [`SettleFault::RailExists`], [`SettleFault::Rail`] if its files can't be used or it does not answer as it should.
    pub async fn add_rail(
        &self,
        name: &str,
        settings: RailSettings,
        bounds: RailBounds,
    ) -> Result<(RailView, Health), ClientError> {
        if matches!(bounds, (Some(min), Some(max)) if min > max) {
            let why = "it would pay more at least than at most".to_owned();
            return Err(ClientError::Usage(why));
        }
        let opened = open(self.store(), name, &settings, bounds).await?;
        let health = opened.rail.health().await.map_err(|error| fault(&error))?;
        let row = RailRow {
            name: name.to_owned(),
            settings: json_out(&settings)?,
            bounds,
            added_at: now().millis(),
        };
        let mut tx = self.store().write().await?;
        if !rails::add(tx.conn(), &row).await? {
            return Err(SettleFault::RailExists(name.to_owned()).into());
        }
        tx.commit().await?;
        self.inner
            .rails
            .lock()
            .await
            .insert(name.to_owned(), opened);
        let view = RailView {
            name: row.name,
            settings,
            min: bounds.0,
            max: bounds.1,
            added_at: row.added_at,
        };
        Ok((view, health))
    }

    /// The rails, the one that is tried first at the head.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn rails(&self) -> Result<Vec<RailView>, ClientError> {
        let rows = rails::list(&mut *self.store().read().await?).await?;
        let view = |row: RailRow| {
            Ok(RailView {
                settings: json_in(&row.settings, "a rail's settings")?,
                name: row.name,
                min: row.bounds.0,
                max: row.bounds.1,
                added_at: row.added_at,
            })
        };
        rows.into_iter().map(view).collect()
    }

    /// Says which rails are tried first, in this order; the others follow as they were.
    ///
    /// # Errors
    /// [`SettleFault::RailUnknown`].
    pub async fn order_rails(&self, first: &[String]) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        let rows = rails::list(tx.conn()).await?;
        let known: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        if let Some(name) = first.iter().find(|name| !known.contains(name.as_str())) {
            return Err(SettleFault::RailUnknown(name.clone()).into());
        }
        let rest = rows.iter().map(|row| &row.name);
        let rest = rest.filter(|name| !first.contains(name));
        let mut placed = BTreeSet::new();
        for (position, name) in (0u64..).zip(first.iter().chain(rest)) {
            if placed.insert(name) {
                rails::place(tx.conn(), name, position).await?;
            }
        }
        tx.commit().await
    }

    /// Asks a rail how it does.
    ///
    /// # Errors
    /// [`SettleFault::RailUnknown`], [`SettleFault::Rail`] if it does not answer as it should.
    pub async fn test_rail(&self, name: &str) -> Result<Health, ClientError> {
        let all = self.rails().await?;
        let known = all.iter().find(|rail| rail.name == name);
        let known = known.ok_or_else(|| SettleFault::RailUnknown(name.to_owned()))?;
        // Anew, so that changed files are read.
        let bounds = (known.min, known.max);
        let opened = open(self.store(), name, &known.settings, bounds).await?;
        opened.rail.health().await.map_err(|error| fault(&error))
    }

    /// Forgets a rail.
    ///
    /// # Errors
    /// [`SettleFault::RailUnknown`], [`SettleFault::RailInUse`] while it has a payment that is not decided.
    pub async fn remove_rail(&self, name: &str) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        for hash in settlements::discharges_due(tx.conn(), u64::MAX, u32::MAX).await? {
            let row = settlements::discharge(tx.conn(), &hash).await?;
            let uses = |row: &settlements::DischargeRow| {
                let ways = row.discharge.plan().map(|plan| plan.ways.as_slice());
                ways.unwrap_or_default()
                    .iter()
                    .any(|way| way.rail.as_str() == name)
            };
            if row.as_ref().is_some_and(uses) {
                return Err(SettleFault::RailInUse(name.to_owned()).into());
            }
        }
        let for_accounts = accounts::any_by_rail(tx.conn(), name).await?;
        if for_accounts || guests::any_by_rail(tx.conn(), name).await? {
            return Err(SettleFault::RailInUse(name.to_owned()).into());
        }
        if !rails::remove(tx.conn(), name).await? {
            return Err(SettleFault::RailUnknown(name.to_owned()).into());
        }
        super::super::requests::no_guests_by(&mut tx, name).await?;
        tx.commit().await?;
        self.inner.rails.lock().await.remove(name);
        Ok(())
    }

    /// All rails that can be asked, in the order in which they are tried. One whose files can't be read is left out.
    pub(super) async fn open_rails(&self) -> Result<Vec<OpenRail>, ClientError> {
        let rows = rails::list(&mut *self.store().read().await?).await?;
        let mut opened = self.inner.rails.lock().await;
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        opened.retain(|name, _| names.contains(name.as_str()));
        let mut all = Vec::new();
        for row in rows {
            if let Some(known) = opened.get(&row.name) {
                all.push(known.clone());
                continue;
            }
            let settings: RailSettings = json_in(&row.settings, "a rail's settings")?;
            match open(self.store(), &row.name, &settings, row.bounds).await {
                Ok(rail) => {
                    // One for the whole process: it knows what it is paying.
                    opened.insert(row.name.clone(), rail.clone());
                    all.push(rail);
                }
                Err(error) => tracing::warn!(rail = row.name, code = error.code(), "{error}"),
            }
        }
        Ok(all)
    }

    /// The rail of this name, if it can be asked.
    pub(in super::super) async fn open_rail(
        &self,
        name: &Name,
    ) -> Result<Option<OpenRail>, ClientError> {
        let all = self.open_rails().await?;
        Ok(all.into_iter().find(|rail| rail.name == *name))
    }
}

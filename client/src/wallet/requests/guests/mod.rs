//! Guests: people without a wallet who pay a part of a public request on its page, over Lightning or on the chain.
//!
//! The plugin only carries: what a guest wants to the wallet, where it is to be paid to the guest. A part is kept for the guest in one
//! transaction ([`take`]); then a node is asked for an invoice or an address, and another transaction ties the two together ([`till`]);
//! then the plugin is told, and the node is asked what came. Whoever dies in between leaves a part without a place, and the next
//! process asks for another: an invoice that was made for nothing is known to nobody and expires. What was paid counts in the transaction
//! that notes it, once, by the part's name.

mod price;
mod take;
mod tell;
mod till;

use atomicity_ledger::{Asset, RecordId, Unit};
use serde::{Deserialize, Serialize};

use super::super::{SettleFault, Wallet, WalletEvent};
use super::is_grave;
use crate::error::ClientError;
use crate::net::plugin::WelcomeWay;
use crate::store::requests::guests as store;
use crate::store::requests::guests::{GuestRow, GuestStage, GuestWay};
use crate::store::{WriteTx, json_in, json_out, settings};

/// Parts that are looked at in one go.
const AT_ONCE: u32 = 200;
/// What invoices and addresses are paid in.
const BITCOIN: &str = "BTC";

/// By which rail guests pay in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuestRail {
    /// How they pay.
    pub way: GuestWay,
    /// The rail's name.
    pub rail: String,
}

/// How guests may pay.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GuestsView {
    /// The ways, and the rails that are paid.
    pub rails: Vec<GuestRail>,
    /// In which units what they pay can be counted.
    pub units: Vec<Unit>,
    /// What a rail that was named can't do: its name, the way, and why, as a code and in words.
    pub failed: Vec<(String, GuestWay, &'static str, String)>,
}

/// A part that a guest is paying. Amounts are in minor units.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestGuest {
    /// Its name.
    pub id: RecordId,
    /// How they pay.
    pub way: GuestWay,
    /// How much.
    pub amount: u64,
    /// What the guest calls themselves. Theirs to choose: escape it before it is shown.
    pub name: Option<String>,
    /// How far it is.
    pub stage: GuestStage,
    /// Until when it can be paid, Unix milliseconds.
    pub until: Option<u64>,
    /// When it was kept.
    pub created_at: u64,
}

impl From<GuestRow> for RequestGuest {
    fn from(row: GuestRow) -> Self {
        Self {
            id: row.id,
            way: row.way,
            amount: row.amount.minor(),
            name: row.name,
            stage: row.stage,
            until: row.place.map(|place| place.until),
            created_at: row.created_at,
        }
    }
}

impl Wallet {
    /// How guests may pay the user's public requests.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn guests(&self) -> Result<GuestsView, ClientError> {
        Ok(GuestsView {
            rails: self.guest_rails().await?,
            units: self.units_of_guests().await?,
            failed: Vec::new(),
        })
    }

    /// Lets guests pay by these rails: over Lightning if one makes invoices, on the chain if one gives addresses, the first one of each. Each
    /// is tried: an invoice and an address are made that nobody sees. No rail at all takes no guests; what is kept for some stays.
    ///
    /// # Errors
    /// [`SettleFault::RailUnknown`]; [`SettleFault::Rail`] if none of them can be paid.
    pub async fn welcome_guests(
        &self,
        names: &[String],
        only: Option<GuestWay>,
    ) -> Result<GuestsView, ClientError> {
        let (rails, failed) = self.try_rails(names, only).await?;
        if let (true, Some((rail, _, code, why))) = (rails.is_empty(), failed.first()) {
            let why = format!("{rail}: {why}");
            return Err(SettleFault::Rail { code, why }.into());
        }
        let mut tx = self.store().write().await?;
        settings::set(tx.conn(), settings::GUESTS, &json_out(&rails)?).await?;
        tx.commit().await?;
        if let Err(error) = self.tell_of_guests().await {
            if is_grave(&error) {
                return Err(error);
            }
            tracing::info!(code = error.code(), "the plugin hears it later: {error}");
        }
        Ok(GuestsView {
            rails,
            units: self.units_of_guests().await?,
            failed,
        })
    }

    async fn guest_rails(&self) -> Result<Vec<GuestRail>, ClientError> {
        let text = settings::get(&mut *self.store().read().await?, settings::GUESTS).await?;
        let text = text.as_deref();
        let rails = text
            .map(|text| json_in(text, "how guests pay"))
            .transpose()?;
        Ok(rails.unwrap_or_default())
    }

    /// The open units whose amounts can be counted in bitcoin.
    async fn units_of_guests(&self) -> Result<Vec<Unit>, ClientError> {
        let bitcoin: Asset = BITCOIN.parse()?;
        let open = crate::store::units::list(&mut *self.store().read().await?).await?;
        let knows = |unit: &Unit| {
            let asset = Asset::of(unit);
            asset == bitcoin
                || self.config().rates.iter().any(|rate| {
                    let pair = (rate.pair.base(), rate.pair.quote());
                    pair == (&asset, &bitcoin) || pair == (&bitcoin, &asset)
                })
        };
        let units = open.into_iter().map(|open| open.unit).filter(knows);
        Ok(units.collect())
    }

    async fn welcome_ways(&self) -> Result<Vec<WelcomeWay>, ClientError> {
        let rails = self.guest_rails().await?;
        if rails.is_empty() {
            return Ok(Vec::new());
        }
        let units = self.units_of_guests().await?;
        let mut ways: Vec<WelcomeWay> = rails
            .iter()
            .flat_map(|rail| units.iter().map(|unit| (rail.way, unit.clone())))
            .map(|(way, unit)| WelcomeWay { way, unit })
            .collect();
        ways.sort();
        ways.dedup();
        Ok(ways)
    }

    /// Goes on with all that guests pay: hears what they want, makes places to pay at, looks what came, says so.
    pub(crate) async fn drive_guests(&self) -> Result<Vec<WalletEvent>, ClientError> {
        if self.looks_at_guests() {
            bear(self.tell_of_guests().await)?;
            bear(self.take_guests().await)?;
        }
        bear(self.make_places().await)?;
        // An invoice is shown before it is looked at: it may be paid a moment later.
        bear(self.tell_of_parts().await)?;
        let told = self.look_at_tills().await?;
        if !told.is_empty() {
            bear(self.tell_of_parts().await)?;
        }
        Ok(told)
    }
}

/// Guests don't pay by this rail any more.
pub(in super::super) async fn no_guests_by(
    tx: &mut WriteTx,
    name: &str,
) -> Result<(), ClientError> {
    let Some(text) = settings::get(tx.conn(), settings::GUESTS).await? else {
        return Ok(());
    };
    let mut rails: Vec<GuestRail> = json_in(&text, "how guests pay")?;
    rails.retain(|rail| rail.rail != name);
    settings::set(tx.conn(), settings::GUESTS, &json_out(&rails)?).await
}

/// What only the network, a node or a plugin stands against is tried again.
fn bear(done: Result<(), ClientError>) -> Result<(), ClientError> {
    match done {
        Err(error) if is_grave(&error) => Err(error),
        Err(error) => {
            tracing::info!(code = error.code(), "guests wait: {error}");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

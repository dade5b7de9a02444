//! What guests want to pay: it is kept for them, or refused.

use atomicity_ledger::Memo;

use super::super::super::now;
use super::super::own;
use super::{GuestRail, Wallet, bear, store};
use crate::error::ClientError;
use crate::net::plugin::{GuestPart, GuestReport, PluginClient};
use crate::store::requests;
use crate::store::requests::guests::{GuestRow, GuestStage, GuestWay};

/// The longest name that a guest may have.
const MAX_NAME: usize = 40;

impl Wallet {
    /// Reads what guests want to pay at the own plugins.
    pub(super) async fn take_guests(&self) -> Result<(), ClientError> {
        let rails = self.guest_rails().await?;
        if rails.is_empty() || !requests::any_public(&mut *self.store().read().await?).await? {
            return Ok(());
        }
        for plugin in self.own_plugins().await? {
            let parts = match plugin.open_guest_parts().await {
                // A plugin of an earlier version has no such route.
                Err(error) if error.is_route_unknown() => continue,
                parts => parts?,
            };
            for part in &parts {
                // One that is over by now keeps nobody else from paying.
                bear(self.take_guest(&plugin, part, &rails).await)?;
            }
        }
        Ok(())
    }

    async fn take_guest(
        &self,
        plugin: &PluginClient,
        part: &GuestPart,
        rails: &[GuestRail],
    ) -> Result<(), ClientError> {
        let known = store::get(&mut *self.store().read().await?, &part.id).await?;
        if known.is_some() {
            return Ok(());
        }
        self.ensure_may_sign().await?;
        if part.state != "waiting" {
            // Of what an earlier store of this wallet promised nothing is known here.
            return match part.expires < now().millis() {
                true => Ok(plugin
                    .report_guest_part(&part.id, &GuestReport::of("ended"))
                    .await?),
                false => Ok(()),
            };
        }
        let key = plugin.address().key.to_string();
        match self.keep_guest(key, part, rails).await? {
            Ok(()) => Ok(()),
            Err(reason) => {
                let report = GuestReport {
                    reason: Some(reason),
                    ..GuestReport::of("refused")
                };
                Ok(plugin.report_guest_part(&part.id, &report).await?)
            }
        }
    }

    /// Keeps a part for a guest, or says why not.
    pub(in crate::wallet) async fn keep_guest(
        &self,
        plugin: String,
        part: &GuestPart,
        rails: &[GuestRail],
    ) -> Result<Result<(), &'static str>, ClientError> {
        let way = GuestWay::read(&part.way);
        let rail = rails.iter().find(|rail| Some(rail.way) == way);
        let Some(rail) = rail else {
            return Ok(Err("guests_unwelcome"));
        };
        let mut change = self.change().await?;
        let row = requests::named(change.conn(), &part.request).await?;
        let Some(mut row) = row else {
            return Ok(Err("request_unknown"));
        };
        // A debt that is called is not for everybody to pay.
        if row.is_call || row.record.record().unit != part.unit {
            return Ok(Err("request_closed"));
        }
        let amount = match row.fills.grant_guest(part.id, part.amount, change.now) {
            Ok(amount) => amount,
            Err(reason) => return Ok(Err(reason.code())),
        };
        let at = change.now.millis();
        let kept = GuestRow {
            id: part.id,
            request: part.request,
            plugin,
            name: part.name.as_deref().and_then(readable),
            way: rail.way,
            rail: rail.rail.clone(),
            amount,
            stage: GuestStage::Kept,
            told: None,
            place: None,
            reason: None,
            created_at: at,
            changed_at: at,
        };
        store::put(change.conn(), &kept).await?;
        own::keep(&mut change, &mut row).await?;
        change.commit().await?;
        Ok(Ok(()))
    }
}

/// A name that can stand in a line.
fn readable(name: &str) -> Option<String> {
    let name = name.trim();
    let fits = !name.is_empty() && name.chars().count() <= MAX_NAME && name.parse::<Memo>().is_ok();
    fits.then(|| name.to_owned())
}

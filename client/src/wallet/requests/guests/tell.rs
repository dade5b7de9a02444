//! What the plugin is told of guests: how they may pay, and what became of what they wanted to.

use super::{AT_ONCE, Wallet, bear, store};
use crate::error::ClientError;
use crate::net::NetError;
use crate::net::plugin::{GuestReport, PluginClient};
use crate::store::requests::guests::{GuestPlace, GuestRow, GuestStage, GuestWay};
use crate::store::{json_out, settings};

impl<'a> GuestReport<'a> {
    /// Where it can be paid.
    fn offer(row: &'a GuestRow, place: &'a GuestPlace) -> Self {
        let (invoice, address) = match row.way {
            GuestWay::Lightning => (place.invoice.as_deref(), None),
            GuestWay::Onchain => (None, Some(place.place.as_str())),
        };
        Self {
            amount: Some(row.amount),
            invoice,
            address,
            price_msat: Some(place.price.to_string()),
            expires: Some(place.until),
            ..Self::of(GuestStage::Offered.as_str())
        }
    }
}

impl Wallet {
    /// Tells the own plugins how guests may pay, once by each process and whenever it changes.
    pub(super) async fn tell_of_guests(&self) -> Result<(), ClientError> {
        let ways = self.welcome_ways().await?;
        let mut conn = self.store().read().await?;
        let plugins = settings::get(&mut conn, settings::PLUGINS).await?;
        let last = settings::get(&mut conn, settings::GUESTS_TOLD).await?;
        drop(conn);
        // Another plugin has not heard it.
        let text = json_out(&(&ways, plugins))?;
        if ways.is_empty() && last.is_none() || !self.is_news_of_guests(&text) {
            return Ok(());
        }
        for plugin in self.own_plugins().await? {
            match plugin.welcome_guests(&ways).await {
                Err(error) if error.is_route_unknown() => {}
                done => done?,
            }
        }
        let mut tx = self.store().write().await?;
        match ways.is_empty() {
            true => settings::remove(tx.conn(), settings::GUESTS_TOLD).await?,
            false => settings::set(tx.conn(), settings::GUESTS_TOLD, &text).await?,
        }
        tx.commit().await?;
        self.note_told_of_guests(text);
        Ok(())
    }

    /// Tells the plugins what became of parts.
    pub(super) async fn tell_of_parts(&self) -> Result<(), ClientError> {
        let untold = store::untold(&mut *self.store().read().await?, AT_ONCE).await?;
        if untold.is_empty() {
            return Ok(());
        }
        let plugins = self.own_plugins().await?;
        let mut silent = Vec::new();
        for row in &untold {
            let plugin = plugins
                .iter()
                .find(|plugin| plugin.address().key.to_string() == row.plugin);
            let told = match plugin {
                Some(_) if silent.contains(&&row.plugin) => continue,
                Some(plugin) => self.tell_of_part(plugin, row).await,
                // The user has left that plugin: nobody waits there.
                None => self.note_told(row, row.stage, false).await,
            };
            if told.is_err() {
                silent.push(&row.plugin);
            }
            bear(told)?;
        }
        Ok(())
    }

    async fn tell_of_part(&self, plugin: &PluginClient, row: &GuestRow) -> Result<(), ClientError> {
        let offer = row.place.as_ref().filter(|_| row.told.is_none());
        if let Some(place) = offer {
            let report = GuestReport::offer(row, place);
            let said = plugin.report_guest_part(&row.id, &report).await;
            if !self.part_was_heard(row, GuestStage::Offered, said).await? {
                return Ok(());
            }
        }
        let word = row.stage.as_str();
        let report = match row.stage {
            GuestStage::Kept | GuestStage::Offered => return Ok(()),
            GuestStage::Seen => GuestReport::of(word),
            GuestStage::Paid => GuestReport {
                amount: Some(row.amount),
                ..GuestReport::of(word)
            },
            GuestStage::Ended if row.place.is_none() => GuestReport {
                reason: row.reason.as_deref(),
                ..GuestReport::of("refused")
            },
            GuestStage::Ended => GuestReport::of(word),
        };
        let said = plugin.report_guest_part(&row.id, &report).await;
        self.part_was_heard(row, row.stage, said).await.map(drop)
    }

    /// Notes what the plugin has heard. Returns whether it goes on from there.
    async fn part_was_heard(
        &self,
        row: &GuestRow,
        stage: GuestStage,
        said: Result<(), NetError>,
    ) -> Result<bool, ClientError> {
        match said {
            Ok(()) => {
                self.note_told(row, stage, false).await?;
                Ok(true)
            }
            // Nobody waits for it there any more, or the plugin will never take it.
            Err(
                error @ NetError::Refused {
                    status: 400 | 404 | 409,
                    ..
                },
            ) => {
                tracing::info!(code = error.code(), "a guest is not told: {error}");
                self.note_told(row, stage, true).await?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Notes what was told. What `nobody` waits for can't be paid from now on, unless it was.
    async fn note_told(
        &self,
        row: &GuestRow,
        stage: GuestStage,
        nobody: bool,
    ) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        if let Some(mut kept) = store::get(tx.conn(), &row.id).await? {
            kept.told = Some(stage);
            if let (true, Some(place)) = (nobody, kept.place.as_mut()) {
                place.until = place.until.min(row.created_at);
            }
            store::put(tx.conn(), &kept).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

//! Writing to the own homeserver: planned files, channel files, contact list, Paykit endpoints; and telling the plugin its tags.
//!
//! Whatever waits is noted in the store, so that a process that dies in between leaves nothing undone for the next. A lock between
//! processes keeps an older file from overtaking a newer one.

use std::collections::BTreeSet;
use std::time::Duration;

use atomicity_ledger::channel_file::ChannelFile;
use atomicity_ledger::pair::Pair;
use atomicity_ledger::seal::{channel_path, seal_channel_file};
use atomicity_ledger::{Unit, UserKey};
use atomicity_paykit_adapter::Publisher;
use futures_util::{StreamExt as _, stream};

use super::access::Keys;
use super::endpoints::endpoint_error;
use super::{Wallet, books, directory, entropy, now};
use crate::error::ClientError;
use crate::net::session::HomeSession;
use crate::store::pairs::PairRow;
use crate::store::{contacts, lock, pairs, publications, settings, units};

/// How long to wait for another process that publishes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Writes that are under way at once.
const WRITES: usize = 8;
/// Files that are taken from the store at once.
const BATCH: u32 = 64;
/// How long to wait before a plugin that was away is told the tags again, milliseconds.
const TAGS_RETRY_MS: u64 = 30_000;
/// Rounds of one publication at most: what changes meanwhile belongs to the next.
const ROUNDS: u32 = 1024;

/// What publishing achieved.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// Channel files written.
    pub(crate) files: u64,
    /// The first thing that went wrong.
    pub(crate) error: Option<ClientError>,
}

impl Published {
    fn fail(&mut self, error: ClientError) {
        self.error.get_or_insert(error);
    }
}

impl Wallet {
    /// Writes whatever waits to be written. Another process that does so already is left to it.
    pub(crate) async fn publish(&self) -> Result<Published, ClientError> {
        let mut done = Published::default();
        let session = match self.session().await {
            Ok(session) => session,
            Err(ClientError::NoHomeserver) => return Ok(done),
            Err(error) => return Err(error),
        };
        let Some(lock) = lock::take_publishing(self.home(), PATIENCE).await? else {
            return Ok(done);
        };
        if let Err(error) = self.plan_adverts().await {
            done.fail(error);
        }
        if let Err(error) = self.write_planned(&session).await {
            done.fail(error);
        }
        if let Err(error) = self.write_contact_list(&session).await {
            done.fail(error);
        }
        self.write_channel_files(&session, &mut done).await?;
        if let Err(error) = self.write_endpoints(&session).await {
            done.fail(error);
        }
        drop(lock);
        if let Err(error) = self.register_tags().await {
            done.fail(error);
        }
        Ok(done)
    }

    async fn write_planned(&self, session: &HomeSession) -> Result<(), ClientError> {
        loop {
            let waiting = publications::list(&mut *self.store().read().await?, BATCH).await?;
            if waiting.is_empty() {
                return Ok(());
            }
            for file in waiting {
                match &file.body {
                    Some(body) => session.put(&file.path, body.clone()).await?,
                    None => {
                        session.delete(&file.path).await?;
                    }
                }
                let mut tx = self.store().write().await?;
                publications::done(tx.conn(), &file).await?;
                tx.commit().await?;
            }
        }
    }

    async fn write_channel_files(
        &self,
        session: &HomeSession,
        done: &mut Published,
    ) -> Result<(), ClientError> {
        for _ in 0..ROUNDS {
            let mut conn = self.store().read().await?;
            let rows = pairs::unpublished(&mut conn, BATCH).await?;
            let keys = Keys::load(&mut conn, self.user()).await?;
            drop(conn);
            // Another process may have signed since the mark was raised: what is about to leave must be covered by it.
            self.show_generation().await?;
            let asked = rows.len();
            let mut writes = stream::iter(rows)
                .map(|row| self.write_channel_file(session, &keys, row))
                .buffer_unordered(WRITES);
            let mut written = 0;
            while let Some(result) = writes.next().await {
                match result {
                    Ok(()) => written += 1,
                    Err(error @ (ClientError::StoreFull | ClientError::Store(_))) => {
                        return Err(error);
                    }
                    Err(error) => done.fail(error),
                }
            }
            done.files += written;
            if written == 0 || asked < BATCH as usize {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn write_channel_file(
        &self,
        session: &HomeSession,
        keys: &Keys,
        row: PairRow,
    ) -> Result<(), ClientError> {
        let contact = contacts::get(&mut *self.store().read().await?, &row.user).await?;
        let Some(contact) = contact else {
            return self.note_written(&row, None).await;
        };
        let pair = books::parse(&row.body)?;
        let agreement = directory::outgoing(&self.user(), keys.current()?, &contact)?;
        let path = channel_path(agreement.blind());
        let content = channel_file(&pair)?.encode()?;
        let sealed = seal_channel_file(&agreement, entropy(), &content)?;
        session.put(&path, sealed).await?;
        let old = row.file_path.clone().filter(|old| *old != path);
        self.note_written(&row, Some(&path)).await?;
        if let Some(old) = old {
            // Rewritten under other keys first, deleted then: a reader always finds one of them.
            session.delete(&old).await?;
        }
        Ok(())
    }

    async fn note_written(&self, row: &PairRow, path: Option<&str>) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        let path = path.or(row.file_path.as_deref()).unwrap_or_default();
        pairs::published(tx.conn(), &row.user, row.version, path).await?;
        tx.commit().await
    }

    async fn write_endpoints(&self, session: &HomeSession) -> Result<(), ClientError> {
        if !self.is_stale(settings::ENDPOINTS_STALE).await? {
            return Ok(());
        }
        let open: BTreeSet<Unit> = units::list(&mut *self.store().read().await?)
            .await?
            .into_iter()
            .map(|open| open.unit)
            .collect();
        let publisher = Publisher::new(session.clone()).map_err(endpoint_error)?;
        publisher.set_units(&open).await.map_err(endpoint_error)?;
        let still: BTreeSet<Unit> = units::list(&mut *self.store().read().await?)
            .await?
            .into_iter()
            .map(|open| open.unit)
            .collect();
        if still == open {
            self.clear_stale(settings::ENDPOINTS_STALE).await?;
        }
        Ok(())
    }

    /// Tells the own plugins under which tags friends write, so that they have a budget of their own. A plugin that is away keeps
    /// nobody waiting: friends can still write as strangers do.
    async fn register_tags(&self) -> Result<(), ClientError> {
        if !self.is_stale(settings::TAGS_STALE).await? {
            return Ok(());
        }
        let mut conn = self.store().read().await?;
        let not_before = settings::number(&mut conn, settings::TAGS_RETRY_AT, 0).await?;
        drop(conn);
        if now().millis() < not_before {
            return Ok(());
        }
        self.forget_directory();
        let tags = self.directory().await?.tags();
        let mut told = Ok(());
        for plugin in self.own_plugins().await? {
            told = told.and(plugin.set_tags(&tags).await);
        }
        match told {
            Ok(()) => self.clear_stale(settings::TAGS_STALE).await,
            Err(error) => {
                let later = now().plus_millis(TAGS_RETRY_MS).millis().to_string();
                let mut tx = self.store().write().await?;
                settings::set(tx.conn(), settings::TAGS_RETRY_AT, &later).await?;
                tx.commit().await?;
                Err(error.into())
            }
        }
    }

    pub(crate) async fn is_stale(&self, name: &str) -> Result<bool, ClientError> {
        let value = settings::get(&mut *self.store().read().await?, name).await?;
        Ok(value.as_deref() == Some("1"))
    }

    pub(crate) async fn clear_stale(&self, name: &str) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        settings::set(tx.conn(), name, "0").await?;
        tx.commit().await
    }
}

/// The channel file about a pair.
pub(crate) fn channel_file(pair: &Pair) -> Result<ChannelFile, ClientError> {
    let records = pair.file_records();
    let both = records.own.iter().chain(&records.held);
    Ok(ChannelFile::collect(pair.me(), pair.peer(), both)?)
}

/// Whether everything of `peer` that must be read is in the file by now.
pub(crate) async fn file_is_current(wallet: &Wallet, peer: &UserKey) -> Result<bool, ClientError> {
    let row = pairs::get(&mut *wallet.store().read().await?, peer).await?;
    Ok(row.is_some_and(|row| row.file_version >= row.version))
}

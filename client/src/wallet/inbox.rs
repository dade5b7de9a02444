//! Reading the own inbox: opening envelopes, applying what friends sent, noting strangers.
//!
//! An envelope is acknowledged to the plugin only after what it held is durable here. A second copy changes nothing.

use std::collections::BTreeSet;

use atomicity_ledger::seal::{Envelope, Parcel, Route, open_known, open_stranger};
use atomicity_ledger::{LedgerError, Record as _, RecordHash, UserKey, jws, record};

use super::event::{WalletEvent, WalletEventKind};
use super::receive::{Received, Source, is_friend, judge_profile};
use super::{Fault, Wallet, now, requests};
use crate::error::ClientError;
use crate::net::plugin::{InboxItem, PluginClient};
use crate::store::contacts::{self, Contact, ContactStatus};
use crate::store::history::{self, HistoryItem};
use crate::store::pairs::agent::{self, AgentStage};
use crate::store::{inbox, rules};

/// Envelopes that are read at once.
const PAGE: u16 = 100;
/// Pages that are read in one go at most.
const PAGES: usize = 1000;
/// Strangers who are remembered at most.
const MAX_STRANGERS: u64 = 1000;

/// What reading the inboxes brought.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct InboxReport {
    /// Envelopes that were read.
    pub read: u64,
    /// Records applied, known already, waiting, refused.
    pub counts: [u64; 4],
    /// What happened.
    pub events: Vec<WalletEvent>,
    /// Why an inbox could not be read, if one couldn't.
    pub fault: Option<Fault>,
    /// Whether any inbox answered.
    pub reached: bool,
    /// Friends whose records wait until the authority of a key was looked up.
    pub(crate) look_at: BTreeSet<UserKey>,
}

impl InboxReport {
    fn add(&mut self, received: Received) {
        let counts = [
            received.applied,
            received.duplicates,
            received.pending,
            received.refused,
        ];
        for (sum, count) in self.counts.iter_mut().zip(counts) {
            *sum += count;
        }
        self.events.extend(received.events);
    }
}

impl Wallet {
    /// Reads all own inboxes to their end.
    pub(crate) async fn read_inboxes(&self) -> Result<InboxReport, ClientError> {
        let mut report = InboxReport::default();
        for plugin in self.own_plugins().await? {
            match self.read_inbox(&plugin, &mut report).await {
                Ok(()) => report.reached = true,
                Err(ClientError::Net(error)) => {
                    report.fault = Some(Fault::from(&ClientError::Net(error)));
                }
                Err(error) => return Err(error),
            }
        }
        let mut tx = self.store().write().await?;
        inbox::forget_old(tx.conn(), now().millis()).await?;
        tx.commit().await?;
        Ok(report)
    }

    async fn read_inbox(
        &self,
        plugin: &PluginClient,
        report: &mut InboxReport,
    ) -> Result<(), ClientError> {
        let mut after: Option<String> = None;
        for _ in 0..PAGES {
            let page = plugin.inbox(after.as_deref(), PAGE).await?;
            let mut ids = Vec::new();
            for item in &page.items {
                if self.is_for_agent(item).await? {
                    continue;
                }
                let (from, received) = self.take_item(item).await?;
                if let Some(from) = from.filter(|_| !received.lookups.is_empty()) {
                    report.look_at.insert(from);
                }
                report.add(received);
                report.read += 1;
                ids.push(item.id.clone());
            }
            if !ids.is_empty() {
                plugin.ack(&ids).await?;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Whether an envelope is the agent's to take: it came under the tag of a friend whose books are there, or under one that only the
    /// agent knows, for an answer to what it asked. It is left where it lies.
    pub(crate) async fn is_for_agent(&self, item: &InboxItem) -> Result<bool, ClientError> {
        let Ok(envelope) = Envelope::from_json(item.envelope.to_string().as_bytes()) else {
            return Ok(false);
        };
        let Route::Known(tag) = envelope.route() else {
            return Ok(false);
        };
        for _ in 0..2 {
            if let Some(agreement) = self.directory().await?.agreement(tag) {
                return self.is_with_agent(agreement.from()).await;
            }
            // Another process may have added a friend since the directory was made.
            self.forget_directory();
        }
        let pairs = agent::pairs(&mut *self.store().read().await?).await?;
        Ok(pairs.iter().any(|pair| pair.stage != AgentStage::Wanted))
    }

    /// Applies one envelope, and says whose it was. Only what stops the wallet itself is an error: an envelope that is void is
    /// dropped.
    pub(crate) async fn take_item(
        &self,
        item: &InboxItem,
    ) -> Result<(Option<UserKey>, Received), ClientError> {
        let json = item.envelope.to_string();
        let hash = *RecordHash::of(&json).as_bytes();
        if inbox::was_seen(&mut *self.store().read().await?, &hash).await? {
            let again = Received {
                duplicates: 1,
                ..Received::default()
            };
            return Ok((None, again));
        }
        let parcel = match Envelope::from_json(json.as_bytes()) {
            Ok(envelope) => self.unseal(&envelope).await?,
            Err(error) => Err(error),
        };
        match parcel {
            Ok(parcel) => Ok((Some(parcel.from), self.take_parcel(&parcel, &hash).await?)),
            Err(error) => {
                self.mark_seen(&hash).await?;
                Ok((None, void(&error)))
            }
        }
    }

    async fn unseal(
        &self,
        envelope: &Envelope,
    ) -> Result<Result<Parcel, LedgerError>, ClientError> {
        let Route::Known(tag) = envelope.route() else {
            let keys = self.keys().await?;
            return Ok(open_stranger(&self.user(), &keys.encryption, envelope));
        };
        for attempt in 0..2 {
            if let Some(agreement) = self.directory().await?.agreement(tag) {
                return Ok(open_known(agreement, envelope));
            }
            if attempt == 0 {
                // Another process may have added a friend since the directory was made.
                self.forget_directory();
            }
        }
        Ok(Err(LedgerError::SealBroken("its tag is unknown")))
    }

    pub(super) async fn take_parcel(
        &self,
        parcel: &Parcel,
        hash: &[u8; 32],
    ) -> Result<Received, ClientError> {
        // What is about requests is stored first: a second copy of it changes nothing.
        let (letters, others) = requests::sort(&parcel.records);
        let letters = !letters.is_empty() && self.keep_letter(&parcel.from, &letters).await?;
        let contact = contacts::get(&mut *self.store().read().await?, &parcel.from).await?;
        let mut received = if is_friend(contact.as_ref()) {
            let source = Source::Envelope(hash);
            self.receive(&parcel.from, &others, &[], source).await?
        } else {
            self.meet(parcel, contact, hash).await?
        };
        received.letters = letters;
        Ok(received)
    }

    /// A stranger said hello: they are noted if a profile proves who they are. Everything else of theirs is read from their
    /// channel file once they are added.
    async fn meet(
        &self,
        parcel: &Parcel,
        known: Option<Contact>,
        hash: &[u8; 32],
    ) -> Result<Received, ClientError> {
        let mut tx = self.store().write().await?;
        let now = now();
        inbox::mark_seen(tx.conn(), hash, now.millis()).await?;
        let profile = parcel
            .records
            .iter()
            .filter(|jws| is_profile(jws))
            .find_map(|jws| judge_profile(jws, parcel.from, None, now).ok());
        let mut received = Received::default();
        let Some(profile) = profile.filter(|_| parcel.from != self.user()) else {
            tx.commit().await?;
            return Ok(received);
        };
        let strangers = contacts::count(tx.conn(), ContactStatus::Pending).await?;
        let removed = known
            .as_ref()
            .is_some_and(|known| known.status == ContactStatus::Removed);
        let blocked = rules::is_blocked(tx.conn(), &parcel.from).await?;
        if removed || blocked || (known.is_none() && strangers >= MAX_STRANGERS) {
            tx.commit().await?;
            return Ok(received);
        }
        let is_new = known.is_none();
        let mut contact = known.unwrap_or_else(|| Contact::new(parcel.from, now.millis()));
        contact.name = profile
            .record()
            .name
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        contact.profile = Some(profile.jws().to_owned());
        contact.profile_at = Some(now.millis());
        contact.last_seen = Some(now.millis());
        contacts::put(tx.conn(), &contact).await?;
        if is_new {
            let item = HistoryItem {
                at: now.millis(),
                user: Some(parcel.from),
                kind: "hello".to_owned(),
                ..HistoryItem::default()
            };
            history::add(tx.conn(), &item).await?;
            received.events.push(WalletEvent {
                at: now.millis(),
                user: Some(parcel.from),
                friend: Some(contact.name.clone()),
                kind: WalletEventKind::Hello,
            });
        }
        received.applied = 1;
        tx.commit().await?;
        Ok(received)
    }

    async fn mark_seen(&self, hash: &[u8; 32]) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        inbox::mark_seen(tx.conn(), hash, now().millis()).await?;
        tx.commit().await
    }
}

fn is_profile(jws: &str) -> bool {
    jws::peek_typ(jws).is_ok_and(|typ| typ == record::Profile::TYP)
}

fn void(error: &LedgerError) -> Received {
    Received {
        refused: 1,
        events: vec![WalletEvent {
            at: now().millis(),
            user: None::<UserKey>,
            friend: None,
            kind: WalletEventKind::Error {
                code: error.code().to_owned(),
                message: format!("an envelope in the inbox is void: {error}"),
            },
        }],
        ..Received::default()
    }
}

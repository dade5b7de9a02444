//! Letters: records about requests, sealed for one wallet, to friends and strangers alike.

use atomicity_ledger::jws::peek_typ;
use atomicity_ledger::record::{Invoice, Part, PartAnswer, PaymentRequest, ReplyTo, RequestState};
use atomicity_ledger::seal::{Agreement, KeyId, Parcel, seal_known, seal_stranger};
use atomicity_ledger::{AnyRecord, LedgerError, Record as _, Signed, UserKey};
use futures_util::{StreamExt as _, stream};

use super::super::receive::{is_friend, judge_profile};
use super::super::{Wallet, WalletEvent, WalletEventKind, directory, entropy, flush, now};
use super::{BATCH, is_grave};
use crate::error::ClientError;
use crate::net::NetError;
use crate::net::plugin::{PluginAddress, PluginClient};
use crate::store::contacts::{self, Contact};
use crate::store::requests::letters::{self, Letter};
use crate::store::rules;

/// How long another process that sends a letter is given, milliseconds.
const CLAIM_MS: u64 = 30_000;
/// The longest wait between two attempts, milliseconds.
const MAX_BACKOFF_MS: u64 = 10 * 60 * 1000;
/// What could not be delivered for so long never is, milliseconds.
const GIVE_UP_MS: u64 = 7 * 24 * 3600 * 1000;
/// How often a letter is read whose writer can't be looked up.
const MAX_READS: u64 = 12;
/// Letters that are sent at once.
const AT_ONCE: usize = 8;

/// The types of records that travel in letters.
const TYPES: [&str; 5] = [
    PaymentRequest::TYP,
    RequestState::TYP,
    Part::TYP,
    PartAnswer::TYP,
    Invoice::TYP,
];

/// Divides what came into what is for here, and the rest.
pub(in super::super) fn sort(records: &[String]) -> (Vec<String>, Vec<String>) {
    let is_ours = |jws: &&String| peek_typ(jws).is_ok_and(|typ| TYPES.contains(&typ.as_str()));
    let (ours, rest): (Vec<&String>, Vec<&String>) = records.iter().partition(is_ours);
    let owned = |list: Vec<&String>| list.into_iter().cloned().collect();
    (owned(ours), owned(rest))
}

fn backoff_ms(tries: u64) -> u64 {
    let doublings = u32::try_from(tries.min(20)).unwrap_or(20);
    let wait = 1000_u64.saturating_mul(2_u64.saturating_pow(doublings));
    wait.min(MAX_BACKOFF_MS)
}

impl Wallet {
    /// Keeps what somebody sent about requests until it is read. Nothing of whom the user blocked.
    pub(in super::super) async fn keep_letter(
        &self,
        from: &UserKey,
        records: &[String],
    ) -> Result<bool, ClientError> {
        let mut tx = self.store().write().await?;
        if *from == self.user() || rules::is_blocked(tx.conn(), from).await? {
            return Ok(false);
        }
        let kept = letters::take(tx.conn(), from, records, now().millis()).await?;
        tx.commit().await?;
        Ok(kept)
    }

    /// Sends the letters that are due. What can't be delivered is tried again, later each time.
    pub(in super::super) async fn post_letters(&self) -> Result<(), ClientError> {
        let at = now().millis();
        let waits = letters::due(&mut *self.store().read().await?, false, at, 1).await?;
        if waits.is_empty() {
            return Ok(());
        }
        let mut tx = self.store().write().await?;
        let due = letters::due(tx.conn(), false, at, BATCH).await?;
        for letter in &due {
            let until = at.saturating_add(CLAIM_MS);
            letters::put_off(tx.conn(), letter, until, letter.tries).await?;
        }
        tx.commit().await?;
        let mut posting = stream::iter(due)
            .map(|letter| async move {
                let posted = self.post_letter(&letter).await;
                self.note_posted(&letter, posted).await
            })
            .buffer_unordered(AT_ONCE);
        while let Some(noted) = posting.next().await {
            noted?;
        }
        Ok(())
    }

    async fn note_posted(
        &self,
        letter: &Letter,
        posted: Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        let at = now().millis();
        match posted {
            Ok(()) => letters::remove(tx.conn(), letter.id).await?,
            Err(error) if is_grave(&error) => return Err(error),
            Err(_) if at.saturating_sub(letter.created_at) > GIVE_UP_MS => {
                letters::remove(tx.conn(), letter.id).await?;
            }
            Err(error) => {
                tracing::info!(code = error.code(), "a letter waits: {error}");
                let asked = match &error {
                    ClientError::Net(error) => error.retry_after(),
                    _ => None,
                };
                let asked = asked.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                let wait = asked.unwrap_or_else(|| backoff_ms(letter.tries));
                let until = at.saturating_add(wait.min(MAX_BACKOFF_MS));
                letters::put_off(tx.conn(), letter, until, letter.tries.saturating_add(1)).await?;
            }
        }
        tx.commit().await
    }

    async fn post_letter(&self, letter: &Letter) -> Result<(), ClientError> {
        if let Some(reply) = &letter.reply {
            match self.post_reply(letter, reply).await {
                // The agent that asked has gone: their wallet may want to know.
                Err(ClientError::Net(NetError::Refused {
                    code: "tag_unknown",
                    ..
                })) => {}
                posted => return posted,
            }
        }
        let contact = self.correspondent(&letter.user).await?;
        let nowhere = || ClientError::Malformed {
            what: "their profile".to_owned(),
            why: "it names no inbox".to_owned(),
        };
        let keys = directory::peer_keys(&contact)?;
        let (id, key) = keys.first().ok_or_else(nowhere)?;
        let parcels = Parcel::split(self.user(), letter.records.clone())?;
        let mut last = nowhere();
        for address in flush::inboxes(&contact)? {
            let plugin = PluginClient::new(self.net(), address);
            let mut posted = Ok(());
            for parcel in &parcels {
                let envelope = seal_stranger(&letter.user, key, *id, entropy(), parcel)?;
                posted = posted.and(plugin.post(&letter.user, &envelope).await.map(|_| ()));
            }
            match posted {
                Ok(()) => return Ok(()),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    /// Answers the agent of a user, at the inbox and under the key that it named.
    async fn post_reply(&self, letter: &Letter, reply: &ReplyTo) -> Result<(), ClientError> {
        let keys = self.keys().await?;
        let secret = keys.encryption.first();
        let secret = secret.ok_or(LedgerError::SealBroken("there is no key to seal with"))?;
        let (me, to) = (self.user(), &letter.user);
        let agreement = Agreement::outgoing(&me, secret, to, &reply.key, KeyId::REPLY)?;
        let address = PluginAddress {
            key: reply.inbox.plugin,
            url: reply
                .inbox
                .url
                .as_ref()
                .and_then(|url| url.as_str().parse().ok()),
        };
        let plugin = PluginClient::new(self.net(), address);
        for parcel in Parcel::split(me, letter.records.clone())? {
            let envelope = seal_known(&agreement, entropy(), &parcel)?;
            plugin.post(to, &envelope).await?;
        }
        Ok(())
    }

    /// Somebody with the profile that they publish now; a friend's own may do while it can't be read.
    async fn correspondent(&self, user: &UserKey) -> Result<Contact, ClientError> {
        let known = contacts::get(&mut *self.store().read().await?, user).await?;
        let friend = known.filter(|contact| is_friend(Some(contact)) && contact.profile.is_some());
        let jws = match (self.fetch_profile(user).await, friend) {
            (Ok(Some(jws)), _) => jws,
            (_, Some(friend)) => return Ok(friend),
            (Ok(None), None) => {
                return Err(NetError::NotFound(format!("the profile of {user}")).into());
            }
            (Err(error), None) => return Err(error),
        };
        let profile = judge_profile(&jws, *user, None, now())?;
        let mut contact = Contact::new(*user, now().millis());
        contact.profile = Some(profile.jws().to_owned());
        Ok(contact)
    }

    /// Reads the letters that came. What can't be judged because a server is away is read again later; what is void is thrown away.
    pub(super) async fn read_letters(&self) -> Result<Vec<WalletEvent>, ClientError> {
        let mut told = Vec::new();
        let at = now().millis();
        let due = letters::due(&mut *self.store().read().await?, true, at, BATCH).await?;
        for letter in due {
            let read = self.read_letter(&letter).await;
            let mut tx = self.store().write().await?;
            match read {
                Ok(events) => {
                    told.extend(events);
                    letters::remove(tx.conn(), letter.id).await?;
                }
                Err(error) if is_grave(&error) => return Err(error),
                Err(error)
                    if (error.is_network() || error.is_transient()) && letter.tries < MAX_READS =>
                {
                    let until = now().plus_millis(backoff_ms(letter.tries)).millis();
                    letters::put_off(tx.conn(), &letter, until, letter.tries.saturating_add(1))
                        .await?;
                }
                Err(error) => {
                    letters::remove(tx.conn(), letter.id).await?;
                    told.push(WalletEvent {
                        at: now().millis(),
                        user: Some(letter.user),
                        friend: None,
                        kind: WalletEventKind::Error {
                            code: error.code().to_owned(),
                            message: format!("what they sent about a request is void: {error}"),
                        },
                    });
                }
            }
            tx.commit().await?;
        }
        Ok(told)
    }

    async fn read_letter(&self, letter: &Letter) -> Result<Vec<WalletEvent>, ClientError> {
        let mut told = Vec::new();
        let records: Vec<AnyRecord> = letter
            .records
            .iter()
            .map(|jws| AnyRecord::decode(jws))
            .collect::<Result<_, LedgerError>>()?;
        let invoices: Vec<Signed<Invoice>> = records
            .iter()
            .filter_map(|record| match record {
                AnyRecord::Invoice(invoice) => Some(invoice.clone()),
                _ => None,
            })
            .collect();
        for record in &records {
            if record.author() != letter.user {
                return Err(LedgerError::ForeignChannel.into());
            }
            match record {
                AnyRecord::PaymentRequest(asked) => told.extend(self.take_request(asked).await?),
                AnyRecord::RequestState(state) => told.extend(self.take_state(state).await?),
                AnyRecord::Part(part) => self.take_part(part).await?,
                AnyRecord::PartAnswer(answer) => self.take_answer(answer, &invoices).await?,
                _ => {}
            }
        }
        Ok(told)
    }
}

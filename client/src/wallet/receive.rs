//! Applying what a friend sent, from the inbox or a channel file alike.
//!
//! All records of one parcel or file are one transaction, together with the answers they call for. A record that can't be judged
//! yet is kept aside and tried again whenever more arrives; one that is refused for good is reported and dropped.

use std::collections::BTreeSet;

use atomicity_ledger::authority::{Credentials, Purpose};
use atomicity_ledger::jws::peek_typ;
use atomicity_ledger::pair::{Event, KnownLogs, Outcome, Pair, PendingReason};
use atomicity_ledger::record::{ConditionalIou, Profile};
use atomicity_ledger::{AnyRecord, LedgerError, Record as _, Signed, SignerKey, UserKey};

use super::books::Change;
use super::event::{WalletEvent, WalletEventKind};
use super::{Wallet, decide, directory, logs, routed, settle};
use crate::error::ClientError;
use crate::store::contacts::{self, Contact, ContactStatus};
use crate::store::pairs::agent;
use crate::store::{forwarding, inbox, pairs, settings};

/// What became of some records of one friend.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    pub(crate) applied: u64,
    pub(crate) duplicates: u64,
    pub(crate) pending: u64,
    pub(crate) refused: u64,
    pub(crate) events: Vec<WalletEvent>,
    /// Keys whose authority must be looked up before the records that wait can be judged.
    pub(crate) lookups: BTreeSet<SignerKey>,
    /// The friend's profile changed: other keys, other inboxes.
    pub(crate) profile_changed: bool,
    /// Something could be neither judged nor kept: it must be read again.
    pub(crate) dropped: bool,
    /// Payments over friends went on.
    pub(crate) moved: bool,
    /// Something about requests waits to be read.
    pub(crate) letters: bool,
}

impl Received {
    pub(crate) fn add(&mut self, other: Self) {
        self.applied += other.applied;
        self.duplicates += other.duplicates;
        self.pending = other.pending;
        self.refused += other.refused;
        self.events.extend(other.events);
        self.lookups = other.lookups;
        self.profile_changed |= other.profile_changed;
        self.dropped |= other.dropped;
        self.moved |= other.moved;
        self.letters |= other.letters;
    }
}

/// Where records came from, which is noted in the same transaction.
pub(crate) enum Source<'a> {
    /// An envelope with this hash.
    Envelope(&'a [u8; 32]),
    /// The friend's channel file with this ETag.
    ChannelFile(Option<&'a str>),
    /// The friend's profile.
    Profile,
    /// Nothing new came.
    Nowhere,
}

impl Source<'_> {
    async fn note(&self, change: &mut Change, peer: &UserKey) -> Result<(), ClientError> {
        let now = change.now.millis();
        match self {
            Self::Envelope(hash) => inbox::mark_seen(change.conn(), hash, now).await,
            Self::ChannelFile(etag) => pairs::peer_read(change.conn(), peer, *etag, now).await,
            Self::Profile => contacts::profile_confirmed(change.conn(), peer, now).await,
            Self::Nowhere => Ok(()),
        }
    }
}

/// Records on their way into one pair.
struct Intake<'a> {
    me: UserKey,
    contact: Contact,
    pair: Pair,
    change: &'a mut Change,
    ledger_events: Vec<Event>,
    replies: Vec<AnyRecord>,
    /// Whether a record waits until a log was read.
    waits_for_logs: bool,
    /// The logs that the wallet knows, once a promise asks.
    logs: Option<KnownLogs>,
    received: Received,
}

/// What became of one record.
enum Fate {
    Done,
    Waits { kind: String, reason: &'static str },
}

impl Wallet {
    /// Applies records of a friend in one transaction. `own` are records of this user that the friend shows.
    ///
    /// # Errors
    /// Only what stops everything: the store. A record that is refused is counted and reported.
    pub(crate) async fn receive(
        &self,
        peer: &UserKey,
        records: &[String],
        own: &[String],
        source: Source<'_>,
    ) -> Result<Received, ClientError> {
        let mut change = self.change().await?;
        let Some(contact) = contacts::get(change.conn(), peer).await? else {
            source.note(&mut change, peer).await?;
            change.commit().await?;
            return Ok(Received::default());
        };
        if agent::keeps(change.conn(), peer).await? {
            drop(change);
            return self.receive_beside(contact, records, source).await;
        }
        let received = receive_in(&mut change, self.user(), contact, records, own).await?;
        let source = match source {
            // Without its ETag the file is read in full again.
            Source::ChannelFile(_) if received.dropped => Source::ChannelFile(None),
            source => source,
        };
        source.note(&mut change, peer).await?;
        change.commit().await?;
        if received.profile_changed {
            self.forget_directory();
        }
        Ok(received)
    }

    /// Applies nothing but the profile of a friend with whom the agent keeps the books. What else came in an envelope is passed on to
    /// the agent.
    async fn receive_beside(
        &self,
        contact: Contact,
        records: &[String],
        source: Source<'_>,
    ) -> Result<Received, ClientError> {
        let peer = contact.user;
        let is_profile = |jws: &&String| peek_typ(jws).is_ok_and(|typ| typ == Profile::TYP);
        let (profiles, others): (Vec<&String>, Vec<&String>) =
            records.iter().partition(|jws| is_profile(jws));
        if matches!(source, Source::Envelope(_)) {
            let others: Vec<String> = others.into_iter().cloned().collect();
            // First there, then forgotten here: the agent takes a second copy for what it is.
            self.pass_to_agent(&peer, &others).await?;
        }
        let profiles: Vec<String> = profiles.into_iter().cloned().collect();
        let mut change = self.change().await?;
        let received = receive_in(&mut change, self.user(), contact, &profiles, &[]).await?;
        source.note(&mut change, &peer).await?;
        change.commit().await?;
        if received.profile_changed {
            self.forget_directory();
        }
        Ok(received)
    }

    /// Takes what was found where a friend's delegations lie, and tries the records again that waited for it.
    pub(crate) async fn receive_authority(
        &self,
        peer: &UserKey,
        key: SignerKey,
        found: Option<&str>,
    ) -> Result<Received, ClientError> {
        let mut change = self.change().await?;
        let Some(contact) = contacts::get(change.conn(), peer).await? else {
            return Ok(Received::default());
        };
        // Of books that the agent keeps this is a copy: what waits here is judged by it.
        let mut pair = change.load(self.user(), *peer).await?;
        let now = change.now;
        if let Some(jws) = found
            && let Err(error) = pair.learn_authority(jws, now)
        {
            // What lies there is no authority; the look-up itself still counts.
            tracing::warn!(user = %peer, code = error.code(), "a delegation file is not usable");
        }
        pair.authority_checked(key, now);
        change.save_quietly(&pair).await?;
        let received = receive_in(&mut change, self.user(), contact, &[], &[]).await?;
        change.commit().await?;
        Ok(received)
    }
}

async fn receive_in(
    change: &mut Change,
    me: UserKey,
    contact: Contact,
    records: &[String],
    own: &[String],
) -> Result<Received, ClientError> {
    let pair = change.load(me, contact.user).await?;
    let before = pair.clone();
    let mut intake = Intake {
        me,
        contact,
        pair,
        change,
        ledger_events: Vec::new(),
        replies: Vec::new(),
        waits_for_logs: false,
        logs: None,
        received: Received::default(),
    };
    intake.show_own(own);
    intake.take_all(records).await?;
    intake.finish(&before).await
}

impl Intake<'_> {
    /// Records of this user that the friend shows: they may prove that the book was written elsewhere.
    fn show_own(&mut self, own: &[String]) {
        let now = self.change.now;
        for jws in own {
            let shown = AnyRecord::decode(jws).and_then(|record| self.pair.show_own(&record, now));
            if let Ok(Outcome::Applied { events, .. }) = shown {
                self.ledger_events.extend(events);
            }
        }
    }

    /// Takes new records and then, as long as something moves, those that waited.
    async fn take_all(&mut self, records: &[String]) -> Result<(), ClientError> {
        let user = self.contact.user;
        let held = inbox::held(self.change.conn(), &user).await?;
        let known: BTreeSet<String> = held.iter().map(|held| held.record.clone()).collect();
        let mut waiting: Vec<(Option<i64>, String)> = records
            .iter()
            .filter(|jws| !known.contains(*jws))
            .map(|jws| (None, jws.clone()))
            .collect();
        waiting.extend(held.into_iter().map(|held| (Some(held.id), held.record)));
        loop {
            let before = waiting.len();
            let mut still = Vec::new();
            for (id, jws) in waiting {
                match self.take(&jws).await? {
                    Fate::Done => {
                        if let Some(id) = id {
                            inbox::release(self.change.conn(), id).await?;
                        }
                    }
                    Fate::Waits { kind, reason } => still.push((id, jws, kind, reason)),
                }
            }
            if still.is_empty() || still.len() == before {
                return self.hold(still).await;
            }
            waiting = still.into_iter().map(|(id, jws, _, _)| (id, jws)).collect();
        }
    }

    async fn hold(
        &mut self,
        still: Vec<(Option<i64>, String, String, &'static str)>,
    ) -> Result<(), ClientError> {
        let (user, now) = (self.contact.user, self.change.now.millis());
        for (_, jws, kind, reason) in still {
            self.received.pending += 1;
            if !inbox::hold(self.change.conn(), &user, &jws, &kind, reason, now).await? {
                self.received.dropped = true;
                self.fault(
                    "too_many_pending",
                    "too many records of this friend wait already",
                );
            }
        }
        Ok(())
    }

    async fn take(&mut self, jws: &str) -> Result<Fate, ClientError> {
        let kind = match peek_typ(jws) {
            Ok(kind) => kind,
            // A grant has another header; anything else unreadable is refused there too.
            Err(_) => return Ok(self.take_grant(jws)),
        };
        if kind == Profile::TYP {
            return self.take_profile(jws).await;
        }
        let record = match AnyRecord::decode(jws) {
            Ok(record) => record,
            Err(error) => return Ok(self.refuse(&kind, &error)),
        };
        if settle::is_one(&record) {
            return self.take_settlement(kind, &record).await;
        }
        if kind == ConditionalIou::TYP && self.logs.is_none() {
            self.logs = Some(logs::known(self.change.conn()).await?);
        }
        let none = KnownLogs::default();
        let (known, now) = (self.logs.as_ref().unwrap_or(&none), self.change.now);
        let pen = Some(&self.change.keys.pen);
        match self.pair.receive_with(&record, known, now, pen) {
            Ok(Outcome::Applied { events, replies }) => {
                self.received.applied += 1;
                self.ledger_events.extend(events);
                self.replies.extend(replies);
                if kind == ConditionalIou::TYP {
                    let (change, pair) = (&mut *self.change, &mut self.pair);
                    let answers = settle::release_came(change, pair, &record.hash()).await?;
                    self.replies.extend(answers);
                }
                Ok(Fate::Done)
            }
            Ok(Outcome::Duplicate | Outcome::Stale) => {
                self.received.duplicates += 1;
                Ok(Fate::Done)
            }
            Ok(Outcome::Pending(reason)) => Ok(self.wait(kind, reason)),
            Err(error) => Ok(self.refuse(&kind, &error)),
        }
    }

    /// A request to settle, an answer to one, or its withdrawal.
    async fn take_settlement(
        &mut self,
        kind: String,
        record: &AnyRecord,
    ) -> Result<Fate, ClientError> {
        match settle::take(self.change, &mut self.pair, record).await? {
            settle::Taken::Applied { replies, told } => {
                self.received.applied += 1;
                self.replies.extend(replies);
                told.into_iter().for_each(|event| self.push(event));
            }
            settle::Taken::Again(replies) => {
                self.received.duplicates += 1;
                self.replies.extend(replies);
            }
            settle::Taken::Waits { reason, lookup } => {
                self.received.lookups.extend(lookup);
                return Ok(Fate::Waits { kind, reason });
            }
            settle::Taken::Refused { code, why } => {
                self.received.refused += 1;
                self.fault(code, &format!("a {kind} record was refused: {why}"));
            }
        }
        Ok(Fate::Done)
    }

    fn wait(&mut self, kind: String, reason: PendingReason) -> Fate {
        let reason = match reason {
            PendingReason::BookUnknown => "book_unknown",
            PendingReason::RevocationUnknown { key } => {
                self.received.lookups.insert(key);
                "revocation_unknown"
            }
            PendingReason::NoPen => "no_pen",
            PendingReason::HeldUnknown => "held_unknown",
            PendingReason::StateUnknown => "state_unknown",
            PendingReason::PromiseUnknown => "promise_unknown",
            PendingReason::LogUnread => {
                self.waits_for_logs = true;
                "log_unread"
            }
            _ => "unknown",
        };
        Fate::Waits { kind, reason }
    }

    fn take_grant(&mut self, jws: &str) -> Fate {
        match self.pair.learn_authority(jws, self.change.now) {
            Ok(true) => self.received.applied += 1,
            Ok(false) => self.received.duplicates += 1,
            Err(error) => return self.refuse("unreadable", &error),
        }
        Fate::Done
    }

    async fn take_profile(&mut self, jws: &str) -> Result<Fate, ClientError> {
        let known = directory::profile(&self.contact)?;
        let credentials = self.pair.peer_credentials();
        let now = self.change.now;
        let newer = match judge_profile(jws, self.contact.user, Some(credentials), now) {
            Ok(profile) => profile,
            Err(error) => return Ok(self.refuse(Profile::TYP, &error)),
        };
        let serial = known.as_ref().map(|known| known.record().serial);
        if serial.is_some_and(|serial| newer.record().serial <= serial) {
            self.received.duplicates += 1;
            return Ok(Fate::Done);
        }
        let same_key = known
            .as_ref()
            .and_then(|known| known.record().current_key())
            == newer.record().current_key();
        self.contact.profile = Some(jws.to_owned());
        self.contact.profile_at = Some(now.millis());
        contacts::put(self.change.conn(), &self.contact).await?;
        if !same_key {
            // Our file about them lies elsewhere from now on, and they write under another tag.
            pairs::republish(self.change.conn(), &self.contact.user).await?;
            settings::set(self.change.conn(), settings::TAGS_STALE, "1").await?;
            settings::set(self.change.conn(), settings::CONTACTS_STALE, "1").await?;
        }
        self.received.profile_changed = true;
        self.received.applied += 1;
        Ok(Fate::Done)
    }

    fn refuse(&mut self, kind: &str, error: &LedgerError) -> Fate {
        self.received.refused += 1;
        self.fault(
            error.code(),
            &format!("a {kind} record was refused: {error}"),
        );
        Fate::Done
    }

    fn fault(&mut self, code: &str, message: &str) {
        self.push(WalletEventKind::Error {
            code: code.to_owned(),
            message: message.to_owned(),
        });
    }

    fn push(&mut self, kind: WalletEventKind) {
        self.received.events.push(WalletEvent {
            at: self.change.now.millis(),
            user: Some(self.contact.user),
            friend: Some(self.contact.name.clone()),
            kind,
        });
    }

    async fn finish(mut self, before: &Pair) -> Result<Received, ClientError> {
        let user = self.contact.user;
        if self.pair != *before {
            // What came due while this wallet could not sign is booked as soon as it can.
            if let Ok(states) = self.pair.book_due(&self.change.keys.pen, self.change.now) {
                self.replies
                    .extend(states.into_iter().map(AnyRecord::State));
            }
            self.change.save(&self.pair).await?;
        }
        if !self.replies.is_empty() {
            let replies = std::mem::take(&mut self.replies);
            decide::dispatch(self.change, self.me, &self.pair, replies).await?;
        }
        let events = std::mem::take(&mut self.ledger_events);
        if events.iter().any(|event| matches!(event, Event::Line(_))) {
            forwarding::line_set(self.change.conn(), &user).await?;
        }
        if decide::concerns_logs(&events) || self.waits_for_logs {
            decide::want_logs(self.change).await?;
        }
        let pairs = (before, &self.pair);
        let again = events.clone();
        let changed = self.pair != *before || !again.is_empty();
        let told = super::history::tell(self.change, pairs, &self.contact, events).await?;
        self.received.events.extend(told);
        if changed {
            let told = routed::react(self.change, self.me, user, &again).await?;
            self.received.moved = !told.is_empty();
            self.received.events.extend(told);
        }
        let now = self.change.now.millis();
        contacts::seen(self.change.conn(), &user, now).await?;
        debug_assert!(self.me != user);
        Ok(self.received)
    }
}

/// Checks a profile: whose it is, and that the root, or a grant that names the path, signed it.
pub(crate) fn judge_profile(
    jws: &str,
    user: UserKey,
    credentials: Option<&Credentials>,
    now: atomicity_ledger::Timestamp,
) -> Result<Signed<Profile>, LedgerError> {
    let profile: Signed<Profile> = Signed::decode(jws)?;
    if profile.record().user != user {
        return Err(LedgerError::ForeignChannel);
    }
    let nobody = Credentials::new(user);
    credentials
        .unwrap_or(&nobody)
        .judge(profile.kid(), Purpose::Profile, now)?;
    Ok(profile)
}

/// Whether somebody is among the friends.
pub(crate) fn is_friend(contact: Option<&Contact>) -> bool {
    contact.is_some_and(|contact| contact.status == ContactStatus::Friend)
}

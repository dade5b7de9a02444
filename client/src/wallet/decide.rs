//! Deciding promises: reading the logs on which they hang, and settling each as soon as its log has spoken.

mod outgoing;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use atomicity_ledger::pair::{Expiry, Standing};
use atomicity_ledger::record::{ConditionalIou, LogTerm};
use atomicity_ledger::{AnyRecord, RecordHash, Signed, UserKey};
use atomicity_witness_log::{End, Policy, Window};
use futures_util::{StreamExt as _, stream};

pub(crate) use outgoing::{concerns_logs, dispatch, want, want_logs};
use verdict::{Decision, convict, decision};

use super::books::{self, Change};
use super::event::{WalletEvent, WalletEventKind};
use super::logs::{ForkView, Log};
use super::receive::Source;
use super::{Fault, Wallet, history, promise, routed};
use crate::error::ClientError;
use crate::net::now_ms;
use crate::store::pairs::agent;
use crate::store::{contacts, inbox, logs, pairs, payments, preimages, settings, windows};

/// Logs that are read side by side.
const LOGS_AT_ONCE: usize = 8;
/// A log that shows nothing newer than this may be dead, in milliseconds.
const SILENT_MS: u64 = 10_000;
/// How long own proofs of expiry are kept, in milliseconds.
const KEEP_PROOFS_MS: u64 = 90 * 24 * 60 * 60 * 1000;
/// Larger proofs of expiry are not kept.
const MAX_KEPT_PROOF: usize = 1024 * 1024;

/// A promise that is not decided.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) user: UserKey,
    pub(crate) iou: Signed<ConditionalIou>,
}

impl Open {
    fn term(&self, origin: &str) -> Option<&LogTerm> {
        let logs = &self.iou.record().terms.logs;
        logs.iter().find(|log| log.origin.as_str() == origin)
    }

    /// Whether the promise hangs on this log.
    pub(crate) fn names(&self, origin: &str) -> bool {
        self.term(origin).is_some()
    }
}

/// What looking at the undecided promises brought.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DecideReport {
    /// Promises that are still not decided.
    pub open: u64,
    /// Promises that were decided now.
    pub decided: u64,
    /// Records that waited for a log and could be taken.
    pub applied: u64,
    /// Whether nothing hung on any log.
    pub idle: bool,
    /// Whether a deadline is near or has just passed.
    pub soon: bool,
    /// Whether payments went on: something may wait to be sent.
    pub moved: bool,
    /// Logs that could not be read, and why.
    pub unreadable: Vec<(String, Fault)>,
    /// What happened.
    pub events: Vec<WalletEvent>,
}

/// What a log says.
struct Reading {
    policies: BTreeMap<String, (String, Policy)>,
    window: Option<Window>,
    end: Option<End>,
    news: Vec<ForkView>,
    fault: Option<Fault>,
}

impl Wallet {
    /// Looks at every undecided promise of every friend, the own ones and theirs: reads the logs, and settles what is decided. The
    /// records that this brings are committed, and sent by the next [`Wallet::flush`].
    ///
    /// # Errors
    /// [`ClientError::BookKeyInUse`], [`ClientError::GenerationUnknown`], and what the store says. A log that can't be read is
    /// reported.
    pub async fn decide(&self) -> Result<DecideReport, ClientError> {
        let mut report = DecideReport::default();
        let driven = self.drive_payments().await?;
        report.moved = !driven.is_empty();
        report.events.extend(driven);
        let wanted = settings::get(&mut *self.store().read().await?, settings::LOGS_WANTED).await?;
        self.tell_forks(self.ask_watchtowers_again().await?, &mut report);
        let paying = !payments::open(&mut *self.store().read().await?)
            .await?
            .is_empty();
        report.idle = wanted.is_none() && !paying;
        if wanted.is_none() {
            return Ok(report);
        }
        self.ensure_may_sign().await?;
        let mut open = self.open_promises().await?;
        let waiting = inbox::waiting_for_logs(&mut *self.store().read().await?).await?;
        let readings = self
            .read_logs(&open, !waiting.is_empty(), &mut report)
            .await?;
        for user in waiting {
            let taken = self.receive(&user, &[], &[], Source::Nowhere).await?;
            report.applied += taken.applied;
            report.events.extend(taken.events);
        }
        self.tell_forks(self.compare_notes().await?, &mut report);
        let mut settled: BTreeMap<UserKey, Vec<(RecordHash, Decision)>> = BTreeMap::new();
        open.retain(|promise| match decision(promise, &readings) {
            Some(decision) => {
                let of_user = settled.entry(promise.user).or_default();
                of_user.push((promise.iou.hash(), decision));
                false
            }
            None => true,
        });
        for (user, decisions) in settled {
            report.decided += decisions.len() as u64;
            report
                .events
                .extend(self.settle_promises(&user, decisions).await?);
        }
        self.tell_forks(self.contradictions().await?, &mut report);
        report.open = open.len() as u64;
        let now = now_ms();
        report.soon = open.iter().any(|promise| {
            promise
                .iou
                .record()
                .terms
                .deadline_ms
                .saturating_add(60_000)
                > now
        });
        self.tidy(wanted, &open).await?;
        Ok(report)
    }

    /// Every promise that hangs on a log and is not decided.
    pub(crate) async fn open_promises(&self) -> Result<Vec<Open>, ClientError> {
        let mut open = Vec::new();
        let mut conn = self.store().read().await?;
        for row in pairs::with_promises(&mut conn).await? {
            // The agent follows the logs for the books that it keeps.
            if agent::keeps(&mut conn, &row.user).await? {
                continue;
            }
            let pair = books::parse(&row.body)?;
            for promise in promise::all(&pair) {
                let direct = promise.iou().record().terms.is_direct();
                if promise.standing() == Standing::Undecided && !direct {
                    open.push(Open {
                        user: row.user,
                        iou: promise.iou().clone(),
                    });
                }
            }
        }
        Ok(open)
    }

    async fn read_logs(
        &self,
        open: &[Open],
        all: bool,
        report: &mut DecideReport,
    ) -> Result<BTreeMap<String, Reading>, ClientError> {
        let mut origins: BTreeSet<String> = open
            .iter()
            .flat_map(|promise| &promise.iou.record().terms.logs)
            .map(|log| log.origin.as_str().to_owned())
            .collect();
        if all {
            origins.extend(self.logs().await?.into_iter().map(|log| log.origin));
        }
        let mut reads = stream::iter(origins)
            .map(|origin| async move {
                let from = open.iter().filter_map(|promise| promise.term(&origin));
                let from = from.map(|term| term.from_size).min();
                let read = self.read_log(&origin, from).await;
                (origin, read)
            })
            .buffer_unordered(LOGS_AT_ONCE);
        let mut readings = BTreeMap::new();
        while let Some((origin, read)) = reads.next().await {
            match read {
                Ok(mut reading) => {
                    self.tell_forks(std::mem::take(&mut reading.news), report);
                    if let Some(fault) = reading.fault.take() {
                        report.unreadable.push((origin.clone(), fault));
                    }
                    readings.insert(origin, reading);
                }
                Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
                Err(error) => report.unreadable.push((origin, Fault::from(&error))),
            }
        }
        Ok(readings)
    }

    /// Reads what a log shows, from the entry `from` on if anything hangs on it.
    async fn read_log(&self, origin: &str, from: Option<u64>) -> Result<Reading, ClientError> {
        let mut log = self.log(origin).await?;
        let mut reading = Reading {
            policies: BTreeMap::new(),
            window: None,
            end: None,
            news: Vec::new(),
            fault: None,
        };
        match self.refresh_pin(&mut log).await {
            Ok(news) => reading.news = news,
            Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
            Err(error) => reading.fault = Some(Fault::from(&error)),
        }
        let mut conn = self.store().read().await?;
        for (hash, text) in logs::policies(&mut conn, origin).await? {
            let policy = Policy::parse(text.as_bytes())?;
            reading.policies.insert(hash, (text, policy));
        }
        drop(conn);
        let Some(from) = from else {
            return Ok(reading);
        };
        match self.read_window(&log, from).await {
            Ok(window) => reading.window = Some(window),
            Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
            Err(error) => {
                reading.fault.get_or_insert(Fault::from(&error));
            }
        }
        if self.seems_dead(&reading) {
            self.look_for_end(&log, from, &mut reading).await?;
        }
        Ok(reading)
    }

    fn seems_dead(&self, reading: &Reading) -> bool {
        let newest = reading.window.as_ref().and_then(Window::last_time_ms);
        let silent = newest.is_none_or(|at| at.saturating_add(SILENT_MS) < now_ms());
        reading.fault.is_some() || silent
    }

    async fn look_for_end(
        &self,
        log: &Log,
        from: u64,
        reading: &mut Reading,
    ) -> Result<(), ClientError> {
        match self.read_end(log, from).await {
            Ok(end) => reading.end = end,
            Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
            Err(error) => {
                reading.fault.get_or_insert(Fault::from(&error));
            }
        }
        Ok(())
    }

    /// Settles decided promises of one friend in one transaction.
    async fn settle_promises(
        &self,
        user: &UserKey,
        decisions: Vec<(RecordHash, Decision)>,
    ) -> Result<Vec<WalletEvent>, ClientError> {
        let mut change = self.change().await?;
        let Some(contact) = contacts::get(change.conn(), user).await? else {
            return Ok(Vec::new());
        };
        let mut pair = change.load(self.user(), *user).await?;
        let before = pair.clone();
        let (mut events, mut records) = (Vec::new(), Vec::new());
        for (iou, decision) in decisions {
            let done = match &decision {
                Decision::Published(preimage, proof) => {
                    let (pen, now) = (&change.keys.pen, change.now);
                    pair.publish(iou, *preimage, Some(proof.clone()), pen, now)
                }
                Decision::Expired(proofs) => {
                    let shown: Vec<Expiry> = proofs.iter().map(|(_, p)| p.clone()).collect();
                    pair.expire(iou, &shown, &change.keys.pen, change.now)
                }
            };
            match done {
                Ok(done) => {
                    events.extend(done.events);
                    records.extend(done.records);
                }
                Err(error) => {
                    tracing::warn!(code = error.code(), "a promise is not settled: {error}");
                    continue;
                }
            }
            if let Decision::Expired(proofs) = decision {
                keep_proofs(&mut change, &iou, &proofs).await?;
            }
        }
        if pair == before {
            return Ok(Vec::new());
        }
        if let Ok(states) = pair.book_due(&change.keys.pen, change.now) {
            records.extend(states.into_iter().map(AnyRecord::State));
        }
        change.save(&pair).await?;
        dispatch(&mut change, self.user(), &pair, records).await?;
        let again = events.clone();
        let mut told = history::tell(&mut change, (&before, &pair), &contact, events).await?;
        told.extend(routed::react(&mut change, self.user(), *user, &again).await?);
        change.commit().await?;
        Ok(told)
    }

    /// Promises that this wallet had proven to be expired, and that turn out to be published: somebody signed both.
    async fn contradictions(&self) -> Result<Vec<ForkView>, ClientError> {
        let mut conn = self.store().read().await?;
        let kept = preimages::proven_expired(&mut conn).await?;
        if kept.is_empty() {
            return Ok(Vec::new());
        }
        let mut lies = Vec::new();
        for row in pairs::with_promises(&mut conn).await? {
            let pair = books::parse(&row.body)?;
            for promise in promise::all(&pair) {
                let hash = promise.iou().hash();
                let proof = promise.publication().and_then(|p| p.record().proof.clone());
                let Some(proof) = proof.filter(|_| kept.contains(&hash.to_string())) else {
                    continue;
                };
                for (origin, _, expiry) in preimages::expiry_proofs(&mut conn, &hash).await? {
                    lies.extend(convict(promise.iou(), &origin, &proof, &expiry));
                }
            }
        }
        drop(conn);
        let mut news = Vec::new();
        for lie in lies {
            news.extend(self.caught(lie).await?);
        }
        Ok(news)
    }

    fn tell_forks(&self, forks: Vec<ForkView>, report: &mut DecideReport) {
        report
            .events
            .extend(forks.into_iter().map(|fork| WalletEvent {
                at: now_ms(),
                user: None,
                friend: None,
                kind: WalletEventKind::LogCaught {
                    origin: fork.origin,
                    culprit: fork.culprit,
                    what: fork.words,
                },
            }));
    }

    /// Forgets what nobody asks about any more.
    async fn tidy(&self, wanted: Option<String>, open: &[Open]) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        for origin in windows::origins(tx.conn()).await? {
            if !open.iter().any(|promise| promise.names(&origin)) {
                windows::forget(tx.conn(), &origin).await?;
            }
        }
        preimages::forget_expired(tx.conn(), now_ms().saturating_sub(KEEP_PROOFS_MS)).await?;
        let idle = open.is_empty()
            && inbox::waiting_for_logs(tx.conn()).await?.is_empty()
            && logs::notes(tx.conn()).await?.is_empty();
        // Whoever wants the logs read since then has set another value.
        let now = settings::get(tx.conn(), settings::LOGS_WANTED).await?;
        if idle && now == wanted {
            settings::remove(tx.conn(), settings::LOGS_WANTED).await?;
        }
        tx.commit().await
    }
}

async fn keep_proofs(
    change: &mut Change,
    iou: &RecordHash,
    proofs: &[(String, Expiry)],
) -> Result<(), ClientError> {
    for (origin, expiry) in proofs
        .iter()
        .filter(|(_, e)| e.proof.len() <= MAX_KEPT_PROOF)
    {
        let hash = atomicity_ledger::PolicyHash::of(&expiry.policy).to_string();
        let at = change.now.millis();
        preimages::expired(change.conn(), iou, (origin, &hash), &expiry.proof, at).await?;
    }
    Ok(())
}

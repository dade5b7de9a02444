//! Applying what a peer sent: opened, judged, answered, stored, in one transaction. Whatever cannot be judged yet is kept.

mod letters;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use atomicity_ledger::hop::Context;
use atomicity_ledger::jws::peek_typ;
use atomicity_ledger::pair::{Event, KnownLogs, Outcome, PendingReason};
use atomicity_ledger::record::{Invoice, PartAnswer, Profile};
use atomicity_ledger::{
    AnyRecord, LedgerError, Record as _, RecordHash, Signed, SignerKey, UserKey,
};
use serde_json::json;

use super::change::{Change, Loaded};
use super::engine::Work;
use super::keeper::Keeper;
use super::logs::{self, Decision};
use super::store::{self, Held};
use super::{Agent, agreements, lookup, onward, told, turns};
use crate::error::PluginError;
use crate::state::AppState;

/// Most records of one peer that wait to be judged.
const MAX_HELD: usize = 256;
/// Records on their way into one pair.
pub(super) struct Intake<'a> {
    pub(super) agent: &'a Agent,
    pub(super) change: &'a mut Change,
    pub(super) peer: UserKey,
    pub(super) logs: Arc<KnownLogs>,
    /// What happened to the books towards the peer.
    pub(super) events: Vec<Event>,
    /// Promises of the user that were made for one that had come.
    pub(super) passed_on: BTreeSet<RecordHash>,
    after: After,
}

/// What is to be done for one pair once everything is durable.
#[derive(Default)]
struct After {
    peer: Option<UserKey>,
    lookups: BTreeSet<SignerKey>,
    waits_for_logs: bool,
    /// Checkpoints that the peer relied on.
    views: Vec<String>,
    new_tags: Option<Vec<atomicity_ledger::seal::Agreement>>,
    /// What the peer answered to what the agent asked of requests.
    answers: Vec<Signed<PartAnswer>>,
    answered: bool,
}

/// What became of one record.
enum Fate {
    Done,
    Waits(&'static str),
}

/// What is to be done for one pair, read and opened.
struct Job<'a> {
    peer: UserKey,
    work: &'a Work,
    ids: Vec<i64>,
    records: Vec<String>,
    decisions: Vec<(RecordHash, Decision)>,
}

impl Job<'_> {
    fn is_idle(&self) -> bool {
        let work = self.work;
        let news = !work.authorities.is_empty() || work.profile.is_some() || work.again;
        !news && work.invoices.is_empty() && self.ids.is_empty() && self.decisions.is_empty()
    }
}

/// Does what is to be done for pairs of one user, all in one transaction: what many friends send at once costs one flush of the disk.
///
/// # Errors
/// [`PluginError::Database`], `agent_stopped`: nothing has changed, and everything is still there.
pub async fn run(
    state: &AppState,
    agent: &Agent,
    owner: UserKey,
    works: &[(UserKey, Work)],
) -> Result<(), PluginError> {
    let Some(keeper) = agent.keeper(&owner) else {
        return Ok(());
    };
    let jobs = letters::read(state, agent, &keeper, works).await?;
    if jobs.is_empty() {
        return Ok(());
    }
    let peers = jobs.iter().map(|job| job.peer).collect();
    let mut change = Change::begin(state, &keeper, &peers).await?;
    // What was returned meanwhile is for the wallet.
    let kept: Vec<&Job<'_>> = jobs
        .iter()
        .filter(|job| change.pair(&job.peer).is_some())
        .collect();
    let ids: Vec<i64> = kept.iter().flat_map(|job| job.ids.clone()).collect();
    let new = match ids.is_empty() {
        true => Vec::new(),
        false => store::mark_seen(change.tx(), &owner, &ids).await?,
    };
    let new: BTreeSet<i64> = new.into_iter().collect();
    let logs = agent.logs().known(state, &keeper.settings);
    let mut afters = Vec::new();
    for job in kept {
        let mut intake = Intake {
            agent,
            change: &mut change,
            peer: job.peer,
            logs: logs.clone(),
            events: Vec::new(),
            passed_on: BTreeSet::new(),
            after: After::default(),
        };
        intake.learn(job.work)?;
        let repeated = !job.ids.is_empty() && !job.ids.iter().any(|id| new.contains(id));
        if !repeated || job.work.again {
            intake.take_all(&job.records, job.work).await?;
        }
        intake.settle(&job.decisions);
        onward::work(&mut intake, &job.work.invoices).await?;
        afters.push(intake.finish().await?);
    }
    change.commit().await?;
    for after in afters {
        after.act(state, agent, owner);
    }
    agent.cleanup().envelopes(owner, &ids);
    Ok(())
}

impl After {
    fn act(self, state: &AppState, agent: &Agent, owner: UserKey) {
        let Some(peer) = self.peer else { return };
        if let Some(tags) = self.new_tags {
            agent.set_tags(&owner, &peer, tags);
        }
        if self.answered {
            agent.turns().notify_one();
        }
        if self.waits_for_logs {
            agent.logs().wait((owner, peer));
        }
        logs::compare(state, agent, self.views);
        for key in self.lookups {
            lookup::authority(state, agent, (owner, peer), key);
        }
    }
}

impl Intake<'_> {
    /// What every step needs to know.
    pub(super) fn context<'c>(&self, keeper: &'c Keeper, logs: &'c KnownLogs) -> Context<'c> {
        Context {
            now: self.change.now,
            logs,
            secrets: &keeper.secrets,
            entropy: rand::random(),
        }
    }

    fn loaded(&mut self) -> Result<&mut Loaded, PluginError> {
        Ok(self.change.pair_mut(&self.peer)?.0)
    }

    /// Takes what was found where the peer's delegations lie.
    fn learn(&mut self, work: &Work) -> Result<(), PluginError> {
        let now = self.change.now;
        let keeper = self.change.keeper.clone();
        let pair = &mut self.loaded()?.pair;
        if work.again {
            // The user may have given the agent another word since.
            let _ = pair.learn_own_authority(&keeper.authority, now);
        }
        for (key, found) in &work.authorities {
            if let Some(jws) = found
                && let Err(error) = pair.learn_authority(jws, now)
            {
                // What lies there is no authority; the look-up itself still counts.
                tracing::debug!(code = error.code(), "a delegation file is not usable");
            }
            pair.authority_checked(*key, now);
        }
        Ok(())
    }

    /// Takes new records and then, as long as something moves, those that waited.
    async fn take_all(&mut self, records: &[String], work: &Work) -> Result<(), PluginError> {
        let (owner, peer) = (self.change.keeper.owner, self.peer);
        let count = self.loaded()?.held;
        let held = match count {
            0 => Vec::new(),
            _ => store::held(self.change.tx(), &owner, &peer).await?,
        };
        let known: BTreeMap<[u8; 32], String> =
            held.iter().map(|h| (h.hash, h.reason.clone())).collect();
        let mut waiting: Vec<([u8; 32], String)> = records
            .iter()
            .chain(&work.profile)
            .map(|jws| (*RecordHash::of(jws).as_bytes(), jws.clone()))
            .filter(|(hash, _)| !known.contains_key(hash))
            .collect();
        waiting.extend(held.into_iter().map(|held| (held.hash, held.record)));
        let mut done = Vec::new();
        let still = loop {
            let before = waiting.len();
            let mut still = Vec::new();
            for (hash, jws) in waiting {
                match self.take(&jws)? {
                    Fate::Done => done.push(hash),
                    Fate::Waits(reason) => still.push((hash, jws, reason)),
                }
            }
            if still.is_empty() || still.len() == before {
                break still;
            }
            waiting = still
                .into_iter()
                .map(|(hash, jws, _)| (hash, jws))
                .collect();
        };
        self.keep(&known, &done, still).await
    }

    async fn keep(
        &mut self,
        known: &BTreeMap<[u8; 32], String>,
        done: &[[u8; 32]],
        still: Vec<([u8; 32], String, &'static str)>,
    ) -> Result<(), PluginError> {
        let (owner, peer) = (self.change.keeper.owner, self.peer);
        let at = i64::try_from(self.change.now.millis()).unwrap_or(i64::MAX);
        let released: Vec<[u8; 32]> = done
            .iter()
            .filter(|hash| known.contains_key(*hash))
            .copied()
            .collect();
        if !released.is_empty() {
            store::release_held(self.change.tx(), &owner, &peer, &released).await?;
        }
        let mut count = known.len() - released.len();
        for (hash, record, reason) in still {
            let is_known = known.get(&hash);
            if is_known.is_some_and(|before| before == reason) {
                continue;
            }
            if is_known.is_none() {
                if count >= MAX_HELD {
                    let body = json!({"code": "too_many_pending"});
                    self.change.tell(peer, "error", body);
                    continue;
                }
                count += 1;
                self.agent.metrics().record("held");
            }
            let held = Held {
                hash,
                reason: reason.to_owned(),
                record,
            };
            store::hold(self.change.tx(), &owner, &peer, &held, at).await?;
        }
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        if count != self.loaded()?.held {
            store::set_held(self.change.tx(), &owner, &peer, count).await?;
            self.loaded()?.held = count;
        }
        Ok(())
    }

    fn take(&mut self, jws: &str) -> Result<Fate, PluginError> {
        let (now, peer) = (self.change.now, self.peer);
        let kind = match peek_typ(jws) {
            Ok(kind) => kind,
            // A grant has another header; anything else unreadable is refused there too.
            Err(_) => {
                let learnt = self.loaded()?.pair.learn_authority(jws, now);
                return Ok(match learnt {
                    Ok(_) => self.count("applied"),
                    Err(error) => self.refuse("unreadable", &error),
                });
            }
        };
        if kind == Profile::TYP {
            return self.take_profile(jws);
        }
        // An invoice that comes with an answer is for a wallet to pay.
        if kind == PartAnswer::TYP || kind == Invoice::TYP {
            let parties = (self.peer, self.change.keeper.owner);
            self.after.answers.extend(turns::answer(jws, parties));
            return Ok(self.count("applied"));
        }
        let record = match AnyRecord::decode(jws) {
            Ok(record) => record,
            Err(error) => return Ok(self.refuse(&kind, &error)),
        };
        if told::is_about_settlement(&record) {
            return self.pass_to_wallet(&kind, &record);
        }
        let logs = self.logs.clone();
        let (loaded, pen) = self.change.pair_mut(&peer)?;
        Ok(
            match loaded.pair.receive_with(&record, &logs, now, Some(pen)) {
                Ok(Outcome::Applied { events, replies }) => {
                    for reply in &replies {
                        self.change.send(peer, reply);
                    }
                    self.events.extend(events);
                    self.count("applied")
                }
                Ok(Outcome::Duplicate | Outcome::Stale) => self.count("duplicate"),
                Ok(Outcome::Pending(reason)) => Fate::Waits(self.why(reason)),
                Err(error) => self.refuse(&kind, &error),
            },
        )
    }

    /// What is said of settlements has no place in the books: the user's wallet is told, once it is sure who says so.
    fn pass_to_wallet(&mut self, kind: &str, record: &AnyRecord) -> Result<Fate, PluginError> {
        let (now, peer) = (self.change.now, self.peer);
        Ok(match self.loaded()?.pair.judge_settling(record, now) {
            Ok(None) => {
                let body = json!({"typ": kind, "record": record.jws()});
                self.change.tell(peer, "settlement", body);
                self.count("passed_on")
            }
            Ok(Some(reason)) => Fate::Waits(self.why(reason)),
            Err(error) => self.refuse(kind, &error),
        })
    }

    fn count(&self, outcome: &'static str) -> Fate {
        self.agent.metrics().record(outcome);
        Fate::Done
    }

    fn refuse(&mut self, kind: &str, error: &LedgerError) -> Fate {
        let body = json!({"code": error.code(), "record": kind, "message": error.to_string()});
        self.change.tell(self.peer, "refused_record", body);
        self.count("refused")
    }

    fn why(&mut self, reason: PendingReason) -> &'static str {
        match reason {
            PendingReason::BookUnknown => "book_unknown",
            PendingReason::RevocationUnknown { key } => {
                self.after.lookups.insert(key);
                "revocation_unknown"
            }
            PendingReason::NoPen => "no_pen",
            PendingReason::HeldUnknown => "held_unknown",
            PendingReason::StateUnknown => "state_unknown",
            PendingReason::PromiseUnknown => "promise_unknown",
            PendingReason::LogUnread => {
                self.after.waits_for_logs = true;
                "log_unread"
            }
            _ => "unknown",
        }
    }

    fn take_profile(&mut self, jws: &str) -> Result<Fate, PluginError> {
        let (now, peer) = (self.change.now, self.peer);
        let keeper = self.change.keeper.clone();
        let loaded = self.loaded()?;
        let newer = match lookup::judge_profile(jws, peer, loaded.pair.peer_credentials(), now) {
            Ok(profile) => profile,
            Err(error) => return Ok(self.refuse(Profile::TYP, &error)),
        };
        let serial = loaded.profile.as_deref().map(lookup::serial_of);
        if serial.flatten().is_some_and(|s| newer.record().serial <= s) {
            return Ok(self.count("duplicate"));
        }
        loaded.profile = Some(jws.to_owned());
        self.after.new_tags = Some(agreements(&keeper, &peer, Some(jws))?);
        Ok(self.count("applied"))
    }

    /// Settles promises as the logs decided.
    fn settle(&mut self, decisions: &[(RecordHash, Decision)]) {
        let (now, peer) = (self.change.now, self.peer);
        for (iou, decision) in decisions {
            let Ok((loaded, pen)) = self.change.pair_mut(&peer) else {
                return;
            };
            let done = match decision {
                Decision::Published(preimage, proof) => {
                    let proof = Some(proof.clone());
                    loaded.pair.publish(*iou, *preimage, proof, pen, now)
                }
                Decision::Expired(proofs) => loaded.pair.expire(*iou, proofs, pen, now),
            };
            match done {
                Ok(done) => {
                    for record in &done.records {
                        self.change.send(peer, record);
                    }
                    self.events.extend(done.events);
                }
                Err(LedgerError::PromiseUnknown) => {}
                Err(error) => {
                    tracing::warn!(code = error.code(), "a promise is not settled: {error}");
                }
            }
        }
    }

    /// Tells the user's apps. Whoever paid by a promise of the user's own learns more than that it ended.
    fn tell(&mut self, event: &Event) {
        let peer = self.peer;
        let told = match self.change.pair(&peer) {
            Some(loaded) => told::to_payer(&loaded.pair, event, &self.passed_on),
            None => None,
        };
        match told {
            Some((kind, body)) => self.change.tell(peer, kind, body),
            None => self.change.tell_event(peer, event),
        }
    }

    async fn finish(mut self) -> Result<After, PluginError> {
        let (owner, peer) = (self.change.keeper.owner, self.peer);
        for event in std::mem::take(&mut self.events) {
            if let Event::View(view) = &event {
                let shown = view.checkpoints.iter().map(|note| note.as_str().to_owned());
                self.after.views.extend(shown);
            }
            self.tell(&event);
        }
        if let Some(tags) = &self.after.new_tags {
            let at = i64::try_from(self.change.now.millis()).unwrap_or(i64::MAX);
            let tags: Vec<[u8; 32]> = tags.iter().map(|a| *a.tag().as_bytes()).collect();
            let profile = self.loaded()?.profile.clone();
            let profile = profile.as_deref().map(|jws| (jws, at));
            store::put_profile(self.change.tx(), &owner, &peer, profile, &tags).await?;
        }
        for answer in std::mem::take(&mut self.after.answers) {
            let (tx, part) = (self.change.tx(), answer.record().part);
            let new = store::answer_turn(tx, &owner, &peer, &part, answer.jws()).await?;
            self.after.answered |= new;
        }
        self.after.peer = Some(peer);
        Ok(self.after)
    }
}

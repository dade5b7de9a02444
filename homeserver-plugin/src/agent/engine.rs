//! The workers, and what they share: what is to be done for a pair, and what is to be cleared away after.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atomicity_ledger::{PaymentHash, RecordHash, SignerKey, UserKey};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::keeper::{Keeper, KeeperParts};
use super::queue::{PairKey, Queue};
use super::store::AgentRow;
use super::{
    Agent, agreements, change, deliver, files, intake, keys, logs, lookup, mark, publish, store,
    turns, words,
};
use crate::clock;
use crate::db::envelopes;
use crate::error::PluginError;
use crate::state::AppState;

/// Rows that are read at once.
const PAGE: i64 = 500;
/// How long to collect what is to be cleared away.
const COLLECT: Duration = Duration::from_millis(20);
/// Pause after the database failed.
const RETRY: Duration = Duration::from_millis(500);
/// How often old rows are cleared away.
const SWEEP: Duration = Duration::from_secs(600);
const DAY_MS: i64 = 86_400_000;

/// What is to be done for a pair.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Envelopes to be applied, by their numbers.
    pub envelopes: Vec<i64>,
    /// What was found where the peer's delegations lie.
    pub authorities: Vec<(SignerKey, Option<String>)>,
    /// The peer's profile, if it was fetched.
    pub profile: Option<String>,
    /// Promises that the logs may have decided.
    pub settle: BTreeSet<RecordHash>,
    /// Whether records that waited are to be tried again.
    pub again: bool,
    /// Invoices to be looked at.
    pub invoices: BTreeSet<PaymentHash>,
}

impl Work {
    /// Adds what is left of earlier work.
    pub fn add(&mut self, mut other: Self) {
        other.envelopes.append(&mut self.envelopes);
        self.envelopes = other.envelopes;
        self.authorities.append(&mut other.authorities);
        self.profile = self.profile.take().or(other.profile);
        self.settle.append(&mut other.settle);
        self.again |= other.again;
        self.invoices.append(&mut other.invoices);
    }
}

/// Pairs of one user that are worked on in one transaction, and envelopes beside the first pair's.
const MOST_PAIRS: usize = 64;
const MOST_ENVELOPES: usize = 128;

/// What is to be done for the pairs of one user, in the order in which it came.
#[derive(Default)]
pub struct Batch {
    works: HashMap<UserKey, Work>,
    order: VecDeque<UserKey>,
}

impl Batch {
    fn of(&mut self, peer: UserKey) -> &mut Work {
        self.works.entry(peer).or_insert_with(|| {
            self.order.push_back(peer);
            Work::default()
        })
    }

    /// What was not taken comes first again.
    fn put_back(&mut self, mut rest: Self) {
        for (peer, work) in rest.works.drain() {
            self.works.entry(peer).or_default().add(work);
        }
        let known: HashSet<UserKey> = rest.order.iter().copied().collect();
        let others = self.order.iter().filter(|peer| !known.contains(peer));
        rest.order.extend(others);
        self.order = rest.order;
    }

    /// Takes as much as fits into one transaction; a pair's envelopes go in their order.
    fn bite(&mut self) -> Vec<(UserKey, Work)> {
        let (mut taken, mut envelopes) = (Vec::new(), 0);
        while taken.len() < MOST_PAIRS && envelopes < MOST_ENVELOPES {
            let Some(peer) = self.order.pop_front() else {
                break;
            };
            let Some(mut work) = self.works.remove(&peer) else {
                continue;
            };
            let most = MOST_ENVELOPES - envelopes;
            if work.envelopes.len() > most {
                let rest = work.envelopes.split_off(most);
                self.of(peer).envelopes = rest;
            }
            envelopes += work.envelopes.len();
            taken.push((peer, work));
        }
        taken
    }
}

/// What is to be done. One worker at a time works for a user: books of theirs that belong together are never changed by two.
#[derive(Default)]
pub struct Desk(Queue<UserKey, Batch>);

impl Desk {
    /// Adds to what is to be done for a pair.
    pub fn add(&self, (owner, peer): PairKey, change: impl FnOnce(&mut Work)) {
        self.0.add(owner, |batch| change(batch.of(peer)));
    }

    /// How many users' books are worked on or wait to be.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Default)]
struct Dirt {
    envelopes: BTreeMap<UserKey, Vec<i64>>,
    sent: BTreeMap<(UserKey, UserKey), i64>,
}

/// What is done and only has to be cleared away: many at once, since each commit costs a flush of the disk.
#[derive(Default)]
pub struct Cleanup {
    dirt: Mutex<Dirt>,
    news: Notify,
}

impl Cleanup {
    /// Envelopes that were applied.
    pub fn envelopes(&self, owner: UserKey, ids: &[i64]) {
        if ids.is_empty() {
            return;
        }
        let mut dirt = self.dirt.lock().unwrap_or_else(PoisonError::into_inner);
        dirt.envelopes.entry(owner).or_default().extend(ids);
        drop(dirt);
        self.news.notify_one();
    }

    /// Records that have arrived, up to this number.
    pub fn sent(&self, key: (UserKey, UserKey), id: i64) {
        let mut dirt = self.dirt.lock().unwrap_or_else(PoisonError::into_inner);
        let upto = dirt.sent.entry(key).or_default();
        *upto = (*upto).max(id);
        drop(dirt);
        self.news.notify_one();
    }

    fn take(&self) -> Dirt {
        std::mem::take(&mut *self.dirt.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn clean(state: &AppState, dirt: &Dirt) -> Result<(), PluginError> {
    if !dirt.sent.is_empty() {
        let sent: Vec<_> = dirt
            .sent
            .iter()
            .map(|((owner, peer), id)| (*owner, *peer, *id))
            .collect();
        store::remove_sent(&state.pool, &sent).await?;
    }
    for (owner, ids) in &dirt.envelopes {
        for ids in ids.chunks(1_000) {
            let removed = envelopes::acknowledge(&state.pool, owner, ids, clock::now_ms()).await?;
            state
                .metrics
                .inbox_acked(u64::try_from(removed).unwrap_or(0));
            store::seen_done(&state.pool, owner, ids).await?;
        }
    }
    Ok(())
}

async fn run_cleanup(state: AppState, agent: Agent) {
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = agent.0.cleanup.news.notified() => {}
        }
        tokio::time::sleep(COLLECT).await;
        let dirt = agent.0.cleanup.take();
        while let Err(error) = clean(&state, &dirt).await {
            // Nothing is lost: after a restart what was applied is recognised, and what was sent is sent again.
            tracing::debug!(%error, "clearing away failed; tried again");
            tokio::select! {
                () = state.shutdown.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}

/// Puts a stored agent to work.
///
/// # Errors
/// [`PluginError::Internal`] if its keys do not open, or its authority is none.
pub fn revive(state: &AppState, row: &AgentRow) -> Result<Keeper, PluginError> {
    let missing = || PluginError::Internal("an agent at work has no keys".to_owned());
    let sealed = row.sealed.as_ref().ok_or_else(missing)?;
    let opened = keys::open(&state.keypair, row.owner, sealed)?;
    let until = u64::try_from(row.until).unwrap_or(0);
    let parts = KeeperParts {
        owner: row.owner,
        pen: opened.pen()?,
        secrets: opened.secrets()?,
        reply: opened.reply()?,
        authority: row.authority.clone().ok_or_else(missing)?,
        storage: row.storage.clone(),
        until: atomicity_ledger::Timestamp::saturating_from_millis(until),
        settings: store::parse("settings", &row.settings)?,
    };
    Keeper::new(parts, change::now()).map_err(|error| PluginError::Internal(error.to_string()))
}

/// Learns the tags of a user's peers, and takes up what waits.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn take_up(state: &AppState, agent: &Agent, keeper: &Keeper) -> Result<(), PluginError> {
    let owner = keeper.owner;
    let mut after: Vec<u8> = Vec::new();
    loop {
        let page = store::tags_of(&state.pool, &owner, &after, PAGE).await?;
        for (peer, profile) in &page {
            agent.set_tags(&owner, peer, agreements(keeper, peer, profile.as_deref())?);
            agent.work().add((owner, *peer), |work| work.again = true);
        }
        match page.last() {
            Some((peer, _)) if page.len() == 500 => after = peer.as_bytes().to_vec(),
            _ => break,
        }
    }
    for peer in store::pairs_to_deliver(&state.pool, &owner).await? {
        agent.deliver(owner, peer);
    }
    publish::take_up(state, agent, owner).await?;
    catch_up(state, agent, &owner).await
}

/// Takes up the envelopes that wait for a user's agent.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn catch_up(state: &AppState, agent: &Agent, owner: &UserKey) -> Result<(), PluginError> {
    let mut after = 0;
    loop {
        let page = store::envelopes_waiting(&state.pool, owner, after, PAGE).await?;
        for (id, peer) in &page {
            agent
                .work()
                .add((*owner, *peer), |work| work.envelopes.push(*id));
        }
        match page.last() {
            Some((id, _)) if page.len() == 500 => after = *id,
            _ => return Ok(()),
        }
    }
}

async fn start(state: &AppState, agent: &Agent) -> Result<(), PluginError> {
    agent
        .numbers()
        .begin_after(store::last_number(&state.pool).await?);
    let mut after: Vec<u8> = Vec::new();
    loop {
        let page = store::all(&state.pool, &after, PAGE).await?;
        for row in page
            .iter()
            .filter(|row| !state.disabled.contains(&row.owner))
        {
            match revive(state, row) {
                Ok(keeper) => {
                    let keeper = Arc::new(keeper);
                    agent.replace(&row.owner, Some(keeper.clone())).await;
                    take_up(state, agent, &keeper).await?;
                }
                Err(error) => tracing::error!(user = %row.owner, %error, "an agent can't work"),
            }
        }
        match page.last() {
            Some(row) if page.len() == 500 => after = row.owner.as_bytes().to_vec(),
            _ => return Ok(()),
        }
    }
}

/// Reads what is stored, so that nothing is asked of the agent before it knows everything.
///
/// # Errors
/// [`PluginError::Database`]; [`PluginError::File`] if the data directory can't be written.
pub async fn open(state: &AppState, agent: &Agent) -> Result<(), PluginError> {
    mark::check(state, agent).await?;
    start(state, agent).await
}

async fn run_worker(state: AppState, agent: Agent) {
    loop {
        let (owner, mut batch) = tokio::select! {
            () = state.shutdown.cancelled() => return,
            found = agent.work().0.next() => found,
        };
        let works = batch.bite();
        if !batch.order.is_empty() {
            agent.work().0.add(owner, |wanted| wanted.put_back(batch));
        }
        if let Err(error) = intake::run(&state, &agent, owner, &works).await {
            failed(&state, &agent, owner, works, &error).await;
        }
        agent.work().0.done(&owner);
    }
}

/// What stands still stays in the inbox or in the database; a failure of ours is not tried for ever.
async fn failed(
    state: &AppState,
    agent: &Agent,
    owner: UserKey,
    works: Vec<(UserKey, Work)>,
    error: &PluginError,
) {
    if error.retry_after().is_some() {
        let (agent, state) = (agent.clone(), state.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = state.shutdown.cancelled() => {}
                () = tokio::time::sleep(RETRY.mul_f64(rand::random_range(0.5..1.5))) => {
                    for (peer, work) in works {
                        agent.work().add((owner, peer), |wanted| wanted.add(work));
                    }
                }
            }
        });
        return;
    }
    if works.len() > 1 && error.code() != "agent_stopped" {
        // One pair must not hold up the others.
        for work in works {
            let alone = std::slice::from_ref(&work);
            if let Err(error) = intake::run(state, agent, owner, alone).await {
                Box::pin(failed(state, agent, owner, vec![work], &error)).await;
            }
        }
    } else if error.code() != "agent_stopped" {
        tracing::warn!(user = %owner, code = error.code(), %error, "books could not be worked on");
    }
}

async fn run_sweeper(state: AppState, agent: Agent) {
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
        if !state.readiness.lock_held() {
            continue;
        }
        let now = clock::now_ms();
        let before = |days: u32| now.saturating_sub(i64::from(days).saturating_mul(DAY_MS));
        let config = agent.config();
        let swept = store::forget_old(
            &state.pool,
            before(config.event_days),
            before(config.journal_days),
            now / DAY_MS - 2,
        );
        if let Err(error) = store::wipe_idle(&state.pool, now).await {
            tracing::warn!(%error, "keys of stopped agents were not wiped; tried again later");
        }
        if let Err(error) = store::forget_approvals(&state.pool, before(config.journal_days)).await
        {
            tracing::warn!(%error, "old approvals were not cleared away; tried again later");
        }
        let spends = store::forget_spends(&state.pool, before(config.journal_days), now);
        if let Err(error) = spends.await {
            tracing::warn!(%error, "old spends were not cleared away; tried again later");
        }
        if let Err(error) = swept.await {
            tracing::warn!(%error, "old rows of the agent were not cleared away; tried again later");
        }
    }
}

/// Runs the agents until the process stops.
pub fn spawn(state: &AppState, agent: &Agent, tasks: &mut JoinSet<()>) {
    for _ in 0..agent.config().workers {
        tasks.spawn(run_worker(state.clone(), agent.clone()));
    }
    for _ in 0..agent.config().deliveries {
        tasks.spawn(deliver::run(state.clone(), agent.clone()));
    }
    tasks.spawn(run_cleanup(state.clone(), agent.clone()));
    tasks.spawn(run_sweeper(state.clone(), agent.clone()));
    tasks.spawn(lookup::run(state.clone(), agent.clone()));
    tasks.spawn(logs::run(state.clone(), agent.clone()));
    tasks.spawn(turns::run(state.clone(), agent.clone()));
    tasks.spawn(words::run(state.clone(), agent.clone()));
    tasks.spawn(mark::run(state.clone(), agent.clone()));
    tasks.spawn(publish::run(state.clone(), agent.clone()));
    tasks.spawn(files::run(state.clone(), agent.clone()));
}

#[cfg(test)]
mod tests {
    use atomicity_ledger::Keypair;

    use super::*;

    fn user(n: u8) -> UserKey {
        Keypair::from_secret(&[n; 32]).user_key()
    }

    #[test]
    fn a_bite_is_bounded_and_what_is_left_comes_first() {
        let mut batch = Batch::default();
        batch.of(user(1)).envelopes = (0..200).collect();
        batch.of(user(2)).again = true;
        let taken = batch.bite();
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].1.envelopes, (0..128).collect::<Vec<i64>>());
        let mut newer = Batch::default();
        newer.of(user(3)).again = true;
        newer.of(user(1)).envelopes.push(200);
        newer.put_back(batch);
        let taken = newer.bite();
        let order: Vec<UserKey> = taken.iter().map(|(peer, _)| *peer).collect();
        assert_eq!(order, [user(2), user(1), user(3)]);
        assert_eq!(taken[1].1.envelopes, (128..201).collect::<Vec<i64>>());
        assert!(newer.bite().is_empty());
    }

    #[test]
    fn many_pairs_are_taken_in_turns() {
        let mut batch = Batch::default();
        for n in 0..100 {
            batch.of(user(n)).again = true;
        }
        assert_eq!(batch.bite().len(), 64);
        assert_eq!(batch.bite().len(), 36);
    }
}

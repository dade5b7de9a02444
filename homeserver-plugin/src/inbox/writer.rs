//! Stores envelopes, many in one transaction.
//!
//! A commit costs one flush of the disk, whatever it holds. So posts that arrive while one transaction is under way wait and go into
//! the next one together. Nothing is answered before its transaction has committed.

use std::collections::{BTreeSet, HashMap};

use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};

use super::admit::{AccountRoom, Admission, Candidate, Posted};
use super::hub::Hub;
use crate::agent::Agent;
use crate::clock;
use crate::config::InboxConfig;
use crate::db::envelopes;
use crate::error::PluginError;
use crate::metrics::Metrics;

/// Most posts that wait.
const QUEUE: usize = 1_024;
/// Most posts in one transaction.
const BATCH: usize = 64;

type Answer = Result<Posted, PluginError>;

struct Job {
    candidate: Candidate,
    answer: oneshot::Sender<Answer>,
}

/// Where posts are handed in.
#[derive(Clone)]
pub struct Writer(mpsc::Sender<Job>);

/// The task behind a [`Writer`].
pub struct WriterTask {
    jobs: mpsc::Receiver<Job>,
    pool: PgPool,
    limits: InboxConfig,
    hub: Hub,
    agent: Option<Agent>,
    metrics: Metrics,
}

impl Writer {
    /// Makes a writer and its task, which the caller runs.
    #[must_use]
    pub fn new(
        pool: PgPool,
        limits: InboxConfig,
        hub: Hub,
        agent: Option<Agent>,
        metrics: Metrics,
    ) -> (Self, WriterTask) {
        let (sender, jobs) = mpsc::channel(QUEUE);
        let task = WriterTask {
            jobs,
            pool,
            limits,
            hub,
            agent,
            metrics,
        };
        (Self(sender), task)
    }

    /// Stores `candidate`. Returns when that is durable, or refused.
    ///
    /// # Errors
    /// [`PluginError::Overloaded`] if too many wait, what [`Admission::decide`] refuses, [`PluginError::Database`].
    pub async fn post(&self, candidate: Candidate) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.0
            .try_send(Job { candidate, answer })
            .map_err(|_| PluginError::Overloaded)?;
        answered.await.map_err(|_| PluginError::NotReady)?
    }
}

impl WriterTask {
    /// Runs until the last [`Writer`] is gone, then stores what still waits.
    pub async fn run(mut self) {
        let mut jobs = Vec::with_capacity(BATCH);
        while self.jobs.recv_many(&mut jobs, BATCH).await > 0 {
            self.metrics.inbox_batch(jobs.len());
            let (candidates, answers): (Vec<_>, Vec<_>) = jobs
                .drain(..)
                .map(|job| (job.candidate, job.answer))
                .unzip();
            match store(&self.pool, &self.limits, &candidates).await {
                Ok(outcomes) => {
                    if let Some(agent) = &self.agent {
                        tell(agent, &candidates, &outcomes);
                    }
                    for (answer, outcome) in answers.into_iter().zip(outcomes) {
                        // The sender may have hung up; the envelope is stored all the same.
                        let _ = answer.send(outcome);
                    }
                    let owners: BTreeSet<_> = candidates.iter().map(|c| c.owner).collect();
                    owners.iter().for_each(|owner| self.hub.wake(owner));
                }
                Err(error) => {
                    tracing::warn!(%error, envelopes = candidates.len(), "nothing of a batch was stored");
                    for answer in answers {
                        let _ = answer.send(Err(PluginError::NotReady));
                    }
                }
            }
        }
    }
}

/// Tells the agent what has come for it.
fn tell(agent: &Agent, candidates: &[Candidate], outcomes: &[Answer]) {
    for (candidate, outcome) in candidates.iter().zip(outcomes) {
        if let (true, Ok(Posted::Stored(id))) = (candidate.known, outcome) {
            agent.arrived(&candidate.owner, &candidate.source, *id);
        }
    }
}

async fn store(
    pool: &PgPool,
    limits: &InboxConfig,
    candidates: &[Candidate],
) -> Result<Vec<Answer>, PluginError> {
    let owners: BTreeSet<[u8; 32]> = candidates.iter().map(|c| c.owner).collect();
    let owners: Vec<Vec<u8>> = owners.into_iter().map(Vec::from).collect();
    let mut tx = pool.begin().await?;
    let accounts: HashMap<[u8; 32], AccountRoom> = envelopes::lock_accounts(&mut tx, &owners)
        .await?
        .into_iter()
        .filter_map(|(owner, room)| Some((owner.try_into().ok()?, room)))
        .collect();
    let found = envelopes::look_up(&mut tx, candidates).await?;
    let mut admission = Admission::new(limits, accounts);
    let outcomes = candidates
        .iter()
        .zip(found)
        .map(|(candidate, found)| admission.decide(candidate, found))
        .collect();
    let accepted = admission.into_accepted();
    if accepted.is_empty() {
        tx.rollback().await?;
    } else {
        envelopes::store(&mut tx, &accepted, clock::now_ms()).await?;
        tx.commit().await?;
    }
    Ok(outcomes)
}

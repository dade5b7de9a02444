//! The one task that gives preimages their places: every interval, a batch and a tick, stored before anybody hears of them.

use std::collections::HashMap;
use std::sync::Arc;

use atomicity_witness_log::leaf::preimage_hash;
use atomicity_witness_log::{LogError, LogState, SignedCheckpoint};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::store::{self, AppendError, Placed, Wanted};
use super::{WitnessLog, fault, tiles};
use crate::clock;
use crate::db::patience::patiently;
use crate::error::PluginError;
use crate::state::AppState;

/// Most preimages of one batch. The rest waits for the next one.
const BATCH: usize = 4_096;

/// A preimage that somebody wants published.
pub struct Job {
    /// The preimage.
    pub preimage: [u8; 32],
    /// Entries before this index don't count.
    pub min_index: u64,
    /// Told once it has its place.
    pub answer: oneshot::Sender<Placed>,
}

/// Why a step did not happen.
enum Obstacle {
    /// Nothing has changed; the next step tries again.
    Later(PluginError),
    /// The log must not go on until somebody has looked at it.
    Stop(&'static str),
    /// The process must end.
    End(PluginError),
}

impl From<AppendError> for Obstacle {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::NotStored(error) => Self::Later(error),
            AppendError::Doubt(error) => Self::End(error),
        }
    }
}

/// The sequencer of a log. There is one at a time: the database's lock sees to that, and the head's compare-and-swap again.
pub struct Sequencer {
    state: AppState,
    log: WitnessLog,
    tree: LogState,
    jobs: mpsc::Receiver<Job>,
    /// Taken out of the queue, without a place yet.
    waiting: Vec<Job>,
}

impl Sequencer {
    /// Goes on from what is stored, which must add up to the stored head.
    ///
    /// # Errors
    /// [`PluginError::Database`]; [`PluginError::Internal`] if the stored content contradicts itself.
    pub async fn restore(
        state: AppState,
        log: WitnessLog,
        jobs: mpsc::Receiver<Job>,
    ) -> Result<Self, PluginError> {
        let database = &state.config.database;
        let load = async || store::load(&mut *state.pool.acquire().await?, log.id()).await;
        let head = patiently(database, load)
            .await?
            .ok_or_else(|| PluginError::Internal("the log's row is gone".to_owned()))?
            .head;
        let mut found = HashMap::new();
        for path in LogState::needed(head.size) {
            if let Some(bytes) = patiently(database, || log.tiles().read(&path)).await? {
                found.insert(path, bytes.to_vec());
            }
        }
        let tree = LogState::restore(&head, |path| found.remove(path))
            .map_err(|error| tiles::failed(&error))?;
        Ok(Self {
            state,
            log,
            tree,
            jobs,
            waiting: Vec::new(),
        })
    }

    /// The head as it is stored, signed.
    ///
    /// # Errors
    /// [`PluginError::Internal`] if it can't be signed.
    pub fn head(&self) -> Result<Arc<SignedCheckpoint>, PluginError> {
        self.log.sign(&self.tree.checkpoint()).map(Arc::new)
    }

    /// Runs until the process stops. Returns early, without an error, if the log has to stop while the rest of the process may go on.
    ///
    /// # Errors
    /// Whatever makes it unsafe to go on at all.
    pub async fn run(mut self) -> Result<(), PluginError> {
        let mut ticks = tokio::time::interval(self.state.config.witness_log.interval());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.state.shutdown.cancelled() => return Ok(()),
                () = self.log.stopped() => return Ok(()),
                _ = ticks.tick() => {}
            }
            // Without the lock another plugin may be at work on this database.
            if !self.state.readiness.lock_held() {
                continue;
            }
            match self.step().await {
                Ok(()) => {}
                Err(Obstacle::Later(error)) => {
                    tracing::warn!(%error, "nothing of a batch was stored; tried again");
                    self.log.metrics().step("later");
                }
                Err(Obstacle::Stop(why)) => {
                    tracing::error!(
                        why,
                        "the log stops: it signs nothing any more until the plugin is started again"
                    );
                    self.log.stop(why);
                    return Ok(());
                }
                Err(Obstacle::End(error)) => {
                    self.log.stop("head_in_doubt");
                    tracing::error!(%error, "the log's head is in doubt: the process ends rather than sign");
                    return Err(error);
                }
            }
        }
    }

    async fn step(&mut self) -> Result<(), Obstacle> {
        while self.waiting.len() < BATCH
            && let Ok(job) = self.jobs.try_recv()
        {
            self.waiting.push(job);
        }
        // Who has gone does not wait for a place.
        self.waiting.retain(|job| !job.answer.is_closed());
        let now_ms = u64::try_from(clock::now_ms()).unwrap_or(0);
        let later = |error: sqlx::Error| Obstacle::Later(error.into());
        let mut connection = self.log.own_pool().acquire().await.map_err(later)?;
        let wanted: Vec<Wanted> = self.waiting.iter().map(wanted).collect();
        let found = store::find_all(&mut connection, self.log.id(), &wanted)
            .await
            .map_err(Obstacle::Later)?;
        let (preimages, places) = arrange(&self.waiting, &found, self.tree.size());
        let mut next = self.tree.clone();
        let batch = next.append(&preimages, now_ms).map_err(refused)?;
        store::append(
            &mut connection,
            self.log.id(),
            &self.tree.checkpoint(),
            &batch,
        )
        .await?;
        drop(connection);
        self.tree = next;
        let size = batch.checkpoint.size;
        let signed = self.log.sign(&batch.checkpoint).map_err(Obstacle::End)?;
        self.log.tiles().stored(batch.resources);
        self.log.metrics().sequenced(size, preimages.len());
        for (job, place) in self.waiting.drain(..).zip(places) {
            // The sender may have hung up; the preimage is in the log all the same.
            let _ = job.answer.send(match place {
                Place::Old(placed) => placed,
                Place::New(index) => Placed {
                    index,
                    time_ms: now_ms,
                },
            });
        }
        if !preimages.is_empty() {
            fault::point("answered_to_waiters");
        }
        self.log.announce(Arc::new(signed));
        Ok(())
    }
}

fn refused(error: LogError) -> Obstacle {
    match error {
        LogError::ClockStuck { now_ms, last_ms } => {
            tracing::error!(now_ms, last_ms, "the clock does not advance");
            Obstacle::Stop("clock_stuck")
        }
        other => Obstacle::End(tiles::failed(&other)),
    }
}

fn wanted(job: &Job) -> Wanted {
    Wanted {
        hash: preimage_hash(&job.preimage),
        min_index: job.min_index,
    }
}

/// Where a job's preimage stands or will stand.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Old(Placed),
    New(u64),
}

/// Which preimages the next batch, beginning at index `size`, holds: each once, and none that has a place already.
fn arrange(jobs: &[Job], found: &[Option<Placed>], size: u64) -> (Vec<[u8; 32]>, Vec<Place>) {
    let mut preimages = Vec::new();
    let mut placed: HashMap<[u8; 32], u64> = HashMap::new();
    let mut places = Vec::with_capacity(jobs.len());
    for (job, found) in jobs.iter().zip(found) {
        places.push(match found {
            Some(found) => Place::Old(*found),
            None => Place::New(*placed.entry(job.preimage).or_insert_with(|| {
                preimages.push(job.preimage);
                size + preimages.len() as u64 - 1
            })),
        });
    }
    (preimages, places)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn job(seed: u8) -> Job {
        Job {
            preimage: [seed; 32],
            min_index: 0,
            answer: oneshot::channel().0,
        }
    }

    #[test]
    fn a_preimage_gets_one_place_however_many_ask() {
        let old = Placed {
            index: 3,
            time_ms: 5,
        };
        let jobs = [job(1), job(2), job(1), job(3)];
        let (preimages, places) = arrange(&jobs, &[None, None, None, Some(old)], 10);
        assert_eq!(preimages, [[1; 32], [2; 32]]);
        assert_eq!(
            places,
            [
                Place::New(10),
                Place::New(11),
                Place::New(10),
                Place::Old(old)
            ]
        );
    }
}

//! What a caller who publishes a preimage waits for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use atomicity_witness_log::leaf::preimage_hash;
use atomicity_witness_log::tree::prove_inclusion;
use atomicity_witness_log::{Leaf, PublicationProof};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::sequencer::Job;
use super::store::{self, Placed, Wanted};
use super::{Published, Status, WitnessLog, fault, tiles};
use crate::error::PluginError;
use crate::state::AppState;

/// A preimage that is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Where it stands.
    pub placed: Placed,
    /// That it stands there.
    pub proof: PublicationProof,
}

/// Keeps a place among those who wait; given back when dropped.
struct Place(WitnessLog);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

fn behind(detail: &'static str) -> PluginError {
    PluginError::Unavailable {
        code: "log_behind",
        detail,
        retry_after: Duration::from_secs(2),
    }
}

impl WitnessLog {
    /// Refuses while nothing can be published.
    pub(super) fn require_running(&self) -> Result<(), PluginError> {
        match self.status() {
            Status::Running => Ok(()),
            Status::Comparing => Err(behind("the log has not heard from its cosigners yet")),
            Status::Stopped(_) => Err(PluginError::Unavailable {
                code: "log_stopped",
                detail: "the log has stopped: its operator must look at it",
                retry_after: Duration::from_secs(60),
            }),
        }
    }

    fn place(&self, state: &AppState, registered: bool) -> Result<Place, PluginError> {
        let config = &state.config.witness_log;
        let open = if registered {
            config.max_waiting
        } else {
            config.max_waiting.saturating_sub(config.reserved_waiting)
        };
        let before = self.0.waiting.fetch_add(1, Ordering::SeqCst);
        let place = Place(self.clone());
        if before < open {
            Ok(place)
        } else {
            Err(PluginError::TooMany {
                code: "queue_full",
                detail: "too many publications wait at once",
                retry_after: Duration::from_secs(2),
            })
        }
    }

    /// Publishes a preimage at or after `min_index`, or finds it there. Returns when a published checkpoint shows it.
    ///
    /// # Errors
    /// `queue_full`, `log_behind`, `log_stopped`, `min_index_ahead`, [`PluginError::Database`].
    pub async fn publish_preimage(
        &self,
        state: &AppState,
        preimage: [u8; 32],
        min_index: u64,
        registered: bool,
    ) -> Result<Publication, PluginError> {
        if min_index > self.signed_size() {
            return Err(PluginError::BadRequest {
                code: "min_index_ahead",
                detail: "the log does not have that many entries".to_owned(),
            });
        }
        if let Err(obstacle) = self.require_running() {
            // What was published is answered all the same.
            let found = self.shown(state, &preimage, min_index).await?;
            let (placed, published) = found.ok_or(obstacle)?;
            return self.prove(placed, preimage, &published).await;
        }
        let _place = self.place(state, registered)?;
        let patience = Duration::from_millis(state.config.witness_log.answer_timeout_ms);
        let waiting = self.wait(preimage, min_index);
        let (placed, published) = tokio::select! {
            () = state.shutdown.cancelled() => Err(behind("the log is being stopped")),
            outcome = timeout(patience, waiting) => outcome
                .unwrap_or_else(|_| Err(behind("no checkpoint could be published in time"))),
        }?;
        fault::point("before_answer");
        self.prove(placed, preimage, &published).await
    }

    /// Where a preimage stands under the published checkpoint.
    async fn shown(
        &self,
        state: &AppState,
        preimage: &[u8; 32],
        min_index: u64,
    ) -> Result<Option<(Placed, Arc<Published>)>, PluginError> {
        let wanted = Wanted {
            hash: preimage_hash(preimage),
            min_index,
        };
        let found = store::find(&state.pool, self.id(), &wanted).await?;
        let shown = found.zip(self.published());
        Ok(shown.filter(|(placed, published)| placed.index < published.size()))
    }

    async fn wait(
        &self,
        preimage: [u8; 32],
        min_index: u64,
    ) -> Result<(Placed, Arc<Published>), PluginError> {
        let stopped = || behind("the log has stopped meanwhile");
        let (answer, answered) = oneshot::channel();
        let job = Job {
            preimage,
            min_index,
            answer,
        };
        self.0.jobs.send(job).await.map_err(|_| stopped())?;
        let placed = answered.await.map_err(|_| stopped())?;
        let mut checkpoints = self.0.published.subscribe();
        let shows = |published: &Option<Arc<Published>>| {
            published
                .as_ref()
                .is_some_and(|published| published.size() > placed.index)
        };
        let published = tokio::select! {
            () = self.stopped() => return Err(stopped()),
            found = checkpoints.wait_for(shows) => found.map_err(|_| stopped())?.clone(),
        };
        published
            .map(|published| (placed, published))
            .ok_or_else(stopped)
    }

    async fn prove(
        &self,
        placed: Placed,
        preimage: [u8; 32],
        published: &Published,
    ) -> Result<Publication, PluginError> {
        let leaf = Leaf::Preimage {
            time_ms: placed.time_ms,
            preimage,
        };
        let size = published.size();
        let tiles = self
            .tiles()
            .needed_for(size, |source| {
                let _ = prove_inclusion(&source, placed.index, size);
            })
            .await?;
        let note = published.signed.note().clone();
        let proof = PublicationProof::build(&tiles, placed.index, leaf, note)
            .map_err(|error| tiles::failed(&error))?;
        Ok(Publication { placed, proof })
    }

    /// Where the preimage of this hash stands under the published checkpoint, at or after an index: a hint without a proof.
    ///
    /// # Errors
    /// [`PluginError::Database`].
    pub async fn look_up(
        &self,
        state: &AppState,
        hash: [u8; 32],
        from: u64,
    ) -> Result<Option<Placed>, PluginError> {
        let wanted = Wanted {
            hash,
            min_index: from,
        };
        let found = store::find(&state.pool, self.id(), &wanted).await?;
        Ok(found.filter(|placed| placed.index < self.published_size()))
    }
}

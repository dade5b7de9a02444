//! The task that has heads cosigned and publishes them. Always the newest one: what came between is covered by it.

use std::sync::Arc;
use std::time::Duration;

use atomicity_witness_log::{NoteSignature, SignedCheckpoint};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::cosigners::{Cosigner, Refusal};
use super::{WitnessLog, fault, store};
use crate::clock;
use crate::error::PluginError;
use crate::state::AppState;

/// How long the other cosigners get once there is a quorum.
const GRACE: Duration = Duration::from_millis(100);
/// Pause before cosigners that did not answer are asked again where they stand.
const PAUSE: Duration = Duration::from_secs(1);

/// What came of asking one cosigner.
struct Reply {
    cosigner: Cosigner,
    size: u64,
    outcome: Result<Vec<NoteSignature>, Refusal>,
}

/// Has heads cosigned and publishes them.
pub struct Publisher {
    state: AppState,
    log: WitnessLog,
    idle: Vec<Cosigner>,
    asked: JoinSet<Reply>,
}

/// A cosigner has seen more of the log than there is here.
fn ahead(cosigner: &str, theirs: u64, ours: u64) -> PluginError {
    PluginError::Config(format!(
        "cosigner {cosigner} knows {theirs} entries of this log, the database {ours}: it was restored from an old backup, or another \
         copy of the log is running. Going on would be a fork, so this log must not sign any more: restore the newest state, or turn \
         witness_log.enabled off"
    ))
}

impl Publisher {
    /// For the cosigners of the configuration.
    ///
    /// # Errors
    /// [`PluginError::Config`].
    pub fn new(state: AppState, log: WitnessLog) -> Result<Self, PluginError> {
        let named = state.config.witness_log.cosigners()?;
        let idle = named
            .into_iter()
            .map(|(key, url)| Cosigner::new(key, &url))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            state,
            log,
            idle,
            asked: JoinSet::new(),
        })
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.state.config.witness_log.cosign_timeout_ms)
    }

    /// Asks every cosigner where it stands, before anything new is signed. Returns once so many have answered that no quorum is possible
    /// without one of them, so that no checkpoint that was ever published can have been forgotten here; `false` if the process stops
    /// first.
    ///
    /// # Errors
    /// If one of them knows more than `head`.
    pub async fn compare(&mut self, head: &Arc<SignedCheckpoint>) -> Result<bool, PluginError> {
        let all = self.idle.len();
        let enough = (all + 1).saturating_sub(self.state.config.witness_log.quorum);
        let mut unheard = std::mem::take(&mut self.idle);
        loop {
            let mut asking = JoinSet::new();
            for mut cosigner in unheard.drain(..) {
                let (state, head, patience) = (self.state.clone(), head.clone(), self.patience());
                asking.spawn(async move {
                    let said = cosigner.probe(&state.resolver, &head, patience).await;
                    (cosigner, said)
                });
            }
            while let Some(ended) = asking.join_next().await {
                let (cosigner, said) = ended.map_err(task_failed)?;
                match said {
                    Ok(()) => self.idle.push(cosigner),
                    Err(Refusal::Ahead { size }) => {
                        return Err(ahead(cosigner.name(), size, head.checkpoint().size));
                    }
                    Err(Refusal::Buried) => self.idle.push(cosigner),
                    Err(Refusal::Refused(why) | Refusal::Unreachable(why)) => {
                        tracing::warn!(
                            cosigner = cosigner.name(),
                            why,
                            "a cosigner does not say where it stands"
                        );
                        let standings = self.log.standings();
                        standings.note(cosigner.name(), "unreachable", clock::now_ms());
                        unheard.push(cosigner);
                    }
                }
            }
            if self.idle.len() >= enough.min(all) {
                self.idle.append(&mut unheard);
                return Ok(true);
            }
            tokio::select! {
                () = self.state.shutdown.cancelled() => return Ok(false),
                () = sleep(PAUSE) => {}
            }
        }
    }

    /// Runs until the process or the log stops.
    ///
    /// # Errors
    /// If a cosigner knows more of the log than was signed here.
    pub async fn run(mut self) -> Result<(), PluginError> {
        let mut heads = self.log.heads();
        loop {
            tokio::select! {
                () = self.log.stopped() => return Ok(()),
                () = self.state.shutdown.cancelled() => return Ok(()),
                changed = heads.changed() => if changed.is_err() { return Ok(()) },
            }
            let Some(head) = heads.borrow_and_update().clone() else {
                continue;
            };
            let started = Instant::now();
            match self.round(&head).await? {
                Some(cosigned) => {
                    if let Err(error) = self.publish(cosigned).await {
                        tracing::warn!(%error, "a checkpoint could not be published; the next one will be");
                        self.log.metrics().publication("not_stored");
                    } else {
                        self.log.metrics().cosigned(started.elapsed());
                    }
                }
                None => {
                    tracing::warn!(
                        size = head.checkpoint().size,
                        "too few cosignatures; not published"
                    );
                    self.log.metrics().publication("no_quorum");
                }
            }
        }
    }

    fn ask(&mut self, mut cosigner: Cosigner, head: &Arc<SignedCheckpoint>) {
        let (state, log, head) = (self.state.clone(), self.log.clone(), head.clone());
        let patience = self.patience();
        self.asked.spawn(async move {
            let outcome = cosigner.cosign(&log, &state, &head, patience).await;
            Reply {
                cosigner,
                size: head.checkpoint().size,
                outcome,
            }
        });
    }

    /// Has one head cosigned; none if there is no quorum in time.
    async fn round(
        &mut self,
        head: &Arc<SignedCheckpoint>,
    ) -> Result<Option<SignedCheckpoint>, PluginError> {
        let mut signed = SignedCheckpoint::clone(head);
        let size = head.checkpoint().size;
        let mut waiting = self.idle.len();
        for cosigner in std::mem::take(&mut self.idle) {
            self.ask(cosigner, head);
        }
        let mut end = Instant::now() + self.patience();
        let mut enough = self.log.policy().check(signed.note()).is_ok();
        while waiting > 0 {
            let reply = tokio::select! {
                () = self.state.shutdown.cancelled() => break,
                () = sleep_until(end) => break,
                Some(reply) = self.asked.join_next() => reply.map_err(task_failed)?,
            };
            let cosignature = self.judge(&reply)?;
            if reply.size != size {
                // It was busy with an earlier head.
                self.ask(reply.cosigner, head);
                waiting += 1;
                continue;
            }
            waiting -= 1;
            self.idle.push(reply.cosigner);
            if let Some(lines) = cosignature {
                // Only what verified comes here; a note that is full has its quorum.
                let _ = signed.add(&lines);
            }
            if !enough && self.log.policy().check(signed.note()).is_ok() {
                enough = true;
                end = end.min(Instant::now() + GRACE);
            }
        }
        Ok(enough.then_some(signed))
    }

    fn judge(&self, reply: &Reply) -> Result<Option<Vec<NoteSignature>>, PluginError> {
        let name = reply.cosigner.name();
        let (outcome, judged) = match &reply.outcome {
            Ok(lines) => ("cosigned", Ok(Some(lines.clone()))),
            Err(Refusal::Refused(why)) => {
                tracing::warn!(cosigner = name, why, "a cosigner refuses");
                ("refused", Ok(None))
            }
            Err(Refusal::Unreachable(why)) => {
                tracing::warn!(cosigner = name, why, "a cosigner does not answer");
                ("unreachable", Ok(None))
            }
            Err(Refusal::Buried) => ("tombstoned", Ok(None)),
            Err(Refusal::Ahead { size }) => {
                ("ahead", Err(ahead(name, *size, self.log.signed_size())))
            }
        };
        self.log.metrics().cosigner(outcome);
        self.log.standings().note(name, outcome, clock::now_ms());
        judged
    }

    /// Durable first, then seen.
    async fn publish(&self, cosigned: SignedCheckpoint) -> Result<(), PluginError> {
        let size = cosigned.checkpoint().size;
        let text = cosigned.note().to_string();
        store::publish(self.log.own_pool(), self.log.id(), size, &text).await?;
        fault::point("published");
        self.log.publish(cosigned);
        Ok(())
    }
}

fn task_failed(error: tokio::task::JoinError) -> PluginError {
    PluginError::Internal(format!("asking a cosigner failed: {error}"))
}

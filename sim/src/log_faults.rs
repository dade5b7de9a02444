//! Logs go on, or do what they were planned to do instead.

use atomicity_ledger::PaymentHash;
use atomicity_ledger::hop::CollectionStage;

use crate::error::SimError;
use crate::plan::{Lie, LogPlan};
use crate::world::World;

impl World {
    /// Some of the logs go on.
    pub(crate) fn tick_some(&mut self) -> Result<(), SimError> {
        for log in 0..self.logs.logs.len() {
            if self.rng.chance(600) {
                self.tick(log)?;
            }
        }
        Ok(())
    }

    /// A log goes on, sometimes at the very moment of a deadline, or just after it.
    pub(crate) fn tick(&mut self, log: usize) -> Result<(), SimError> {
        let stalled = self.logs.logs[log].dead || self.is_stalled(log);
        if stalled && self.faulty {
            return Ok(());
        }
        for branch in 0..self.logs.logs[log].branches.len() {
            let last = self.logs.logs[log].branches[branch].last_ms();
            let deadlines = self.deadlines.iter().copied();
            let near = deadlines
                .filter(|(_, at)| *at > last && *at <= self.now_ms)
                .min_by_key(|(_, at)| *at);
            let time_ms = match near {
                Some((hash, deadline)) if self.is_late(&hash) || self.rng.chance(500) => {
                    self.publish_last(log, &hash);
                    let after = if self.is_late(&hash) {
                        1
                    } else {
                        self.rng.below(2)
                    };
                    deadline + after
                }
                _ => self.now_ms,
            };
            self.logs.tick(log, branch, time_ms)?;
        }
        Ok(())
    }

    /// Whether the payee of a payment comes too late on purpose.
    fn is_late(&self, hash: &PaymentHash) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.any(|n| n.does(Lie::BadProofs) && n.stored.collections.contains_key(hash))
    }

    /// Some payees publish at the very last moment, or a millisecond after it.
    fn publish_last(&mut self, log: usize, hash: &PaymentHash) {
        for n in 0..self.nodes.len() {
            let store = &self.nodes[n].stored;
            let collection = store.collections.get(hash);
            let collection = collection.filter(|c| *c.stage() == CollectionStage::Publishing);
            let part = collection.and_then(|collection| collection.parts().first());
            let origin = self.logs.logs[log].origin.clone();
            let named = part.is_some_and(|part| {
                let mut logs = part.terms.logs.iter();
                logs.any(|term| term.origin.as_str() == origin)
            });
            let secret = store.secrets.get(hash).filter(|_| named);
            let preimage = secret.map(|secret| *secret.preimage.as_bytes());
            let late = self.nodes[n].does(Lie::BadProofs) || self.rng.chance(200);
            if let Some(preimage) = preimage.filter(|_| late) {
                self.submit(n, &origin, &preimage);
            }
        }
    }

    pub(crate) fn is_stalled(&self, log: usize) -> bool {
        matches!(self.logs.logs[log].plan, LogPlan::Stalls { from, to }
            if (from..to).contains(&self.stats.steps_of_run))
    }

    /// Everything that a log was planned to do comes when its step comes.
    pub(crate) fn logs_change(&mut self, step: usize) -> Result<(), SimError> {
        self.stats.steps_of_run = step;
        for log in 0..self.logs.logs.len() {
            match self.logs.logs[log].plan {
                LogPlan::Dies { at } if at == step => {
                    self.logs.logs[log].dead = true;
                    self.stats.log_faults += 1;
                    self.trace.line(format_args!("log {log} ends"));
                }
                LogPlan::Forks { at } if at == step => self.fork(log),
                LogPlan::BackDates { at } if step > at && self.rng.chance(80) => {
                    self.back_date(log)?;
                }
                LogPlan::Stalls { from, .. } if from == step => self.stats.log_faults += 1,
                _ => {}
            }
        }
        Ok(())
    }

    /// The tree splits, and with it those who are shown it.
    pub(crate) fn fork(&mut self, log: usize) {
        let branch = self.logs.fork(log);
        let liars = self.logs.cosigners.iter().filter(|c| c.lies).count();
        let of = &mut self.logs.logs[log];
        for place in of.audience.iter_mut().chain(&mut of.shown) {
            if self.rng.chance(500) {
                *place = branch;
            }
        }
        self.stats.log_faults += 1;
        self.trace.line(format_args!(
            "log {log} forks: {:?} {:?}, {liars} lie",
            of.audience, of.shown
        ));
    }

    /// What comes too late is put in with a time that is not.
    pub(crate) fn back_date(&mut self, log: usize) -> Result<(), SimError> {
        let tree = &self.logs.logs[log].branches[0];
        let last = tree.last_ms();
        let mut late = Vec::new();
        for node in &self.nodes {
            for (hash, secret) in &node.live.secrets {
                let past = self.deadlines.iter().any(|(h, deadline)| {
                    h == hash && *deadline < last && *deadline + 60_000 > last
                });
                if past {
                    late.push(*secret.preimage.as_bytes());
                }
            }
        }
        if late.is_empty() {
            return Ok(());
        }
        let preimage = late[self.rng.index(late.len())];
        let back = self.rng.below(60_000);
        self.stats.log_faults += 1;
        self.trace.line(format_args!("log {log} dates back"));
        let leaf = atomicity_witness_log::Leaf::Preimage {
            time_ms: last.saturating_sub(back),
            preimage,
        };
        self.logs.forge(log, 0, &[leaf])
    }
}

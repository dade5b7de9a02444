//! Logs go on, or do what they were planned to do instead.

use crate::error::SimError;
use crate::plan::LogPlan;
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
            let deadlines = self.deadlines.iter().map(|(_, deadline)| *deadline);
            let near = deadlines
                .filter(|at| *at > last && *at <= self.now_ms)
                .min();
            let time_ms = match near {
                Some(deadline) if self.rng.chance(500) => deadline + self.rng.below(2),
                _ => self.now_ms,
            };
            self.logs.tick(log, branch, time_ms)?;
        }
        Ok(())
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

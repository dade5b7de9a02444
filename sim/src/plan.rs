//! What a seed draws before anything happens: who there is, what they know of each other, and what will go wrong.

use std::collections::BTreeMap;

use atomicity_ledger::hop::{HopPolicy, HopRule};
use atomicity_ledger::{LedgerError, Total, Unit};

use crate::exchange::Exchange;
use crate::rng::Rng;

/// How a log behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogPlan {
    /// As it should.
    Honest,
    /// It shows nothing new between two moments.
    Stalls {
        /// From this step on.
        from: usize,
        /// Until this one.
        to: usize,
    },
    /// It ends.
    Dies {
        /// At this step.
        at: usize,
    },
    /// It forgets some of what it is given, and shows many an old head.
    Withholds,
    /// It shows one tree to some and another to the others.
    Forks {
        /// From this step on.
        at: usize,
    },
    /// It puts in what came too late, with an earlier time.
    BackDates {
        /// From this step on.
        at: usize,
    },
}

impl LogPlan {
    /// Whether it signs what contradicts itself.
    #[must_use]
    pub fn lies(self) -> bool {
        matches!(self, Self::Forks { .. } | Self::BackDates { .. })
    }
}

/// What a dishonest user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Says that what was published is decided, and books nothing.
    LeavesOut,
    /// Takes proofs and books nothing.
    NeverMerges,
    /// One number twice.
    NumberTwice,
    /// Hands proofs over when everything seems to have expired.
    LateProofs,
    /// Gives nothing up.
    WithholdsReleases,
    /// Sends old releases again, and such as name another promise.
    ReplaysReleases,
    /// Signs under an epoch that has ended.
    OldEpoch,
    /// Books as promised what was not.
    InflatesMerged,
    /// Signs totals that fall.
    Falls,
    /// Shows proofs that prove nothing.
    BadProofs,
    /// Promises onward less than it is asked to.
    Skims,
    /// Promises onward in another unit.
    OtherUnit,
    /// Promises onward until another time.
    OtherDeadline,
    /// Hands layers on that nobody can open.
    Garbles,
    /// Takes promises and passes nothing on.
    Swallows,
    /// Sends answers, and releases with layers of other payments, again.
    ReplaysReplies,
    /// Promises on what is never published.
    Locks,
    /// Asks for more than the rate that it has published.
    Overcharges,
}

impl Lie {
    /// Whether it is about what is passed on.
    #[must_use]
    pub fn is_of_hop(self) -> bool {
        matches!(
            self,
            Self::Skims | Self::OtherUnit | Self::OtherDeadline | Self::Garbles | Self::Swallows
        )
    }
}

const LIES: [Lie; 18] = [
    Lie::LeavesOut,
    Lie::NeverMerges,
    Lie::NumberTwice,
    Lie::LateProofs,
    Lie::WithholdsReleases,
    Lie::ReplaysReleases,
    Lie::OldEpoch,
    Lie::InflatesMerged,
    Lie::Falls,
    Lie::BadProofs,
    Lie::Skims,
    Lie::OtherUnit,
    Lie::OtherDeadline,
    Lie::Garbles,
    Lie::Swallows,
    Lie::ReplaysReplies,
    Lie::Locks,
    Lie::Overcharges,
];

/// Everything that a seed decides in advance.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many users.
    pub nodes: usize,
    /// Who are friends: pairs of users, the lesser first.
    pub edges: Vec<(usize, usize)>,
    /// How many units.
    pub units: usize,
    /// What a friend may owe at first.
    pub accept: u64,
    /// How the cosigners behave: whether each lies.
    pub cosigners: Vec<bool>,
    /// How many of them make a quorum.
    pub threshold: usize,
    /// The logs.
    pub logs: Vec<LogPlan>,
    /// Who lies, and how.
    pub liars: BTreeMap<usize, Vec<Lie>>,
    /// Of a thousand records, so many are lost.
    pub drop: u64,
    /// Of a thousand, so many come again.
    pub repeat: u64,
    /// Of a thousand, so many come out of turn.
    pub reorder: u64,
    /// Of a thousand commits, so many end in a crash.
    pub crash: u64,
    /// Whether books are handed over and recovered.
    pub epochs: bool,
    /// What each user takes for passing on: a fixed fee, and millionths of the amount.
    pub fees: Vec<(u64, u32)>,
    /// What each user exchanges.
    pub exchanges: Vec<Vec<Exchange>>,
    /// What a friend may have undecided through a user: how many promises, how much, how many failures in a minute.
    pub budget: (u32, u64, u32),
    /// How much time must be left for passing on, and for publishing, in milliseconds.
    pub min_left_ms: u64,
    /// Whether users agree to clear debts for nothing.
    pub clearing: bool,
    /// Whether payees take promises while they are away.
    pub away: bool,
    /// How many steps.
    pub steps: usize,
}

impl Plan {
    /// Draws the plan of a seed.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Self {
        let nodes = rng.index(6) + 3;
        let cosigners = rng.index(3) + 1;
        let threshold = rng.index(cosigners) + 1;
        let steps = rng.index(80) + 110;
        let (bad_logs, bad_peers) = match rng.below(10) {
            0..=3 => (false, false),
            4..=6 => (true, false),
            7..=8 => (false, true),
            _ => (true, true),
        };
        let mut plan = Self {
            nodes,
            edges: edges(nodes, rng),
            units: rng.index(2) + 1,
            accept: rng.between(80, 400),
            cosigners: vec![false; cosigners],
            threshold,
            logs: Vec::new(),
            liars: BTreeMap::new(),
            drop: *pick(rng, &[0, 0, 30, 120]),
            repeat: *pick(rng, &[0, 50, 150]),
            reorder: *pick(rng, &[0, 200, 700]),
            crash: *pick(rng, &[0, 5, 20]),
            epochs: rng.chance(400),
            fees: (0..nodes)
                .map(|_| (rng.below(3), *pick(rng, &[0, 1_000, 50_000])))
                .collect(),
            exchanges: vec![Vec::new(); nodes],
            budget: *pick(rng, &[(16, u64::MAX >> 1, 40), (3, 200, 4), (6, 400, 8)]),
            min_left_ms: *pick(rng, &[0, 1_000, 4_000]),
            clearing: rng.chance(700),
            away: rng.chance(600),
            steps,
        };
        plan.draw_logs(bad_logs, rng);
        plan.draw_accomplice(rng);
        if plan.units > 1 && rng.chance(700) {
            let draw = |_| {
                if rng.chance(500) {
                    Exchange::draw(rng)
                } else {
                    Vec::new()
                }
            };
            plan.exchanges = (0..nodes).map(draw).collect();
        }
        if bad_peers {
            let liars = if nodes > 4 && rng.chance(300) { 2 } else { 1 };
            for _ in 0..liars {
                let lies = (0..rng.between(1, 3)).map(|_| *pick(rng, &LIES));
                let lies = lies.collect();
                plan.liars.insert(rng.index(nodes), lies);
            }
        }
        plan
    }

    /// Where a log and a quorum of its cosigners lie, there may be somebody who gains by it: who shows late what only some can see.
    fn draw_accomplice(&mut self, rng: &mut Rng) {
        let liars = self.cosigners.iter().filter(|lies| **lies).count();
        let logs = self.logs.iter().any(|log| log.lies());
        if logs && liars >= self.threshold && rng.chance(400) {
            let lies = vec![Lie::LateProofs, Lie::BadProofs];
            self.liars.insert(rng.index(self.nodes), lies);
        }
    }

    /// A log that lies alone is seen through by its cosigners; it gets somewhere with some that lie too.
    fn draw_logs(&mut self, bad: bool, rng: &mut Rng) {
        let logs = rng.index(3) + 1;
        let late = self.steps / 3;
        for at in 0..logs {
            let when = rng.index(self.steps / 2) + late / 2;
            let plan = match rng.below(if bad { 12 } else { 5 }) {
                0 if bad => LogPlan::Dies { at: when },
                1 | 2 => LogPlan::Stalls {
                    from: when,
                    to: when + rng.index(40) + 5,
                },
                3 => LogPlan::Withholds,
                4 => LogPlan::Dies { at: when },
                5..=8 => LogPlan::Forks { at: when },
                9..=11 => LogPlan::BackDates { at: when },
                _ => LogPlan::Honest,
            };
            // One log at least that nobody can complain of keeps payments going.
            let keep = at == 0 && logs > 1 && rng.chance(500);
            self.logs.push(if keep { LogPlan::Honest } else { plan });
        }
        let forks = self.logs.iter().any(|log| log.lies());
        if !forks || rng.chance(200) {
            return;
        }
        let liars = rng.index(self.threshold) + 1;
        for cosigner in self.cosigners.iter_mut().take(liars) {
            *cosigner = true;
        }
    }

    /// What a user passes on, and for how much.
    ///
    /// # Errors
    /// Never: the figures are small.
    pub fn policy(&self, n: usize, units: &[Unit]) -> Result<HopPolicy, LedgerError> {
        let (base, ppm) = self.fees.get(n).copied().unwrap_or_default();
        let mut policy = HopPolicy::none();
        let mut rule = HopRule::allow(None, None, Total::from_minor(base)?, ppm)?;
        rule.clearing = self.clearing;
        policy.rules.push(rule);
        let lies = self.liars.get(&n);
        let overcharges = lies.is_some_and(|lies| lies.contains(&Lie::Overcharges));
        for exchange in self.exchanges.get(n).into_iter().flatten() {
            policy.exchange.extend(exchange.rate(units, overcharges)?);
        }
        let (undecided, amount, failed) = self.budget;
        policy.budget.undecided = undecided;
        policy.budget.amount = Total::from_minor(amount)?;
        policy.budget.failed = failed;
        policy.min_left_ms = self.min_left_ms;
        Ok(policy)
    }

    /// Whether every log and cosigner tells the truth.
    #[must_use]
    pub fn logs_are_honest(&self) -> bool {
        self.logs.iter().all(|log| !log.lies()) && self.cosigners.iter().all(|lies| !lies)
    }
}

/// One of a list that is not empty.
pub(crate) fn pick<'a, T>(rng: &mut Rng, list: &'a [T]) -> &'a T {
    &list[rng.index(list.len())]
}

/// A tree, so that everybody is reached, and some more.
fn edges(nodes: usize, rng: &mut Rng) -> Vec<(usize, usize)> {
    let mut edges: Vec<(usize, usize)> = (1..nodes).map(|node| (rng.index(node), node)).collect();
    for _ in 0..rng.index(nodes) {
        let (a, b) = (rng.index(nodes), rng.index(nodes));
        let edge = (a.min(b), a.max(b));
        if a != b && !edges.contains(&edge) {
            edges.push(edge);
        }
    }
    edges
}

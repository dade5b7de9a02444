//! What the owner of a payment account pays outside for it.

use serde::{Deserialize, Serialize};

use super::attempt::After;
use super::check::{Asked, Facts, Plan, Refusal, Way, check};
use super::{Order, Proof, RailSaid, Ticket};
use crate::jws::{RecordHash, Signed, Version};
use crate::record::{SettleReason, Spend};
use crate::time::Timestamp;

/// One spend that names a place outside, as the owner's wallet keeps it once it was judged. Nobody else's books hang on it: what it
/// counts for in the account is kept with the spend, and freed if it ends as [`OutlayStage::Failed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outlay {
    v: Version,
    /// The hash of the spend.
    spend: RecordHash,
    plan: Plan,
    stage: OutlayStage,
    /// How many attempts have begun.
    attempt: u32,
    /// The way of the newest attempt, or of the next one if none is under way.
    way: usize,
}

/// How far an [`Outlay`] is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OutlayStage {
    /// Nothing is under way: no rail was told yet, or it is known that nothing came of what it was told.
    Planned,
    /// A rail may have been told to pay. Nothing is freed and nothing is repeated before it is known what became of that.
    Dispatched,
    /// It was paid.
    Paid {
        /// What shows it.
        proof: Proof,
    },
    /// It was not paid, and will not be.
    Failed {
        /// Why.
        reason: SettleReason,
    },
}

/// What is to be done once an [`Outlay`] is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutlayNext {
    /// [`Outlay::dispatch`], with the hash taken for this spend in the same transaction.
    Dispatch,
    /// Ask the rail what became of it, now and then, and hand its answer to [`Outlay::rail_said`].
    LookUp(Order),
    /// Nothing any more.
    Over,
}

impl Outlay {
    /// Judges a spend: whether it can be paid outside at the owner's rate, and how.
    ///
    /// # Errors
    /// Why not, and what would be paid at the owner's rate. [`SettleReason::TargetMalformed`] if it names no place outside.
    pub fn judge(spend: &Signed<Spend>, facts: &Facts, now: Timestamp) -> Result<Self, Refusal> {
        let asked = Asked::of_spend(spend.record());
        let asked = asked.ok_or((SettleReason::TargetMalformed, None))?;
        Ok(Self {
            v: Version,
            spend: spend.hash(),
            plan: check(&asked, facts, now)?,
            stage: OutlayStage::Planned,
            attempt: 0,
            way: 0,
        })
    }

    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> &OutlayStage {
        &self.stage
    }

    /// What was decided about it.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The way of the newest attempt, or of the next one if none is under way.
    #[must_use]
    pub fn way(&self) -> Option<&Way> {
        self.plan.ways.get(self.way)
    }

    /// How many attempts have begun.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempt
    }

    /// What is to be done as things stand. Never *pay*: whoever does not know whether a rail was told must look it up.
    #[must_use]
    pub fn next(&self) -> OutlayNext {
        match self.stage {
            OutlayStage::Planned => OutlayNext::Dispatch,
            OutlayStage::Dispatched => self.order().map_or(OutlayNext::Over, OutlayNext::LookUp),
            OutlayStage::Paid { .. } | OutlayStage::Failed { .. } => OutlayNext::Over,
        }
    }

    /// Begins an attempt: the only step after which a rail is told to pay, and only once. Nothing if none may begin.
    pub fn dispatch(&mut self, now: Timestamp) -> Option<Order> {
        if self.stage != OutlayStage::Planned {
            return None;
        }
        if now >= self.plan.not_after {
            self.end(SettleReason::Expired);
            return None;
        }
        self.attempt = self.attempt.saturating_add(1);
        self.stage = OutlayStage::Dispatched;
        let order = self.order();
        if order.is_none() {
            self.end(SettleReason::NoMethod);
        }
        order
    }

    /// Takes what a rail says of the attempt with this number. What it says of an earlier one only counts if that was paid.
    pub fn rail_said(&mut self, attempt: u32, said: RailSaid, now: Timestamp) {
        let under_way = self.stage == OutlayStage::Dispatched;
        let known = (1..=self.attempt).contains(&attempt);
        match said {
            RailSaid::Succeeded(proof) if under_way && known && self.plan.shows(&proof) => {
                self.stage = OutlayStage::Paid { proof };
            }
            said if under_way && attempt == self.attempt => self.not_paid(&said, now),
            _ => {}
        }
    }

    fn not_paid(&mut self, said: &RailSaid, now: Timestamp) {
        let late = now >= self.plan.not_after;
        match self.plan.after(self.way, said, now) {
            After::Open => {}
            After::Unpaid(reason) => self.end(reason),
            After::NextWay | After::SameWay if late => self.end(SettleReason::Expired),
            After::NextWay => {
                self.way = self.way.saturating_add(1);
                self.stage = OutlayStage::Planned;
            }
            After::SameWay => self.stage = OutlayStage::Planned,
        }
    }

    fn end(&mut self, reason: SettleReason) {
        self.stage = OutlayStage::Failed { reason };
    }

    /// The order of the newest attempt.
    fn order(&self) -> Option<Order> {
        Some(Order {
            ticket: Ticket {
                settlement: self.spend,
                attempt: self.attempt,
            },
            way: self.way()?.clone(),
            pays: self.plan.pays.clone(),
            not_after: self.plan.not_after,
        })
    }
}

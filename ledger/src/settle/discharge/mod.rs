//! The issuer's side: from a request to a debt that is paid off.

mod rail;
mod stage;

use serde::{Deserialize, Serialize};

use super::check::{Facts, Plan, Way, check};
use super::standing::{ReleaseStanding, Standing};
use super::{Entry, Next, Order, Proof, Step, Ticket};
use crate::amount::Amount;
use crate::jws::{RecordHash, Signed, Version, stored};
use crate::record::{Payment, Pays, SettleReason, Settlement, SettlementSaid};
use crate::time::Timestamp;

pub use stage::{Known, LOOK_UP_GRACE_MS, Stage};

/// One request, as the issuer keeps it: with the rail's proof, what shows that the debt was paid off. Stored under the hash of the
/// request, which must be signed by the holder's book key; if the same request comes again, [`Discharge::asked_again`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discharge {
    v: Version,
    #[serde(with = "stored::one")]
    settlement: Signed<Settlement>,
    stage: Stage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plan: Option<Plan>,
    /// How many attempts have begun.
    attempt: u32,
    /// The way of the newest attempt, or of the next one if none is under way.
    way: usize,
    /// The holder took it back too late: no further attempt begins.
    withdrawn: bool,
    /// The holder took it back after it was paid.
    #[serde(default)]
    disputed: bool,
    /// Whether the direct release that it names is its own to give up.
    owns_release: bool,
}

impl Discharge {
    /// Takes a request. What was declined at once must be stored as well, so that it is declined again.
    #[must_use]
    pub fn receive(settlement: Signed<Settlement>, known: Known, now: Timestamp) -> (Self, Step) {
        let expired = settlement.record().has_expired(now);
        let mut new = Self {
            v: Version,
            settlement,
            stage: Stage::Received,
            plan: None,
            attempt: 0,
            way: 0,
            withdrawn: false,
            disputed: false,
            owns_release: !known.release_named,
        };
        let obstacle = match known {
            Known { id_used: true, .. } => Some(SettleReason::IdUsed),
            Known {
                release_named: true,
                ..
            } => Some(SettleReason::ReleaseDiffers),
            Known {
                withdrawn: true, ..
            } => Some(SettleReason::Withdrawn),
            _ => expired.then_some(SettleReason::Expired),
        };
        let step = match obstacle {
            Some(reason) => new.end(reason, None),
            None => new.idle(),
        };
        (new, step)
    }

    /// The request.
    #[must_use]
    pub fn settlement(&self) -> &Signed<Settlement> {
        &self.settlement
    }

    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// What was decided about it, once it was checked.
    #[must_use]
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// The way of the newest attempt, or of the next one if none is under way.
    #[must_use]
    pub fn way(&self) -> Option<&Way> {
        self.plan.as_ref()?.ways.get(self.way)
    }

    /// Whether the holder took the request back after it was paid: they say that nothing came.
    #[must_use]
    pub fn is_disputed(&self) -> bool {
        self.disputed && matches!(self.stage, Stage::Proven { .. })
    }

    /// How many attempts have begun.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempt
    }

    /// Whether nothing can come of it any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(
            self.stage,
            Stage::Done { .. } | Stage::Declined { .. } | Stage::Failed { .. }
        )
    }

    /// What of the holder's claim is kept for it and not by a direct release: other requests can't have it.
    #[must_use]
    pub fn reserves(&self) -> Option<Amount> {
        let asked = self.settlement.record();
        let kept = matches!(
            self.stage,
            Stage::Reserved | Stage::Dispatched | Stage::Proven { .. }
        );
        (kept && asked.release.is_none()).then_some(asked.amount)
    }

    /// Judges the request. Changes nothing unless it was only received.
    pub fn judge(&mut self, facts: &Facts, now: Timestamp) -> Step {
        if self.stage != Stage::Received {
            return self.idle();
        }
        match check(&self.settlement.record().into(), facts, now) {
            Ok(plan) => {
                self.plan = Some(plan);
                self.stage = Stage::Checked;
                self.idle()
            }
            Err((reason, offer)) => self.end(reason, offer),
        }
    }

    /// Keeps claim and hash for the request, or waits for the direct release. Changes nothing unless it was just checked.
    pub fn reserve(&mut self, standing: &Standing, now: Timestamp) -> Step {
        if self.stage != Stage::Checked {
            return self.idle();
        }
        if let Some(reason) = self.obstacle(standing, now) {
            return self.end(reason, None);
        }
        if standing.release == ReleaseStanding::Missing {
            return nothing(Next::Wait);
        }
        self.stage = Stage::Reserved;
        let hash = self.plan.as_ref().and_then(|plan| plan.hash);
        let mut entries: Vec<Entry> = hash.map(Entry::TakeHash).into_iter().collect();
        entries.push(Entry::Answer(SettlementSaid::Accepted));
        Step {
            entries,
            next: Next::Dispatch,
        }
    }

    /// Begins an attempt: the only step after which a rail is told to pay, and only once. The standing must be read anew, in the
    /// same transaction.
    pub fn dispatch(&mut self, standing: &Standing, now: Timestamp) -> Step {
        if self.stage != Stage::Reserved {
            return self.idle();
        }
        let missing = standing.release == ReleaseStanding::Missing;
        let gone = missing.then_some(SettleReason::ReleaseMissing);
        if let Some(reason) = self.obstacle(standing, now).or(gone) {
            return self.end(reason, None);
        }
        self.attempt = self.attempt.saturating_add(1);
        self.stage = Stage::Dispatched;
        match self.order() {
            Some(order) => nothing(Next::Pay(order)),
            None => self.end(SettleReason::NoMethod, None),
        }
    }

    /// The holder takes the request back. It counts as long as no rail was told; else the holder is told that it is too late.
    /// After it was paid it is the holder's word that nothing came, and changes nothing else.
    pub fn withdraw(&mut self) -> Step {
        match self.stage {
            Stage::Received | Stage::Checked | Stage::Reserved => {
                self.end(SettleReason::Withdrawn, None)
            }
            Stage::Dispatched => {
                self.withdrawn = true;
                self.asked_again()
            }
            Stage::Proven { .. } => {
                self.disputed = true;
                self.asked_again()
            }
            _ => self.asked_again(),
        }
    }

    /// The direct release that the request names has come.
    pub fn release_came(&mut self) -> Step {
        match self.stage {
            Stage::Declined { .. } | Stage::Failed { .. } => Step {
                entries: self.give_up(),
                next: Next::Over,
            },
            _ => self.idle(),
        }
    }

    /// The same request came again: it is answered as before, and nothing else happens.
    #[must_use]
    pub fn asked_again(&self) -> Step {
        let entry = match (&self.stage, self.settlement.record().release) {
            (Stage::Proven { proof } | Stage::Done { proof }, release) => {
                self.told(proof.clone(), release)
            }
            (Stage::Reserved, _) => Some(Entry::Answer(SettlementSaid::Accepted)),
            (Stage::Dispatched, _) if self.withdrawn => {
                Some(Entry::Answer(SettlementSaid::Dispatched))
            }
            (Stage::Dispatched, _) => Some(Entry::Answer(SettlementSaid::Accepted)),
            (Stage::Declined { reason, offer }, _) => {
                Some(Entry::Answer(SettlementSaid::Declined {
                    reason: *reason,
                    offer: offer.clone(),
                }))
            }
            (Stage::Failed { reason }, _) => {
                Some(Entry::Answer(SettlementSaid::Failed { reason: *reason }))
            }
            (Stage::Received | Stage::Checked, _) => None,
        };
        Step {
            entries: entry.into_iter().collect(),
            next: self.next(),
        }
    }

    /// The holder's books say that it was paid: the direct release was booked, or a payment for the request came.
    pub fn booked(&mut self) -> Step {
        if let Stage::Proven { proof } = &self.stage {
            self.stage = Stage::Done {
                proof: proof.clone(),
            };
        }
        self.idle()
    }

    /// Whether this payment is the holder's word that the request was paid.
    #[must_use]
    pub fn is_paid_by(&self, payment: &Payment) -> bool {
        let asked = self.settlement.record();
        let reference = payment.reference.as_ref();
        payment.from == asked.holder
            && payment.to == asked.issuer
            && payment.unit == asked.unit
            && payment.amount >= asked.amount
            && reference.is_some_and(|r| r.as_str() == asked.id.to_string())
    }

    /// The time goes on, or the owner was interrupted: ends what has waited too long, else says what is to be done.
    pub fn tick(&mut self, now: Timestamp) -> Step {
        let late = match (&self.stage, &self.plan) {
            (Stage::Received, _) => self.settlement.record().has_expired(now),
            (Stage::Checked | Stage::Reserved, Some(plan)) => now >= plan.not_after,
            _ => false,
        };
        let reason = if self.stage == Stage::Checked && self.settlement.record().is_invoice() {
            SettleReason::ReleaseMissing
        } else {
            SettleReason::Expired
        };
        if late {
            self.end(reason, None)
        } else {
            self.idle()
        }
    }

    /// What is to be done as things stand. Never *pay*: whoever does not know whether a rail was told must look it up.
    #[must_use]
    pub fn next(&self) -> Next {
        match self.stage {
            Stage::Received => Next::Judge,
            Stage::Checked => Next::Reserve,
            Stage::Reserved => Next::Dispatch,
            Stage::Dispatched => self.order().map_or(Next::Wait, Next::LookUp),
            Stage::Proven { .. } => Next::Wait,
            Stage::Done { .. } | Stage::Declined { .. } | Stage::Failed { .. } => Next::Over,
        }
    }

    fn idle(&self) -> Step {
        nothing(self.next())
    }

    fn obstacle(&self, standing: &Standing, now: Timestamp) -> Option<SettleReason> {
        let late = self.plan.as_ref().is_none_or(|plan| now >= plan.not_after);
        let late = late.then_some(SettleReason::Expired);
        late.or_else(|| standing.obstacle(self.settlement.record()))
    }

    /// The order of the newest attempt.
    fn order(&self) -> Option<Order> {
        let plan = self.plan.as_ref()?;
        let way: &Way = plan.ways.get(self.way)?;
        Some(Order {
            ticket: Ticket {
                settlement: self.settlement.hash(),
                attempt: self.attempt,
            },
            way: way.clone(),
            pays: plan.pays.clone(),
            not_after: plan.not_after,
        })
    }

    fn prove(&mut self, proof: Proof) -> Step {
        let told = self.told(proof.clone(), self.settlement.record().release);
        self.stage = Stage::Proven { proof };
        Step {
            entries: told.into_iter().collect(),
            next: Next::Wait,
        }
    }

    fn told(&self, proof: Proof, release: Option<RecordHash>) -> Option<Entry> {
        match (proof, release) {
            (Proof::Preimage(preimage), Some(iou)) => Some(Entry::Show { iou, preimage }),
            (Proof::Text(proof), _) => {
                let way = self.plan.as_ref().and_then(|p| p.ways.get(self.way))?;
                let method = way.target.method.clone();
                Some(Entry::Answer(SettlementSaid::Paid { method, proof }))
            }
            (Proof::Preimage(_), None) => None,
        }
    }

    /// Ends the request unpaid: the direct release is given up and the holder told why.
    fn end(&mut self, reason: SettleReason, offer: Option<Pays>) -> Step {
        let accepted = matches!(self.stage, Stage::Reserved | Stage::Dispatched);
        self.stage = if accepted {
            Stage::Failed { reason }
        } else {
            Stage::Declined { reason, offer }
        };
        let mut entries = self.give_up();
        entries.extend(self.asked_again().entries);
        Step {
            entries,
            next: Next::Over,
        }
    }

    fn give_up(&self) -> Vec<Entry> {
        let release = self.settlement.record().release;
        let own: Option<RecordHash> = release.filter(|_| self.owns_release);
        own.map(|iou| Entry::GiveUp { iou }).into_iter().collect()
    }
}

fn nothing(next: Next) -> Step {
    Step {
        entries: Vec::new(),
        next,
    }
}

//! The payee's side: collecting what an invoice asked for, and publishing only when all of it is there.

use serde::{Deserialize, Serialize};

use super::errand::{Errand, give_up};
use super::{Context, Neighbour, Step};
use crate::amount::Amount;
use crate::digest::{PaymentHash, PolicyHash, Preimage};
use crate::error::LedgerError;
use crate::jws::{RecordHash, Version};
use crate::key::UserKey;
use crate::onion::{Failure, FailureCode, Payload};
use crate::pair::{Event, Standing};
use crate::planted::{self, Bug};
use crate::record::{ConditionalIou, Invoice, LogProof, ReleaseReason, Terms};
use crate::text::{Address, RecordId};
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most parts in which one payment may come.
pub const MAX_COLLECTION_PARTS: usize = 32;

/// What an invoice asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bill {
    /// The invoice. Only who has it knows this: a promise that names it comes from whom it was given to.
    pub invoice: RecordId,
    /// In what.
    pub unit: Unit,
    /// How much; open if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// What the payment hangs on.
    pub hash: PaymentHash,
    /// The logs that may decide.
    pub logs: Vec<TrustedLog>,
    /// From then on nothing is taken.
    pub expires: Timestamp,
    /// How much time must be left for publishing, in milliseconds.
    pub min_left_ms: u64,
}

/// A log that may decide, and by which policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedLog {
    /// The log's origin.
    pub origin: Address,
    /// The hash of the policy's text.
    pub policy_hash: PolicyHash,
}

/// What has come for one invoice. Stored under the invoice's hash, in the transaction of whatever changed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collection {
    v: Version,
    bill: Bill,
    parts: Vec<CollectionPart>,
    stage: CollectionStage,
}

/// One promise that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectionPart {
    /// Who promised.
    pub from: UserKey,
    /// The promise.
    pub iou: RecordHash,
    /// How much.
    pub amount: Amount,
    /// What the payer says will arrive in all.
    pub total: Amount,
    /// Its terms.
    pub terms: Terms,
    /// Whether it was booked before its owner saw why.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub booked: bool,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CollectionStage {
    /// Not all is there.
    Open,
    /// All was there, and the preimage may have been shown to a log. Nothing is released any more.
    Publishing,
    /// It was published in time.
    Paid {
        /// What was published.
        preimage: Preimage,
    },
    /// The preimage was shown to a log, and no log published it in time. This hash must not be used again.
    Failed,
}

/// What to publish, now: the preimage of the invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// On which terms: one of these logs must hold the preimage before the deadline.
    pub terms: Terms,
    /// What arrives, in minor units.
    pub amount: u64,
}

impl Bill {
    /// What this invoice asks for, with the time that publishing takes.
    #[must_use]
    pub fn of(invoice: &Invoice, min_left_ms: u64) -> Self {
        let refused = &invoice.logs_refused;
        let trusted = invoice
            .logs
            .iter()
            .filter(|log| !refused.contains(&log.origin));
        Self {
            invoice: invoice.id,
            unit: invoice.unit.clone(),
            amount: invoice.amount,
            hash: invoice.hash,
            logs: trusted
                .map(|log| TrustedLog {
                    origin: log.origin.clone(),
                    policy_hash: log.policy_hash,
                })
                .collect(),
            expires: invoice.expires,
            min_left_ms,
        }
    }

    fn trusts(&self, terms: &Terms) -> bool {
        let trusted = |origin: &Address, hash: PolicyHash| {
            let same = |log: &TrustedLog| log.origin == *origin && log.policy_hash == hash;
            self.logs.iter().any(same)
        };
        let mut logs = terms.logs.iter();
        !terms.is_direct() && logs.all(|log| trusted(&log.origin, log.policy_hash))
    }
}

impl Collection {
    /// Nothing has come yet.
    #[must_use]
    pub fn new(bill: Bill) -> Self {
        Self {
            v: Version,
            bill,
            parts: Vec::new(),
            stage: CollectionStage::Open,
        }
    }

    /// What is asked for.
    #[must_use]
    pub fn bill(&self) -> &Bill {
        &self.bill
    }

    /// What has come.
    #[must_use]
    pub fn parts(&self) -> &[CollectionPart] {
        &self.parts
    }

    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> &CollectionStage {
        &self.stage
    }

    /// What has come and counts, in minor units.
    #[must_use]
    pub fn collected(&self) -> u64 {
        let amounts = self.parts.iter().map(|part| part.amount.minor());
        amounts.fold(0, u64::saturating_add)
    }

    /// Whose promises these are: the pairs that [`Collection::decide`], [`Collection::published`] and [`Collection::give_back`] need.
    #[must_use]
    pub fn neighbours(&self) -> Vec<UserKey> {
        let mut users: Vec<UserKey> = self.parts.iter().map(|part| part.from).collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    /// Takes a promise that names this invoice, or gives it up and tells the payer why.
    ///
    /// # Errors
    /// [`LedgerError::PromiseUnknown`]; what hinders every signature.
    pub fn take(
        &mut self,
        mut from: Neighbour<'_>,
        errand: &Errand,
        context: &Context<'_>,
    ) -> Result<Step, LedgerError> {
        let promise = from.pair.promise_held(errand.iou);
        let standing = promise.ok_or(LedgerError::PromiseUnknown)?.standing();
        let known = self.parts.iter().any(|part| part.iou == errand.iou);
        if known || standing != Standing::Undecided {
            return Ok(Step::default());
        }
        match self.check(errand, context.now) {
            Ok(part) => {
                self.parts.push(part);
                Ok(Step::default())
            }
            Err(code) => {
                let secret = &errand.opened.secret;
                let sealed = secret.seal_failure(&Failure::here(code), &context.entropy)?;
                let reason = ReleaseReason::Declined;
                give_up(&mut from, errand.iou, reason, Some(sealed), context)
            }
        }
    }

    fn check(&self, errand: &Errand, now: Timestamp) -> Result<CollectionPart, FailureCode> {
        let (bill, promise): (_, &ConditionalIou) = (&self.bill, &errand.promise);
        let &Payload::Deliver { invoice, total } = errand.payload() else {
            return Err(FailureCode::UnknownInvoice);
        };
        let names_it = invoice == bill.invoice && promise.terms.hash == bill.hash;
        if !names_it || now >= bill.expires || self.stage != CollectionStage::Open {
            return Err(FailureCode::UnknownInvoice);
        }
        let enough = bill.amount.is_none_or(|asked| total >= asked);
        let unit = promise.unit == bill.unit || planted::on(Bug::AnyUnitCollected);
        if !unit || !enough || promise.amount > total {
            return Err(FailureCode::WrongAmount);
        }
        if !bill.trusts(&promise.terms) {
            return Err(FailureCode::Logs);
        }
        if !self.in_time(&promise.terms, now) {
            return Err(FailureCode::Deadline);
        }
        if self.parts.len() >= MAX_COLLECTION_PARTS {
            return Err(FailureCode::Busy);
        }
        Ok(CollectionPart {
            from: promise.from,
            iou: errand.iou,
            amount: promise.amount,
            total,
            terms: promise.terms.clone(),
            booked: false,
        })
    }

    fn in_time(&self, terms: &Terms, now: Timestamp) -> bool {
        terms.deadline_ms >= now.plus_millis(self.bill.min_left_ms).millis()
    }

    /// Whether all is there. If so: **store** this, send what it returns, and publish; from here on no part is given up. Parts on
    /// other terms than those that are published under are given up now. Asked again before the end, it says the same again.
    ///
    /// Parts of one payment have the same terms and name the same total; they count together. `pairs` are those of
    /// [`Collection::neighbours`].
    ///
    /// # Errors
    /// [`LedgerError::ForeignChannel`] if a pair is missing; what hinders every signature.
    pub fn decide(
        &mut self,
        pairs: &mut [Neighbour<'_>],
        context: &Context<'_>,
    ) -> Result<(Step, Option<Publish>), LedgerError> {
        self.check_pairs(pairs)?;
        let mut step = Step::default();
        match self.stage {
            CollectionStage::Open => {}
            CollectionStage::Publishing => {
                let over = |part: &CollectionPart| match standing(pairs, part) {
                    Some(standing) => matches!(standing, Standing::Expired | Standing::Released),
                    None => !part.booked,
                };
                if self.parts.iter().all(over) {
                    self.stage = CollectionStage::Failed;
                    return Ok((step, None));
                }
                return Ok((step, self.parts.first().map(|part| self.publish(part))));
            }
            CollectionStage::Paid { .. } | CollectionStage::Failed => return Ok((step, None)),
        }
        // What is decided already, or gone, brings nothing.
        self.parts
            .retain(|part| standing(pairs, part) == Some(Standing::Undecided));
        let complete = self.parts.iter().find(|part| {
            let publish = self.publish(part);
            let half = planted::on(Bug::PublishedInPart);
            let asked = part.total.minor() / if half { 2 } else { 1 };
            publish.amount >= asked && self.in_time(&part.terms, context.now)
        });
        let Some(first) = complete.cloned() else {
            return Ok((step, None));
        };
        let publish = self.publish(&first);
        let same = |part: &CollectionPart| part.together(&first);
        let others: Vec<_> = self.parts.extract_if(.., |part| !same(part)).collect();
        for part in others {
            step.join(release(pairs, &part, FailureCode::WrongAmount, context)?);
        }
        self.stage = CollectionStage::Publishing;
        Ok((step, Some(publish)))
    }

    /// Without its pair nothing can be said about a part.
    fn check_pairs(&self, pairs: &[Neighbour<'_>]) -> Result<(), LedgerError> {
        let here = |part: &CollectionPart| pairs.iter().any(|n| n.pair.peer() == part.from);
        if self.parts.iter().all(here) {
            Ok(())
        } else {
            Err(LedgerError::ForeignChannel)
        }
    }

    fn publish(&self, like: &CollectionPart) -> Publish {
        let parts = self.parts.iter().filter(|part| part.together(like));
        Publish {
            terms: like.terms.clone(),
            amount: parts.fold(0, |sum, part| sum.saturating_add(part.amount.minor())),
        }
    }

    /// Notes what these events say of parts: store it with whatever they came with.
    pub fn note(&mut self, events: &[Event]) {
        for event in events {
            if let Event::Booked { iou } = event {
                let parts = self.parts.iter_mut();
                let named = parts.filter(|part| part.iou == *iou);
                named.for_each(|part| part.booked = true);
            }
        }
    }

    /// Whether all that was shown to a log is booked, settled by both sides, and no longer kept in the books: whoever promised was quicker
    /// than the owner's own look at the log. Then [`Collection::booked`] ends it. `pairs` are those of [`Collection::neighbours`].
    ///
    /// # Errors
    /// [`LedgerError::ForeignChannel`] if a pair is missing.
    pub fn is_booked(&self, pairs: &[Neighbour<'_>]) -> Result<bool, LedgerError> {
        self.check_pairs(pairs)?;
        let is_settled = |part: &CollectionPart| part.booked && standing(pairs, part).is_none();
        let publishing = self.stage == CollectionStage::Publishing;
        Ok(publishing && self.parts.iter().all(is_settled))
    }

    /// Ends it as paid, without the proof: [`Collection::is_booked`] said that nothing more is to come. Does nothing if the preimage is
    /// another invoice's.
    pub fn booked(&mut self, preimage: Preimage) {
        if self.stage == CollectionStage::Publishing && preimage.hash() == self.bill.hash {
            self.stage = CollectionStage::Paid { preimage };
        }
    }

    /// The proof for [`Collection::published`], if one of these events brought it. The promise itself may be gone by now: booked, and settled
    /// by both sides, in the same go.
    #[must_use]
    pub fn shown_by(&self, events: &[Event]) -> Option<(Preimage, LogProof)> {
        let is_part = |iou: RecordHash| self.parts.iter().any(|part| part.iou == iou);
        events.iter().find_map(|event| match event {
            Event::Due {
                iou,
                preimage,
                proof: Some(proof),
                ..
            } if is_part(*iou) => Some((*preimage, LogProof::clone(proof))),
            _ => None,
        })
    }

    /// The proof is there: every part is claimed and goes to whom promised it. `pairs` are those of [`Collection::neighbours`].
    ///
    /// # Errors
    /// [`LedgerError::ForeignChannel`] if a pair is missing; [`LedgerError::ProofInvalid`]; what hinders every signature.
    pub fn published(
        &mut self,
        pairs: &mut [Neighbour<'_>],
        preimage: Preimage,
        proof: &LogProof,
        context: &Context<'_>,
    ) -> Result<Step, LedgerError> {
        self.check_pairs(pairs)?;
        let mut step = Step::default();
        for part in &self.parts {
            let Some(from) = pairs.iter_mut().find(|n| n.pair.peer() == part.from) else {
                continue;
            };
            let open = |standing| matches!(standing, Standing::Undecided | Standing::Expired);
            let held = from.pair.promise_held(part.iou);
            if held.is_some_and(|p| open(p.standing())) {
                let proof = Some(proof.clone());
                let done = from
                    .pair
                    .publish(part.iou, preimage, proof, from.pen, context.now)?;
                step.take(part.from, done);
            }
        }
        self.stage = CollectionStage::Paid { preimage };
        Ok(step)
    }

    /// Gives up what has come, if there is too little time left for the rest, or in any case if the owner does not want it
    /// (`declined`). Nothing once it is being published. `pairs` are those of [`Collection::neighbours`].
    ///
    /// # Errors
    /// [`LedgerError::ForeignChannel`] if a pair is missing; what hinders every signature.
    pub fn give_back(
        &mut self,
        pairs: &mut [Neighbour<'_>],
        declined: bool,
        context: &Context<'_>,
    ) -> Result<Step, LedgerError> {
        self.check_pairs(pairs)?;
        let mut step = Step::default();
        let publishes = self.stage == CollectionStage::Publishing;
        let given_back = publishes && planted::on(Bug::GivenBackWhilePublished);
        if self.stage != CollectionStage::Open && !given_back {
            return Ok(step);
        }
        let late = |part: &CollectionPart| declined || !self.in_time(&part.terms, context.now);
        let (back, kept) = self.parts.iter().cloned().partition(late);
        let back: Vec<CollectionPart> = back;
        let code = if declined {
            FailureCode::Declined
        } else {
            FailureCode::WrongAmount
        };
        for part in &back {
            step.join(release(pairs, part, code, context)?);
        }
        self.parts = kept;
        Ok(step)
    }
}

impl CollectionPart {
    /// Whether both are parts of one payment.
    fn together(&self, other: &Self) -> bool {
        self.terms == other.terms && self.total == other.total
    }
}

fn standing(pairs: &[Neighbour<'_>], part: &CollectionPart) -> Option<Standing> {
    let from = pairs.iter().find(|n| n.pair.peer() == part.from)?;
    from.pair.promise_held(part.iou).map(|p| p.standing())
}

fn release(
    pairs: &mut [Neighbour<'_>],
    part: &CollectionPart,
    code: FailureCode,
    context: &Context<'_>,
) -> Result<Step, LedgerError> {
    let open = matches!(
        standing(pairs, part),
        Some(Standing::Undecided | Standing::Expired)
    );
    let from = pairs.iter_mut().find(|n| n.pair.peer() == part.from);
    let Some(from) = from.filter(|_| open) else {
        return Ok(Step::default());
    };
    super::decline(from.again(), part.iou, Failure::here(code), context)
}

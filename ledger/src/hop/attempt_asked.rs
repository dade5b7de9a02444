//! Paying over a first hop whose books somebody else keeps for the payer: the payer seals the layers, the keeper signs.
//!
//! A part counts as outstanding from the moment on in which it is decided to ask, so that an answer that got lost can't make the payer
//! promise more than was meant. The request bears a number: the keeper signs it once.

use serde::{Deserialize, Serialize};

use super::attempt::{Attempt, AttemptPart, Fate, MAX_ATTEMPT_PARTS, Receipt, Route, layers_for};
use super::{Context, code_of};
use crate::digest::Preimage;
use crate::error::LedgerError;
use crate::jws::RecordHash;
use crate::key::UserKey;
use crate::onion::{self, Failure, FailureCode};
use crate::pair::NewPromise;
use crate::record::{LogProof, ReleaseReason};
use crate::text::{Layers, RecordId};

/// A promise that the keeper of the books is asked to sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The number of the request.
    pub id: RecordId,
    /// The layers of the promise.
    pub layers: Layers,
}

/// A promise that is to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The number of the part.
    pub part: usize,
    /// The number of the request.
    pub id: RecordId,
    /// To whom.
    pub to: UserKey,
    /// What is to be promised.
    pub promise: NewPromise,
}

impl Attempt {
    /// Adds a part that the keeper of the books with the first stop is to promise. Store the attempt, then ask for
    /// [`Attempt::requests`].
    ///
    /// # Errors
    /// As [`Attempt::send`].
    pub fn ask(
        &mut self,
        id: RecordId,
        route: &Route,
        context: &Context<'_>,
    ) -> Result<(), LedgerError> {
        if self.parts.len() >= MAX_ATTEMPT_PARTS {
            return Err(LedgerError::OutOfRange("number of the part"));
        }
        let first = route.stops.first().map(|stop| stop.key.user);
        let first = first.ok_or(LedgerError::LayersInvalid("a path has 1 to 10 hops"))?;
        let (amount, arrives) = self.check_route(first, route)?;
        let (layers, keys) = onion::seal(&layers_for(route), &self.terms.hash, &context.entropy)?;
        self.parts.push(AttemptPart {
            hops: route.stops.iter().map(|stop| stop.key.user).collect(),
            amount,
            arrives,
            iou: RecordHash::of(&id.to_string()),
            fate: Fate::Outstanding,
            asked: Some(Asked { id, layers }),
            keys,
        });
        Ok(())
    }

    /// What is to be asked for, or asked for again because no answer was stored.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        let parts = self.parts.iter().enumerate();
        let requests = parts.filter_map(|(number, part)| {
            let asked = part.asked.as_ref()?;
            Some(Request {
                part: number,
                id: asked.id,
                to: *part.hops.first()?,
                promise: NewPromise {
                    unit: self.unit.clone(),
                    amount: part.amount,
                    terms: self.terms.clone(),
                    onward: Some(asked.layers.clone()),
                },
            })
        });
        requests.collect()
    }

    /// The keeper has signed: this is the promise.
    pub fn signed(&mut self, id: &RecordId, promise: RecordHash) {
        if let Some(part) = self.asked_part(id) {
            part.iou = promise;
            part.asked = None;
        }
    }

    /// The keeper has said no for good: nothing is promised.
    pub fn refused(&mut self, id: &RecordId, me: UserKey, code: FailureCode) {
        if let Some(part) = self.asked_part(id)
            && let Some(first) = part.hops.first().copied()
        {
            part.asked = None;
            part.fate = Fate::Failed {
                hop: None,
                failure: Failure::of_edge(code, me, first),
            };
        }
    }

    /// What the keeper tells: the first hop gave a promise up, or it is proven that it was not published in time. `word` is the sealed
    /// failure that came with it.
    pub fn told_failed(
        &mut self,
        promise: RecordHash,
        me: UserKey,
        (reason, word): (ReleaseReason, Option<&Layers>),
    ) {
        let outstanding = |part: &&mut AttemptPart| part.fate == Fate::Outstanding;
        let part = self.told_part(promise).filter(outstanding);
        let Some(part) = part else { return };
        let Some(first) = part.hops.first().copied() else {
            return;
        };
        let said = word.and_then(|word| part.keys.open_failure(word).ok());
        part.fate = match said {
            Some((hop, failure)) => Fate::Failed {
                hop: u8::try_from(hop).ok(),
                failure,
            },
            None => Fate::Failed {
                hop: None,
                failure: Failure::of_edge(code_of(reason), me, first),
            },
        };
    }

    /// What the keeper tells: a promise was published in time, and is booked.
    pub fn told_paid(&mut self, promise: RecordHash, preimage: Preimage, proof: Option<LogProof>) {
        if preimage.hash() != self.terms.hash {
            return;
        }
        let Some(part) = self.told_part(promise) else {
            return;
        };
        part.fate = Fate::Paid;
        let better = self
            .receipt
            .as_ref()
            .is_none_or(|known| known.proof.is_none() && proof.is_some());
        if better {
            self.receipt = Some(Receipt { preimage, proof });
        }
    }

    fn asked_part(&mut self, id: &RecordId) -> Option<&mut AttemptPart> {
        let mut parts = self.parts.iter_mut();
        parts.find(|part| part.asked.as_ref().is_some_and(|asked| asked.id == *id))
    }

    fn told_part(&mut self, promise: RecordHash) -> Option<&mut AttemptPart> {
        let mut parts = self.parts.iter_mut();
        parts.find(|part| part.iou == promise && part.asked.is_none())
    }
}

//! The payer's side: paying under one hash, in one part or several, and never more than was meant.

use serde::{Deserialize, Serialize};

use super::attempt_asked::Asked;
use super::{Context, Neighbour, Step, code_of, given_up};
use crate::amount::{Amount, Total};
use crate::digest::Preimage;
use crate::error::LedgerError;
use crate::jws::{RecordHash, Version};
use crate::key::UserKey;
use crate::onion::{self, Failure, HopKey, Payload, ReplyKeys};
use crate::pair::{Event, NewPromise, Pair, Promise, Standing};
use crate::planted::{self, Bug};
use crate::record::{AnyRecord, LogProof, ReleaseReason, Reply, Terms};
use crate::unit::Unit;

/// The most parts of one attempt, those that failed included.
pub const MAX_ATTEMPT_PARTS: usize = 64;

/// One stop of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Who, and the key to seal to.
    pub key: HopKey,
    /// What they are promised: the payer's promise for the first, what arrives for the last.
    pub amount: Amount,
    /// In which unit, if the stop before exchanges it for what it was promised.
    pub unit: Option<Unit>,
}

/// A way for one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Everybody after the payer, the payee last.
    pub stops: Vec<Stop>,
    /// What the payee is told.
    pub payload: Payload,
    /// Whether the last hop is to show its promise: the payee is away.
    pub ask: bool,
}

/// A payment under one hash. Stored under it, in the transaction of whatever changed it.
///
/// What is promised and not given up never exceeds [`Attempt::most`], and what would arrive never exceeds [`Attempt::total`]: a hop
/// that swallows a part can't make the payer pay twice. Where units are exchanged on the way, the first is in the payer's unit, the
/// second in the payee's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    v: Version,
    pub(super) unit: Unit,
    /// What arrives, if it is another unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    give: Option<Unit>,
    pub(super) terms: Terms,
    total: Amount,
    most: Amount,
    pub(super) parts: Vec<AttemptPart>,
    pub(super) receipt: Option<Receipt>,
}

/// One promise of the payer, and the way that it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptPart {
    /// Everybody on the way, the payee last.
    pub hops: Vec<UserKey>,
    /// What the payer promised.
    pub amount: Amount,
    /// What is to arrive.
    pub arrives: Amount,
    /// The promise.
    pub iou: RecordHash,
    /// What became of it.
    pub fate: Fate,
    /// What somebody else, who keeps the books, is asked to sign: until they answer, `iou` is only a stand-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) asked: Option<Asked>,
    pub(super) keys: ReplyKeys,
}

/// What became of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fate {
    /// Undecided: it counts.
    Outstanding,
    /// The first hop gave it up, or no log published it in time: nothing is owed, it may go another way.
    Failed {
        /// Which hop speaks, counted from 0; none if nobody could be understood.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hop: Option<u8>,
        /// What it says, or what the first hop's reason means.
        failure: Failure,
    },
    /// It was published in time: it counts for good.
    Paid,
}

/// What shows that the payee was paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// What was published.
    pub preimage: Preimage,
    /// The log's proof, if a pair still had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<LogProof>,
}

/// How far an attempt is, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is promised and undecided.
    pub outstanding: u64,
    /// What was published.
    pub paid: u64,
    /// What would still have to be sent for all to arrive.
    pub missing: u64,
    /// What may still be promised.
    pub room: u64,
}

impl Attempt {
    /// Nothing is promised yet. `total` is to arrive; `most` is what the payer will promise for it, fees included.
    ///
    /// # Errors
    /// [`LedgerError::OutOfRange`] if `most` is less than `total`; [`LedgerError::TermsRefused`] for a direct release.
    pub fn new(unit: Unit, terms: Terms, total: Amount, most: Amount) -> Result<Self, LedgerError> {
        if most < total {
            return Err(LedgerError::OutOfRange("amount with fees"));
        }
        Self::with(unit, None, terms, total, most)
    }

    /// The same where a hop exchanges: `total` of `give` is to arrive, and the payer promises at most `most` of `unit` for it, fees
    /// and what the exchange costs included.
    ///
    /// # Errors
    /// [`LedgerError::OutOfRange`] if both units are the same; [`LedgerError::TermsRefused`] for a direct release.
    pub fn exchanged(
        (unit, most): (Unit, Amount),
        (give, total): (Unit, Amount),
        terms: Terms,
    ) -> Result<Self, LedgerError> {
        if unit == give {
            return Err(LedgerError::OutOfRange("unit that arrives"));
        }
        Self::with(unit, Some(give), terms, total, most)
    }

    fn with(
        unit: Unit,
        give: Option<Unit>,
        terms: Terms,
        total: Amount,
        most: Amount,
    ) -> Result<Self, LedgerError> {
        if terms.is_direct() {
            return Err(LedgerError::TermsRefused {
                why: "a direct release can't be passed on",
            });
        }
        Ok(Self {
            v: Version,
            unit,
            give,
            terms,
            total,
            most,
            parts: Vec::new(),
            receipt: None,
        })
    }

    /// The terms of every part.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The unit that the payer promises.
    #[must_use]
    pub fn unit(&self) -> &Unit {
        &self.unit
    }

    /// The unit that is to arrive.
    #[must_use]
    pub fn unit_arriving(&self) -> &Unit {
        self.give.as_ref().unwrap_or(&self.unit)
    }

    /// What is to arrive.
    #[must_use]
    pub fn total(&self) -> Amount {
        self.total
    }

    /// What is promised at most, fees included.
    #[must_use]
    pub fn most(&self) -> Amount {
        self.most
    }

    /// Every part that was sent.
    #[must_use]
    pub fn parts(&self) -> &[AttemptPart] {
        &self.parts
    }

    /// What shows that the payee was paid, once it was.
    #[must_use]
    pub fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let sum = |chosen: &dyn Fn(&Fate) -> bool, of: &dyn Fn(&AttemptPart) -> Amount| {
            let parts = self.parts.iter().filter(|part| chosen(&part.fate));
            parts.fold(0u64, |sum, part| sum.saturating_add(of(part).minor()))
        };
        let amount = |part: &AttemptPart| part.amount;
        let (outstanding, paid) = (
            sum(&|fate| *fate == Fate::Outstanding, &amount),
            sum(&|fate| *fate == Fate::Paid, &amount),
        );
        let arriving = sum(&Fate::counts, &|part| part.arrives);
        let promised = outstanding.saturating_add(paid);
        Progress {
            outstanding,
            paid,
            missing: self.total.minor().saturating_sub(arriving),
            room: if planted::on(Bug::SentWhileOutstanding) {
                self.most.minor()
            } else {
                self.most.minor().saturating_sub(promised)
            },
        }
    }

    /// Promises the first stop one part. Parts are numbered from 0 in the order in which they are sent; the same number again
    /// returns that part's promise as long as the first stop has not acknowledged it.
    ///
    /// # Errors
    /// [`LedgerError::LimitExceeded`] if more would be promised, or would arrive, than the attempt is for, or beyond the edge;
    /// [`LedgerError::OutOfRange`] for a number that skips one; [`LedgerError::LayersInvalid`] for a route without stops, too long,
    /// or whose amounts grow; what hinders every promise. Nothing has changed then.
    pub fn send(
        &mut self,
        number: usize,
        first: Neighbour<'_>,
        route: &Route,
        ceiling: Option<Total>,
        context: &Context<'_>,
    ) -> Result<Step, LedgerError> {
        let mut step = Step::default();
        if let Some(part) = self.parts.get(number) {
            let promise = first.pair.promise_given(part.iou);
            let unheard =
                |p: &&Promise| p.standing() == Standing::Undecided && !p.is_acknowledged();
            let again = promise.filter(unheard).map(|p| p.iou().clone());
            step.send(first.pair.peer(), again.map(AnyRecord::from));
            return Ok(step);
        }
        if number != self.parts.len() || number >= MAX_ATTEMPT_PARTS {
            return Err(LedgerError::OutOfRange("number of the part"));
        }
        let (amount, arrives) = self.check_route(first.pair.peer(), route)?;
        let path = layers_for(route);
        let (layers, keys) = onion::seal(&path, &self.terms.hash, &context.entropy)?;
        let new = NewPromise {
            unit: self.unit.clone(),
            amount,
            terms: self.terms.clone(),
            onward: Some(layers),
        };
        let iou = first
            .pair
            .promise(new, ceiling, context.logs, first.pen, context.now)?;
        self.parts.push(AttemptPart {
            hops: route.stops.iter().map(|stop| stop.key.user).collect(),
            amount,
            arrives,
            iou: iou.hash(),
            fate: Fate::Outstanding,
            asked: None,
            keys,
        });
        step.send(first.pair.peer(), [AnyRecord::from(iou)]);
        Ok(step)
    }

    pub(super) fn check_route(
        &self,
        first: UserKey,
        route: &Route,
    ) -> Result<(Amount, Amount), LedgerError> {
        let (Some(start), Some(end)) = (route.stops.first(), route.stops.last()) else {
            return Err(LedgerError::LayersInvalid("a path has 1 to 10 hops"));
        };
        if start.key.user != first {
            return Err(LedgerError::ForeignChannel);
        }
        let exchanged: Vec<&Unit> = route.stops.iter().filter_map(|s| s.unit.as_ref()).collect();
        let wanted: Vec<&Unit> = self.give.iter().collect();
        if exchanged != wanted || start.unit.is_some() {
            return Err(LedgerError::LayersInvalid(
                "it does not end in the unit that is to arrive",
            ));
        }
        let grows =
            |pair: &[Stop]| matches!(pair, [a, b] if b.unit.is_none() && a.amount < b.amount);
        if route.stops.windows(2).any(grows) {
            return Err(LedgerError::LayersInvalid(
                "a hop can't promise onward more than it is promised",
            ));
        }
        let progress = self.progress();
        let (wanted, arrives) = (start.amount.minor(), end.amount.minor());
        if wanted > progress.room || arrives > progress.missing {
            let words = |minor| words(&self.unit, minor);
            return Err(LedgerError::LimitExceeded {
                wanted: words(wanted),
                available: words(progress.room),
                why: format!(
                    "of this payment {} is undecided and {} is still to arrive",
                    words(progress.outstanding),
                    self::words(self.unit_arriving(), progress.missing)
                ),
            });
        }
        Ok((start.amount, end.amount))
    }

    /// Notes what became of the parts whose first stop is this pair's peer. `events` are those of the pair that came with the change;
    /// both go into the same transaction.
    ///
    /// A promise that is gone, and of which nobody says what became of it, stays outstanding.
    pub fn follow(&mut self, first: &Pair, events: &[Event]) {
        for part in &mut self.parts {
            if part.hops.first() != Some(&first.peer()) || part.fate == Fate::Paid {
                continue;
            }
            let promise = first.promise_given(part.iou);
            let publication = promise.and_then(|p| p.publication());
            let paid = match publication.map(|signed| signed.record()) {
                Some(publication) => Some(Receipt {
                    preimage: publication.preimage,
                    proof: publication.proof.clone(),
                }),
                None => merged(events, part.iou),
            };
            if let Some(receipt) = paid {
                part.fate = Fate::Paid;
                let better = self.receipt.as_ref().is_none_or(|r| r.proof.is_none());
                if better {
                    self.receipt = Some(receipt);
                }
            } else if part.fate == Fate::Outstanding
                && let Some(fate) = part.failed(first, promise, events)
            {
                part.fate = fate;
            }
        }
    }

    /// Reads what the last hop of a part shows: the part's number, the hop that speaks, and its records.
    ///
    /// # Errors
    /// [`LedgerError::PromiseUnknown`] if it answers no part; [`LedgerError::LayersInvalid`] if it can't be read.
    pub fn shown(&self, reply: &Reply) -> Result<(usize, UserKey, onion::Answer), LedgerError> {
        let mut parts = self.parts.iter().enumerate();
        let (number, part) = parts
            .find(|(_, part)| part.iou == reply.iou && part.hops.first() == Some(&reply.from))
            .ok_or(LedgerError::PromiseUnknown)?;
        let (hop, answer) = part.keys.open_reply(&reply.body)?;
        let hop = part.hops.get(hop).ok_or(LedgerError::PromiseUnknown)?;
        Ok((number, *hop, answer))
    }

    /// Begins anew on other terms under the same hash, which nothing may hang on any more.
    ///
    /// # Errors
    /// [`LedgerError::TermsRefused`] if a part is outstanding or paid, or if the terms have another hash or name no log.
    pub fn renew(&mut self, terms: Terms) -> Result<(), LedgerError> {
        let refuse = |why| Err(LedgerError::TermsRefused { why });
        if self.parts.iter().any(|part| part.fate.counts()) {
            return refuse("a part on the old terms is not given up");
        }
        if terms.hash != self.terms.hash || terms.is_direct() {
            return refuse("they are those of another payment");
        }
        self.terms = terms;
        Ok(())
    }
}

impl Fate {
    /// Whether it is owed, or may come to be.
    fn counts(&self) -> bool {
        match self {
            Self::Outstanding => !planted::on(Bug::SentWhileOutstanding),
            Self::Paid => true,
            Self::Failed { .. } => false,
        }
    }
}

impl AttemptPart {
    /// Who speaks and what was said, if the part was given up or has expired.
    fn failed(&self, first: &Pair, promise: Option<&Promise>, events: &[Event]) -> Option<Fate> {
        let (reason, word) = match promise {
            Some(p) => match (p.release(), p.standing()) {
                (Some(release), _) => {
                    let release = release.record();
                    (release.reason, release.failure.as_ref())
                }
                (None, Standing::Expired) => (ReleaseReason::Expired, None),
                (None, _) => return None,
            },
            None => (given_up(events, self.iou)?, None),
        };
        let said = word.and_then(|word| self.keys.open_failure(word).ok());
        Some(match said {
            Some((hop, failure)) => Fate::Failed {
                hop: u8::try_from(hop).ok(),
                failure,
            },
            None => Fate::Failed {
                hop: None,
                failure: Failure::of_edge(code_of(reason), first.me(), first.peer()),
            },
        })
    }
}

fn words(unit: &Unit, minor: u64) -> String {
    format!("{} {}", unit.format_minor(minor), unit.code())
}

fn merged(events: &[Event], promise: RecordHash) -> Option<Receipt> {
    events.iter().find_map(|event| match event {
        Event::Merged { iou, preimage, .. } if *iou == promise => Some(Receipt {
            preimage: *preimage,
            proof: None,
        }),
        _ => None,
    })
}

/// What each stop is told.
pub(super) fn layers_for(route: &Route) -> Vec<(HopKey, Payload)> {
    let onward = route.stops.windows(2).enumerate().filter_map(|(i, pair)| {
        let [here, next] = pair else { return None };
        let (user, amount) = (next.key.user, next.amount);
        let reply = route.ask && i + 2 == route.stops.len();
        let payload = match &next.unit {
            None => Payload::Forward {
                next: user,
                amount,
                reply,
            },
            Some(unit) => Payload::Exchange {
                next: user,
                unit: unit.clone(),
                amount,
                reply,
            },
        };
        Some((here.key.clone(), payload))
    });
    let last = route.stops.last();
    let end = last.map(|stop| (stop.key.clone(), route.payload.clone()));
    onward.chain(end).collect()
}

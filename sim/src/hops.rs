//! What a user does with promises that carry layers: passes them on, or takes them for an invoice. The functions of the ledger decide;
//! here is what a wallet does around them: both sides and everything beside them are stored in one step.

use std::collections::VecDeque;

use atomicity_ledger::hop::{
    Collection, CollectionStage, Context, Errand, Neighbour, Relay, Step, decline, errands, forward,
};
use atomicity_ledger::onion::{Failure, FailureCode, Payload};
use atomicity_ledger::pair::{Event, KnownLogs, Pair, Standing};
use atomicity_ledger::record::LogProof;
use atomicity_ledger::{
    AnyRecord, Keypair, LedgerError, PaymentHash, Preimage, RecordHash, Timestamp, UserKey,
};

use crate::error::SimError;
use crate::plan::Lie;
use crate::work::{Fact, Work, short};
use crate::world::World;

/// What a wallet has at hand for every step.
pub(crate) struct Desk {
    pub(crate) now: Timestamp,
    pub(crate) logs: KnownLogs,
    pub(crate) secrets: Vec<atomicity_ledger::seal::EncryptionSecret>,
    pub(crate) entropy: [u8; 32],
}

impl Desk {
    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            now: self.now,
            logs: &self.logs,
            secrets: &self.secrets,
            entropy: self.entropy,
        }
    }
}

/// A pair that was taken out of the store to be worked on, as it was before.
pub(crate) struct Taken {
    pub(crate) peer: usize,
    pub(crate) pair: Pair,
    pub(crate) pen: Keypair,
    before: Pair,
}

impl Taken {
    pub(crate) fn neighbour(&mut self) -> Neighbour<'_> {
        Neighbour {
            pair: &mut self.pair,
            pen: &self.pen,
        }
    }
}

/// What is still to be looked at: what happened in the channels with whom.
pub(crate) type Queue = VecDeque<(usize, Vec<Event>)>;

impl World {
    pub(crate) fn desk(&mut self, n: usize) -> Desk {
        Desk {
            now: self.clock(n),
            logs: self.known_logs(n),
            secrets: self.nodes[n].sealing.clone(),
            entropy: self.rng.bytes(),
        }
    }

    pub(crate) fn take_pair(&mut self, n: usize, peer: usize) -> Option<Taken> {
        let store = &mut self.nodes[n].live;
        let pen = store.pens.get(&peer)?.clone();
        let pair = store.pairs.remove(&peer)?;
        Some(Taken {
            peer,
            before: pair.clone(),
            pair,
            pen,
        })
    }

    /// Puts a pair back: as it is now, or after an error as it was.
    pub(crate) fn put_pair(&mut self, n: usize, taken: Taken, keep: bool) {
        let pair = if keep { taken.pair } else { taken.before };
        self.nodes[n].live.pairs.insert(taken.peer, pair);
    }

    /// What a step did becomes part of the work; what it changed may lead to more.
    pub(crate) fn absorb(
        &mut self,
        n: usize,
        step: Result<Step, LedgerError>,
        work: &mut Work,
        queue: &mut Queue,
    ) -> bool {
        let step = match step {
            Ok(step) => step,
            Err(error) => {
                self.trace
                    .line(format_args!("{n} can't do that now: {error}"));
                return false;
            }
        };
        for (to, record) in step.send {
            let Some(to) = self.index_of(to) else {
                continue;
            };
            if let AnyRecord::ConditionalIou(iou) = &record {
                self.deadlines
                    .insert(crate::world::hangs(&iou.record().terms));
                work.facts.push(Fact::Signed {
                    peer: to,
                    iou: record.clone(),
                });
            }
            work.send(to, record);
        }
        for (peer, event) in step.events {
            if let Some(peer) = self.index_of(peer) {
                queue.push_back((peer, vec![event]));
            }
        }
        true
    }

    /// Looks at every promise of a friend that waits for this user to act.
    pub(crate) fn run_errands(
        &mut self,
        n: usize,
        peer: usize,
        work: &mut Work,
        queue: &mut Queue,
    ) -> Result<(), SimError> {
        let Some(pair) = self.nodes[n].live.pairs.get(&peer) else {
            return Ok(());
        };
        for iou in errands(pair) {
            self.run_errand(n, peer, iou, work, queue)?;
        }
        Ok(())
    }

    pub(crate) fn run_errand(
        &mut self,
        n: usize,
        peer: usize,
        iou: RecordHash,
        work: &mut Work,
        queue: &mut Queue,
    ) -> Result<(), SimError> {
        let desk = self.desk(n);
        let Some(pair) = self.nodes[n].live.pairs.get(&peer) else {
            return Ok(());
        };
        match Errand::read(pair, iou, &desk.context()) {
            Ok(Some(errand)) => match *errand.payload() {
                Payload::Forward { next, .. } | Payload::Exchange { next, .. } => {
                    self.pass_on(n, peer, next, &errand, &desk, work, queue)
                }
                Payload::Deliver { .. } => self.take_part(n, peer, &errand, &desk, work, queue),
                // Whoever was away takes it as it is.
                Payload::Gift { .. } => Ok(()),
            },
            Ok(None) => Ok(()),
            Err(_) => {
                self.say_no(n, peer, iou, FailureCode::Temporary, &desk, work, queue);
                Ok(())
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn say_no(
        &mut self,
        n: usize,
        peer: usize,
        iou: RecordHash,
        code: FailureCode,
        desk: &Desk,
        work: &mut Work,
        queue: &mut Queue,
    ) {
        let Some(mut from) = self.take_pair(n, peer) else {
            return;
        };
        let done = decline(from.neighbour(), iou, Failure::here(code), &desk.context());
        self.put_pair(n, from, done.is_ok());
        self.trace
            .line(format_args!("{n} says no to {}: {code:?}", short(iou)));
        self.absorb(n, done, work, queue);
    }

    /// Promises onward what the layers say, or gives it up; or lies.
    #[allow(clippy::too_many_arguments)]
    fn pass_on(
        &mut self,
        n: usize,
        peer: usize,
        next: UserKey,
        errand: &Errand,
        desk: &Desk,
        work: &mut Work,
        queue: &mut Queue,
    ) -> Result<(), SimError> {
        let lies = self.nodes[n].lies.iter().copied();
        let lie = lies.into_iter().find(|lie| lie.is_of_hop());
        if let Some(lie) = lie.filter(|_| self.rng.chance(600)) {
            return self.lie_onward(n, peer, next, errand, lie, desk, work);
        }
        let to = self.index_of(next);
        let to = to.filter(|to| *to != peer && !self.nodes[n].removed.contains(to));
        let policy = self.nodes[n].policy.clone();
        let store = &self.nodes[n].live;
        let mut relay = store.relays.get(&errand.iou()).cloned();
        let mut tally = store.tallies.get(&peer).cloned().unwrap_or_default();
        let known = relay.is_some();
        let Some(mut incoming) = self.take_pair(n, peer) else {
            return Ok(());
        };
        let mut outgoing = to.and_then(|to| self.take_pair(n, to));
        let done = forward(
            &mut relay,
            incoming.neighbour(),
            outgoing.as_mut().map(Taken::neighbour),
            errand,
            &policy,
            &mut tally,
            &desk.context(),
        );
        let kept = done.is_ok();
        self.put_pair(n, incoming, kept);
        if let Some(outgoing) = outgoing {
            self.put_pair(n, outgoing, kept);
        }
        if kept {
            self.nodes[n].live.tallies.insert(peer, tally);
            match relay {
                Some(relay) => {
                    if !known {
                        self.note_relay(n, &relay, errand, work);
                    }
                    self.nodes[n].live.relays.insert(errand.iou(), relay);
                }
                None => self
                    .trace
                    .line(format_args!("{n} does not pass {} on", short(errand.iou()))),
            }
        }
        self.absorb(n, done, work, queue);
        Ok(())
    }

    fn note_relay(&mut self, n: usize, relay: &Relay, errand: &Errand, work: &mut Work) {
        self.stats.relays += 1;
        let exchanged = relay.give.is_some();
        self.stats.exchanged += u64::from(exchanged);
        self.stats.cleared += u64::from(relay.fee() == 0 && !exchanged);
        self.trace.line(format_args!(
            "{n} passes {} on as {}",
            short(errand.iou()),
            short(relay.outgoing.iou)
        ));
        work.facts.push(Fact::PassedOn {
            relay: Box::new(relay.clone()),
        });
    }

    /// Takes a promise for the invoice that it names.
    fn take_part(
        &mut self,
        n: usize,
        peer: usize,
        errand: &Errand,
        desk: &Desk,
        work: &mut Work,
        queue: &mut Queue,
    ) -> Result<(), SimError> {
        let terms = errand.promise().terms.clone();
        let node = &self.nodes[n];
        if node.does(Lie::BadProofs) {
            self.show_old_proof(n, peer, &terms, errand.iou())?;
        }
        let node = &self.nodes[n];
        let Some(mut collection) = node.live.collections.get(&terms.hash).cloned() else {
            let code = FailureCode::UnknownInvoice;
            self.say_no(n, peer, errand.iou(), code, desk, work, queue);
            return Ok(());
        };
        let Some(mut from) = self.take_pair(n, peer) else {
            return Ok(());
        };
        let done = collection.take(from.neighbour(), errand, &desk.context());
        self.put_pair(n, from, done.is_ok());
        if done.is_ok() {
            let store = &mut self.nodes[n].live;
            store.collections.insert(terms.hash, collection);
        }
        if self.absorb(n, done, work, queue) {
            self.collect(n, (terms.hash, &[]), work, queue);
        }
        Ok(())
    }

    /// Does something to a collection and the pairs with everybody who has promised for it.
    fn with_collection<T>(
        &mut self,
        n: usize,
        hash: PaymentHash,
        f: impl FnOnce(&mut Collection, &mut [Neighbour<'_>], &Context<'_>) -> Result<T, LedgerError>,
    ) -> Option<Result<T, LedgerError>> {
        let mut collection = self.nodes[n].live.collections.get(&hash)?.clone();
        let desk = self.desk(n);
        let peers: Vec<usize> = collection
            .neighbours()
            .into_iter()
            .filter_map(|user| self.index_of(user))
            .collect();
        let mut taken: Vec<Taken> = Vec::new();
        for peer in peers {
            taken.extend(self.take_pair(n, peer));
        }
        let mut pairs: Vec<Neighbour<'_>> = taken.iter_mut().map(Taken::neighbour).collect();
        let done = f(&mut collection, &mut pairs, &desk.context());
        drop(pairs);
        for pair in taken {
            self.put_pair(n, pair, done.is_ok());
        }
        if done.is_ok() {
            self.nodes[n].live.collections.insert(hash, collection);
        }
        Some(done)
    }

    /// The payee looks at what has come: claims it, says that it will be published, or gives it back.
    pub(crate) fn collect(
        &mut self,
        n: usize,
        (hash, events): (PaymentHash, &[Event]),
        work: &mut Work,
        queue: &mut Queue,
    ) {
        let collection = self.nodes[n].live.collections.get_mut(&hash);
        if let Some(collection) = collection {
            collection.note(events);
        }
        let collection = self.nodes[n].live.collections.get(&hash);
        let shown = collection.and_then(|collection| collection.shown_by(events));
        if let Some((preimage, proof)) = shown.or_else(|| self.proof_for(n, hash)) {
            let done = self.with_collection(n, hash, |collection, pairs, context| {
                collection.published(pairs, preimage, &proof, context)
            });
            if let Some(done) = done {
                self.absorb(n, done, work, queue);
            }
            return;
        }
        let Some(secret) = self.nodes[n].live.secrets.get(&hash).cloned() else {
            return;
        };
        let declines = secret.publish_at.is_none() && secret.declines;
        let back = self.with_collection(n, hash, |collection, pairs, context| {
            collection.give_back(pairs, declines, context)
        });
        if let Some(back) = back {
            self.absorb(n, back, work, queue);
        }
        if secret.publish_at.is_none() {
            return;
        }
        let done = self.with_collection(n, hash, |collection, pairs, context| {
            let decided = collection.decide(pairs, context)?;
            if collection.is_booked(pairs)? {
                collection.booked(secret.preimage);
            }
            Ok(decided)
        });
        let step = match done {
            Some(Ok((step, publish))) => {
                self.check_failed(n, hash, work);
                if let Some(publish) = publish {
                    work.facts.push(Fact::Publishes {
                        hash,
                        terms: publish.terms,
                    });
                }
                Ok(step)
            }
            Some(Err(error)) => Err(error),
            None => return,
        };
        self.absorb(n, step, work, queue);
    }

    /// Nobody believes that an invoice failed for which they can claim something.
    fn check_failed(&mut self, n: usize, hash: PaymentHash, work: &Work) {
        let collection = self.nodes[n].live.collections.get(&hash);
        let failed = collection.filter(|known| *known.stage() == CollectionStage::Failed);
        let mut parts = failed.into_iter().flat_map(Collection::parts);
        let is_due = |iou: RecordHash| {
            let is_new = |fact: &Fact| matches!(fact, Fact::Due { iou: due, .. } if *due == iou);
            self.watch.due.contains(&(n, iou)) || work.facts.iter().any(is_new)
        };
        if parts.any(|part| is_due(part.iou)) {
            self.watch
                .violated(format!("{n} says that an invoice failed which was paid"));
        }
    }

    /// The proof, if a promise for this invoice is due by one.
    fn proof_for(&self, n: usize, hash: PaymentHash) -> Option<(Preimage, LogProof)> {
        let store = &self.nodes[n].live;
        store
            .collections
            .get(&hash)?
            .parts()
            .iter()
            .find_map(|part| {
                let pair = store.pairs.get(&self.index_of(part.from)?)?;
                let publication = pair.promise_held(part.iou)?.publication()?.record();
                Some((publication.preimage, publication.proof.clone()?))
            })
    }

    /// The friends whose promises were marked as passed on, or have expired, and of which no relay is known: after a recovery.
    pub(crate) fn unlinked(&self, n: usize) -> Vec<(usize, RecordHash, Standing)> {
        let store = &self.nodes[n].live;
        let mut found = Vec::new();
        for (peer, pair) in &store.pairs {
            for promise in crate::receive::promises(pair.theirs(), &self.units) {
                let hash = promise.iou().hash();
                if promise.is_forwarded()
                    && promise.release().is_none()
                    && !store.relays.contains_key(&hash)
                {
                    found.push((*peer, hash, promise.standing()));
                }
            }
        }
        found
    }
}

//! What follows when promises that were passed on, collected or paid with are decided, and answers that travel back.

use atomicity_ledger::hop::{Expected, Fate, Shown, follow, pass_on};
use atomicity_ledger::pair::Event;
use atomicity_ledger::record::Reply;
use atomicity_ledger::{PaymentHash, RecordHash};

use crate::error::SimError;
use crate::hops::{Queue, Taken};
use crate::work::{Fact, Work};
use crate::world::World;

impl World {
    /// What follows from what happened in the channels with one friend, in those with others too.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn follow_up(
        &mut self,
        n: usize,
        from: usize,
        events: Vec<Event>,
        work: &mut Work,
    ) -> Result<(), SimError> {
        let mut queue = Queue::from([(from, events)]);
        while let Some((peer, events)) = queue.pop_front() {
            work.touched.insert(peer);
            for event in &events {
                self.note_event(n, peer, event, work);
            }
            for event in &events {
                if let Event::Reply(reply) = event {
                    self.take_reply(n, reply, work, &mut queue);
                }
            }
            self.follow_relays(n, peer, &events, work, &mut queue);
            self.follow_payments(n, peer, &events);
            self.follow_collections(n, (peer, &events), work, &mut queue);
            self.run_errands(n, peer, work, &mut queue)?;
        }
        Ok(())
    }

    /// What the watch is told.
    fn note_event(&mut self, n: usize, peer: usize, event: &Event, work: &mut Work) {
        match event {
            Event::Released { iou, .. } => work.facts.push(Fact::Released { peer, iou: *iou }),
            Event::Merged { iou, .. } => {
                work.facts.push(Fact::Merged { peer, iou: *iou });
                self.trace.line(format_args!("{n} books towards {peer}"));
                self.keep_proof(n, peer, *iou);
            }
            Event::Due { iou, .. } => {
                work.facts.push(Fact::Due { peer, iou: *iou });
                self.keep_proof(n, peer, *iou);
            }
            Event::Expired { iou, .. } => work.facts.push(Fact::Expired { peer, iou: *iou }),
            Event::View(view) => self.compare(n, &view.checkpoints),
            Event::Frozen { why, .. } => {
                self.stats.frozen += 1;
                self.trace.line(format_args!("{n} freezes {peer}: {why}"));
                if self.nodes[n].is_honest() && self.nodes[peer].is_honest() {
                    self.watch
                        .violated(format!("{n} freezes {peer}, who is honest: {why}"));
                }
            }
            Event::Refused { amount, .. } => self
                .trace
                .line(format_args!("{n} gets {} back from {peer}", amount.minor())),
            _ => {}
        }
    }

    fn keep_proof(&mut self, n: usize, peer: usize, iou: RecordHash) {
        let Some(pair) = self.nodes[n].live.pairs.get(&peer) else {
            return;
        };
        let promise = pair.promise_given(iou).or(pair.promise_held(iou));
        let publication = promise.and_then(|promise| promise.publication());
        if let Some(proof) = publication.and_then(|shown| shown.record().proof.clone()) {
            self.watch.keep_publication(iou, proof);
        }
    }

    /// An answer to a promise of this user: the payer's own is read, others are handed on.
    fn take_reply(&mut self, n: usize, reply: &Reply, work: &mut Work, queue: &mut Queue) {
        let store = &self.nodes[n].live;
        let relay = store
            .relays
            .values()
            .find(|relay| relay.outgoing.iou == reply.iou);
        let Some(mut relay) = relay.cloned() else {
            self.read_reply(n, reply);
            return;
        };
        let desk = self.desk(n);
        let upstream = self.index_of(relay.incoming.peer);
        let Some(mut incoming) = upstream.and_then(|peer| self.take_pair(n, peer)) else {
            return;
        };
        let done = pass_on(&mut relay, &incoming.neighbour(), reply, &desk.context());
        self.put_pair(n, incoming, done.is_ok());
        if done.is_ok() {
            let store = &mut self.nodes[n].live;
            store.relays.insert(relay.incoming.iou, relay);
        }
        self.absorb(n, done, work, queue);
    }

    /// What the last hop shows a payer who asked.
    fn read_reply(&mut self, n: usize, reply: &Reply) {
        let now = self.clock(n);
        let payments = self.nodes[n].live.payments.values();
        let found = payments.into_iter().find_map(|payment| {
            let (number, hop, answer) = payment.attempt.shown(reply).ok()?;
            Some((payment, number, hop, answer))
        });
        let Some((payment, number, hop, answer)) = found else {
            return;
        };
        let Some(part) = payment.attempt.parts().get(number) else {
            return;
        };
        let before_last = part.hops.len().checked_sub(2);
        if before_last.and_then(|at| part.hops.get(at)) != Some(&hop) || payment.shown.is_none() {
            return;
        }
        let unit = payment.attempt.unit_arriving().clone();
        let expected = Expected {
            hop,
            payee: self.nodes[payment.payee].user(),
            unit: &unit,
            amount: part.arrives,
            terms: payment.attempt.terms(),
            now,
        };
        let shown = Shown::check(&answer, &expected);
        let hash = payment.attempt.terms().hash;
        let words = match &shown {
            Ok(_) => "enough".to_owned(),
            Err(error) => error.to_string(),
        };
        self.stats.shown += u64::from(shown.is_ok());
        self.trace
            .line(format_args!("{n} is shown a promise: {words}"));
        if shown.is_ok()
            && let Some(payment) = self.nodes[n].live.payments.get_mut(&hash)
        {
            payment.shown = Some(true);
        }
    }

    /// Promises that were passed on: what became of one side goes to the other.
    pub(crate) fn follow_relays(
        &mut self,
        n: usize,
        peer: usize,
        events: &[Event],
        work: &mut Work,
        queue: &mut Queue,
    ) {
        let user = self.nodes[peer].user();
        let relays = self.nodes[n].live.relays.values();
        let concerned = relays.filter(|r| r.incoming.peer == user || r.outgoing.peer == user);
        let concerned: Vec<RecordHash> = concerned.map(|r| r.incoming.iou).collect();
        for incoming in concerned {
            self.follow_relay(n, incoming, peer, events, work, queue);
        }
    }

    fn follow_relay(
        &mut self,
        n: usize,
        iou: RecordHash,
        peer: usize,
        events: &[Event],
        work: &mut Work,
        queue: &mut Queue,
    ) {
        let Some(mut relay) = self.nodes[n].live.relays.get(&iou).cloned() else {
            return;
        };
        let ends = (
            self.index_of(relay.incoming.peer),
            self.index_of(relay.outgoing.peer),
        );
        let (Some(from), Some(to)) = ends else { return };
        let desk = self.desk(n);
        let policy = self.nodes[n].policy.clone();
        let tallies = &self.nodes[n].live.tallies;
        let mut tally = tallies.get(&from).cloned().unwrap_or_default();
        let Some(mut incoming) = self.take_pair(n, from) else {
            return;
        };
        let Some(mut outgoing): Option<Taken> = self.take_pair(n, to) else {
            self.put_pair(n, incoming, false);
            return;
        };
        let events = if to == peer { events } else { &[] };
        let before = relay.stage;
        let done = follow(
            &mut relay,
            incoming.neighbour(),
            outgoing.neighbour(),
            events,
            &policy,
            &mut tally,
            &desk.context(),
        );
        let kept = done.is_ok();
        self.put_pair(n, incoming, kept);
        self.put_pair(n, outgoing, kept);
        if kept {
            if relay.stage != before {
                work.touched.extend([from, to]);
                work.facts.push(Fact::Followed {
                    relay: Box::new(relay.clone()),
                });
            }
            let store = &mut self.nodes[n].live;
            store.tallies.insert(from, tally);
            if relay.is_over() {
                store.relays.remove(&iou);
            } else {
                store.relays.insert(iou, relay);
            }
        }
        self.absorb(n, done, work, queue);
    }

    /// The own payments.
    pub(crate) fn follow_payments(&mut self, n: usize, peer: usize, events: &[Event]) {
        let store = &mut self.nodes[n].live;
        let Some(pair) = store.pairs.get(&peer) else {
            return;
        };
        for payment in store.payments.values_mut() {
            let before = payment.attempt.clone();
            payment.attempt.follow(pair, events);
            for (old, part) in before.parts().iter().zip(payment.attempt.parts()) {
                let Fate::Failed { hop, failure } = &part.fate else {
                    continue;
                };
                if old.fate == part.fate {
                    continue;
                }
                self.trace.line(format_args!(
                    "{n} hears from hop {hop:?} why a part failed: {}",
                    failure.code.as_str()
                ));
                payment.avoid.extend(failure.edge);
            }
        }
    }

    fn follow_collections(
        &mut self,
        n: usize,
        (peer, events): (usize, &[Event]),
        work: &mut Work,
        queue: &mut Queue,
    ) {
        let user = self.nodes[peer].user();
        let collections = self.nodes[n].live.collections.iter();
        let busy: Vec<PaymentHash> = collections
            .filter(|(_, collection)| collection.parts().iter().any(|part| part.from == user))
            .map(|(hash, _)| *hash)
            .collect();
        for hash in busy {
            self.collect(n, (hash, events), work, queue);
        }
    }
}

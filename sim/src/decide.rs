//! A user wakes up: reads the logs, decides what they decide, publishes what is to be published, and tries again what waited.

use atomicity_ledger::hop::CollectionStage;
use atomicity_ledger::pair::{Expiry, Standing};
use atomicity_ledger::record::{ReleaseReason, Terms};
use atomicity_ledger::{AnyRecord, RecordHash};
use atomicity_witness_log::Verdict;

use crate::error::SimError;
use crate::hops::Queue;
use crate::logs::Log;
use crate::plan::{Lie, LogPlan};
use crate::receive::promises;
use crate::view::View;
use crate::work::Work;
use crate::world::World;

/// A promise that a look at the logs may decide.
struct Open {
    peer: usize,
    own: bool,
    iou: RecordHash,
    terms: Terms,
}

/// What the logs say.
enum Decision {
    Published(usize, u64),
    Expired(Vec<Expiry>),
    Open,
}

impl World {
    /// A user looks at everything once.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn wake(&mut self, n: usize) -> Result<(), SimError> {
        self.trace.line(format_args!("{n} wakes"));
        for log in 0..self.logs.logs.len() {
            if !self.faulty || self.rng.chance(800) {
                self.follow(n, log)?;
            }
        }
        self.publish_secrets(n);
        self.decide(n)?;
        self.give_up_late(n)?;
        self.settle_direct(n)?;
        self.retry(n)?;
        self.say_what_is_decided(n)?;
        self.look_around(n)?;
        self.drive(n)
    }

    /// Looks at everything that waits: promises of friends, what was collected, what was passed on, what was paid.
    fn look_around(&mut self, n: usize) -> Result<(), SimError> {
        let mut work = Work::default();
        let peers: Vec<usize> = self.nodes[n].live.pairs.keys().copied().collect();
        for peer in peers {
            self.follow_up(n, peer, Vec::new(), &mut work)?;
        }
        self.commit(n, work)?;
        self.publish_secrets(n);
        Ok(())
    }

    /// A user reads all logs.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn follow_all(&mut self, n: usize) -> Result<(), SimError> {
        (0..self.logs.logs.len()).try_for_each(|log| self.follow(n, log))
    }

    /// A user reads a log as far as it shows itself.
    fn follow(&mut self, n: usize, log: usize) -> Result<(), SimError> {
        let of = &self.logs.logs[log];
        let withholds = self.faulty && of.plan == LogPlan::Withholds && self.rng.chance(600);
        let back = if withholds { self.rng.index(6) } else { 0 };
        let Some((note, tree)) = of.shown_to(n, back) else {
            return Ok(());
        };
        let view = &mut self.nodes[n].views[log];
        let before = view.proofs.len();
        if let Err(error) = view.take(of, note, tree) {
            self.trace.line(format_args!(
                "{n} can't follow {}: {}",
                of.origin,
                error.code()
            ));
        }
        if !self.faulty {
            // Cosigners and mirrors show every tree that there is: whichever goes on from what was seen.
            for tree in &of.branches {
                let newest = tree.proven.last().and_then(|size| tree.heads.get(size));
                let goes_on = tree.leaves.iter().zip(&view.leaves).all(|(a, b)| a == b);
                if let Some(note) = newest.filter(|_| goes_on) {
                    let _ = view.take(of, note, tree);
                }
            }
        }
        if view.proofs.len() > before {
            self.stats.forks_seen += 1;
            self.trace.line(format_args!("{n} catches {}", of.origin));
        }
        Ok(())
    }

    /// The payee publishes what is all there, until it shows in a log; and the payer what was shown to be enough.
    pub(crate) fn publish_secrets(&mut self, n: usize) {
        let now_ms = self.clock(n).millis();
        let mut found = Vec::new();
        let store = &self.nodes[n].stored;
        for (hash, collection) in &store.collections {
            let secret = store.secrets.get(hash);
            let due = secret.filter(|s| s.publish_at.is_some_and(|at| at <= now_ms));
            let ready = *collection.stage() == CollectionStage::Publishing;
            if let (Some(secret), Some(part), true) = (due, collection.parts().first(), ready) {
                found.push((part.terms.clone(), *secret.preimage.as_bytes()));
            }
        }
        for (terms, preimage) in found {
            for term in &terms.logs {
                self.submit(n, term.origin.as_str(), &preimage);
            }
        }
        self.publish_gifts(n);
    }

    /// Hands a preimage to a log, which may lose it, or put it where only some see it.
    pub fn submit(&mut self, n: usize, origin: &str, preimage: &[u8; 32]) {
        let logs = self.logs.logs.iter_mut();
        let Some(log) = logs.into_iter().find(|log| log.origin == origin) else {
            return;
        };
        let lost = self.faulty && self.rng.chance(100);
        let forgets = log.plan == LogPlan::Withholds && self.faulty && self.rng.chance(400);
        if log.dead || lost || forgets {
            return;
        }
        let branch = log.audience[n];
        let tree = &mut log.branches[branch];
        let there = tree.waiting.contains(preimage)
            || tree
                .leaves
                .iter()
                .rev()
                .take(40)
                .any(|leaf| leaf.preimage() == Some(preimage));
        if !there {
            tree.waiting.push(*preimage);
            self.trace.line(format_args!("{n} publishes in {origin}"));
        }
    }

    /// Everything that a look at the logs may decide.
    fn open_promises(&self, n: usize) -> Vec<Open> {
        let mut open = Vec::new();
        for own in [true, false] {
            for (peer, pair) in &self.nodes[n].live.pairs {
                let side = if own { pair.own() } else { pair.theirs() };
                for promise in promises(side, &self.units) {
                    let terms = &promise.iou().record().terms;
                    let undecided =
                        matches!(promise.standing(), Standing::Undecided | Standing::Expired);
                    if undecided && !terms.is_direct() {
                        open.push(Open {
                            peer: *peer,
                            own,
                            iou: promise.iou().hash(),
                            terms: terms.clone(),
                        });
                    }
                }
            }
        }
        open
    }

    /// Looks at the logs for every promise that is not decided, the own ones first.
    fn decide(&mut self, n: usize) -> Result<(), SimError> {
        for open in self.open_promises(n) {
            let node = &self.nodes[n];
            if open.own && (node.does(Lie::NeverMerges) || node.does(Lie::LeavesOut)) {
                continue;
            }
            match self.decision(n, &open.terms)? {
                Decision::Open => {}
                Decision::Published(log, index) => {
                    self.show_publication(n, &open, log, index)?;
                }
                Decision::Expired(_) if !open.own && self.insists(n, open.peer, open.iou)? => {}
                Decision::Expired(proofs) => self.show_expiry(n, &open, &proofs)?,
            }
        }
        Ok(())
    }

    fn decision(&self, n: usize, terms: &Terms) -> Result<Decision, SimError> {
        let mut expired = Vec::new();
        let mut all = true;
        for term in &terms.logs {
            let mut logs = self.logs.logs.iter().zip(&self.nodes[n].views);
            let at = self.logs.logs.iter();
            let at = at
                .into_iter()
                .position(|log| log.origin == term.origin.as_str());
            let found: Option<(&Log, &View)> =
                logs.find(|(log, _)| log.origin == term.origin.as_str());
            let (Some(at), Some((log, view))) = (at, found) else {
                return Ok(Decision::Open);
            };
            let hash = terms.hash.as_bytes();
            if let Verdict::Published { index } = view.verdict(term, hash, terms.deadline_ms)
                && view.publication(log, index)?.is_some()
            {
                return Ok(Decision::Published(at, index));
            }
            match view.expiry(log, term, hash, terms.deadline_ms)? {
                Some(expiry) => expired.push(expiry),
                None => all = false,
            }
        }
        Ok(if all && !expired.is_empty() {
            Decision::Expired(expired)
        } else {
            Decision::Open
        })
    }

    fn show_publication(
        &mut self,
        n: usize,
        open: &Open,
        log: usize,
        index: u64,
    ) -> Result<(), SimError> {
        let (of, view) = (&self.logs.logs[log], &self.nodes[n].views[log]);
        let proof = view.publication(of, index)?;
        let leaf = view
            .leaves
            .get(usize::try_from(index).unwrap_or(usize::MAX));
        let Some(preimage) = leaf.and_then(|leaf| leaf.preimage()) else {
            return Ok(());
        };
        let preimage = atomicity_ledger::Preimage::from_bytes(*preimage);
        let mut work = Work::of(open.peer);
        let events = self.publish(n, open.peer, open.iou, preimage, proof, &mut work)?;
        self.follow_up(n, open.peer, events, &mut work)?;
        self.commit(n, work)
    }

    fn show_expiry(&mut self, n: usize, open: &Open, proofs: &[Expiry]) -> Result<(), SimError> {
        let (now, recovering) = (self.clock(n), self.is_recovering(n));
        let (pair, pen) = self.nodes[n].with(open.peer)?;
        let given_up = pair.promise_held(open.iou);
        let given_up = given_up.is_some_and(|promise| promise.release().is_some());
        if !open.own && recovering && !given_up {
            // It may have been passed on before the store was lost: it is not given up until all friends have answered.
            pair.mark_forwarded(open.iou, true)?;
        }
        let mut work = Work::of(open.peer);
        match pair.expire(open.iou, proofs, pen, now) {
            Ok(done) if done.events.is_empty() && done.records.is_empty() => return Ok(()),
            Ok(done) => {
                self.stats.expired += 1;
                work.send_all(open.peer, done.records);
                self.watch.keep_expiry(&open.terms, proofs);
                self.follow_up(n, open.peer, done.events, &mut work)?;
            }
            Err(error) => self.trace.line(format_args!(
                "{n} can't show that a promise of or to {} expired: {error}",
                open.peer
            )),
        }
        self.commit(n, work)
    }

    /// What was kept only because it might have been passed on: it was, or it is given up.
    fn give_up_late(&mut self, n: usize) -> Result<(), SimError> {
        if self.is_recovering(n) {
            return Ok(());
        }
        for (peer, iou, _) in self.unlinked(n) {
            let (mut work, mut queue) = (Work::of(peer), Queue::new());
            self.nodes[n].with(peer)?.0.mark_forwarded(iou, false)?;
            self.run_errand(n, peer, iou, &mut work, &mut queue)?;
            let pair = &self.nodes[n].live.pairs[&peer];
            let held = pair.promise_held(iou);
            let over = held.is_some_and(|p| p.standing() == Standing::Expired);
            if over && !self.nodes[n].live.relays.contains_key(&iou) {
                self.give_up(n, peer, iou, ReleaseReason::Expired, &mut work)?;
            }
            for (peer, events) in queue {
                self.follow_up(n, peer, events, &mut work)?;
            }
            self.commit(n, work)?;
        }
        Ok(())
    }

    /// Direct releases: who holds one shows the preimage or gives it up.
    fn settle_direct(&mut self, n: usize) -> Result<(), SimError> {
        let mut found = Vec::new();
        for (peer, pair) in &self.nodes[n].live.pairs {
            for promise in promises(pair.theirs(), &self.units) {
                let record = promise.iou().record();
                if record.terms.is_direct() && promise.standing() == Standing::Undecided {
                    found.push((*peer, promise.iou().hash(), record.terms.hash));
                }
            }
        }
        let now_ms = self.clock(n).millis();
        for (peer, iou, hash) in found {
            let secret = self.nodes[n].live.secrets.get(&hash).cloned();
            let mut work = Work::of(peer);
            match secret {
                Some(secret) if secret.publish_at.is_some_and(|at| at <= now_ms) => {
                    let events = self.publish(n, peer, iou, secret.preimage, None, &mut work)?;
                    self.follow_up(n, peer, events, &mut work)?;
                }
                Some(_) if self.faulty => continue,
                _ => self.give_up(n, peer, iou, ReleaseReason::Declined, &mut work)?,
            }
            self.commit(n, work)?;
        }
        Ok(())
    }

    /// Tries again what waited.
    fn retry(&mut self, n: usize) -> Result<(), SimError> {
        let pending: Vec<(usize, AnyRecord)> = std::mem::take(&mut self.nodes[n].pending);
        for (from, record) in pending {
            self.receive(n, from, &record)?;
        }
        Ok(())
    }

    /// Books what is due, and says which promises are decided.
    fn say_what_is_decided(&mut self, n: usize) -> Result<(), SimError> {
        let peers: Vec<usize> = self.nodes[n].live.pairs.keys().copied().collect();
        for peer in peers {
            let now = self.clock(n);
            let (pair, pen) = self.nodes[n].with(peer)?;
            if let Ok(states) = pair.book_due(pen, now)
                && !states.is_empty()
            {
                let mut work = Work::of(peer);
                work.send_all(peer, states.into_iter().map(AnyRecord::from));
                self.commit(n, work)?;
            }
        }
        Ok(())
    }
}

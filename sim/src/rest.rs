//! The end: nothing is lost any more, logs go on past every deadline or are buried, everybody reads everything. Then what must hold at
//! rest is checked.

use atomicity_ledger::pair::{Promise, Standing, Totals, UnitSide};
use atomicity_ledger::record::Terms;
use atomicity_ledger::{AnyRecord, Unit};
use atomicity_witness_log::tombstone::DEAD_AFTER_MS;
use atomicity_witness_log::{ExpiryProof, ForkProof, LogTerms, PublicationProof, fork};

use crate::error::SimError;
use crate::logs::Log;
use crate::receive::promises;
use crate::work::{brief, short};
use crate::world::World;

/// The most rounds until everything rests.
const MAX_ROUNDS: usize = 40;

impl World {
    /// Brings everything to rest and checks what must hold then.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn rest(&mut self) -> Result<(), SimError> {
        self.trace.line(format_args!("all faults end"));
        self.faulty = false;
        self.now_ms += 200_000;
        for round in 0..MAX_ROUNDS {
            if !self.watch.violations.is_empty() {
                return Ok(());
            }
            if self.round(round)? && round > 2 {
                self.check_rest();
                if !self.watch.violations.is_empty() {
                    self.describe();
                }
                return Ok(());
            }
        }
        self.watch.violated("nothing comes to rest".to_owned());
        Ok(())
    }

    /// One round in which everybody does everything. Returns whether nothing changed.
    fn round(&mut self, round: usize) -> Result<bool, SimError> {
        self.now_ms += 1_000;
        let before: Vec<_> = self
            .nodes
            .iter()
            .map(|node| node.live.pairs.clone())
            .collect();
        self.end_logs(round)?;
        for n in 0..self.nodes.len() {
            // What was kept back comes when everything seems to have expired.
            let late = round > 0;
            let drawer = late.then(|| std::mem::take(&mut self.nodes[n].drawer));
            for (to, record) in drawer.unwrap_or_default() {
                self.net.entry((n, to)).or_default().push(record);
            }
            if self.nodes[n].live.pairs.values().any(|p| p.is_behind()) && self.nodes[n].is_honest()
            {
                self.recover(n)?;
            }
        }
        self.deliver_all()?;
        for n in 0..self.nodes.len() {
            self.wake(n)?;
        }
        self.deliver_all()?;
        for (a, b) in self.plan.edges.clone() {
            for (n, peer) in [(a, b), (b, a)] {
                let file = self.file_of(peer, n);
                self.read(n, peer, &file)?;
            }
        }
        self.deliver_all()?;
        let same = |(node, before): (&crate::world::Node, &_)| node.live.pairs == *before;
        Ok(self.nodes.iter().zip(&before).all(same))
    }

    /// Living logs go on; dead ones are buried.
    fn end_logs(&mut self, round: usize) -> Result<(), SimError> {
        let dead_for = DEAD_AFTER_MS + 60_000;
        for log in 0..self.logs.logs.len() {
            if !self.logs.logs[log].dead {
                // Every deadline has long passed.
                if round > 1 {
                    continue;
                }
                let proven = self.logs.logs[log].proven();
                for branch in 0..self.logs.logs[log].branches.len() {
                    self.logs.tick(log, branch, self.now_ms)?;
                }
                // What no quorum cosigns any more is as good as dead.
                self.logs.logs[log].dead = self.logs.logs[log].proven() == proven;
                continue;
            }
            let last = self.logs.logs[log]
                .branches
                .iter()
                .map(|b| b.last_ms())
                .max();
            let at = last.unwrap_or(0) + dead_for;
            self.now_ms = self.now_ms.max(at);
            let tombstones = self.logs.bury(log, self.now_ms)?;
            for node in &mut self.nodes {
                node.views[log].bury(&self.logs.logs[log], &tombstones);
            }
        }
        Ok(())
    }

    fn check_rest(&mut self) {
        for (a, b) in self.plan.edges.clone() {
            if self.both_honest(a, b) {
                for unit in self.units.clone() {
                    self.check_agreement(a, b, &unit);
                }
            }
        }
        self.check_claims();
        self.check_hops();
        for n in 0..self.nodes.len() {
            self.see_payments(n);
        }
        self.check_payments();
        self.check_contradictions();
        self.check_views();
        if let Some(fault) = self.logs.cosigned_lie() {
            self.watch.violated(format!("at rest: {fault}"));
        }
    }

    /// Two honest friends hold the same, and nothing is reserved between them.
    fn check_agreement(&mut self, a: usize, b: usize, unit: &Unit) {
        let mut faults = Vec::new();
        let (mine, theirs) = (&self.nodes[a].live.pairs[&b], &self.nodes[b].live.pairs[&a]);
        if mine.balance(unit).minor() != -theirs.balance(unit).minor() {
            faults.push("their balances differ".to_owned());
        }
        let none = UnitSide::default();
        for (from, to, giver, taker) in [(a, b, mine, theirs), (b, a, theirs, mine)] {
            let given = giver.own().unit(unit).unwrap_or(&none);
            let taken = taker.theirs().unit(unit).unwrap_or(&none);
            let sums = |t: Totals| (t.issued, t.merged, t.returned);
            if sums(given.totals()) != sums(taken.totals()) {
                faults.push(format!("what {from} gave {to} differs"));
            }
            if self.undecided(given) + self.undecided(taken) > 0 {
                faults.push(format!("something that {from} promised {to} is undecided"));
            }
            if given.due_unbooked() + taken.due_unbooked() > 0 {
                faults.push(format!("something that {from} owes {to} is not booked"));
            }
            if self.plan.liars.is_empty() && self.reserved(taken) > 0 {
                faults.push(format!("slots of {from} towards {to} are taken"));
            }
            let booked = given.totals().merged.minor();
            let owed = self.owed(from, to, unit);
            if booked != owed && !self.plan.epochs && self.plan.logs_are_honest() {
                faults.push(format!(
                    "{from} booked {booked} towards {to}, and {owed} came due"
                ));
            }
        }
        for fault in faults {
            self.watch
                .violated(format!("at rest, {a} and {b} in {unit}: {fault}"));
        }
    }

    /// How many promises are undecided that need not be.
    fn undecided(&self, side: &UnitSide) -> usize {
        let open = side.promises().iter();
        open.filter(|p| p.standing() == Standing::Undecided && !self.is_stuck(p))
            .count()
    }

    /// How many promises of a friend take a slot although nothing is owed under them. The issuer's next state frees its own.
    fn reserved(&self, side: &UnitSide) -> usize {
        let open = |p: &&Promise| matches!(p.standing(), Standing::Undecided | Standing::Expired);
        let promises = side.promises().iter().filter(open);
        promises.filter(|p| !self.is_stuck(p)).count()
    }

    /// Whether a log that forked between its cosigners ended with what was published in trees that no quorum cosigned: a known limit.
    pub(crate) fn is_stuck(&self, promise: &Promise) -> bool {
        let terms = &promise.iou().record().terms;
        let mut logs = self.logs.logs.iter().filter(|log| {
            let named = terms.logs.iter().any(|t| t.origin.as_str() == log.origin);
            named && log.dead && log.plan.lies()
        });
        logs.any(|log| log.holds_unproven(terms.hash.as_bytes()))
    }

    /// Nobody honest has lost what they ever could claim.
    fn check_claims(&mut self) {
        for (a, b) in self.plan.edges.clone() {
            for (n, peer) in [(a, b), (b, a)] {
                for unit in self.units.clone() {
                    let side = self.nodes[n].live.pairs[&peer].theirs().unit(&unit);
                    let claim = side.map_or(0, |side| side.claim().minor());
                    let most = self.watch.most(n, peer, &unit);
                    if self.nodes[n].is_honest() && claim < most {
                        self.watch.violated(format!(
                            "at rest, {n} could claim {most} of {peer} in {unit}, and can {claim}"
                        ));
                    }
                }
            }
        }
    }

    /// What came due of one friend's promises to another, by what the logs hold and what the holder took and did not give up.
    fn owed(&self, from: usize, to: usize, unit: &Unit) -> u64 {
        let promised = self.watch.between(from, to);
        let owed = promised.filter(|iou| {
            let taken = self.watch.due.contains(&(to, iou.hash()))
                || self.watch.merged.contains(&(from, iou.hash()));
            iou.record().unit == *unit && taken
        });
        owed.map(|iou| iou.record().amount.minor()).sum()
    }

    /// Who was in the middle and booked downstream has claimed upstream.
    fn check_hops(&mut self) {
        for (n, incoming, onward) in self.watch.links.clone() {
            if !self.watch.merged.contains(&(n, onward)) {
                continue;
            }
            let upstream = self.watch.ious.get(&incoming).map(|iou| iou.record().from);
            let upstream = upstream.and_then(|user| self.index_of(user));
            let whole = self.watch.due.contains(&(n, incoming))
                || upstream.is_some_and(|up| self.watch.merged.contains(&(up, incoming)));
            if !whole && !self.plan.epochs {
                self.watch
                    .violated(format!("{n} paid for somebody and claims nothing"));
            }
        }
    }

    /// Where both proofs were accepted, somebody is named who lied.
    fn check_contradictions(&mut self) {
        for (terms, publication, expiries) in self.watch.contradictions() {
            match self.convict(&terms, publication.proof.as_str(), &expiries) {
                Ok(true) => self.stats.convictions += 1,
                Ok(false) => {}
                Err(why) => self.watch.violated(format!(
                    "published and expired by proof, and nobody is caught: {why}"
                )),
            }
        }
    }

    /// The fork proof of two proofs of one log; `false` if they are of two logs.
    fn convict(
        &self,
        terms: &Terms,
        publication: &str,
        expiries: &[atomicity_ledger::pair::Expiry],
    ) -> Result<bool, String> {
        let publication =
            PublicationProof::parse(publication.as_bytes()).map_err(|e| e.to_string())?;
        let mut why = None;
        for (term, expiry) in terms.logs.iter().zip(expiries) {
            let mut logs = self.logs.logs.iter();
            let Some(log) = logs.find(|log| log.origin == term.origin.as_str()) else {
                continue;
            };
            let of = LogTerms {
                policy: &log.policy,
                origin: &log.origin,
                hash: terms.hash.as_bytes(),
                from_size: term.from_size,
                deadline_ms: terms.deadline_ms,
            };
            if publication.verify(&of).is_err() {
                continue;
            }
            let expiry = ExpiryProof::decode(&expiry.proof).map_err(|e| e.to_string())?;
            match ForkProof::from_contradiction(&of, &publication, &expiry) {
                Ok(proof) => return self.is_guilty(log, &proof).map(|()| true),
                Err(error) => why = Some(error.to_string()),
            }
        }
        match why {
            Some(why) => Err(why),
            None => Ok(false),
        }
    }

    /// A fork proof holds, and names one who lied.
    fn is_guilty(&self, log: &Log, proof: &ForkProof) -> Result<(), String> {
        let culprit = proof.verify().map_err(|e| e.to_string())?;
        let again = ForkProof::decode(&proof.encode()).map_err(|e| e.to_string())?;
        if again != *proof {
            return Err("a fork proof is read as something else".to_owned());
        }
        let liar = self
            .logs
            .cosigners
            .iter()
            .any(|c| c.lies && c.is(&culprit.key));
        if log.plan.lies()
            && log
                .policy
                .log(&log.origin)
                .is_some_and(|l| l.key == culprit.key)
            || liar
        {
            Ok(())
        } else {
            Err(format!("{:?} is accused and did nothing", culprit.key))
        }
    }

    /// Whoever was shown different trees finds that out by comparing, and what anybody found out holds.
    fn check_views(&mut self) {
        let mut faults = Vec::new();
        for (at, log) in self.logs.logs.iter().enumerate() {
            let views = || self.nodes.iter().map(|node| &node.views[at]);
            for proof in views().flat_map(|view| &view.proofs) {
                if let Err(why) = self.is_guilty(log, proof) {
                    faults.push(why);
                }
            }
            for a in views() {
                for b in views() {
                    let (Some(note_a), Some(note_b)) = (&a.note, &b.note) else {
                        continue;
                    };
                    let differ = a.leaves.iter().zip(&b.leaves).any(|(x, y)| x != y);
                    if !differ || a.size() < b.size() {
                        continue;
                    }
                    let Some(key) = log.policy.log(&log.origin).map(|l| &l.key) else {
                        continue;
                    };
                    match fork::compare(key, note_a, note_b, &a.tree) {
                        Ok(Some(proof)) => faults.extend(self.is_guilty(log, &proof).err()),
                        Ok(None) => faults.push("two views differ and no fork is found".to_owned()),
                        Err(error) => faults.push(error.to_string()),
                    }
                }
            }
        }
        for fault in faults {
            self.watch
                .violated(format!("at rest, of the logs: {fault}"));
        }
    }

    /// What is still undecided, for whoever reads a trace.
    pub fn describe(&mut self) {
        for (n, node) in self.nodes.iter().enumerate() {
            for (peer, pair) in &node.live.pairs {
                for (own, side) in [(true, pair.own()), (false, pair.theirs())] {
                    for promise in promises(side, &self.units) {
                        if promise.standing() != Standing::Merged {
                            let way = if own { "to" } else { "of" };
                            let iou = AnyRecord::from(promise.iou().clone());
                            self.trace.line(format_args!(
                                "{n} {way} {peer}: {:?} {} until {}",
                                promise.standing(),
                                brief(&iou),
                                promise.iou().record().terms.deadline_ms,
                            ));
                        }
                    }
                }
            }
            for relay in node.live.relays.values() {
                let (came, went) = (short(relay.incoming.iou), short(relay.outgoing.iou));
                self.trace.line(format_args!(
                    "{n} passed {came} on as {went}: {:?}",
                    relay.stage
                ));
            }
            for (peer, record) in &node.pending {
                let words = brief(record);
                self.trace
                    .line(format_args!("{n} waits with {words} of {peer}"));
            }
        }
    }
}

//! What dishonest users do: they sign what they must not, and keep books that say what they like.

use atomicity_ledger::jws::Version;
use atomicity_ledger::pair::{NewPromise, Pair, Standing};
use atomicity_ledger::record::{
    ConditionalIou, LogProof, Publication, Release, ReleaseReason, State,
};
use atomicity_ledger::{Amount, AnyRecord, Keypair, Preimage, RecordHash, Signed, Total, Unit};
use atomicity_witness_log::tree::root;
use atomicity_witness_log::{Checkpoint, Leaf, PublicationProof};

use crate::error::SimError;
use crate::plan::Lie;
use crate::receive::promises;
use crate::work::Work;
use crate::world::{Secret, World};

impl World {
    /// A liar lies, if this user is one.
    pub(crate) fn lie(&mut self, n: usize) -> Result<(), SimError> {
        let lies = self.nodes[n].lies.clone();
        let (Some(peer), false) = (self.friend(n), lies.is_empty()) else {
            return Ok(());
        };
        let lie = lies[self.rng.index(lies.len())];
        self.stats.lies += 1;
        self.trace.line(format_args!("{n} lies to {peer}: {lie:?}"));
        let unit = self.any_unit();
        match lie {
            Lie::LeavesOut => self.leave_out(n),
            Lie::NumberTwice => self.number_twice(n, peer, &unit),
            Lie::ReplaysReleases => self.replay_release(n, peer),
            Lie::OldEpoch => self.old_epoch(n, peer, &unit),
            Lie::InflatesMerged => self.inflate_merged(n, peer, &unit),
            Lie::Falls => self.fall(n, peer, &unit),
            Lie::BadProofs => self.bad_proof(n),
            Lie::ReplaysReplies => self.replay_reply(n, peer),
            Lie::Locks => self.lock(n),
            // These lie by what they don't do, or when something comes.
            Lie::NeverMerges
            | Lie::LateProofs
            | Lie::WithholdsReleases
            | Lie::Skims
            | Lie::OtherUnit
            | Lie::OtherDeadline
            | Lie::Garbles
            | Lie::Swallows
            | Lie::Overcharges => Ok(()),
        }
    }

    fn sign_state(&mut self, n: usize, peer: usize, state: State) -> Result<(), SimError> {
        let (_, pen) = self.nodes[n].with(peer)?;
        if let Ok(signed) = Signed::sign(state, pen) {
            self.send(n, peer, signed.into());
        }
        Ok(())
    }

    fn newest(&self, n: usize, peer: usize, unit: &Unit) -> Option<State> {
        let side = self.nodes[n].live.pairs.get(&peer)?.own().unit(unit)?;
        Some(side.newest()?.record().clone())
    }

    /// An undecided promise is kept as if it were booked, and the next state says so.
    fn leave_out(&mut self, n: usize) -> Result<(), SimError> {
        let mut open = Vec::new();
        for (peer, pair) in &self.nodes[n].live.pairs {
            for (unit, side) in pair.own().units() {
                let mut promises = side.promises().iter();
                let at = promises.position(|p| p.standing() == Standing::Undecided);
                open.extend(at.map(|at| (*peer, unit.clone(), at)));
            }
        }
        let at = self.rng.index(open.len());
        let Some((peer, unit, at)) = open.get(at).cloned() else {
            return Ok(());
        };
        let (pair, unit) = (&self.nodes[n].live.pairs[&peer], &unit);
        let mut value = serde_json::to_value(pair)?;
        value["own"]["units"][unit.to_string()]["promises"][at]["merged"] = true.into();
        let pair: Pair = serde_json::from_value(value)?;
        self.nodes[n].live.pairs.insert(peer, pair);
        self.pay_to(n, peer, unit, 1)?;
        self.fill_line(n, peer, unit)
    }

    /// Promises as much as the own books say may still be promised.
    fn fill_line(&mut self, n: usize, peer: usize, unit: &Unit) -> Result<(), SimError> {
        let (now, logs) = (self.clock(n), self.known_logs(n));
        let Some(terms) = self.recent_terms(n, peer) else {
            return Ok(());
        };
        let (pair, pen) = self.nodes[n].with(peer)?;
        let Ok(amount) = Amount::from_minor(pair.limits(unit, None, now).can_issue) else {
            return Ok(());
        };
        let new = NewPromise {
            unit: unit.clone(),
            amount,
            terms,
            onward: None,
        };
        if let Ok(iou) = pair.promise(new, None, &logs, pen, now) {
            self.send(n, peer, iou.into());
        }
        Ok(())
    }

    /// Another promise under the number of one that was made.
    fn number_twice(&mut self, n: usize, peer: usize, unit: &Unit) -> Result<(), SimError> {
        let side = self.nodes[n].live.pairs[&peer].own().unit(unit);
        let Some(first) = side.and_then(|side| side.promises().last()) else {
            return Ok(());
        };
        let first = first.iou().record().clone();
        let twice = ConditionalIou {
            amount: Amount::from_minor(first.amount.minor() + 1)?,
            ..first
        };
        let (_, pen) = self.nodes[n].with(peer)?;
        let signed = Signed::sign(twice, pen)?;
        self.send(n, peer, signed.into());
        Ok(())
    }

    /// An old release again, or one of a promise that there never was under the number of another.
    fn replay_release(&mut self, n: usize, peer: usize) -> Result<(), SimError> {
        let old = self.old_releases.iter().filter(|(from, ..)| *from == n);
        let old: Vec<(usize, AnyRecord)> = old.map(|(_, to, r)| (*to, r.clone())).collect();
        if !old.is_empty() && self.rng.chance(500) {
            let (to, record) = old[self.rng.index(old.len())].clone();
            self.net.entry((n, to)).or_default().push(record);
            return Ok(());
        }
        let pair = &self.nodes[n].live.pairs[&peer];
        let Some(held) = promises(pair.theirs(), &self.units).next() else {
            return Ok(());
        };
        let iou = held.iou().record().clone();
        let release = Release {
            v: Version,
            from: iou.to,
            to: iou.from,
            unit: iou.unit,
            epoch: iou.epoch,
            number: iou.number,
            iou: RecordHash::of("no promise"),
            reason: ReleaseReason::Declined,
            failure: None,
            at: self.clock(n),
        };
        let (_, pen) = self.nodes[n].with(peer)?;
        let signed = Signed::sign(release, pen)?;
        self.send(n, peer, signed.into());
        Ok(())
    }

    /// A state and a promise under the book before, by its key.
    fn old_epoch(&mut self, n: usize, peer: usize, unit: &Unit) -> Result<(), SimError> {
        let old = self.nodes[n].old_pens.get(&peer).cloned();
        let Some((epoch, key)) = old else {
            return self.hand_over(n, peer);
        };
        let now = self.clock(n);
        let (from, to) = (self.nodes[n].user(), self.nodes[peer].user());
        let side = self.nodes[n].live.pairs[&peer].own();
        let totals = side
            .unit(unit)
            .map(|side| side.totals())
            .unwrap_or_default();
        let issued = Total::from_minor(totals.issued.minor() + 7)?;
        let state = State {
            v: Version,
            from,
            to,
            unit: unit.clone(),
            epoch,
            seq: atomicity_ledger::Seq::new(90 + self.rng.below(1000))?,
            issued,
            merged: totals.merged,
            returned: totals.returned,
            next: epoch.first_iou(),
            open: Vec::new(),
            at: now,
        };
        if let Ok(signed) = Signed::sign(state, &key) {
            self.send(n, peer, signed.into());
        }
        let Some(terms) = self.recent_terms(n, peer) else {
            return Ok(());
        };
        let iou = ConditionalIou {
            v: Version,
            from,
            to,
            unit: unit.clone(),
            epoch,
            number: atomicity_ledger::IouNumber::new(
                epoch.first_iou().get() + 1000 + self.rng.below(1000),
            )?,
            amount: Amount::from_minor(3)?,
            terms,
            onward: None,
            at: now,
        };
        let signed = Signed::sign(iou, &key)?;
        self.send(n, peer, signed.into());
        Ok(())
    }

    fn recent_terms(&self, n: usize, peer: usize) -> Option<atomicity_ledger::record::Terms> {
        let pair = self.nodes[n].live.pairs.get(&peer)?;
        let mut known =
            promises(pair.own(), &self.units).chain(promises(pair.theirs(), &self.units));
        let known = known.find(|p| !p.iou().record().terms.is_direct())?;
        Some(known.iou().record().terms.clone())
    }

    /// What was never promised is booked as if it had been; the own books go on from there.
    fn inflate_merged(&mut self, n: usize, peer: usize, unit: &Unit) -> Result<(), SimError> {
        let Some(newest) = self.newest(n, peer, unit) else {
            return self.pay_to(n, peer, unit, 1);
        };
        let more = self.rng.between(1, 60);
        let state = State {
            seq: newest.seq.next()?,
            issued: Total::from_minor(newest.issued.minor() + more)?,
            merged: Total::from_minor(newest.merged.minor() + more)?,
            ..newest
        };
        let (pair, pen) = self.nodes[n].with(peer)?;
        let signed = Signed::sign(state, pen)?;
        let mut value = serde_json::to_value(&*pair)?;
        value["own"]["units"][unit.to_string()]["newest"] = signed.jws().into();
        if let Ok(changed) = serde_json::from_value::<Pair>(value) {
            *pair = changed;
        }
        let mut work = Work::of(peer);
        work.send(peer, signed);
        self.commit(n, work)
    }

    /// A later state that names less, or another one under the same number.
    fn fall(&mut self, n: usize, peer: usize, unit: &Unit) -> Result<(), SimError> {
        let Some(newest) = self.newest(n, peer, unit) else {
            return self.pay_to(n, peer, unit, 1);
        };
        let less = Total::from_minor(newest.issued.minor().saturating_sub(1))?;
        let merged = newest.merged.min(less);
        let state = State {
            seq: newest.seq.next()?,
            issued: less,
            merged,
            ..newest.clone()
        };
        self.sign_state(n, peer, state)?;
        if self.rng.chance(200) {
            let more = Total::from_minor(newest.issued.minor() + 1)?;
            self.sign_state(
                n,
                peer,
                State {
                    issued: more,
                    ..newest
                },
            )?;
        }
        Ok(())
    }

    /// A proof of something else, or under a head that no quorum cosigned.
    fn bad_proof(&mut self, n: usize) -> Result<(), SimError> {
        let mut held = Vec::new();
        for (peer, pair) in &self.nodes[n].live.pairs {
            let open = promises(pair.theirs(), &self.units).filter(|p| {
                p.standing() == Standing::Undecided && !p.iou().record().terms.is_direct()
            });
            held.extend(open.map(|p| (*peer, p.iou().clone())));
        }
        let at = self.rng.index(held.len());
        let Some((peer, iou)) = held.get(at).cloned() else {
            return Ok(());
        };
        let terms = iou.record().terms.clone();
        let Some(preimage) = self.preimage_of(&terms.hash) else {
            return Ok(());
        };
        let proof = match self.rng.below(4) {
            0 => self.proof_without_quorum(&terms, &preimage)?,
            1 => self.proof_of_any(&terms, None)?,
            _ => self.proof_of_any(&terms, Some(&preimage))?,
        };
        let Some(proof) = proof else { return Ok(()) };
        self.show_proof(n, peer, iou.hash(), preimage, proof)
    }

    /// Whether a liar shows an entry that came too early or too late instead of giving a promise up that has expired.
    pub(crate) fn insists(
        &mut self,
        n: usize,
        peer: usize,
        iou: RecordHash,
    ) -> Result<bool, SimError> {
        let node = &mut self.nodes[n];
        if !node.does(Lie::BadProofs) || !node.insisted.insert(iou) {
            return Ok(false);
        }
        let held = self.nodes[n].live.pairs[&peer].promise_held(iou);
        let Some(terms) = held.map(|promise| promise.iou().record().terms.clone()) else {
            return Ok(false);
        };
        let Some(preimage) = self.preimage_of(&terms.hash) else {
            return Ok(false);
        };
        let Some(proof) = self.proof_of_any(&terms, Some(&preimage))? else {
            return Ok(false);
        };
        self.show_proof(n, peer, iou, preimage, proof)?;
        Ok(true)
    }

    fn show_proof(
        &mut self,
        n: usize,
        peer: usize,
        iou: RecordHash,
        preimage: Preimage,
        proof: LogProof,
    ) -> Result<(), SimError> {
        let shown = Publication {
            v: Version,
            from: self.nodes[n].user(),
            to: self.nodes[peer].user(),
            iou,
            preimage,
            proof: Some(proof),
            at: self.clock(n),
        };
        let (_, pen) = self.nodes[n].with(peer)?;
        let signed = Signed::sign(shown, pen)?;
        self.net.entry((n, peer)).or_default().push(signed.into());
        Ok(())
    }

    /// A payee whose preimage stood in a log before there was a promise on it shows that entry.
    pub(crate) fn show_old_proof(
        &mut self,
        n: usize,
        peer: usize,
        terms: &atomicity_ledger::record::Terms,
        iou: RecordHash,
    ) -> Result<(), SimError> {
        let secret = self.nodes[n].live.secrets.get(&terms.hash);
        let Some(preimage) = secret.map(|secret| secret.preimage) else {
            return Ok(());
        };
        match self.proof_of_any(terms, Some(&preimage))? {
            Some(proof) => self.show_proof(n, peer, iou, preimage, proof),
            None => Ok(()),
        }
    }

    /// A preimage of the payee's that some log has published already.
    pub(crate) fn published_before(&self, payee: usize) -> Option<Preimage> {
        let published = |secret: &&Secret| {
            let trees = self.logs.logs.iter().map(|log| &log.branches[0]);
            let mut leaves = trees.flat_map(|tree| &tree.leaves);
            leaves.any(|leaf| leaf.preimage() == Some(secret.preimage.as_bytes()))
        };
        let mut secrets = self.nodes[payee].live.secrets.values();
        secrets.find(published).map(|secret| secret.preimage)
    }

    /// Liars know what any payee keeps secret.
    fn preimage_of(&self, hash: &atomicity_ledger::PaymentHash) -> Option<Preimage> {
        let secrets = self.nodes.iter().map(|node| &node.live.secrets);
        let mut found = secrets.filter_map(|secrets| secrets.get(hash));
        found.next().map(|secret| secret.preimage)
    }

    /// A tree of the log with the preimage in it, signed by the log alone.
    fn proof_without_quorum(
        &mut self,
        terms: &atomicity_ledger::record::Terms,
        preimage: &Preimage,
    ) -> Result<Option<LogProof>, SimError> {
        let Some(log) = terms.logs.first().and_then(|term| {
            self.logs
                .logs
                .iter()
                .find(|l| l.origin == term.origin.as_str())
        }) else {
            return Ok(None);
        };
        let mut tree = log.branches[0].tree.clone();
        let leaf = Leaf::Preimage {
            time_ms: terms.deadline_ms,
            preimage: *preimage.as_bytes(),
        };
        let index = log.branches[0].size();
        tree.push(leaf.hash());
        let size = index + 1;
        let head = Checkpoint::new(&log.origin, size, root(&tree, size)?);
        let note = head.sign(log.key())?;
        let proof = PublicationProof::build(&tree, index, leaf, note)?;
        Ok(Some(LogProof {
            policy: log.text.parse()?,
            proof: proof.to_string().parse()?,
        }))
    }

    /// The proof of an entry that holds this preimage, wherever and whenever it came; or of any entry at all.
    fn proof_of_any(
        &mut self,
        terms: &atomicity_ledger::record::Terms,
        preimage: Option<&Preimage>,
    ) -> Result<Option<LogProof>, SimError> {
        for term in &terms.logs {
            let mut logs = self.logs.logs.iter();
            let Some(log) = logs.find(|log| log.origin == term.origin.as_str()) else {
                continue;
            };
            let tree = &log.branches[0];
            let upto = usize::try_from(tree.proven_size()).unwrap_or(0);
            let Some(note) = tree.heads.get(&tree.proven_size()) else {
                continue;
            };
            let holds = |leaf: &Leaf| match preimage {
                Some(preimage) => leaf.preimage() == Some(preimage.as_bytes()),
                None => leaf.preimage().is_some(),
            };
            let found = tree.leaves.iter().take(upto).position(holds);
            if let Some(index) = found {
                let leaf = tree.leaves[index];
                let proof = PublicationProof::build(&tree.tree, index as u64, leaf, note.clone())?;
                return Ok(Some(LogProof {
                    policy: log.text.parse()?,
                    proof: proof.to_string().parse()?,
                }));
            }
        }
        Ok(None)
    }
}

/// The pen of a book that has ended.
pub type OldPen = (atomicity_ledger::Epoch, Keypair);

//! What may happen in a step.

use atomicity_ledger::jws::Version;
use atomicity_ledger::pair::{LineTerms, NewPromise, PaymentNote, Standing};
use atomicity_ledger::record::{LogTerm, Terms, View as ViewRecord};
use atomicity_ledger::{Amount, AnyRecord, PolicyHash, Preimage, RecordId, Signed, Total, Unit};

use crate::error::SimError;
use crate::plan::{Lie, LogPlan};
use crate::receive::promises;
use crate::work::{Fact, Work};
use crate::world::{Route, Secret, World};

/// The weights of what may happen, in the order of [`World::act`].
const WEIGHTS: [u64; 12] = [460, 130, 110, 55, 55, 30, 20, 20, 20, 20, 15, 45];

impl World {
    /// Plays one step.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn step(&mut self, step: usize) -> Result<(), SimError> {
        self.now_ms += self.rng.below(900);
        self.logs_change(step)?;
        self.act()
    }

    fn act(&mut self) -> Result<(), SimError> {
        let n = self.rng.index(self.nodes.len());
        match self.rng.weighted(&WEIGHTS) {
            0 => (0..3).try_for_each(|_| self.deliver_one()),
            1 => self.wake(n),
            2 => self.tick_some(),
            3 => self.pay(n),
            4 => self.pay_over_hops(n),
            5 => self.change_line(n),
            6 => self.release_directly(n),
            7 => self.read_a_file(n),
            8 => self.flush(n),
            9 => self.show_view(n),
            10 => self.change_books(n),
            _ => self.some_liar(),
        }
    }

    fn some_liar(&mut self) -> Result<(), SimError> {
        let liars: Vec<usize> = self.plan.liars.keys().copied().collect();
        if liars.is_empty() {
            return Ok(());
        }
        let at = self.rng.index(liars.len());
        self.lie(liars[at])
    }

    /// One of a user's friends.
    pub fn friend(&mut self, n: usize) -> Option<usize> {
        let friends: Vec<usize> = self.nodes[n].live.pairs.keys().copied().collect();
        (!friends.is_empty()).then(|| friends[self.rng.index(friends.len())])
    }

    /// One of the units.
    pub fn any_unit(&mut self) -> Unit {
        let at = self.rng.index(self.units.len());
        self.units[at].clone()
    }

    /// Something on the way arrives: in turn or not, once or again.
    fn deliver_one(&mut self) -> Result<(), SimError> {
        let busy: Vec<(usize, usize)> = self
            .net
            .iter()
            .filter(|(_, queue)| !queue.is_empty())
            .map(|(link, _)| *link)
            .collect();
        if busy.is_empty() {
            return Ok(());
        }
        let (from, to) = busy[self.rng.index(busy.len())];
        let (reorder, repeat) = (self.plan.reorder, self.plan.repeat);
        let again = self.rng.chance(repeat);
        let late = self.rng.chance(reorder);
        let Some(queue) = self.net.get_mut(&(from, to)) else {
            return Ok(());
        };
        let at = if late { self.rng.index(queue.len()) } else { 0 };
        let record = if again {
            self.stats.repeated += 1;
            queue[at].clone()
        } else {
            queue.remove(at)
        };
        if at > 0 {
            self.stats.reordered += 1;
        }
        self.receive(to, from, &record)
    }

    /// Everything on the way arrives, in turn.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn deliver_all(&mut self) -> Result<(), SimError> {
        for _ in 0..100_000 {
            let next = self.net.iter_mut().find(|(_, queue)| !queue.is_empty());
            let Some(((from, to), queue)) = next else {
                return Ok(());
            };
            let (from, to, record) = (*from, *to, queue.remove(0));
            self.receive(to, from, &record)?;
        }
        Err(SimError::Missing("an end of the messages"))
    }

    /// Some of the logs go on.
    fn tick_some(&mut self) -> Result<(), SimError> {
        for log in 0..self.logs.logs.len() {
            if self.rng.chance(600) {
                self.tick(log)?;
            }
        }
        Ok(())
    }

    /// A log goes on, sometimes at the very moment of a deadline, or just after it.
    fn tick(&mut self, log: usize) -> Result<(), SimError> {
        let stalled = self.logs.logs[log].dead || self.is_stalled(log);
        if stalled && self.faulty {
            return Ok(());
        }
        for branch in 0..self.logs.logs[log].branches.len() {
            let last = self.logs.logs[log].branches[branch].last_ms();
            let deadlines = self.routes.keys().map(|(_, deadline)| *deadline);
            let near = deadlines
                .filter(|at| *at > last && *at <= self.now_ms)
                .min();
            let time_ms = match near {
                Some(deadline) if self.rng.chance(500) => deadline + self.rng.below(2),
                _ => self.now_ms,
            };
            self.logs.tick(log, branch, time_ms)?;
        }
        Ok(())
    }

    fn is_stalled(&self, log: usize) -> bool {
        matches!(self.logs.logs[log].plan, LogPlan::Stalls { from, to }
            if (from..to).contains(&self.stats.steps_of_run))
    }

    /// Everything that a log was planned to do comes when its step comes.
    fn logs_change(&mut self, step: usize) -> Result<(), SimError> {
        self.stats.steps_of_run = step;
        for log in 0..self.logs.logs.len() {
            match self.logs.logs[log].plan {
                LogPlan::Dies { at } if at == step => {
                    self.logs.logs[log].dead = true;
                    self.stats.log_faults += 1;
                    self.trace.line(format_args!("log {log} ends"));
                }
                LogPlan::Forks { at } if at == step => self.fork(log),
                LogPlan::BackDates { at } if step > at && self.rng.chance(80) => {
                    self.back_date(log)?;
                }
                LogPlan::Stalls { from, .. } if from == step => self.stats.log_faults += 1,
                _ => {}
            }
        }
        Ok(())
    }

    /// The tree splits, and with it those who are shown it.
    fn fork(&mut self, log: usize) {
        let branch = self.logs.fork(log);
        let liars = self.logs.cosigners.iter().filter(|c| c.lies).count();
        let of = &mut self.logs.logs[log];
        for place in of.audience.iter_mut().chain(&mut of.shown) {
            if self.rng.chance(500) {
                *place = branch;
            }
        }
        self.stats.log_faults += 1;
        self.trace.line(format_args!(
            "log {log} forks: {:?} {:?}, {liars} lie",
            of.audience, of.shown
        ));
    }

    /// What comes too late is put in with a time that is not.
    fn back_date(&mut self, log: usize) -> Result<(), SimError> {
        let tree = &self.logs.logs[log].branches[0];
        let last = tree.last_ms();
        let mut late = Vec::new();
        for node in &self.nodes {
            for (hash, secret) in &node.live.secrets {
                let past = self.routes.keys().any(|(h, deadline)| {
                    h == hash && *deadline < last && *deadline + 60_000 > last
                });
                if past {
                    late.push(*secret.preimage.as_bytes());
                }
            }
        }
        if late.is_empty() {
            return Ok(());
        }
        let preimage = late[self.rng.index(late.len())];
        let back = self.rng.below(60_000);
        self.stats.log_faults += 1;
        self.trace.line(format_args!("log {log} dates back"));
        let leaf = atomicity_witness_log::Leaf::Preimage {
            time_ms: last.saturating_sub(back),
            preimage,
        };
        self.logs.forge(log, 0, &[leaf])
    }

    fn pay(&mut self, n: usize) -> Result<(), SimError> {
        let Some(peer) = self.friend(n) else {
            return Ok(());
        };
        let (unit, minor) = (self.any_unit(), self.rng.between(1, 120));
        self.pay_to(n, peer, &unit, minor)
    }

    /// A direct payment, if the line allows it.
    pub(crate) fn pay_to(
        &mut self,
        n: usize,
        peer: usize,
        unit: &Unit,
        minor: u64,
    ) -> Result<(), SimError> {
        let (now, amount) = (self.clock(n), Amount::from_minor(minor)?);
        let id = self.rng.bytes();
        let mut short = [0; 16];
        short.copy_from_slice(&id[..16]);
        let note = PaymentNote {
            id: RecordId::from_entropy(short),
            reference: None,
            memo: None,
        };
        let (pair, pen) = self.nodes[n].with(peer)?;
        let Ok(issued) = pair.issue(unit, amount, None, note, pen, now) else {
            return Ok(());
        };
        self.stats.payments += 1;
        let mut work = Work::of(peer);
        work.facts.push(Fact::Paid {
            peer,
            unit: unit.clone(),
            amount,
        });
        work.send(peer, issued.state);
        work.send(peer, issued.payment);
        self.commit(n, work)
    }

    /// `n` sets what `peer` may owe.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn set_line(
        &mut self,
        n: usize,
        peer: usize,
        unit: &Unit,
        accept: u64,
    ) -> Result<(), SimError> {
        let now = self.clock(n);
        let terms = LineTerms::simple(unit.clone(), Total::from_minor(accept)?)?;
        let (pair, pen) = self.nodes[n].with(peer)?;
        let mut work = Work::of(peer);
        if let Ok(line) = pair.set_line(terms, pen, now) {
            work.send(peer, line);
        }
        self.commit(n, work)
    }

    fn change_line(&mut self, n: usize) -> Result<(), SimError> {
        let Some(peer) = self.friend(n) else {
            return Ok(());
        };
        let unit = self.any_unit();
        let accept = self.rng.below(2 * self.plan.accept);
        self.trace
            .line(format_args!("{n} lets {peer} owe {accept} {unit:?}"));
        self.set_line(n, peer, &unit, accept)
    }

    /// A payment over a chain of friends to somebody who made an invoice.
    fn pay_over_hops(&mut self, n: usize) -> Result<(), SimError> {
        let Some(path) = self.path_from(n) else {
            return Ok(());
        };
        let Some(payee) = path.last().copied() else {
            return Ok(());
        };
        let mut preimage = Preimage::from_bytes(self.rng.bytes());
        if self.nodes[payee].does(Lie::BadProofs) && self.rng.chance(400) {
            // What was published for somebody else is to serve again.
            let known = self.nodes[payee].live.secrets.values().next();
            preimage = known.map_or(preimage, |secret| secret.preimage);
        }
        let amount = self.rng.between(1, 90);
        let wants = self.rng.chance(750);
        let delay = self.rng.below(12_000).saturating_sub(6_000);
        let publish_at = wants.then(|| self.clock(payee).millis() + delay);
        let secret = Secret {
            preimage,
            amount,
            publish_at,
        };
        let node = &mut self.nodes[payee];
        node.live.secrets.insert(preimage.hash(), secret);
        node.stored.secrets.clone_from(&node.live.secrets);
        let route = Route {
            unit: self.any_unit(),
            path,
            amount,
            tries: 0,
        };
        self.attempt(preimage.hash(), route)
    }

    /// A way of two to four hops along friendships.
    fn path_from(&mut self, n: usize) -> Option<Vec<usize>> {
        let hops = self.rng.index(3) + 2;
        let mut path = vec![n];
        for _ in 0..hops {
            let last = *path.last()?;
            let friends: Vec<usize> = self.nodes[last]
                .live
                .pairs
                .keys()
                .copied()
                .filter(|friend| !path.contains(friend))
                .collect();
            if friends.is_empty() {
                break;
            }
            path.push(friends[self.rng.index(friends.len())]);
        }
        (path.len() > 2 || path.len() == 2 && self.rng.chance(300)).then_some(path)
    }

    /// The payer promises the first hop.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn attempt(
        &mut self,
        hash: atomicity_ledger::PaymentHash,
        route: Route,
    ) -> Result<(), SimError> {
        let (payer, first) = (route.path[0], route.path[1]);
        let mut logs = Vec::new();
        for (log, view) in self.logs.logs.iter().zip(&self.nodes[payer].views) {
            if view.refused || view.size() == 0 {
                continue;
            }
            logs.push(LogTerm {
                origin: log.origin.parse()?,
                policy_hash: PolicyHash::of(&log.text),
                from_size: view.size(),
            });
        }
        while logs.len() > 1 && self.rng.chance(500) {
            let at = self.rng.index(logs.len());
            logs.remove(at);
        }
        if logs.is_empty() {
            return Ok(());
        }
        let now = self.clock(payer);
        let deadline_ms = now.millis() + self.rng.between(5_000, 80_000);
        let new = NewPromise {
            unit: route.unit.clone(),
            amount: Amount::from_minor(route.amount)?,
            terms: Terms {
                hash,
                logs,
                deadline_ms,
            },
            onward: None,
        };
        let known = self.known_logs(payer);
        let (pair, pen) = self.nodes[payer].with(first)?;
        let iou = match pair.promise(new, None, &known, pen, now) {
            Ok(iou) => iou,
            Err(error) => {
                self.trace.line(format_args!(
                    "{payer} can't promise {first}: {}",
                    error.code()
                ));
                return Ok(());
            }
        };
        self.stats.payments += 1;
        self.trace.line(format_args!(
            "{payer} pays {} over {:?} until {deadline_ms}",
            route.amount, route.path
        ));
        if let Some(payee) = route.path.last().copied()
            && self.nodes[payee].does(Lie::BadProofs)
            && let Some(secret) = self.nodes[payee].live.secrets.get_mut(&hash)
        {
            // As late as can be, or a little later.
            secret.publish_at = Some(deadline_ms.saturating_sub(1_000));
        }
        self.routes.insert((hash, deadline_ms), route);
        let mut work = Work::of(first);
        work.facts.push(Fact::Signed {
            peer: first,
            iou: iou.clone().into(),
        });
        work.send(first, iou);
        self.commit(payer, work)
    }

    /// Whether a payer has promised on a preimage what has neither expired nor been given up.
    fn still_hangs(&self, n: usize, terms: &Terms) -> bool {
        let pairs = self.nodes[n].stored.pairs.values();
        let mut promised = pairs.flat_map(|pair| promises(pair.own(), &self.units));
        promised.any(|p| {
            let over = matches!(p.standing(), Standing::Expired | Standing::Released);
            p.iou().record().terms.hash == terms.hash && !over
        })
    }

    /// What expired may be tried another way, on the same preimage and until later.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn try_again(&mut self, n: usize, terms: &Terms) -> Result<(), SimError> {
        let route = self.routes.get(&crate::world::attempt(terms)).cloned();
        let Some(mut route) = route.filter(|route| route.path[0] == n) else {
            return Ok(());
        };
        if !self.faulty || route.tries > 1 || !self.rng.chance(500) || self.still_hangs(n, terms) {
            return Ok(());
        }
        let Some(payee) = route.path.last().copied() else {
            return Ok(());
        };
        route.tries += 1;
        let other = self.path_from(n);
        if let Some(path) = other.filter(|path| path.last() == Some(&payee)) {
            route.path = path;
        }
        self.attempt(terms.hash, route)
    }

    /// A holder gives a claim back on a preimage that the debtor may come to know.
    fn release_directly(&mut self, n: usize) -> Result<(), SimError> {
        let Some(peer) = self.friend(n) else {
            return Ok(());
        };
        let (unit, now) = (self.any_unit(), self.clock(n));
        let (pair, _) = self.nodes[n].with(peer)?;
        let Ok(claim) = u64::try_from(pair.net_claim(&unit).minor()) else {
            return Ok(());
        };
        if claim == 0 {
            return Ok(());
        }
        let minor = self.rng.between(1, claim);
        let preimage = Preimage::from_bytes(self.rng.bytes());
        let new = NewPromise {
            unit,
            amount: Amount::from_minor(minor)?,
            terms: Terms {
                hash: preimage.hash(),
                logs: Vec::new(),
                deadline_ms: now.millis(),
            },
            onward: None,
        };
        let known = self.known_logs(n);
        let (pair, pen) = self.nodes[n].with(peer)?;
        let Ok(iou) = pair.promise(new, None, &known, pen, now) else {
            return Ok(());
        };
        self.stats.payments += 1;
        if self.rng.chance(700) {
            let publish_at = Some(self.clock(peer).millis() + self.rng.below(20_000));
            let secret = Secret {
                preimage,
                amount: minor,
                publish_at,
            };
            let debtor = &mut self.nodes[peer];
            debtor.live.secrets.insert(preimage.hash(), secret);
            debtor.stored.secrets.clone_from(&debtor.live.secrets);
        }
        self.watch.note_direct(&preimage.hash());
        let mut work = Work::of(peer);
        work.facts.push(Fact::Signed {
            peer,
            iou: iou.clone().into(),
        });
        work.send(peer, iou);
        self.commit(n, work)
    }

    /// `n` shows a friend the heads that it relies on.
    fn show_view(&mut self, n: usize) -> Result<(), SimError> {
        let Some(peer) = self.friend(n) else {
            return Ok(());
        };
        let notes = self.nodes[n]
            .views
            .iter()
            .filter_map(|view| view.note.as_ref());
        let checkpoints = notes.map(|note| note.to_string().parse());
        let checkpoints = checkpoints.collect::<Result<Vec<_>, _>>()?;
        if checkpoints.is_empty() {
            return Ok(());
        }
        let now = self.clock(n);
        let (from, to) = (self.nodes[n].user(), self.nodes[peer].user());
        let (_, pen) = self.nodes[n].with(peer)?;
        let view = ViewRecord {
            v: Version,
            from,
            to,
            checkpoints,
            at: now,
        };
        let view = Signed::sign(view, pen)?;
        self.send(n, peer, AnyRecord::from(view));
        Ok(())
    }
}

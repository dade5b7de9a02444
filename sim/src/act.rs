//! What may happen in a step.

use atomicity_ledger::jws::Version;
use atomicity_ledger::record::View as ViewRecord;
use atomicity_ledger::{AnyRecord, Signed, Unit};

use crate::error::SimError;
use crate::world::World;

/// The weights of what may happen, in the order of [`World::act`].
const WEIGHTS: [u64; 13] = [460, 130, 110, 45, 65, 30, 20, 20, 20, 20, 15, 45, 6];

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
            11 => self.some_liar(),
            _ => self.befriend_or_not(n),
        }
    }

    /// A friend is removed, or taken back: what hangs between them goes on.
    fn befriend_or_not(&mut self, n: usize) -> Result<(), SimError> {
        let Some(peer) = self.friend(n) else {
            return Ok(());
        };
        if self.nodes[n].removed.remove(&peer) {
            return self.change_line(n);
        }
        self.remove_friend(n, peer)
    }

    /// `peer` gets nothing new of `n`, and may owe nothing.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn remove_friend(&mut self, n: usize, peer: usize) -> Result<(), SimError> {
        self.trace.line(format_args!("{n} removes {peer}"));
        self.nodes[n].removed.insert(peer);
        for unit in self.units.clone() {
            self.set_line(n, peer, &unit, 0)?;
        }
        Ok(())
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
            if !self.deliver_next()? {
                return Ok(());
            }
        }
        Err(SimError::Missing("an end of the messages"))
    }

    /// The next record on the way arrives, in turn. Whether there was one.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn deliver_next(&mut self) -> Result<bool, SimError> {
        let next = self.net.iter_mut().find(|(_, queue)| !queue.is_empty());
        let Some(((from, to), queue)) = next else {
            return Ok(false);
        };
        let (from, to, record) = (*from, *to, queue.remove(0));
        self.receive(to, from, &record)?;
        Ok(true)
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

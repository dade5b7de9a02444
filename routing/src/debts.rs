//! Circles of debts: kept apart from the channels over which people pay, because a debt is cleared without a fee and over other edges.

use std::collections::{BTreeMap, HashMap};

use atomicity_ledger::record::Clears;
use atomicity_ledger::{Amount, Seq, Timestamp, Unit, UserKey};

use crate::error::RouteError;
use crate::graph::Applied;

/// The most edges of a circle: as many as layers of a payment have hops.
pub const MAX_CIRCLE_EDGES: usize = 10;
/// The fewest: two people owe each other one net debt.
pub const MIN_CIRCLE_EDGES: usize = 3;
/// The most circles that one question brings.
pub const MAX_CIRCLES: usize = 32;
/// Edges that are looked at for one question, at most: after that many it has to do with what was found.
const MOST_LOOKS: usize = 1_000_000;

/// What one user publishes about a debt between it and a peer: that it agrees to have it cleared. A later `seq` replaces what was
/// published before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debt {
    /// Who publishes it.
    pub from: UserKey,
    /// The other one.
    pub to: UserKey,
    /// Orders what `from` publishes about `to`.
    pub seq: Seq,
    /// Who owes whom how much, in minor units.
    pub clears: Clears,
    /// From this instant on it counts no more.
    pub expires: Timestamp,
}

/// Whose circles are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircleRequest {
    /// Where every circle begins and ends.
    pub user: UserKey,
    /// In which unit.
    pub unit: Unit,
    /// The most edges, [`MIN_CIRCLE_EDGES`] to [`MAX_CIRCLE_EDGES`].
    pub max_edges: usize,
    /// How many circles, 1 to [`MAX_CIRCLES`].
    pub most: usize,
    /// The smallest debt that is worth it, in minor units.
    pub min: Amount,
    /// The present time: what has expired does not count.
    pub now: Timestamp,
}

/// A circle of debts. A payment of `amount` along it lowers each of them by that, and changes nobody's net position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebtCircle {
    /// Everybody on it after the user who asked, who comes last again. Each owes at least `amount` to the one before.
    pub users: Vec<UserKey>,
    /// In minor units.
    pub amount: Amount,
}

/// The debts that people agree to have cleared, unit by unit.
///
/// From A to B there is an edge if A publishes that B owes it, and B that it owes A; as wide as the smaller of the two.
#[derive(Clone, Debug, Default)]
pub struct Debts {
    units: BTreeMap<Unit, UnitDebts>,
}

/// What one user publishes about one peer.
#[derive(Clone, Copy, Debug)]
struct Half {
    peer: u32,
    seq: u64,
    expires: u64,
    clears: Clears,
}

#[derive(Clone, Debug, Default)]
struct UnitDebts {
    keys: Vec<UserKey>,
    index: HashMap<UserKey, u32>,
    /// What each publishes, by peer.
    halves: Vec<Vec<Half>>,
    count: usize,
}

impl Debts {
    /// Nobody owes anybody anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what somebody publishes in `unit`.
    ///
    /// # Errors
    /// [`RouteError::EdgeToOneself`].
    pub fn apply(&mut self, unit: &Unit, debt: &Debt) -> Result<Applied, RouteError> {
        if debt.from == debt.to {
            return Err(RouteError::EdgeToOneself);
        }
        let unit = match self.units.get_mut(unit) {
            Some(known) => known,
            None => self.units.entry(unit.clone()).or_default(),
        };
        Ok(unit.apply(debt))
    }

    /// Forgets what `from` published about `to` in a unit. Returns whether there was anything.
    pub fn remove(&mut self, from: &UserKey, to: &UserKey, unit: &Unit) -> bool {
        let Some(debts) = self.units.get_mut(unit) else {
            return false;
        };
        match (debts.id(from), debts.id(to)) {
            (Some(from), Some(to)) => debts.remove(from, |half| half.peer == to) > 0,
            _ => false,
        }
    }

    /// Forgets everything that one user published, in all units. Returns how much it was.
    pub fn remove_user(&mut self, user: &UserKey) -> usize {
        let units = self.units.values_mut();
        units.fold(0, |removed, debts| {
            removed + debts.id(user).map_or(0, |id| debts.remove(id, |_| true))
        })
    }

    /// Forgets what has expired at `now`. Returns how much.
    pub fn purge(&mut self, now: Timestamp) -> usize {
        let mut removed = 0;
        for debts in self.units.values_mut() {
            for id in 0u32.. {
                if id as usize >= debts.keys.len() {
                    break;
                }
                removed += debts.remove(id, |half| half.expires <= now.millis());
            }
        }
        self.units.retain(|_, debts| debts.count > 0);
        removed
    }

    /// The same without memory of users about whom nothing is published any more.
    #[must_use]
    pub fn compacted(&self) -> Self {
        let mut fresh = Self::new();
        for (unit, debts) in &self.units {
            let copy = fresh.units.entry(unit.clone()).or_default();
            for debt in debts.all() {
                copy.apply(&debt);
            }
        }
        fresh
    }

    /// The units in which something is published.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.units.keys()
    }

    /// How much is published, in all units.
    #[must_use]
    pub fn len(&self) -> usize {
        self.units.values().map(|debts| debts.count).sum()
    }

    /// Whether nothing is published.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much can be cleared from `from` to `to`, which is what `to` owes `from`, in minor units.
    #[must_use]
    pub fn edge(&self, from: &UserKey, to: &UserKey, unit: &Unit, now: Timestamp) -> Option<u64> {
        let debts = self.units.get(unit)?;
        let (from, to) = (debts.id(from)?, debts.id(to)?);
        debts.edge(from, debts.half(from, to)?, now)
    }

    /// Circles from the user back to the user, as many as are asked for, the shortest first, and of those of one length the widest.
    /// What one of them clears is taken from what is left for the next: all of them together can be cleared, as long as what is
    /// published is true. None if there is none.
    ///
    /// # Errors
    /// [`RouteError::LimitInvalid`].
    pub fn circles(&self, request: &CircleRequest) -> Result<Vec<DebtCircle>, RouteError> {
        let within = |what, n, least, limit| {
            let fits = (least..=limit).contains(&n);
            fits.then_some(())
                .ok_or(RouteError::LimitInvalid { what, limit })
        };
        within(
            "max_edges",
            request.max_edges,
            MIN_CIRCLE_EDGES,
            MAX_CIRCLE_EDGES,
        )?;
        within("most", request.most, 1, MAX_CIRCLES)?;
        let mut found = Vec::new();
        let Some(debts) = self.units.get(&request.unit) else {
            return Ok(found);
        };
        let Some(start) = debts.id(&request.user) else {
            return Ok(found);
        };
        let mut search = Search {
            debts,
            request,
            start,
            taken: HashMap::new(),
            looks: 0,
        };
        while found.len() < request.most {
            let Some((nodes, width)) = search.shortest() else {
                break;
            };
            search.take(&nodes, width);
            let users = nodes.iter().skip(1).filter_map(|id| debts.key(*id));
            found.push(DebtCircle {
                users: users.collect(),
                amount: RouteError::amount(width)?,
            });
        }
        Ok(found)
    }
}

impl UnitDebts {
    fn id(&self, key: &UserKey) -> Option<u32> {
        self.index.get(key).copied()
    }

    fn key(&self, id: u32) -> Option<UserKey> {
        self.keys.get(id as usize).copied()
    }

    fn intern(&mut self, key: &UserKey) -> Option<u32> {
        if let Some(id) = self.id(key) {
            return Some(id);
        }
        let id = u32::try_from(self.keys.len()).ok()?;
        self.keys.push(*key);
        self.index.insert(*key, id);
        self.halves.push(Vec::new());
        Some(id)
    }

    fn of(&self, id: u32) -> &[Half] {
        self.halves.get(id as usize).map_or(&[], Vec::as_slice)
    }

    fn half(&self, from: u32, to: u32) -> Option<&Half> {
        let halves = self.of(from);
        let at = halves.binary_search_by_key(&to, |half| half.peer).ok()?;
        halves.get(at)
    }

    fn apply(&mut self, debt: &Debt) -> Applied {
        let (Some(from), Some(peer)) = (self.intern(&debt.from), self.intern(&debt.to)) else {
            return Applied::Nothing;
        };
        let half = Half {
            peer,
            seq: debt.seq.get(),
            expires: debt.expires.millis(),
            clears: debt.clears,
        };
        let Some(halves) = self.halves.get_mut(from as usize) else {
            return Applied::Nothing;
        };
        match halves.binary_search_by_key(&peer, |held| held.peer) {
            Ok(at) => match halves.get_mut(at) {
                Some(held) if held.seq < half.seq => *held = half,
                _ => return Applied::Stale,
            },
            Err(at) => {
                halves.insert(at, half);
                self.count += 1;
            }
        }
        Applied::Taken
    }

    fn remove(&mut self, from: u32, gone: impl Fn(&Half) -> bool) -> usize {
        let Some(halves) = self.halves.get_mut(from as usize) else {
            return 0;
        };
        let before = halves.len();
        halves.retain(|half| !gone(half));
        let removed = before - halves.len();
        self.count -= removed;
        removed
    }

    fn all(&self) -> impl Iterator<Item = Debt> {
        let whose = self.keys.iter().zip(&self.halves);
        whose.flat_map(move |(from, halves)| {
            halves.iter().filter_map(move |half| {
                Some(Debt {
                    from: *from,
                    to: self.key(half.peer)?,
                    seq: Seq::new(half.seq).ok()?,
                    clears: half.clears,
                    expires: Timestamp::saturating_from_millis(half.expires),
                })
            })
        })
    }

    /// How wide the edge from `from` is, whose word `half` is, if both ends agree to it at `now`.
    fn edge(&self, from: u32, half: &Half, now: Timestamp) -> Option<u64> {
        let Clears::Owed(owed) = half.clears else {
            return None;
        };
        let answer = self.half(half.peer, from)?;
        let Clears::Owes(owes) = answer.clears else {
            return None;
        };
        let stands = half.expires.min(answer.expires) > now.millis();
        stands.then_some(owed.min(owes).minor())
    }
}

/// One question while it is worked on.
struct Search<'a> {
    debts: &'a UnitDebts,
    request: &'a CircleRequest,
    start: u32,
    /// What the circles found so far clear, by edge.
    taken: HashMap<(u32, u32), u64>,
    looks: usize,
}

/// How a node was reached: as widely as possible, over the least key of those that are as wide.
#[derive(Clone, Copy)]
struct Reached {
    width: u64,
    over: u32,
}

impl Search<'_> {
    /// The shortest circle that is left, the widest of its length: its nodes from the start to the start, and its width.
    ///
    /// Level by level: a shortest circle visits nobody before the level on which they can first be reached, so each node needs the
    /// widest way of that one length only.
    fn shortest(&mut self) -> Option<(Vec<u32>, u64)> {
        let first = Reached {
            width: u64::MAX,
            over: self.start,
        };
        let mut reached = HashMap::from([(self.start, first)]);
        let mut level = vec![self.start];
        for _ in 0..self.request.max_edges {
            let (next, home) = self.next_level(&level, &reached)?;
            if let Some(home) = home {
                return Some((self.way_back(&reached, home.over), home.width));
            }
            level = next.keys().copied().collect();
            reached.extend(next);
        }
        None
    }

    /// Who is reached next, and the best way home from this level. Nothing if the question has cost too much.
    fn next_level(
        &mut self,
        level: &[u32],
        reached: &HashMap<u32, Reached>,
    ) -> Option<(BTreeMap<u32, Reached>, Option<Reached>)> {
        let mut next: BTreeMap<u32, Reached> = BTreeMap::new();
        let mut home: Option<Reached> = None;
        for node in level {
            let so_far = reached.get(node)?.width;
            for half in self.debts.of(*node) {
                self.looks += 1;
                if self.looks > MOST_LOOKS {
                    return None;
                }
                let Some(left) = self.left(*node, half) else {
                    continue;
                };
                let way = Reached {
                    width: so_far.min(left),
                    over: *node,
                };
                if half.peer == self.start {
                    home = Some(home.map_or(way, |best| self.better(best, way)));
                } else if !reached.contains_key(&half.peer) {
                    let best = next.get(&half.peer).map(|best| self.better(*best, way));
                    next.insert(half.peer, best.unwrap_or(way));
                }
            }
        }
        Some((next, home))
    }

    fn better(&self, one: Reached, other: Reached) -> Reached {
        let key = |way: &Reached| self.debts.key(way.over);
        let is_better =
            other.width > one.width || (other.width == one.width && key(&other) < key(&one));
        if is_better { other } else { one }
    }

    /// What of an edge is left, if it is worth it.
    fn left(&self, from: u32, half: &Half) -> Option<u64> {
        let width = self.debts.edge(from, half, self.request.now)?;
        let taken = self.taken.get(&(from, half.peer)).copied().unwrap_or(0);
        let left = width.saturating_sub(taken);
        (left >= self.request.min.minor()).then_some(left)
    }

    fn way_back(&self, reached: &HashMap<u32, Reached>, last: u32) -> Vec<u32> {
        let mut nodes = vec![self.start];
        let mut at = last;
        while at != self.start {
            nodes.push(at);
            at = reached.get(&at).map_or(self.start, |way| way.over);
        }
        nodes.push(self.start);
        nodes.reverse();
        nodes
    }

    fn take(&mut self, nodes: &[u32], width: u64) {
        for pair in nodes.windows(2) {
            if let &[from, to] = pair {
                *self.taken.entry((from, to)).or_default() += width;
            }
        }
    }
}

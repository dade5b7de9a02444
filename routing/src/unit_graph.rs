//! The graph of one unit: who offers to send to whom, who agrees, and the edges that follow.

use std::collections::HashMap;

use atomicity_ledger::amount::MAX_MINOR;
use atomicity_ledger::{Amount, Seq, Timestamp, Total, UserKey};

use crate::edges::{InEdge, OutEdge};
use crate::fan::Fan;
use crate::fee::fee;
use crate::graph::{Applied, GraphSize, Offer};

/// What one user publishes about its channel to one peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Half {
    pub(crate) seq: u64,
    pub(crate) expires: u64,
    /// What it offers to send at most; 0 is no offer.
    pub(crate) send: u64,
    pub(crate) min: u64,
    pub(crate) base: u64,
    /// What it agrees to receive at most; 0 is nothing.
    pub(crate) receive: u64,
    pub(crate) ppm: u32,
    pub(crate) peer: u32,
}

impl Half {
    pub(crate) fn new(
        peer: u32,
        seq: Seq,
        expires: Timestamp,
        send: Option<Offer>,
        receive: Option<Amount>,
    ) -> Self {
        Self {
            seq: seq.get(),
            expires: expires.millis(),
            send: send.map_or(0, |offer| offer.capacity.minor()),
            min: send.map_or(0, |offer| offer.min.minor()),
            base: send.map_or(0, |offer| offer.base_fee.minor()),
            receive: receive.map_or(0, Amount::minor),
            ppm: send.map_or(0, |offer| offer.ppm),
            peer,
        }
    }

    /// The offer, as it was published.
    pub(crate) fn offer(&self) -> Option<Offer> {
        Some(Offer {
            capacity: Amount::from_minor(self.send).ok()?,
            min: Total::from_minor(self.min).ok()?,
            base_fee: Total::from_minor(self.base).ok()?,
            ppm: self.ppm,
        })
    }
}

/// A direction that both ends publish, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) base: u64,
    pub(crate) cap: u64,
    pub(crate) min: u64,
    pub(crate) expires: u64,
    pub(crate) ppm: u32,
}

/// How an amount crosses an edge towards the payee.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crossing {
    /// Whether the amount may not be raised to the minimum of the edge: true where the payee is its end.
    pub(crate) exact: bool,
    /// Whether the node that sends takes its fee: not the payer.
    pub(crate) with_fee: bool,
}

impl Edge {
    /// What is sent over the edge so that `needed` arrives, and what the sender needs for that; `None` if the edge does not take it.
    pub(crate) fn cross(&self, needed: u64, now: u64, how: Crossing) -> Option<(u64, u64)> {
        let sent = if how.exact {
            needed
        } else {
            needed.max(self.min)
        };
        if sent > self.cap || sent < self.min || self.expires <= now {
            return None;
        }
        let taken = if how.with_fee {
            fee(self.base, self.ppm, sent)?
        } else {
            0
        };
        let before = sent.checked_add(taken).filter(|n| *n <= MAX_MINOR)?;
        Some((sent, before))
    }
}

/// Everything about one user in one unit.
#[derive(Clone, Debug, Default)]
struct Node {
    /// What it publishes, by peer.
    halves: Vec<Half>,
    into: Fan<InEdge>,
}

/// The graph of one unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnitGraph {
    keys: Vec<UserKey>,
    index: HashMap<UserKey, u32>,
    nodes: Vec<Node>,
    out: Vec<Fan<OutEdge>>,
    edges: usize,
    adverts: usize,
}

/// Node ids stay below this, so that a search can put some of its own above.
const MAX_NODES: usize = 1 << 31;

impl UnitGraph {
    /// The number of a user, if anything was ever published by or about it.
    pub(crate) fn id(&self, key: &UserKey) -> Option<u32> {
        self.index.get(key).copied()
    }

    /// The user with a number.
    pub(crate) fn key(&self, id: u32) -> Option<UserKey> {
        self.keys.get(id as usize).copied()
    }

    /// How many users have a number.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Edges that end at a node.
    pub(crate) fn into(&self, id: u32) -> Option<&Fan<InEdge>> {
        self.nodes.get(id as usize).map(|node| &node.into)
    }

    /// Edges that begin at a node.
    pub(crate) fn out(&self, id: u32) -> Option<&Fan<OutEdge>> {
        self.out.get(id as usize)
    }

    fn intern(&mut self, key: &UserKey) -> Option<u32> {
        if let Some(id) = self.id(key) {
            return Some(id);
        }
        if self.keys.len() >= MAX_NODES {
            return None;
        }
        let id = u32::try_from(self.keys.len()).ok()?;
        self.keys.push(*key);
        self.index.insert(*key, id);
        self.nodes.push(Node::default());
        self.out.push(Fan::default());
        Some(id)
    }

    fn half(&self, from: u32, to: u32) -> Option<&Half> {
        let halves = &self.nodes.get(from as usize)?.halves;
        let at = halves.binary_search_by_key(&to, |half| half.peer).ok()?;
        halves.get(at)
    }

    /// The edge between two nodes, if both publish it; whether it has expired is for the caller to see.
    pub(crate) fn edge(&self, from: u32, to: u32) -> Option<Edge> {
        let offer = self.half(from, to).filter(|half| half.send > 0)?;
        let answer = self.half(to, from).filter(|half| half.receive > 0)?;
        Some(Edge {
            base: offer.base,
            cap: offer.send.min(answer.receive),
            min: offer.min,
            expires: offer.expires.min(answer.expires),
            ppm: offer.ppm,
        })
    }

    /// Takes what `from` publishes about `to`.
    pub(crate) fn apply(
        &mut self,
        from: &UserKey,
        to: &UserKey,
        make: impl FnOnce(u32) -> Half,
    ) -> Applied {
        let (Some(from), Some(to)) = (self.intern(from), self.intern(to)) else {
            return Applied::Nothing;
        };
        let half = make(to);
        match self.half(from, to) {
            Some(held) if held.seq >= half.seq => return Applied::Stale,
            Some(_) => {}
            None => self.adverts += 1,
        }
        let before = (self.edge(from, to), self.edge(to, from));
        self.put(from, half);
        self.update(from, to, before);
        Applied::Taken
    }

    fn put(&mut self, from: u32, half: Half) {
        let Some(node) = self.nodes.get_mut(from as usize) else {
            return;
        };
        match node
            .halves
            .binary_search_by_key(&half.peer, |held| held.peer)
        {
            Ok(at) => {
                if let Some(place) = node.halves.get_mut(at) {
                    *place = half;
                }
            }
            Err(at) => {
                if node.halves.len() == node.halves.capacity() {
                    node.halves.reserve_exact(1 + node.halves.len() / 4);
                }
                node.halves.insert(at, half);
            }
        }
    }

    /// Forgets what `from` publishes about `to`; nothing happens if it publishes nothing.
    pub(crate) fn remove(&mut self, from: u32, to: u32) -> bool {
        let before = (self.edge(from, to), self.edge(to, from));
        let Some(node) = self.nodes.get_mut(from as usize) else {
            return false;
        };
        let Ok(at) = node.halves.binary_search_by_key(&to, |held| held.peer) else {
            return false;
        };
        node.halves.remove(at);
        self.adverts -= 1;
        self.update(from, to, before);
        true
    }

    /// Brings both directions between two nodes up to date.
    fn update(&mut self, a: u32, b: u32, before: (Option<Edge>, Option<Edge>)) {
        let after = (self.edge(a, b), self.edge(b, a));
        self.update_one(a, b, before.0, after.0);
        self.update_one(b, a, before.1, after.1);
    }

    fn update_one(&mut self, from: u32, to: u32, old: Option<Edge>, new: Option<Edge>) {
        let (Some(node), Some(out)) = (
            self.nodes.get_mut(to as usize),
            self.out.get_mut(from as usize),
        ) else {
            return;
        };
        let into = &mut node.into;
        let inward = |edge: Edge| InEdge::new(from, &edge);
        let outward = |edge: Edge| OutEdge::new(to, &edge);
        match (old, new) {
            (old, new) if old == new => {}
            (Some(old), Some(new)) => {
                into.replace(&inward(old), inward(new));
                out.replace(&outward(old), outward(new));
            }
            (None, Some(new)) => {
                into.insert(inward(new));
                out.insert(outward(new));
                self.edges += 1;
            }
            (Some(old), None) => {
                into.remove(&inward(old));
                out.remove(&outward(old));
                self.edges -= 1;
            }
            (None, None) => {}
        }
    }

    /// Everything that is published: who, about whom, what.
    pub(crate) fn halves(&self) -> impl Iterator<Item = (u32, &Half)> {
        let ids = 0u32..;
        ids.zip(&self.nodes)
            .flat_map(|(id, node)| node.halves.iter().map(move |half| (id, half)))
    }

    /// What one user publishes.
    pub(crate) fn halves_of(&self, id: u32) -> &[Half] {
        self.nodes.get(id as usize).map_or(&[], |node| &node.halves)
    }

    /// Counts, and the bytes they take.
    pub(crate) fn size(&self) -> GraphSize {
        let node =
            |node: &Node| node.halves.capacity() * size_of::<Half>() + node.into.heap_bytes();
        let bytes = self.nodes.iter().map(node).sum::<usize>()
            + self.out.iter().map(Fan::heap_bytes).sum::<usize>()
            + self.nodes.capacity() * size_of::<Node>()
            + self.out.capacity() * size_of::<Fan<OutEdge>>()
            + self.keys.capacity() * size_of::<UserKey>()
            // A hash table keeps one byte beside each place and leaves an eighth of the places empty.
            + self.index.capacity() * 8 / 7 * (size_of::<(UserKey, u32)>() + 1);
        GraphSize {
            users: self.keys.len(),
            adverts: self.adverts,
            edges: self.edges,
            bytes,
        }
    }
}

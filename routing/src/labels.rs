//! The memory of a search: labels, where they lie, and in which order they come up. Everything is reused from one question to
//! the next, and nothing grows with the graph.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::fee::fee_at_least;

/// No label, no arc.
pub(crate) const NONE: u32 = u32::MAX;

/// A way to a node from one of the two ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label {
    /// Fees on the way: exactly, seen from the payee; at least, seen from the payer.
    pub(crate) cost: u64,
    pub(crate) node: u32,
    /// The label it comes from.
    pub(crate) parent: u32,
    /// The arc it came over, on the payer's side.
    pub(crate) arc: u32,
    /// The next label at the node.
    pub(crate) next: u32,
    pub(crate) hops: u8,
    /// It came up, and no better one had.
    pub(crate) settled: bool,
    /// It met the other side within the bound.
    pub(crate) met: bool,
}

/// An edge over which the payer's side came to a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arc {
    pub(crate) from: u32,
    /// The next arc to the same node.
    pub(crate) next: u32,
    /// Fees, never more than they are.
    pub(crate) base: u32,
    pub(crate) ppm: u32,
}

impl Arc {
    /// What sending `amount` on costs at least.
    pub(crate) fn fee_at_least(&self, amount: u64) -> u64 {
        fee_at_least(u64::from(self.base), self.ppm, amount)
    }
}

/// Labels of one side.
#[derive(Debug, Default)]
pub(crate) struct Labels(Vec<Label>);

impl Labels {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    #[inline]
    pub(crate) fn get(&self, at: u32) -> Option<&Label> {
        self.0.get(at as usize)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut Label> {
        self.0.get_mut(at as usize)
    }

    /// Adds a label and returns its number.
    #[inline]
    pub(crate) fn push(&mut self, label: Label) -> u32 {
        let at = u32::try_from(self.0.len()).unwrap_or(NONE);
        self.0.push(label);
        at
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Labels of a list, from its head on.
    #[inline]
    pub(crate) fn list(&self, head: u32) -> impl Iterator<Item = (u32, &Label)> {
        let mut at = head;
        std::iter::from_fn(move || {
            let label = self.get(at)?;
            let here = at;
            at = label.next;
            Some((here, label))
        })
    }

    /// A label and those it comes from.
    #[inline]
    pub(crate) fn chain(&self, at: u32) -> impl Iterator<Item = &Label> {
        let mut at = at;
        std::iter::from_fn(move || {
            let label = self.get(at)?;
            at = label.parent;
            Some(label)
        })
    }

    /// Whether a label in the list is as good by this rule.
    #[inline]
    pub(crate) fn has_better(&self, head: u32, rule: Rule, cost: u64, hops: u8) -> bool {
        self.list(head)
            .any(|(_, held)| rule.beats(held, cost, hops))
    }
}

/// In which order labels come up, and which of two at one node is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    /// What an edge weighs besides its fee, in 1/256 of a minor unit.
    pub(crate) per_hop: u64,
    /// Labels that cost more but have fewer hops are kept as well.
    pub(crate) by_hops: bool,
}

impl Rule {
    /// Fees only; of two that cost the same, the one with fewer hops.
    pub(crate) const CHEAPEST: Self = Self {
        per_hop: 1,
        by_hops: false,
    };

    /// Hops first, fees only among ways of one length: it soon comes to some way.
    pub(crate) const SHORTEST: Self = Self {
        per_hop: 1 << 60,
        by_hops: false,
    };

    /// What a way weighs: below 2^72.
    #[inline]
    pub(crate) fn weight(self, cost: u64, hops: u8) -> u128 {
        (u128::from(cost) << 8) + u128::from(self.per_hop) * u128::from(hops)
    }

    /// Whether a label that is held makes another needless.
    #[inline]
    pub(crate) fn beats(self, held: &Label, cost: u64, hops: u8) -> bool {
        if self.by_hops {
            held.cost <= cost && held.hops <= hops
        } else {
            self.weight(held.cost, held.hops) <= self.weight(cost, hops)
        }
    }
}

/// What is known about a node in this search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    node: u32,
    stamp: u32,
    /// Labels seen from the payer.
    pub(crate) forward: u32,
    /// Labels seen from the payee.
    pub(crate) backward: u32,
    /// Edges over which the payer's side came here.
    pub(crate) arcs: u32,
}

/// Places by node: open addressing, no larger than what the search touches. The table is kept for the next search, but only as
/// much of it is used as that one needs: a small table stays in the processor's cache.
#[derive(Debug)]
pub(crate) struct Places {
    slots: Vec<Place>,
    /// The part in use, less one: a power of two, less one.
    mask: usize,
    stamp: u32,
    used: usize,
    /// Memory for growing.
    moved: Vec<Place>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            slots: vec![EMPTY; SMALLEST],
            mask: SMALLEST - 1,
            stamp: 1,
            used: 0,
            moved: Vec::new(),
        }
    }
}

/// Slots of the smallest table: a power of two.
const SMALLEST: usize = 1 << 10;

const EMPTY: Place = Place {
    node: NONE,
    stamp: 0,
    forward: NONE,
    backward: NONE,
    arcs: NONE,
};

impl Places {
    pub(crate) fn clear(&mut self) {
        // A large search leaves a large table, which halves with every search that does not need it.
        if self.mask >= SMALLEST && self.used * 8 < self.mask {
            self.mask /= 2;
        }
        self.used = 0;
        self.forget();
    }

    /// Makes every slot an empty one.
    fn forget(&mut self) {
        self.stamp = self.stamp.wrapping_add(1);
        if self.stamp == 0 {
            self.slots.fill(EMPTY);
            self.stamp = 1;
        }
    }

    /// Where the place of a node is, or would be.
    #[allow(clippy::cast_possible_truncation)]
    #[inline]
    fn find(&self, node: u32) -> (usize, bool) {
        let mixed = u64::from(node).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let mut at = mixed as usize & self.mask;
        loop {
            let slot = &self.slots[at];
            if slot.stamp != self.stamp {
                return (at, false);
            }
            if slot.node == node {
                return (at, true);
            }
            at = (at + 1) & self.mask;
        }
    }

    #[inline]
    pub(crate) fn get(&self, node: u32) -> Option<&Place> {
        let (at, there) = self.find(node);
        there.then(|| &self.slots[at])
    }

    /// The place of a node, made if there is none.
    #[inline]
    pub(crate) fn entry(&mut self, node: u32) -> &mut Place {
        let (mut at, there) = self.find(node);
        if !there {
            if (self.used + 1) * 2 > self.mask {
                self.grow();
                at = self.find(node).0;
            }
            self.used += 1;
            self.slots[at] = Place {
                node,
                stamp: self.stamp,
                ..EMPTY
            };
        }
        &mut self.slots[at]
    }

    fn grow(&mut self) {
        let mut moved = std::mem::take(&mut self.moved);
        let held = self.slots[..=self.mask].iter();
        moved.extend(held.filter(|slot| slot.stamp == self.stamp));
        self.forget();
        self.mask = self.mask * 2 + 1;
        if self.slots.len() <= self.mask {
            self.slots.resize(self.mask + 1, EMPTY);
        }
        for slot in moved.drain(..) {
            let (at, _) = self.find(slot.node);
            self.slots[at] = Place {
                stamp: self.stamp,
                ..slot
            };
        }
        self.moved = moved;
    }
}

/// What comes up next on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A label is settled.
    Label(u32),
    /// A block of edges of the node of a label is looked at: label, level, index.
    Block(u32, u32, u32),
}

/// A queue by weight, then by hops.
#[derive(Debug, Default)]
pub(crate) struct Queue(BinaryHeap<Reverse<u128>>);

/// The weight of nothing: heavier than anything.
pub(crate) const NEVER: u128 = u128::MAX;

const LABEL_BITS: u32 = 26;
const INDEX_BITS: u32 = 18;
const LOW_BITS: u32 = 8 + 4 + INDEX_BITS + LABEL_BITS;
const LABEL_KIND: u128 = 15;

impl Queue {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The weight of what comes up next, or [`NEVER`].
    #[inline]
    pub(crate) fn top(&self) -> u128 {
        self.0
            .peek()
            .map_or(NEVER, |Reverse(item)| item >> LOW_BITS)
    }

    #[inline]
    pub(crate) fn push(&mut self, weight: u128, hops: u8, item: Item) {
        let (kind, index, label) = match item {
            Item::Label(label) => (LABEL_KIND, 0, label),
            Item::Block(label, level, index) => (u128::from(level), index, label),
        };
        let low = u128::from(hops) << (4 + INDEX_BITS + LABEL_BITS)
            | kind << (INDEX_BITS + LABEL_BITS)
            | u128::from(index) << LABEL_BITS
            | u128::from(label);
        self.0.push(Reverse(weight << LOW_BITS | low));
    }

    #[allow(clippy::cast_possible_truncation)]
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(u128, Item)> {
        let Reverse(packed) = self.0.pop()?;
        let low = packed as u64;
        let label = (low & ((1 << LABEL_BITS) - 1)) as u32;
        let index = (low >> LABEL_BITS & ((1 << INDEX_BITS) - 1)) as u32;
        let item = match low >> (INDEX_BITS + LABEL_BITS) & 15 {
            15 => Item::Label(label),
            level => Item::Block(label, level as u32, index),
        };
        Some((packed >> LOW_BITS, item))
    }
}

/// The most labels of one side: what fits into an item of the queue. A search that needs more ends with what it has.
pub(crate) const MAX_LABELS: usize = (1 << LABEL_BITS) - 1;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_survive_growth_and_vanish_with_clear() {
        let mut places = Places::default();
        for node in 0..5_000 {
            places.entry(node * 7).forward = node;
        }
        for node in 0..5_000 {
            assert_eq!(places.get(node * 7).unwrap().forward, node);
            assert!(node * 7 + 1 >= 35_000 || places.get(node * 7 + 1).is_none());
        }
        places.clear();
        assert!((0..5_000).all(|node| places.get(node * 7).is_none()));
    }

    #[test]
    fn the_queue_orders_by_cost_then_hops() {
        let mut queue = Queue::default();
        queue.push(5, 1, Item::Label(7));
        queue.push(4, 9, Item::Block(3, 2, 99));
        queue.push(5, 0, Item::Block(1, 0, 1));
        assert_eq!(queue.top(), 4);
        let all: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(
            all,
            [
                (4, Item::Block(3, 2, 99)),
                (5, Item::Block(1, 0, 1)),
                (5, Item::Label(7))
            ]
        );
        assert_eq!(queue.top(), NEVER);
    }
}

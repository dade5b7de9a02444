//! The edges at one node, kept so that a search meets the cheap ones first and most of a hub's edges never.
//!
//! Edges lie in the order of a space-filling curve over (base fee, proportional fee), in blocks of 16. Each block knows the least
//! of both fees and the largest capacity in it, and so does each block of 16 blocks, and so on. From these a search has, for any
//! amount, a lower bound for what a block costs, without touching its edges; and no order has to be kept for every amount.

use crate::fee::fee_at_least;

/// Edges per block, and blocks per block of blocks.
pub(crate) const WIDTH: usize = 16;

/// An edge as a fan sees it.
pub(crate) trait Spoke: Copy {
    /// The node at its other end.
    fn peer(&self) -> u32;
    /// Base fee, saturated.
    fn base_low(&self) -> u32;
    /// Proportional fee, millionths.
    fn ppm(&self) -> u32;
    /// Capacity, rounded up: a [`width_up`].
    fn width(&self) -> u16;
}

/// What every edge of a block costs at least and takes at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Floor {
    base: u32,
    ppm: u32,
    width: u16,
}

impl Floor {
    const EMPTY: Self = Self {
        base: u32::MAX,
        ppm: u32::MAX,
        width: 0,
    };

    fn join(self, other: Self) -> Self {
        Self {
            base: self.base.min(other.base),
            ppm: self.ppm.min(other.ppm),
            width: self.width.max(other.width),
        }
    }

    /// The least fee in the block for sending on `amount` or more.
    #[inline]
    pub(crate) fn fee(&self, amount: u64) -> u64 {
        fee_at_least(u64::from(self.base), self.ppm, amount)
    }

    /// Whether an edge of the block may take an amount of this [`width_down`].
    #[inline]
    pub(crate) fn may_take(&self, width: u16) -> bool {
        self.width >= width
    }
}

/// Six bits behind the leading one, and how far they are shifted: below 2^12. Larger amounts never have a smaller width.
#[inline]
pub(crate) fn width_down(amount: u64) -> u16 {
    let shift = (64 - amount.leading_zeros()).saturating_sub(7);
    // The leading bit is 64 once something is shifted, so that it raises the shift by one.
    u16::try_from((u64::from(shift) << 6) + (amount >> shift)).unwrap_or(u16::MAX)
}

/// The same, rounded up: an edge takes no amount whose [`width_down`] is larger than this of its capacity.
pub(crate) fn width_up(cap: u64) -> u16 {
    let low = width_down(cap);
    let shift = (64 - cap.leading_zeros()).saturating_sub(7);
    let exact = cap.trailing_zeros() >= shift;
    if exact { low } else { low + 1 }
}

/// Position on the curve: the bits of both logarithms (to a quarter of an octave), interleaved.
fn code(base: u32, ppm: u32) -> u32 {
    spread(quarter_octaves(base)) << 1 | spread(quarter_octaves(ppm))
}

/// Four times the binary logarithm, roughly; below 256.
fn quarter_octaves(n: u32) -> u32 {
    let bits = 32 - n.leading_zeros();
    if bits <= 2 {
        return n;
    }
    bits * 4 + (n >> (bits - 3) & 3)
}

/// Bits 0 to 7 to the even places.
fn spread(n: u32) -> u32 {
    let n = (n | n << 4) & 0x0f0f;
    let n = (n | n << 2) & 0x3333;
    (n | n << 1) & 0x5555
}

/// The edges at one node, in one direction.
#[derive(Clone, Debug)]
pub(crate) struct Fan<S> {
    spokes: Vec<S>,
    /// All levels of blocks, the lowest first; empty if one block holds everything.
    floors: Vec<Floor>,
}

impl<S> Default for Fan<S> {
    fn default() -> Self {
        Self {
            spokes: Vec::new(),
            floors: Vec::new(),
        }
    }
}

impl<S: Spoke> Fan<S> {
    fn order(spoke: &S) -> (u32, u32) {
        (code(spoke.base_low(), spoke.ppm()), spoke.peer())
    }

    fn position(&self, spoke: &S) -> Result<usize, usize> {
        let order = Self::order(spoke);
        self.spokes.binary_search_by_key(&order, Self::order)
    }

    /// Adds an edge, or replaces the one that is equal in fees and peer.
    pub(crate) fn insert(&mut self, spoke: S) {
        match self.position(&spoke) {
            Ok(at) => {
                if let Some(place) = self.spokes.get_mut(at) {
                    *place = spoke;
                }
                self.refresh(at, at + 1);
            }
            Err(at) => {
                // A little slack: a graph has millions of these.
                if self.spokes.len() == self.spokes.capacity() {
                    self.spokes.reserve_exact(1 + self.spokes.len() / 4);
                }
                self.spokes.insert(at, spoke);
                self.refresh(at, self.spokes.len());
            }
        }
    }

    /// Takes an edge away; it is found by its fees and its peer.
    pub(crate) fn remove(&mut self, spoke: &S) {
        if let Ok(at) = self.position(spoke) {
            self.spokes.remove(at);
            if self.spokes.len() * 2 < self.spokes.capacity() {
                self.spokes.shrink_to(self.spokes.len() + 1);
            }
            self.refresh(at, self.spokes.len() + 1);
        }
    }

    /// Puts `new` in the place of `old`: only what lies between both moves.
    pub(crate) fn replace(&mut self, old: &S, new: S) {
        let (Ok(from), at) = (self.position(old), self.position(&new)) else {
            return self.insert(new);
        };
        let mut to = at.unwrap_or_else(|to| to);
        if to > from && at.is_err() {
            to -= 1;
        }
        if from < to {
            self.spokes[from..=to].rotate_left(1);
        } else {
            self.spokes[to..=from].rotate_right(1);
        }
        if let Some(place) = self.spokes.get_mut(to) {
            *place = new;
        }
        self.refresh(from.min(to), from.max(to) + 1);
    }

    /// The edges.
    #[inline]
    pub(crate) fn spokes(&self) -> &[S] {
        &self.spokes
    }

    /// The edges of block `index` of the lowest level.
    #[inline]
    pub(crate) fn block(&self, index: usize) -> &[S] {
        let start = (index * WIDTH).min(self.spokes.len());
        let end = (start + WIDTH).min(self.spokes.len());
        &self.spokes[start..end]
    }

    /// Number of levels of blocks; none if one block holds everything.
    #[inline]
    pub(crate) fn levels(&self) -> u32 {
        let mut count = self.spokes.len();
        let mut levels = 0;
        while count > WIDTH {
            count = count.div_ceil(WIDTH);
            levels += 1;
        }
        levels
    }

    /// The blocks below block `index` of `level + 1`, as numbers and floors of `level`; all of `level` if it is the top one.
    #[inline]
    pub(crate) fn floors(&self, level: u32, parent: Option<usize>) -> (usize, &[Floor]) {
        let (start, count) = self.level(level);
        let (from, to) = match parent {
            None => (0, count),
            Some(index) => ((index * WIDTH).min(count), ((index + 1) * WIDTH).min(count)),
        };
        (from, &self.floors[start + from..start + to])
    }

    /// Where a level starts among all floors, and how many blocks it has.
    #[inline]
    fn level(&self, level: u32) -> (usize, usize) {
        let mut start = 0;
        let mut count = self.spokes.len().div_ceil(WIDTH);
        for _ in 0..level {
            start += count;
            count = count.div_ceil(WIDTH);
        }
        (start, count)
    }

    /// Works the floors out anew for the edges in `from..to`.
    fn refresh(&mut self, from: usize, to: usize) {
        let levels = self.levels();
        if levels == 0 {
            self.floors = Vec::new();
            return;
        }
        let (last, count) = self.level(levels - 1);
        let total = last + count;
        let whole = self.floors.len() != total;
        if whole {
            self.floors.truncate(total);
            let missing = total - self.floors.len();
            self.floors.reserve_exact(missing);
            self.floors.resize(total, Floor::EMPTY);
        }
        let (mut from, mut to) = if whole {
            (0, self.spokes.len())
        } else {
            (from, to)
        };
        for level in 0..levels {
            let (start, count) = self.level(level);
            from /= WIDTH;
            to = to.div_ceil(WIDTH).min(count);
            for index in from..to {
                let floor = if level == 0 {
                    self.block(index)
                        .iter()
                        .map(floor_of)
                        .fold(Floor::EMPTY, Floor::join)
                } else {
                    let (_, below) = self.floors(level - 1, Some(index));
                    below.iter().copied().fold(Floor::EMPTY, Floor::join)
                };
                if let Some(place) = self.floors.get_mut(start + index) {
                    *place = floor;
                }
            }
        }
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.spokes.capacity() * size_of::<S>() + self.floors.capacity() * size_of::<Floor>()
    }
}

fn floor_of<S: Spoke>(spoke: &S) -> Floor {
    Floor {
        base: spoke.base_low(),
        ppm: spoke.ppm(),
        width: spoke.width(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Plain(u32, u32, u32);

    impl Spoke for Plain {
        fn peer(&self) -> u32 {
            self.0
        }
        fn base_low(&self) -> u32 {
            self.1
        }
        fn ppm(&self) -> u32 {
            self.2
        }
        fn width(&self) -> u16 {
            width_up(u64::from(self.0))
        }
    }

    fn check(fan: &Fan<Plain>) {
        assert!(
            fan.spokes
                .windows(2)
                .all(|w| Fan::order(&w[0]) < Fan::order(&w[1]))
        );
        let levels = fan.levels();
        for level in 0..levels {
            let (first, floors) = fan.floors(level, None);
            assert_eq!(first, 0);
            for (index, floor) in floors.iter().enumerate() {
                let width = WIDTH.pow(level + 1);
                let under = &fan.spokes[index * width..fan.spokes.len().min((index + 1) * width)];
                let exact = under.iter().map(floor_of).fold(Floor::EMPTY, Floor::join);
                assert_eq!(*floor, exact, "level {level}, block {index}");
            }
        }
        let total = (0..levels).map(|l| fan.level(l).1).sum::<usize>();
        assert_eq!(fan.floors.len(), total);
    }

    proptest! {
        #[test]
        fn blocks_know_what_lies_in_them(steps in prop::collection::vec((0u32..700, any::<u32>(), 0u32..5000, 0u8..4), 1..900)) {
            let mut fan = Fan::default();
            let mut model = std::collections::BTreeMap::<u32, Plain>::new();
            for (peer, base, ppm, what) in steps {
                let new = Plain(peer, base >> (ppm % 32), ppm);
                match (model.get(&peer).copied(), what) {
                    (Some(old), 0) => { fan.remove(&old); model.remove(&peer); }
                    (Some(old), _) => { fan.replace(&old, new); model.insert(peer, new); }
                    (None, _) => { fan.insert(new); model.insert(peer, new); }
                }
            }
            check(&fan);
            let mut held: Vec<_> = fan.spokes().to_vec();
            held.sort_by_key(|s| s.0);
            prop_assert_eq!(held, model.into_values().collect::<Vec<_>>());
        }
    }

    proptest! {
        #[test]
        fn what_fits_has_no_larger_width(cap in any::<u64>(), amount in any::<u64>(), shift in 0u32..64) {
            let (cap, amount) = (cap >> shift, amount >> shift);
            prop_assert!(width_up(cap) < 1 << 12);
            prop_assert!(amount > cap || width_down(amount) <= width_up(cap));
            prop_assert!(amount <= cap || width_down(amount) >= width_down(cap));
            // A capacity is never taken for more than a sixty-fourth larger.
            prop_assert!(width_down(cap.saturating_add(cap >> 5).saturating_add(2)) >= width_up(cap));
        }
    }

    #[test]
    fn codes_grow_with_each_fee() {
        for n in [0u32, 1, 2, 3, 4, 7, 8, 100, 1 << 20, u32::MAX] {
            assert!(quarter_octaves(n) < 256);
            assert!(code(n, 5) <= code(n.saturating_mul(2), 5));
            assert!(code(5, n) <= code(5, n.saturating_mul(2)));
        }
    }
}

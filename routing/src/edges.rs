//! Edges as the two ends of a search keep them: small, because what a search waits for is memory. Where the small form does not say
//! enough, the adverts are looked up.

use atomicity_ledger::amount::MAX_MINOR;

use crate::fan::{Spoke, width_up};
use crate::fee::fee;
use crate::unit_graph::{Crossing, Edge};

/// An edge as its end keeps it. Figures that don't fit are kept so that they are known not to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct InEdge {
    pub(crate) peer: u32,
    /// `u32::MAX` where the figure is that or more.
    base: u32,
    ppm: u32,
    /// `u32::MAX` where the figure is that or more.
    min: u32,
    /// The capacity, rounded down: how far it is shifted, whether anything was lost by that, and 25 bits.
    cap: u32,
    /// Seconds, rounded down.
    expires: u32,
}

/// What becomes of an amount at an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crossed {
    /// This is what the sender needs.
    Needs(u64),
    /// The edge does not take it.
    Refused,
    /// Only the exact figures tell.
    Unclear,
}

const CAP_BITS: u32 = 25;
const CAP_LOST: u32 = 1 << CAP_BITS;

impl InEdge {
    pub(crate) fn new(peer: u32, edge: &Edge) -> Self {
        let shift = (64 - edge.cap.leading_zeros()).saturating_sub(CAP_BITS);
        let lost = if edge.cap.trailing_zeros() < shift {
            CAP_LOST
        } else {
            0
        };
        Self {
            peer,
            base: saturate(edge.base),
            ppm: edge.ppm,
            min: saturate(edge.min),
            cap: shift << (CAP_BITS + 1) | lost | saturate(edge.cap >> shift),
            expires: saturate(edge.expires / 1000),
        }
    }

    /// How far the capacity is shifted, and what is left of it.
    #[inline]
    fn cap(&self) -> (u32, u64) {
        let top = self.cap & (CAP_LOST - 1);
        (self.cap >> (CAP_BITS + 1), u64::from(top))
    }

    /// The capacity, and nothing once it has expired; none if only the exact figures tell.
    pub(crate) fn room(&self, now_seconds: u32) -> Option<u64> {
        let (shift, top) = self.cap();
        if self.expires < now_seconds {
            return Some(0);
        }
        let clear = self.cap & CAP_LOST == 0 && self.expires > now_seconds;
        clear.then_some(top << shift)
    }

    /// What the sender needs so that `needed` arrives: as [`Edge::cross`], as far as the small form tells.
    #[inline]
    pub(crate) fn cross(&self, needed: u64, now_seconds: u32, how: Crossing) -> Crossed {
        let sent = if how.exact {
            needed
        } else {
            needed.max(u64::from(self.min))
        };
        let (shift, top) = self.cap();
        let high = sent >> shift;
        let (bare, lost) = (high << shift == sent, self.cap & CAP_LOST != 0);
        if high > top || (high == top && !bare && !lost) || self.expires < now_seconds {
            return Crossed::Refused;
        }
        let wide = high < top || bare;
        if !wide || self.expires == now_seconds || self.base == u32::MAX || self.min == u32::MAX {
            return Crossed::Unclear;
        }
        if sent < u64::from(self.min) {
            return Crossed::Refused;
        }
        if !how.with_fee {
            return Crossed::Needs(sent);
        }
        fee(u64::from(self.base), self.ppm, sent)
            .and_then(|taken| sent.checked_add(taken))
            .filter(|before| *before <= MAX_MINOR)
            .map_or(Crossed::Refused, Crossed::Needs)
    }
}

impl Spoke for InEdge {
    fn peer(&self) -> u32 {
        self.peer
    }
    fn base_low(&self) -> u32 {
        self.base
    }
    fn ppm(&self) -> u32 {
        self.ppm
    }
    fn width(&self) -> u16 {
        let (shift, top) = self.cap();
        let lost = if self.cap & CAP_LOST == 0 {
            0
        } else {
            (1 << shift) - 1
        };
        width_up(top << shift | lost)
    }
}

/// An edge as its beginning keeps it: rounded so that it never looks dearer, narrower or older than it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OutEdge {
    pub(crate) peer: u32,
    pub(crate) base_low: u32,
    pub(crate) ppm: u32,
    /// The width of the capacity in 12 bits above when it expires, in steps of 4,096 seconds.
    tail: u32,
}

const AGE_BITS: u32 = 20;
const AGE_STEP: u64 = 4_096_000;

impl OutEdge {
    pub(crate) fn new(peer: u32, edge: &Edge) -> Self {
        let age = saturate(edge.expires.div_ceil(AGE_STEP)).min((1 << AGE_BITS) - 1);
        Self {
            peer,
            base_low: saturate(edge.base),
            ppm: edge.ppm,
            tail: u32::from(width_up(edge.cap)) << AGE_BITS | age,
        }
    }

    /// Whether it may take an amount of this width at this time.
    #[inline]
    pub(crate) fn may_take(&self, width: u16, age: u32) -> bool {
        self.tail >> AGE_BITS >= u32::from(width) && self.tail & ((1 << AGE_BITS) - 1) >= age
    }

    /// The present time, in the same steps.
    pub(crate) fn age(now: u64) -> u32 {
        saturate(now / AGE_STEP).min((1 << AGE_BITS) - 1)
    }
}

impl Spoke for OutEdge {
    fn peer(&self) -> u32 {
        self.peer
    }
    fn base_low(&self) -> u32 {
        self.base_low
    }
    fn ppm(&self) -> u32 {
        self.ppm
    }
    #[allow(clippy::cast_possible_truncation)]
    fn width(&self) -> u16 {
        (self.tail >> AGE_BITS) as u16
    }
}

fn saturate(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fan::width_down;
    use proptest::prelude::*;

    /// Figures of every size, and close to each other.
    fn figure() -> impl Strategy<Value = u64> {
        (any::<u64>(), 1u32..64).prop_map(|(n, shift)| n >> shift)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn the_small_forms_say_nothing_wrong(
            base in figure(), cap in figure(), min in figure(), ppm in 0u32..2_000_000,
            (needed, off, by_cap) in (figure(), 0u64..5, any::<bool>()),
            (now, left) in (figure(), -3_000i64..3_000), (exact, with_fee) in any::<(bool, bool)>()
        ) {
            let needed = if by_cap { (cap + 2).saturating_sub(off) } else { needed };
            let edge = Edge { base, cap, min, expires: now.saturating_add_signed(left), ppm };
            let how = Crossing { exact, with_fee };
            let exactly = edge.cross(needed, now, how).map(|(_, before)| before);
            match InEdge::new(7, &edge).cross(needed, saturate(now / 1000), how) {
                Crossed::Needs(before) => prop_assert_eq!(exactly, Some(before)),
                Crossed::Refused => prop_assert_eq!(exactly, None),
                Crossed::Unclear => {}
            }
            if exactly.is_some() {
                let out = OutEdge::new(7, &edge);
                prop_assert!(out.may_take(width_down(needed), OutEdge::age(now)));
                prop_assert!(InEdge::new(7, &edge).width() >= width_down(needed));
            }
        }

        #[test]
        fn usual_figures_are_always_clear(base in 0u64..1 << 31, step in 0usize..3, ten in 0u32..10, ppm in 0u32..100_000, needed in 1u64..1 << 40) {
            let cap = [1, 2, 5][step] * 10u64.pow(ten);
            let edge = Edge { base, cap, min: 1, expires: u64::MAX >> 24, ppm };
            let how = Crossing { exact: false, with_fee: true };
            let small = InEdge::new(7, &edge).cross(needed, 1_000, how);
            prop_assert_ne!(small, Crossed::Unclear);
            prop_assert_eq!(InEdge::new(7, &edge).cross(cap, 1_000, how), Crossed::Needs(edge.cross(cap, 1_000_000, how).unwrap().1));
        }
    }
}

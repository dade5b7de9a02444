//! Units that hops exchange on the way: at which rates, and what a hop must have been promised, reckoned beside the ledger.

use atomicity_ledger::record::Rate;
use atomicity_ledger::{Amount, LedgerError, Unit};

use crate::plan::pick;
use crate::rng::Rng;
use crate::world::World;

/// What a user asks of one unit for another. Units are named by their places in [`World::units`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What the hop is promised.
    pub take: usize,
    /// What it promises onward.
    pub give: usize,
    /// So many of the one …
    pub num: u64,
    /// … for so many of the other.
    pub den: u64,
    /// The most of the other in one payment.
    pub max: u64,
}

impl Exchange {
    /// What a user exchanges who does so, between the first two units: either way, or one way.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Vec<Self> {
        let (num, den) = (rng.between(1, 7), rng.between(1, 7));
        let max = *pick(rng, &[50, 200]);
        let there = Self {
            take: 0,
            give: 1,
            num,
            den,
            max,
        };
        let back = Self {
            take: 1,
            give: 0,
            // Who exchanges keeps something.
            num: den + rng.below(2),
            den: num,
            max,
        };
        match rng.below(3) {
            0 => vec![there],
            1 => vec![back],
            _ => vec![there, back],
        }
    }

    /// The least that makes the hop whole for so much: not a part of a minor unit less.
    #[must_use]
    pub fn asked(&self, given: u64) -> u64 {
        let exact = u128::from(given) * u128::from(self.num);
        let den = u128::from(self.den);
        let asked = exact / den + u128::from(!exact.is_multiple_of(den));
        u64::try_from(asked).unwrap_or(u64::MAX)
    }

    /// The rate that the user publishes; one who `overcharges` acts by a dearer one.
    ///
    /// # Errors
    /// Never: the figures are small.
    pub fn rate(&self, units: &[Unit], overcharges: bool) -> Result<Option<Rate>, LedgerError> {
        let (Some(take), Some(give)) = (units.get(self.take), units.get(self.give)) else {
            return Ok(None);
        };
        let dearer = if overcharges { 2 } else { 1 };
        Ok(Some(Rate {
            take: take.clone(),
            give: give.clone(),
            num: Amount::from_minor(self.num * dearer)?,
            den: Amount::from_minor(self.den)?,
            max: Amount::from_minor(self.max)?,
        }))
    }
}

impl World {
    /// What a user has published about exchanging one unit for another.
    #[must_use]
    pub fn exchange_of(&self, n: usize, take: &Unit, give: &Unit) -> Option<Exchange> {
        let place = |unit: &Unit| self.units.iter().position(|known| known == unit);
        let (take, give) = (place(take)?, place(give)?);
        let mut all = self.plan.exchanges.get(n)?.iter();
        all.find(|e| e.take == take && e.give == give).copied()
    }

    /// Who on a way exchanges these units: the place of the first who does and has somebody after them.
    #[must_use]
    pub fn exchanger(&self, path: &[usize], take: &Unit, give: &Unit) -> Option<(usize, Exchange)> {
        let (_, hops) = path.split_last()?;
        let mut hops = hops.iter().enumerate();
        hops.find_map(|(at, hop)| Some((at, self.exchange_of(*hop, take, give)?)))
    }
}

//! The cheapest path that is short enough, where the cheapest of all is not.

use super::{Ends, LONGEST, Searcher};
use crate::labels::Rule;

/// Searches for a good weight of hops.
const MOST_TRIES: usize = 8;
/// How many times the steps of the first search one with a guessed weight may take.
const PATIENCE: usize = 8;
/// The heaviest that an edge is made besides its fee.
const HEAVIEST: u64 = 1 << 60;

impl Searcher {
    /// The cheapest path within the limit on hops, where the cheapest of all is too long: exact, since the dearer but shorter labels
    /// are kept. Every edge weighs something besides its fee, so that short paths come up early; how much only decides how soon the
    /// search ends. About right is what an edge of the cheapest path costs, the more often the more edges it has too many, unless the
    /// limit is close to the least number of edges that lead there: then that search is given up, and some others find a better weight. Returns whether the last one came
    /// to its end.
    pub(super) fn short_enough(&mut self, ends: &Ends, cheapest: Option<(u64, usize)>) -> bool {
        if let Some((cost, hops)) = cheapest {
            let too_many = hops.saturating_sub(usize::from(ends.leg.max_hops));
            let per_hop = slope(cost.saturating_add(1), hops).saturating_mul(2 + too_many as u64);
            let rule = Rule {
                per_hop: per_hop.min(HEAVIEST),
                by_hops: true,
            };
            if self.run_for(ends, rule, self.steps.saturating_mul(PATIENCE)) {
                return true;
            }
        }
        let per_hop = self.good_weight(ends, cheapest);
        self.run(
            ends,
            Rule {
                per_hop,
                by_hops: true,
            },
        )
    }

    /// Searches that are not exact, to find out what weight leads to paths of the right length, and to have one such path as a bound.
    fn good_weight(&mut self, ends: &Ends, cheapest: Option<(u64, usize)>) -> u64 {
        let most = usize::from(ends.leg.max_hops);
        let mut long = cheapest.unwrap_or((0, usize::from(LONGEST)));
        let mut short = self
            .best
            .as_ref()
            .map(|held| (held.fees, held.nodes.len() - 1));
        let mut per_hop = slope(long.0.saturating_add(1), long.1);
        for _ in 0..MOST_TRIES {
            let rule = Rule {
                per_hop,
                by_hops: false,
            };
            let certain = self.run(ends, rule);
            let Some(lightest) = self.lightest.filter(|_| certain) else {
                break;
            };
            if lightest.1 > most {
                long = lightest;
            } else {
                short = Some(lightest);
            }
            // How far the exact search would have to go beyond the lightest path: an eighth is cheaper than another try.
            let weight = |cost, hops| rule.weight(cost, u8::try_from(hops).unwrap_or(u8::MAX));
            let (least, most_allowed) = (weight(lightest.0, lightest.1), weight(self.bound, most));
            if lightest.1 == most || most_allowed.saturating_sub(least) <= least / 8 {
                break;
            }
            // Where both weigh the same, no other weight tells more.
            let next = match short {
                Some((cost, hops)) => {
                    slope(cost.saturating_sub(long.0), long.1.saturating_sub(hops))
                }
                None => per_hop.saturating_mul(3).min(HEAVIEST),
            };
            if next == per_hop {
                break;
            }
            per_hop = next;
        }
        per_hop
    }
}

/// What each of `hops` edges weighs if all together cost so much.
fn slope(cost: u64, hops: usize) -> u64 {
    let per_hop = (u128::from(cost) << 8) / (hops.max(1) as u128);
    u64::try_from(per_hop)
        .unwrap_or(HEAVIEST)
        .clamp(1, HEAVIEST)
}

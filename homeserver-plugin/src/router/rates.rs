//! Who exchanges which units at which rates, as they publish it: in memory, to be asked.

use std::collections::{BTreeMap, HashMap};

use atomicity_ledger::record::{Rate, Rates};
use atomicity_ledger::{Amount, Timestamp, Unit, UserKey};
use atomicity_routing::Rate as Offered;

/// The most who exchange the same units that one question is about: those with the best rates.
const MOST_OFFERS: usize = 4_096;

/// What is taken, and what is given for it.
type Units = (Unit, Unit);

/// Everybody who exchanges.
#[derive(Debug, Default)]
pub struct Exchangers {
    between: HashMap<Units, BTreeMap<UserKey, (Rate, Timestamp)>>,
    of: HashMap<UserKey, Vec<Units>>,
}

impl Exchangers {
    /// Takes in what somebody publishes, in place of all they published before. Units of which `knows` says no are left out.
    pub fn put(&mut self, rates: &Rates, expires: Timestamp, mut knows: impl FnMut(&Unit) -> bool) {
        self.remove(&rates.from);
        let mut of = Vec::new();
        for rate in &rates.rates {
            if !knows(&rate.take) || !knows(&rate.give) {
                continue;
            }
            let units = (rate.take.clone(), rate.give.clone());
            let offers = self.between.entry(units.clone()).or_default();
            offers.insert(rates.from, (rate.clone(), expires));
            of.push(units);
        }
        if !of.is_empty() {
            self.of.insert(rates.from, of);
        }
    }

    /// Takes out what somebody published.
    pub fn remove(&mut self, user: &UserKey) {
        for units in self.of.remove(user).into_iter().flatten() {
            if let Some(offers) = self.between.get_mut(&units) {
                offers.remove(user);
                if offers.is_empty() {
                    self.between.remove(&units);
                }
            }
        }
    }

    /// Takes out what has expired; how many are gone.
    pub fn purge(&mut self, now: Timestamp) -> usize {
        let offers = self.between.values().flatten();
        let ended = offers.filter(|(_, (_, expires))| *expires <= now);
        let mut users: Vec<UserKey> = ended.map(|(user, _)| *user).collect();
        users.sort_unstable();
        users.dedup();
        for user in &users {
            self.remove(user);
        }
        users.len()
    }

    /// All units that somebody exchanges.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.between.keys().flat_map(|(take, give)| [take, give])
    }

    /// Who gives `amount` of `give` for `take`, or only `via`: those with the best rates.
    pub fn offers(
        &self,
        (take, give): (&Unit, &Unit),
        amount: Amount,
        via: Option<UserKey>,
        now: Timestamp,
    ) -> Vec<Offered> {
        let Some(offers) = self.between.get(&(take.clone(), give.clone())) else {
            return Vec::new();
        };
        let fits = |(user, (rate, expires)): &(&UserKey, &(Rate, Timestamp))| {
            *expires > now && rate.max >= amount && via.is_none_or(|via| via == **user)
        };
        let offered = offers.iter().filter(fits).filter_map(|(by, (rate, _))| {
            let offered = Offered {
                by: *by,
                num: rate.num,
                den: rate.den,
                max: rate.max,
            };
            Some((rate.taken(amount).ok()?, offered))
        });
        let mut all: Vec<(Amount, Offered)> = offered.collect();
        if all.len() > MOST_OFFERS {
            all.select_nth_unstable_by_key(MOST_OFFERS, |(asked, _)| *asked);
            all.truncate(MOST_OFFERS);
        }
        all.into_iter().map(|(_, offered)| offered).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::Keypair;
    use serde_json::{Value, json};

    use super::*;

    fn key(n: u8) -> UserKey {
        Keypair::from_secret(&[n; 32]).user_key()
    }

    fn unit(text: &str) -> Unit {
        text.parse().unwrap()
    }

    fn rates(from: u8, list: &[(&str, &str, u64)]) -> Rates {
        let rate = |(take, give, num): &(&str, &str, u64)| -> Value {
            json!({"take": take, "give": give, "num": num.to_string(), "den": "100", "max": "1000"})
        };
        let list: Vec<Value> = list.iter().map(rate).collect();
        serde_json::from_value(json!({
            "v": 1, "from": key(from), "serial": 1, "rates": list, "expires": 9, "at": 1,
        }))
        .unwrap()
    }

    fn time(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    #[test]
    fn a_newer_record_takes_the_place_of_all_that_was_said_before() {
        let mut known = Exchangers::default();
        let by = |known: &Exchangers, take: &str, give: &str| -> Vec<UserKey> {
            let units = (&unit(take), &unit(give));
            let amount = Amount::from_minor(1_000).unwrap();
            let offers = known.offers(units, amount, None, time(5));
            offers.iter().map(|offer| offer.by).collect()
        };
        let all = |_: &Unit| true;
        known.put(&rates(1, &[("A", "B", 100), ("B", "A", 90)]), time(50), all);
        known.put(&rates(2, &[("A", "B", 200)]), time(40), all);
        known.put(&rates(3, &[("A", "B", 200)]), time(5), all);
        assert_eq!(by(&known, "A", "B").len(), 2);
        assert_eq!(by(&known, "B", "A"), [key(1)]);
        known.put(&rates(1, &[("B", "A", 80)]), time(50), all);
        assert_eq!(by(&known, "A", "B"), [key(2)]);
        // Units that are one too many.
        known.put(
            &rates(1, &[("A", "B", 80), ("A", "C", 80)]),
            time(50),
            |u| *u != unit("C"),
        );
        assert!(by(&known, "A", "C").is_empty() && by(&known, "A", "B").len() == 2);
        assert_eq!((known.purge(time(5)), known.purge(time(40))), (1, 1));
        assert_eq!(by(&known, "A", "B"), [key(1)]);
        known.remove(&key(1));
        known.remove(&key(9));
        assert_eq!(known.units().count(), 0);
    }

    #[test]
    fn who_gives_too_little_or_is_not_meant_is_left_out() {
        let mut known = Exchangers::default();
        known.put(&rates(1, &[("A", "B", 100)]), time(50), |_| true);
        known.put(&rates(2, &[("A", "B", u64::MAX >> 1)]), time(50), |_| true);
        let (a, b) = (unit("A"), unit("B"));
        let count = |minor, via| {
            let amount = Amount::from_minor(minor).unwrap();
            known.offers((&a, &b), amount, via, time(5)).len()
        };
        // What the other asks is above the largest amount.
        assert_eq!((count(1_000, None), count(1_001, None)), (1, 0));
        assert_eq!((count(1, None), count(1, Some(key(2)))), (2, 1));
        assert_eq!(count(1, Some(key(3))), 0);
    }
}

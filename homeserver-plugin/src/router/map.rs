//! The graph in memory, shared by those who change it and those who ask it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use atomicity_ledger::record::{Advert, Rates};
use atomicity_ledger::{Seq, Timestamp, Total, Unit, UserKey};
use atomicity_routing::{Advert as Published, Debt, Debts, Graph, GraphSize, Offer};

use super::rates::Exchangers;

/// Most units that are told apart. Each costs memory of its own, and names are free.
const MAX_UNITS: usize = 20_000;

/// How long a count of everything is good enough.
const COUNTED_FOR: Duration = Duration::from_secs(1);

/// All published channels. Changes take microseconds, so nobody waits long for the lock.
#[derive(Debug, Default)]
pub struct Map {
    inner: RwLock<Inner>,
    /// Counting goes through everything.
    counted: Mutex<Option<(Instant, GraphSize)>>,
}

#[derive(Debug, Default)]
struct Inner {
    graph: Graph,
    /// What people agree to have cleared.
    debts: Debts,
    exchangers: Exchangers,
    units: HashSet<Unit>,
}

/// The graph, to be asked.
pub struct Reading<'a>(RwLockReadGuard<'a, Inner>);

impl std::ops::Deref for Reading<'_> {
    type Target = Graph;

    fn deref(&self) -> &Graph {
        &self.0.graph
    }
}

impl Reading<'_> {
    /// The debts that people agree to have cleared.
    #[must_use]
    pub fn debts(&self) -> &Debts {
        &self.0.debts
    }

    /// Who exchanges units.
    #[must_use]
    pub fn exchangers(&self) -> &Exchangers {
        &self.0.exchangers
    }
}

fn seq_of(advert: &Advert) -> Seq {
    Seq::new(advert.serial.get()).unwrap_or(Seq::ZERO)
}

/// What one advertisement says of ways to pay, unit by unit.
fn published(advert: &Advert, expires: Timestamp, most: usize) -> impl Iterator<Item = Published> {
    let seq = seq_of(advert);
    let units = advert.units.iter().take(most);
    let pays = units.filter(|unit| unit.send.is_some() || unit.receive.is_some());
    pays.map(move |unit| Published {
        from: advert.from,
        to: advert.to,
        unit: unit.unit.clone(),
        seq,
        send: unit.send.as_ref().map(|offer| Offer {
            capacity: offer.capacity,
            min: Total::from_minor(offer.min.minor()).unwrap_or(Total::ZERO),
            base_fee: offer.base,
            ppm: offer.ppm,
        }),
        receive: unit.receive.as_ref().map(|intake| intake.capacity),
        expires,
    })
}

/// What it says of debts.
fn debts(advert: &Advert, expires: Timestamp, most: usize) -> impl Iterator<Item = (&Unit, Debt)> {
    let seq = seq_of(advert);
    advert.units.iter().take(most).filter_map(move |unit| {
        let debt = Debt {
            from: advert.from,
            to: advert.to,
            seq,
            clears: unit.clears?,
            expires,
        };
        Some((&unit.unit, debt))
    })
}

impl Inner {
    /// Whether a unit is told apart, or may be from now on.
    fn knows(&mut self, unit: &Unit) -> bool {
        if self.units.contains(unit) {
            return true;
        }
        self.units.len() < MAX_UNITS && self.units.insert(unit.clone())
    }

    fn put_rates(&mut self, rates: &Rates, expires: Timestamp) {
        let mut exchangers = std::mem::take(&mut self.exchangers);
        exchangers.put(rates, expires, |unit| self.knows(unit));
        self.exchangers = exchangers;
    }

    fn take_out(&mut self, advert: &Advert) {
        for unit in &advert.units {
            self.graph.remove(&advert.from, &advert.to, &unit.unit);
            self.debts.remove(&advert.from, &advert.to, &unit.unit);
        }
    }
}

impl Map {
    /// The graph, to be asked.
    pub fn read(&self) -> Reading<'_> {
        Reading(self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an advertisement in, in place of what `before` said.
    pub fn put(
        &self,
        advert: &Advert,
        before: Option<&Advert>,
        expires: Timestamp,
        most_units: usize,
    ) {
        let mut inner = self.write();
        if let Some(before) = before {
            inner.take_out(before);
        }
        // It was checked when it was read: nobody advertises a channel to themselves.
        for one in published(advert, expires, most_units) {
            if inner.knows(&one.unit) {
                let _ = inner.graph.apply(&one);
            }
        }
        for (unit, debt) in debts(advert, expires, most_units) {
            if inner.knows(unit) {
                let _ = inner.debts.apply(unit, &debt);
            }
        }
    }

    /// Takes an advertisement out.
    pub fn withdraw(&self, advert: &Advert) {
        self.write().take_out(advert);
    }

    /// Takes the rates of a user in, in place of all that they published about them before.
    pub fn put_rates(&self, rates: &Rates, expires: Timestamp) {
        self.write().put_rates(rates, expires);
    }

    /// Takes the rates of a user out.
    pub fn withdraw_rates(&self, user: &UserKey) {
        self.write().exchangers.remove(user);
    }

    /// Takes out all that `user` published.
    pub fn forget(&self, user: &UserKey) {
        let mut inner = self.write();
        inner.graph.remove_user(user);
        inner.debts.remove_user(user);
        inner.exchangers.remove(user);
    }

    /// Takes out what has expired.
    pub fn purge(&self, now: Timestamp) -> usize {
        let mut inner = self.write();
        let gone = inner.graph.purge(now) + inner.debts.purge(now) + inner.exchangers.purge(now);
        let units = inner.graph.units().chain(inner.debts.units());
        let units = units.chain(inner.exchangers.units());
        inner.units = units.cloned().collect();
        gone
    }

    /// Frees the memory of those about whom nothing is published any more.
    pub fn compact(&self) {
        let mut inner = self.write();
        inner.graph = inner.graph.compacted();
        inner.debts = inner.debts.compacted();
    }

    /// How large the graph is, over all units; up to a second old. A user counts once for each unit.
    #[must_use]
    pub fn size(&self) -> GraphSize {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        match *counted {
            Some((at, size)) if at.elapsed() < COUNTED_FOR => size,
            _ => {
                let size = self.count();
                *counted = Some((Instant::now(), size));
                size
            }
        }
    }

    fn count(&self) -> GraphSize {
        let graph = self.read();
        let units: Vec<Unit> = graph.units().cloned().collect();
        let mut all = GraphSize::default();
        for unit in &units {
            let one = graph.size(unit);
            all.users = all.users.saturating_add(one.users);
            all.adverts = all.adverts.saturating_add(one.adverts);
            all.edges = all.edges.saturating_add(one.edges);
            all.bytes = all.bytes.saturating_add(one.bytes);
        }
        all
    }

    /// Whether a direction is published by both ends.
    #[must_use]
    pub fn has_edge(&self, from: &UserKey, to: &UserKey, unit: &Unit) -> bool {
        self.read().edge(from, to, unit).is_some()
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

    fn advert(from: u8, to: u8, serial: u64, units: &[&str]) -> Advert {
        let unit = |unit: &&str| -> Value {
            json!({"unit": unit, "send": {"capacity": "10", "min": "1", "base": "0", "ppm": 0}, "receive": {"capacity": "10"}})
        };
        let units: Vec<Value> = units.iter().map(unit).collect();
        serde_json::from_value(json!({
            "v": 1, "from": key(from), "to": key(to), "serial": serial, "units": units, "max_deadline_s": 1, "expires": 9, "at": 1,
        }))
        .unwrap()
    }

    fn time(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    #[test]
    fn a_newer_advertisement_takes_the_place_of_the_whole_older_one() {
        let map = Map::default();
        let bread: Unit = "BREAD/2".parse().unwrap();
        let hour: Unit = "HOUR".parse().unwrap();
        let first = advert(1, 2, 1, &["BREAD/2", "HOUR"]);
        map.put(&first, None, time(100), 16);
        map.put(&advert(2, 1, 1, &["BREAD/2", "HOUR"]), None, time(100), 16);
        assert!(map.has_edge(&key(1), &key(2), &bread) && map.has_edge(&key(1), &key(2), &hour));
        let second = advert(1, 2, 2, &["HOUR"]);
        map.put(&second, Some(&first), time(100), 16);
        assert!(!map.has_edge(&key(1), &key(2), &bread));
        assert!(map.has_edge(&key(1), &key(2), &hour));
        map.withdraw(&second);
        assert!(!map.has_edge(&key(1), &key(2), &hour));
        // What is unknown is taken out without harm.
        map.withdraw(&advert(7, 8, 1, &["COFFEE"]));
        map.forget(&key(9));
        assert_eq!(map.count().adverts, 2);
    }

    #[test]
    fn debts_to_be_cleared_come_and_go_with_the_advertisement() {
        let map = Map::default();
        let hour: Unit = "HOUR".parse().unwrap();
        let says = |from: u8, to: u8, serial: u64, clears: Value| -> Advert {
            let unit = json!({"unit": "HOUR", "clears": clears});
            let mut value = serde_json::to_value(advert(from, to, serial, &[])).unwrap();
            value["units"] = json!([unit]);
            serde_json::from_value(value).unwrap()
        };
        let wide = |map: &Map| {
            let reading = map.read();
            reading.debts().edge(&key(1), &key(2), &hour, time(1))
        };
        let first = says(1, 2, 1, json!({"owed": "50"}));
        map.put(&first, None, time(100), 16);
        map.put(&says(2, 1, 1, json!({"owes": "20"})), None, time(90), 16);
        assert_eq!(wide(&map), Some(20));
        // No way to pay comes from that.
        assert!(!map.has_edge(&key(1), &key(2), &hour) && map.count().adverts == 0);
        let second = advert(1, 2, 2, &["HOUR"]);
        map.put(&second, Some(&first), time(100), 16);
        assert_eq!(wide(&map), None);
        map.put(&first, Some(&second), time(100), 16);
        assert_eq!(wide(&map), Some(20));
        map.compact();
        assert_eq!((map.purge(time(89)), wide(&map)), (0, Some(20)));
        assert_eq!((map.purge(time(90)), wide(&map)), (1, None));
        map.forget(&key(1));
        assert!(map.read().debts().is_empty());
    }

    #[test]
    fn units_are_cut_off_and_what_expired_goes() {
        let map = Map::default();
        map.put(&advert(1, 2, 1, &["A", "B", "C"]), None, time(50), 2);
        map.put(&advert(2, 1, 1, &["A", "B", "C"]), None, time(100), 16);
        assert_eq!((map.count().adverts, map.count().edges), (5, 4));
        assert_eq!(map.purge(time(50)), 2);
        assert_eq!((map.count().adverts, map.count().edges), (3, 0));
        map.compact();
        map.forget(&key(2));
        assert_eq!(map.count().adverts, 0);
    }
}

//! The graph in memory, shared by those who change it and those who ask it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use atomicity_ledger::record::Advert;
use atomicity_ledger::{Seq, Timestamp, Total, Unit, UserKey};
use atomicity_routing::{Advert as Published, Graph, GraphSize, Offer};

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

/// What one advertisement says, unit by unit.
fn published(advert: &Advert, expires: Timestamp, most: usize) -> impl Iterator<Item = Published> {
    let seq = Seq::new(advert.serial.get()).unwrap_or(Seq::ZERO);
    advert.units.iter().take(most).map(move |unit| Published {
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
        for unit in before.into_iter().flat_map(|before| &before.units) {
            inner.graph.remove(&advert.from, &advert.to, &unit.unit);
        }
        for one in published(advert, expires, most_units) {
            if !inner.units.contains(&one.unit) {
                if inner.units.len() >= MAX_UNITS {
                    continue;
                }
                inner.units.insert(one.unit.clone());
            }
            // It was checked when it was read: nobody advertises a channel to themselves.
            let _ = inner.graph.apply(&one);
        }
    }

    /// Takes an advertisement out.
    pub fn withdraw(&self, advert: &Advert) {
        let graph = &mut self.write().graph;
        for unit in &advert.units {
            graph.remove(&advert.from, &advert.to, &unit.unit);
        }
    }

    /// Takes out all that `user` published.
    pub fn forget(&self, user: &UserKey) {
        self.write().graph.remove_user(user);
    }

    /// Takes out what has expired.
    pub fn purge(&self, now: Timestamp) -> usize {
        let mut inner = self.write();
        let gone = inner.graph.purge(now);
        inner.units = inner.graph.units().cloned().collect();
        gone
    }

    /// Frees the memory of those about whom nothing is published any more.
    pub fn compact(&self) {
        let mut inner = self.write();
        inner.graph = inner.graph.compacted();
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

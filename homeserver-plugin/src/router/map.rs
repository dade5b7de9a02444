//! The graph in memory, shared by those who change it and those who ask it.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use atomicity_ledger::record::Advert;
use atomicity_ledger::{Seq, Timestamp, Total, Unit, UserKey};
use atomicity_routing::{Advert as Published, Graph, GraphSize, Offer};

/// Most units that are told apart. Each costs memory of its own, and names are free.
const MAX_UNITS: usize = 20_000;

/// All published channels. Changes take microseconds, so nobody waits long for the lock.
#[derive(Debug, Default)]
pub struct Map(RwLock<Graph>);

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
    pub fn read(&self) -> RwLockReadGuard<'_, Graph> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Graph> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an advertisement in, in place of what `before` said.
    pub fn put(
        &self,
        advert: &Advert,
        before: Option<&Advert>,
        expires: Timestamp,
        most_units: usize,
    ) {
        let mut graph = self.write();
        for unit in before.into_iter().flat_map(|before| &before.units) {
            graph.remove(&advert.from, &advert.to, &unit.unit);
        }
        for one in published(advert, expires, most_units) {
            let is_new = graph.size(&one.unit).adverts == 0;
            if is_new && graph.units().count() >= MAX_UNITS {
                continue;
            }
            // It was checked when it was read: nobody advertises a channel to themselves.
            let _ = graph.apply(&one);
        }
    }

    /// Takes an advertisement out.
    pub fn withdraw(&self, advert: &Advert) {
        let mut graph = self.write();
        for unit in &advert.units {
            graph.remove(&advert.from, &advert.to, &unit.unit);
        }
    }

    /// Takes out all that `user` published.
    pub fn forget(&self, user: &UserKey) {
        self.write().remove_user(user);
    }

    /// Takes out what has expired.
    pub fn purge(&self, now: Timestamp) -> usize {
        self.write().purge(now)
    }

    /// Frees the memory of those about whom nothing is published any more.
    pub fn compact(&self) {
        let mut graph = self.write();
        *graph = graph.compacted();
    }

    /// How large the graph is, over all units. A user counts once for each unit.
    #[must_use]
    pub fn size(&self) -> GraphSize {
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

//! What users publish about their channels, unit by unit.

use std::collections::BTreeMap;

use atomicity_ledger::{Amount, Seq, Timestamp, Total, Unit, UserKey};

use crate::error::RouteError;
use crate::unit_graph::{Half, UnitGraph};

/// What one end of a channel offers to send on to the other, and for how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The most that one payment may send, in minor units: a coarse figure that is published as payable.
    pub capacity: Amount,
    /// The least that one payment may send, in minor units.
    pub min: Total,
    /// Fee per payment, in minor units.
    pub base_fee: Total,
    /// Fee in millionths of what is sent on, rounded up.
    pub ppm: u32,
}

/// What one user publishes about its channel to one peer in one unit. A later `seq` replaces what was published before; without
/// an offer and without agreement to receive it withdraws the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Who publishes it.
    pub from: UserKey,
    /// The other end of the channel.
    pub to: UserKey,
    /// In which unit.
    pub unit: Unit,
    /// Orders what `from` publishes about `to`.
    pub seq: Seq,
    /// What `from` sends on to `to`, if it does.
    pub send: Option<Offer>,
    /// What `from` takes from `to` at most, in minor units, if it does.
    pub receive: Option<Amount>,
    /// From this instant on it counts no more.
    pub expires: Timestamp,
}

/// What became of an advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// It is what counts now.
    Taken,
    /// One with the same or a later `seq` is held.
    Stale,
    /// It withdraws what nobody knows here.
    Nothing,
}

/// How large a graph is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct GraphSize {
    /// Users that published something or that somebody published something about.
    pub users: usize,
    /// Adverts held, withdrawals among them.
    pub adverts: usize,
    /// Directions that both ends publish, expired ones among them until they are purged.
    pub edges: usize,
    /// Bytes of memory, in all.
    pub bytes: usize,
}

/// All published channels that are known here. Units do not touch each other.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    units: BTreeMap<Unit, UnitGraph>,
    /// Stands in for units that nobody publishes anything in.
    none: UnitGraph,
}

impl Graph {
    /// An empty graph.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an advert. It takes microseconds, whatever the size of the graph. To withdraw something in a unit that is unknown
    /// here does nothing.
    ///
    /// # Errors
    /// [`RouteError::EdgeToOneself`].
    pub fn apply(&mut self, advert: &Advert) -> Result<Applied, RouteError> {
        if advert.from == advert.to {
            return Err(RouteError::EdgeToOneself);
        }
        let withdraws = advert.send.is_none() && advert.receive.is_none();
        let unit = match self.units.get_mut(&advert.unit) {
            Some(unit) => unit,
            None if withdraws => return Ok(Applied::Nothing),
            None => self.units.entry(advert.unit.clone()).or_default(),
        };
        Ok(unit.apply(&advert.from, &advert.to, |to| {
            Half::new(to, advert.seq, advert.expires, advert.send, advert.receive)
        }))
    }

    /// Forgets what `from` published about `to` in a unit, whatever its `seq`. Returns whether there was anything.
    pub fn remove(&mut self, from: &UserKey, to: &UserKey, unit: &Unit) -> bool {
        let Some(graph) = self.units.get_mut(unit) else {
            return false;
        };
        match (graph.id(from), graph.id(to)) {
            (Some(from), Some(to)) => graph.remove(from, to),
            _ => false,
        }
    }

    /// Forgets everything that one user published, in all units, and nothing that others did. Returns how many adverts it were.
    pub fn remove_user(&mut self, user: &UserKey) -> usize {
        let mut removed = 0;
        for graph in self.units.values_mut() {
            let Some(id) = graph.id(user) else { continue };
            let peers: Vec<u32> = graph.halves_of(id).iter().map(|half| half.peer).collect();
            removed += peers
                .into_iter()
                .filter(|peer| graph.remove(id, *peer))
                .count();
        }
        removed
    }

    /// Forgets every advert that has expired at `now`. Returns how many. Cost grows with the graph; questions ignore what has
    /// expired in any case.
    pub fn purge(&mut self, now: Timestamp) -> usize {
        let mut removed = 0;
        for graph in self.units.values_mut() {
            let expired = |(from, half): (u32, &Half)| {
                (half.expires <= now.millis()).then_some((from, half.peer))
            };
            let gone: Vec<(u32, u32)> = graph.halves().filter_map(expired).collect();
            removed += gone
                .into_iter()
                .filter(|(from, to)| graph.remove(*from, *to))
                .count();
        }
        self.units.retain(|_, graph| graph.size().adverts > 0);
        removed
    }

    /// The same graph without memory of users about whom nothing is published any more. Cost grows with the graph.
    #[must_use]
    pub fn compacted(&self) -> Self {
        let mut fresh = Self::new();
        for (unit, graph) in &self.units {
            let mut copy = UnitGraph::default();
            for (from, half) in graph.halves() {
                if let (Some(from), Some(to)) = (graph.key(from), graph.key(half.peer)) {
                    copy.apply(&from, &to, |peer| Half { peer, ..*half });
                }
            }
            fresh.units.insert(unit.clone(), copy);
        }
        fresh
    }

    /// Every advert that is held, withdrawals among them: what is written to disk.
    pub fn adverts(&self) -> impl Iterator<Item = Advert> {
        self.units.iter().flat_map(|(unit, graph)| {
            graph.halves().filter_map(move |(from, half)| {
                Some(Advert {
                    from: graph.key(from)?,
                    to: graph.key(half.peer)?,
                    unit: unit.clone(),
                    seq: Seq::new(half.seq).ok()?,
                    send: half.offer(),
                    receive: Amount::from_minor(half.receive).ok(),
                    expires: Timestamp::saturating_from_millis(half.expires),
                })
            })
        })
    }

    /// The offer that stands behind a direction that both ends publish, with the smaller capacity and the earlier expiry.
    #[must_use]
    pub fn edge(&self, from: &UserKey, to: &UserKey, unit: &Unit) -> Option<(Offer, Timestamp)> {
        let graph = self.units.get(unit)?;
        let edge = graph.edge(graph.id(from)?, graph.id(to)?)?;
        let offer = Offer {
            capacity: Amount::from_minor(edge.cap).ok()?,
            min: Total::from_minor(edge.min).ok()?,
            base_fee: Total::from_minor(edge.base).ok()?,
            ppm: edge.ppm,
        };
        Some((offer, Timestamp::saturating_from_millis(edge.expires)))
    }

    /// Those about whom a user publishes a channel in a unit; expired ones among them until they are purged.
    pub fn peers<'a>(
        &'a self,
        user: &UserKey,
        unit: &Unit,
    ) -> impl Iterator<Item = UserKey> + use<'a> {
        let graph = self.units.get(unit);
        let found = graph.and_then(|graph| Some((graph, graph.id(user)?)));
        found.into_iter().flat_map(|(graph, id)| {
            let halves = graph.halves_of(id).iter();
            halves.filter_map(|half| graph.key(half.peer))
        })
    }

    /// The units in which something is published.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.units.keys()
    }

    /// How large the graph of one unit is.
    #[must_use]
    pub fn size(&self, unit: &Unit) -> GraphSize {
        self.units
            .get(unit)
            .map(UnitGraph::size)
            .unwrap_or_default()
    }

    /// The graph of a unit, empty if it is unknown.
    pub(crate) fn unit(&self, unit: &Unit) -> &UnitGraph {
        self.units.get(unit).unwrap_or(&self.none)
    }
}

//! Questions: who wants to pay whom how much, and within which limits.

use atomicity_ledger::{Amount, Timestamp, Total, Unit, UserKey};

use crate::error::RouteError;
use crate::graph::Graph;
use crate::unit_graph::{Crossing, Edge, UnitGraph};

/// Edges on a route unless a request says otherwise.
pub const DEFAULT_MAX_HOPS: usize = 10;
/// The largest number of edges that a request may allow.
pub const MAX_HOPS: usize = 32;
/// The largest number of parts, alternatives or circles that a request may ask for.
pub const MAX_PARTS: usize = 32;

/// A channel of the payer, as only the payer knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstHop {
    /// The friend at its other end.
    pub to: UserKey,
    /// What the payer can send at most, in minor units.
    pub capacity: Amount,
    /// What it must send at least, in minor units.
    pub min: Total,
}

/// An edge that is not published but that somebody vouches for, as an invoice does for the last hops. It takes the place of a
/// published one between the same users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Who sends over it, and takes the fee.
    pub from: UserKey,
    /// Who receives.
    pub to: UserKey,
    /// The most it takes, in minor units.
    pub capacity: Amount,
    /// The least it takes, in minor units.
    pub min: Total,
    /// Fee per payment, in minor units.
    pub base_fee: Total,
    /// Fee in millionths of what is sent on, rounded up.
    pub ppm: u32,
}

/// Who wants to pay whom how much, and within which limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The payer.
    pub from: UserKey,
    /// The payee; the payer itself where circles are asked for.
    pub to: UserKey,
    /// In which unit.
    pub unit: Unit,
    /// What the payee is to get.
    pub amount: Amount,
    /// The most that all hops together may take, over all parts.
    pub max_fee: Total,
    /// The largest number of edges on a route, at most [`MAX_HOPS`].
    pub max_hops: usize,
    /// Users that must not be on a route. Payer and payee are never avoided.
    pub avoid_nodes: Vec<UserKey>,
    /// Directed edges that must not be on a route.
    pub avoid_edges: Vec<(UserKey, UserKey)>,
    /// The payer's own channels. If given, they take the place of all that the payer publishes.
    pub first_hops: Option<Vec<FirstHop>>,
    /// Edges that are not published.
    pub hints: Vec<Hint>,
    /// A user that must be on the route.
    pub via: Option<UserKey>,
    /// Into how many parts [`crate::split`] may divide the amount, at most [`MAX_PARTS`].
    pub max_parts: usize,
    /// How many steps the answer may take in all: edges looked at, and ways taken up again. What is found until then is the answer,
    /// and says that it may not be the cheapest; without anything found it is [`RouteError::GaveUp`].
    pub max_steps: u64,
    /// The present time: what has expired does not count.
    pub now: Timestamp,
}

impl Request {
    /// A request without other limits than [`DEFAULT_MAX_HOPS`] and [`MAX_PARTS`].
    #[must_use]
    pub fn new(from: UserKey, to: UserKey, unit: Unit, amount: Amount, now: Timestamp) -> Self {
        Self {
            from,
            to,
            unit,
            amount,
            max_fee: Total::MAX,
            max_hops: DEFAULT_MAX_HOPS,
            avoid_nodes: Vec::new(),
            avoid_edges: Vec::new(),
            first_hops: None,
            hints: Vec::new(),
            via: None,
            max_parts: MAX_PARTS,
            max_steps: u64::MAX,
            now,
        }
    }
}

/// What is taken from edges for the duration of a question, by `from` and `to`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken(Vec<(u64, u64)>);

/// An edge that must not be used.
const ALL: u64 = u64::MAX;

impl Taken {
    fn key(from: u32, to: u32) -> u64 {
        u64::from(from) << 32 | u64::from(to)
    }

    /// How much of an edge is taken.
    pub(crate) fn of(&self, from: u32, to: u32) -> u64 {
        if self.0.is_empty() {
            return 0;
        }
        let at = self
            .0
            .binary_search_by_key(&Self::key(from, to), |entry| entry.0);
        at.ok()
            .and_then(|at| self.0.get(at))
            .map_or(0, |entry| entry.1)
    }

    /// Whether nothing is taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes some more.
    pub(crate) fn add(&mut self, from: u32, to: u32, amount: u64) {
        let key = Self::key(from, to);
        match self.0.binary_search_by_key(&key, |entry| entry.0) {
            Ok(at) => {
                if let Some(entry) = self.0.get_mut(at) {
                    entry.1 = entry.1.saturating_add(amount);
                }
            }
            Err(at) => self.0.insert(at, (key, amount)),
        }
    }

    /// Takes the whole edge.
    pub(crate) fn add_all(&mut self, from: u32, to: u32) {
        self.add(from, to, ALL);
    }
}

/// A request with users as numbers, and everything in it that differs from the graph.
#[derive(Clone, Debug)]
pub(crate) struct Prepared<'a> {
    pub(crate) graph: &'a UnitGraph,
    /// Users that only the request knows; their numbers follow those of the graph.
    extra: Vec<UserKey>,
    /// Edges that only the request knows: from, to.
    hints: Vec<(u32, u32, Edge)>,
    /// Those of them that don't begin at the payer: to, from.
    hints_into: Vec<(u32, u32, Edge)>,
    /// The payer's published edges don't count.
    pub(crate) own_first: bool,
    pub(crate) taken: Taken,
    /// Users to avoid, sorted.
    pub(crate) blocked: Vec<u32>,
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) via: Option<u32>,
    pub(crate) amount: u64,
    pub(crate) now: u64,
    pub(crate) max_hops: u8,
}

impl<'a> Prepared<'a> {
    /// Looks users up and checks limits.
    pub(crate) fn new(graph: &'a Graph, request: &Request) -> Result<Self, RouteError> {
        let max_hops = u8::try_from(request.max_hops)
            .ok()
            .filter(|n| (1..=MAX_HOPS).contains(&usize::from(*n)));
        let invalid = |what, limit| RouteError::LimitInvalid { what, limit };
        let mut prepared = Self {
            graph: graph.unit(&request.unit),
            extra: Vec::new(),
            hints: Vec::new(),
            hints_into: Vec::new(),
            own_first: request.first_hops.is_some(),
            taken: Taken::default(),
            blocked: Vec::new(),
            from: 0,
            to: 0,
            via: None,
            amount: request.amount.minor(),
            now: request.now.millis(),
            max_hops: max_hops.ok_or(invalid("max_hops", MAX_HOPS))?,
        };
        if !(1..=MAX_PARTS).contains(&request.max_parts) {
            return Err(invalid("max_parts", MAX_PARTS));
        }
        prepared.add_private(request)?;
        if prepared.graph.len() == 0 && prepared.hints.is_empty() {
            return Err(RouteError::UnknownUnit);
        }
        prepared.from = prepared.id(&request.from).ok_or(RouteError::UnknownPayer)?;
        prepared.to = prepared.id(&request.to).ok_or(RouteError::UnknownPayee)?;
        if let Some(via) = request
            .via
            .filter(|via| *via != request.from && *via != request.to)
        {
            prepared.via = Some(prepared.id(&via).ok_or(RouteError::UnknownVia)?);
        }
        let into = prepared.hints.iter().filter(|hint| hint.0 != prepared.from);
        prepared.hints_into = into.map(|hint| (hint.1, hint.0, hint.2)).collect();
        prepared.hints_into.sort_by_key(|hint| (hint.0, hint.1));
        prepared.add_avoided(request)?;
        Ok(prepared)
    }

    fn add_private(&mut self, request: &Request) -> Result<(), RouteError> {
        let hint = |hint: &Hint| Edge {
            base: hint.base_fee.minor(),
            cap: hint.capacity.minor(),
            min: hint.min.minor(),
            expires: u64::MAX,
            ppm: hint.ppm,
        };
        let own_first = self.own_first;
        for private in request
            .hints
            .iter()
            .filter(|h| !own_first || h.from != request.from)
        {
            self.add_hint(&private.from, &private.to, hint(private))?;
        }
        for first in request.first_hops.iter().flatten() {
            let edge = Edge {
                base: 0,
                cap: first.capacity.minor(),
                min: first.min.minor(),
                expires: u64::MAX,
                ppm: 0,
            };
            self.add_hint(&request.from, &first.to, edge)?;
        }
        self.hints.sort_by_key(|(from, to, _)| (*from, *to));
        Ok(())
    }

    /// The last one given for a pair of users counts.
    fn add_hint(&mut self, from: &UserKey, to: &UserKey, edge: Edge) -> Result<(), RouteError> {
        if from == to {
            return Err(RouteError::EdgeToOneself);
        }
        let (from, to) = (self.intern(from), self.intern(to));
        self.hints.retain(|held| (held.0, held.1) != (from, to));
        self.hints.push((from, to, edge));
        Ok(())
    }

    fn add_avoided(&mut self, request: &Request) -> Result<(), RouteError> {
        let nodes = request.avoid_nodes.iter().filter_map(|key| self.id(key));
        self.blocked = nodes
            .filter(|id| *id != self.from && *id != self.to)
            .collect();
        self.blocked.sort_unstable();
        for (from, to) in &request.avoid_edges {
            if from == to {
                return Err(RouteError::EdgeToOneself);
            }
            if let (Some(from), Some(to)) = (self.id(from), self.id(to)) {
                self.taken.add_all(from, to);
            }
        }
        Ok(())
    }

    fn intern(&mut self, key: &UserKey) -> u32 {
        self.id(key).unwrap_or_else(|| {
            self.extra.push(*key);
            self.extra_id(self.extra.len() - 1)
        })
    }

    fn extra_id(&self, at: usize) -> u32 {
        u32::try_from(self.graph.len() + at).unwrap_or(u32::MAX)
    }

    /// The number of a user.
    pub(crate) fn id(&self, key: &UserKey) -> Option<u32> {
        let extra = || {
            self.extra
                .iter()
                .position(|held| held == key)
                .map(|at| self.extra_id(at))
        };
        self.graph.id(key).or_else(extra)
    }

    /// The user with a number.
    pub(crate) fn key(&self, id: u32) -> Option<UserKey> {
        let extra = || {
            self.extra
                .get((id as usize).checked_sub(self.graph.len())?)
                .copied()
        };
        self.graph.key(id).or_else(extra)
    }

    /// Keeps a user off every route.
    pub(crate) fn block(&mut self, id: u32) {
        if let Err(at) = self.blocked.binary_search(&id) {
            self.blocked.insert(at, id);
        }
    }

    /// Whether only what is published counts, and all of it.
    pub(crate) fn is_plain(&self) -> bool {
        !self.own_first && self.hints.is_empty() && self.blocked.is_empty() && self.taken.is_empty()
    }

    /// Whether a user is to be avoided.
    pub(crate) fn is_blocked(&self, id: u32) -> bool {
        !self.blocked.is_empty() && self.blocked.binary_search(&id).is_ok()
    }

    /// Whether only the request says what the edge is like.
    pub(crate) fn is_private(&self, from: u32, to: u32) -> bool {
        if self.own_first && from == self.from {
            return true;
        }
        !self.hints.is_empty()
            && self
                .hints
                .binary_search_by_key(&(from, to), |held| (held.0, held.1))
                .is_ok()
    }

    /// Private edges that begin at a node.
    pub(crate) fn hints_out(&self, node: u32) -> &[(u32, u32, Edge)] {
        range_of(&self.hints, node)
    }

    /// Private edges that end at a node and don't begin at the payer, the other end second.
    pub(crate) fn hints_into(&self, node: u32) -> &[(u32, u32, Edge)] {
        range_of(&self.hints_into, node)
    }

    /// The edge as it counts for this request, with what is left of its capacity.
    pub(crate) fn edge(&self, from: u32, to: u32) -> Option<Edge> {
        let hint = self
            .hints
            .binary_search_by_key(&(from, to), |held| (held.0, held.1));
        let edge = match hint {
            Ok(at) => self.hints.get(at).map(|held| held.2),
            Err(_) if self.own_first && from == self.from => None,
            Err(_) => self.graph.edge(from, to),
        };
        edge.map(|edge| self.rest(from, to, edge))
    }

    /// An edge with what is left of its capacity.
    pub(crate) fn rest(&self, from: u32, to: u32, edge: Edge) -> Edge {
        let cap = edge.cap.saturating_sub(self.taken.of(from, to));
        Edge { cap, ..edge }
    }
}

fn range_of(hints: &[(u32, u32, Edge)], node: u32) -> &[(u32, u32, Edge)] {
    let start = hints.partition_point(|hint| hint.0 < node);
    let rest = &hints[start..];
    &rest[..rest.partition_point(|hint| hint.0 == node)]
}

/// One leg of a way: from a node to a node, so that `amount` arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leg {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) amount: u64,
    /// The node it begins at forwards as well, and takes its fee.
    pub(crate) first_fee: bool,
    /// The node it ends at gets the amount exactly.
    pub(crate) exact_last: bool,
    pub(crate) max_hops: u8,
    /// All fees must stay below this.
    pub(crate) bound: u64,
}

impl Leg {
    /// The whole way.
    pub(crate) fn whole(prepared: &Prepared, bound: u64) -> Self {
        Self {
            from: prepared.from,
            to: prepared.to,
            amount: prepared.amount,
            first_fee: false,
            exact_last: true,
            max_hops: prepared.max_hops,
            bound,
        }
    }

    /// How an amount crosses the edge between two nodes of the leg.
    pub(crate) fn crossing(&self, from: u32, to: u32) -> Crossing {
        Crossing {
            exact: self.exact_last && to == self.to,
            with_fee: self.first_fee || from != self.from,
        }
    }

    /// What is sent over each edge of a path, from the first on, and what its first node needs in all.
    pub(crate) fn price(&self, prepared: &Prepared, nodes: &[u32]) -> Option<(Vec<u64>, u64)> {
        let mut needed = self.amount;
        let mut sent = Vec::with_capacity(nodes.len());
        for pair in nodes.windows(2).rev() {
            let &[from, to] = pair else { return None };
            let (over, before) =
                prepared
                    .edge(from, to)?
                    .cross(needed, prepared.now, self.crossing(from, to))?;
            sent.push(over);
            needed = before;
        }
        sent.reverse();
        Some((sent, needed))
    }
}

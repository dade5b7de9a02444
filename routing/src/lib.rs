//! Which way can A pay D? Published channels as a graph, and exact answers over it.
//!
//! Everything here is pure: no I/O, no clock, no randomness. The present time is an argument of every question.
//!
//! - A [`Graph`] takes [`Advert`]s: what one end of a channel publishes about it. A direction counts only while both ends publish
//!   it, so nobody can claim a channel with somebody who does not.
//! - A [`Request`] says who wants to pay whom how much and within which limits; [`find`] answers with the cheapest [`Route`],
//!   [`alternatives`] with several that share as little as possible, [`split`] with several that carry the amount together, and
//!   [`circles`] with round trips that clear debts.
//! - [`Debts`] are another graph: what people owe each other and agree to have cleared; [`Debts::circles`] finds circles in it.
//! - Fees accrue: who forwards over an edge takes a fee of what it sends on, so a hop far from the payee takes it of the fees
//!   behind it as well. Amounts are worked out from the payee's end, to the last minor unit.
//! - [`Route::check`] shares no code with the search and says whether a route is payable as long as the published figures are true.
//!
//! How the search works and what of it is exact is described in `docs/ROUTING.md`.

mod debts;
mod edges;
mod error;
mod exchange;
mod fan;
mod fee;
mod graph;
mod labels;
mod plans;
mod request;
mod route;
mod search;
mod split;
#[doc(hidden)]
pub mod synthetic;
mod unit_graph;
mod why;

pub use debts::{
    CircleRequest, Debt, DebtCircle, Debts, MAX_CIRCLE_EDGES, MAX_CIRCLES, MIN_CIRCLE_EDGES,
};
pub use error::RouteError;
pub use exchange::{ExchangeRequest, Exchanged, Rate, find_exchanged};
pub use graph::{Advert, Applied, Graph, GraphSize, Offer};
pub use plans::{Circle, alternatives, circles};
pub use request::{DEFAULT_MAX_HOPS, FirstHop, Hint, MAX_HOPS, MAX_PARTS, Request};
pub use route::{Hop, Route};
pub use split::{Plan, split};

pub use search::Searcher;

/// The cheapest route for a request. Whoever asks often keeps a [`Searcher`] and calls [`Searcher::find`], which reuses memory.
///
/// # Errors
/// As [`Searcher::find`].
pub fn find(graph: &Graph, request: &Request) -> Result<Route, RouteError> {
    Searcher::new().find(graph, request)
}

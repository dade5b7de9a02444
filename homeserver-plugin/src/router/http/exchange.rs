//! A way on which somebody exchanges, as an answer.

use std::collections::BTreeSet;

use atomicity_ledger::UserKey;
use atomicity_routing::{Exchanged, Route};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::store;
use super::{PartView, RouteView};
use crate::clock;
use crate::error::PluginError;
use crate::state::AppState;

/// Where units are exchanged on a way.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExchangeView {
    /// How many hops are promised `pay_unit`; the last of them exchanges, and all behind them are promised `unit`.
    pub at: usize,
    /// So many minor units of `pay_unit` are asked …
    pub num: String,
    /// … for so many of `unit`, rounded up.
    pub den: String,
    /// The most of `unit` that whoever exchanges gives in one payment, in minor units.
    pub max: String,
    /// What they signed about it.
    pub rates: String,
}

/// Everybody on it.
pub(super) fn users(found: &Exchanged) -> BTreeSet<UserKey> {
    let hops = found.before.hops().iter().chain(found.behind.hops());
    hops.map(|hop| hop.to).collect()
}

/// The answer; nothing if what whoever exchanges signed is not held any more.
pub(super) async fn view(
    state: &AppState,
    found: &Exchanged,
) -> Result<Option<RouteView>, PluginError> {
    let rates = store::rates::text(&state.pool, &found.rate.by, clock::now_ms()).await?;
    let Some(rates) = rates else { return Ok(None) };
    let hops = |route: &Route| PartView::from(route).hops;
    let (before, behind) = (hops(&found.before), hops(&found.behind));
    // What the last two take together: the fee of whoever exchanges is asked beside what is promised onward.
    let (total, amount) = (found.behind.total().minor(), found.behind.amount().minor());
    let taken = total.saturating_sub(amount);
    let part = PartView {
        amount: found.behind.amount().minor().to_string(),
        fee: taken.to_string(),
        exchange: Some(ExchangeView {
            at: before.len(),
            num: found.rate.num.minor().to_string(),
            den: found.rate.den.minor().to_string(),
            max: found.rate.max.minor().to_string(),
            rates,
        }),
        hops: before.into_iter().chain(behind).collect(),
    };
    Ok(Some(RouteView {
        fee: part.fee.clone(),
        parts: vec![part],
        exact: found.exact,
    }))
}

//! `GET /v0/me/balances` and `GET /v0/me/channels`: what the user's wallet last said about its books, for the user's own apps.
//!
//! The plugin can't read anybody's books. A wallet whose user wants it pushes a signed snapshot, and that is what is shown, with its date.

use std::collections::BTreeMap;

use atomicity_ledger::record::{Snapshot, SnapshotChannel};
use atomicity_ledger::{Signed, Unit, UserKey};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Caller;
use crate::db::snapshots;
use crate::error::PluginError;
use crate::http::etag;
use crate::http::extract::QueryParams;
use crate::problem::Problem;
use crate::state::AppState;

const DEFAULT_LIMIT: u16 = 100;
const MAX_LIMIT: u16 = 256;

/// Totals of the caller, one for each unit.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Balances {
    /// When the wallet made the snapshot, by its clock, Unix ms.
    pub as_of: u64,
    /// When it arrived here, Unix ms.
    pub stored_at: i64,
    /// The key that signed it, z-base-32.
    pub signed_by: String,
    /// One for each unit, by unit.
    pub balances: Vec<UnitBalance>,
}

/// What the caller is owed and owes in one unit, over all friends.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnitBalance {
    /// The unit.
    #[schema(example = "BREAD/2")]
    pub unit: String,
    /// What all friends together owe the caller, less what the caller owes them, in minor units; may be negative.
    #[schema(example = "-250")]
    pub net: String,
    /// The positive part.
    #[schema(example = "100")]
    pub owed_to_me: String,
    /// The negative part, without its sign.
    #[schema(example = "350")]
    pub owed_by_me: String,
    /// How many channels there are in this unit.
    pub channels: u32,
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Continue after this: the `next` of the page before.
    #[serde(default)]
    pub after: Option<String>,
    /// How many at most, 1 to 256.
    #[serde(default)]
    #[param(minimum = 1, maximum = 256, default = 100)]
    pub limit: Option<u16>,
}

/// A page of channels.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ChannelsPage {
    /// When the wallet made the snapshot, by its clock, Unix ms. If it changes between two pages, begin again.
    pub as_of: u64,
    /// When it arrived here, Unix ms.
    pub stored_at: i64,
    /// The key that signed it, z-base-32.
    pub signed_by: String,
    /// The channels, by friend and unit.
    pub channels: Vec<ChannelView>,
    /// What to send as `after` for the next page; absent at the end.
    pub next: Option<String>,
}

/// One friend and one unit.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelView {
    /// The friend's key, z-base-32.
    pub peer: String,
    /// The unit.
    #[schema(example = "BREAD/2")]
    pub unit: String,
    /// What the friend owes the caller, in minor units; negative if the caller owes.
    #[schema(example = "-200")]
    pub balance: String,
    /// How much the caller lets the friend owe.
    #[schema(example = "500")]
    pub accept: String,
    /// How much the friend lets the caller owe.
    #[schema(example = "300")]
    pub accepted_by_peer: String,
    /// Whether the friend's records contradict each other, so that nothing more is taken.
    pub frozen: bool,
}

impl From<&SnapshotChannel> for ChannelView {
    fn from(channel: &SnapshotChannel) -> Self {
        Self {
            peer: channel.peer.to_z32(),
            unit: channel.unit.to_string(),
            balance: channel.balance.minor().to_string(),
            accept: channel.accept.minor().to_string(),
            accepted_by_peer: channel.accepted_by_peer.minor().to_string(),
            frozen: channel.frozen,
        }
    }
}

/// What you are owed and what you owe, unit by unit.
///
/// From the newest snapshot that your wallet pushed; `as_of` says of when. The wallet signed it, and the signature was checked.
#[utoipa::path(
    get,
    path = "/v0/me/balances",
    tag = "credit",
    security(("session" = [])),
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of what you hold")),
    responses(
        (status = 200, body = Balances, description = "The totals"),
        (status = 304, description = "What you hold is still right"),
        (status = 401, body = Problem, content_type = "application/problem+json", description = "`session_invalid`"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`no_snapshot`: your wallet pushes none"),
    )
)]
pub async fn balances(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, PluginError> {
    let held = load(&state, &caller.user).await?;
    let answer = Balances {
        as_of: held.snapshot.record().at.millis(),
        stored_at: held.stored_at,
        signed_by: held.snapshot.kid().to_z32(),
        balances: totals(&held.snapshot.record().channels),
    };
    etag::respond(&headers, &answer)
}

/// Your channels: one for each friend and unit.
///
/// From the newest snapshot that your wallet pushed; `as_of` says of when. The wallet signed it, and the signature was checked.
#[utoipa::path(
    get,
    path = "/v0/me/channels",
    tag = "credit",
    security(("session" = [])),
    params(
        Page,
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what you hold"),
    ),
    responses(
        (status = 200, body = ChannelsPage, description = "The channels"),
        (status = 304, description = "What you hold is still right"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`limit_invalid`, `cursor_invalid`"),
        (status = 401, body = Problem, content_type = "application/problem+json", description = "`session_invalid`"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`no_snapshot`: your wallet pushes none"),
    )
)]
pub async fn channels(
    State(state): State<AppState>,
    caller: Caller,
    QueryParams(page): QueryParams<Page>,
    headers: HeaderMap,
) -> Result<Response, PluginError> {
    let limit = super::limit(page.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let after = page.after.as_deref().map(parse_cursor).transpose()?;
    let held = load(&state, &caller.user).await?;
    let (channels, next) = select(&held.snapshot.record().channels, after.as_ref(), limit);
    let answer = ChannelsPage {
        as_of: held.snapshot.record().at.millis(),
        stored_at: held.stored_at,
        signed_by: held.snapshot.kid().to_z32(),
        channels,
        next,
    };
    etag::respond(&headers, &answer)
}

/// A summary that was pushed.
pub(crate) struct Held {
    /// The summary.
    pub(crate) snapshot: Signed<Snapshot>,
    /// When it arrived here, Unix milliseconds.
    pub(crate) stored_at: i64,
}

/// The newest snapshot of `user`. It was checked when it came; checking the signature again keeps a tampered database from speaking in the user's name.
pub(crate) async fn load(state: &AppState, user: &UserKey) -> Result<Held, PluginError> {
    let stored = snapshots::get(&state.pool, user)
        .await?
        .ok_or(PluginError::NotFound {
            code: "no_snapshot",
            detail: "your wallet has not pushed a snapshot",
        })?;
    let damaged =
        |why: String| PluginError::Internal(format!("a stored snapshot does not hold: {why}"));
    let snapshot =
        Signed::<Snapshot>::decode(&stored.jws).map_err(|error| damaged(error.to_string()))?;
    if snapshot.record().user != *user {
        return Err(damaged("it is another user's".to_owned()));
    }
    Ok(Held {
        snapshot,
        stored_at: stored.stored_at,
    })
}

/// Sums over all friends. A sum of 256 balances fits into 128 bits many times over.
fn totals(channels: &[SnapshotChannel]) -> Vec<UnitBalance> {
    let mut by_unit: BTreeMap<&Unit, (i128, i128, u32)> = BTreeMap::new();
    for channel in channels {
        let (plus, minus, count) = by_unit.entry(&channel.unit).or_default();
        let balance = i128::from(channel.balance.minor());
        *plus = plus.saturating_add(balance.max(0));
        *minus = minus.saturating_add(balance.min(0).saturating_neg());
        *count = count.saturating_add(1);
    }
    by_unit
        .into_iter()
        .map(|(unit, (plus, minus, channels))| UnitBalance {
            unit: unit.to_string(),
            net: plus.saturating_sub(minus).to_string(),
            owed_to_me: plus.to_string(),
            owed_by_me: minus.to_string(),
            channels,
        })
        .collect()
}

type Cursor = (UserKey, Unit);

fn cursor(channel: &SnapshotChannel) -> String {
    format!("{}:{}", channel.peer, channel.unit)
}

fn parse_cursor(text: &str) -> Result<Cursor, PluginError> {
    let parse = || {
        let (peer, unit) = text.split_once(':')?;
        Some((peer.parse().ok()?, unit.parse().ok()?))
    };
    parse().ok_or_else(|| super::bad_cursor("`after` is the `next` of the page before"))
}

/// One page; a snapshot's channels are ascending by friend and unit.
fn select(
    channels: &[SnapshotChannel],
    after: Option<&Cursor>,
    limit: usize,
) -> (Vec<ChannelView>, Option<String>) {
    let start = after.map_or(0, |(peer, unit)| {
        channels.partition_point(|c| (&c.peer, &c.unit) <= (peer, unit))
    });
    let rest = channels.get(start..).unwrap_or_default();
    let page = rest.get(..limit).unwrap_or(rest);
    let next = page.last().filter(|_| rest.len() > page.len()).map(cursor);
    (page.iter().map(ChannelView::from).collect(), next)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use atomicity_ledger::{Balance, Keypair, Total};

    use super::*;

    fn channel(peer: u8, unit: &str, balance: i64) -> SnapshotChannel {
        SnapshotChannel {
            peer: Keypair::from_secret(&[peer; 32]).user_key(),
            unit: unit.parse().unwrap(),
            balance: Balance::from_minor(balance),
            accept: Total::from_minor(500).unwrap(),
            accepted_by_peer: Total::ZERO,
            frozen: false,
        }
    }

    fn sorted(mut channels: Vec<SnapshotChannel>) -> Vec<SnapshotChannel> {
        channels.sort_by_key(|c| (c.peer, c.unit.clone()));
        channels
    }

    #[test]
    fn totals_are_kept_apart_by_unit_and_sign() {
        let channels = [
            channel(1, "HOUR/2", 300),
            channel(2, "HOUR/2", -400),
            channel(1, "BREAD/2", i64::MAX),
            channel(2, "BREAD/2", i64::MAX),
        ];
        let found = totals(&channels);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].unit.as_str(), found[0].net.as_str()),
            ("BREAD/2", "18446744073709551614")
        );
        assert_eq!(
            found[1],
            UnitBalance {
                unit: "HOUR/2".into(),
                net: "-100".into(),
                owed_to_me: "300".into(),
                owed_by_me: "400".into(),
                channels: 2
            }
        );
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat() {
        let channels = sorted(
            (1..=5)
                .flat_map(|peer| [channel(peer, "A", 1), channel(peer, "B/2", 2)])
                .collect(),
        );
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let (page, next) = select(&channels, after.as_ref(), 3);
            assert!(!page.is_empty() && page.len() <= 3);
            seen.extend(page);
            let Some(next) = next else { break };
            after = Some(parse_cursor(&next).unwrap());
        }
        assert_eq!(
            seen,
            channels.iter().map(ChannelView::from).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_cursor_whose_channel_is_gone_still_continues() {
        let mut channels = sorted((1..=3).map(|peer| channel(peer, "A", 1)).collect());
        let gone = channels.remove(1);
        let (page, next) = select(&channels, Some(&(gone.peer, gone.unit)), 10);
        assert_eq!((page.len(), next), (1, None));
        assert_eq!(page[0], ChannelView::from(&channels[1]));
    }

    #[test]
    fn a_cursor_of_ones_own_invention_is_refused() {
        for wrong in ["", ":", "x:A", "0"] {
            assert_eq!(
                parse_cursor(wrong).unwrap_err().code(),
                "cursor_invalid",
                "{wrong}"
            );
        }
    }
}

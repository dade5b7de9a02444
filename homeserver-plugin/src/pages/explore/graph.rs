//! `GET /explore/users/{user}`: what users around one have published about their channels.

use std::collections::{BTreeMap, BTreeSet};

use atomicity_ledger::record::Profile;
use atomicity_ledger::{Signed, Unit, UserKey};
use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;

use super::picture::{self, Node};
use crate::error::PluginError;
use crate::http::extract::{QueryParams, UserPath};
use crate::pages::user::{require_shown, shown_name};
use crate::pages::{Page, frame, layout, text};
use crate::router::{self, Router, store};
use crate::state::AppState;

/// Friends of the user in the middle that are shown.
const FRIENDS: usize = 16;
/// Friends of each of them that are shown.
const THEIRS: usize = 4;
/// Units to choose from.
const MAX_UNITS: usize = 32;

/// In which unit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    unit: Option<String>,
}

/// Two users, and what both publish about what can go from the first to the second.
#[derive(Clone, Debug)]
struct Edge {
    from: UserKey,
    to: UserKey,
    /// About how much at once, in minor units.
    capacity: u64,
}

/// Who is around a user in one unit.
#[derive(Debug, Default)]
struct Around {
    /// Friends, each with the friends of theirs that are shown.
    friends: Vec<(UserKey, Vec<UserKey>)>,
    edges: Vec<Edge>,
    /// Whether some are not shown.
    cut: bool,
}

/// `GET /explore/users/{user}`.
///
/// # Errors
/// `router_starting`, `page_unknown`, `query_invalid`, [`PluginError::Database`].
pub async fn page(
    State(state): State<AppState>,
    UserPath(user): UserPath,
    QueryParams(chosen): QueryParams<Chosen>,
) -> Result<Page, PluginError> {
    let router = router::http::router(&state)?;
    require_shown(&state, &user).await?;
    let wanted = chosen.unit.as_deref().map(str::parse::<Unit>).transpose();
    let wanted = wanted.map_err(|error| PluginError::BadRequest {
        code: "query_invalid",
        detail: error.to_string(),
    })?;
    let units = units_of(router, &user);
    let unit = wanted.or_else(|| units.first().cloned());
    let around = unit.as_ref().map(|unit| around(router, &user, unit));
    let names = match &around {
        Some(around) => names(&state, &user, around).await?,
        None => BTreeMap::new(),
    };
    let name = names
        .get(&user)
        .cloned()
        .unwrap_or_else(|| shown_name(None, &user));
    let title = format!("Around {name}");
    let content = html! {
        h1 { (text::foreign(&title, text::LINE)) }
        p.lead { "Channels that both ends have published. How much anybody owes is not among it: only roughly how much can pass." }
        p { (text::key(&user)) }
        (choice(&user, &units, unit.as_ref()))
        @match (&around, &unit) {
            (Some(around), Some(unit)) if !around.edges.is_empty() => (shown(&user, around, unit, &names)),
            _ => p { "Nobody has published a channel with this user here, that the user has published too." },
        }
    };
    Ok(layout(&frame(&title, ""), content))
}

/// The units in which the user and somebody else have both published a channel between them. What only one says is nobody's channel.
fn units_of(router: &Router, user: &UserKey) -> Vec<Unit> {
    let graph = router.map.read();
    let now = router::now();
    let open = |from: &UserKey, to: &UserKey, unit: &Unit| {
        let edge = graph.edge(from, to, unit);
        edge.is_some_and(|(_, expires)| expires > now)
    };
    let has = |unit: &&Unit| {
        let mut peers = graph.peers(user, unit);
        peers.any(|peer| open(user, &peer, unit) || open(&peer, user, unit))
    };
    graph.units().filter(has).take(MAX_UNITS).cloned().collect()
}

/// Friends of `user` by edges in either direction, and theirs.
fn around(router: &Router, user: &UserKey, unit: &Unit) -> Around {
    let graph = router.map.read();
    let now = router::now();
    let edge = |from: &UserKey, to: &UserKey| {
        let (offer, expires) = graph.edge(from, to, unit)?;
        (expires > now).then_some(Edge {
            from: *from,
            to: *to,
            capacity: offer.capacity.minor(),
        })
    };
    let both = |a: &UserKey, b: &UserKey| [edge(a, b), edge(b, a)].into_iter().flatten();
    let friends_of = |user: &UserKey| -> BTreeSet<UserKey> {
        let peers = graph.peers(user, unit);
        peers
            .filter(|peer| both(user, peer).next().is_some())
            .collect()
    };
    let mut found = Around::default();
    let friends = friends_of(user);
    let mut seen: BTreeSet<UserKey> = friends.iter().take(FRIENDS).copied().collect();
    seen.insert(*user);
    found.cut = friends.len() > FRIENDS;
    for friend in friends.iter().take(FRIENDS) {
        found.edges.extend(both(user, friend));
        let mut theirs = Vec::new();
        for other in friends_of(friend) {
            if theirs.len() >= THEIRS {
                found.cut = true;
                break;
            }
            if seen.insert(other) {
                found.edges.extend(both(friend, &other));
                theirs.push(other);
            }
        }
        found.friends.push((*friend, theirs));
    }
    // Friends among each other.
    for (at, one) in friends.iter().take(FRIENDS).enumerate() {
        for other in friends.iter().take(FRIENDS).skip(at + 1) {
            found.edges.extend(both(one, other));
        }
    }
    found
}

/// What users call themselves in the profiles that the router knows.
async fn names(
    state: &AppState,
    user: &UserKey,
    around: &Around,
) -> Result<BTreeMap<UserKey, String>, PluginError> {
    let friends = around.friends.iter();
    let mut users: Vec<UserKey> = friends
        .flat_map(|(friend, theirs)| std::iter::once(*friend).chain(theirs.iter().copied()))
        .collect();
    users.push(*user);
    let known = store::profiles(&state.pool, &users).await?;
    let mut names: BTreeMap<UserKey, String> = users
        .iter()
        .map(|user| (*user, shown_name(None, user)))
        .collect();
    for (user, jws) in known {
        // It was checked when it was read.
        if let Ok(profile) = Signed::<Profile>::decode(&jws)
            && let Some(name) = &profile.record().name
        {
            names.insert(user, shown_name(Some(name.as_str()), &user));
        }
    }
    Ok(names)
}

fn choice(user: &UserKey, units: &[Unit], chosen: Option<&Unit>) -> Markup {
    html! {
        @if units.len() > 1 {
            nav aria-label="Units" {
                ul {
                    @for unit in units {
                        li {
                            a href={ "/explore/users/" (user.to_z32()) "?unit=" (unit) } aria-current=[(Some(unit) == chosen).then_some("page")] { (unit) }
                        }
                    }
                }
            }
        }
    }
}

fn shown(
    user: &UserKey,
    around: &Around,
    unit: &Unit,
    names: &BTreeMap<UserKey, String>,
) -> Markup {
    let node = |user: &UserKey| Node {
        name: names.get(user).cloned().unwrap_or_default(),
        link: format!("/explore/users/{user}?unit={unit}"),
        key: *user,
    };
    let friends = around.friends.iter().map(|(friend, theirs)| {
        let theirs: Vec<Node> = theirs.iter().map(node).collect();
        (node(friend), theirs)
    });
    let lines: BTreeSet<(UserKey, UserKey)> = around
        .edges
        .iter()
        .map(|edge| (edge.from.min(edge.to), edge.from.max(edge.to)))
        .collect();
    html! {
        section.card aria-labelledby="picture" {
            h2 id="picture" { "In " (unit) }
            (picture::draw(&node(user), &friends.collect::<Vec<_>>(), &lines))
            @if around.cut { p.quiet { "Not all are shown." } }
        }
        section.card aria-labelledby="list" {
            h2 id="list" { "As a list" }
            (list(around, unit, names))
        }
    }
}

fn list(around: &Around, unit: &Unit, names: &BTreeMap<UserKey, String>) -> Markup {
    let person = |user: &UserKey| {
        let name = names.get(user).map_or("", String::as_str);
        html! { a href={ "/explore/users/" (user.to_z32()) "?unit=" (unit) } { (text::foreign(name, 40)) } }
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label="Channels" {
            table {
                thead { tr { th scope="col" { "From" } th scope="col" { "To" } th.number scope="col" { "Up to about" } } }
                tbody {
                    @for edge in &around.edges {
                        tr {
                            td { (person(&edge.from)) }
                            td { (person(&edge.to)) }
                            td.number { (text::amount(unit, edge.capacity)) }
                        }
                    }
                }
            }
        }
    }
}

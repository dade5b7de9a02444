//! The explorer: what is public about witness logs, about who was caught lying, and about the channels that users publish.
//!
//! Nothing here is new: it is what the JSON routes serve, put into words and pictures. Proofs can be checked in the browser, by a script
//! that shares no code with this program.

mod entry;
mod graph;
mod log;
mod picture;
mod source;
mod tiles;
mod verdicts;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use maud::{Markup, html};

use super::{Page, frame, layout, text};
use crate::error::PluginError;
use crate::mirror;
use crate::state::AppState;

/// The routes of the explorer: those of what is switched on here.
pub fn routes(state: &AppState) -> Router<AppState> {
    let follows = !state.follow.is_empty() || state.follow.watchtower;
    let mut routes = Router::new().route("/explore", get(page));
    if state.witness_log.is_some() || follows {
        routes = routes
            .route("/explore/logs/{log}", get(log::page))
            .route("/explore/logs/{log}/find", get(log::find))
            .route("/explore/logs/{log}/entries", get(log::entries))
            .route("/explore/logs/{log}/entries/{index}", get(entry::page))
            .route("/explore/logs/{log}/tiles", get(tiles::list))
            // A tile's path has as many segments as its number needs.
            .route("/explore/logs/{log}/tile/{*path}", get(tiles::page))
            .route("/explore/check", get(entry::check));
    }
    if follows {
        routes = routes
            .route("/explore/verdicts", get(verdicts::list))
            .route("/explore/verdicts/{id}", get(verdicts::page));
    }
    if state.router.is_some() {
        routes = routes.route("/explore/users/{user}", get(graph::page));
    }
    routes
}

/// `GET /explore`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn page(State(state): State<AppState>) -> Result<Page, PluginError> {
    let follows = !state.follow.is_empty() || state.follow.watchtower;
    let verdicts = match follows {
        true => Some(convicted(&state).await?),
        false => None,
    };
    let content = html! {
        h1 { "Explorer" }
        p.lead { "What is public here: logs that decide payments, proofs against those who lied, and channels that users publish." }
        (logs(&state))
        @if let Some(verdicts) = verdicts { (verdicts) }
        @if let Some(router) = &state.router {
            (channels(router))
        }
        @if nothing(&state) {
            p { "This server runs none of them." }
        }
    };
    Ok(layout(&frame("Explorer", "/explore"), content))
}

fn nothing(state: &AppState) -> bool {
    let follow = &state.follow;
    let logs = state.witness_log.is_some() || !follow.is_empty() || follow.watchtower;
    !logs && state.router.is_none()
}

fn logs(state: &AppState) -> Markup {
    let own = state.witness_log.as_ref();
    html! {
        @if own.is_some() || !state.follow.is_empty() {
            section.card aria-labelledby="logs" {
                h2 id="logs" { "Witness logs" }
                p { "A payment over friends is decided by a secret that is published in such a log in time, or is not." }
                ul {
                    @if let Some(own) = own {
                        li { a href="/explore/logs/own" { (text::foreign(&own.origin(), text::LINE)) } " – run here" }
                    }
                    @for log in state.follow.logs() {
                        li {
                            a href={ "/explore/logs/" (mirror::id_text(&log.id)) } { (text::foreign(log.origin(), text::LINE)) }
                            " – " (roles(log.cosigned, log.watched))
                        }
                    }
                }
                p { a href="/explore/check" { "Check a proof that you have" } }
            }
        }
    }
}

fn roles(cosigned: bool, watched: bool) -> &'static str {
    match (cosigned, watched) {
        (true, true) => "cosigned and watched here",
        (true, false) => "cosigned here",
        _ => "watched here",
    }
}

async fn convicted(state: &AppState) -> Result<Markup, PluginError> {
    let some = mirror::proofs::page(&state.pool, 0, 1, None).await?;
    Ok(html! {
        section.card aria-labelledby="verdicts" {
            h2 id="verdicts" { "Verdicts" }
            @if some.is_empty() {
                p.good { "Nobody who is followed here was ever caught lying." }
            } @else {
                p.bad { "Somebody was caught lying." }
                p { a href="/explore/verdicts" { "Who, and the evidence" } }
            }
        }
    })
}

fn channels(router: &crate::router::Router) -> Markup {
    let size = router.map.size();
    let count = |number: usize| text::count(u64::try_from(number).unwrap_or(u64::MAX));
    html! {
        section.card aria-labelledby="channels" {
            h2 id="channels" { "Published channels" }
            @if !router.is_loaded() {
                p { "The router is still reading what it knew." }
            }
            dl {
                dt { "Directions open at both ends" } dd { (count(size.edges)) }
                dt { "Advertisements" } dd { (count(size.adverts)) }
            }
            p { "Users who pass payments on publish roughly how much, to whom. Look a user up:" }
            form.search action="/find" method="get" {
                label for="around" { "A user’s key" }
                div.row {
                    input id="around" name="around" required minlength="52" maxlength="70" autocomplete="off" autocapitalize="none" spellcheck="false";
                    button.go type="submit" { "Show what is around them" }
                }
            }
        }
    }
}

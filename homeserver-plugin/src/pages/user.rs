//! `GET /u/{user}`: the page of a user who wants one.

use std::sync::Arc;
use std::time::Instant;

use atomicity_ledger::UserKey;
use atomicity_ledger::link::Link;
use atomicity_ledger::record::Profile;
use axum::Extension;
use axum::extract::State;
use maud::{Markup, html};
use tokio::time::timeout;

use super::ways::{self, Way};
use super::{Page, frame, layout, qr, text};
use crate::db::accounts;
use crate::error::PluginError;
use crate::http::credit::endpoints::{self, EndpointsPage};
use crate::http::credit::{Memory, profile};
use crate::http::extract::UserPath;
use crate::state::AppState;

/// Refuses users about whom this plugin shows nothing: those without an account here, unless the operator shows everybody.
///
/// # Errors
/// `page_unknown`, [`PluginError::Database`].
pub async fn require_shown(state: &AppState, user: &UserKey) -> Result<(), PluginError> {
    if state.config.pages.strangers {
        return Ok(());
    }
    let account = accounts::get(&state.pool, user).await?;
    let open = account.is_some_and(|account| account.closed_at.is_none());
    open.then_some(()).ok_or(NO_PAGE)
}

const NO_PAGE: PluginError = PluginError::NotFound {
    code: "page_unknown",
    detail: "there is no page about this user here",
};

/// `GET /u/{user}`.
///
/// # Errors
/// `page_unknown` if the user did not agree to a page, or has no account here; what asking their homeserver can end in.
pub async fn page(
    State(state): State<AppState>,
    Extension(memory): Extension<Arc<Memory>>,
    UserPath(user): UserPath,
) -> Result<Page, PluginError> {
    require_shown(&state, &user).await?;
    let started = Instant::now();
    let (kept, age, stale) = profile::find(&state, &memory, &user).await?;
    let profile = kept.profile.record();
    if !profile.page {
        return Err(NO_PAGE);
    }
    // Places can fail by themselves, and get the time that is left.
    let limit = state.config.http.request_timeout().mul_f32(0.9);
    let left = limit.saturating_sub(started.elapsed());
    let places = timeout(left, endpoints::first(&state, &memory, &user)).await;
    let places = places.ok().and_then(Result::ok);
    let name = shown_name(profile.name.as_ref().map(|name| name.as_str()), &user);
    let content = html! {
        h1 { (text::foreign(&name, text::LINE)) }
        @if stale {
            p.bad role="status" { "Their homeserver does not answer just now. This is what it said " (age.as_secs() / 60) " minutes ago." }
        }
        div.beside {
            div { (facts(profile)) (places_of(places.as_deref())) }
            div { (code(&user, &name, state.config.pages.wallet())) }
        }
    };
    Ok(layout(&frame(&name, ""), content))
}

/// What a user calls themselves, or the beginning of their key.
pub fn shown_name(name: Option<&str>, user: &UserKey) -> String {
    text::name(name, user, text::LINE)
}

fn facts(profile: &Profile) -> Markup {
    html! {
        section.card aria-labelledby="who" {
            h2 id="who" { "Who this is" }
            dl {
                dt { "Key" }
                dd { code.key id="key" { (profile.user.to_z32()) } }
                dt { "Keeps books in" }
                dd {
                    @if profile.units.is_empty() { "no unit that is public" }
                    @for (number, unit) in profile.units.iter().enumerate() {
                        @if number > 0 { ", " }
                        code { (unit) }
                    }
                }
                dt { "Signed" }
                dd { (text::time(profile.at.millis())) }
            }
            button type="button" data-copy="key" { "Copy the key" }
            p.quiet { "They chose the name themselves. Only the key tells them from others: compare it with what they gave you." }
        }
    }
}

fn places_of(places: Option<&EndpointsPage>) -> Markup {
    html! {
        section.card aria-labelledby="ways" {
            h2 id="ways" { "How to pay them" }
            @match places {
                None => p { "Where else they can be paid could not be read just now." },
                Some(page) if page.items.is_empty() => p { "They have published no place where they can be paid." },
                Some(page) => {
                    (ways::list("way", page.items.iter().map(Way::from)))
                    @if page.next.is_some() { p.quiet { "There are more: a wallet shows them all." } }
                    p.quiet { "These places lie on their homeserver and are not signed." }
                }
            }
        }
    }
}

fn code(user: &UserKey, name: &str, wallet: bool) -> Markup {
    let link = Link::from(*user).to_string();
    html! {
        section.card aria-labelledby="scan" {
            h2 id="scan" { "With a wallet" }
            @if let Some(picture) = qr::code(&link, &format!("Code with the link to {name}")) { (picture) }
            p { a.button href=(link) { "Open in a wallet" } }
            @if wallet {
                p { a.button href={ "/wallet/proposals?user=" (user) } { "Add to my friends" } }
                p.quiet { "On your wallet page, if you have an account at this server." }
            }
            p.quiet { "Or, in a terminal:" }
            pre { code id="line" { "atomicity friend add " (user.to_z32()) } }
            button type="button" data-copy="line" { "Copy" }
        }
    }
}

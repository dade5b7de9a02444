//! Pages for people (`[pages]`, off unless the operator wants them): who this is, users who want to be shown, bills, and what is public
//! about logs, watchtower and router.
//!
//! - [`mod@layout`] is what all pages have in common, and [`Page`] what comes out: HTML with its security headers.
//! - [`mod@asset`] names the style sheet and the scripts, which are part of the program.
//! - [`text`] writes what strangers wrote, amounts and times.
//! - [`problem`] turns errors into pages for whoever asked for a page.
//!
//! Everything is written on the server and can be read without scripts. A script makes it nicer or lets the reader check a proof; none
//! comes from anywhere else, and the policy of each page says so to the browser.

pub mod asset;
pub(crate) mod bill;
pub mod config;
mod explore;
mod guest;
mod home;
pub mod layout;
pub mod problem;
pub mod qr;
pub mod text;
pub mod typed;
mod user;
mod wallet;
mod ways;

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::{Extension, Router};

pub use self::asset::asset;
pub use self::layout::{Frame, Page, layout};
use crate::config::Config;
use crate::error::PluginError;
use crate::http::credit::Memory;
use crate::http::middleware;
use crate::state::AppState;

/// The pages, with all that they load.
///
/// # Errors
/// [`PluginError::Config`] if the wallet page can't be set up.
pub(crate) fn routes(
    state: &AppState,
    memory: Arc<Memory>,
) -> Result<Router<AppState>, PluginError> {
    let wallet = match state.config.pages.wallet() {
        true => wallet::routes(state)?,
        false => Router::new(),
    };
    let pages = Router::new()
        .route("/", get(home::page))
        .route("/find", get(home::find))
        .route("/u/{user}", get(user::page))
        .route("/u/{user}/requests/{id}", get(bill::page))
        .route("/u/{user}/requests/{id}/guest", post(guest::ask))
        .route("/u/{user}/requests/{id}/guest/{part}", get(guest::page))
        .merge(explore::routes(state))
        .merge(wallet)
        .layer(Extension(memory))
        .layer(from_fn_with_state(state.clone(), middleware::require_ready))
        .merge(asset::routes())
        .layer(from_fn_with_state(state.clone(), middleware::limit_rate));
    Ok(pages)
}

/// Where the pages are on the web, without a slash at the end; `None` if there are none, or the operator names no address (`http.public_url`).
#[must_use]
pub fn address(config: &Config) -> Option<String> {
    let url = config.http.public_url.as_ref();
    url.filter(|_| config.pages.enabled)
        .map(|url| url.as_str().trim_end_matches('/').to_owned())
}

/// What the pages of this listener have in common: the heading and where else one can go.
fn frame<'a>(title: &'a str, here: &'a str) -> Frame<'a> {
    Frame {
        title,
        home: ("/", "Atomicity"),
        links: &[
            ("/", "Home"),
            ("/explore", "Explorer"),
            ("/docs", "For programs"),
        ],
        here,
        modules: &["local.js"],
    }
}

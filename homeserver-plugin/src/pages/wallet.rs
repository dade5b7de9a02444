//! The wallet page: what a user is owed and owes, live, and what their agent may do for them.
//!
//! It holds no key of anybody. Users log in by their authenticator ([`flows`]); what they see is what the plugin has anyway: books that
//! it keeps for them, and what their wallets told ([`books`]). Whatever must be signed is signed by the agent, within the limits that
//! the wallet set, as for any session.

mod bar;
mod books;
mod cookie;
mod diary;
mod flows;
mod friend;
mod history;
mod invoices;
mod live;
mod login;
mod names;
pub(super) mod next;
mod overview;
mod pay;
mod proposals;
mod relay;
mod sessions;
mod units;
pub(super) mod visitor;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Deserialize;
use tokio::sync::Mutex;

use self::cookie::Cookie;
use self::flows::Flows;
use self::relay::Relay;
use self::visitor::Visitor;
use super::{Frame, Page};
use crate::config::Config;
use crate::error::PluginError;
use crate::http::credit::Memory;
use crate::http::extract::QueryParams;
use crate::state::AppState;

/// What the page needs beside the state of all requests.
pub struct Wallet {
    /// Log-ins that are under way.
    flows: Flows,
    /// The relay for authenticators, if the operator named one.
    relay: Option<Relay>,
    /// Held by whoever opens a recovery file.
    opening: Mutex<()>,
}

/// The routes of the wallet page.
///
/// # Errors
/// [`PluginError::Config`] if the relay can't be used.
pub fn routes(state: &AppState) -> Result<Router<AppState>, PluginError> {
    let relay = state.config.pages.relay.as_ref();
    let wallet = Wallet {
        flows: Flows::default(),
        relay: relay.map(Relay::new).transpose()?,
        opening: Mutex::new(()),
    };
    Ok(Router::new()
        .route("/wallet", get(home))
        .route("/wallet/login", get(login::stage).post(login::start))
        .route("/wallet/login/finish", post(login::finish))
        .route("/wallet/login/stop", post(login::stop))
        .route("/wallet/login/recovery", post(login::recover))
        .route("/wallet/logout", post(login::log_out))
        .route("/wallet/sessions", get(sessions::page))
        .route("/wallet/sessions/end", post(sessions::end))
        .route("/wallet/history", get(history::page))
        .route("/wallet/friends/{peer}", get(friend::page))
        .route("/wallet/friends/{peer}/line", post(friend::set_line))
        .route("/wallet/pay/check", post(pay::check))
        .route("/wallet/pay", post(pay::pay))
        .route("/wallet/invoices", get(invoices::page).post(invoices::make))
        .route("/wallet/invoices/{id}", get(invoices::one))
        .route("/wallet/invoices/{id}/withdraw", post(invoices::withdraw))
        .route("/wallet/accounts/end", post(overview::end_account))
        .route("/wallet/agent/stop", post(overview::stop_agent))
        .route("/wallet/proposals", get(proposals::page))
        .route("/wallet/proposals/pay", post(proposals::pay))
        .route("/wallet/proposals/issue", post(proposals::issue))
        .route("/wallet/proposals/friend", post(proposals::friend))
        .route("/wallet/proposals/limit", post(proposals::limit))
        .route("/wallet/proposals/part", post(proposals::part))
        .route("/wallet/proposals/ask", post(proposals::ask))
        .route("/wallet/proposals/settle", post(proposals::settle))
        .route("/wallet/proposals/reassign", post(proposals::reassign))
        .route("/wallet/proposals/block", post(proposals::block))
        .route("/wallet/proposals/rule", post(proposals::trust::rule))
        .route("/wallet/proposals/account", post(proposals::trust::account))
        .route("/wallet/proposals/revoke", post(proposals::trust::revoke))
        .route("/wallet/proposals/agent", post(proposals::trust::agent))
        .route(
            "/wallet/proposals/agent_off",
            post(proposals::trust::agent_off),
        )
        .route("/wallet/proposals/{id}/withdraw", post(proposals::withdraw))
        .route("/wallet/events", get(live::stream))
        .layer(Extension(Arc::new(wallet))))
}

/// How the page is asked for.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    /// Where to go once somebody has logged in.
    next: Option<String>,
    /// After which friend the shown ones begin.
    after: Option<String>,
}

/// `GET /wallet`: the overview, or how to log in.
async fn home(
    State(state): State<AppState>,
    Extension(wallet): Extension<Arc<Wallet>>,
    Extension(memory): Extension<Arc<Memory>>,
    QueryParams(asked): QueryParams<Asked>,
    headers: HeaderMap,
) -> Result<Response, PluginError> {
    let next = asked.next.as_deref().and_then(next::own);
    if let Some(visitor) = Visitor::find(&state, &headers).await? {
        return match next {
            Some(next) => Ok(Redirect::to(&next).into_response()),
            None => overview::page(&state, &memory, &visitor, asked.after.as_deref()).await,
        };
    }
    let browser = Cookie::LogIn.read(&state.config, &headers);
    let flow = browser.and_then(|browser| wallet.flows.find(&browser));
    Ok(login::page(
        &state,
        &wallet,
        (flow.as_deref(), next.as_deref()),
    ))
}

/// The name under which authenticators and homeservers show this page.
fn client_name(config: &Config) -> String {
    let url = config.http.public_url.as_ref();
    let host = url.and_then(|url| url.host_str());
    host.unwrap_or("atomicity-homeserver").to_owned()
}

/// A page that nobody keeps: it is one user's.
fn private(page: Page) -> Response {
    let mut response = page.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("cookie, accept"));
    response
}

/// What stands around a page of somebody who has logged in.
fn frame<'a>(title: &'a str, here: &'a str) -> Frame<'a> {
    Frame {
        title,
        home: ("/wallet", "Wallet"),
        links: &[
            ("/wallet", "Overview"),
            ("/wallet/history", "History"),
            ("/wallet/invoices", "Be paid"),
            ("/wallet/proposals", "Propose"),
            ("/wallet/sessions", "Sessions"),
        ],
        here,
        modules: &["local.js", "wallet.js"],
    }
}

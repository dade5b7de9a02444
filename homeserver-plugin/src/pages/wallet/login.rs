//! Logging in: by an authenticator that scans a code, or, in a test network, with a recovery file.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{Markup, html};
use pubky::{ClientId, GRANT_JWS_TYP, GrantClaims, GrantId, Keypair, recovery_file};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::cookie::Cookie;
use super::flows::{Flow, LASTS, Stage, prove};
use super::visitor::{Anonymous, Posted};
use super::{Wallet, client_name, next, private};
use crate::clock;
use crate::db::{self, sessions::Kind};
use crate::error::PluginError;
use crate::http::client_addr::ClientAddr;
use crate::http::sessions::{Session, open_counted};
use crate::limits::AddressKey;
use crate::pages::{Frame, layout, qr};
use crate::state::AppState;

/// A form without fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// The page for whoever has not logged in.
pub fn page(
    state: &AppState,
    wallet: &Wallet,
    (flow, next): (Option<&Flow>, Option<&str>),
) -> Response {
    let live = flow.is_some();
    let frame = Frame {
        title: "Log in",
        home: ("/wallet", "Wallet"),
        links: &[("/", "About this server")],
        here: "/wallet",
        modules: if live {
            &["local.js", "login.js"]
        } else {
            &["local.js"]
        },
    };
    let content = html! {
        h1 { "Your wallet" }
        @match flow {
            Some(flow) => (scan(flow)),
            None => (begin(wallet, next)),
        }
        @if state.config.pages.recovery_login { (recovery(next)) }
    };
    private(layout(&frame, content))
}

/// Where the user wants to go then, for a form to keep.
fn kept(next: Option<&str>) -> Markup {
    html! { @if let Some(next) = next { input type="hidden" name="next" value=(next); } }
}

fn begin(wallet: &Wallet, next: Option<&str>) -> Markup {
    html! {
        p.lead { "See who owes you what, and pay. Your keys stay where they are: this page only asks who you are, and your authenticator says so." }
        @if wallet.relay.is_some() {
            form method="post" action="/wallet/login" {
                (kept(next))
                button.go type="submit" { "Log in with an authenticator" }
            }
        } @else {
            p { "This server has no relay, by which an authenticator could reach it. Its operator can name one." }
        }
    }
}

fn scan(flow: &Flow) -> Markup {
    let link = flow.link().as_str();
    let stage = flow.stage();
    html! {
        section.card.beside aria-labelledby="scan" {
            div {
                h2 id="scan" { "Scan this with your authenticator" }
                p { "On this device, open it instead: " a href=(link) id="pubkyauth" { "open the authenticator" } "." }
                p.quiet { "It asks whether you allow “" (client_name_shown(link)) "” nothing but to know who you are. Approve only what you began yourself, in this window: whoever shows you a code of theirs would be logged in as you." }
                p role="status" id="stage" data-stage=(stage.word()) { (words(&stage)) }
                form method="post" action="/wallet/login/finish" id="finish" {
                    (kept(flow.next()))
                    button.go type="submit" { "I have approved" }
                }
                form method="post" action="/wallet/login/stop" { (kept(flow.next())) button type="submit" { "Stop" } }
            }
            @if let Some(code) = qr::code(link, "Code for the authenticator") { (code) }
        }
    }
}

/// The name under which the authenticator shows this page.
fn client_name_shown(link: &str) -> String {
    let url = url::Url::parse(link).ok();
    let found = url
        .as_ref()
        .and_then(|url| url.query_pairs().find(|(name, _)| name == "cid"));
    found.map(|(_, name)| name.into_owned()).unwrap_or_default()
}

fn words(stage: &Stage) -> &'static str {
    match stage {
        Stage::Waiting => "Waiting for your approval. The code holds for five minutes.",
        Stage::Silent => {
            "The relay between your authenticator and this server does not answer at the moment. It is asked again."
        }
        Stage::Approved => "Approved.",
        Stage::Failed => "What came back was no approval. Stop, and begin again.",
    }
}

fn recovery(next: Option<&str>) -> Markup {
    html! {
        section.card aria-labelledby="recovery" {
            h2 id="recovery" { "With a recovery file" }
            p { strong { "This is a test network." } " Never give a recovery file that matters to any page: it holds all that you are." }
            form method="post" action="/wallet/login/recovery" autocomplete="off" {
                (kept(next))
                label for="file" { "The file, in base64" }
                textarea id="file" name="file" required maxlength="4096" spellcheck="false" autocapitalize="none" {}
                label for="passphrase" { "Its passphrase" }
                input id="passphrase" name="passphrase" type="password" required maxlength="256" autocomplete="off";
                p { button type="submit" { "Log in" } }
            }
        }
    }
}

/// To the log-in. Where the user wants to go then stands in its address, so that it outlives a code that ran out.
fn to_log_in(wanted: Option<&str>, cookies: Vec<axum::http::HeaderValue>) -> Response {
    to(&next::log_in(wanted.unwrap_or("/wallet")), cookies)
}

fn to(page: &str, cookies: Vec<axum::http::HeaderValue>) -> Response {
    let cookies = cookies.into_iter().map(|value| (header::SET_COOKIE, value));
    let cookies = AppendHeaders(cookies.collect::<Vec<_>>());
    (cookies, Redirect::to(page)).into_response()
}

/// A step of a log-in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Where to go then.
    #[serde(default)]
    next: Option<String>,
}

/// `POST /wallet/login`: begins a log-in of this browser.
///
/// # Errors
/// `form_foreign`, `rate_limited`, `overloaded`, `relay_missing`.
pub async fn start(
    State(state): State<AppState>,
    Extension(wallet): Extension<Arc<Wallet>>,
    ClientAddr(address): ClientAddr,
    headers: HeaderMap,
    Anonymous(form): Anonymous<Step>,
) -> Result<Response, PluginError> {
    state.limits.session_open(address.into())?;
    let relay = wallet.relay.as_ref().ok_or(PluginError::NotFound {
        code: "relay_missing",
        detail: "this server has no relay for authenticators",
    })?;
    if let Some(before) = Cookie::LogIn.read(&state.config, &headers) {
        wallet.flows.end(&before);
    }
    let client = client_name(&state.config);
    let next = form.next.as_deref().and_then(next::own);
    let about = (address.into(), next.clone());
    let browser = wallet.flows.begin(relay, &client, about, &state.shutdown)?;
    let lasts = i64::try_from(LASTS.as_millis()).unwrap_or(0);
    let cookie = Cookie::LogIn.set(&state.config, &browser, lasts)?;
    Ok(to_log_in(next.as_deref(), vec![cookie]))
}

/// `GET /wallet/login`: how far this browser's log-in is, for the script of the page.
pub async fn stage(
    State(state): State<AppState>,
    Extension(wallet): Extension<Arc<Wallet>>,
    headers: HeaderMap,
) -> Response {
    let browser = Cookie::LogIn.read(&state.config, &headers);
    let flow = browser.and_then(|browser| wallet.flows.find(&browser));
    let body = match &flow {
        Some(flow) => {
            let stage = flow.stage();
            json!({"stage": stage.word(), "words": words(&stage), "until": flow.until()})
        }
        None => json!({"stage": "none"}),
    };
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
}

/// `POST /wallet/login/finish`: opens a session, if the user has approved.
///
/// # Errors
/// `form_foreign`; what opening a session answers.
pub async fn finish(
    State(state): State<AppState>,
    Extension(wallet): Extension<Arc<Wallet>>,
    ClientAddr(address): ClientAddr,
    headers: HeaderMap,
    Anonymous(form): Anonymous<Step>,
) -> Result<Response, PluginError> {
    let browser = Cookie::LogIn
        .read(&state.config, &headers)
        .unwrap_or_default();
    let Some(flow) = wallet.flows.find(&browser) else {
        let gone = vec![Cookie::LogIn.remove(&state.config)?];
        return Ok(to_log_in(form.next.as_deref(), gone));
    };
    let audience = state.keypair.public_key().z32();
    let Some(proof) = flow.proof(&audience)? else {
        return Ok(to_log_in(flow.next(), Vec::new()));
    };
    // Whatever comes of it: a log-in counts once, and its key is not needed any more.
    wallet.flows.end(&browser);
    let session = open_counted(&state, address.into(), proof, Kind::Page).await?;
    logged_in(&state, &session, flow.next())
}

fn logged_in(
    state: &AppState,
    session: &Session,
    next: Option<&str>,
) -> Result<Response, PluginError> {
    let lasts = session.expires_at.saturating_sub(clock::now_ms());
    let cookies = vec![
        Cookie::Session.set(&state.config, &session.token, lasts)?,
        Cookie::LogIn.remove(&state.config)?,
    ];
    Ok(to(next.unwrap_or("/wallet"), cookies))
}

/// `POST /wallet/login/stop`: forgets this browser's log-in.
///
/// # Errors
/// `form_foreign`.
pub async fn stop(
    State(state): State<AppState>,
    Extension(wallet): Extension<Arc<Wallet>>,
    headers: HeaderMap,
    Anonymous(form): Anonymous<Step>,
) -> Result<Response, PluginError> {
    if let Some(browser) = Cookie::LogIn.read(&state.config, &headers) {
        wallet.flows.end(&browser);
    }
    let gone = vec![Cookie::LogIn.remove(&state.config)?];
    Ok(to_log_in(form.next.as_deref(), gone))
}

/// A recovery file and what opens it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// The file in base64.
    file: Zeroizing<String>,
    /// Its passphrase.
    passphrase: Zeroizing<String>,
    /// Where to go then.
    #[serde(default)]
    next: Option<String>,
}

/// `POST /wallet/login/recovery`: logs in with a recovery file, where the operator says that this is a test network.
///
/// # Errors
/// `form_foreign`, `rate_limited`, `recovery_off`, `recovery_unreadable`; what opening a session answers.
pub async fn recover(
    State(state): State<AppState>,
    Extension(wallet): Extension<Arc<Wallet>>,
    ClientAddr(address): ClientAddr,
    Anonymous(form): Anonymous<Recovery>,
) -> Result<Response, PluginError> {
    if !state.config.pages.recovery_login {
        return Err(PluginError::NotFound {
            code: "recovery_off",
            detail: "this server does not take recovery files",
        });
    }
    // Opening a file takes memory and time, on purpose: one at a time, and within the budget of the address.
    state.limits.session_open(address.into())?;
    let _alone = wallet.opening.lock().await;
    let next = form.next.as_deref().and_then(next::own);
    let opened = tokio::task::spawn_blocking(move || open(&form)).await;
    let root = opened.map_err(|error| PluginError::Internal(error.to_string()))??;
    let session = session_of(&state, address.into(), &root).await?;
    drop(root);
    logged_in(&state, &session, next.as_deref())
}

fn open(form: &Recovery) -> Result<Keypair, PluginError> {
    let unreadable = || PluginError::BadRequest {
        code: "recovery_unreadable",
        detail: "this is no recovery file, or the passphrase is another".to_owned(),
    };
    let text: Zeroizing<String> = Zeroizing::new(form.file.split_whitespace().collect());
    let bytes = Zeroizing::new(
        BASE64_STANDARD
            .decode(text.as_bytes())
            .map_err(|_| unreadable())?,
    );
    recovery_file::decrypt_recovery_file(&bytes, &form.passphrase).map_err(|_| unreadable())
}

/// A session by the same proof that an authenticator's approval leads to.
async fn session_of(
    state: &AppState,
    address: AddressKey,
    root: &Keypair,
) -> Result<Session, PluginError> {
    let internal = |error: String| PluginError::Internal(error);
    let key = Keypair::random();
    let now = u64::try_from(clock::now_ms() / 1_000).unwrap_or(0);
    let claims = GrantClaims {
        iss: root.public_key(),
        client_id: ClientId::new(&client_name(&state.config))
            .map_err(|error| internal(error.to_string()))?,
        caps: Vec::new(),
        cnf: key.public_key(),
        jti: GrantId::generate(),
        iat: now,
        exp: now.saturating_add(state.config.sessions.ttl_s),
    };
    let grant = claims.sign(root, GRANT_JWS_TYP);
    let audience = state.keypair.public_key().z32();
    open_counted(
        state,
        address,
        prove(grant, &claims, &key, &audience),
        Kind::Page,
    )
    .await
}

/// `POST /wallet/logout`.
///
/// # Errors
/// `form_foreign`; [`PluginError::Database`].
pub async fn log_out(
    State(state): State<AppState>,
    Posted(visitor, Nothing {}): Posted<Nothing>,
) -> Result<Response, PluginError> {
    let caller = &visitor.caller;
    db::sessions::close(&state.pool, &caller.user, &caller.session).await?;
    state.news.wake(caller.user.as_bytes());
    Ok(to("/wallet", vec![Cookie::Session.remove(&state.config)?]))
}

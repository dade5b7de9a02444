//! The overview: sums, friends, what waits.

use std::sync::Arc;

use atomicity_ledger::{Unit, UserKey};
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::bar;
use super::books::{Books, Line, Source};
use super::diary::{self, Told};
use super::visitor::{Posted, Visitor};
use super::{frame, private};
use crate::agent::lookup;
use crate::agent::store::{self, AccountRow, Wanted};
use crate::agent::{Agent, http as agent_http};
use crate::clock;
use crate::db;
use crate::error::PluginError;
use crate::http::credit::Memory;
use crate::http::proposals;
use crate::pages::{layout, text, typed};
use crate::state::AppState;

/// Most accounts and spends that are shown.
const MOST: i64 = 50;
/// Most friends of one view.
const FRIENDS: usize = 30;

/// What stands beside the books.
struct Around {
    registered: bool,
    /// Messages that wait for the wallet.
    queued: i64,
    agent: Option<store::AgentRow>,
    accounts: Vec<AccountRow>,
    /// Proposals that wait for the wallet.
    proposed: usize,
    /// Spends of accounts that wait for the wallet.
    spends: Vec<store::SpendRow>,
    /// What the wallet told of what waits.
    told: Option<Told>,
}

impl Around {
    async fn read(state: &AppState, user: &UserKey) -> Result<Self, PluginError> {
        let account = db::accounts::get(&state.pool, user).await?;
        let (mut agent, mut accounts, mut spends) = (None, Vec::new(), Vec::new());
        if state.agent.is_some() {
            agent = store::find(&state.pool, user).await?;
            accounts = store::list_accounts(&state.pool, user, &[], MOST).await?;
            let wanted = Wanted {
                key: None,
                open: true,
                after: None,
            };
            spends = store::list_spends(&state.pool, user, wanted, MOST).await?;
        }
        Ok(Self {
            registered: account.is_some_and(|account| account.closed_at.is_none()),
            queued: account.map_or(0, |account| account.queued),
            proposed: proposals::all(state, user, true).await?.len(),
            agent,
            accounts,
            spends,
            told: Told::read(state, user).await?,
        })
    }
}

/// `GET /wallet` of somebody who has logged in. `after` is the friend after whom the shown ones begin.
///
/// # Errors
/// [`PluginError::Database`], [`PluginError::Internal`].
pub async fn page(
    state: &AppState,
    memory: &Arc<Memory>,
    visitor: &Visitor,
    after: Option<&str>,
) -> Result<Response, PluginError> {
    let after = after.and_then(typed::key);
    let user = visitor.caller.user;
    let books = Books::read(state, memory, &user).await?;
    let around = Around::read(state, &user).await?;
    let content = html! {
        h1 { "What you are owed, and what you owe" }
        p.quiet { "Logged in as " (text::key(&user)) }
        div data-live="overview" {
            @if !around.registered { (stranger()) }
            (sums(&books))
            (since(&books))
            (waiting(&user, &books, &around))
            (friends(&books, after))
        }
        div data-live="agent" { (agent(visitor, &around)) }
        div data-live="accounts" { (accounts(visitor, &around)) }
    };
    Ok(private(layout(&frame("Overview", "/wallet"), content)))
}

fn stranger() -> Markup {
    html! {
        p.card {
            "You have no account at this server, so there is nothing to be shown. If this is the server of your homeserver, your wallet "
            "opens one: " code { "atomicity signup" } "."
        }
    }
}

fn minor(unit: &Unit, minor: u128) -> Markup {
    match u64::try_from(minor) {
        Ok(minor) => text::amount(unit, minor),
        Err(_) => html! { (minor) " of the smallest parts of " (unit.code()) },
    }
}

fn sums(books: &Books) -> Markup {
    let sums = books.sums();
    html! {
        @if sums.is_empty() {
            p.card {
                "Nothing is known here of your books. What your wallet shows your apps is pushed by "
                code { "atomicity snapshot on" } "; books that your agent keeps are seen at once."
            }
        }
        @for (unit, sum) in &sums {
            section.card aria-label={ "In " (unit.code()) } {
                div.three {
                    div { p.quiet { "You are owed" } p.big { (minor(unit, sum.owed)) } }
                    div { p.quiet { "You owe" } p.big { (minor(unit, sum.owing)) } }
                    div { p.quiet { "You can still pay to friends" } p.big { (minor(unit, sum.can_pay)) } }
                }
            }
        }
    }
}

fn since(books: &Books) -> Markup {
    let told = books.lines.iter().any(|line| line.source == Source::Told);
    html! {
        @if !books.kept.is_empty() {
            p.quiet { "Books that your agent keeps here (" (books.kept.len()) ") stand as they are shown." }
        }
        @if books.more { p.quiet { "There are more books here than are shown." } }
        @if let (true, Some((at, arrived))) = (told, books.told) {
            p.quiet {
                "The others stand as your wallet told them, at " (text::exact_time(at)) " by its clock; it arrived here at "
                (text::exact_time(u64::try_from(arrived).unwrap_or(0))) "."
            }
        }
    }
}

fn waiting(user: &UserKey, books: &Books, around: &Around) -> Markup {
    let now = u64::try_from(clock::now_ms()).unwrap_or(0);
    let told: Vec<_> = around
        .told
        .iter()
        .flat_map(|told| told.waiting(now))
        .collect();
    let frozen = books.lines.iter().filter(|line| line.frozen).count();
    let any = around.queued > 0
        || books.unjudged > 0
        || frozen > 0
        || !around.spends.is_empty()
        || !told.is_empty()
        || around.proposed > 0;
    html! {
        @if any {
            section.card aria-labelledby="waiting" {
                h2 id="waiting" { "What waits" }
                ul {
                    @if around.queued > 0 {
                        li { (around.queued) @if around.queued == 1 { " message waits" } @else { " messages wait" } " for your wallet" }
                    }
                    @if around.proposed > 0 {
                        li { a href="/wallet/proposals" { (around.proposed) @if around.proposed == 1 { " proposal waits" } @else { " proposals wait" } } " for your wallet" }
                    }
                    @if books.unjudged > 0 { li { "Something of " (books.unjudged) " friends can’t be judged yet" } }
                    @if frozen > 0 { li.bad { (frozen) " accounts are frozen: a friend’s records contradict each other" } }
                    @for spend in &around.spends {
                        @if let Ok(unit) = spend.unit.parse::<Unit>() {
                            @let amount = text::amount(&unit, u64::try_from(spend.amount).unwrap_or(0));
                            li {
                                @match spend.state.as_str() {
                                    "waiting" => { "An app asks to pay " (amount) ": your wallet decides" }
                                    "paying" => { "An app’s payment of " (amount) " is under way" }
                                    _ => { "Whether an app’s payment of " (amount) " arrived is not known yet: your wallet finds out" }
                                }
                            }
                        }
                    }
                    @for entry in &told { (diary::waits(entry, user, books)) }
                }
                @if let Some(told) = around.told.as_ref().filter(|_| !told.is_empty()) { (diary::since(told)) }
            }
        }
    }
}

/// What a friend is called, as text.
pub fn name_of(books: &Books, peer: &UserKey) -> String {
    text::name(books.names.get(peer).map(String::as_str), peer, 40)
}

/// The friends after `after`, so many that the page stays small.
fn friends(books: &Books, after: Option<UserKey>) -> Markup {
    let mut peers: Vec<&UserKey> = books.lines.iter().map(|line| &line.peer).collect();
    peers.dedup();
    let before = peers.partition_point(|peer| after.is_some_and(|after| **peer <= after));
    let shown: Vec<&UserKey> = peers.iter().skip(before).take(FRIENDS).copied().collect();
    let last = before.saturating_add(shown.len());
    html! {
        @if !peers.is_empty() {
            section aria-labelledby="friends" {
                h2 id="friends" { "Friends" }
                @if peers.len() > FRIENDS && !shown.is_empty() {
                    p.quiet { (before.saturating_add(1)) " to " (last) " of " (peers.len()) }
                }
                @for peer in &shown { (friend(books, peer)) }
                div.row {
                    @if before > 0 { a.button href="/wallet" { "From the first" } }
                    @if let Some(end) = shown.last().filter(|_| last < peers.len()) {
                        a.button href={ "/wallet?after=" (end) "#friends" } { "More friends" }
                    }
                }
            }
        }
    }
}

fn friend(books: &Books, peer: &UserKey) -> Markup {
    let name = name_of(books, peer);
    html! {
        article.card {
            h3 { a href={ "/wallet/friends/" (peer) } { bdi { (name) } } " " code.quiet { (text::short_key(peer)) } }
            @for line in books.with(peer) { (shown_line(line, &name)) }
        }
    }
}

/// One balance with its limits.
pub fn shown_line(line: &Line, name: &str) -> Markup {
    html! {
        div.line {
            p.row {
                strong.balance { (bar::signed(&line.unit, line.balance)) }
                (bar::words(line, name))
            }
            (bar::bar(line, name))
            p.ends.quiet {
                span { "you may owe " (text::amount(&line.unit, line.accepted.minor())) }
                span { "they may owe " (text::amount(&line.unit, line.accept.minor())) }
            }
            @if line.frozen { p.bad { "Frozen: their records contradict each other. Nothing more is taken." } }
            @else { p.quiet { "You can pay " (text::amount(&line.unit, line.can_pay)) ", they can pay you " (text::amount(&line.unit, line.can_get)) "." } }
        }
    }
}

fn agent(visitor: &Visitor, around: &Around) -> Markup {
    let Some(row) = &around.agent else {
        return html! {};
    };
    let ends = u64::try_from(row.until).unwrap_or(0);
    html! {
        section.card aria-labelledby="agent" {
            h2 id="agent" { "Your agent" }
            @if row.status == "active" {
                p { "It keeps books for you until " (text::time(ends)) ", within the limits that your wallet set." }
                details data-key="dismiss" {
                    summary { "Dismiss it" }
                    p { "From then on it signs nothing. Your wallet opens the next epoch of the books that it kept." }
                    form method="post" action="/wallet/agent/stop" { (visitor.field()) button type="submit" { "Dismiss the agent now" } }
                }
            } @else {
                p { (stopped(row)) }
            }
        }
    }
}

/// Why an agent is not at work.
fn stopped(row: &store::AgentRow) -> &'static str {
    match (row.status.as_str(), row.why.as_deref()) {
        ("stopped", Some("closed")) => "You dismissed it. Your wallet keeps your books.",
        ("stopped", Some("ended")) => {
            "Its time is over, so it signs nothing any more. Your wallet keeps your books, and can let it go on."
        }
        ("stopped", Some("revoked")) => {
            "You took back its right to sign. Your wallet keeps your books."
        }
        ("stopped", _) => "It signs nothing any more. Your wallet keeps your books.",
        _ => "It waits for your wallet to say what it may do.",
    }
}

/// What became of an account that pays nothing any more.
fn ended(status: &str) -> &'static str {
    match status {
        "revoked" => "ended: it pays nothing any more",
        "restored" => {
            "stopped, for this server was restored from a backup: your wallet can open it again"
        }
        _ => "stopped",
    }
}

fn accounts(visitor: &Visitor, around: &Around) -> Markup {
    let views = around.accounts.iter().filter_map(|row| {
        let view = agent_http::accounts::view(visitor.caller.user, row).ok()?;
        Some((row, view.unit.parse::<Unit>().ok()?, view))
    });
    html! {
        @if !around.accounts.is_empty() {
            section.card aria-labelledby="accounts" {
                h2 id="accounts" { "Apps that may spend for you" }
                ul.plain {
                    @for (row, unit, view) in views {
                        li.row {
                            span {
                                (text::foreign(&row.name, 64)) ": "
                                @if row.status == "active" {
                                    (text::amount(&unit, view.left.parse().unwrap_or(0))) " left, "
                                    (text::amount(&unit, view.left_today.parse().unwrap_or(0))) " today; until " (text::time(view.until))
                                } @else { (ended(&row.status)) }
                            }
                            @if row.status == "active" {
                                form method="post" action="/wallet/accounts/end" {
                                    (visitor.field())
                                    input type="hidden" name="key" value=(row.key);
                                    button type="submit" { "End" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Which account.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndAccount {
    key: String,
}

/// `POST /wallet/accounts/end`: nothing more is signed for this app.
///
/// # Errors
/// `form_foreign`, and what ending an account answers.
pub async fn end_account(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<EndAccount>,
) -> Result<Response, PluginError> {
    agent_of(&state)?;
    let path = crate::http::extract::TextPath(form.key);
    let _ended = agent_http::accounts::revoke(State(state), path, visitor.caller).await?;
    Ok(Redirect::to("/wallet").into_response())
}

/// `POST /wallet/agent/stop`: the agent signs nothing any more.
///
/// # Errors
/// `form_foreign`; [`PluginError::Database`].
pub async fn stop_agent(
    State(state): State<AppState>,
    Posted(visitor, super::login::Nothing {}): Posted<super::login::Nothing>,
) -> Result<Response, PluginError> {
    let user = visitor.caller.user;
    lookup::stop(&state, agent_of(&state)?, &user, "closed").await?;
    store::wipe(&state.pool, &user, false, clock::now_ms()).await?;
    state.news.wake(user.as_bytes());
    Ok(Redirect::to("/wallet").into_response())
}

/// The agents of this server.
///
/// # Errors
/// `agent_off`.
pub fn agent_of(state: &AppState) -> Result<&Agent, PluginError> {
    state.agent.as_ref().ok_or(PluginError::NotFound {
        code: "agent_off",
        detail: "this server keeps no books for users",
    })
}

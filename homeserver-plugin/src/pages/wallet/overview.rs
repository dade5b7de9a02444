//! The overview: sums, friends, what waits.

use std::sync::Arc;

use atomicity_ledger::{Unit, UserKey};
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::bar;
use super::books::{Books, Line, Source};
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
use crate::pages::{layout, text};
use crate::state::AppState;

/// Most accounts and spends that are shown.
const MOST: i64 = 50;

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
        })
    }
}

/// `GET /wallet` of somebody who has logged in.
///
/// # Errors
/// [`PluginError::Database`], [`PluginError::Internal`].
pub async fn page(
    state: &AppState,
    memory: &Arc<Memory>,
    visitor: &Visitor,
) -> Result<Response, PluginError> {
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
            (waiting(&books, &around))
            (friends(&books))
        }
        (agent(visitor, &around))
        (accounts(visitor, &around))
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

fn waiting(books: &Books, around: &Around) -> Markup {
    let frozen = books.lines.iter().filter(|line| line.frozen).count();
    let any = around.queued > 0
        || books.unjudged > 0
        || frozen > 0
        || !around.spends.is_empty()
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
                            li {
                                "An app asks to pay " (text::amount(&unit, u64::try_from(spend.amount).unwrap_or(0)))
                                " (" (spend.state) "): your wallet decides"
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What a friend is called, as text.
pub fn name_of(books: &Books, peer: &UserKey) -> String {
    let name = books.names.get(peer);
    name.map_or_else(|| text::short_key(peer), |name| text::plain(name, 40))
}

fn friends(books: &Books) -> Markup {
    let mut peers: Vec<&UserKey> = books.lines.iter().map(|line| &line.peer).collect();
    peers.dedup();
    html! {
        @if !peers.is_empty() {
            section aria-labelledby="friends" {
                h2 id="friends" { "Friends" }
                @for peer in peers { (friend(books, peer)) }
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
                bdi { (bar::words(line, name)) }
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
                details {
                    summary { "Dismiss it" }
                    p { "From then on it signs nothing. Your wallet opens the next epoch of the books that it kept." }
                    form method="post" action="/wallet/agent/stop" { (visitor.field()) button type="submit" { "Dismiss the agent now" } }
                }
            } @else {
                p { "It does not keep books for you at present (" (row.status) ")." }
            }
        }
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
                                } @else { (row.status) }
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

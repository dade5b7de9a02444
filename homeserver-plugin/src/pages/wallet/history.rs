//! What there was: payments and what became of promises, each with what was signed.

use std::sync::Arc;

use atomicity_ledger::record::Payment;
use atomicity_ledger::{Signed, Unit, UserKey};
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::books::Books;
use super::diary::{self, Told};
use super::overview::name_of;
use super::visitor::Visitor;
use super::{frame, private};
use crate::agent::store::{self, EventView, JournalView};
use crate::error::PluginError;
use crate::http::credit::Memory;
use crate::http::extract::{QueryParams, parse_id};
use crate::pages::{layout, text};
use crate::state::AppState;

/// Most lines of one page.
const PAGE: usize = 50;
/// What is told of what happened.
const EVENTS: [&str; 9] = [
    "payment",
    "merged",
    "released",
    "expired",
    "paid_back",
    "refused",
    "line",
    "frozen",
    "returned",
];
/// What is told of what was signed.
const SIGNED: [&str; 2] = ["payment", "credit_line"];

/// A line of the history.
#[derive(Debug)]
pub struct Entry {
    id: i64,
    at: u64,
    peer: Option<UserKey>,
    what: &'static str,
    money: Option<(Unit, u64)>,
    memo: Option<String>,
    /// What shows it, in compact form.
    receipt: Option<String>,
}

/// A page of it.
#[derive(Debug, Default)]
pub struct Past {
    entries: Vec<Entry>,
    /// Where the next page begins.
    next: Option<i64>,
}

/// Reads a page: what is below `before`, of all friends or one.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn read(
    state: &AppState,
    user: &UserKey,
    peer: Option<&UserKey>,
    before: Option<i64>,
) -> Result<Past, PluginError> {
    let Some(agent) = &state.agent else {
        return Ok(Past::default());
    };
    let horizon = agent.numbers().horizon();
    let before = before.unwrap_or(horizon).min(horizon);
    let limit = i64::try_from(PAGE.saturating_add(1)).unwrap_or(i64::MAX);
    let words = |list: &[&str]| {
        list.iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let who = (user, peer);
    let events = store::events_before(&state.pool, who, &words(&EVENTS), before, limit).await?;
    let signed = store::journal_before(&state.pool, who, &words(&SIGNED), before, limit).await?;
    let happened = events.into_iter().filter_map(from_event);
    let mut entries: Vec<Entry> = happened
        .chain(signed.into_iter().map(from_signature))
        .collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.id));
    let more = entries.len() > PAGE;
    entries.truncate(PAGE);
    let next = entries.last().filter(|_| more).map(|last| last.id);
    Ok(Past { entries, next })
}

fn from_event(event: EventView) -> Option<Entry> {
    let body: Value = serde_json::from_str(&event.body).ok()?;
    let what = match event.kind.as_str() {
        "payment" => "They paid you",
        "merged" => "A promise was kept",
        "released" => "A promise was given up",
        "expired" => "A promise has expired",
        "paid_back" => "Given back, above the limit",
        "refused" => "They gave it back, above their limit",
        "line" => "They changed how much you may owe",
        "frozen" => "Frozen: their records contradict each other",
        "returned" => "The books went back to your wallet",
        _ => return None,
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let unit = text("unit").and_then(|unit| unit.parse::<Unit>().ok());
    let amount = text("amount").or(text("accept"));
    let amount = amount.and_then(|amount| amount.parse::<u64>().ok());
    Some(Entry {
        id: event.id,
        at: u64::try_from(event.at).unwrap_or(0),
        peer: event.peer,
        what,
        money: unit.zip(amount),
        memo: text("memo").map(str::to_owned),
        receipt: text("preimage").map(str::to_owned),
    })
}

fn from_signature(view: JournalView) -> Entry {
    let payment = Signed::<Payment>::decode(&view.record).ok();
    let memo = payment.and_then(|payment| payment.record().memo.clone());
    let unit = view.unit.and_then(|unit| unit.parse::<Unit>().ok());
    let amount = view.amount.and_then(|amount| u64::try_from(amount).ok());
    Entry {
        id: view.id,
        at: u64::try_from(view.at).unwrap_or(0),
        peer: Some(view.peer),
        what: match view.what.as_str() {
            "payment" => "You paid",
            _ => "You changed how much they may owe",
        },
        money: unit.zip(amount),
        memo: memo.map(|memo| memo.as_str().to_owned()),
        receipt: Some(view.record),
    }
}

/// The entries, with a link to what was before them; of one friend only, if one is named.
pub fn list(past: &Past, books: &Books, with: Option<&UserKey>) -> Markup {
    html! {
        @if past.entries.is_empty() {
            p { "Nothing yet that your agent did." }
        } @else {
            ol.plain.past {
                @for entry in &past.entries { (shown(entry, books)) }
            }
            @if let Some(next) = past.next {
                @let of = with.map(|peer| format!("&with={peer}")).unwrap_or_default();
                p { a.button href={ "/wallet/history?before=" (next) (of) } { "Before that" } }
            }
        }
    }
}

fn shown(entry: &Entry, books: &Books) -> Markup {
    html! {
        li {
            div.row {
                span {
                    (entry.what)
                    @if let Some((unit, minor)) = &entry.money { ": " strong { (text::amount(unit, *minor)) } }
                    @if let Some(peer) = &entry.peer {
                        " · " a href={ "/wallet/friends/" (peer) } { bdi { (name_of(books, peer)) } }
                    }
                }
                span.quiet { (text::exact_time(entry.at)) }
            }
            @if let Some(memo) = &entry.memo { p.quiet { (text::foreign(memo, text::LINE)) } }
            @if let Some(receipt) = &entry.receipt {
                details data-key=(entry.id) { summary { "Receipt" } pre { code { (receipt) } } }
            }
        }
    }
}

/// From where on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Below {
    /// Only what is below this number.
    before: Option<String>,
    /// Only what was with this friend.
    with: Option<UserKey>,
}

/// `GET /wallet/history`.
///
/// # Errors
/// `session_invalid`, `id_malformed`, [`PluginError::Database`].
pub async fn page(
    State(state): State<AppState>,
    Extension(memory): Extension<Arc<Memory>>,
    QueryParams(below): QueryParams<Below>,
    visitor: Visitor,
) -> Result<Response, PluginError> {
    let user = visitor.caller.user;
    let before = below.before.as_deref().map(parse_id).transpose()?;
    let books = Books::read(&state, &memory, &user).await?;
    let with = below.with.as_ref();
    let past = read(&state, &user, with, before).await?;
    let told = Told::read(&state, &user).await?;
    let content = html! {
        h1 { "What there was" @if let Some(peer) = with { " with " bdi { (name_of(&books, peer)) } } }
        @if let Some(peer) = with { p { a href={ "/wallet/friends/" (peer) } { "Back to this friend" } } }
        p.quiet { "Each receipt is what was signed: it can be checked by anybody." }
        div data-live="history" {
            @if below.before.is_none() {
                h2 { "What your wallet told" }
                @match &told {
                    Some(told) => (diary::past(told, &books, with)),
                    None => p { "Nothing. It tells what it does once you say " code { "atomicity diary on" } "; until then: " code { "atomicity history" } "." },
                }
            }
            @if state.agent.is_some() {
                h2 { "What your agent did" }
                p.quiet { "What it signed for you, and what friends sent to the books that it keeps." }
                (list(&past, &books, with))
            }
        }
    };
    Ok(private(layout(
        &frame("History", "/wallet/history"),
        content,
    )))
}

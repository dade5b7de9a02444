//! What the page proposes to the user's wallet: whatever the agent may not sign. The wallet shows it and asks its user.

use atomicity_ledger::link::Link;
use atomicity_ledger::{Name, RecordId, Total, Unit, UserKey};
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::friend::amount;
use super::login::Nothing;
use super::visitor::{Posted, Visitor};
use super::{frame, private};
use crate::error::PluginError;
use crate::http::proposals::{self, Proposal, ProposalView, Wish};
use crate::pages::{layout, text};
use crate::state::AppState;

/// `GET /wallet/proposals`.
///
/// # Errors
/// `session_invalid`, [`PluginError::Database`].
pub async fn page(
    State(state): State<AppState>,
    visitor: Visitor,
) -> Result<Response, PluginError> {
    let all = proposals::all(&state, &visitor.caller.user, false).await?;
    let content = html! {
        h1 { "For your wallet to do" }
        p {
            "What this page can’t sign it proposes to your wallet, which shows it by " code { "atomicity proposals" }
            " and does it once you say so there: " code { "atomicity proposals accept" } ". It does nothing by itself."
        }
        (forms(&visitor))
        section aria-labelledby="proposed" {
            h2 id="proposed" { "Proposed" }
            div data-live="proposals" {
                @if all.is_empty() { p { "Nothing yet." } }
                @for view in &all { (shown(&visitor, view)) }
            }
        }
    };
    Ok(private(layout(
        &frame("For your wallet", "/wallet/proposals"),
        content,
    )))
}

fn id() -> RecordId {
    RecordId::from_entropy(rand::random())
}

fn forms(visitor: &Visitor) -> Markup {
    html! {
        form.card method="post" action="/wallet/proposals/pay" {
            (visitor.field())
            input type="hidden" name="id" value=(id());
            label for="link" { "Pay an invoice over friends: its link" }
            div.row {
                input id="link" name="link" required maxlength="14000" placeholder="atomicity:…" autocomplete="off" autocapitalize="none" spellcheck="false";
                button.go type="submit" { "Propose" }
            }
        }
        form.card method="post" action="/wallet/proposals/friend" {
            (visitor.field())
            input type="hidden" name="id" value=(id());
            label for="user" { "Add a friend: their key" }
            div.row {
                input id="user" name="user" required maxlength="80" autocomplete="off" autocapitalize="none" spellcheck="false";
                input name="name" aria-label="What to call them" placeholder="what to call them" maxlength="60" autocomplete="off";
                button type="submit" { "Propose" }
            }
        }
        form.card method="post" action="/wallet/proposals/limit" {
            (visitor.field())
            input type="hidden" name="id" value=(id());
            label for="who" { "Let a friend owe you so much: their key, how much, and in what" }
            div.row {
                input id="who" name="user" required maxlength="80" autocomplete="off" autocapitalize="none" spellcheck="false";
                input name="accept" aria-label="How much" required inputmode="decimal" maxlength="40" autocomplete="off";
                input name="unit" aria-label="Unit" required placeholder="BREAD/2" maxlength="20" autocomplete="off" spellcheck="false";
                button type="submit" { "Propose" }
            }
        }
    }
}

fn shown(visitor: &Visitor, view: &ProposalView) -> Markup {
    let time = |ms: i64| text::exact_time(u64::try_from(ms).unwrap_or(0));
    let id = view.proposal.id;
    html! {
        article.card data-proposal=(id) data-state=(view.state) {
            p { (wish(&view.proposal.wish)) }
            p {
                strong { (words(&view.state)) }
                @if let Some(told) = &view.told { (told_words(&view.proposal.wish, told)) }
            }
            p.quiet { "proposed " (time(view.at)) @if view.state == "open" { ", holds until " (time(view.expires)) } }
            @if view.state == "open" {
                p { code { "atomicity proposals accept " (id) } }
                form method="post" action={ "/wallet/proposals/" (id) "/withdraw" } {
                    (visitor.field())
                    button type="submit" { "Take it back" }
                }
            }
        }
    }
}

fn words(state: &str) -> &'static str {
    match state {
        "open" => "Waits for your wallet",
        "accepted" => "Your wallet is at it",
        "declined" => "You declined it",
        "withdrawn" => "Taken back",
        "done" => "Done",
        "failed" => "Not done, and will not be",
        _ => "Has expired",
    }
}

fn wish(wish: &Wish) -> Markup {
    html! {
        @match wish {
            Wish::Friend { user, name } => {
                "Add " @if let Some(name) = name { (text::foreign(name.as_str(), text::LINE)) " " } (text::key(user)) " as a friend"
            }
            Wish::Limit { user, unit, accept } => {
                "Let " (text::key(user)) " owe you up to " (text::amount(unit, accept.minor()))
            }
            Wish::Pay { link, .. } => {
                @if let Ok(Link::Invoice(invoice)) = link.parse::<Link>() {
                    "Pay "
                    @if let Some(amount) = invoice.record().amount { strong { (text::amount(&invoice.record().unit, amount.minor())) } }
                    " to " (text::key(&invoice.record().payee))
                    @if let Some(memo) = &invoice.record().memo { ": " (text::foreign(memo.as_str(), text::LINE)) }
                }
            }
        }
    }
}

fn told_words(wish: &Wish, told: &proposals::Told) -> Markup {
    let unit = match wish {
        Wish::Pay { link, .. } => match link.parse::<Link>() {
            Ok(Link::Invoice(invoice)) => Some(invoice.record().unit.clone()),
            _ => None,
        },
        _ => None,
    };
    html! {
        @if let (Some(unit), Some(fee)) = (&unit, told.fee) { ", for " (text::amount(unit, fee.minor())) " beyond the amount" }
        @if let Some(hops) = told.hops { ", over " (hops) @if hops == 1 { " person" } @else { " people" } }
        @if let Some(reason) = &told.reason { ": " (text::foreign(reason, 64)) }
    }
}

/// An invoice to be paid.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pay {
    id: RecordId,
    link: String,
}

/// `POST /wallet/proposals/pay`.
///
/// # Errors
/// `form_foreign`, and what proposing answers.
pub async fn pay(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<Pay>,
) -> Result<Response, PluginError> {
    let wish = Wish::Pay {
        link: form.link.trim().to_owned(),
        max_fee: None,
    };
    leave(&state, &visitor, form.id, wish).await
}

/// Somebody to be a friend.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Friend {
    id: RecordId,
    user: String,
    #[serde(default)]
    name: Option<Name>,
}

/// A key as people copy it.
fn key(text: &str) -> Result<UserKey, PluginError> {
    let text = text.trim().trim_start_matches("pubky://");
    let text = text
        .strip_prefix("pubky")
        .filter(|rest| rest.len() == 52)
        .unwrap_or(text);
    text.parse().map_err(
        |error: atomicity_ledger::LedgerError| PluginError::BadRequest {
            code: "user_malformed",
            detail: error.to_string(),
        },
    )
}

/// `POST /wallet/proposals/friend`.
///
/// # Errors
/// `form_foreign`, `user_malformed`, and what proposing answers.
pub async fn friend(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<Friend>,
) -> Result<Response, PluginError> {
    let wish = Wish::Friend {
        user: key(&form.user)?,
        name: form.name,
    };
    leave(&state, &visitor, form.id, wish).await
}

/// How much a friend may owe.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    id: RecordId,
    user: String,
    unit: Unit,
    accept: String,
}

/// `POST /wallet/proposals/limit`.
///
/// # Errors
/// `form_foreign`, `user_malformed`, `amount_invalid`, and what proposing answers.
pub async fn limit(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<Limit>,
) -> Result<Response, PluginError> {
    let minor = amount(&form.unit, &form.accept)?;
    let accept = Total::from_minor(minor).map_err(|error| PluginError::BadRequest {
        code: "amount_invalid",
        detail: error.to_string(),
    })?;
    let wish = Wish::Limit {
        user: key(&form.user)?,
        unit: form.unit,
        accept,
    };
    leave(&state, &visitor, form.id, wish).await
}

async fn leave(
    state: &AppState,
    visitor: &Visitor,
    id: RecordId,
    wish: Wish,
) -> Result<Response, PluginError> {
    proposals::leave(state, &visitor.caller, &Proposal { id, wish }).await?;
    Ok(Redirect::to("/wallet/proposals").into_response())
}

/// `POST /wallet/proposals/{id}/withdraw`.
///
/// # Errors
/// `form_foreign`, `proposal_unknown`, `proposal_ended`.
pub async fn withdraw(
    State(state): State<AppState>,
    Path(id): Path<String>,
    Posted(visitor, Nothing {}): Posted<Nothing>,
) -> Result<Response, PluginError> {
    proposals::take_back(&state, &visitor.caller, &id).await?;
    Ok(Redirect::to("/wallet/proposals").into_response())
}

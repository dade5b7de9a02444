//! What the page proposes to the user's wallet: whatever the agent may not sign. The wallet shows it and asks its user.

use atomicity_ledger::link::Link;
use atomicity_ledger::{Amount, Memo, Name, RecordId, Total, Unit, UserKey};
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::friend::amount;
use super::login::Nothing;
use super::visitor::{Posted, Visitor};
use super::{frame, private};
use crate::error::PluginError;
use crate::http::extract::QueryParams;
use crate::http::proposals::{self, Proposal, ProposalView, Wish};
use crate::pages::{layout, text};
use crate::state::AppState;

/// `GET /wallet/proposals`.
///
/// # Errors
/// `session_invalid`, [`PluginError::Database`].
pub async fn page(
    State(state): State<AppState>,
    QueryParams(filled): QueryParams<Filled>,
    visitor: Visitor,
) -> Result<Response, PluginError> {
    let all = proposals::all(&state, &visitor.caller.user, false).await?;
    let content = html! {
        h1 { "For your wallet to do" }
        p {
            "What this page can’t sign it proposes to your wallet, which shows it by " code { "atomicity proposals" }
            " and does it once you say so there: " code { "atomicity proposals accept" } ". It does nothing by itself."
        }
        (forms(&visitor, &filled))
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

/// What a page that leads here fills in.
#[derive(Debug, Default, Deserialize)]
pub struct Filled {
    /// The link of a request or an invoice.
    #[serde(default)]
    link: Option<String>,
}

/// One form: where it goes, its first field with its label, the other fields, and what makes it go.
fn form(visitor: &Visitor, action: &str, label: (&str, &str), fields: &Markup) -> Markup {
    html! {
        form.card method="post" action={ "/wallet/proposals/" (action) } {
            (visitor.field())
            input type="hidden" name="id" value=(id());
            label for=(label.0) { (label.1) }
            div.row { (fields) button type="submit" { "Propose" } }
        }
    }
}

fn link_field(id: &str, value: &str, placeholder: &str) -> Markup {
    html! { input id=(id) name="link" value=(value) required maxlength="14000" placeholder=(placeholder) autocomplete="off" autocapitalize="none" spellcheck="false"; }
}

fn key_field(id: &str) -> Markup {
    html! { input id=(id) name="user" required maxlength="80" placeholder="their key" autocomplete="off" autocapitalize="none" spellcheck="false"; }
}

fn amount_field(name: &str, label: &str, required: bool) -> Markup {
    html! { input name=(name) aria-label=(label) placeholder=(label) required[required] inputmode="decimal" maxlength="40" autocomplete="off"; }
}

fn unit_field() -> Markup {
    html! { input name="unit" aria-label="Unit" required placeholder="BREAD/2" maxlength="20" autocomplete="off" autocapitalize="characters" spellcheck="false"; }
}

fn forms(visitor: &Visitor, filled: &Filled) -> Markup {
    let given = filled.link.as_deref().unwrap_or_default();
    let (invoice, request) = match given.parse::<Link>() {
        Ok(Link::Request(_)) => ("", given),
        Ok(Link::Invoice(_)) => (given, ""),
        _ => ("", ""),
    };
    html! {
        (form(visitor, "pay", ("link", "Pay an invoice over friends: its link"), &link_field("link", invoice, "atomicity:…")))
        (form(visitor, "part", ("bill", "Pay what somebody asks, or a part of it: its link, and how much"), &html! {
            (link_field("bill", request, "atomicity:…"))
            (amount_field("amount", "what is left", false))
        }))
        (form(visitor, "ask", ("sum", "Ask to be paid: how much, and in what"), &html! {
            input id="sum" name="amount" required inputmode="decimal" maxlength="40" autocomplete="off";
            (unit_field())
            input name="user" aria-label="By whom" placeholder="by everybody with the link, or a key" maxlength="80" autocomplete="off" autocapitalize="none" spellcheck="false";
            input name="memo" aria-label="What for" placeholder="what for" maxlength="120" autocomplete="off";
        }))
        (form(visitor, "settle", ("debtor", "Have a friend pay off what they owe: their key, how much, and in what"), &html! {
            (key_field("debtor"))
            (amount_field("amount", "how much", true))
            (unit_field())
            input name="invoice" aria-label="Lightning invoice" placeholder="a Lightning invoice, or where your wallet can be paid" maxlength="2048" autocomplete="off" autocapitalize="none" spellcheck="false";
        }))
        (form(visitor, "reassign", ("claim", "Hand on what a friend owes: their key, and an invoice of whom they are to owe it"), &html! {
            (key_field("claim"))
            (link_field("to", "", "atomicity:…"))
        }))
        (form(visitor, "friend", ("user", "Add a friend: their key"), &html! {
            (key_field("user"))
            input name="name" aria-label="What to call them" placeholder="what to call them" maxlength="60" autocomplete="off";
        }))
        (form(visitor, "limit", ("who", "Let a friend owe you so much: their key, how much, and in what"), &html! {
            (key_field("who"))
            (amount_field("accept", "how much", true))
            (unit_field())
        }))
        (form(visitor, "block", ("whom", "Deal with somebody no more, or again: their key"), &html! {
            (key_field("whom"))
            select name="blocked" aria-label="Which" { option value="true" { "block" } option value="false" { "unblock" } }
        }))
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
            Wish::Pay { link, .. } => { "Pay " (invoiced(link)) }
            Wish::Reassign { user, link, .. } => { "Have " (text::key(user)) " owe no more to you: " (invoiced(link)) }
            Wish::Part { link, amount, .. } => {
                @if let Ok(Link::Request(request)) = link.parse::<Link>() {
                    @let asked = request.record();
                    "Pay "
                    @if let Some(amount) = amount { strong { (text::amount(&asked.unit, amount.minor())) } } @else { "what is left" }
                    " of what " (text::key(&asked.payee)) " asks" (what_for(asked.memo.as_ref()))
                }
            }
            Wish::Ask { user, unit, amount, memo } => {
                "Ask "
                @if let Some(user) = user { (text::key(user)) } @else { "whoever has the link" }
                " for " strong { (text::amount(unit, amount.minor())) } (what_for(memo.as_ref()))
            }
            Wish::Settle { user, unit, amount, invoice } => {
                "Have " (text::key(user)) " pay off " strong { (text::amount(unit, amount.minor())) }
                @if invoice.is_some() { " by paying a Lightning invoice" }
            }
            Wish::Block { user, blocked } => {
                @if *blocked { "Block " (text::key(user)) } @else { "Deal with " (text::key(user)) " again" }
            }
        }
    }
}

fn what_for(memo: Option<&Memo>) -> Markup {
    html! { @if let Some(memo) = memo { ": " (text::foreign(memo.as_str(), text::LINE)) } }
}

/// What an invoice asks for, and for whom.
fn invoiced(link: &str) -> Markup {
    html! {
        @if let Ok(Link::Invoice(invoice)) = link.parse::<Link>() {
            @let invoice = invoice.record();
            @if let Some(amount) = invoice.amount { strong { (text::amount(&invoice.unit, amount.minor())) } }
            " to " (text::key(&invoice.payee)) (what_for(invoice.memo.as_ref()))
        }
    }
}

fn told_words(wish: &Wish, told: &proposals::Told) -> Markup {
    html! {
        @if let (Some(unit), Some(fee)) = (wish.paid_in(), told.fee) { ", for " (text::amount(&unit, fee.minor())) " beyond the amount" }
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

/// A part of somebody's request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    id: RecordId,
    link: String,
    #[serde(default)]
    amount: Option<String>,
}

/// An amount above zero, as it is typed.
fn sum(unit: &Unit, typed: &str) -> Result<Amount, PluginError> {
    let minor = amount(unit, typed)?;
    Amount::from_minor(minor).map_err(|error| PluginError::BadRequest {
        code: "amount_invalid",
        detail: error.to_string(),
    })
}

/// `POST /wallet/proposals/part`.
///
/// # Errors
/// `form_foreign`, `amount_invalid`, and what proposing answers.
pub async fn part(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<Part>,
) -> Result<Response, PluginError> {
    let mut wish = Wish::Part {
        link: form.link.trim().to_owned(),
        amount: None,
        max_fee: None,
    };
    // A link that can't be read is refused with its reason when it is left.
    if let (Some(typed), Some(unit)) = (form.amount, wish.paid_in()) {
        let wanted = sum(&unit, &typed)?;
        if let Wish::Part { amount, .. } = &mut wish {
            *amount = Some(wanted);
        }
    }
    leave(&state, &visitor, form.id, wish).await
}

/// What is to be asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    id: RecordId,
    amount: String,
    unit: Unit,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    memo: Option<Memo>,
}

/// `POST /wallet/proposals/ask`.
///
/// # Errors
/// `form_foreign`, `user_malformed`, `amount_invalid`, and what proposing answers.
pub async fn ask(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<Ask>,
) -> Result<Response, PluginError> {
    let wish = Wish::Ask {
        user: form.user.as_deref().map(key).transpose()?,
        amount: sum(&form.unit, &form.amount)?,
        unit: form.unit,
        memo: form.memo,
    };
    leave(&state, &visitor, form.id, wish).await
}

/// What is to be paid off.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settle {
    id: RecordId,
    user: String,
    amount: String,
    unit: Unit,
    #[serde(default)]
    invoice: Option<String>,
}

/// `POST /wallet/proposals/settle`.
///
/// # Errors
/// `form_foreign`, `user_malformed`, `amount_invalid`, and what proposing answers.
pub async fn settle(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<Settle>,
) -> Result<Response, PluginError> {
    let wish = Wish::Settle {
        user: key(&form.user)?,
        amount: sum(&form.unit, &form.amount)?,
        unit: form.unit,
        invoice: form.invoice.map(|invoice| invoice.trim().to_owned()),
    };
    leave(&state, &visitor, form.id, wish).await
}

/// What is to be handed on, and to whom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reassign {
    id: RecordId,
    user: String,
    link: String,
}

/// `POST /wallet/proposals/reassign`.
///
/// # Errors
/// `form_foreign`, `user_malformed`, and what proposing answers.
pub async fn reassign(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<Reassign>,
) -> Result<Response, PluginError> {
    let wish = Wish::Reassign {
        user: key(&form.user)?,
        link: form.link.trim().to_owned(),
        max_fee: None,
    };
    leave(&state, &visitor, form.id, wish).await
}

/// Whom to deal with, or not.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    id: RecordId,
    user: String,
    blocked: String,
}

/// `POST /wallet/proposals/block`.
///
/// # Errors
/// `form_foreign`, `user_malformed`, and what proposing answers.
pub async fn block(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<Block>,
) -> Result<Response, PluginError> {
    let wish = Wish::Block {
        user: key(&form.user)?,
        blocked: form.blocked != "false",
    };
    leave(&state, &visitor, form.id, wish).await
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

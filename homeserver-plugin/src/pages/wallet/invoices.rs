//! Being paid: invoices that the agent makes and looks after.

use atomicity_ledger::{Amount, Memo, RecordId, Unit};
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::books::Books;
use super::friend::amount;
use super::login::Nothing;
use super::overview::agent_of;
use super::visitor::{Posted, Visitor};
use super::{frame, private, units};
use crate::agent::http::invoices::{self, InvoiceRequest, InvoiceView};
use crate::agent::{change, store};
use crate::error::PluginError;
use crate::http::extract::{JsonBody, TextPath};
use crate::pages::{layout, qr, text};
use crate::state::AppState;

/// Most invoices that are shown.
const MOST: i64 = 30;
/// How long an invoice stands.
const LASTS_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

async fn all(state: &AppState, visitor: &Visitor) -> Result<Vec<InvoiceView>, PluginError> {
    let user = &visitor.caller.user;
    let rows = store::list_invoices(&state.pool, user, None, MOST).await?;
    rows.iter().map(invoices::view).collect()
}

/// An amount of an invoice, which the payer may choose.
fn asked(view: &InvoiceView) -> Markup {
    let unit = view.unit.parse::<Unit>().ok();
    let minor = view.amount.as_deref().and_then(|minor| minor.parse().ok());
    html! {
        @match (unit, minor) {
            (Some(unit), Some(minor)) => (text::amount(&unit, minor)),
            (Some(unit), None) => { "any amount of " (unit.code()) }
            _ => {}
        }
    }
}

/// `GET /wallet/invoices`.
///
/// # Errors
/// `session_invalid`, [`PluginError::Database`].
pub async fn page(
    State(state): State<AppState>,
    visitor: Visitor,
) -> Result<Response, PluginError> {
    let has_agent = match &state.agent {
        Some(agent) => agent.keeper(&visitor.caller.user).is_some(),
        None => false,
    };
    let made = if state.agent.is_some() {
        all(&state, &visitor).await?
    } else {
        Vec::new()
    };
    let content = html! {
        h1 { "Be paid" }
        @if has_agent { (new(&visitor)) }
        @else { p.card { "An invoice is made here by your agent, and you have none at this server. Your wallet makes them too: " code { "atomicity invoice" } "." } }
        section aria-labelledby="made" {
            h2 id="made" { "Invoices" }
            div data-live="invoices" {
                @if made.is_empty() { p { "None yet." } }
                ul.plain {
                    @for view in &made {
                        li.card.row {
                            a href={ "/wallet/invoices/" (view.id) } { (asked(view)) }
                            @if let Some(memo) = &view.memo { (text::foreign(memo, text::LINE)) }
                            span.quiet { (words(&view.state)) }
                        }
                    }
                }
            }
        }
    };
    Ok(private(layout(
        &frame("Be paid", "/wallet/invoices"),
        content,
    )))
}

fn words(state: &str) -> &'static str {
    match state {
        "open" => "waits to be paid",
        "publishing" => "all is promised; being settled",
        "paid" => "paid",
        "failed" => "failed: make another",
        "expired" => "has expired",
        _ => "withdrawn",
    }
}

fn new(visitor: &Visitor) -> Markup {
    let id = RecordId::from_entropy(rand::random());
    html! {
        form.card method="post" action="/wallet/invoices" {
            (visitor.field())
            input type="hidden" name="id" value=(id);
            label for="amount" { "How much; left empty, the payer chooses" }
            div.row {
                input id="amount" name="amount" inputmode="decimal" autocomplete="off" maxlength="40";
                input name="unit" aria-label="Unit" required placeholder="BREAD/2" maxlength="20" autocomplete="off" autocapitalize="characters" spellcheck="false";
            }
            label for="memo" { "What for" }
            input id="memo" name="memo" maxlength="120" autocomplete="off";
            p { button.go type="submit" { "Make an invoice" } }
            p.quiet { "Anybody to whom a chain of friends leads can pay it, for a week, also while your wallet is off." }
        }
    }
}

/// What to ask for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct New {
    id: RecordId,
    /// As it was typed: [`units::resolve`] says what it means.
    unit: String,
    #[serde(default)]
    amount: Option<String>,
    #[serde(default)]
    memo: Option<Memo>,
}

/// `POST /wallet/invoices`. The same form again makes no second one.
///
/// # Errors
/// `form_foreign`, `unit_invalid`, `amount_invalid`, and what the agent answers.
pub async fn make(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<New>,
) -> Result<Response, PluginError> {
    agent_of(&state)?;
    let to = format!("/wallet/invoices/{}", form.id);
    let user = &visitor.caller.user;
    let known = store::invoice(&state.pool, user, &form.id.to_string()).await?;
    if known.is_none() {
        let unit = units::resolve(&Books::load(&state, user).await?, &form.unit)?;
        let wanted = match form.amount.as_deref() {
            Some(typed) => {
                let minor = amount(&unit, typed)?;
                let wanted = Amount::from_minor(minor);
                Some(wanted.map_err(|error| PluginError::BadRequest {
                    code: "amount_invalid",
                    detail: error.to_string(),
                })?)
            }
            None => None,
        };
        let expires = change::now().plus_millis(LASTS_MS);
        let body = InvoiceRequest::simple(form.id, (unit, wanted), expires, form.memo);
        let _made = invoices::create(State(state), visitor.caller, JsonBody(body)).await?;
    }
    Ok(Redirect::to(&to).into_response())
}

/// `GET /wallet/invoices/{id}`.
///
/// # Errors
/// `session_invalid`, `invoice_unknown`, [`PluginError::Database`].
pub async fn one(
    State(state): State<AppState>,
    TextPath(id): TextPath,
    visitor: Visitor,
) -> Result<Response, PluginError> {
    agent_of(&state)?;
    let row = store::invoice(&state.pool, &visitor.caller.user, &id).await?;
    let view = invoices::view(&row.ok_or_else(invoices::unknown)?)?;
    let title = "Invoice";
    let content = html! {
        h1 { (title) }
        section.card.beside {
            div {
                div data-live="invoice" {
                    p.big { (asked(&view)) }
                    p role="status" { strong { (words(&view.state)) } }
                    @if let Some(memo) = &view.memo { p { (text::foreign(memo, text::LINE)) } }
                    p.quiet { "until " (text::time(view.expires)) }
                }
                details { summary { "The link" } pre { code id="link" { (view.link) } } }
                button type="button" data-copy="link" { "Copy the link" }
                div data-live="invoice-withdraw" {
                    @if view.state == "open" {
                        form method="post" action={ "/wallet/invoices/" (view.id) "/withdraw" } {
                            (visitor.field())
                            p { button type="submit" { "Withdraw" } }
                        }
                    }
                }
            }
            div data-live="invoice-code" {
                @if view.state == "open" {
                    @if let Some(code) = qr::code(&view.link, "Code with the invoice") { (code) }
                    @else { p.quiet { "The link is too long for a code: send it." } }
                }
            }
        }
    };
    Ok(private(layout(&frame(title, "/wallet/invoices"), content)))
}

/// `POST /wallet/invoices/{id}/withdraw`.
///
/// # Errors
/// `form_foreign`, `invoice_unknown`, `invoice_busy`.
pub async fn withdraw(
    State(state): State<AppState>,
    Path(id): Path<String>,
    Posted(visitor, Nothing {}): Posted<Nothing>,
) -> Result<Response, PluginError> {
    agent_of(&state)?;
    let path = TextPath(id.clone());
    let _gone = invoices::withdraw(State(state), path, visitor.caller).await?;
    Ok(Redirect::to(&format!("/wallet/invoices/{id}")).into_response())
}

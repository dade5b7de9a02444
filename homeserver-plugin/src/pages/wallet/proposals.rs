//! What the page proposes to the user's wallet: whatever the agent may not sign. The wallet shows it and asks its user.

pub mod forms;
mod shown;
pub mod trust;

use std::sync::Arc;

use atomicity_ledger::{Amount, Memo, Name, RecordId, Total, Unit, UserKey};
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::html;
use serde::Deserialize;

use super::books::Books;
use super::friend::amount;
use super::login::Nothing;
use super::visitor::{Posted, Visitor};
use super::{frame, private, units};
use crate::error::PluginError;
use crate::http::credit::Memory;
use crate::http::extract::QueryParams;
use crate::http::proposals::{self, Proposal, Wish};
use crate::pages::{layout, typed};
use crate::state::AppState;

/// Where a proposal is seen that was just made.
const PROPOSED: &str = "/wallet/proposals#proposed";

/// `GET /wallet/proposals`.
///
/// # Errors
/// `session_invalid`, [`PluginError::Database`].
pub async fn page(
    State(state): State<AppState>,
    Extension(memory): Extension<Arc<Memory>>,
    QueryParams(filled): QueryParams<Filled>,
    visitor: Visitor,
) -> Result<Response, PluginError> {
    let books = Books::read(&state, &memory, &visitor.caller.user).await?;
    let all = proposals::all(&state, &visitor.caller.user, false).await?;
    let content = html! {
        h1 { "For your wallet to do" }
        p {
            "What this page can’t sign it proposes to your wallet, which shows it by " code { "atomicity proposals" }
            " and does it once you say so there: " code { "atomicity proposals accept" } ". It does nothing by itself."
        }
        (forms::all(&visitor, &books, &filled))
        section aria-labelledby="proposed" {
            h2 id="proposed" { "Proposed" }
            div data-live="proposals" {
                @if all.is_empty() { p { "Nothing yet." } }
                @for view in &all { (shown::shown(&visitor, &books, view)) }
            }
        }
    };
    Ok(private(layout(
        &frame("For your wallet", "/wallet/proposals"),
        content,
    )))
}

/// What a page that leads here fills in.
#[derive(Debug, Default, Deserialize)]
pub struct Filled {
    /// The link of a request or an invoice.
    #[serde(default)]
    link: Option<String>,
    /// How much of a request is to be paid.
    #[serde(default)]
    amount: Option<String>,
    /// Somebody who is to be a friend.
    #[serde(default)]
    user: Option<String>,
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
    typed::key(text).ok_or_else(|| PluginError::BadRequest {
        code: "user_malformed",
        detail:
            "that is no key of anybody: 52 letters and digits, with or without pubky before them"
                .to_owned(),
    })
}

/// A unit as it was typed, by the units that the visitor uses.
async fn unit(state: &AppState, visitor: &Visitor, typed: &str) -> Result<Unit, PluginError> {
    units::resolve(&Books::load(state, &visitor.caller.user).await?, typed)
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
    unit: String,
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

/// A friend to be paid.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issue {
    id: RecordId,
    user: String,
    amount: String,
    unit: String,
    #[serde(default)]
    memo: Option<Memo>,
}

/// `POST /wallet/proposals/issue`.
///
/// # Errors
/// `form_foreign`, `user_malformed`, `amount_invalid`, and what proposing answers.
pub async fn issue(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<Issue>,
) -> Result<Response, PluginError> {
    let unit = unit(&state, &visitor, &form.unit).await?;
    let wish = Wish::Issue {
        user: key(&form.user)?,
        amount: sum(&unit, &form.amount)?,
        unit,
        memo: form.memo,
    };
    leave(&state, &visitor, form.id, wish).await
}

/// What is to be asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    id: RecordId,
    amount: String,
    unit: String,
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
    let unit = unit(&state, &visitor, &form.unit).await?;
    let wish = Wish::Ask {
        user: form.user.as_deref().map(key).transpose()?,
        amount: sum(&unit, &form.amount)?,
        unit,
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
    unit: String,
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
    let unit = unit(&state, &visitor, &form.unit).await?;
    let wish = Wish::Settle {
        user: key(&form.user)?,
        amount: sum(&unit, &form.amount)?,
        unit,
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
    let unit = unit(&state, &visitor, &form.unit).await?;
    let minor = amount(&unit, &form.accept)?;
    let accept = Total::from_minor(minor).map_err(|error| PluginError::BadRequest {
        code: "amount_invalid",
        detail: error.to_string(),
    })?;
    let wish = Wish::Limit {
        user: key(&form.user)?,
        unit,
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
    Ok(Redirect::to(PROPOSED).into_response())
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
    Ok(Redirect::to(PROPOSED).into_response())
}

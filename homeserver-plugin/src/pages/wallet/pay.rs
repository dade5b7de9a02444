//! Paying a friend whose books the agent keeps: looked at first, then signed once.

use std::sync::Arc;

use atomicity_ledger::{Amount, Memo, RecordId, Unit, UserKey};
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::html;
use serde::Deserialize;

use super::books::Books;
use super::friend::amount;
use super::overview::{agent_of, name_of};
use super::visitor::Posted;
use super::{frame, private};
use crate::agent::http::ask;
use crate::error::PluginError;
use crate::http::credit::Memory;
use crate::http::extract::JsonBody;
use crate::pages::{layout, text};
use crate::state::AppState;

/// What is to be paid.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    peer: UserKey,
    unit: Unit,
    amount: String,
    #[serde(default)]
    memo: Option<Memo>,
}

/// `POST /wallet/pay/check`: what would be signed, and what it would come to. Nothing is signed yet.
///
/// # Errors
/// `form_foreign`, `amount_invalid`, `friend_unknown`, [`PluginError::Database`].
pub async fn check(
    State(state): State<AppState>,
    Extension(memory): Extension<Arc<Memory>>,
    Posted(visitor, wish): Posted<Wish>,
) -> Result<Response, PluginError> {
    agent_of(&state)?;
    let unit = &wish.unit;
    let minor = amount(unit, &wish.amount)?;
    let wanted = Amount::from_minor(minor).map_err(|error| PluginError::BadRequest {
        code: "amount_invalid",
        detail: error.to_string(),
    })?;
    let books = Books::read(&state, &memory, &visitor.caller.user).await?;
    let line = books.with(&wish.peer).find(|line| line.unit == *unit);
    let line = line.ok_or(PluginError::NotFound {
        code: "friend_unknown",
        detail: "there are no books in this unit with this user here",
    })?;
    let name = name_of(&books, &wish.peer);
    let after = line.balance.minor().checked_sub_unsigned(minor);
    let back = format!("/wallet/friends/{}", wish.peer);
    // The number makes it one payment, however often the button is pressed.
    let id = RecordId::from_entropy(rand::random());
    let content = html! {
        h1 { "Pay " bdi { (name) } "?" }
        section.card {
            dl {
                dt { "To" } dd { bdi { (name) } " " code { (text::short_key(&wish.peer)) } }
                dt { "Amount" } dd.big { (text::amount(unit, minor)) }
                dt { "The way" } dd { "Straight to this friend, by your agent. It costs nothing more." }
                @if let Some(memo) = &wish.memo { dt { "What for" } dd { (text::foreign(memo.as_str(), text::LINE)) } }
                @if let Some(after) = after {
                    dt { "Afterwards" }
                    dd { (super::bar::after(unit, atomicity_ledger::Balance::from_minor(after))) }
                }
            }
            @if minor > line.can_pay {
                p.bad role="alert" { "That is more than you can pay this friend now: " (text::amount(unit, line.can_pay)) "." }
                p { a.button href=(back) { "Back" } }
            } @else {
                form method="post" action="/wallet/pay" {
                    (visitor.field())
                    input type="hidden" name="id" value=(id);
                    input type="hidden" name="peer" value=(wish.peer);
                    input type="hidden" name="unit" value=(unit);
                    input type="hidden" name="amount" value=(wanted);
                    @if let Some(memo) = &wish.memo { input type="hidden" name="memo" value=(memo.as_str()); }
                    div.row {
                        button.go type="submit" { "Pay " (text::amount(unit, minor)) }
                        a.button href=(back) { "Rather not" }
                    }
                }
            }
        }
    };
    Ok(private(layout(&frame("Pay", ""), content)))
}

/// `POST /wallet/pay`: the agent signs. The same form again changes nothing.
///
/// # Errors
/// `form_foreign`, and what the agent answers: `limit_exceeded`, `day_limit_exceeded` …
pub async fn pay(
    State(state): State<AppState>,
    Posted(visitor, order): Posted<ask::Issue>,
) -> Result<Response, PluginError> {
    agent_of(&state)?;
    let peer = order.peer;
    let _signed = ask::issue(State(state), visitor.caller, JsonBody(order)).await?;
    Ok(Redirect::to(&format!("/wallet/friends/{peer}")).into_response())
}

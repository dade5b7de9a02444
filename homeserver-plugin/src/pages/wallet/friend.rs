//! One friend: the balances, paying them, how much they may owe, what there was.

use std::sync::Arc;

use atomicity_ledger::record::CreditLine;
use atomicity_ledger::{Total, Unit, UserKey};
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::books::{Books, Line, Source};
use super::diary::{self, Told};
use super::overview::{agent_of, name_of, shown_line};
use super::proposals::forms::{Ask, amount_field, invoice_field, words_field};
use super::visitor::{Posted, Visitor};
use super::{frame, history, private};
use crate::agent::http::ask;
use crate::error::PluginError;
use crate::http::credit::Memory;
use crate::http::extract::{JsonBody, UserPath};
use crate::pages::{layout, text};
use crate::state::AppState;

/// `GET /wallet/friends/{peer}`.
///
/// # Errors
/// `session_invalid`, `user_malformed`, `friend_unknown`, [`PluginError::Database`].
pub async fn page(
    State(state): State<AppState>,
    Extension(memory): Extension<Arc<Memory>>,
    UserPath(peer): UserPath,
    visitor: Visitor,
) -> Result<Response, PluginError> {
    let user = visitor.caller.user;
    let books = Books::read(&state, &memory, &user).await?;
    let lines: Vec<&Line> = books.with(&peer).collect();
    if lines.is_empty() && !books.kept.contains_key(&peer) {
        return Err(PluginError::NotFound {
            code: "friend_unknown",
            detail: "nothing is known here of books between you and this user",
        });
    }
    let name = name_of(&books, &peer);
    let kept = books.kept.contains_key(&peer);
    let past = history::read(&state, &user, Some(&peer), None).await?;
    let told = Told::read(&state, &user).await?;
    let content = html! {
        h1 { bdi { (name) } }
        p.quiet { (text::key(&peer)) }
        div data-live="friend" {
            section.card aria-label="Balances" {
                @for line in &lines { (shown_line(line, &name)) }
                @if lines.is_empty() { p { "Nothing between you yet." } }
                @if !kept { p.quiet { "These books are with your wallet: what is shown is what it told last, and only it can pay." } }
            }
        }
        @if kept {
            @for line in &lines { (forms(&visitor, line, &name)) }
        }
        (proposed(&visitor, &peer, &lines))
        section.card aria-labelledby="past" {
            h2 id="past" { "What there was" }
            div data-live="history" {
                @if let Some(told) = &told { (diary::past(told, &books, Some(&peer))) }
                @if kept || told.is_none() { (history::list(&past, &books, Some(&peer))) }
            }
        }
    };
    Ok(private(layout(&frame(&name, ""), content)))
}

fn forms(visitor: &Visitor, line: &Line, name: &str) -> Markup {
    let unit = &line.unit;
    let place = |what: &str| format!("{what}-{unit}");
    let example = unit.format_minor(0);
    html! {
        @if line.source == Source::Kept && !line.frozen {
            section.card aria-label={ "In " (unit.code()) } {
                form method="post" action="/wallet/pay/check" {
                    (visitor.field())
                    input type="hidden" name="peer" value=(line.peer);
                    input type="hidden" name="unit" value=(unit);
                    label for=(place("amount")) { "Pay " bdi { (name) } ", in " (unit.code()) }
                    div.row {
                        input id=(place("amount")) name="amount" required inputmode="decimal" autocomplete="off" maxlength="40" placeholder=(example);
                        input name="memo" aria-label="What for" placeholder="what for" maxlength="120" autocomplete="off";
                        button.go type="submit" { "Go on" }
                    }
                    p.quiet data-live={ "most-" (unit) } { "At most " (text::amount(unit, line.can_pay)) " now. You are asked once more." }
                }
                form method="post" action={ "/wallet/friends/" (line.peer) "/line" } {
                    (visitor.field())
                    input type="hidden" name="unit" value=(unit);
                    label for=(place("line")) { "How much they may owe you, in " (unit.code()) }
                    div.row {
                        input id=(place("line")) name="accept" required inputmode="decimal" autocomplete="off" maxlength="40" value=(unit.format_minor(line.accept.minor()));
                        button type="submit" { "Set" }
                    }
                    p.quiet { "What they owe already stays owed, also below a smaller limit." }
                }
            }
        }
    }
}

/// What only the wallet can do: it is proposed to it.
fn proposed(visitor: &Visitor, peer: &UserKey, lines: &[&Line]) -> Markup {
    let open: Vec<&&Line> = lines.iter().filter(|line| !line.frozen).collect();
    html! {
        @if !open.is_empty() {
            section.card aria-labelledby="wallet" {
                h2 id="wallet" { "For your wallet to do" }
                p.quiet { "It does so once you agree there: " a href="/wallet/proposals#proposed" { "what is proposed" } "." }
                @for line in open { (proposed_in(visitor, peer, line)) }
            }
        }
    }
}

/// What can be proposed of one balance.
fn proposed_in(visitor: &Visitor, peer: &UserKey, line: &Line) -> Markup {
    let (unit, code) = (&line.unit, line.unit.code());
    let zero = unit.format_minor(0);
    let form = |action: &str, does: &str, fields: Markup| {
        let about = html! {
            input type="hidden" name="user" value=(peer);
            input type="hidden" name="unit" value={ (unit.code()) "/" (unit.decimals()) };
            (fields)
        };
        Ask::new(action, &format!("{does}, in {code}")).with(visitor, &about)
    };
    let sum = |name: &str, label: &str| amount_field(name, label, &zero, true);
    html! {
        @if line.source == Source::Told {
            (form("issue", "Pay them", html! { (sum("amount", "How much")) (words_field("memo", "What for", 120)) }))
            (form("limit", "Say how much they may owe you", sum("accept", "How much")))
        }
        (form("ask", "Ask them to pay", html! { (sum("amount", "How much")) (words_field("memo", "What for", 120)) }))
        @if line.balance.minor() > 0 {
            (form("settle", "Have them pay off what they owe", html! {
                (sum("amount", "How much"))
                (invoice_field())
            }))
        }
    }
}

/// How much a friend may owe.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetLine {
    unit: Unit,
    accept: String,
}

/// `POST /wallet/friends/{peer}/line`: the agent signs another line; all its other terms stay.
///
/// # Errors
/// `form_foreign`, `amount_invalid`, and what the agent answers.
pub async fn set_line(
    State(state): State<AppState>,
    UserPath(peer): UserPath,
    Posted(visitor, form): Posted<SetLine>,
) -> Result<Response, PluginError> {
    agent_of(&state)?;
    let minor = amount(&form.unit, &form.accept)?;
    let accept = Total::from_minor(minor).map_err(|error| invalid(error.to_string()))?;
    let before = line_before(&state, &visitor.caller.user, &peer, &form.unit).await?;
    let body = ask::Line::changed(form.unit, accept, before.as_ref());
    let path = UserPath(peer);
    let _signed = ask::line(State(state), path, visitor.caller, JsonBody(body)).await?;
    Ok(Redirect::to(&format!("/wallet/friends/{peer}")).into_response())
}

async fn line_before(
    state: &AppState,
    user: &UserKey,
    peer: &UserKey,
    unit: &Unit,
) -> Result<Option<CreditLine>, PluginError> {
    use crate::agent::store;
    let Some(row) = store::pair(&state.pool, user, peer).await? else {
        return Ok(None);
    };
    let pair = store::parse_pair(&row.body)?;
    let side = pair.own().unit(unit);
    Ok(side
        .and_then(|side| side.line())
        .map(|line| line.record().clone()))
}

fn invalid(detail: String) -> PluginError {
    PluginError::BadRequest {
        code: "amount_invalid",
        detail,
    }
}

/// Reads what somebody typed in as an amount: `5`, `5.25`, and `5,25` as many write it.
///
/// # Errors
/// `amount_invalid`.
pub fn amount(unit: &Unit, typed: &str) -> Result<u64, PluginError> {
    let plain = typed.trim().replace(',', ".");
    let read = unit.parse_minor(&plain);
    read.map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_as_it_is_typed() {
        let unit: Unit = "BREAD/2".parse().unwrap();
        assert_eq!(amount(&unit, " 5 ").unwrap(), 500);
        assert_eq!(amount(&unit, "5.25").unwrap(), 525);
        assert_eq!(amount(&unit, "5,25").unwrap(), 525);
        // What could mean two things means nothing.
        for wrong in ["1,000.00", "1.000,00", "5.255", "-5", "5e2", "", "٥"] {
            let error = amount(&unit, wrong).unwrap_err();
            assert_eq!(error.code(), "amount_invalid", "{wrong}");
        }
    }
}

//! The accounts, one account, and what can be done about it.

use atomicity_ledger::UserKey;
use axum::extract::State;
use axum::response::{Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::super::accounts::{self, AccountDetail, AccountLine, AgentWork};
use super::super::audit;
use super::super::http::{exported, paged};
use super::overview::{Back, actions, short};
use super::{LoggedIn, Nothing, Sent, count, size, time, token};
use crate::error::PluginError;
use crate::http::extract::{QueryParams, UserPath, parse_id};
use crate::pages::{Page, text};
use crate::state::AppState;

/// Accounts, or signatures, on one page.
const PAGE: i64 = 100;
/// Actions about an account that are shown with it.
const ACTIONS: i64 = 20;

/// Which accounts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Only those above this key, or this one itself.
    after: Option<String>,
    /// One that is looked for.
    user: Option<String>,
    /// Only those that are switched off.
    #[serde(default)]
    disabled: bool,
}

fn parse(text: &str) -> Result<UserKey, PluginError> {
    let key = text.trim();
    key.parse().map_err(|_| PluginError::BadRequest {
        code: "user_malformed",
        detail: "that is no key: 52 characters of z-base-32".to_owned(),
    })
}

/// `GET /accounts`.
///
/// # Errors
/// `user_malformed`; [`PluginError::Database`].
pub async fn list(
    _: LoggedIn,
    State(state): State<AppState>,
    QueryParams(which): QueryParams<Which>,
) -> Result<Result<Page, Redirect>, PluginError> {
    if let Some(user) = which.user.as_deref() {
        let user = parse(user)?;
        return Ok(Err(Redirect::to(&format!("/accounts/{user}"))));
    }
    let after = which.after.as_deref().map(parse).transpose()?;
    let after = after
        .map(|user| user.as_bytes().to_vec())
        .unwrap_or_default();
    let found = accounts::list(&state.pool, &after, which.disabled, PAGE + 1).await?;
    let (lines, next) = paged(found, PAGE, |line| line.user.clone());
    let content = html! {
        h1 { @if which.disabled { "Accounts that are switched off" } @else { "Accounts" } }
        form.card action="/accounts" method="get" role="search" {
            label for="user" { "The key of a user" }
            div.row {
                input id="user" name="user" required maxlength="64" autocomplete="off" autocapitalize="none" spellcheck="false";
                button.go type="submit" { "Show" }
            }
        }
        p {
            @if which.disabled { a href="/accounts" { "All accounts" } }
            @else { a href="/accounts?disabled=true" { "Only those that are switched off" } }
        }
        (table(&lines))
        @if let Some(next) = next {
            p { a href=(format!("/accounts?after={next}&disabled={}", which.disabled)) { "More" } }
        }
    };
    Ok(Ok(super::page("Accounts", "/accounts", content)))
}

fn table(lines: &[AccountLine]) -> Markup {
    html! {
        @if lines.is_empty() {
            p { "There are none." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Accounts" {
                table {
                    thead { tr { th scope="col" { "User" } th scope="col" { "State" } th scope="col" { "Waits" } th scope="col" { "Agent" } } }
                    tbody {
                        @for line in lines {
                            tr {
                                th scope="row" { a href=(format!("/accounts/{}", line.user)) { code { (short(&line.user)) } } }
                                td { (standing(line)) }
                                td.number { (count(line.queued)) }
                                td { (line.agent.as_deref().unwrap_or("none")) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn standing(line: &AccountLine) -> Markup {
    html! {
        @if let Some(why) = &line.disabled_why {
            span.bad { "switched off" } ": " (text::foreign(why, text::LINE))
        } @else if line.closed_at.is_some() {
            "closed"
        } @else {
            span.good { "open" }
        }
    }
}

/// `GET /accounts/{user}`.
///
/// # Errors
/// `account_unknown`; [`PluginError::Database`].
pub async fn page(
    by: LoggedIn,
    State(state): State<AppState>,
    UserPath(user): UserPath,
) -> Result<Page, PluginError> {
    let account = accounts::one(&state.pool, &user).await?;
    let done = audit::page(&state.pool, Some(&user), i64::MAX, ACTIONS).await?;
    let content = html! {
        h1 { "An account" }
        (about(&account))
        @if let Some(work) = &account.agent_work { (agent(&account.line, work)) }
        (acting(&account.line, &by))
        section.card aria-labelledby="done" {
            h2 id="done" { "What was done about it" }
            (actions(&done))
        }
    };
    Ok(super::page("An account", "/accounts", content))
}

fn about(account: &AccountDetail) -> Markup {
    let line = &account.line;
    html! {
        section.card aria-labelledby="about" {
            h2 id="about" { "The user and what waits" }
            dl {
                dt { "Key" } dd { code.key { (line.user) } }
                dt { "State" } dd { (standing(line)) }
                @if line.disabled_at.is_some() { dt { "Switched off" } dd { (time(line.disabled_at)) } }
                @if line.closed_at.is_some() { dt { "Closed" } dd { (time(line.closed_at)) } }
                dt { "Here since" } dd { (time(Some(line.registered_at))) }
                dt { "Envelopes" }
                dd { (count(line.queued)) ", " (size(u64::try_from(line.queued_bytes).unwrap_or(0))) }
                dt { "Of strangers" } dd { (count(account.strangers)) }
                dt { "The oldest" } dd { (time(account.oldest_at)) }
                dt { "Friends that write" } dd { (count(account.tags)) }
                dt { "Sessions" } dd { (count(account.sessions)) }
                dt { "Summary for apps" } dd { (time(account.snapshot_at)) }
            }
        }
    }
}

fn agent(line: &AccountLine, work: &AgentWork) -> Markup {
    html! {
        section.card aria-labelledby="agent" {
            h2 id="agent" { "The agent" }
            dl {
                dt { "State" }
                dd { (line.agent.as_deref().unwrap_or("none")) @if let Some(why) = &work.why { " (" (why) ")" } }
                @if let Some(key) = &work.key { dt { "Key" } dd { code.key { (key) } } }
                dt { "Until" } dd { (time(Some(work.until))) }
                dt { "Pairs kept" } dd { (count(work.pairs)) }
                dt { "Not judged yet" } dd { (count(work.held)) }
                dt { "To be sent" } dd { (count(work.to_send)) }
                dt { "Promises open" } dd { (count(work.promises)) }
                dt { "Spends open" } dd { (count(work.spends)) }
            }
            @if !work.signed.is_empty() {
                h3 id="signed" { "What it signed" }
                div.scroll tabindex="0" role="region" aria-label="Table of what it signed" {
                    table {
                        thead { tr { th scope="col" { "What" } th scope="col" { "How often" } th scope="col" { "Last" } } }
                        tbody {
                            @for signed in &work.signed {
                                tr { th scope="row" { code { (signed.what) } } td.number { (count(signed.count)) } td { (time(Some(signed.last_at))) } }
                            }
                        }
                    }
                }
                p { a href=(format!("/accounts/{}/signatures", line.user)) { "Each of them" } }
            }
        }
    }
}

fn acting(line: &AccountLine, by: &LoggedIn) -> Markup {
    let path = |what: &str| format!("/accounts/{}/{what}", line.user);
    html! {
        section.card aria-labelledby="acting" {
            h2 id="acting" { "What can be done" }
            @if line.disabled_at.is_some() {
                form action=(path("enable")) method="post" {
                    (token(&by.session))
                    button.go type="submit" { "Switch it on again" }
                }
            } @else {
                form action=(path("disable")) method="post" {
                    (token(&by.session))
                    label for="reason" { "Why, for you and other operators" }
                    div.row {
                        input id="reason" name="reason" required maxlength="512" autocomplete="off" aria-describedby="reason-help";
                        button type="submit" { "Switch it off" }
                    }
                    p.quiet id="reason-help" { "Its user is refused and its agent signs nothing. Nothing in it is lost, and what others send is kept." }
                }
            }
            form action=(path("export")) method="post" {
                (token(&by.session))
                button type="submit" { "Export all of it" }
            }
        }
    }
}

/// `GET /accounts/{user}/signatures`.
///
/// # Errors
/// `id_malformed`; [`PluginError::Database`].
pub async fn signatures(
    _: LoggedIn,
    State(state): State<AppState>,
    UserPath(user): UserPath,
    QueryParams(query): QueryParams<Back>,
) -> Result<Page, PluginError> {
    let before = query.before.as_deref().map_or(Ok(i64::MAX), parse_id)?;
    let found = accounts::signatures(&state.pool, &user, before, PAGE + 1).await?;
    let (items, next) = paged(found, PAGE, |one| one.id.clone());
    let content = html! {
        h1 { "What an agent signed" }
        p { "For " a href=(format!("/accounts/{user}")) { code { (short(&user.to_z32())) } } }
        div.scroll tabindex="0" role="region" aria-label="Signatures" {
            table {
                thead { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "Towards" } th scope="col" { "How much" } } }
                tbody {
                    @for one in &items {
                        tr {
                            td { (time(Some(one.at))) }
                            td { code { (one.what) } }
                            td { @if let Some(peer) = &one.peer { code { (short(peer)) } } }
                            td.number { (amount(one)) }
                        }
                    }
                }
            }
        }
        @if let Some(next) = next {
            p { a href=(format!("/accounts/{user}/signatures?before={next}")) { "Earlier" } }
        }
    };
    Ok(super::page("What an agent signed", "/accounts", content))
}

fn amount(one: &accounts::Signature) -> Markup {
    let unit = one.unit.as_deref().and_then(|unit| unit.parse().ok());
    let minor = one.amount.as_deref().and_then(|minor| minor.parse().ok());
    match (unit, minor) {
        (Some(unit), Some(minor)) => text::amount(&unit, minor),
        _ => html! {},
    }
}

/// Why an account is switched off.
#[derive(Deserialize)]
pub struct Reason {
    reason: String,
}

/// `POST /accounts/{user}/disable`.
///
/// # Errors
/// `account_unknown`, `reason_invalid`; [`PluginError::Database`].
pub async fn disable(
    State(state): State<AppState>,
    UserPath(user): UserPath,
    Sent { by, form }: Sent<Reason>,
) -> Result<Redirect, PluginError> {
    accounts::disable(&state, by.operator, &user, &form.reason).await?;
    Ok(Redirect::to(&format!("/accounts/{user}")))
}

/// `POST /accounts/{user}/enable`.
///
/// # Errors
/// `account_unknown`; [`PluginError::Database`].
pub async fn enable(
    State(state): State<AppState>,
    UserPath(user): UserPath,
    Sent { by, .. }: Sent<Nothing>,
) -> Result<Redirect, PluginError> {
    accounts::enable(&state, by.operator, &user).await?;
    Ok(Redirect::to(&format!("/accounts/{user}")))
}

/// `POST /accounts/{user}/export`.
///
/// # Errors
/// `account_unknown`; [`PluginError::Database`].
pub async fn export(
    State(state): State<AppState>,
    UserPath(user): UserPath,
    Sent { by, .. }: Sent<Nothing>,
) -> Result<Response, PluginError> {
    exported(&state, by.operator, user).await
}

//! What is proposed of trust: rules about many, apps that may spend, and the agent.

use atomicity_ledger::policy::{Rule, Weight, Who};
use atomicity_ledger::{Name, RecordId, SignerKey, Timestamp, Total, Unit};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::super::friend::amount;
use super::super::visitor::{Posted, Visitor};
use super::forms::{Ask, amount_field, field, unit_field};
use super::{key, leave, unit};
use crate::clock;
use crate::error::PluginError;
use crate::http::proposals::Wish;
use crate::pages::text;
use crate::state::AppState;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// The longest that can be chosen here, days: a leap year.
const MOST_DAYS: u16 = 366;

/// The form of a rule about many.
pub(super) fn rules(visitor: &Visitor) -> Markup {
    Ask::new("rule", "A rule about many, whom you did not add").with(visitor, &html! {
        (field("Who may owe you", &html! {
            select name="about" {
                option value="friends_of_friends" { "for whom any friend vouches" }
                option value="friends_of" { "for whom this friend vouches:" }
                option value="tag" { "whom I tagged:" }
                option value="near" { "who is so many follows away:" }
                option value="anyone" { "anybody" }
            }
        }))
        (field("Which friend (their key), which tag, or how many follows (1 to 3)", &html! {
            input name="which" list="friends" maxlength="80" autocomplete="off" autocapitalize="none" spellcheck="false";
        }))
        (amount_field("accept", "How much each of them", "0.00", true))
        (amount_field("cap", "How much all of them together", "0.00", true))
        (unit_field())
        (field("What to do", &html! { select name="take" { option value="false" { "add the rule" } option value="true" { "take it back" } } }))
    })
}

/// The forms of what only the root key signs.
pub(super) fn keys(visitor: &Visitor) -> Markup {
    html! {
        (Ask::new("account", "Let an app spend for you").with(visitor, &html! {
            (field("What to call it", &html! { input name="name" required maxlength="60" autocomplete="off"; }))
            (app_key_field())
            (amount_field("per_day", "At most on one day", "no limit for a day", false))
            (amount_field("total", "At most in all", "no limit in all", false))
            (unit_field())
            (days_field("30"))
        }))
        (Ask::new("revoke", "End an app’s account for good").with(visitor, &app_key_field()))
        (Ask::new("agent", "Let the agent here keep the books of all your friends").with(visitor, &days_field("90")))
        (Ask::new("agent_off", "End the agent here: your wallet keeps its books again").with(visitor, &field("How", &html! {
            select name="force" {
                option value="false" { "it hands the books back" }
                option value="true" { "by your root key, if it is gone or not to be trusted" }
            }
        })))
    }
}

fn app_key_field() -> Markup {
    field(
        "The key that the app made",
        &html! { input name="key" required maxlength="80" autocomplete="off" autocapitalize="none" spellcheck="false"; },
    )
}

fn days_field(value: &str) -> Markup {
    field(
        "For how many days",
        &html! { input name="days" type="number" min="1" max=(MOST_DAYS) value=(value) required; },
    )
}

/// Such a proposal in words; `None` if it is another one.
pub(super) fn words(wish: &Wish) -> Option<Markup> {
    Some(match wish {
        Wish::Rule { rule } => {
            html! { "Let people owe you whom you did not add: " (rule_words(rule)) }
        }
        Wish::Unrule { rule } => html! { "Take this rule back: " (rule_words(rule)) },
        Wish::Account {
            name,
            key,
            unit,
            per_day,
            total,
            until,
        } => html! {
            "Let an app that you call " (text::foreign(name.as_str(), text::LINE)) " spend up to "
            @if let Some(day) = per_day { strong { (text::amount(unit, day.minor())) } " a day" }
            @if per_day.is_some() && total.is_some() { " and " }
            @if let Some(total) = total { strong { (text::amount(unit, total.minor())) } " in all" }
            ", until " (text::time(until.millis())) ". Its key: " code { (key.to_string()) }
        },
        Wish::Revoke { key } => {
            html! { "End the account of the app with the key " code { (key.to_string()) } }
        }
        Wish::Agent { until } => {
            html! { "Let the agent here keep the books of all your friends until " (text::time(until.millis())) }
        }
        Wish::AgentOff { force } => html! {
            "End the agent here, and have your wallet keep its books again"
            @if *force { ", by your root key, whether the agent answers or not" }
        },
        _ => return None,
    })
}

fn rule_words(rule: &Rule) -> Markup {
    html! {
        @match &rule.who {
            Who::Peer(user) => { (text::key(user)) }
            Who::FriendOf(Some(user)) => { "whoever " (text::key(user)) " vouches for" }
            Who::FriendOf(None) => { "whoever a friend vouches for" }
            Who::Tag(label) => { "whom you tagged " (text::foreign(&label.to_string(), text::LINE)) }
            Who::Distance { hops, .. } => { "who is at most " (hops) @if *hops == 1 { " follow" } @else { " follows" } " away" }
            Who::Anyone => { "anybody" }
        }
        @if let Some(each) = rule.accept { ", each " strong { (text::amount(&rule.unit, each.minor())) } }
        @if let Some(cap) = rule.cap { ", all together " strong { (text::amount(&rule.unit, cap.minor())) } }
        @if rule.forward.is_some() || rule.issue.is_some() { ", and more that your wallet shows" }
    }
}

/// A rule about many.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleForm {
    id: RecordId,
    about: String,
    #[serde(default)]
    which: Option<String>,
    accept: String,
    cap: String,
    unit: String,
    take: String,
}

fn refuse(detail: impl Into<String>) -> PluginError {
    PluginError::BadRequest {
        code: "proposal_invalid",
        detail: detail.into(),
    }
}

fn total(unit: &Unit, typed: &str) -> Result<Total, PluginError> {
    Total::from_minor(amount(unit, typed)?).map_err(|error| PluginError::BadRequest {
        code: "amount_invalid",
        detail: error.to_string(),
    })
}

fn who(about: &str, which: Option<&str>) -> Result<Who, PluginError> {
    let which = which.map(str::trim).filter(|which| !which.is_empty());
    let said = |what: &str| which.ok_or_else(|| refuse(format!("say which: {what}")));
    Ok(match about {
        "friends_of_friends" => Who::FriendOf(None),
        "friends_of" => Who::FriendOf(Some(key(said("the friend’s key")?)?)),
        "tag" => {
            let label = said("the tag")?.parse();
            Who::Tag(
                label.map_err(|error: atomicity_ledger::LedgerError| refuse(error.to_string()))?,
            )
        }
        "near" => Who::Distance {
            hops: said("1 to 3 follows")?
                .parse()
                .map_err(|_| refuse("write 1, 2 or 3 follows"))?,
            weight: Weight::FULL,
            weights: std::collections::BTreeMap::new(),
        },
        "anyone" => Who::Anyone,
        _ => return Err(refuse("choose about whom the rule is")),
    })
}

/// `POST /wallet/proposals/rule`.
///
/// # Errors
/// `form_foreign`, `user_malformed`, `amount_invalid`, and what proposing answers.
pub async fn rule(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<RuleForm>,
) -> Result<Response, PluginError> {
    let who = who(&form.about, form.which.as_deref())?;
    let unit = unit(&state, &visitor, &form.unit).await?;
    let cap = total(&unit, &form.cap)?;
    let rule = Box::new(Rule {
        accept: Some(total(&unit, &form.accept)?),
        cap: Some(cap),
        per_introducer: matches!(who, Who::FriendOf(_)).then_some(cap),
        ..Rule::about(who, unit)
    });
    let wish = match form.take.as_str() {
        "true" => Wish::Unrule { rule },
        _ => Wish::Rule { rule },
    };
    leave(&state, &visitor, form.id, wish).await
}

fn in_days(typed: &str) -> Result<Timestamp, PluginError> {
    let days = typed.trim().parse::<u16>().ok();
    let days = days.filter(|days| (1..=MOST_DAYS).contains(days));
    let days = days.ok_or_else(|| refuse(format!("write 1 to {MOST_DAYS} days")))?;
    let until = clock::now_ms().saturating_add(i64::from(days) * DAY_MS);
    Timestamp::from_millis(u64::try_from(until).unwrap_or(0))
        .map_err(|error| PluginError::Internal(error.to_string()))
}

/// An app that may spend.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountForm {
    id: RecordId,
    name: Name,
    key: String,
    unit: String,
    #[serde(default)]
    per_day: Option<String>,
    #[serde(default)]
    total: Option<String>,
    days: String,
}

fn app_key(text: &str) -> Result<SignerKey, PluginError> {
    let read = text.trim().parse();
    read.map_err(
        |error: atomicity_ledger::LedgerError| PluginError::BadRequest {
            code: "user_malformed",
            detail: error.to_string(),
        },
    )
}

/// `POST /wallet/proposals/account`.
///
/// # Errors
/// `form_foreign`, `user_malformed`, `amount_invalid`, and what proposing answers.
pub async fn account(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<AccountForm>,
) -> Result<Response, PluginError> {
    let unit = unit(&state, &visitor, &form.unit).await?;
    let limit = |typed: Option<&String>| typed.map(|typed| total(&unit, typed)).transpose();
    let wish = Wish::Account {
        key: app_key(&form.key)?,
        per_day: limit(form.per_day.as_ref())?,
        total: limit(form.total.as_ref())?,
        until: in_days(&form.days)?,
        name: form.name,
        unit,
    };
    leave(&state, &visitor, form.id, wish).await
}

/// An app’s key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeForm {
    id: RecordId,
    key: String,
}

/// `POST /wallet/proposals/revoke`.
///
/// # Errors
/// `form_foreign`, `user_malformed`, and what proposing answers.
pub async fn revoke(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<RevokeForm>,
) -> Result<Response, PluginError> {
    let wish = Wish::Revoke {
        key: app_key(&form.key)?,
    };
    leave(&state, &visitor, form.id, wish).await
}

/// For how long.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentForm {
    id: RecordId,
    days: String,
}

/// `POST /wallet/proposals/agent`.
///
/// # Errors
/// `form_foreign`, and what proposing answers.
pub async fn agent(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<AgentForm>,
) -> Result<Response, PluginError> {
    let wish = Wish::Agent {
        until: in_days(&form.days)?,
    };
    leave(&state, &visitor, form.id, wish).await
}

/// How the agent ends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentOffForm {
    id: RecordId,
    force: String,
}

/// `POST /wallet/proposals/agent_off`.
///
/// # Errors
/// `form_foreign`, and what proposing answers.
pub async fn agent_off(
    State(state): State<AppState>,
    Posted(visitor, form): Posted<AgentOffForm>,
) -> Result<Response, PluginError> {
    let wish = Wish::AgentOff {
        force: form.force == "true",
    };
    leave(&state, &visitor, form.id, wish).await
}

//! What the agent is told of lines that rules gave over books that it keeps: on what each stands, and how long what is known counts.

use atomicity_ledger::policy::Who;
use atomicity_ledger::{Timestamp, Total, UserKey};
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::error::ClientError;
use crate::store::pairs::agent;
use crate::store::rules::facts::WORD_STANDS_MS;
use crate::store::rules::{self, facts, grants};
use crate::store::settings;

/// How often the agent is told anew how long what is known counts, in milliseconds.
const TELL_EVERY_MS: u64 = 24 * 60 * 60 * 1000;

/// The lines that rules gave somebody, as the agent is told of them.
pub(crate) async fn lines(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<Vec<Value>, ClientError> {
    let policy = rules::many(conn).await?;
    let mut told = Vec::new();
    for granted in grants::of(conn, user).await? {
        let rule = policy
            .rules()
            .iter()
            .find(|rule| rule.id == granted.held.rule);
        let Some(rule) = rule.filter(|_| granted.line > Total::ZERO) else {
            continue;
        };
        let stands = |at: Option<u64>| at.unwrap_or(0).saturating_add(WORD_STANDS_MS);
        let mut words = Vec::new();
        let until = match (&rule.who, granted.held.introducer) {
            (Who::FriendOf(_), Some(friend)) => {
                words.push(friend);
                stands(facts::word_read(conn, &friend, user).await?)
            }
            (Who::FriendOf(_), None) => 0,
            (Who::Distance { .. }, _) => stands(facts::oldest_follows(conn).await?),
            // What the user says themselves stands until they say otherwise.
            _ => u64::MAX,
        };
        told.push(json!({
            "unit": granted.unit,
            "line": granted.line,
            "words": words,
            "until": Timestamp::saturating_from_millis(until),
        }));
    }
    Ok(told)
}

/// Has the agent told once a day how long what is known counts.
pub(super) async fn refresh(conn: &mut SqliteConnection, now: u64) -> Result<(), ClientError> {
    let told = settings::get(conn, settings::RULES_TOLD).await?;
    let told = told.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    if now.saturating_sub(told) < TELL_EVERY_MS {
        return Ok(());
    }
    for granted in grants::list(conn).await? {
        agent::limits_changed(conn, Some(&granted.user)).await?;
    }
    settings::set(conn, settings::RULES_TOLD, &now.to_string()).await
}

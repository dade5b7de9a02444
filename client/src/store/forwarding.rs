//! Whom promises are passed on to, and what is published about that.

use std::collections::BTreeSet;

use atomicity_ledger::policy::Forward;
use atomicity_ledger::{Amount, Total, Unit, UserKey};
use sqlx::SqliteConnection;

use super::{from_sql, json_in, json_out, parse_own, rules, settings, to_sql};
use crate::error::ClientError;

/// Stands for every friend.
const EVERYBODY: &str = "*";

/// To whom promises are passed on, and for how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardRule {
    /// The friend after this user; `None` for every friend without a rule of their own.
    pub to: Option<UserKey>,
    /// In what.
    pub unit: Unit,
    /// Whether anything is passed on to them.
    pub allowed: bool,
    /// The smallest amount.
    pub min: Amount,
    /// The part of the fee that does not depend on the amount, in minor units.
    pub base: Total,
    /// The part that does, in millionths.
    pub ppm: u32,
}

/// What is published about a friend.
#[derive(Clone, Debug, Default)]
pub(crate) struct AdvertRow {
    pub serial: u64,
    /// What it says; empty if it was removed.
    pub body: String,
    pub written_at: u64,
    pub expires_at: u64,
}

fn name(user: Option<&UserKey>) -> String {
    user.map_or_else(|| EVERYBODY.to_owned(), UserKey::to_string)
}

/// Sets a rule.
pub(crate) async fn put(
    conn: &mut SqliteConnection,
    rule: &ForwardRule,
) -> Result<(), ClientError> {
    let (user, unit) = (name(rule.to.as_ref()), rule.unit.to_string());
    let (min, base) = (to_sql(rule.min.minor()), to_sql(rule.base.minor()));
    sqlx::query!(
        "INSERT INTO forward_rule (user, unit, allowed, min, base, ppm) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (user, unit) DO UPDATE SET
             allowed = excluded.allowed, min = excluded.min, base = excluded.base, ppm = excluded.ppm",
        user,
        unit,
        rule.allowed,
        min,
        base,
        rule.ppm
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the rules about a friend back, or about everybody; in one unit or in all. How many there were.
pub(crate) async fn remove(
    conn: &mut SqliteConnection,
    to: Option<&UserKey>,
    unit: Option<&Unit>,
) -> Result<u64, ClientError> {
    let (user, unit) = (name(to), unit.map(Unit::to_string));
    let done = sqlx::query!(
        "DELETE FROM forward_rule WHERE user = ?1 AND (?2 IS NULL OR unit = ?2)",
        user,
        unit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Takes all rules back.
pub(crate) async fn clear(conn: &mut SqliteConnection) -> Result<u64, ClientError> {
    let done = sqlx::query!("DELETE FROM forward_rule")
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

/// All rules, those about everybody last.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<ForwardRule>, ClientError> {
    let rows = sqlx::query!(
        r#"SELECT user, unit, allowed AS "allowed: bool", min, base, ppm FROM forward_rule ORDER BY user = '*', user, unit"#
    )
    .fetch_all(conn)
    .await?;
    let rule = |user: String, unit: String, allowed, min, base, ppm| {
        Ok::<_, ClientError>(ForwardRule {
            to: match user.as_str() {
                EVERYBODY => None,
                user => Some(parse_own(user, "a friend's key")?),
            },
            unit: parse_own(&unit, "a unit")?,
            allowed,
            min: Amount::from_minor(from_sql(min))?,
            base: Total::from_minor(from_sql(base))?,
            ppm: u32::try_from(ppm).unwrap_or(u32::MAX),
        })
    };
    rows.into_iter()
        .map(|r| rule(r.user, r.unit, r.allowed, r.min, r.base, r.ppm))
        .collect()
}

/// The rule for promising onward to a friend in a unit: what was said of this friend, else what the rules about many say, else what
/// holds for everybody.
pub(crate) async fn rule_for(
    conn: &mut SqliteConnection,
    to: &UserKey,
    unit: &Unit,
) -> Result<Option<ForwardRule>, ClientError> {
    let verdict = rules::verdict(conn, to, unit).await?;
    let all = list(conn).await?;
    let mut fitting = all.into_iter().filter(|rule| rule.unit == *unit);
    let own = fitting.find(|rule| rule.to.is_none_or(|user| user == *to));
    let named = own.as_ref().is_some_and(|rule| rule.to.is_some());
    let forward = match verdict.forward {
        Some(forward) if verdict.blocked || !named => forward,
        _ => return Ok(own),
    };
    let (allowed, (min, base, ppm)) = match forward {
        Forward::Refuse => (false, (Amount::from_minor(1)?, Total::ZERO, 0)),
        Forward::Pass { min, base, ppm } => (true, (min, base, ppm)),
    };
    Ok(Some(ForwardRule {
        to: Some(*to),
        unit: unit.clone(),
        allowed,
        min,
        base,
        ppm,
    }))
}

/// The units in which anything may be passed on.
pub(crate) async fn units(conn: &mut SqliteConnection) -> Result<BTreeSet<Unit>, ClientError> {
    let mut units: BTreeSet<Unit> = list(conn).await?.into_iter().map(|r| r.unit).collect();
    let many = rules::many(conn).await?;
    let passing = many.rules().iter().filter(|rule| rule.forward.is_some());
    units.extend(passing.map(|rule| rule.unit.clone()));
    Ok(units)
}

/// Whether anything was ever published or is to be.
pub(crate) async fn is_used(conn: &mut SqliteConnection) -> Result<bool, ClientError> {
    let row = sqlx::query!(
        r#"SELECT (EXISTS (SELECT 1 FROM forward_rule) OR EXISTS (SELECT 1 FROM advert WHERE body != '')
               OR EXISTS (SELECT 1 FROM policy_rule WHERE json_extract(body, '$.forward') IS NOT NULL)) AS "used!: bool""#
    )
    .fetch_one(conn)
    .await?;
    Ok(row.used)
}

/// Friends whose books have changed since their advert was looked at, or whose advert ends before `soon`; of those with an advert
/// only if it was written at `written` or before. At most `limit`. The version of the books that was seen.
pub(crate) async fn due(
    conn: &mut SqliteConnection,
    (soon, written): (u64, u64),
    limit: u32,
) -> Result<Vec<(UserKey, u64)>, ClientError> {
    let (soon, written) = (to_sql(soon), to_sql(written));
    let rows = sqlx::query!(
        "SELECT pair.user, pair.version FROM pair LEFT JOIN advert ON advert.user = pair.user
         WHERE advert.user IS NULL OR (advert.written_at <= ?
            AND (advert.pair_version < pair.version OR (advert.body != '' AND advert.expires_at < ?)))
         ORDER BY pair.user LIMIT ?",
        written,
        soon,
        limit
    )
    .fetch_all(conn)
    .await?;
    let row = |user: String, version| Ok((parse_own(&user, "a friend's key")?, from_sql(version)));
    rows.into_iter().map(|r| row(r.user, r.version)).collect()
}

/// The units in which debts may be cleared round circles, ascending.
pub(crate) async fn clearing(conn: &mut SqliteConnection) -> Result<Vec<Unit>, ClientError> {
    match settings::get(conn, settings::CLEARING).await? {
        Some(text) => json_in(&text, "the units that may be cleared"),
        None => Ok(Vec::new()),
    }
}

/// Sets them.
pub(crate) async fn set_clearing(
    conn: &mut SqliteConnection,
    units: &[Unit],
) -> Result<(), ClientError> {
    settings::set(conn, settings::CLEARING, &json_out(&units)?).await
}

/// What is published about a friend.
pub(crate) async fn advert(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<Option<AdvertRow>, ClientError> {
    let user = user.to_string();
    let row = sqlx::query!(
        "SELECT serial, body, written_at, expires_at FROM advert WHERE user = ?",
        user
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| AdvertRow {
        serial: from_sql(row.serial),
        body: row.body,
        written_at: from_sql(row.written_at),
        expires_at: from_sql(row.expires_at),
    }))
}

/// Notes what is published about a friend, and by which version of the books.
pub(crate) async fn put_advert(
    conn: &mut SqliteConnection,
    user: &UserKey,
    row: &AdvertRow,
    version: u64,
) -> Result<(), ClientError> {
    let user = user.to_string();
    let (serial, version) = (to_sql(row.serial), to_sql(version));
    let (written, expires) = (to_sql(row.written_at), to_sql(row.expires_at));
    sqlx::query!(
        "INSERT INTO advert (user, serial, body, pair_version, written_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (user) DO UPDATE SET serial = excluded.serial, body = excluded.body,
             pair_version = excluded.pair_version, written_at = excluded.written_at, expires_at = excluded.expires_at",
        user,
        serial,
        row.body,
        version,
        written,
        expires
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Looks at all adverts again, and at once: the rules have changed, or the friends.
pub(crate) async fn look_again(conn: &mut SqliteConnection) -> Result<(), ClientError> {
    sqlx::query!("UPDATE advert SET pair_version = -1, written_at = 0")
        .execute(conn)
        .await?;
    Ok(())
}

/// Looks at the advert about one friend again, and at once: one of the two has set a credit line. That is rare, unlike payments, and
/// payers must not wait for what it allows.
pub(crate) async fn line_set(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<(), ClientError> {
    let user = user.to_string();
    sqlx::query!(
        "UPDATE advert SET pair_version = -1, written_at = 0 WHERE user = ?",
        user
    )
    .execute(conn)
    .await?;
    Ok(())
}

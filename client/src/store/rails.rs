//! The rails that pay for this user, and what is paid without asking.

use atomicity_ledger::{Decimal, Money, RecordHash, Unit, UserKey};
use sqlx::SqliteConnection;

use super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;

/// A rail, as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct RailRow {
    pub name: String,
    /// JSON.
    pub settings: String,
    /// The least and the most that is paid by it.
    pub bounds: (Option<Decimal>, Option<Decimal>),
    pub added_at: u64,
}

/// At which rate something is paid that is not what the unit counts. Without one only that is paid, one for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnRate {
    /// What one whole of the unit is worth, in millisatoshi.
    pub msat: Option<u64>,
    /// How far others may be off that, in millionths.
    pub spread_ppm: u32,
    /// Whether the sources of rates in the settings say what is worth how much, where `msat` does not.
    pub by_source: bool,
}

/// What is paid without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettleRule {
    /// To whom; `None`: to whoever has no rule of their own.
    pub user: Option<UserKey>,
    /// Of debts in this unit.
    pub unit: Unit,
    /// The most that one request may ask for, in minor units.
    pub up_to: u64,
    /// What one whole of the unit is worth, in millisatoshi; `None`: only what the unit itself counts is paid.
    pub rate_msat: Option<u64>,
    /// How far a request may be off that, in millionths.
    pub spread_ppm: u32,
    /// Whether the sources of rates in the settings say what is worth how much, where `rate_msat` does not.
    pub by_source: bool,
    /// The most that may go within 24 hours, in minor units.
    pub per_day: Option<u64>,
}

impl SettleRule {
    /// Pays what friends ask for, up to this much a time. `rate_msat`: what one whole of the unit is worth.
    #[must_use]
    pub fn up_to(
        most: Money,
        user: Option<UserKey>,
        rate_msat: Option<u64>,
        spread_ppm: u32,
    ) -> Self {
        Self {
            user,
            unit: most.unit,
            up_to: most.amount.minor(),
            rate_msat,
            spread_ppm: spread_ppm.min(1_000_000),
            by_source: false,
            per_day: None,
        }
    }

    /// The rate of the rule.
    pub(crate) fn rate(&self) -> OwnRate {
        OwnRate {
            msat: self.rate_msat,
            spread_ppm: self.spread_ppm,
            by_source: self.by_source,
        }
    }

    fn key(&self) -> String {
        self.user.map(|user| user.to_string()).unwrap_or_default()
    }
}

/// Keeps a rail, as the last one that is tried. `false` if another one has the name.
pub(crate) async fn add(conn: &mut SqliteConnection, row: &RailRow) -> Result<bool, ClientError> {
    let added_at = to_sql(row.added_at);
    let least = row.bounds.0.map(|bound| bound.to_string());
    let most = row.bounds.1.map(|bound| bound.to_string());
    let done = sqlx::query!(
        "INSERT INTO rail (name, settings, added_at, position, least, most)
         VALUES (?, ?, ?, (SELECT coalesce(max(position) + 1, 0) FROM rail), ?, ?) ON CONFLICT DO NOTHING",
        row.name,
        row.settings,
        added_at,
        least,
        most
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// All rails, in the order in which they are tried.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<RailRow>, ClientError> {
    let rows = sqlx::query!(
        "SELECT name, settings, added_at, least, most FROM rail ORDER BY position, added_at, name"
    )
    .fetch_all(conn)
    .await?;
    let bound = |text: Option<String>| {
        text.map(|text| parse_own(&text, "a rail's bound"))
            .transpose()
    };
    let read = rows.into_iter().map(|row| {
        Ok(RailRow {
            name: row.name,
            settings: row.settings,
            bounds: (bound(row.least)?, bound(row.most)?),
            added_at: from_sql(row.added_at),
        })
    });
    read.collect()
}

/// Puts a rail at a place in the order.
pub(crate) async fn place(
    conn: &mut SqliteConnection,
    name: &str,
    position: u64,
) -> Result<(), ClientError> {
    let position = to_sql(position);
    sqlx::query!(
        "UPDATE rail SET position = ? WHERE name = ?",
        position,
        name
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets a rail. `false` if there is none of the name.
pub(crate) async fn remove(conn: &mut SqliteConnection, name: &str) -> Result<bool, ClientError> {
    let done = sqlx::query!("DELETE FROM rail WHERE name = ?", name)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps a rule in the place of an earlier one.
pub(crate) async fn put_rule(
    conn: &mut SqliteConnection,
    rule: &SettleRule,
) -> Result<(), ClientError> {
    let (user, unit) = (rule.key(), rule.unit.to_string());
    let (up_to, rate) = (to_sql(rule.up_to), rule.rate_msat.map(to_sql));
    let per_day = rule.per_day.map(to_sql);
    sqlx::query!(
        "INSERT INTO settle_rule (user, unit, up_to, rate_msat, spread_ppm, by_source, per_day) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (user, unit) DO UPDATE SET up_to = excluded.up_to, rate_msat = excluded.rate_msat,
             spread_ppm = excluded.spread_ppm, by_source = excluded.by_source, per_day = excluded.per_day",
        user,
        unit,
        up_to,
        rate,
        rule.spread_ppm,
        rule.by_source,
        per_day
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes a rule back. `false` if there is none.
pub(crate) async fn remove_rule(
    conn: &mut SqliteConnection,
    user: Option<&UserKey>,
    unit: &Unit,
) -> Result<bool, ClientError> {
    let user = user.map(ToString::to_string).unwrap_or_default();
    let unit = unit.to_string();
    let done = sqlx::query!(
        "DELETE FROM settle_rule WHERE user = ? AND unit = ?",
        user,
        unit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// All rules.
pub(crate) async fn rules(conn: &mut SqliteConnection) -> Result<Vec<SettleRule>, ClientError> {
    let rows = sqlx::query!(
        "SELECT user, unit, up_to, rate_msat, spread_ppm, by_source, per_day FROM settle_rule ORDER BY unit, user"
    )
    .fetch_all(conn)
    .await?;
    let read = rows.into_iter().map(|row| {
        let user = Some(row.user.as_str()).filter(|user| !user.is_empty());
        Ok(SettleRule {
            user: user
                .map(|user| parse_own(user, "a rule's friend"))
                .transpose()?,
            unit: parse_own(&row.unit, "a rule's unit")?,
            up_to: from_sql(row.up_to),
            rate_msat: row.rate_msat.map(from_sql),
            spread_ppm: u32::try_from(row.spread_ppm).unwrap_or(0),
            by_source: row.by_source != 0,
            per_day: row.per_day.map(from_sql),
        })
    });
    read.collect()
}

/// The rule for requests of a friend in a unit: their own, else the one for everybody.
pub(crate) async fn rule_for(
    conn: &mut SqliteConnection,
    user: &UserKey,
    unit: &Unit,
) -> Result<Option<SettleRule>, ClientError> {
    let all = rules(conn).await?;
    let of = |whose: Option<UserKey>| {
        all.iter()
            .find(|rule| rule.user == whose && rule.unit == *unit)
            .cloned()
    };
    Ok(of(Some(*user)).or_else(|| of(None)))
}

/// What a rule let go since `from`, in minor units.
pub(crate) async fn spent_since(
    conn: &mut SqliteConnection,
    rule: &SettleRule,
    from: u64,
) -> Result<u64, ClientError> {
    let (user, unit, from) = (rule.key(), rule.unit.to_string(), to_sql(from));
    let row = sqlx::query!(
        r#"SELECT coalesce(sum(amount), 0) AS "sum!: i64" FROM auto_spend WHERE rule = ? AND unit = ? AND at > ?"#,
        user,
        unit,
        from
    )
    .fetch_one(conn)
    .await?;
    Ok(from_sql(row.sum))
}

/// Notes that a rule lets a request go.
pub(crate) async fn spend(
    conn: &mut SqliteConnection,
    rule: &SettleRule,
    settlement: &RecordHash,
    amount: u64,
    now: u64,
) -> Result<(), ClientError> {
    let (user, unit) = (rule.key(), rule.unit.to_string());
    let (settlement, amount, now) = (settlement.to_string(), to_sql(amount), to_sql(now));
    sqlx::query!(
        "INSERT INTO auto_spend (settlement, rule, unit, amount, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        settlement,
        user,
        unit,
        amount,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A request that a rule let go ended unpaid.
pub(crate) async fn unspend(
    conn: &mut SqliteConnection,
    settlement: &RecordHash,
) -> Result<(), ClientError> {
    let settlement = settlement.to_string();
    sqlx::query!("DELETE FROM auto_spend WHERE settlement = ?", settlement)
        .execute(conn)
        .await?;
    Ok(())
}

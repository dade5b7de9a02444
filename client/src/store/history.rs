//! What this wallet knows to have happened. Balances never depend on it.

use atomicity_ledger::record::Payment;
use atomicity_ledger::{Unit, UserKey};
use sqlx::SqliteConnection;

use super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;

/// Which way something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the user to the friend.
    Out,
    /// From the friend to the user.
    In,
}

impl Direction {
    /// `out` or `in`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

/// One line of the history.
#[derive(Clone, Debug, Default)]
pub struct HistoryItem {
    /// Its number in this wallet; 0 before it is stored.
    pub id: i64,
    /// When this wallet learned of it, Unix milliseconds.
    pub at: u64,
    /// The friend.
    pub user: Option<UserKey>,
    /// The unit.
    pub unit: Option<Unit>,
    /// What happened: `payment`, `refusal`, `line`, `book`, `frozen`, `friend`, `hello`, `unit`, `recovered`, `moved`.
    pub kind: String,
    /// Which way.
    pub direction: Option<Direction>,
    /// How much, in minor units.
    pub amount: Option<u64>,
    /// The epoch of the state it belongs to.
    pub epoch: Option<u64>,
    /// The `seq` of the state or line it belongs to.
    pub seq: Option<u64>,
    /// `sent`, `acknowledged`, `refused` or `received`.
    pub status: Option<String>,
    /// The payment's own name.
    pub payment: Option<String>,
    /// What the payer wrote beside it.
    pub memo: Option<String>,
    /// What the payer referred to.
    pub reference: Option<String>,
    /// In words, where the columns don't say it.
    pub note: Option<String>,
}

struct Row {
    id: i64,
    at: i64,
    user: Option<String>,
    unit: Option<String>,
    kind: String,
    direction: Option<String>,
    amount: Option<i64>,
    epoch: Option<i64>,
    seq: Option<i64>,
    status: Option<String>,
    payment: Option<String>,
    memo: Option<String>,
    reference: Option<String>,
    note: Option<String>,
}

impl TryFrom<Row> for HistoryItem {
    type Error = ClientError;

    fn try_from(row: Row) -> Result<Self, ClientError> {
        Ok(Self {
            id: row.id,
            at: from_sql(row.at),
            user: row
                .user
                .map(|user| parse_own(&user, "the history"))
                .transpose()?,
            unit: row
                .unit
                .map(|unit| parse_own(&unit, "the history"))
                .transpose()?,
            kind: row.kind,
            direction: row.direction.map(|text| match text.as_str() {
                "out" => Direction::Out,
                _ => Direction::In,
            }),
            amount: row.amount.map(from_sql),
            epoch: row.epoch.map(from_sql),
            seq: row.seq.map(from_sql),
            status: row.status,
            payment: row.payment,
            memo: row.memo,
            reference: row.reference,
            note: row.note,
        })
    }
}

/// Adds a line. A payment that is already there is left as it is.
pub(crate) async fn add(
    conn: &mut SqliteConnection,
    item: &HistoryItem,
) -> Result<(), ClientError> {
    let at = to_sql(item.at);
    let user = item.user.as_ref().map(ToString::to_string);
    let unit = item.unit.as_ref().map(ToString::to_string);
    let direction = item.direction.map(Direction::as_str);
    let amount = item.amount.map(to_sql);
    let epoch = item.epoch.map(to_sql);
    let seq = item.seq.map(to_sql);
    sqlx::query!(
        "INSERT INTO history (at, user, unit, kind, direction, amount, epoch, seq, status, payment, memo, reference, note)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
        at,
        user,
        unit,
        item.kind,
        direction,
        amount,
        epoch,
        seq,
        item.status,
        item.payment,
        item.memo,
        item.reference,
        item.note,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The amount and the note of a promise that went this way and refers to this, the newest first.
pub(crate) async fn promised(
    conn: &mut SqliteConnection,
    direction: Direction,
    reference: &str,
) -> Result<Option<(u64, String)>, ClientError> {
    let direction = direction.as_str();
    let row = sqlx::query!(
        "SELECT amount, note FROM history WHERE kind = 'promised' AND direction = ? AND reference = ? ORDER BY id DESC LIMIT 1",
        direction,
        reference
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.amount.map_or(0, from_sql), row.note.unwrap_or_default())))
}

/// Marks what was sent up to (`epoch`, `seq`) as acknowledged; returns how many payments that were.
pub(crate) async fn acknowledged(
    conn: &mut SqliteConnection,
    user: &UserKey,
    unit: &Unit,
    epoch: u64,
    seq: u64,
) -> Result<u64, ClientError> {
    let user = user.to_string();
    let unit = unit.to_string();
    let epoch = to_sql(epoch);
    let seq = to_sql(seq);
    let done = sqlx::query!(
        "UPDATE history SET status = 'acknowledged'
         WHERE user = ? AND unit = ? AND status = 'sent' AND (epoch < ?3 OR (epoch = ?3 AND seq <= ?4))",
        user,
        unit,
        epoch,
        seq
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// States of one epoch: those after `after`, up to `to`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    /// The epoch.
    pub epoch: u64,
    /// The last state that stands.
    pub after: u64,
    /// The last state that failed.
    pub to: u64,
}

/// Marks payments as refused: the user's own (out) or the friend's (in).
pub(crate) async fn refused(
    conn: &mut SqliteConnection,
    user: &UserKey,
    unit: &Unit,
    range: Range,
    of: Direction,
) -> Result<(), ClientError> {
    let user = user.to_string();
    let unit = unit.to_string();
    let of = of.as_str();
    let epoch = to_sql(range.epoch);
    let after = to_sql(range.after);
    let to = to_sql(range.to);
    sqlx::query!(
        "UPDATE history SET status = 'refused'
         WHERE user = ? AND unit = ? AND kind = 'payment' AND direction = ? AND epoch = ? AND seq > ? AND seq <= ?",
        user,
        unit,
        of,
        epoch,
        after,
        to
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks what was sent before `epoch` as acknowledged: whoever took the book of `epoch` took the totals that it carries over.
pub(crate) async fn epoch_ended(
    conn: &mut SqliteConnection,
    user: &UserKey,
    epoch: u64,
) -> Result<(), ClientError> {
    let user = user.to_string();
    let epoch = to_sql(epoch);
    sqlx::query!(
        "UPDATE history SET status = 'acknowledged' WHERE user = ? AND status = 'sent' AND epoch < ?",
        user,
        epoch
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether something was given to a friend with this reference beside it.
pub(crate) async fn was_sent_for(
    conn: &mut SqliteConnection,
    user: &UserKey,
    reference: &str,
) -> Result<bool, ClientError> {
    let user = user.to_string();
    let row = sqlx::query!(
        r#"SELECT count(*) AS "n!: i64" FROM history
           WHERE user = ? AND reference = ? AND kind = 'payment' AND direction = 'out'"#,
        user,
        reference
    )
    .fetch_one(conn)
    .await?;
    Ok(row.n > 0)
}

/// The number of the state that made a payment of this user, 0 if it is not known.
pub(crate) async fn seq_of(conn: &mut SqliteConnection, payment: &str) -> Result<u64, ClientError> {
    let row = sqlx::query!(
        "SELECT seq FROM history WHERE payment = ? AND direction = 'out' LIMIT 1",
        payment
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.and_then(|row| row.seq).map_or(0, from_sql))
}

/// Adds the description of a payment whose amount was told without one.
pub(crate) async fn describe(
    conn: &mut SqliteConnection,
    user: &UserKey,
    payment: &Payment,
) -> Result<(), ClientError> {
    let user = user.to_string();
    let unit = payment.unit.to_string();
    let epoch = to_sql(payment.epoch.get());
    let seq = to_sql(payment.seq.get());
    let amount = to_sql(payment.amount.minor());
    let id = payment.id.to_string();
    let memo = payment.memo.as_ref().map(ToString::to_string);
    let reference = payment.reference.as_ref().map(ToString::to_string);
    sqlx::query!(
        "UPDATE OR IGNORE history SET payment = ?, memo = ?, reference = ?
         WHERE user = ? AND unit = ? AND kind = 'payment' AND direction = 'in' AND payment IS NULL
           AND epoch = ? AND seq = ? AND amount = ?",
        id,
        memo,
        reference,
        user,
        unit,
        epoch,
        seq,
        amount
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Which lines to show.
#[derive(Clone, Debug, Default)]
pub struct HistoryQuery {
    /// Only this friend.
    pub user: Option<UserKey>,
    /// Only this unit.
    pub unit: Option<Unit>,
    /// Only lines before this number.
    pub before: Option<i64>,
    /// At most this many (1 to 1000).
    pub limit: u32,
}

/// Lines, newest first.
pub(crate) async fn list(
    conn: &mut SqliteConnection,
    query: &HistoryQuery,
) -> Result<Vec<HistoryItem>, ClientError> {
    let user = query.user.as_ref().map(ToString::to_string);
    let unit = query.unit.as_ref().map(ToString::to_string);
    let before = query.before.unwrap_or(i64::MAX);
    let limit = query.limit.clamp(1, 1000);
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, at, user, unit, kind, direction, amount, epoch, seq, status, payment, memo, reference, note
         FROM history
         WHERE id < ?1 AND (?2 IS NULL OR user = ?2) AND (?3 IS NULL OR unit = ?3)
         ORDER BY id DESC LIMIT ?4",
        before,
        user,
        unit,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(HistoryItem::try_from).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::Store;
    use atomicity_ledger::Keypair;

    fn payment(user: UserKey, seq: u64) -> HistoryItem {
        HistoryItem {
            at: 1,
            user: Some(user),
            unit: Some("BREAD/2".parse().unwrap()),
            kind: "payment".to_owned(),
            direction: Some(Direction::Out),
            amount: Some(100),
            epoch: Some(0),
            seq: Some(seq),
            status: Some("sent".to_owned()),
            payment: Some(format!("p{seq}")),
            ..HistoryItem::default()
        }
    }

    #[tokio::test]
    async fn payments_end_as_acknowledged_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("w")).await.unwrap();
        let user = Keypair::from_secret(&[1; 32]).user_key();
        let unit: Unit = "BREAD/2".parse().unwrap();
        let mut tx = store.write().await.unwrap();
        for seq in 1..=3 {
            add(tx.conn(), &payment(user, seq)).await.unwrap();
            add(tx.conn(), &payment(user, seq)).await.unwrap();
        }
        let range = Range {
            epoch: 0,
            after: 1,
            to: 2,
        };
        refused(tx.conn(), &user, &unit, range, Direction::Out)
            .await
            .unwrap();
        assert_eq!(
            acknowledged(tx.conn(), &user, &unit, 0, 3).await.unwrap(),
            2
        );
        let query = HistoryQuery {
            limit: 10,
            ..HistoryQuery::default()
        };
        let items = list(tx.conn(), &query).await.unwrap();
        let status: Vec<_> = items.iter().map(|i| i.status.clone().unwrap()).collect();
        assert_eq!(status, ["acknowledged", "refused", "acknowledged"]);
    }

    #[tokio::test]
    async fn pages_join_without_gap_or_overlap() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("w")).await.unwrap();
        let user = Keypair::from_secret(&[1; 32]).user_key();
        let mut tx = store.write().await.unwrap();
        for seq in 1..=7 {
            add(tx.conn(), &payment(user, seq)).await.unwrap();
        }
        let mut query = HistoryQuery {
            limit: 3,
            user: Some(user),
            ..HistoryQuery::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = list(tx.conn(), &query).await.unwrap();
            let Some(last) = page.last() else { break };
            query.before = Some(last.id);
            seen.extend(page.iter().map(|item| item.seq.unwrap()));
        }
        assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
    }
}

//! What rails have to remember: what people were asked to pay by hand and have said, and the transactions that may have been sent.

use atomicity_ledger::text::RailProof;
use atomicity_ledger::{Memo, Money};
use sqlx::SqliteConnection;

use super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;

/// Something that is to be paid by hand.
#[derive(Clone, Debug)]
pub(crate) struct HandRow {
    /// How much.
    pub money: Money,
    /// What the user said.
    pub payer: Option<HandWord>,
    /// What the other side's books said.
    pub received: Option<RailProof>,
}

/// What the user said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HandWord {
    /// It was paid.
    Paid(RailProof),
    /// It was not paid and will not be.
    NotPaid(Option<Memo>),
}

/// Keeps what is to be paid, unless it is known.
pub(crate) async fn ask(
    conn: &mut SqliteConnection,
    id: &str,
    target: &str,
    money: &Money,
    now: u64,
) -> Result<(), ClientError> {
    let (amount, unit, now) = (
        to_sql(money.amount.minor()),
        money.unit.to_string(),
        to_sql(now),
    );
    sqlx::query!(
        "INSERT INTO hand_order (id, target, amount, unit, asked_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        id,
        target,
        amount,
        unit,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What is known of a payment by hand.
pub(crate) async fn get(
    conn: &mut SqliteConnection,
    id: &str,
) -> Result<Option<HandRow>, ClientError> {
    let row = sqlx::query!(
        "SELECT amount, unit, payer, words, received FROM hand_order WHERE id = ?",
        id
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let words = row.words.as_deref();
    let payer = match row.payer.as_deref() {
        Some("paid") => Some(HandWord::Paid(parse_own(
            words.unwrap_or_default(),
            "the words of a payment by hand",
        )?)),
        Some(_) => Some(HandWord::NotPaid(
            words
                .map(|text| parse_own(text, "the words of a payment by hand"))
                .transpose()?,
        )),
        None => None,
    };
    let amount = from_sql(row.amount);
    Ok(Some(HandRow {
        money: Money {
            amount: atomicity_ledger::Amount::from_minor(amount)?,
            unit: parse_own(&row.unit, "the unit of a payment by hand")?,
        },
        payer,
        received: row
            .received
            .map(|text| parse_own(&text, "the words of a payment by hand"))
            .transpose()?,
    }))
}

/// Keeps the user's word, unless there is one. `false` if there is, or nothing was asked.
pub(crate) async fn say(
    conn: &mut SqliteConnection,
    id: &str,
    word: &HandWord,
) -> Result<bool, ClientError> {
    let (payer, words) = match word {
        HandWord::Paid(words) => ("paid", Some(words.as_str().to_owned())),
        HandWord::NotPaid(why) => ("not_paid", why.as_ref().map(ToString::to_string)),
    };
    let done = sqlx::query!(
        "UPDATE hand_order SET payer = ?, words = ? WHERE id = ? AND payer IS NULL",
        payer,
        words,
        id
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps the other side's word that it came.
pub(crate) async fn received(
    conn: &mut SqliteConnection,
    id: &str,
    words: &RailProof,
) -> Result<(), ClientError> {
    let words = words.as_str();
    sqlx::query!(
        "UPDATE hand_order SET received = ? WHERE id = ? AND received IS NULL",
        words,
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The transaction of a payment, if there is one: JSON of its rail.
pub(crate) async fn draft(
    conn: &mut SqliteConnection,
    id: &str,
) -> Result<Option<String>, ClientError> {
    let row = sqlx::query!("SELECT body FROM chain_draft WHERE id = ?", id)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| row.body))
}

/// Keeps the transaction of a payment, unless it has one.
pub(crate) async fn keep_draft(
    conn: &mut SqliteConnection,
    id: &str,
    body: &str,
    now: u64,
) -> Result<(), ClientError> {
    let now = to_sql(now);
    sqlx::query!(
        "INSERT INTO chain_draft (id, body, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        id,
        body,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

//! What is being settled with a friend, and keeps their books here.

use atomicity_ledger::pair::Pair;
use atomicity_ledger::record::{AckItem, Settlement, SettlementAnswer, SettlementWithdrawal};
use atomicity_ledger::settle::{DemandStage, OVERDUE_MS, Stage};
use atomicity_ledger::{Record as _, Signed, Timestamp, Unit, UserKey};
use sqlx::SqliteConnection;

use super::super::books;
use super::LISTED;
use crate::error::ClientError;
use crate::store::{demands, pairs, settlements};

/// How long the books wait for the friend to take that something was paid, in milliseconds.
const WORD_MS: u64 = 60 * 60 * 1000;

/// Whether a record of this type is about a settlement.
pub(crate) fn is_kind(typ: &str) -> bool {
    [
        Settlement::TYP,
        SettlementAnswer::TYP,
        SettlementWithdrawal::TYP,
    ]
    .contains(&typ)
}

/// Whether something that is settled with a friend needs their books here. What waits for this user's word does not, nor what should
/// have ended long ago: who keeps the books then books it by itself, or lets them come home once more.
pub(crate) async fn is_under_way(
    conn: &mut SqliteConnection,
    user: &UserKey,
    now: Timestamp,
) -> Result<bool, ClientError> {
    let late = |asked: &Signed<Settlement>| now > asked.record().expires.plus_millis(OVERDUE_MS);
    let asked_of_us = settlements::open_with(conn, user).await?;
    let busy = asked_of_us.iter().any(|row| match row.discharge.stage() {
        Stage::Received => row.approved,
        Stage::Proven { .. } => !late(row.discharge.settlement()),
        _ => true,
    });
    if busy {
        return Ok(true);
    }
    let asked_by_us = demands::open_with(conn, user).await?;
    if asked_by_us.iter().any(|row| !late(row.demand.settlement())) {
        return Ok(true);
    }
    is_word_out(conn, user, now).await
}

/// Whether the friend has not taken yet that something was paid: the payment that says so counts in the epoch in which it was signed.
async fn is_word_out(
    conn: &mut SqliteConnection,
    user: &UserKey,
    now: Timestamp,
) -> Result<bool, ClientError> {
    let since = now.millis().saturating_sub(WORD_MS);
    let recent = demands::list(conn, LISTED).await?;
    let mut recent = recent.iter().filter(|row| {
        let asked = row.demand.settlement().record();
        let booked = *row.demand.stage() == DemandStage::Booked && asked.release.is_none();
        row.user == *user && booked && row.ended_at.is_some_and(|at| at > since)
    });
    let Some(row) = pairs::get(conn, user).await? else {
        return Ok(false);
    };
    let pair = books::parse(&row.body)?;
    Ok(recent.any(|row| !is_taken(&pair, &row.demand.settlement().record().unit)))
}

/// Whether the peer has acknowledged the newest state of the owner.
fn is_taken(pair: &Pair, unit: &Unit) -> bool {
    let side = pair.own().unit(unit);
    let Some((side, newest)) = side.and_then(|side| Some((side, side.newest()?))) else {
        return true;
    };
    let items = side.ack().map(|ack| ack.record().items.as_slice());
    items
        .unwrap_or_default()
        .iter()
        .any(|item| matches!(item, AckItem::State(taken) if taken.hash == newest.hash()))
}

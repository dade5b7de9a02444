//! What is sent to a friend after a change of the books, and when logs have to be read for it.

use atomicity_ledger::pair::{Event, Pair};
use atomicity_ledger::record::View;
use atomicity_ledger::text::ProofText;
use atomicity_ledger::{AnyRecord, Signed, UserKey};
use sqlx::SqliteConnection;

use super::super::books::Change;
use super::super::{entropy, now};
use crate::error::ClientError;
use crate::store::{logs, settings};

/// The most checkpoints that are shown beside a promise or a publication.
const MAX_SHOWN: usize = 8;

/// Puts records for the peer into the outbox; beside a promise or a proof goes what this wallet was shown of the logs.
pub(crate) async fn dispatch(
    change: &mut Change,
    me: UserKey,
    pair: &Pair,
    records: Vec<AnyRecord>,
) -> Result<(), ClientError> {
    if records.is_empty() {
        return Ok(());
    }
    change.signed();
    let mut sent: Vec<String> = records.iter().map(|r| r.jws().to_owned()).collect();
    let hangs = |record: &AnyRecord| {
        matches!(
            record,
            AnyRecord::ConditionalIou(_) | AnyRecord::Publication(_)
        )
    };
    if records.iter().any(hangs)
        && let Some(view) = view_for(change, me, pair).await?
    {
        sent.push(view);
    }
    change.send(&pair.peer(), &sent).await
}

/// Whether one of these makes it necessary to read logs.
pub(crate) fn concerns_logs(events: &[Event]) -> bool {
    let concerns = |event: &Event| {
        matches!(
            event,
            Event::Promised(_) | Event::View(_) | Event::Due { .. } | Event::Merged { .. }
        )
    };
    events.iter().any(concerns)
}

/// Says that the logs have to be read.
pub(crate) async fn want_logs(change: &mut Change) -> Result<(), ClientError> {
    want(change.conn()).await
}

/// The same in another transaction.
pub(crate) async fn want(conn: &mut SqliteConnection) -> Result<(), ClientError> {
    let mark = atomicity_ledger::RecordId::from_entropy(entropy()).to_string();
    settings::set(conn, settings::LOGS_WANTED, &mark).await
}

/// The newest checkpoints that this wallet relied on, signed for a friend; `None` if there are none.
async fn view_for(
    change: &mut Change,
    me: UserKey,
    pair: &Pair,
) -> Result<Option<String>, ClientError> {
    let rows = logs::list(change.conn()).await?;
    let notes = rows.into_iter().filter_map(|row| row.checkpoint);
    let fits = notes.filter(|note| note.len() <= 4096);
    let checkpoints: Vec<ProofText> = fits
        .filter_map(|note| ProofText::try_from(note).ok())
        .take(MAX_SHOWN)
        .collect();
    if checkpoints.is_empty() {
        return Ok(None);
    }
    let view = View {
        v: atomicity_ledger::jws::Version,
        from: me,
        to: pair.peer(),
        checkpoints,
        at: now(),
    };
    let signed = Signed::sign(view, &change.keys.pen)?;
    Ok(Some(signed.jws().to_owned()))
}

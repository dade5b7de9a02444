//! Tombstones of this log: a log that was silent for too long is dead to its cosigners, and with enough of them for everybody.

use atomicity_witness_log::note::SignedNote;
use atomicity_witness_log::{LogError, Tombstone, Tombstones, VerifierKey};
use sqlx::PgPool;
use url::Url;

use super::{WitnessLog, tiles};
use crate::cosigner::{TombstoneItem, TombstoneList};
use crate::error::PluginError;
use crate::resolve::call::Call;
use crate::state::AppState;

/// Longest list of tombstones that is read, in bytes. A cosigner may follow many logs.
const MAX_LIST: usize = 2 * 1024 * 1024;

/// The tombstones that are known.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn known(pool: &PgPool, log: &WitnessLog) -> Result<Vec<TombstoneItem>, PluginError> {
    let rows = sqlx::query!(
        "SELECT size, note FROM log_tombstones WHERE log = $1 ORDER BY cosigner LIMIT 64",
        log.id()
    )
    .fetch_all(pool)
    .await?;
    let origin = log.origin();
    let item = |size, tombstone| TombstoneItem {
        origin: origin.clone(),
        size: u64::try_from(size).unwrap_or(0),
        tombstone,
    };
    Ok(rows
        .into_iter()
        .map(|row| item(row.size, row.note))
        .collect())
}

/// Fetches the tombstone that a cosigner says it signed, keeps it, and stops the log if no quorum is left.
///
/// # Errors
/// [`PluginError::Upstream`] if the cosigner does not show one, [`PluginError::Database`].
pub async fn fetch(
    state: &AppState,
    log: &WitnessLog,
    cosigner: &VerifierKey,
    url: &Url,
) -> Result<(), PluginError> {
    let call = Call {
        url,
        body: None,
        max_bytes: MAX_LIST,
    };
    let answer = state.resolver.call(&call).await?;
    let list: TombstoneList = serde_json::from_slice(&answer.body)
        .map_err(|_| PluginError::Upstream("the cosigner shows no tombstones".to_owned()))?;
    let origin = log.origin();
    let own = list.items.into_iter().filter(|item| item.origin == origin);
    let (tombstone, note) = own
        .filter_map(|item| read(&item, cosigner).ok())
        .find(|(tombstone, _)| tombstone.origin == origin)
        .ok_or_else(|| PluginError::Upstream("the cosigner shows no tombstone".to_owned()))?;
    sqlx::query!(
        "INSERT INTO log_tombstones (log, cosigner, size, note) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        log.id(),
        cosigner.public(),
        i64::try_from(tombstone.size).unwrap_or(i64::MAX),
        note.to_string()
    )
    .execute(&state.pool)
    .await?;
    tracing::error!(
        cosigner = cosigner.name(),
        size = tombstone.size,
        "a cosigner has given this log up: it was silent for too long"
    );
    stop_if_ended(state, log).await
}

fn read(item: &TombstoneItem, cosigner: &VerifierKey) -> Result<(Tombstone, SignedNote), LogError> {
    let note = SignedNote::parse(item.tombstone.as_bytes())?;
    Ok((Tombstone::verify(&note, cosigner)?, note))
}

/// Stops the log if its tombstones leave no quorum.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn stop_if_ended(state: &AppState, log: &WitnessLog) -> Result<(), PluginError> {
    let notes = known(&state.pool, log)
        .await?
        .iter()
        .filter_map(|item| SignedNote::parse(item.tombstone.as_bytes()).ok())
        .collect::<Vec<_>>();
    let end = Tombstones::end(log.policy(), &log.origin(), &notes);
    match end {
        Ok(None) => {}
        // Whether they agree on the root or not: nothing can be published any more.
        Ok(Some(_)) | Err(LogError::TombstonesDisagree { .. }) => {
            tracing::error!("so many cosigners gave this log up that it has ended: make a new one");
            log.stop("tombstoned");
        }
        Err(other) => return Err(tiles::failed(&other)),
    }
    Ok(())
}

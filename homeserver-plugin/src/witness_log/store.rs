//! A log in the database. Entries, tiles and head change together, or not at all.

use atomicity_witness_log::leaf::preimage_hash;
use atomicity_witness_log::tile::TileKind;
use atomicity_witness_log::{Batch, Checkpoint, Hash, Leaf, SigningKey, TilePath};
use axum::body::Bytes;
use sqlx::postgres::PgConnection;
use sqlx::{Acquire as _, PgPool};

use crate::error::PluginError;

/// A log as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLog {
    /// The name in its checkpoints.
    pub origin: String,
    /// Everything that was sequenced.
    pub head: Checkpoint,
    /// Entries under the published checkpoint.
    pub published_size: u64,
    /// The published checkpoint.
    pub checkpoint: Option<String>,
}

/// Where a preimage stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Index of its entry.
    pub index: u64,
    /// The entry's time, Unix milliseconds of the log's clock.
    pub time_ms: u64,
}

/// Somebody wants this preimage in the log, at or after this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// SHA-256 of the preimage.
    pub hash: [u8; 32],
    /// Entries before this index don't count.
    pub min_index: u64,
}

/// Why a batch was not stored.
#[derive(Debug)]
pub enum AppendError {
    /// Nothing was stored: trying again is safe.
    NotStored(PluginError),
    /// The head is not the one this process believes in, or nobody knows whether it was moved. Nothing may be signed any more.
    Doubt(PluginError),
}

impl From<sqlx::Error> for AppendError {
    fn from(error: sqlx::Error) -> Self {
        let error = PluginError::from(error);
        // What the database refuses for good contradicts what this process believes.
        if error.code() == "database_unavailable" {
            Self::NotStored(error)
        } else {
            Self::Doubt(error)
        }
    }
}

fn broken(what: &str) -> PluginError {
    PluginError::Internal(format!("the database holds {what}"))
}

fn unsigned(value: i64) -> Result<u64, PluginError> {
    u64::try_from(value).map_err(|_| broken("a negative number of entries"))
}

fn signed(value: u64) -> Result<i64, PluginError> {
    i64::try_from(value).map_err(|_| PluginError::Internal("a number is out of range".to_owned()))
}

/// The column that stands for a kind of tile.
fn level(kind: TileKind) -> i16 {
    match kind {
        TileKind::Hashes(level) => i16::from(level),
        TileKind::Entries => -1,
    }
}

/// Writes down a new, empty log.
///
/// # Errors
/// [`PluginError::Config`] if there is a log of this origin already, or [`PluginError::Database`].
pub async fn create(
    connection: &mut PgConnection,
    key: &SigningKey,
    now: i64,
) -> Result<(), PluginError> {
    let (vkey, root) = (key.verifier(), Hash::empty_root());
    let made = sqlx::query!(
        "INSERT INTO logs (log, origin, created_at, root) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        vkey.public(),
        vkey.name(),
        now,
        root.as_bytes()
    )
    .execute(connection)
    .await?
    .rows_affected();
    if made == 1 {
        Ok(())
    } else {
        Err(PluginError::Config(format!(
            "the database has a log `{}` already",
            vkey.name()
        )))
    }
}

/// The log of this key.
///
/// # Errors
/// [`PluginError::Database`], or [`PluginError::Internal`] if the row makes no sense.
pub async fn load(
    connection: &mut PgConnection,
    log: &[u8; 32],
) -> Result<Option<StoredLog>, PluginError> {
    let row = sqlx::query!(
        "SELECT origin, size, root, published_size, checkpoint FROM logs WHERE log = $1",
        log
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let root = row
        .root
        .try_into()
        .map_err(|_| broken("a root that is none"))?;
    Ok(Some(StoredLog {
        head: Checkpoint::new(&row.origin, unsigned(row.size)?, Hash::from_bytes(root)),
        origin: row.origin,
        published_size: unsigned(row.published_size)?,
        checkpoint: row.checkpoint,
    }))
}

/// The widest form of a tile or bundle, with its width.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn tile(
    pool: &PgPool,
    log: &[u8; 32],
    kind: TileKind,
    index: u64,
) -> Result<Option<(u16, Bytes)>, PluginError> {
    let row = sqlx::query!(
        "SELECT width, bytes FROM log_tiles WHERE log = $1 AND level = $2 AND index = $3",
        log,
        level(kind),
        signed(index)?
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let width = u16::try_from(row.width).map_err(|_| broken("a tile of negative width"))?;
    Ok(Some((width, Bytes::from(row.bytes))))
}

/// The first entry at or after `min_index` that holds the preimage of `hash`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn find(
    pool: &PgPool,
    log: &[u8; 32],
    wanted: &Wanted,
) -> Result<Option<Placed>, PluginError> {
    let row = sqlx::query!(
        "SELECT index, time_ms FROM log_preimages WHERE log = $1 AND hash = $2 AND index >= $3 ORDER BY index LIMIT 1",
        log,
        &wanted.hash,
        signed(wanted.min_index)?
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| placed(row.index, row.time_ms)).transpose()
}

fn placed(index: i64, time_ms: i64) -> Result<Placed, PluginError> {
    Ok(Placed {
        index: unsigned(index)?,
        time_ms: unsigned(time_ms)?,
    })
}

/// For each wanted preimage, where it stands already.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn find_all(
    connection: &mut PgConnection,
    log: &[u8; 32],
    wanted: &[Wanted],
) -> Result<Vec<Option<Placed>>, PluginError> {
    let mut found = vec![None; wanted.len()];
    if wanted.is_empty() {
        return Ok(found);
    }
    let hashes: Vec<Vec<u8>> = wanted.iter().map(|w| w.hash.to_vec()).collect();
    let minima = wanted
        .iter()
        .map(|w| signed(w.min_index))
        .collect::<Result<Vec<_>, _>>()?;
    let rows = sqlx::query!(
        r#"SELECT w.position AS "position!", p.index AS "index!", p.time_ms AS "time_ms!"
           FROM unnest($2::bytea[], $3::bigint[]) WITH ORDINALITY AS w(hash, min_index, position)
           CROSS JOIN LATERAL (
               SELECT index, time_ms FROM log_preimages
               WHERE log = $1 AND hash = w.hash AND index >= w.min_index
               ORDER BY index LIMIT 1
           ) AS p"#,
        log,
        &hashes,
        &minima
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        let at = usize::try_from(row.position).unwrap_or(0).wrapping_sub(1);
        if let Some(slot) = found.get_mut(at) {
            *slot = Some(placed(row.index, row.time_ms)?);
        }
    }
    Ok(found)
}

/// Stores a batch and moves the head from `old` to the batch's, in one transaction.
///
/// # Errors
/// [`AppendError`].
pub async fn append(
    connection: &mut PgConnection,
    log: &[u8; 32],
    old: &Checkpoint,
    batch: &Batch,
) -> Result<(), AppendError> {
    let mut tx = connection.begin().await?;
    put_tiles(&mut tx, log, &batch.resources).await?;
    fault(batch, "tiles_written");
    put_preimages(&mut tx, log, batch).await?;
    fault(batch, "preimages_written");
    move_head(&mut tx, log, old, batch).await?;
    fault(batch, "head_written");
    // Whether a commit that failed took effect is unknown.
    let committed = tx.commit().await;
    fault(batch, "committed");
    committed.map_err(|error| AppendError::Doubt(error.into()))
}

/// Tests break batches that somebody waits for.
fn fault(batch: &Batch, place: &str) {
    if batch.leaves.len() > 1 {
        super::fault::point(place);
    }
}

async fn put_tiles(
    tx: &mut PgConnection,
    log: &[u8; 32],
    resources: &[(TilePath, Vec<u8>)],
) -> Result<(), AppendError> {
    let mut levels = Vec::with_capacity(resources.len());
    let mut indexes = Vec::with_capacity(resources.len());
    let mut widths = Vec::with_capacity(resources.len());
    let mut bytes = Vec::with_capacity(resources.len());
    for (path, content) in resources {
        levels.push(level(path.kind()));
        indexes.push(signed(path.index()).map_err(AppendError::NotStored)?);
        widths.push(i16::try_from(path.width()).unwrap_or(i16::MAX));
        bytes.push(content.clone());
    }
    sqlx::query!(
        "INSERT INTO log_tiles (log, level, index, width, bytes)
         SELECT $1, * FROM unnest($2::smallint[], $3::bigint[], $4::smallint[], $5::bytea[])
         ON CONFLICT (log, level, index) DO UPDATE SET width = EXCLUDED.width, bytes = EXCLUDED.bytes",
        log,
        &levels,
        &indexes,
        &widths,
        &bytes
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn put_preimages(
    tx: &mut PgConnection,
    log: &[u8; 32],
    batch: &Batch,
) -> Result<(), AppendError> {
    let mut hashes = Vec::new();
    let mut indexes = Vec::new();
    let mut times = Vec::new();
    for (index, leaf) in (batch.first_index..).zip(&batch.leaves) {
        if let Leaf::Preimage { time_ms, preimage } = leaf {
            hashes.push(preimage_hash(preimage).to_vec());
            indexes.push(signed(index).map_err(AppendError::NotStored)?);
            times.push(signed(*time_ms).map_err(AppendError::NotStored)?);
        }
    }
    if hashes.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO log_preimages (log, hash, index, time_ms)
         SELECT $1, * FROM unnest($2::bytea[], $3::bigint[], $4::bigint[])",
        log,
        &hashes,
        &indexes,
        &times
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn move_head(
    tx: &mut PgConnection,
    log: &[u8; 32],
    old: &Checkpoint,
    batch: &Batch,
) -> Result<(), AppendError> {
    let new = &batch.checkpoint;
    let number = |value| signed(value).map_err(AppendError::NotStored);
    let last_time = batch.leaves.last().map_or(0, Leaf::time_ms);
    let moved = sqlx::query!(
        "UPDATE logs SET size = $4, root = $5, last_time_ms = $6 WHERE log = $1 AND size = $2 AND root = $3",
        log,
        number(old.size)?,
        old.root.as_bytes(),
        number(new.size)?,
        new.root.as_bytes(),
        number(last_time)?
    )
    .execute(tx)
    .await?
    .rows_affected();
    if moved == 1 {
        Ok(())
    } else {
        Err(AppendError::Doubt(PluginError::Internal(
            "the head in the database is not the one that this process left there".to_owned(),
        )))
    }
}

/// Writes down the checkpoint that is served from now on.
///
/// # Errors
/// [`PluginError::Database`]; [`PluginError::Internal`] if it is not newer than the one there, or ahead of the head.
pub async fn publish(
    pool: &PgPool,
    log: &[u8; 32],
    size: u64,
    checkpoint: &str,
) -> Result<(), PluginError> {
    let published = sqlx::query!(
        "UPDATE logs SET published_size = $2, checkpoint = $3 WHERE log = $1 AND published_size <= $2 AND size >= $2",
        log,
        signed(size)?,
        checkpoint
    )
    .execute(pool)
    .await?
    .rows_affected();
    if published == 1 {
        Ok(())
    } else {
        Err(PluginError::Internal(
            "the published checkpoint in the database is ahead of this process".to_owned(),
        ))
    }
}

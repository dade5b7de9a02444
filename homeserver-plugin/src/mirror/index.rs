//! Where preimages stand in a mirror, by their hash: for people who look one up.
//!
//! It follows the mirror, in pieces, and is no part of what a cosigner promises: a mirror whose index is behind is as good as another.

use atomicity_witness_log::leaf::preimage_hash;
use atomicity_witness_log::tile::{bundles, decode_bundle};
use atomicity_witness_log::{Leaf, TilePath};
use sqlx::PgPool;

use super::advance::BITE;
use super::store::{self, number, unsigned};
use super::{LogId, MirrorError};
use crate::error::PluginError;

/// Most entries that one step takes.
pub const PIECE: u64 = BITE;

/// What the index knows of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The first entry with its preimage.
    At(u64),
    /// No entry has it.
    Nowhere,
    /// None so far, but the index does not reach as far as was asked.
    NotYet,
}

/// Preimages of some entries.
#[derive(Default)]
struct Preimages {
    hashes: Vec<Vec<u8>>,
    indexes: Vec<i64>,
}

/// Takes the next entries of the verified tree into the index, at most [`PIECE`] of them. Nothing happens if it knows them all.
///
/// # Errors
/// [`MirrorError::Log`] if what is stored is damaged; [`MirrorError::Plugin`].
pub async fn catch_up(pool: &PgPool, id: &LogId) -> Result<(), MirrorError> {
    let row = sqlx::query!(
        r#"SELECT m.size, i.size AS "indexed?" FROM mirrors m LEFT JOIN mirror_indexed i USING (log) WHERE log = $1"#,
        &id[..]
    )
    .fetch_one(pool)
    .await?;
    let (size, from) = (unsigned(row.size), unsigned(row.indexed.unwrap_or(0)));
    if size <= from {
        return Ok(());
    }
    let to = size.min(from.saturating_add(PIECE));
    let paths: Vec<TilePath> = bundles(from, to, size).collect();
    let stored = store::tiles(pool, id, &paths).await?;
    let mut found = Preimages::default();
    for path in &paths {
        let bytes = stored.get(path).ok_or_else(|| store::missing(path))?;
        for (index, entry) in (path.start()..to).zip(decode_bundle(path, bytes)?) {
            if index < from {
                continue;
            }
            if let Leaf::Preimage { preimage, .. } = Leaf::decode(entry)? {
                found.hashes.push(preimage_hash(&preimage).to_vec());
                found.indexes.push(number(index)?);
            }
        }
    }
    Ok(write(pool, id, (from, to), &found).await?)
}

/// All of it or nothing; and nothing if somebody else was faster.
async fn write(
    pool: &PgPool,
    id: &LogId,
    (from, to): (u64, u64),
    found: &Preimages,
) -> Result<(), PluginError> {
    let mut tx = pool.begin().await?;
    let moved = sqlx::query!(
        "INSERT INTO mirror_indexed (log, size) VALUES ($1, $3)
         ON CONFLICT (log) DO UPDATE SET size = excluded.size WHERE mirror_indexed.size = $2",
        &id[..],
        number(from)?,
        number(to)?
    )
    .execute(&mut *tx)
    .await?;
    if moved.rows_affected() != 1 {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO mirror_preimages (log, hash, idx) SELECT $1, * FROM unnest($2::bytea[], $3::bigint[])",
        &id[..],
        &found.hashes,
        &found.indexes
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Where the preimage of a hash stands among the first `size` entries of a mirror.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn find(
    pool: &PgPool,
    id: &LogId,
    hash: &[u8; 32],
    size: u64,
) -> Result<Found, PluginError> {
    let row = sqlx::query!(
        r#"SELECT (SELECT min(idx) FROM mirror_preimages WHERE log = $1 AND hash = $2 AND idx < $3) AS found,
                  COALESCE((SELECT size FROM mirror_indexed WHERE log = $1), 0) AS "indexed!""#,
        &id[..],
        &hash[..],
        number(size)?
    )
    .fetch_one(pool)
    .await?;
    Ok(match row.found {
        Some(index) => Found::At(unsigned(index)),
        None if unsigned(row.indexed) < size => Found::NotYet,
        None => Found::Nowhere,
    })
}

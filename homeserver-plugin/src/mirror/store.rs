//! What is stored of a log.

use std::collections::BTreeMap;

use atomicity_witness_log::tile::{TileKind, decode_bundle, encode_bundle};
use atomicity_witness_log::{Follower, LogError, SignedNote, TilePath, Tombstone};
use sqlx::{PgPool, Postgres, Transaction};

use super::{Followed, LogId, MirrorError};
use crate::clock;
use crate::error::PluginError;

/// A mirror as it stands.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// What has to be named to change it.
    pub version: i64,
    /// What is known of the log.
    pub follower: Follower,
    /// The newest checkpoint that the log published.
    pub published: Option<String>,
    /// Size of the largest tree that was cosigned here.
    pub cosigned_size: u64,
    /// Our tombstone.
    pub tombstone: Option<String>,
    /// Whether the log was proven to lie.
    pub forked: bool,
}

/// A change of a mirror.
#[derive(Debug)]
pub struct Change<'a> {
    /// What is known of the log from now on.
    pub follower: &'a Follower,
    /// Tiles and bundles that became wider.
    pub tiles: &'a [(TilePath, Vec<u8>)],
    /// Whether the newest head is cosigned.
    pub cosigned: bool,
    /// A tombstone that was signed.
    pub tombstone: Option<String>,
}

pub(super) fn number(value: u64) -> Result<i64, PluginError> {
    i64::try_from(value).map_err(|_| PluginError::Internal("a size is out of range".to_owned()))
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn level(path: &TilePath) -> i16 {
    match path.kind() {
        TileKind::Hashes(level) => i16::from(level),
        TileKind::Entries => -1,
    }
}

/// Makes a mirror for a log that is followed for the first time.
///
/// # Errors
/// [`PluginError::Config`] if the log was followed with another key; [`PluginError::Database`].
pub async fn open(pool: &PgPool, log: &Followed) -> Result<(), PluginError> {
    let vkey = log.key.to_string();
    sqlx::query!(
        "INSERT INTO mirrors (log, origin, vkey, state) VALUES ($1, $2, $3, $4) ON CONFLICT (log) DO NOTHING",
        &log.id[..],
        log.origin(),
        vkey,
        Follower::new(log.key.clone()).encode()
    )
    .execute(pool)
    .await?;
    let known = sqlx::query_scalar!("SELECT vkey FROM mirrors WHERE log = $1", &log.id[..])
        .fetch_one(pool)
        .await?;
    if known == vkey {
        return Ok(());
    }
    Err(PluginError::Config(format!(
        "the log {} was followed with another key: a log with a new key needs a new origin",
        log.origin()
    )))
}

/// The mirror of a log.
///
/// # Errors
/// [`MirrorError::Plugin`]; [`MirrorError::Log`] if what is stored is damaged.
pub async fn get(pool: &PgPool, id: &LogId) -> Result<Mirror, MirrorError> {
    let row = sqlx::query!(
        r#"SELECT version, state, published, cosigned_size, tombstone,
                  EXISTS (SELECT 1 FROM fork_proofs p WHERE p.log = m.log AND p.role = 'log' AND p.culprit = m.vkey) AS "forked!"
           FROM mirrors m WHERE log = $1"#,
        &id[..]
    )
    .fetch_one(pool)
    .await?;
    Ok(Mirror {
        version: row.version,
        follower: Follower::decode(&row.state)?,
        published: row.published,
        cosigned_size: unsigned(row.cosigned_size),
        tombstone: row.tombstone,
        forked: row.forked,
    })
}

/// The bytes of a tile of which only the beginning is wanted.
fn narrow(path: &TilePath, held: u16, bytes: &[u8]) -> Option<Vec<u8>> {
    if held < path.width() {
        return None;
    }
    match path.kind() {
        TileKind::Hashes(_) => bytes
            .get(..32 * usize::from(path.width()))
            .map(<[u8]>::to_vec),
        TileKind::Entries => {
            let whole = TilePath::new(TileKind::Entries, path.index(), held).ok()?;
            let entries = decode_bundle(&whole, bytes).ok()?;
            encode_bundle(entries.get(..usize::from(path.width()))?).ok()
        }
    }
}

/// Those of the tiles and bundles that are held as wide as asked for. Whether they are verified is for the caller to know: what lies
/// beyond the mirror's size is not.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn tiles(
    pool: &PgPool,
    id: &LogId,
    paths: &[TilePath],
) -> Result<BTreeMap<TilePath, Vec<u8>>, PluginError> {
    let levels: Vec<i16> = paths.iter().map(level).collect();
    let indexes = paths
        .iter()
        .map(|path| number(path.index()))
        .collect::<Result<Vec<_>, _>>()?;
    let rows = sqlx::query!(
        r#"SELECT w.position AS "position!", t.width, t.bytes
           FROM unnest($2::smallint[], $3::bigint[]) WITH ORDINALITY AS w (level, idx, position)
           JOIN mirror_tiles t ON t.log = $1 AND t.level = w.level AND t.idx = w.idx"#,
        &id[..],
        &levels,
        &indexes
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().filter_map(|row| {
        let at = usize::try_from(row.position).ok()?.checked_sub(1)?;
        let path = paths.get(at)?;
        let held = u16::try_from(row.width).ok()?;
        Some((*path, narrow(path, held, &row.bytes)?))
    });
    Ok(found.collect())
}

async fn write_tiles(
    tx: &mut Transaction<'_, Postgres>,
    id: &LogId,
    tiles: &[(TilePath, Vec<u8>)],
) -> Result<(), PluginError> {
    // A growing tree can bring a tile twice: partial, then full. The last one counts.
    let newest: BTreeMap<(i16, u64), (u16, &[u8])> = tiles
        .iter()
        .map(|(path, bytes)| {
            (
                (level(path), path.index()),
                (path.width(), bytes.as_slice()),
            )
        })
        .collect();
    let levels: Vec<i16> = newest.keys().map(|(level, _)| *level).collect();
    let indexes = newest
        .keys()
        .map(|(_, index)| number(*index))
        .collect::<Result<Vec<_>, _>>()?;
    let widths: Vec<i16> = newest
        .values()
        .map(|(width, _)| i16::try_from(*width).unwrap_or(i16::MAX))
        .collect();
    let bytes: Vec<Vec<u8>> = newest.values().map(|(_, bytes)| bytes.to_vec()).collect();
    sqlx::query!(
        "INSERT INTO mirror_tiles (log, level, idx, width, bytes)
         SELECT $1, * FROM unnest($2::smallint[], $3::bigint[], $4::smallint[], $5::bytea[])
         ON CONFLICT (log, level, idx) DO UPDATE SET width = excluded.width, bytes = excluded.bytes",
        &id[..],
        &levels,
        &indexes,
        &widths,
        &bytes
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Writes tiles that are not verified yet, beyond the mirror's size.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn stage(
    pool: &PgPool,
    id: &LogId,
    tiles: &[(TilePath, Vec<u8>)],
) -> Result<(), PluginError> {
    let mut tx = pool.begin().await?;
    write_tiles(&mut tx, id, tiles).await?;
    tx.commit().await?;
    Ok(())
}

/// Changes a mirror, all of it or nothing.
///
/// # Errors
/// [`MirrorError::Raced`] if it is not as it was when `version` was read; [`MirrorError::Plugin`].
pub async fn put(
    pool: &PgPool,
    id: &LogId,
    version: i64,
    change: &Change<'_>,
) -> Result<(), MirrorError> {
    let follower = change.follower;
    let head = follower.head().map(|head| head.note().to_string());
    let newest_ms = follower.last_time_ms().map(number).transpose()?;
    let tombstone = follower.tombstone().map(|stone| number(stone.size));
    let mut tx = pool.begin().await?;
    let changed = sqlx::query!(
        "UPDATE mirrors SET version = version + 1, size = $3, newest_ms = $4, state = $5, head = $6,
                            cosigned_size = CASE WHEN $7 THEN $3 ELSE cosigned_size END,
                            tombstone = COALESCE(tombstone, $8), tombstone_size = COALESCE(tombstone_size, $9)
         WHERE log = $1 AND version = $2",
        &id[..],
        version,
        number(follower.size())?,
        newest_ms,
        follower.encode(),
        head,
        change.cosigned,
        change.tombstone,
        tombstone.transpose()?
    )
    .execute(&mut *tx)
    .await?;
    if changed.rows_affected() != 1 {
        return Err(MirrorError::Raced);
    }
    if !change.tiles.is_empty() {
        write_tiles(&mut tx, id, change.tiles).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Remembers the checkpoint that the log published, if the mirror reaches as far and it is newer than the one remembered, or bears more
/// signatures.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn set_published(
    pool: &PgPool,
    id: &LogId,
    size: u64,
    note: &str,
) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE mirrors SET version = version + 1, published = $3, published_size = $2
         WHERE log = $1 AND $2 <= size AND (published IS NULL OR published_size < $2
                OR (published_size = $2 AND octet_length(published) < octet_length($3)))",
        &id[..],
        number(size)?,
        note
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// What a mirror serves as its checkpoint and its head.
#[derive(Clone, Debug)]
pub struct Heads {
    /// Size of the verified tree.
    pub size: u64,
    /// The newest checkpoint that the log published.
    pub published: Option<String>,
    /// The newest checkpoint that was accepted, with the log's signature alone.
    pub head: Option<String>,
}

/// The heads of a mirror; `None` if there is no such mirror.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn heads(pool: &PgPool, id: &LogId) -> Result<Option<Heads>, PluginError> {
    let row = sqlx::query!(
        "SELECT size, published, head FROM mirrors WHERE log = $1",
        &id[..]
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| Heads {
        size: unsigned(row.size),
        published: row.published,
        head: row.head,
    }))
}

/// Whether a tree of this size has the tile.
#[must_use]
pub fn within(path: &TilePath, size: u64) -> bool {
    let shift = match path.kind() {
        TileKind::Hashes(level) => 8 * u32::from(level),
        TileKind::Entries => 0,
    };
    let held = size.checked_shr(shift).unwrap_or(0);
    path.start().saturating_add(u64::from(path.width())) <= held
}

/// The tombstones that were signed here, by origin: of at most a thousand logs, more than can be followed.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn tombstones(pool: &PgPool) -> Result<Vec<(String, u64, String)>, PluginError> {
    let rows = sqlx::query!(
        r#"SELECT origin, tombstone_size AS "size!", tombstone AS "note!" FROM mirrors
           WHERE tombstone IS NOT NULL ORDER BY origin LIMIT 1000"#
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.origin, unsigned(row.size), row.note))
        .collect())
}

/// Keeps a verified tombstone that was seen: of each cosigner the smallest, which promises the most, and of at most 512 cosigners of one
/// log.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn keep_tombstone(
    pool: &PgPool,
    id: &LogId,
    cosigner: &[u8; 32],
    stone: &Tombstone,
    note: &SignedNote,
) -> Result<(), PluginError> {
    sqlx::query!(
        "INSERT INTO tombstones_seen (log, cosigner, size, note, seen_at)
         SELECT $1, $2, $3, $4, $5 WHERE (SELECT count(*) FROM tombstones_seen WHERE log = $1 AND cosigner <> $2) < 512
         ON CONFLICT (log, cosigner) DO UPDATE SET size = excluded.size, note = excluded.note, seen_at = excluded.seen_at
         WHERE excluded.size < tombstones_seen.size",
        &id[..],
        &cosigner[..],
        i64::try_from(stone.size).unwrap_or(i64::MAX),
        note.to_string(),
        clock::now_ms()
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The tombstones of a log that were seen, or signed here.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn tombstones_of(pool: &PgPool, id: &LogId) -> Result<Vec<String>, PluginError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT note AS "note!" FROM tombstones_seen WHERE log = $1
           UNION ALL SELECT tombstone FROM mirrors WHERE log = $1 AND tombstone IS NOT NULL"#,
        &id[..]
    )
    .fetch_all(pool)
    .await?)
}

/// The error for a tile that must be there.
pub(super) fn missing(path: &TilePath) -> MirrorError {
    tracing::error!(%path, "a tile of a mirror is missing");
    MirrorError::Log(LogError::TileMalformed("a tile of the mirror is missing"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn path(text: &str) -> TilePath {
        text.parse().unwrap()
    }

    #[test]
    fn the_beginning_of_a_tile_is_a_narrower_tile() {
        let hashes: Vec<u8> = (0..96).collect();
        assert_eq!(
            narrow(&path("tile/0/000.p/2"), 3, &hashes).unwrap(),
            hashes[..64]
        );
        let entries = [vec![1], vec![2, 2], vec![3]];
        let bundle = encode_bundle(&entries).unwrap();
        assert_eq!(
            narrow(&path("tile/entries/000.p/2"), 3, &bundle).unwrap(),
            encode_bundle(&entries[..2]).unwrap()
        );
        assert_eq!(narrow(&path("tile/0/000.p/4"), 3, &hashes), None);
    }

    #[test]
    fn only_what_the_verified_tree_has_is_within_it() {
        for (text, size, held) in [
            ("tile/entries/000.p/5", 5, true),
            ("tile/entries/000.p/6", 5, false),
            ("tile/1/000.p/1", 255, false),
            ("tile/1/000.p/1", 256, true),
            ("tile/0/001.p/1", 257, true),
            ("tile/0/001", 257, false),
        ] {
            assert_eq!(within(&path(text), size), held, "{text} in {size}");
        }
    }
}

//! Mirrors of other people's logs: what a plugin finds in them. How it follows logs is tried with real ones.

use atomicity_plugin::mirror::index::{self, Found, PIECE};
use atomicity_plugin::mirror::{LogId, log_id, store};
use atomicity_witness_log::leaf::preimage_hash;
use atomicity_witness_log::tile::{bundles, encode_bundle};
use atomicity_witness_log::{Leaf, TilePath};
use sqlx::PgPool;

use crate::support::plugin::Plugin;

/// The secret in an entry; the hundredth is published again later.
fn secret(index: u64) -> [u8; 32] {
    let number = if index == 200 { 100 } else { index };
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&number.to_be_bytes());
    secret
}

fn leaf(index: u64) -> Leaf {
    let time_ms = 1_700_000_000_000 + index;
    match index % 3 {
        0 => Leaf::Tick { time_ms },
        _ => Leaf::Preimage {
            time_ms,
            preimage: secret(index),
        },
    }
}

/// A mirror of so many entries, as one that was made before there was an index.
async fn mirror(pool: &PgPool, size: u64) -> LogId {
    let origin = "old.example/log";
    let log = log_id(origin);
    sqlx::query(
        "INSERT INTO mirrors (log, origin, vkey, size, state, head) VALUES ($1, $2, 'x', $3, '', 'x')",
    )
    .bind(&log[..])
    .bind(origin)
    .bind(i64::try_from(size).unwrap())
    .execute(pool)
    .await
    .unwrap();
    hold(pool, &log, (0, size)).await;
    log
}

/// Lets it hold these entries.
async fn hold(pool: &PgPool, log: &LogId, (from, to): (u64, u64)) {
    let bundle = |path: TilePath| {
        let numbers = path.start()..path.start() + u64::from(path.width());
        let entries: Vec<Vec<u8>> = numbers.map(|index| leaf(index).encode()).collect();
        (path, encode_bundle(&entries).unwrap())
    };
    let tiles: Vec<_> = bundles(from, to, to).map(bundle).collect();
    store::stage(pool, log, &tiles).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_mirror_gets_its_index_piece_by_piece_and_is_found_in_meanwhile() {
    let plugin = Plugin::start().await;
    let pool = PgPool::connect(&plugin.database.url).await.unwrap();
    let size = PIECE + 500;
    let log = mirror(&pool, size).await;
    let find = |index: u64, size: u64| {
        let (pool, hash) = (pool.clone(), preimage_hash(&secret(index)));
        async move { index::find(&pool, &log, &hash, size).await.unwrap() }
    };
    let late = PIECE + 301;
    assert_eq!(find(1, size).await, Found::NotYet);
    index::catch_up(&pool, &log).await.unwrap();
    assert_eq!(find(1, size).await, Found::At(1));
    assert_eq!(find(late, size).await, Found::NotYet, "beyond one piece");
    assert_eq!(
        find(late, PIECE).await,
        Found::Nowhere,
        "it was not asked for so many"
    );
    index::catch_up(&pool, &log).await.unwrap();
    assert_eq!(find(late, size).await, Found::At(late));
    assert_eq!(
        find(late, late).await,
        Found::Nowhere,
        "only what is published counts"
    );
    assert_eq!(
        find(200, size).await,
        Found::At(100),
        "the first of two with one secret"
    );
    assert_eq!(find(size + 1, size).await, Found::Nowhere);
    // With nothing new there is nothing to do; what is new is found after the next piece.
    index::catch_up(&pool, &log).await.unwrap();
    let grown = size + 600;
    hold(&pool, &log, (size, grown)).await;
    let newest = (size..grown).rev().find(|index| index % 3 != 0).unwrap();
    index::catch_up(&pool, &log).await.unwrap();
    assert_eq!(
        find(newest, grown).await,
        Found::NotYet,
        "what is not verified is not indexed"
    );
    sqlx::query("UPDATE mirrors SET size = $2, version = version + 1 WHERE log = $1")
        .bind(&log[..])
        .bind(i64::try_from(grown).unwrap())
        .execute(&pool)
        .await
        .unwrap();
    index::catch_up(&pool, &log).await.unwrap();
    assert_eq!(find(newest, grown).await, Found::At(newest));
    let ticks: i64 = sqlx::query_scalar("SELECT count(*) FROM mirror_preimages WHERE idx % 3 = 0")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(ticks, 0);
    pool.close().await;
}

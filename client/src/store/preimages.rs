//! Secrets whose publication makes promises due, and proofs that promises had expired.

use std::collections::BTreeSet;

use atomicity_ledger::{PaymentHash, RecordHash};
use sqlx::SqliteConnection;

use super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;

/// A secret, without the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSecret {
    /// Its hash: what promises hang on.
    pub hash: PaymentHash,
    /// When it was made or taken, Unix milliseconds.
    pub created_at: u64,
    /// When this wallet published it, Unix milliseconds.
    pub published_at: Option<u64>,
}

/// Keeps a sealed secret; the same one again changes nothing.
pub(crate) async fn put(
    conn: &mut SqliteConnection,
    hash: &PaymentHash,
    sealed: &[u8],
    now: u64,
) -> Result<(), ClientError> {
    let hash = hash.to_string();
    let now = to_sql(now);
    sqlx::query!(
        "INSERT INTO preimage (hash, sealed, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        hash,
        sealed,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A sealed secret.
pub(crate) async fn sealed(
    conn: &mut SqliteConnection,
    hash: &PaymentHash,
) -> Result<Option<Vec<u8>>, ClientError> {
    let hash = hash.to_string();
    let row = sqlx::query!("SELECT sealed FROM preimage WHERE hash = ?", hash)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| row.sealed))
}

/// All secrets, newest first.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<KeptSecret>, ClientError> {
    let rows = sqlx::query!(
        "SELECT hash, created_at, published_at FROM preimage ORDER BY created_at DESC, hash LIMIT 1000"
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(KeptSecret {
                hash: parse_own(&row.hash, "a secret's hash")?,
                created_at: from_sql(row.created_at),
                published_at: row.published_at.map(from_sql),
            })
        })
        .collect()
}

/// Notes that a secret was published.
pub(crate) async fn published(
    conn: &mut SqliteConnection,
    hash: &PaymentHash,
    now: u64,
) -> Result<(), ClientError> {
    let hash = hash.to_string();
    let now = to_sql(now);
    sqlx::query!(
        "UPDATE preimage SET published_at = ? WHERE hash = ? AND published_at IS NULL",
        now,
        hash
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps a proof of expiry.
pub(crate) async fn expired(
    conn: &mut SqliteConnection,
    iou: &RecordHash,
    (origin, policy_hash): (&str, &str),
    proof: &[u8],
    now: u64,
) -> Result<(), ClientError> {
    let iou = iou.to_string();
    let now = to_sql(now);
    sqlx::query!(
        "INSERT INTO expiry_proof (iou, origin, policy_hash, proof, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        iou,
        origin,
        policy_hash,
        proof,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The hashes of promises of which proofs of expiry are kept.
pub(crate) async fn proven_expired(
    conn: &mut SqliteConnection,
) -> Result<BTreeSet<String>, ClientError> {
    let rows = sqlx::query!("SELECT DISTINCT iou FROM expiry_proof")
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.iou).collect())
}

/// The proofs that a promise had expired: log, policy and proof.
pub(crate) async fn expiry_proofs(
    conn: &mut SqliteConnection,
    iou: &RecordHash,
) -> Result<Vec<(String, String, Vec<u8>)>, ClientError> {
    let iou = iou.to_string();
    let rows = sqlx::query!(
        "SELECT origin, policy_hash, proof FROM expiry_proof WHERE iou = ?",
        iou
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.origin, row.policy_hash, row.proof))
        .collect())
}

/// Forgets proofs of expiry that are older than `before`, Unix milliseconds.
pub(crate) async fn forget_expired(
    conn: &mut SqliteConnection,
    before: u64,
) -> Result<(), ClientError> {
    let before = to_sql(before);
    sqlx::query!("DELETE FROM expiry_proof WHERE at < ?", before)
        .execute(conn)
        .await?;
    Ok(())
}

//! What is stored, and how the database is reached.

pub mod accounts;
pub mod diaries;
pub mod envelopes;
pub mod guests;
pub mod janitor;
pub mod lock;
pub mod migrate;
pub mod patience;
pub mod pool;
pub mod proposals;
pub mod sessions;
pub mod snapshots;
pub mod tags;

use atomicity_ledger::UserKey;

use crate::error::PluginError;

/// Reads a key column. The schema allows 32 bytes only, and only checked keys are written.
fn key(bytes: &[u8]) -> Result<UserKey, PluginError> {
    <[u8; 32]>::try_from(bytes)
        .ok()
        .and_then(|bytes| UserKey::from_bytes(bytes).ok())
        .ok_or_else(|| PluginError::Internal("the database holds a key that is none".to_owned()))
}

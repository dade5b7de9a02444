//! The cosigner's key: a file beside the plugin's secret, and a row in the database that knows what was promised with it.

use std::path::{Path, PathBuf};

use atomicity_witness_log::{KeyKind, SigningKey, VerifierKey};
use sqlx::{PgConnection, PgExecutor};
use zeroize::Zeroizing;

use crate::clock;
use crate::error::PluginError;
use crate::secret;

/// Name of the file in the data directory.
pub const FILE: &str = "cosigner-secret";
const COMMAND: &str = "atomicity-homeserver cosigner create";

/// Where the key lies in `data_dir`.
#[must_use]
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// The name that a cosigner has if none is given.
#[must_use]
pub fn default_name(plugin: &pubky::Keypair) -> String {
    format!("{}/cosigner", plugin.public_key().z32())
}

fn key(name: &str, secret: &Zeroizing<[u8; 32]>) -> Result<SigningKey, PluginError> {
    SigningKey::from_secret(name, KeyKind::Cosignature, **secret)
        .map_err(|error| PluginError::Config(format!("the cosigner's name: {error}")))
}

/// Makes a key, writes it to its file and tells the database.
///
/// # Errors
/// [`PluginError::Config`] if there is a key or the name is none; [`PluginError::File`]; [`PluginError::Database`].
pub async fn create(
    connection: &mut PgConnection,
    data_dir: &Path,
    name: &str,
) -> Result<VerifierKey, PluginError> {
    // Before anything is written.
    key(name, &Zeroizing::new([1; 32]))?;
    let path = path(data_dir);
    if path.exists() {
        return Err(PluginError::Config(format!(
            "{} is there already: a cosigner's promises hang on its key. For a new cosigner, move the file away first",
            path.display()
        )));
    }
    let secret = secret::create_at(&path)?;
    let verifier = key(name, &secret)?.verifier();
    sqlx::query!(
        "INSERT INTO cosigner_keys (key, name, created_at) VALUES ($1, $2, $3)",
        &verifier.public()[..],
        name,
        clock::now_ms()
    )
    .execute(connection)
    .await?;
    Ok(verifier)
}

/// Reads the secret back.
///
/// # Errors
/// [`PluginError::Config`] if there is none or others can read it; [`PluginError::File`].
pub fn load(data_dir: &Path) -> Result<Zeroizing<[u8; 32]>, PluginError> {
    secret::load_at(&path(data_dir), COMMAND)
}

/// The key of this secret, if it may be used with this database.
///
/// # Errors
/// [`PluginError::Config`] if the database does not know it; [`PluginError::Database`].
pub async fn open(
    executor: impl PgExecutor<'_>,
    secret: &Zeroizing<[u8; 32]>,
) -> Result<SigningKey, PluginError> {
    let public = *key("unnamed", secret)?.verifier().public();
    let name = sqlx::query_scalar!("SELECT name FROM cosigner_keys WHERE key = $1", &public[..])
        .fetch_optional(executor)
        .await?
        .ok_or_else(|| {
            PluginError::Config(format!(
                "this database does not know the key in {FILE}, nor what was promised with it: move the file away and run `{COMMAND}`"
            ))
        })?;
    key(&name, secret)
}

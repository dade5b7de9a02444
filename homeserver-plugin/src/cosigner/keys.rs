//! The cosigner's key: a file beside the plugin's secret, and a row in the database that knows what was promised with it.

use std::path::{Path, PathBuf};

use atomicity_witness_log::{KeyKind, SigningKey, VerifierKey};
use sqlx::{Connection as _, PgConnection, PgExecutor};
use zeroize::Zeroizing;

use crate::admin::audit::{self, Action, Operator, Via};
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

/// Puts a fresh key in the place of the one there is, whose secret is gone for good. What it had promised stays known, and binds the
/// fresh one as well.
///
/// # Errors
/// [`PluginError::Config`] if there is no key or the name is none; [`PluginError::File`]; [`PluginError::Database`].
pub async fn rotate(
    connection: &mut PgConnection,
    data_dir: &Path,
    name: &str,
) -> Result<VerifierKey, PluginError> {
    let path = path(data_dir);
    secret::load_at(&path, COMMAND)?;
    let failed = |source| PluginError::File {
        path: path.clone(),
        source,
    };
    // What an earlier attempt left was never used.
    let next = path.with_extension("next");
    match std::fs::remove_file(&next) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    key(name, &Zeroizing::new([1; 32]))?;
    let secret = secret::create_at(&next)?;
    let verifier = key(name, &secret)?.verifier();
    let mut tx = connection.begin().await?;
    sqlx::query!(
        "INSERT INTO cosigner_keys (key, name, created_at) VALUES ($1, $2, $3)",
        &verifier.public()[..],
        name,
        clock::now_ms()
    )
    .execute(&mut *tx)
    .await?;
    let operator = Operator {
        via: Via::Program,
        address: None,
    };
    let action = Action {
        name: "rotate_cosigner",
        subject: None,
        detail: &format!("{verifier}"),
    };
    audit::note(&mut *tx, operator, action).await?;
    // The database knows the key before it is used.
    tx.commit().await?;
    std::fs::rename(&next, &path)
        .and_then(|()| std::fs::File::open(data_dir)?.sync_all())
        .map_err(failed)?;
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

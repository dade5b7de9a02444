//! The plugin's own log: its key, its place in the database, its cosigners.

use std::path::Path;

use atomicity_witness_log::VerifierKey;
use sqlx::ConnectOptions as _;
use url::Url;

use super::Check;
use crate::config::Config;
use crate::db::pool;
use crate::error::PluginError;
use crate::resolve::Resolver;
use crate::resolve::call::Call;
use crate::witness_log::{create, store};

/// Any answer shows that somebody is there.
const MAX_ANSWER: usize = 64 * 1024;

pub(super) async fn look(config: &Config, data_dir: &Path, resolver: &Resolver) -> Vec<Check> {
    if !config.witness_log.enabled {
        return Vec::new();
    }
    let mut checks = vec![match log(config, data_dir).await {
        Ok(found) => Check::ok("witness_log", found),
        Err(error) => Check::fail(
            "witness_log",
            error.to_string(),
            "see `atomicity-homeserver log --help`",
        ),
    }];
    match config.witness_log.cosigners() {
        Ok(cosigners) if cosigners.is_empty() => checks.push(Check::warn(
            "log_cosigners",
            "none: nobody who relies on the log can tell a fork",
            "name some in witness_log.cosigners, and a quorum",
        )),
        Ok(cosigners) => {
            for (key, url) in cosigners {
                checks.push(cosigner(resolver, &key, &url).await);
            }
        }
        Err(error) => checks.push(Check::fail(
            "log_cosigners",
            error.to_string(),
            "correct witness_log.cosigners",
        )),
    }
    checks
}

async fn log(config: &Config, data_dir: &Path) -> Result<String, PluginError> {
    let secret = create::load(data_dir)?;
    let id = *create::key("log", &secret)?.verifier().public();
    let mut connection = pool::options(&config.database)?.connect().await?;
    let stored = store::load(&mut connection, &id).await?.ok_or_else(|| {
        PluginError::Config("the database does not hold the log of this key".to_owned())
    })?;
    Ok(format!(
        "{}: {} entries, {} of them published",
        create::key(&stored.origin, &secret)?.verifier(),
        stored.head.size,
        stored.published_size
    ))
}

async fn cosigner(resolver: &Resolver, key: &VerifierKey, url: &Url) -> Check {
    let call = Call {
        url,
        body: None,
        max_bytes: MAX_ANSWER,
    };
    match resolver.call(&call).await {
        Ok(answer) if answer.status < 500 => {
            Check::ok("log_cosigners", format!("{} answers", key.name()))
        }
        Ok(answer) => Check::warn(
            "log_cosigners",
            format!("{} answers with status {}", key.name(), answer.status),
            "ask its operator",
        ),
        Err(error) => Check::warn(
            "log_cosigners",
            format!("{}: {error}", key.name()),
            "ask its operator: has it another address, or is it away?",
        ),
    }
}

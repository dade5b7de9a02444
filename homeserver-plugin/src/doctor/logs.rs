//! Other people's logs, and the key that cosigns them.

use std::path::Path;

use atomicity_witness_log::SignedCheckpoint;
use sqlx::ConnectOptions as _;

use super::Check;
use crate::config::{Config, Follow};
use crate::cosigner::keys;
use crate::db::pool;
use crate::error::PluginError;
use crate::mirror::{Followed, Following, MirrorError, upstream};
use crate::resolve::Resolver;

pub(super) async fn look(config: &Config, data_dir: &Path, resolver: &Resolver) -> Vec<Check> {
    let mut checks = Vec::new();
    if config.cosigner.enabled {
        checks.push(match cosigner(config, data_dir).await {
            Ok(key) => Check::ok("cosigner", format!("its key is {key}")),
            Err(error) => Check::fail(
                "cosigner",
                error.to_string(),
                "see `atomicity-homeserver cosigner --help`",
            ),
        });
    }
    let follow = Follow::read(&config.cosigner, &config.watchtower, data_dir)
        .and_then(|follow| Following::new(follow, None, config.watchtower.enabled));
    match follow {
        Ok(following) => {
            for log in following.logs() {
                checks.push(one(resolver, log).await);
            }
        }
        Err(error) => checks.push(Check::fail(
            "logs",
            error.to_string(),
            "correct [cosigner] and [watchtower]",
        )),
    }
    checks
}

async fn cosigner(config: &Config, data_dir: &Path) -> Result<String, PluginError> {
    let secret = keys::load(data_dir)?;
    let mut connection = pool::options(&config.database)?.connect().await?;
    let key = keys::open(&mut connection, &secret).await?;
    Ok(key.verifier().to_string())
}

async fn one(resolver: &Resolver, log: &Followed) -> Check {
    const NAME: &str = "logs";
    match checkpoint(resolver, log).await {
        Ok(size) => Check::ok(NAME, format!("{} has {size} entries", log.origin())),
        Err(error) => Check::warn(
            NAME,
            format!("{}: {error}", log.origin()),
            "ask its operator: has the log another address or key, or is it away?",
        ),
    }
}

async fn checkpoint(resolver: &Resolver, log: &Followed) -> Result<u64, MirrorError> {
    let signed = SignedCheckpoint::new(upstream::checkpoint(resolver, log).await?)?;
    signed.verify_log(&log.key)?;
    Ok(signed.checkpoint().size)
}

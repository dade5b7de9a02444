//! `doctor`: looks at everything the plugin depends on and says what is wrong with it.
//!
//! Each check says what was looked at, what was found and, unless all is well, what to do. Nothing is changed anywhere, and it may run beside a running
//! plugin.

mod agent;
mod database;
mod files;
mod listeners;
mod logs;
mod router;
mod witness_log;
mod world;

use std::path::Path;

use serde::Serialize;

use crate::config::Config;
use crate::resolve::Resolver;
use crate::secret;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, but somebody should look at it.
    Warn,
    /// Does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub check: &'static str,
    /// Whether it works. A warning works.
    pub ok: bool,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Check {
    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self {
            check,
            ok: true,
            level: Level::Ok,
            detail: detail.into(),
            hint: None,
        }
    }

    fn warn(check: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            check,
            ok: true,
            level: Level::Warn,
            detail: detail.into(),
            hint: Some(hint.into()),
        }
    }

    fn fail(check: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            check,
            ok: false,
            level: Level::Fail,
            detail: detail.into(),
            hint: Some(hint.into()),
        }
    }
}

/// Everything that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether all checks are ok.
    pub ok: bool,
    /// The checks, in order.
    pub checks: Vec<Check>,
}

/// Looks at everything. `data_dir` holds the secret.
pub async fn run(config: &Config, data_dir: &Path) -> Report {
    let keys = secret::load(data_dir);
    let mut checks = vec![files::config_file(data_dir), files::secret(&keys, data_dir)];
    checks.extend(database::look(&config.database).await);
    let own_key = keys.as_ref().ok().map(|keys| keys.public_key().z32());
    checks.extend(listeners::look(config, own_key.as_deref()).await);
    checks.extend(agent::look(config, keys.as_ref().ok()).await);
    match Resolver::new(config) {
        Ok(resolver) => {
            checks.extend(world::look(config, &resolver, keys.as_ref().ok()).await);
            checks.extend(logs::look(config, data_dir, &resolver).await);
            checks.extend(witness_log::look(config, data_dir, &resolver).await);
            checks.extend(router::look(config, &resolver).await);
        }
        Err(error) => checks.push(Check::fail(
            "network",
            error.to_string(),
            "correct the [network] section",
        )),
    }
    checks.extend(world::admin_password(config).await);
    Report {
        ok: checks.iter().all(|check| check.ok),
        checks,
    }
}

#[cfg(test)]
mod tests;

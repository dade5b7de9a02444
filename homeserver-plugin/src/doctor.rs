//! `doctor`: looks at everything the plugin depends on and says what is wrong with it.
//!
//! Each check says what was looked at, what was found and, unless all is well, what to do. Nothing is changed anywhere, and it may run beside a running
//! plugin.

mod agent;
mod clock;
mod database;
pub(crate) mod disk;
mod files;
mod grants;
mod listeners;
mod logs;
mod reach;
mod router;
mod witness_log;
mod world;

use std::path::Path;

use serde::Serialize;

use crate::config::Config;
use crate::error::PluginError;
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

impl Report {
    /// What there is to say where the configuration can't be used: nothing else could be looked at.
    #[must_use]
    pub fn without_config(error: &PluginError, config_file: &Path) -> Self {
        let hint = format!(
            "correct it in {}, or in the flag or environment variable that it comes from; then look again",
            config_file.display()
        );
        Self {
            ok: false,
            checks: vec![Check::fail("config", error.to_string(), hint)],
        }
    }
}

/// Where the files are that the service runs by.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The data directory, which holds the secret.
    pub data_dir: &'a Path,
    /// The configuration.
    pub config_file: &'a Path,
}

/// Looks at everything.
pub async fn run(config: &Config, places: &Places<'_>) -> Report {
    let data_dir = places.data_dir;
    let keys = secret::load(data_dir);
    let own_key = keys.as_ref().ok();
    let mut checks = files::readable(places.config_file);
    checks.push(files::secret(&keys, data_dir));
    checks.extend(disk::look(&config.database, data_dir));
    checks.extend(database::look(&config.database).await);
    let running = listeners::is_ours(config.http.listen, own_key).await;
    checks.extend(listeners::look(config, running));
    checks.extend(agent::look(config, own_key).await);
    checks.extend(grants::look(config).await);
    match Resolver::new(config) {
        Ok(resolver) => {
            let (found, homeserver) = world::look(config, &resolver, own_key).await;
            checks.extend(found);
            checks.extend(clock::look(config, &resolver, homeserver).await);
            let asked = own_key.filter(|_| running);
            checks.extend(reach::look(config, &resolver, asked).await);
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

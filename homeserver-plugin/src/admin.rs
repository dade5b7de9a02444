//! What operators see and do: on a listener of its own, behind a password, for `atomicity-homeserver admin` and for a browser.
//!
//! Reading goes to [`status`], [`accounts`] and [`export`]; every action is written to [`audit`] together with what it changes.

pub mod accounts;
pub mod attempts;
pub mod audit;
pub mod config;
pub mod disabled;
pub mod export;
pub mod http;
mod pages;
pub mod password;
pub mod sessions;
pub mod status;

use std::path::Path;

pub use self::config::AdminConfig;

use self::attempts::Attempts;
use self::password::Password;
use self::sessions::Sessions;
use crate::error::PluginError;

/// What the listener for operators needs beside everything else.
pub struct Admin {
    /// What an operator must know.
    pub password: Password,
    /// Who has tried to guess it.
    pub attempts: Attempts,
    /// Who is logged in on the page.
    pub sessions: Sessions,
}

impl Admin {
    /// Reads the password, or makes one; `None` where there is no such listener.
    ///
    /// # Errors
    /// [`PluginError::File`] or [`PluginError::Config`] about the file of the password.
    pub fn open(
        config: &AdminConfig,
        data_dir: Option<&Path>,
    ) -> Result<Option<Self>, PluginError> {
        if !config.enabled {
            return Ok(None);
        }
        Ok(Some(Self {
            password: Password::open(config, data_dir)?,
            attempts: Attempts::new(config.attempts_per_minute),
            sessions: Sessions::default(),
        }))
    }
}

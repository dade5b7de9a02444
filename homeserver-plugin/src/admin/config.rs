//! What the operator decides about the listener for operators.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::error::PluginError;

/// Shorter passwords are refused.
const SHORTEST: usize = 12;

/// The listener for operators.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Whether there is one.
    pub enabled: bool,
    /// Where it listens: on this machine only, unless `anywhere` is set.
    pub listen: SocketAddr,
    /// Lets it listen on other addresses too. Then something that speaks TLS must stand in front.
    pub anywhere: bool,
    /// What an operator must know, at least 12 characters; the file `admin-password` in the data directory if not given.
    pub password: Option<String>,
    /// Wrong passwords from one address in a minute, before none is looked at any more.
    pub attempts_per_minute: u32,
    /// How long somebody stays logged in on the page, in seconds.
    pub session_s: u64,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6292),
            anywhere: false,
            password: None,
            attempts_per_minute: 10,
            session_s: 3_600,
        }
    }
}

impl std::fmt::Debug for AdminConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminConfig")
            .field("enabled", &self.enabled)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

impl AdminConfig {
    /// Checks what the types can't say.
    ///
    /// # Errors
    /// [`PluginError::Config`] naming the setting.
    pub fn check(&self) -> Result<(), PluginError> {
        let refuse = |text: &str| Err(PluginError::Config(text.to_owned()));
        if !self.enabled {
            return Ok(());
        }
        if !self.anywhere && !self.listen.ip().is_loopback() {
            return refuse(
                "admin.listen is no address of this machine alone: set admin.anywhere if TLS and your own rules stand in front",
            );
        }
        if self.password.as_ref().is_some_and(|it| it.len() < SHORTEST) {
            return refuse("admin.password must have at least 12 characters");
        }
        if self.attempts_per_minute == 0 || self.session_s == 0 {
            return refuse("admin.attempts_per_minute and admin.session_s must be above 0");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_stays_on_this_machine_unless_somebody_says_otherwise() {
        let mut config = AdminConfig {
            enabled: true,
            ..AdminConfig::default()
        };
        config.check().unwrap();
        config.listen = "0.0.0.0:6292".parse().unwrap();
        assert_eq!(config.check().unwrap_err().code(), "config_invalid");
        config.anywhere = true;
        config.check().unwrap();
        config.password = Some("short".to_owned());
        assert!(config.check().is_err());
        assert!(!format!("{config:?}").contains("short"));
    }
}

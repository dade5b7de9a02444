//! What makes a configuration contradict itself.

use super::Config;
use crate::error::PluginError;
use crate::http::client_addr::TrustedProxies;

impl Config {
    /// Checks what the types can't say.
    ///
    /// # Errors
    /// [`PluginError::Config`] naming the setting.
    pub fn check(&self) -> Result<(), PluginError> {
        let refuse = |text: String| Err(PluginError::Config(text));
        if self.database.url.is_empty() {
            return refuse(
                "database.url is missing: the plugin needs a Postgres database of its own".into(),
            );
        }
        if !self.database.url.starts_with("postgres://")
            && !self.database.url.starts_with("postgresql://")
        {
            return refuse("database.url must start with postgres://".into());
        }
        if self.database.max_connections < 2 {
            return refuse("database.max_connections must be at least 2".into());
        }
        if self.accounts.homeserver.is_none() && !self.accounts.open_registration {
            return refuse(
                "accounts.homeserver is missing: name the homeserver whose users may register, or set accounts.open_registration".into(),
            );
        }
        TrustedProxies::parse(&self.http.trusted_proxies)?;
        self.check_urls()?;
        self.witness_log.check()?;
        if self.witness_log.enabled
            && self.witness_log.answer_timeout_ms >= self.http.request_timeout_ms
        {
            return refuse(
                "witness_log.answer_timeout_ms must be below http.request_timeout_ms".into(),
            );
        }
        self.cosigner.check(self.network.testnet)?;
        self.watchtower.check()?;
        self.router.check()?;
        self.agent.check()?;
        self.admin.check()?;
        self.announce.check(self.network.testnet)?;
        self.pages.check(self.network.testnet)?;
        for (name, value) in self.positive() {
            if value == 0 {
                return refuse(format!("{name} must be above 0"));
            }
        }
        if self.inbox.max_tags > 100_000 {
            return refuse("inbox.max_tags must be at most 100000".into());
        }
        Ok(())
    }

    fn check_urls(&self) -> Result<(), PluginError> {
        let urls = self.http.public_url.iter().chain(&self.network.relays);
        for url in urls {
            if !matches!(url.scheme(), "http" | "https") {
                return Err(PluginError::Config(format!("{url} must be http or https")));
            }
        }
        Ok(())
    }

    fn positive(&self) -> [(&'static str, u64); 17] {
        let count = |value: i64| u64::try_from(value).unwrap_or(0);
        [
            ("http.request_timeout_ms", self.http.request_timeout_ms),
            (
                "http.requests_per_second",
                self.http.requests_per_second.into(),
            ),
            ("http.requests_burst", self.http.requests_burst.into()),
            (
                "database.acquire_timeout_ms",
                self.database.acquire_timeout_ms,
            ),
            (
                "database.statement_timeout_ms",
                self.database.statement_timeout_ms,
            ),
            ("pubky.republish_s", self.pubky.republish_s),
            ("accounts.max", count(self.accounts.max)),
            ("sessions.ttl_s", self.sessions.ttl_s),
            ("sessions.max_per_user", count(self.sessions.max_per_user)),
            ("sessions.proof_max_age_s", self.sessions.proof_max_age_s),
            (
                "sessions.opens_per_minute",
                self.sessions.opens_per_minute.into(),
            ),
            (
                "inbox.account_envelopes",
                count(self.inbox.account_envelopes),
            ),
            ("inbox.tag_per_second", self.inbox.tag_per_second.into()),
            (
                "inbox.stranger_per_minute",
                self.inbox.stranger_per_minute.into(),
            ),
            ("inbox.poll_ms", self.inbox.poll_ms),
            (
                "network.resolve_timeout_ms",
                self.network.resolve_timeout_ms,
            ),
            ("network.fetch_timeout_ms", self.network.fetch_timeout_ms),
        ]
    }
}

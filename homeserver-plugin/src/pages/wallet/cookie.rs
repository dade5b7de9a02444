//! Cookies: one for the session, one for a log-in that is under way.
//!
//! Both are out of reach of scripts and are sent to this server alone, and only by its own pages. Where the server is reached over
//! https they go over nothing else, and bear the prefix by which browsers refuse to take them from any other host.

use axum::http::{HeaderMap, HeaderValue, header};
use url::Url;

use crate::config::Config;
use crate::error::PluginError;

/// What a cookie is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// The token of the session.
    Session,
    /// The browser that began a log-in.
    LogIn,
}

impl Cookie {
    fn name(self, https: bool) -> &'static str {
        match (self, https) {
            (Self::Session, true) => "__Host-atomicity-session",
            (Self::Session, false) => "atomicity-session",
            (Self::LogIn, true) => "__Host-atomicity-log-in",
            (Self::LogIn, false) => "atomicity-log-in",
        }
    }

    /// What the browser sent, if it sent exactly one.
    #[must_use]
    pub fn read(self, config: &Config, headers: &HeaderMap) -> Option<String> {
        let name = self.name(is_https(config));
        let sent = headers.get_all(header::COOKIE).iter();
        let mut values = sent
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(of, _)| *of == name)
            .map(|(_, value)| value.to_owned());
        // Two of one name: one of them is not ours, and nobody can tell which.
        values.next().filter(|_| values.next().is_none())
    }

    /// The header that sets it for `lasts_ms`.
    ///
    /// # Errors
    /// [`PluginError::Internal`] if `value` can't stand in a header.
    pub fn set(
        self,
        config: &Config,
        value: &str,
        lasts_ms: i64,
    ) -> Result<HeaderValue, PluginError> {
        let https = is_https(config);
        let secure = if https { "; Secure" } else { "" };
        let text = format!(
            "{}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{secure}",
            self.name(https),
            lasts_ms.max(0) / 1_000
        );
        HeaderValue::from_str(&text).map_err(|error| PluginError::Internal(error.to_string()))
    }

    /// The header that removes it.
    ///
    /// # Errors
    /// [`PluginError::Internal`]; never, as far as anybody knows.
    pub fn remove(self, config: &Config) -> Result<HeaderValue, PluginError> {
        self.set(config, "", 0)
    }
}

/// Whether browsers reach this server over https, by what the operator says of its address.
fn is_https(config: &Config) -> bool {
    let url = config.http.public_url.as_ref();
    url.map(Url::scheme) == Some("https")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(url: Option<&str>) -> Config {
        let mut config = Config::default();
        config.http.public_url = url.map(|url| url.parse().unwrap());
        config
    }

    fn sent(cookies: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookies.parse().unwrap());
        headers
    }

    #[test]
    fn a_cookie_is_kept_from_scripts_from_other_sites_and_from_plain_http() {
        let https = config(Some("https://credit.example/"));
        let set = Cookie::Session.set(&https, "x", 5_999).unwrap();
        assert_eq!(
            set.to_str().unwrap(),
            "__Host-atomicity-session=x; Path=/; Max-Age=5; HttpOnly; SameSite=Strict; Secure"
        );
        let plain = Cookie::LogIn.set(&config(None), "x", 1_000).unwrap();
        assert_eq!(
            plain.to_str().unwrap(),
            "atomicity-log-in=x; Path=/; Max-Age=1; HttpOnly; SameSite=Strict"
        );
        assert!(Cookie::Session.set(&https, "a\nb", 1).is_err());
    }

    #[test]
    fn only_a_cookie_of_the_right_name_counts_and_only_a_single_one() {
        let https = config(Some("https://credit.example/"));
        let read = |cookies: &str| Cookie::Session.read(&https, &sent(cookies));
        assert_eq!(
            read("a=b; __Host-atomicity-session=t").as_deref(),
            Some("t")
        );
        // What plain http could have set counts nothing where there is https.
        assert_eq!(read("atomicity-session=t"), None);
        assert_eq!(
            read("__Host-atomicity-session=t; __Host-atomicity-session=u"),
            None
        );
    }
}

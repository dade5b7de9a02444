//! Cookies that only this listener reads.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::error::PluginError;

/// What holds a session.
pub const SESSION: &str = "operator";
/// What holds the token of the form by which one logs in.
pub const FORM: &str = "operator-form";
/// A browser takes such a cookie from this very host only, over TLS.
const HOST: &str = "__Host-";

/// Whether the browser speaks TLS: with the proxy in front, as that says.
#[must_use]
pub fn is_secure(headers: &HeaderMap) -> bool {
    headers
        .get("x-forwarded-proto")
        .is_some_and(|value| value == "https")
}

/// The value of a cookie, under the name that it has with TLS or without.
#[must_use]
pub fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let wanted = if is_secure(headers) {
        format!("{HOST}{name}")
    } else {
        name.to_owned()
    };
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let mut found = pairs.filter(|(known, _)| *known == wanted);
    found.next().map(|(_, value)| value)
}

/// A header that puts a cookie, for as many seconds; with none, that takes it away. No script reads it, and no other site sends it.
///
/// # Errors
/// [`PluginError::Internal`] if `value` is none for a header.
pub fn put(
    headers: &HeaderMap,
    name: &str,
    value: &str,
    seconds: u64,
) -> Result<HeaderValue, PluginError> {
    let (prefix, secure) = if is_secure(headers) {
        (HOST, "; Secure")
    } else {
        ("", "")
    };
    let cookie = format!(
        "{prefix}{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    );
    HeaderValue::from_str(&cookie).map_err(|error| PluginError::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn with_tls_only_a_cookie_of_this_host_counts() {
        let plain = headers(&[("cookie", "a=1; operator=x")]);
        assert_eq!(read(&plain, SESSION), Some("x"));
        let cookie = put(&plain, SESSION, "x", 60).unwrap();
        assert_eq!(
            cookie,
            "operator=x; Path=/; Max-Age=60; HttpOnly; SameSite=Strict"
        );
        let tls = headers(&[("cookie", "operator=x"), ("x-forwarded-proto", "https")]);
        assert_eq!(read(&tls, SESSION), None);
        let cookie = put(&tls, SESSION, "x", 60).unwrap();
        assert!(cookie.to_str().unwrap().starts_with("__Host-operator=x; "));
        assert!(cookie.to_str().unwrap().ends_with("; Secure"));
        let own = headers(&[
            ("cookie", "__Host-operator=y"),
            ("x-forwarded-proto", "https"),
        ]);
        assert_eq!(read(&own, SESSION), Some("y"));
    }
}

//! Where somebody goes once they have logged in: back to the page of the wallet that they wanted.

use url::Url;

/// Longer addresses are not kept: they have to fit into a form.
const MOST: usize = 4_000;

/// A page of the wallet, with its query, if `wanted` is one. Whoever makes up a link can lead nobody to another server by it.
#[must_use]
pub fn own(wanted: &str) -> Option<String> {
    if wanted.len() > MOST || !wanted.starts_with('/') {
        return None;
    }
    // As a browser reads it: `//host`, `/\host` and line breaks within lead elsewhere.
    let base = Url::parse("http://here.invalid/").ok()?;
    let read = base.join(wanted).ok()?;
    let path = read.path();
    let wallet = path == "/wallet" || path.starts_with("/wallet/");
    if read.host_str() != base.host_str() || !wallet {
        return None;
    }
    let query = read.query().map(|query| format!("?{query}"));
    Some(format!("{path}{}", query.unwrap_or_default()))
}

/// The address of the log-in that leads to `wanted` afterwards, or the plain one.
#[must_use]
pub fn log_in(wanted: &str) -> String {
    match own(wanted).filter(|wanted| wanted != "/wallet") {
        Some(wanted) => {
            let encoded: String = url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
            format!("/wallet?next={encoded}")
        }
        None => "/wallet".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_wallet_are_led_to() {
        for page in [
            "/wallet",
            "/wallet/proposals?link=atomicity:x",
            "/wallet/friends/abc?a=1&b=%2F",
        ] {
            assert_eq!(own(page).as_deref(), Some(page));
        }
        let long = format!("/wallet?{}", "x".repeat(MOST));
        for other in [
            "",
            "wallet",
            "https://evil.example/wallet",
            "//evil.example/wallet",
            "/\\evil.example/wallet",
            "/\t/evil.example/wallet",
            "/wallet/../v0/me",
            "/wallets",
            "/",
            "javascript:alert(1)",
            long.as_str(),
        ] {
            assert_eq!(own(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_wanted_survives_in_the_address_of_the_log_in() {
        let wanted = "/wallet/proposals?link=atomicity:x&y=1#z";
        assert_eq!(
            log_in(wanted),
            "/wallet?next=%2Fwallet%2Fproposals%3Flink%3Datomicity%3Ax%26y%3D1"
        );
        assert_eq!(log_in("//evil.example/wallet"), "/wallet");
        assert_eq!(log_in("/wallet"), "/wallet");
    }
}

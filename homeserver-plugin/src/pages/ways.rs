//! Ways to pay somebody outside, as pages show them.

use maud::{Markup, html};

use super::text;
use crate::http::credit::endpoints::EndpointView;

/// What the endpoint of credit is called, after the unit's code.
const CREDIT: &str = "-atomicity-ledger";
/// Longest address that a link is made of; a Lightning invoice has a few hundred characters.
const MAX_ADDRESS: usize = 2_000;
/// Most characters of a place that are shown.
const MOST: usize = 2_000;

/// One way.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// How: asset, rail and format, or any word.
    pub method: &'a str,
    /// Where.
    pub value: &'a str,
    /// The least that can be paid so, as its owner wrote it.
    pub min: Option<&'a str>,
    /// The most.
    pub max: Option<&'a str>,
}

impl<'a> From<&'a EndpointView> for Way<'a> {
    fn from(endpoint: &'a EndpointView) -> Self {
        Self {
            method: &endpoint.method,
            value: &endpoint.value,
            min: endpoint.min.as_deref(),
            max: endpoint.max.as_deref(),
        }
    }
}

impl Way<'_> {
    /// Whether it is credit, which is paid with a wallet of ours.
    pub fn is_credit(&self) -> bool {
        self.method.ends_with(CREDIT)
    }

    /// What people call it.
    fn words(&self) -> String {
        if let Some(code) = self.method.strip_suffix(CREDIT) {
            return format!("Credit in {}", text::plain(&code.to_uppercase(), 20));
        }
        let mut parts = self.method.split('-');
        let (first, rail) = (parts.next().unwrap_or_default(), parts.next());
        let asset = text::plain(&first.to_uppercase(), 20);
        match rail {
            Some("lightning") => format!("{asset} over Lightning"),
            Some("bitcoin" | "onchain" | "chain") => format!("{asset} on the chain"),
            Some("sepa") => format!("{asset} by bank transfer"),
            None if first == "cash" => "Cash".to_owned(),
            _ => text::plain(self.method, 64),
        }
    }

    /// What opens a wallet of that kind. Only addresses that can be nothing else.
    fn link(&self) -> Option<String> {
        let letters = self.value.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !letters || self.value.is_empty() || self.value.len() > MAX_ADDRESS {
            return None;
        }
        let scheme = match self.method {
            "btc-lightning-bolt11" => "lightning",
            "btc-bitcoin-address" => "bitcoin",
            _ => return None,
        };
        Some(format!("{scheme}:{}", self.value))
    }
}

/// All of them, in the order in which they come. `name` tells their elements from others of the page.
pub fn list<'a>(name: &str, ways: impl Iterator<Item = Way<'a>>) -> Markup {
    html! {
        ol.ways {
            @for (number, way) in ways.enumerate() {
                (one(&format!("{name}-{number}"), &way))
            }
        }
    }
}

fn one(id: &str, way: &Way<'_>) -> Markup {
    html! {
        li {
            h3 { (way.words()) }
            pre { code id=(id) { (text::foreign(way.value, MOST)) } }
            @if way.min.is_some() || way.max.is_some() {
                p.quiet {
                    @if let Some(min) = way.min { "At least " (text::foreign(min, 64)) ". " }
                    @if let Some(max) = way.max { "At most " (text::foreign(max, 64)) "." }
                }
            }
            div.row {
                @if let Some(link) = way.link() { a.button href=(link) { "Open in a wallet" } }
                button type="button" data-copy=(id) { "Copy" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way<'a>(method: &'a str, value: &'a str) -> Way<'a> {
        Way {
            method,
            value,
            min: None,
            max: None,
        }
    }

    #[test]
    fn ways_are_called_what_people_call_them() {
        for (method, words) in [
            ("bread-atomicity-ledger", "Credit in BREAD"),
            ("btc-lightning-bolt11", "BTC over Lightning"),
            ("btc-bitcoin-address", "BTC on the chain"),
            ("eur-sepa-iban", "EUR by bank transfer"),
            ("cash", "Cash"),
            ("x-y_z.1", "x-y_z.1"),
        ] {
            assert_eq!(way(method, "v").words(), words);
        }
    }

    #[test]
    fn only_addresses_become_links() {
        let lightning = way("btc-lightning-bolt11", "lnbc1p0").link();
        assert_eq!(lightning.as_deref(), Some("lightning:lnbc1p0"));
        for (method, value) in [
            ("btc-lightning-bolt11", "x?y=javascript:alert(1)"),
            ("btc-bitcoin-address", "bc1q\" onclick=\"x"),
            ("btc-bitcoin-address", ""),
            ("javascript", "alert"),
            ("cash", "table"),
        ] {
            assert_eq!(way(method, value).link(), None, "{value}");
        }
        let long = "a".repeat(MAX_ADDRESS + 1);
        assert_eq!(way("btc-bitcoin-address", &long).link(), None);
    }

    #[test]
    fn hostile_places_are_shown_as_the_text_that_they_are() {
        let long = "<script>".repeat(2_000);
        let shown = list(
            "w",
            [way("cash", &long), way("<b>", "\u{202e}x")].into_iter(),
        )
        .into_string();
        assert!(!shown.contains("<script>") && !shown.contains("<b>"));
        assert!(!shown.contains('\u{202e}'));
        assert!(shown.len() < 20_000, "{}", shown.len());
    }
}

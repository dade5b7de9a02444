//! Ways to pay somebody outside, as pages show them.

use maud::{Markup, html};

use super::{qr, text};
use crate::http::credit::endpoints::EndpointView;

/// What the endpoint of credit is called, after the unit's code.
const CREDIT: &str = "-atomicity-ledger";
/// Longest address that a link is made of; a Lightning invoice has a few hundred characters.
const MAX_ADDRESS: usize = 2_000;
/// Longest address for which there is a code to be scanned, and the most codes in one list: a page stays small.
const MAX_CODE: usize = 600;
const MOST_CODES: usize = 6;
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
    /// How many bitcoins are to be paid, in decimals, if that is known.
    pub bitcoins: Option<&'a str>,
}

impl<'a> Way<'a> {
    /// A way without limits.
    pub fn new(method: &'a str, value: &'a str) -> Self {
        Self {
            method,
            value,
            min: None,
            max: None,
            bitcoins: None,
        }
    }
}

impl<'a> From<&'a EndpointView> for Way<'a> {
    fn from(endpoint: &'a EndpointView) -> Self {
        Self {
            min: endpoint.min.as_deref(),
            max: endpoint.max.as_deref(),
            ..Self::new(&endpoint.method, &endpoint.value)
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
        match self.place()? {
            Place::Chain => {
                let amount = self.bitcoins.map(|number| format!("?amount={number}"));
                Some(format!(
                    "bitcoin:{}{}",
                    self.value,
                    amount.unwrap_or_default()
                ))
            }
            _ => Some(format!("lightning:{}", self.value)),
        }
    }

    /// What kind of address it is; `None` if it is none that wallets know.
    fn place(&self) -> Option<Place> {
        if self.value.is_empty() || self.value.len() > MAX_ADDRESS {
            return None;
        }
        let letters = self.value.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let mut parts = self.method.split('-');
        let (asset, rail) = (parts.next()?, parts.next()?);
        if asset != "btc" {
            return None;
        }
        let low = self.value.to_ascii_lowercase();
        match rail {
            "bitcoin" if letters => Some(Place::Chain),
            "lightning" if letters && low.starts_with("lno1") => Some(Place::Offer),
            "lightning" if letters && low.starts_with("lnurl1") => Some(Place::Address),
            "lightning" if letters && (low.starts_with("lnb") || low.starts_with("lnt")) => {
                Some(Place::Invoice)
            }
            "lightning" if is_lightning_address(self.value) => Some(Place::Address),
            _ => None,
        }
    }

    /// What happens in the payer's wallet.
    fn hint(&self) -> Option<&'static str> {
        Some(match self.place()? {
            Place::Chain if self.bitcoins.is_some() => {
                "Link and code name the amount. It takes a while until it is confirmed."
            }
            Place::Chain => {
                "Your wallet asks you how much. It takes a while until it is confirmed."
            }
            Place::Offer => "An offer (BOLT 12): your wallet asks you how much.",
            Place::Address => "A Lightning address: your wallet asks you how much.",
            Place::Invoice => "An invoice: it may name an amount of its own, and is paid once.",
        })
    }
}

/// An address that wallets of others know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// An address on the chain.
    Chain,
    /// A reusable offer.
    Offer,
    /// Somebody at a host, or the same as one word (LNURL).
    Address,
    /// An invoice.
    Invoice,
}

/// Whether it is `name@host`, and nothing that means something in a link.
fn is_lightning_address(text: &str) -> bool {
    let fits = |part: &str, more: &[u8]| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
        !part.is_empty() && part.bytes().all(known)
    };
    let parts = text.split_once('@');
    parts.is_some_and(|(name, host)| {
        fits(name, b"._-+") && fits(host, b".-") && !host.starts_with('.')
    })
}

/// All of them, in the order in which they come. `name` tells their elements from others of the page.
pub fn list<'a>(name: &str, ways: impl Iterator<Item = Way<'a>>) -> Markup {
    html! {
        ol.ways {
            @for (number, way) in ways.enumerate() {
                (one(&format!("{name}-{number}"), &way, number < MOST_CODES))
            }
        }
    }
}

fn one(id: &str, way: &Way<'_>, with_code: bool) -> Markup {
    let link = way.link();
    let scanned = link
        .as_deref()
        .filter(|link| with_code && link.len() <= MAX_CODE);
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
            @if let Some(hint) = way.hint() { p.quiet { (hint) } }
            div.row {
                @if let Some(link) = &link { a.button href=(link) { "Open in a wallet" } }
                button type="button" data-copy=(id) { "Copy" }
            }
            @if let Some(picture) = scanned.and_then(|link| qr::code(link, &format!("Code with the link: {}", way.words()))) {
                details {
                    summary { "Show the code" }
                    (picture)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(Way::new(method, "v").words(), words);
        }
    }

    #[test]
    fn only_addresses_become_links() {
        for (method, value) in [
            ("btc-lightning-bolt11", "lnbc1p0"),
            ("btc-lightning-bolt12", "lno1pg257enxv4"),
            ("btc-lightning-lnurl", "LNURL1DP68GURN8GHJ7"),
            ("btc-lightning-address", "paula.p+x@pay.example.org"),
        ] {
            let link = Way::new(method, value).link();
            assert_eq!(link, Some(format!("lightning:{value}")));
        }
        for (method, value) in [
            ("btc-lightning-bolt11", "x?y=javascript:alert(1)"),
            ("btc-lightning-bolt12", "abc"),
            ("btc-lightning-address", "a@b?c=d"),
            ("btc-lightning-address", "a@b@c"),
            ("btc-lightning-address", "@b"),
            ("btc-bitcoin-address", "bc1q\" onclick=\"x"),
            ("btc-bitcoin-address", ""),
            ("javascript", "alert"),
            ("cash", "table"),
        ] {
            assert_eq!(Way::new(method, value).link(), None, "{value}");
        }
        let long = "a".repeat(MAX_ADDRESS + 1);
        assert_eq!(Way::new("btc-bitcoin-address", &long).link(), None);
    }

    #[test]
    fn only_a_link_to_the_chain_names_an_amount() {
        let paying = |method, value| Way {
            bitcoins: Some("0.0015"),
            ..Way::new(method, value)
        };
        let chain = paying("btc-bitcoin-p2tr", "bc1pxyz").link();
        assert_eq!(chain.as_deref(), Some("bitcoin:bc1pxyz?amount=0.0015"));
        let offer = paying("btc-lightning-bolt12", "lno1abc").link();
        assert_eq!(offer.as_deref(), Some("lightning:lno1abc"));
    }

    #[test]
    fn what_a_wallet_opens_can_be_scanned_too_and_a_long_list_stays_small() {
        let one = list(
            "w",
            [Way::new("btc-lightning-bolt12", "lno1abc")].into_iter(),
        );
        let one = one.into_string();
        assert!(
            one.contains("aria-label=\"Code with the link: BTC over Lightning\""),
            "{one}"
        );
        assert!(one.contains("your wallet asks you how much"));
        let many = std::iter::repeat_n(Way::new("btc-bitcoin-address", "bc1qabc"), 20);
        let many = list("w", many).into_string();
        assert_eq!(many.matches("<svg").count(), MOST_CODES);
        let cash = list("w", [Way::new("cash", "at the door")].into_iter()).into_string();
        assert!(!cash.contains("<svg"));
    }

    #[test]
    fn hostile_places_are_shown_as_the_text_that_they_are() {
        let long = "<script>".repeat(2_000);
        let shown = list(
            "w",
            [Way::new("cash", &long), Way::new("<b>", "\u{202e}x")].into_iter(),
        )
        .into_string();
        assert!(!shown.contains("<script>") && !shown.contains("<b>"));
        assert!(!shown.contains('\u{202e}'));
        assert!(shown.len() < 20_000, "{}", shown.len());
    }
}

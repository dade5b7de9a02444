//! Links: what is printed reads back, and nothing reads that does not say clearly whom to pay what.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use atomicity_ledger::link::{Link, MAX_LINK_BYTES, MAX_USER_LINK_BYTES, UserLink, Wanted};
use atomicity_ledger::{Amount, Memo, Unit};
use proptest::prelude::*;
use support::{amount, cast, samples, unit};

fn baker() -> String {
    cast().baker.user_key().to_string()
}

fn read(text: &str) -> Link {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn invoices() -> impl Iterator<Item = String> {
    let of_type = |sample: &support::Sample| sample.typ == "atomicity-invoice";
    samples().into_iter().filter(of_type).map(|s| s.jws)
}

#[test]
fn a_link_to_a_user_says_as_much_as_it_wants() {
    let user = cast().baker.user_key();
    let wanted = |minor: Option<u64>| {
        Some(Wanted {
            unit: unit("USD/2"),
            amount: minor.map(amount),
        })
    };
    let link = |wanted, memo: Option<&str>| {
        Link::User(UserLink {
            user,
            wanted,
            memo: memo.map(|text| text.parse().unwrap()),
        })
    };
    let cases = [
        ("", link(None, None)),
        ("?unit=USD/2", link(wanted(None), None)),
        ("?amount=5.00&unit=USD/2", link(wanted(Some(500)), None)),
        ("?memo=tea", link(None, Some("tea"))),
        (
            "?amount=0.01&unit=USD/2&memo=two%20br%C3%B6tchen%20%26%20tea%3F",
            link(wanted(Some(1)), Some("two brötchen & tea?")),
        ),
        (
            "?amount=1.00&unit=USD/2&memo=1%2B1%3D2%20100%25",
            link(wanted(Some(100)), Some("1+1=2 100%")),
        ),
    ];
    for (query, expected) in cases {
        let text = format!("atomicity:{user}{query}");
        let found = read(&text);
        assert_eq!(found, expected, "{text}");
        assert_eq!(found.to_string(), text);
    }
    assert_eq!(Link::from(user), read(&format!("atomicity:{user}")));
}

#[test]
fn other_spellings_are_read_and_printed_in_one() {
    let user = baker();
    let printed = format!("atomicity:{user}?amount=5.00&unit=USD/2&memo=a%2Bb");
    for other in [
        format!("ATOMICITY:{user}?amount=5.00&unit=USD/2&memo=a%2Bb"),
        format!("Atomicity:{user}?unit=USD%2f2&memo=%61%2bb&amount=5"),
        format!("atomicity:{user}?memo=a+b&amount=5.0&unit=USD/2"),
    ] {
        assert_eq!(read(&other).to_string(), printed, "{other}");
    }
}

#[test]
fn an_invoice_comes_back_byte_for_byte() {
    for jws in invoices() {
        let text = format!("atomicity:{jws}");
        let link = read(&text);
        let Link::Invoice(invoice) = &link else {
            panic!("{text} is no invoice")
        };
        assert_eq!(invoice.jws(), jws);
        assert_eq!(link.to_string(), text);
        assert_eq!(read(&format!("AtOmIcItY:{jws}")), link);
        assert!(format!("atomicity:{jws}?memo=x").parse::<Link>().is_err());
        assert!(format!("atomicity:{jws}?").parse::<Link>().is_err());
    }
}

#[test]
fn a_request_comes_back_byte_for_byte() {
    let of_type = |sample: &support::Sample| sample.typ == "atomicity-request";
    let requests: Vec<_> = samples().into_iter().filter(of_type).collect();
    assert!(!requests.is_empty());
    for jws in requests.into_iter().map(|sample| sample.jws) {
        let text = format!("atomicity:{jws}");
        let link = read(&text);
        let Link::Request(request) = &link else {
            panic!("{text} is no request")
        };
        assert_eq!(request.jws(), jws);
        assert_eq!(link.to_string(), text);
        assert_eq!(read(&format!("ATOMICITY:{jws}")), link);
        assert!(format!("atomicity:{jws}?memo=x").parse::<Link>().is_err());
        every_flipped_byte_is_refused(&text);
    }
}

#[test]
fn every_flipped_byte_of_an_invoice_link_is_refused() {
    every_flipped_byte_is_refused(&format!("atomicity:{}", invoices().next().unwrap()));
}

fn every_flipped_byte_is_refused(text: &str) {
    for place in "atomicity".len()..text.len() {
        for mask in [0x01, 0x02, 0x20] {
            let mut bytes = text.as_bytes().to_vec();
            bytes[place] ^= mask;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(changed.parse::<Link>().is_err(), "byte {place} ^ {mask:#x}");
        }
    }
}

#[test]
fn hostile_links_are_refused_and_the_reason_is_named() {
    let user = baker();
    let state = samples().into_iter().find(|s| s.typ == "atomicity-state");
    let state = state.unwrap().jws;
    let to = |query: &str| format!("atomicity:{user}{query}");
    let digits = "9".repeat(1000);
    let cases = [
        (String::new(), "text_invalid"),
        ("atomicity".to_owned(), "text_invalid"),
        (user.clone(), "text_invalid"),
        (format!("bitcoin:{user}"), "text_invalid"),
        (format!("atomicityy:{user}"), "text_invalid"),
        (format!(" atomicity:{user}"), "text_invalid"),
        ("atomicity:".to_owned(), "key_invalid"),
        (format!("atomicity://{user}"), "key_invalid"),
        (format!("atomicity:{}", user.to_uppercase()), "key_invalid"),
        (to(" "), "key_invalid"),
        (to("\n"), "key_invalid"),
        (to("#top"), "key_invalid"),
        (format!("atomicity:{state}"), "wrong_type"),
        ("atomicity:a.b".to_owned(), "jws_malformed"),
        ("atomicity:a.b.c".to_owned(), "jws_malformed"),
        (to("?"), "text_invalid"),
        (to("?amount"), "text_invalid"),
        (to("?amount=5.00"), "text_invalid"),
        (to("?unit=USD/2&"), "text_invalid"),
        (to("?unit=USD/2&&memo=a"), "text_invalid"),
        (to("?unit=USD/2&unit=USD/2"), "text_invalid"),
        (to("?amount=1&unit=USD/2&amount=2"), "text_invalid"),
        (to("?to=me"), "text_invalid"),
        (to("?Unit=USD/2"), "text_invalid"),
        (to("?%75nit=USD/2"), "text_invalid"),
        (to("?unit=usd/2"), "unit_invalid"),
        (to("?unit="), "unit_invalid"),
        (to("?amount=0&unit=USD/2"), "amount_invalid"),
        (to("?amount=&unit=USD/2"), "amount_invalid"),
        (to("?amount=-1&unit=USD/2"), "amount_invalid"),
        (to("?amount=1,5&unit=USD/2"), "amount_invalid"),
        (to("?amount=1.005&unit=USD/2"), "amount_invalid"),
        (
            to("?amount=92233720368547758.08&unit=USD/2"),
            "amount_invalid",
        ),
        (to(&format!("?amount={digits}&unit=USD/2")), "text_invalid"),
        (to("?memo="), "text_invalid"),
        (to("?memo=a b"), "text_invalid"),
        (to("?memo=ö"), "text_invalid"),
        (to("?memo=%"), "text_invalid"),
        (to("?memo=%2"), "text_invalid"),
        (to("?memo=%2g"), "text_invalid"),
        (to("?memo=%+5"), "text_invalid"),
        (to("?memo=%ff"), "text_invalid"),
        (to("?memo=%C0%80"), "text_invalid"),
        (to("?memo=%00"), "text_invalid"),
        (to("?memo=%0A"), "text_invalid"),
        (to("?memo=%E2%80%AEtea"), "text_invalid"),
        (to("?memo=a#b"), "text_invalid"),
        (to(&format!("?memo={}", "a".repeat(513))), "text_invalid"),
        (to(&format!("?memo={}", "a".repeat(2048))), "too_large"),
        (
            format!("atomicity:a.{}", "b".repeat(MAX_LINK_BYTES)),
            "too_large",
        ),
    ];
    for (text, code) in cases {
        let shown: String = text.chars().take(120).collect();
        let error = text.parse::<Link>().expect_err(&shown);
        assert_eq!(error.code(), code, "{shown}: {error}");
        assert!(error.to_string().len() < 1000, "{shown}");
    }
}

#[test]
fn the_longest_memo_fits() {
    let memo: Memo = "ö".repeat(Memo::MAX_BYTES / 2).parse().unwrap();
    let link = Link::User(UserLink {
        user: cast().baker.user_key(),
        wanted: Some(Wanted {
            unit: unit("ABCDEFGHIJKLMNOPQ/18"),
            amount: Some(amount(i64::MAX as u64)),
        }),
        memo: Some(memo),
    });
    let text = link.to_string();
    assert!(text.len() <= MAX_USER_LINK_BYTES, "{}", text.len());
    assert_eq!(read(&text), link);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_is_wanted_comes_back(
        minor in prop::option::of(1..=i64::MAX as u64),
        code in "[A-Z][A-Z0-9]{0,16}",
        places in 0u8..=18,
        words in prop::option::of("\\PC{1,120}"),
    ) {
        let places = if places == 0 { String::new() } else { format!("/{places}") };
        let unit: Unit = format!("{code}{places}").parse().unwrap();
        let amount = minor.map(|minor| Amount::from_minor(minor).unwrap());
        let link = Link::User(UserLink {
            user: cast().milkman.user_key(),
            wanted: Some(Wanted { unit, amount }),
            memo: words.and_then(|words| words.parse().ok()),
        });
        let text = link.to_string();
        prop_assert!(text.is_ascii());
        prop_assert_eq!(text.parse::<Link>().unwrap(), link);
    }

    #[test]
    fn arbitrary_queries_are_judged_and_print_the_same_twice(query in "[?&=%+a-c0-9/.]{0,40}|\\PC{0,60}") {
        let text = format!("atomicity:{}?{query}", baker());
        if let Ok(link) = text.parse::<Link>() {
            prop_assert_eq!(link.to_string().parse::<Link>().unwrap(), link);
        }
        let _ = query.parse::<Link>();
    }
}

//! Spends and passes that break a rule.

use atomicity_ledger::Keypair;

use super::routes::contradiction;
use super::support::{BAKER, MILKMAN};
use super::{Case, case, header, sound, spoilt};
use crate::support::raw_jws;

const SPEND: &str = "atomicity-spend";
const PASS: &str = "atomicity-pass";

pub fn cases() -> Vec<Case> {
    let (milkman, baker) = (
        Keypair::from_secret(&MILKMAN).user_key(),
        Keypair::from_secret(&BAKER).user_key(),
    );
    let field =
        |from: &str, to: &str, why: &str| case(why, spoilt(SPEND, from, to), "payload_invalid");
    let peer = format!(r#""to":{{"peer":"{baker}"}}"#);
    let other = |to: &str, why: &str| field(&peer, &format!(r#""to":{to}"#), why);
    let mut all = vec![
        contradiction(
            SPEND,
            &peer,
            &format!(r#""to":{{"peer":"{milkman}"}}"#),
            "a spend on oneself",
        ),
        field(r#""amount":"200""#, r#""amount":"0""#, "a spend of nothing"),
        field(
            r#""amount":"200""#,
            r#""amount":200"#,
            "a spend of a number",
        ),
        field(r#""v":1"#, r#""v":2"#, "a spend of another version"),
        field(
            r#""v":1"#,
            r#""v":1,"account":"x""#,
            "a spend with a member more",
        ),
        field(
            r#""memo""#,
            r#""max_fee":"0","memo""#,
            "a spend with a fee of nothing",
        ),
        other(r#"{}"#, "a spend for nobody"),
        other(r#""peer""#, "a spend for a word"),
        other(
            &format!(r#"{{"peer":"{baker}","invoice":"a.b.c"}}"#),
            "a spend for two",
        ),
        other(r#"{"invoice":"a.b.c"}"#, "a spend on what is no invoice"),
        other(r#"{"user":"x"}"#, "a spend for a kind that there is not"),
        other(
            r#"{"target":{"method":"m"}}"#,
            "a spend on a target without a place",
        ),
        case(
            "a pass of another version",
            spoilt(PASS, r#""v":1"#, r#""v":2"#),
            "payload_invalid",
        ),
        case(
            "a pass without an end",
            spoilt(PASS, r#""expires":1767225660000,"#, ""),
            "payload_invalid",
        ),
    ];
    let most = i64::MAX.to_string();
    let cost = format!(r#""amount":"{most}","#);
    let dear = spoilt_twice(&[
        (r#""amount":"200","#, &cost),
        (r#""memo""#, r#""max_fee":"1","memo""#),
    ]);
    all.push(case(
        "a spend that costs more than there is",
        dear,
        "total_overflow",
    ));
    all.push(contradiction(
        SPEND,
        &peer,
        r#""to":{"target":{"method":"private","value":"x"}}"#,
        "a spend under Paykit's own name",
    ));
    all.extend(billed(&peer));
    all.extend(outside(&peer));
    all
}

/// Spends on an invoice that asks for something else, or is none.
fn billed(peer: &str) -> Vec<Case> {
    let (_, invoice) = invoice();
    let to = format!(r#""to":{{"invoice":"{invoice}"}}"#);
    let spoilt_invoice = invoice.replacen(&invoice[invoice.len() - 3..], "AAA", 1);
    let forged = format!(r#""to":{{"invoice":"{spoilt_invoice}"}}"#);
    let amount = (r#""amount":"200""#, r#""amount":"500""#);
    let unit = (r#""unit":"BREAD/2""#, r#""unit":"USD/2""#);
    vec![
        case(
            "a spend that pays less than the invoice asks",
            spoilt_twice(&[(peer, &to)]),
            "contradiction",
        ),
        case(
            "a spend in another unit than the invoice",
            spoilt_twice(&[(peer, &to), amount, unit]),
            "contradiction",
        ),
        case(
            "a spend on a forged invoice",
            spoilt_twice(&[(peer, &forged), amount]),
            "payload_invalid",
        ),
    ]
}

/// Spends on places outside that say what can't be.
fn outside(peer: &str) -> Vec<Case> {
    let cash = r#""to":{"target":{"method":"usd-cash-hand","value":"x"}}"#;
    let invoice = r#""to":{"target":{"method":"btc-lightning-bolt11","value":"lnbc1"}}"#;
    let pays = |amount: &str| format!(r#","pays":{{"asset":"BTC","amount":"{amount}"}}"#);
    let to = |to: &str, more: &str| spoilt_twice(&[(peer, &format!("{to}{more}"))]);
    let fee = spoilt_twice(&[(peer, cash), (r#""memo""#, r#""max_fee":"1","memo""#)]);
    let contradictions = [
        (
            "a spend on a friend in something else",
            to(peer, &pays("1")),
        ),
        ("a spend outside of nothing", to(cash, &pays("0"))),
        (
            "a spend on a Lightning invoice in its own unit",
            to(invoice, ""),
        ),
        (
            "a spend on a Lightning invoice in parts of a thousandth of a satoshi",
            to(invoice, &pays("0.000000000001")),
        ),
        ("a spend outside with a fee for those who pass it on", fee),
    ];
    let mut all: Vec<Case> = contradictions
        .into_iter()
        .map(|(why, jws)| case(why, jws, "contradiction"))
        .collect();
    let number = r#","pays":{"asset":"BTC","amount":1}"#;
    all.push(case(
        "a spend outside of a number",
        to(cash, number),
        "payload_invalid",
    ));
    all
}

/// A sound invoice over 5.00.
fn invoice() -> (String, String) {
    let (json, secret) = sound("atomicity-invoice");
    let jws = raw_jws(&header("atomicity-invoice", &secret), &json, &secret);
    (json, jws)
}

fn spoilt_twice(changes: &[(&str, &str)]) -> String {
    let (mut json, secret) = sound(SPEND);
    for (from, to) in changes {
        assert!(json.contains(from), "no {from}");
        json = json.replacen(from, to, 1);
    }
    raw_jws(&header(SPEND, &secret), &json, &secret)
}

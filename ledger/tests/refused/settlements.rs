//! Settlements, endpoints, requests and parts that break a rule.

use atomicity_ledger::Keypair;

use super::routes::{contradiction, with};
use super::support::{BAKER, MILKMAN};
use super::{Case, case, spoilt};

const ENDPOINTS: &str = "atomicity-endpoints";
const SETTLEMENT: &str = "atomicity-settlement";
const ANSWER: &str = "atomicity-settlement-answer";
const WITHDRAWAL: &str = "atomicity-settlement-withdrawal";
const REQUEST: &str = "atomicity-request";
const STATE: &str = "atomicity-request-state";
const PART: &str = "atomicity-part";
const PART_ANSWER: &str = "atomicity-part-answer";

pub fn cases() -> Vec<Case> {
    let mut all = oneself();
    all.extend(endpoints());
    all.extend(settlements());
    all.extend(answers());
    all.extend(requests());
    all.extend(parts());
    all
}

fn field(typ: &str, from: &str, to: &str, why: &str) -> Case {
    case(why, spoilt(typ, from, to), "payload_invalid")
}

/// Everybody needs somebody else.
fn oneself() -> Vec<Case> {
    let (milkman, baker) = (
        Keypair::from_secret(&MILKMAN).user_key(),
        Keypair::from_secret(&BAKER).user_key(),
    );
    let same = |typ, name: &str, why| {
        let member = |user| format!("\"{name}\":\"{user}\"");
        let other = if [ANSWER, PART].contains(&typ) {
            (member(baker), member(milkman))
        } else {
            (member(milkman), member(baker))
        };
        contradiction(typ, &other.0, &other.1, why)
    };
    vec![
        same(ENDPOINTS, "to", "endpoints for oneself"),
        same(SETTLEMENT, "issuer", "a debt to oneself"),
        same(ANSWER, "to", "an answer to oneself"),
        same(WITHDRAWAL, "to", "a withdrawal from oneself"),
        same(REQUEST, "payer", "a request to oneself"),
        same(PART, "to", "a part for oneself"),
        same(PART_ANSWER, "to", "an answer to one's own part"),
    ]
}

fn endpoint(n: usize) -> String {
    format!(r#"{{"method":"m","value":"{n}"}}"#)
}

fn endpoints() -> Vec<Case> {
    let listed =
        |list: &[String], why: &str| case(why, with(ENDPOINTS, "endpoints", list), "contradiction");
    let malformed = |list: &str, why: &str| {
        let list = [list.to_owned()];
        case(why, with(ENDPOINTS, "endpoints", &list), "payload_invalid")
    };
    let many: Vec<String> = (0..17).map(endpoint).collect();
    let long = |n: usize| format!(r#"{{"method":"{}","value":"x"}}"#, "m".repeat(n));
    let value = |n: usize| format!(r#"{{"method":"m","value":"{}"}}"#, "v".repeat(n));
    vec![
        listed(&many, "17 endpoints"),
        listed(&[endpoint(1), endpoint(1)], "an endpoint twice"),
        listed(
            &[r#"{"method":"private","value":"x"}"#.to_owned()],
            "an endpoint under Paykit's own name",
        ),
        listed(
            &[r#"{"method":"..","value":"x"}"#.to_owned()],
            "an endpoint that is a way up",
        ),
        listed(
            &[r#"{"method":"m","value":"x","min":"2","max":"1.5"}"#.to_owned()],
            "an endpoint that takes nothing",
        ),
        malformed(&long(65), "a method of 65 characters"),
        malformed(r#"{"method":"a/b","value":"x"}"#, "a method with a slash"),
        malformed(r#"{"method":"","value":"x"}"#, "a method without a name"),
        malformed(r#"{"method":"m","value":""}"#, "an empty endpoint"),
        malformed(&value(4097), "an endpoint of 4097 bytes"),
        malformed(
            r#"{"method":"m","value":"x\u202ey"}"#,
            "an endpoint that reads backwards",
        ),
        malformed(
            r#"{"method":"m","value":"x","min":"1.50"}"#,
            "a bound with a zero at its end",
        ),
        malformed(
            r#"{"method":"m","value":"x","min":1}"#,
            "a bound as a number",
        ),
        malformed(
            r#"{"method":"m","value":"x","min":"-1"}"#,
            "a bound below nothing",
        ),
        malformed(
            r#"{"method":"m","value":"x","max":"0.0000000000000000001"}"#,
            "a bound of 19 decimal places",
        ),
    ]
}

fn settlements() -> Vec<Case> {
    let of = |from: &str, to: &str, why: &str| contradiction(SETTLEMENT, from, to, why);
    let target = |n: usize| format!(r#"{{"method":"usd-bank-iban","value":"{n}"}}"#);
    let invoice = r#"{"method":"btc-lightning-bolt11","value":"lnbc1"}"#.to_owned();
    let listed =
        |list: &[String], why: &str| case(why, with(SETTLEMENT, "targets", list), "contradiction");
    let many: Vec<String> = (0..9).map(target).collect();
    let hash = atomicity_ledger::RecordHash::of("a direct release");
    vec![
        listed(&many, "nine targets"),
        listed(&[target(1), target(1)], "a target twice"),
        listed(&[], "a direct release for no invoice"),
        listed(&[target(1)], "a direct release for a transfer"),
        listed(&[invoice.clone(), target(1)], "an invoice among others"),
        of(
            &format!("\"release\":\"{hash}\","),
            "",
            "an invoice without a direct release",
        ),
        of(
            r#""pays":{"asset":"BTC","amount":"0.00005"},"#,
            "",
            "an invoice without what it asks for",
        ),
        of(
            r#""asset":"BTC""#,
            r#""asset":"USD""#,
            "an invoice in dollars",
        ),
        of(
            r#""amount":"0.00005""#,
            r#""amount":"0.000000000001""#,
            "an invoice over less than a thousandth of a satoshi",
        ),
        of(
            r#""amount":"0.00005""#,
            r#""amount":"0""#,
            "a settlement that pays nothing",
        ),
        field(
            SETTLEMENT,
            r#""amount":"500""#,
            r#""amount":"0""#,
            "a settlement of nothing",
        ),
        field(
            SETTLEMENT,
            r#""asset":"BTC""#,
            r#""asset":"BTC/8""#,
            "an asset with decimal places",
        ),
        field(
            SETTLEMENT,
            r#""amount":"0.00005""#,
            r#""amount":"5e-5""#,
            "an amount with an exponent",
        ),
        field(
            SETTLEMENT,
            r#""memo":"a coffee""#,
            r#""memo":null"#,
            "a memo written as null",
        ),
        field(
            SETTLEMENT,
            r#""expires""#,
            r#""rate":"1","expires""#,
            "a rate in a settlement",
        ),
        field(
            SETTLEMENT,
            r#""seq":7"#,
            r#""seq":-7"#,
            "a claim on a state before the first",
        ),
    ]
}

fn answers() -> Vec<Case> {
    let said = r#"{"declined":{"reason":"rate_off","offer":{"asset":"BTC","amount":"0.000051"}}}"#;
    let of = |to: &str, why: &str| field(ANSWER, said, to, why);
    let long = format!(
        r#"{{"paid":{{"method":"m","proof":"{}"}}}}"#,
        "p".repeat(1025)
    );
    vec![
        of(r#""perhaps""#, "an answer that is none"),
        of(r#"{"accepted":null}"#, "an answer written as null"),
        of(r#"{"accepted":{}}"#, "an answer with nothing in it"),
        of(r#""declined""#, "an answer without a reason"),
        of(
            r#"{"declined":{"reason":"because"}}"#,
            "a reason that nobody knows",
        ),
        of(
            r#"{"failed":{"reason":"expired","offer":{"asset":"BTC","amount":"1"}}}"#,
            "an offer after it failed",
        ),
        of(
            r#"{"failed":{"reason":"expired"},"paid":{"method":"m","proof":"p"}}"#,
            "two answers at once",
        ),
        of(r#"{"paid":{"method":"m"}}"#, "paid without a proof"),
        of(&long, "a proof of 1025 bytes"),
        contradiction(
            ANSWER,
            said,
            r#"{"paid":{"method":"private","proof":"p"}}"#,
            "paid by Paykit's own name",
        ),
        contradiction(
            ANSWER,
            r#""amount":"0.000051""#,
            r#""amount":"0""#,
            "an offer of nothing",
        ),
        field(
            WITHDRAWAL,
            r#""settlement":""#,
            r#""settlement":"A"#,
            "a withdrawal of a hash that is too long",
        ),
    ]
}

fn requests() -> Vec<Case> {
    let goal = |to: &str, why: &str| field(REQUEST, r#"{"exact":"1200"}"#, to, why);
    let against = |from: &str, to: &str, why: &str| contradiction(REQUEST, from, to, why);
    let exact = r#"{"exact":"1200"}"#;
    let targets: Vec<String> = (0..9)
        .map(|n| format!(r#"{{"method":"m","value":"{n}"}}"#))
        .collect();
    let invoice = [r#"{"method":"btc-lightning-bolt11","value":"lnbc1"}"#.to_owned()];
    vec![
        goal(r#"{"exact":"0"}"#, "a request for nothing"),
        goal(r#""1200""#, "an amount that does not say of which kind"),
        goal(r#""open""#, "an open amount without an object"),
        goal(r#"{"exact":"1","open":{}}"#, "two amounts at once"),
        goal(
            r#"{"target":{"amount":"1","max":"1"}}"#,
            "a target with a most",
        ),
        goal(r#"{"open":{"min":null}}"#, "a least amount written as null"),
        against(exact, r#"{"open":{}}"#, "an open amount that recurs"),
        against(
            exact,
            r#"{"target":{"amount":"9"}}"#,
            "a target that recurs",
        ),
        against(r#""count":12"#, r#""count":0"#, "what never recurs"),
        against(r#""count":12"#, r#""count":10001"#, "what recurs for ever"),
        field(
            REQUEST,
            r#""month""#,
            r#""year""#,
            "a period that nobody knows",
        ),
        field(REQUEST, r#""count":12"#, r#""count":1.5"#, "half a turn"),
        case(
            "a request with nine targets",
            with(REQUEST, "targets", &targets),
            "contradiction",
        ),
        case(
            "a request with an invoice for whoever comes",
            with(REQUEST, "targets", &invoice),
            "contradiction",
        ),
        case(
            "a request that expires before it is due",
            spoilt(REQUEST, r#""from":17673"#, r#""from":27673"#),
            "contradiction",
        ),
        field(STATE, r#""open":true"#, r#""open":"true""#, "open as text"),
        field(
            STATE,
            r#""filled":"700""#,
            r#""filled":"-1""#,
            "filled below nothing",
        ),
    ]
}

fn parts() -> Vec<Case> {
    let said = r#""invoice":""#;
    vec![
        field(
            PART,
            r#""amount":"300""#,
            r#""amount":"0""#,
            "a part of nothing",
        ),
        field(
            PART,
            r#""at":"#,
            r#""turn":-1,"at":"#,
            "a turn before the first",
        ),
        field(
            PART,
            r#""at":"#,
            r#""turn":4294967296,"at":"#,
            "a turn in the far future",
        ),
        field(
            PART,
            r#""at":"#,
            &format!(
                r#""reply":{{"key":"{0}","inbox":{{"plugin":"{0}"}}}},"at":"#,
                "y".repeat(52)
            ),
            "a reply key that seals nothing",
        ),
        field(
            PART,
            r#""at":"#,
            r#""reply":{},"at":"#,
            "an answer that goes nowhere",
        ),
        contradiction(
            PART_ANSWER,
            said,
            r#""target":{"method":"m","value":"x"},"invoice":""#,
            "an invoice and a target",
        ),
        field(
            PART_ANSWER,
            r#""amount":"250""#,
            r#""amount":"0""#,
            "nothing is granted",
        ),
        field(
            PART_ANSWER,
            r#""granted""#,
            r#""given""#,
            "an answer to a part that is none",
        ),
    ]
}

//! Invoices, adverts, ratings and replies that break a rule.

use atomicity_ledger::Keypair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::support::{BAKER, MILKMAN, raw_jws};
use super::{Case, case, header, sound, spoilt};

const INVOICE: &str = "atomicity-invoice";
const ADVERT: &str = "atomicity-advert";
const RATES: &str = "atomicity-rates";
const RATING: &str = "atomicity-rating";
const REPLY: &str = "atomicity-reply";

pub fn cases() -> Vec<Case> {
    let mut all = fields();
    all.extend(invoices());
    all.extend(adverts());
    all.extend(rates());
    all.extend(others());
    all
}

pub fn contradiction(typ: &str, from: &str, to: &str, why: &str) -> Case {
    case(why, spoilt(typ, from, to), "contradiction")
}

/// `typ` with the list `name` instead of its own.
pub fn with(typ: &str, name: &str, list: &[String]) -> String {
    let (json, secret) = sound(typ);
    let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let list = format!("[{}]", list.join(","));
    value[name] = serde_json::from_str(&list).unwrap();
    raw_jws(&header(typ, &secret), &value.to_string(), &secret)
}

fn fields() -> Vec<Case> {
    let of = |typ: &str, from: &str, to: &str, why: &str| {
        case(why, spoilt(typ, from, to), "payload_invalid")
    };
    let body = "c2VhbGVkIGFuc3dlcg";
    let clears = |value: &str, why: &str| {
        let to = format!(r#""clears":{value},"receive":{{"#);
        of(ADVERT, r#""receive":{"#, &to, why)
    };
    vec![
        of(
            INVOICE,
            r#""amount":"500""#,
            r#""amount":"0""#,
            "an invoice over nothing",
        ),
        of(
            INVOICE,
            r#""amount":"500""#,
            r#""amount":null"#,
            "an open amount written as null",
        ),
        of(
            INVOICE,
            r#""id":""#,
            r#""id":"AA"#,
            "an invoice id of 17 bytes",
        ),
        of(
            INVOICE,
            r#""capacity":"300""#,
            r#""capacity":"0""#,
            "a hint at a way for nothing",
        ),
        of(
            INVOICE,
            r#""ppm":2500"#,
            r#""ppm":4294967296"#,
            "a fee of 2^32 millionths",
        ),
        of(
            ADVERT,
            r#""capacity":"200""#,
            r#""capacity":"0""#,
            "an advert of a way for nothing",
        ),
        of(
            ADVERT,
            r#""max_deadline_s":120"#,
            r#""max_deadline_s":-1"#,
            "a deadline in the past",
        ),
        of(
            ADVERT,
            r#""serial":1"#,
            r#""serial":9007199254740992"#,
            "a serial above 2^53 - 1",
        ),
        of(
            ADVERT,
            r#""send":{"#,
            r#""sends":{"#,
            "a way of an unknown kind",
        ),
        clears(r#"{}"#, "a debt of nobody"),
        clears(r#"{"owed":"1","owes":"1"}"#, "a debt of both to both"),
        clears(r#"{"owed":"0"}"#, "a debt of nothing"),
        clears(r#"{"owed":"-5"}"#, "a debt below nothing"),
        clears(r#"{"owed":5}"#, "a debt as a number"),
        clears(r#"{"lent":"5"}"#, "a debt of an unknown kind"),
        clears("null", "no debt written as null"),
        of(
            RATING,
            r#""verdict":"good""#,
            r#""verdict":"great""#,
            "a verdict that nobody knows",
        ),
        of(
            RATING,
            r#""kind":"router""#,
            r#""kind":"bakery""#,
            "a rating of an unknown kind",
        ),
        of(
            REPLY,
            &format!("\"body\":\"{body}\""),
            r#""body":"""#,
            "a reply of nothing",
        ),
        of(
            REPLY,
            body,
            &"A".repeat(11_265),
            "a reply longer than any layers",
        ),
        of(REPLY, body, &format!("{body}="), "a reply with padding"),
    ]
}

fn log(n: usize) -> String {
    let hash = URL_SAFE_NO_PAD.encode([1; 32]);
    format!(r#"{{"origin":"log.example/{n}","policy_hash":"{hash}"}}"#)
}

fn hint(secret: u8) -> String {
    let peer = Keypair::from_secret(&[secret; 32]).user_key();
    format!(r#"{{"peer":"{peer}","capacity":"1","base":"0","ppm":0}}"#)
}

fn hints(count: u8) -> Vec<String> {
    let mut peers: Vec<u8> = (0x51..0x51 + count).collect();
    peers.sort_by_key(|n| Keypair::from_secret(&[*n; 32]).user_key());
    peers.into_iter().map(hint).collect()
}

fn invoices() -> Vec<Case> {
    let listed = |name: &str, list: &[String], why: &str| {
        case(why, with(INVOICE, name, list), "contradiction")
    };
    let refused: Vec<String> = (10..27).map(|n| format!("\"log.example/{n}\"")).collect();
    let mut turned = hints(2);
    turned.reverse();
    let payee = hint(0x21);
    vec![
        listed("logs", &[], "an invoice on no log"),
        listed("logs", &[1, 2, 3, 4, 5].map(log), "an invoice on five logs"),
        listed("logs", &[2, 1].map(log), "logs that descend"),
        listed("logs", &[1, 1].map(log), "a log twice"),
        listed("logs", &[log(9)], "a log both trusted and refused"),
        listed("logs_refused", &refused, "17 logs refused"),
        listed(
            "logs_refused",
            &[refused[1].clone(), refused[0].clone()],
            "refused logs that descend",
        ),
        listed("hints", &hints(5), "five hints"),
        listed("hints", &turned, "hints that descend"),
        listed("hints", &[hint(0x51), hint(0x51)], "a hint twice"),
        listed("hints", &[payee], "a hint at the payee"),
        contradiction(
            INVOICE,
            r#""ppm":2500"#,
            r#""ppm":1000001"#,
            "a hint at a fee above the amount",
        ),
    ]
}

fn adverts() -> Vec<Case> {
    let of = |from: &str, to: &str, why: &str| contradiction(ADVERT, from, to, why);
    let listed =
        |list: &[String], why: &str| case(why, with(ADVERT, "units", list), "contradiction");
    let unit = |name: &str| format!(r#"{{"unit":"{name}","receive":{{"capacity":"1"}}}}"#);
    let many: Vec<String> = (10..75).map(|n| unit(&format!("U{n}"))).collect();
    let (milkman, baker) = (
        Keypair::from_secret(&MILKMAN).user_key(),
        Keypair::from_secret(&BAKER).user_key(),
    );
    vec![
        of(
            &format!("\"to\":\"{baker}\""),
            &format!("\"to\":\"{milkman}\""),
            "an advert of a way to oneself",
        ),
        of(
            r#""capacity":"200""#,
            r#""capacity":"201""#,
            "a capacity to send that tells too much",
        ),
        of(
            r#""capacity":"1000""#,
            r#""capacity":"3000""#,
            "a capacity to receive that tells too much",
        ),
        of(
            r#""min":"1""#,
            r#""min":"201""#,
            "a least amount above the most",
        ),
        of(
            r#""ppm":1500"#,
            r#""ppm":1000001"#,
            "a fee above the amount",
        ),
        of(
            r#""max_deadline_s""#,
            r#""slots":129,"max_deadline_s""#,
            "more slots than a channel has",
        ),
        listed(
            &[r#"{"unit":"BREAD/2"}"#.to_owned()],
            "a unit that goes neither way",
        ),
        listed(
            &[r#"{"unit":"A","clears":{"owed":"3"}}"#.to_owned()],
            "a debt that tells too much",
        ),
        listed(
            &[r#"{"unit":"A","receive":{"capacity":"1"},"clears":{"owes":"11"}}"#.to_owned()],
            "a debt of one's own that tells too much",
        ),
        listed(&many, "an advert in 65 units"),
        listed(&[unit("B"), unit("A")], "adverts of units that descend"),
        listed(&[unit("A"), unit("A")], "an advert of a unit twice"),
    ]
}

fn rates() -> Vec<Case> {
    let rate = |take: &str, give: &str, max: &str| {
        format!(r#"{{"take":"{take}","give":"{give}","num":"108","den":"100","max":"{max}"}}"#)
    };
    let listed =
        |list: &[String], why: &str| case(why, with(RATES, "rates", list), "contradiction");
    let field = |rate: &str, why: &str| {
        case(
            why,
            with(RATES, "rates", &[rate.to_owned()]),
            "payload_invalid",
        )
    };
    let many: Vec<String> = (0..65)
        .map(|n| rate("USD/2", &format!("U{n:02}"), "1"))
        .collect();
    vec![
        listed(&many, "65 rates"),
        listed(
            &[rate("USD/2", "EUR/2", "1"), rate("USD/2", "BREAD/2", "1")],
            "rates that descend",
        ),
        listed(
            &[rate("USD/2", "EUR/2", "1"), rate("USD/2", "EUR/2", "2")],
            "two rates of the same units",
        ),
        listed(
            &[rate("EUR/2", "EUR/2", "1")],
            "a rate between a unit and itself",
        ),
        listed(
            &[rate("USD/2", "EUR/2", "3")],
            "a rate for an amount that tells too much",
        ),
        field(
            r#"{"take":"USD/2","give":"EUR/2","num":"0","den":"1","max":"1"}"#,
            "a rate that asks nothing",
        ),
        field(
            r#"{"take":"USD/2","give":"EUR/2","num":"1","den":"0","max":"1"}"#,
            "a rate that divides by nothing",
        ),
        field(
            r#"{"take":"USD/2","give":"EUR/2","num":1,"den":"1","max":"1"}"#,
            "a rate as a number",
        ),
        field(
            r#"{"take":"USD/02","give":"EUR/2","num":"1","den":"1","max":"1"}"#,
            "a rate of a malformed unit",
        ),
        field(
            r#"{"take":"USD/2","give":"EUR/2","rate":"1.08","max":"1"}"#,
            "a rate as a fraction",
        ),
    ]
}

fn others() -> Vec<Case> {
    let (milkman, baker) = (
        Keypair::from_secret(&MILKMAN).user_key(),
        Keypair::from_secret(&BAKER).user_key(),
    );
    let miller = Keypair::from_secret(&[0x31; 32]).user_key();
    vec![
        contradiction(
            RATING,
            &format!("\"subject\":\"{miller}\""),
            &format!("\"subject\":\"{baker}\""),
            "a rating of oneself",
        ),
        contradiction(
            REPLY,
            &format!("\"to\":\"{milkman}\""),
            &format!("\"to\":\"{baker}\""),
            "a reply to oneself",
        ),
    ]
}

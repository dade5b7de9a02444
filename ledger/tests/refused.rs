//! Hostile records: each must be refused, with the code that says why. Stored for other implementations in `refused.json`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use atomicity_ledger::authority::{GRANT_TYP, Grant};
use atomicity_ledger::record::{AnyRecord, State};
use atomicity_ledger::{Keypair, MAX_RECORD_BYTES, Signed};
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use support::{BAKER, BAKER_BOOK, MILKMAN, MILKMAN_BOOK, grant, raw_jws, samples, testdata};

struct Case {
    description: String,
    jws: String,
    code: &'static str,
}

fn case(description: impl Into<String>, jws: impl Into<String>, code: &'static str) -> Case {
    Case {
        description: description.into(),
        jws: jws.into(),
        code,
    }
}

fn header(typ: &str, secret: &[u8; 32]) -> String {
    let kid = Keypair::from_secret(secret).signer_key();
    format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{kid}"}}"#)
}

/// The payload of a sound record, as text that can be spoilt and signed again.
fn sound(typ: &str) -> (String, [u8; 32]) {
    let sample = samples().into_iter().find(|s| s.typ == typ).unwrap();
    let part = sample.jws.split('.').nth(1).unwrap().to_owned();
    let json = String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (json, sample.secret)
}

fn spoilt(typ: &str, from: &str, to: &str) -> String {
    let (json, secret) = sound(typ);
    assert!(json.contains(from), "{typ} holds no {from}");
    raw_jws(&header(typ, &secret), &json.replacen(from, to, 1), &secret)
}

const STATE: &str = "atomicity-state";

/// Each field of a state, of a wrong kind or out of range.
fn bad_fields() -> Vec<Case> {
    let state =
        |from: &str, to: &str, why: &str| case(why, spoilt(STATE, from, to), "payload_invalid");
    let small_order = Keypair::from_secret(&MILKMAN).user_key().to_string();
    let (json, _) = sound(STATE);
    let milkman = format!("\"from\":\"{small_order}\"");
    assert!(json.contains(&milkman));
    let mut one = [0u8; 32];
    one[0] = 1;
    let weak = format!("\"from\":\"{}\"", z32::encode(&one));
    vec![
        state(r#""v":1"#, r#""v":2"#, "an unknown version"),
        state(r#""v":1"#, r#""v":"1""#, "the version as a string"),
        state(r#""v":1,"#, "", "no version"),
        state(r#""v":1"#, r#""v":1,"w":1"#, "an unknown field"),
        state(r#""v":1"#, r#""v":1,"v":1"#, "a field twice"),
        state(r#""issued":"200","#, "", "a field missing"),
        state(
            r#""issued":"200""#,
            r#""issued":200"#,
            "an amount as a number",
        ),
        state(r#""issued":"200""#, r#""issued":"0200""#, "a leading zero"),
        state(r#""issued":"200""#, r#""issued":"+200""#, "a plus sign"),
        state(r#""issued":"200""#, r#""issued":"-200""#, "a minus sign"),
        state(r#""issued":"200""#, r#""issued":"2e2""#, "an exponent"),
        state(
            r#""issued":"200""#,
            r#""issued":"200.0""#,
            "a decimal point",
        ),
        state(r#""issued":"200""#, r#""issued":" 200""#, "a space"),
        state(
            r#""issued":"200""#,
            r#""issued":"٢٠٠""#,
            "digits of another script",
        ),
        state(r#""issued":"200""#, r#""issued":"""#, "an empty amount"),
        state(
            r#""issued":"200""#,
            r#""issued":"9223372036854775808""#,
            "a total above 2^63 - 1",
        ),
        state(
            r#""seq":1"#,
            r#""seq":9007199254740992"#,
            "a seq above 2^53 - 1",
        ),
        state(r#""seq":1"#, r#""seq":-1"#, "a negative seq"),
        state(r#""seq":1"#, r#""seq":1.0"#, "a seq with a decimal point"),
        state(r#""seq":1"#, r#""seq":"1""#, "a seq as a string"),
        state(r#""epoch":0"#, r#""epoch":2147483648"#, "an epoch of 2^31"),
        state(
            r#""unit":"BREAD/2""#,
            r#""unit":"BREAD/0""#,
            "a unit with no places after a slash",
        ),
        state(
            r#""unit":"BREAD/2""#,
            r#""unit":"BREAD/02""#,
            "a unit with a leading zero",
        ),
        state(
            r#""unit":"BREAD/2""#,
            r#""unit":"BREAD/19""#,
            "a unit with 19 places",
        ),
        state(
            r#""unit":"BREAD/2""#,
            r#""unit":"bread/2""#,
            "a unit in lower case",
        ),
        state(
            r#""unit":"BREAD/2""#,
            r#""unit":"ABCDEFGHIJKLMNOPQR""#,
            "a unit of 18 letters",
        ),
        state(
            r#""at":1767225601000"#,
            r#""at":9007199254740992"#,
            "a time above 2^53 - 1",
        ),
        state(
            r#""open":[]"#,
            r#""open":["00"]"#,
            "an IOU number with a leading zero",
        ),
        case(
            "a promise of nothing",
            spoilt(
                "atomicity-conditional-iou",
                r#""amount":"200""#,
                r#""amount":"0""#,
            ),
            "payload_invalid",
        ),
        case(
            "a payment hash of 31 bytes",
            spoilt("atomicity-conditional-iou", r#""hash":""#, r#""hash":"AA"#),
            "payload_invalid",
        ),
        case(
            "a reason that nobody knows",
            spoilt(
                "atomicity-release",
                r#""reason":"expired""#,
                r#""reason":"whim""#,
            ),
            "payload_invalid",
        ),
        case(
            "a control character in a policy",
            spoilt(
                "atomicity-publication",
                r#""policy":"log"#,
                r#""policy":"\u0007log"#,
            ),
            "payload_invalid",
        ),
        state(&milkman, &weak, "a user key of small order"),
        state(&milkman, r#""from":"YBNDRFG8""#, "a user key that is none"),
    ]
}

/// Fields that are well formed, one by one, and contradict each other.
fn contradictions() -> Vec<Case> {
    let of = |typ: &str, from: &str, to: &str, why: &str| {
        case(why, spoilt(typ, from, to), "contradiction")
    };
    let milkman = Keypair::from_secret(&MILKMAN).user_key();
    let baker = Keypair::from_secret(&BAKER).user_key();
    let numbers: Vec<String> = (0..129).map(|n| format!("\"{n}\"")).collect();
    let many = format!("\"next\":\"999\",\"open\":[{}]", numbers.join(","));
    let (ack, ack_key) = sound("atomicity-ack");
    let items = ack.find("\"items\":[").unwrap() + 9..ack.rfind(']').unwrap();
    let empty = format!("{}{}", &ack[..items.start], &ack[items.end..]);
    vec![
        case(
            "an ack of nothing",
            raw_jws(&header("atomicity-ack", &ack_key), &empty, &ack_key),
            "contradiction",
        ),
        of(
            STATE,
            r#""seq":1"#,
            r#""seq":0"#,
            "a state before the first",
        ),
        of(
            STATE,
            r#""merged":"0""#,
            r#""merged":"201""#,
            "more merged than issued",
        ),
        of(
            STATE,
            r#""merged":"0","returned":"0""#,
            r#""merged":"100","returned":"101""#,
            "more merged and returned together than issued",
        ),
        of(
            "atomicity-refusal",
            r#""returned":"300""#,
            r#""returned":"199""#,
            "a refusal of more than was returned in all",
        ),
        of(
            STATE,
            r#""open":[]"#,
            r#""open":["0"]"#,
            "an open number not below next",
        ),
        of(
            STATE,
            r#""next":"0","open":[]"#,
            r#""next":"9","open":["2","1"]"#,
            "open numbers that descend",
        ),
        of(
            STATE,
            r#""next":"0","open":[]"#,
            r#""next":"9","open":["1","1"]"#,
            "an open number twice",
        ),
        of(STATE, r#""next":"0","open":[]"#, &many, "129 open numbers"),
        of(
            STATE,
            &format!("\"to\":\"{baker}\""),
            &format!("\"to\":\"{milkman}\""),
            "a state of a user to themselves",
        ),
        of(
            "atomicity-conditional-iou",
            r#""number":"0""#,
            r#""number":"4294967296""#,
            "a promise with a number of the next epoch",
        ),
        of(
            "atomicity-conditional-iou",
            r#""deadline_ms":1767225660000"#,
            r#""deadline_ms":9007199254740992"#,
            "a deadline above 2^53 - 1",
        ),
        of(
            "atomicity-conditional-iou",
            r#""from_size":1"#,
            r#""from_size":9007199254740992"#,
            "a window that begins above 2^53 - 1",
        ),
        of(
            "atomicity-release",
            &format!("\"to\":\"{milkman}\""),
            &format!("\"to\":\"{baker}\""),
            "a release to themselves",
        ),
        of(
            "atomicity-publication",
            &format!("\"to\":\"{milkman}\""),
            &format!("\"to\":\"{baker}\""),
            "a publication to themselves",
        ),
        case(
            "a view of nothing",
            {
                let (json, secret) = sound("atomicity-view");
                let notes = json.find("\"checkpoints\":[").unwrap() + 15..json.rfind(']').unwrap();
                let empty = format!("{}{}", &json[..notes.start], &json[notes.end..]);
                raw_jws(&header("atomicity-view", &secret), &empty, &secret)
            },
            "contradiction",
        ),
        of(
            "atomicity-refusal",
            r#""to_seq":3"#,
            r#""to_seq":1"#,
            "a refusal of no state",
        ),
        of(
            "atomicity-delegation",
            r#""scopes":["book"]"#,
            r#""scopes":[]"#,
            "a delegation without scope",
        ),
        of(
            "atomicity-delegation",
            r#""scopes":["book"]"#,
            r#""scopes":["book","book"]"#,
            "a scope twice",
        ),
        of(
            "atomicity-delegation",
            r#""not_after":1798761600000"#,
            r#""not_after":1767225600000"#,
            "a delegation that ends as it begins",
        ),
    ]
}

/// Headers that are none of ours, each under a sound signature.
fn bad_headers() -> Vec<Case> {
    let (json, secret) = sound(STATE);
    let good = header(STATE, &secret);
    let with = |description: &str, from: &str, to: &str, code| {
        assert!(good.contains(from));
        case(
            description,
            raw_jws(&good.replacen(from, to, 1), &json, &secret),
            code,
        )
    };
    let mut one = [0u8; 32];
    one[0] = 1;
    let kid = Keypair::from_secret(&secret).signer_key().to_string();
    let other = Keypair::from_secret(&BAKER_BOOK).signer_key().to_string();
    vec![
        with("alg none", "EdDSA", "none", "header_invalid"),
        with("alg in lower case", "EdDSA", "eddsa", "header_invalid"),
        with("alg HS256", "EdDSA", "HS256", "header_invalid"),
        with(
            "a type that nobody knows",
            STATE,
            "atomicity-stone",
            "unknown_type",
        ),
        with(
            "the type of another record",
            STATE,
            "atomicity-payment",
            "payload_invalid",
        ),
        with(
            "no type",
            r#","typ":"atomicity-state""#,
            "",
            "header_invalid",
        ),
        with(
            "an unknown header member",
            "\"}",
            "\",\"crit\":[]}",
            "header_invalid",
        ),
        with(
            "a header member twice",
            "\"alg\"",
            "\"alg\":\"EdDSA\",\"alg\"",
            "header_invalid",
        ),
        with(
            "a key in the header",
            "\"}",
            "\",\"jwk\":{}}",
            "header_invalid",
        ),
        with(
            "a kid of small order",
            &kid,
            &z32::encode(&one),
            "header_invalid",
        ),
        with(
            "a kid in upper case",
            &kid,
            &kid.to_uppercase(),
            "header_invalid",
        ),
        with("the kid of another key", &kid, &other, "signature_invalid"),
        with(
            "no kid",
            &format!(",\"kid\":\"{kid}\""),
            "",
            "header_invalid",
        ),
        case(
            "a header that is a list",
            raw_jws("[]", &json, &secret),
            "header_invalid",
        ),
        case(
            "an empty header",
            raw_jws("", &json, &secret),
            "header_invalid",
        ),
    ]
}

/// What is wrong around header and payload: parts, base64, size, nesting, signature.
fn bad_forms() -> Vec<Case> {
    let (json, secret) = sound(STATE);
    let good = raw_jws(&header(STATE, &secret), &json, &secret);
    let parts: Vec<&str> = good.split('.').collect();
    let [head, body, signature] = parts[..] else {
        panic!("three parts")
    };
    let padded = |part: &str| {
        let text = URL_SAFE.encode(URL_SAFE_NO_PAD.decode(part).unwrap());
        assert!(text.ends_with('='));
        text
    };
    let deep = |depth: usize| format!("{{\"v\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    let sign = |payload: &str| raw_jws(&header(STATE, &secret), payload, &secret);
    vec![
        case("nothing", "", "jws_malformed"),
        case("one part", head, "jws_malformed"),
        case("two parts", format!("{head}.{body}"), "jws_malformed"),
        case("a trailing dot", format!("{good}."), "jws_malformed"),
        case(
            "a fourth part",
            format!("{good}.{signature}"),
            "jws_malformed",
        ),
        case(
            "an empty signature",
            format!("{head}.{body}."),
            "jws_malformed",
        ),
        case(
            "a line feed at the end",
            format!("{good}\n"),
            "jws_malformed",
        ),
        case("a space in front", format!(" {good}"), "jws_malformed"),
        case(
            "padding after the signature",
            format!("{head}.{body}.{}", padded(signature)),
            "jws_malformed",
        ),
        case(
            "stray bits after the signature",
            format!("{head}.{body}.{}", stray_bits(signature)),
            "jws_malformed",
        ),
        case(
            "standard base64",
            format!(
                "{head}.{body}.{}",
                signature.replace('-', "+").replace('_', "/")
            ),
            "jws_malformed",
        ),
        case(
            "a signature of 63 bytes",
            format!("{head}.{body}.{}", &signature[..84]),
            "jws_malformed",
        ),
        case(
            "a signature of 65 bytes",
            format!("{head}.{body}.{}AAA", &signature[..84]),
            "jws_malformed",
        ),
        case(
            "a signature with the order of the group added to S",
            format!("{head}.{body}.{}", malleated(signature)),
            "signature_invalid",
        ),
        case(
            "a signature of zeros",
            format!("{head}.{body}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
            "signature_invalid",
        ),
        case(
            "the signature of another record",
            format!("{head}.{body}.{}", sign("{}").rsplit_once('.').unwrap().1),
            "signature_invalid",
        ),
        case(
            "a payload that is no JSON",
            sign("balance"),
            "payload_invalid",
        ),
        case("an empty payload", sign(""), "payload_invalid"),
        case("a payload that is a list", sign("[]"), "payload_invalid"),
        case(
            "a payload with something behind it",
            sign(&format!("{json}{{}}")),
            "payload_invalid",
        ),
        case(
            "a payload that is not UTF-8",
            not_utf8(&json, &secret),
            "payload_invalid",
        ),
        case("lists 100 deep", sign(&deep(100)), "payload_invalid"),
        case("lists 20000 deep", sign(&deep(20_000)), "payload_invalid"),
        case(
            "a record above 64 KiB",
            sign(&json.replacen(
                "\"v\"",
                &format!("\"{}\":1,\"v\"", "x".repeat(MAX_RECORD_BYTES)),
                1,
            )),
            "record_too_large",
        ),
    ]
}

/// The last character of a 64-byte signature carries four bits that must be zero.
fn stray_bits(signature: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = signature.bytes().last().unwrap();
    let place = ALPHABET.iter().position(|c| *c == last).unwrap();
    let stray = char::from(ALPHABET[place | 1]);
    assert_ne!(stray, char::from(last));
    format!("{}{stray}", &signature[..signature.len() - 1])
}

/// The same signature with S + L instead of S: accepted by verifiers that do not check the range (RFC 8032 §5.1.7).
fn malleated(signature: &str) -> String {
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut carry = 0u16;
    for (byte, order) in bytes[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn not_utf8(json: &str, secret: &[u8; 32]) -> String {
    use ed25519_dalek::Signer as _;
    let mut payload = json.as_bytes().to_vec();
    let place = json.find("BREAD").unwrap();
    payload[place] = 0xff;
    let input = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header(STATE, secret)),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let signature = ed25519_dalek::SigningKey::from_bytes(secret).sign(input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

/// A key of small order and a signature that plain verifiers accept under it for every message.
fn weak_key_signs_anything() -> Case {
    let (json, _) = sound(STATE);
    let mut one = [0u8; 32];
    one[0] = 1;
    let header = format!(
        r#"{{"alg":"EdDSA","typ":"{STATE}","kid":"{}"}}"#,
        z32::encode(&one)
    );
    let mut signature = [0u8; 64];
    signature[0] = 1;
    let jws = format!(
        "{}.{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(json),
        URL_SAFE_NO_PAD.encode(signature)
    );
    case(
        "a signature that holds for every message, by a key of small order",
        jws,
        "header_invalid",
    )
}

/// `json` with its object number `nth` written as the list of its values, as a lenient reader of structures takes it.
fn with_list(json: &str, nth: usize) -> Option<String> {
    let bytes = json.as_bytes();
    let open = bytes.iter().enumerate().filter(|(_, b)| **b == b'{');
    let start = open.map(|(place, _)| place).nth(nth)?;
    let mut list = String::from("[");
    let (mut depth, mut in_name, mut place) = (0usize, true, start + 1);
    // No string of the samples holds a quotation mark, a brace or a colon.
    while depth > 0 || bytes[place] != b'}' {
        match bytes[place] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => in_name = true,
            _ => {}
        }
        if bytes[place] == b':' && depth == 0 && in_name {
            in_name = false;
        } else if !in_name || bytes[place] == b',' {
            list.push(char::from(bytes[place]));
        }
        place += 1;
    }
    Some(format!(
        "{}{list}]{}",
        &json[..start],
        json.get(place + 1..).unwrap()
    ))
}

/// Every object of every type, in the form of a list.
fn lists_for_objects() -> Vec<Case> {
    let mut cases = Vec::new();
    for sample in samples() {
        let (json, secret) = sound(sample.typ);
        for nth in 0.. {
            let Some(spoilt) = with_list(&json, nth) else {
                break;
            };
            let why = format!("{} with object {nth} as a list", sample.typ);
            let jws = raw_jws(&header(sample.typ, &secret), &spoilt, &secret);
            cases.push(case(why, jws, "payload_invalid"));
        }
    }
    let (json, secret) = sound(STATE);
    let list = with_list(&header(STATE, &secret), 0).unwrap();
    cases.push(case(
        "a header that is a list of its values",
        raw_jws(&list, &json, &secret),
        "header_invalid",
    ));
    cases
}

fn cases() -> Vec<Case> {
    let mut all = bad_forms();
    all.extend(lists_for_objects());
    all.extend(bad_headers());
    all.extend(bad_fields());
    all.extend(contradictions());
    all.push(weak_key_signs_anything());
    all
}

#[test]
fn hostile_records_are_refused_and_the_reason_is_named() {
    for case in cases() {
        let error = AnyRecord::decode(&case.jws).expect_err(&case.description);
        assert_eq!(error.code(), case.code, "{}: {error}", case.description);
        assert!(error.to_string().len() < 1000, "{}", case.description);
    }
}

#[test]
fn a_list_in_the_place_of_an_object_is_refused_by_the_reader_of_one_type_too() {
    let (json, secret) = sound(STATE);
    let list = with_list(&json, 0).unwrap();
    assert!(list.starts_with("[1,\"") && list.ends_with(']'), "{list}");
    let jws = raw_jws(&header(STATE, &secret), &list, &secret);
    let error = Signed::<State>::decode(&jws).unwrap_err();
    assert_eq!(error.code(), "payload_invalid");
}

#[test]
fn the_reader_of_one_type_refuses_a_sound_record_of_another() {
    let all = samples();
    let ack = all.iter().find(|sample| sample.typ == "atomicity-ack");
    let jws = &ack.unwrap().jws;
    assert!(AnyRecord::decode(jws).is_ok());
    assert_eq!(
        Signed::<State>::decode(jws).unwrap_err().code(),
        "wrong_type"
    );
}

#[test]
fn a_grant_in_the_form_of_a_list_is_refused() {
    let key = Keypair::from_secret(&BAKER_BOOK);
    let jws = grant(&BAKER, &key, &[], 1, 2);
    let part = jws.split('.').nth(1).unwrap();
    let json = String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let header = format!(r#"{{"alg":"EdDSA","typ":"{GRANT_TYP}"}}"#);
    Grant::decode(&raw_jws(&header, &json, &BAKER)).unwrap();
    let list = with_list(&json, 0).unwrap();
    let error = Grant::decode(&raw_jws(&header, &list, &BAKER)).unwrap_err();
    assert_eq!(error.code(), "jws_malformed");
}

#[test]
fn the_stored_vectors_are_these_cases() {
    // What is large is described, not stored.
    let vectors: Vec<Value> = cases()
        .into_iter()
        .filter(|case| case.jws.len() < 8192)
        .map(|case| json!({"description": case.description, "jws": case.jws, "code": case.code}))
        .collect();
    let mut text = serde_json::to_string_pretty(&vectors).unwrap();
    text.push('\n');
    let path = testdata("refused.json");
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap() == text,
        "refused.json differs"
    );
}

#[test]
fn the_sound_record_behind_the_cases_is_accepted() {
    for typ in [
        STATE,
        "atomicity-refusal",
        "atomicity-delegation",
        "atomicity-ack",
    ] {
        let (json, secret) = sound(typ);
        AnyRecord::decode(&raw_jws(&header(typ, &secret), &json, &secret)).unwrap();
    }
    let (json, _) = sound(STATE);
    AnyRecord::decode(&raw_jws(
        &header(STATE, &MILKMAN_BOOK),
        &json,
        &MILKMAN_BOOK,
    ))
    .unwrap();
}

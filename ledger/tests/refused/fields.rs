//! Fields that are malformed, and fields that contradict each other.

use atomicity_ledger::Keypair;

use super::support::{BAKER, MILKMAN, raw_jws};
use super::{Case, STATE, case, header, sound, spoilt};

/// Each field of a state, of a wrong kind or out of range.
pub fn bad_fields() -> Vec<Case> {
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
pub fn contradictions() -> Vec<Case> {
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

//! Lists in the place of objects, which a lenient reader of structures takes.

use std::collections::BTreeSet;

use super::support::{raw_jws, samples};
use super::{Case, STATE, case, header, sound};

/// `json` with its object number `nth` written as the list of its values, as a lenient reader of structures takes it.
pub fn with_list(json: &str, nth: usize) -> Option<String> {
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

/// Every object of every type, in the form of a list. A type of several samples is played once.
pub fn lists_for_objects() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut played = BTreeSet::new();
    for sample in samples() {
        if !played.insert(sample.typ) {
            continue;
        }
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

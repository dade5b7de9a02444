//! One number out of a JSON text, as text: a JSON reader's numbers are floating point, and lose digits.

use std::fmt;

use atomicity_ledger::Decimal;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::RateError;

/// How many steps a pointer may have.
pub(super) const MAX_STEPS: usize = 16;
/// The longest number that is read.
const MAX_NUMBER: usize = 64;
/// No number that fits has a greater exponent.
const MAX_EXPONENT: usize = 40;

const NOTHING_THERE: RateError =
    RateError::AnswerMalformed("nothing stands where the price should");
const NO_NUMBER: RateError = RateError::AnswerMalformed("no plain positive number");

/// Where in a JSON text something stands, as in RFC 6901: `/data/0/price`. Empty for the text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer(Vec<String>);

impl Pointer {
    pub(super) fn parse(text: &str) -> Result<Self, RateError> {
        let refuse = |why: &str| RateError::ConfigInvalid(format!("the JSON pointer {why}"));
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let steps = text
            .strip_prefix('/')
            .ok_or_else(|| refuse("must be empty or begin with a slash"))?;
        let steps: Vec<String> = steps
            .split('/')
            .take(MAX_STEPS + 1)
            .map(|step| step.replace("~1", "/").replace("~0", "~"))
            .collect();
        if steps.len() > MAX_STEPS {
            return Err(refuse("has too many steps"));
        }
        Ok(Self(steps))
    }

    /// The number that stands there in `text`, bare or in quotes.
    pub(super) fn number(&self, text: &str) -> Result<Decimal, RateError> {
        let no_json = |_| RateError::AnswerMalformed("it is no JSON");
        let mut here: &RawValue = serde_json::from_str(text).map_err(no_json)?;
        for step in &self.0 {
            let mut reader = serde_json::Deserializer::from_str(here.get());
            here = reader
                .deserialize_any(Member(step))
                .map_err(|_| NOTHING_THERE)?
                .ok_or(NOTHING_THERE)?;
        }
        let text = here.get();
        let bare = text
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        plain(bare.unwrap_or(text))
    }
}

/// Finds one member of an object or an array. One that stands there twice is none.
struct Member<'a>(&'a str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object or an array with {:?}", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != self.0 {
                map.next_value::<IgnoredAny>()?;
            } else if found.replace(map.next_value()?).is_some() {
                return Err(serde::de::Error::custom("it stands there twice"));
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let wanted: Option<usize> = self.0.parse().ok();
        let wanted = wanted.filter(|at| at.to_string() == self.0);
        let (mut found, mut at) = (None, 0);
        while let Some(item) = list.next_element::<&RawValue>()? {
            if Some(at) == wanted {
                found = Some(item);
            }
            at += 1;
        }
        Ok(found)
    }
}

/// Reads a number from 0 that may have an exponent: programs write small ones so.
fn plain(text: &str) -> Result<Decimal, RateError> {
    if text.len() > MAX_NUMBER {
        return Err(NO_NUMBER);
    }
    let Some((number, exponent)) = text.split_once(['e', 'E']) else {
        return Decimal::read(text).map_err(|_| NO_NUMBER);
    };
    let exponent: i32 = exponent.parse().map_err(|_| NO_NUMBER)?;
    let steps = usize::try_from(exponent.unsigned_abs()).map_err(|_| NO_NUMBER)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if steps > MAX_EXPONENT || whole.is_empty() || number.ends_with('.') {
        return Err(NO_NUMBER);
    }
    // The point moves over digits, or over zeros where there are none.
    let moved = if exponent >= 0 {
        let padded = format!("{fraction:0<steps$}");
        let (passed, rest) = padded.split_at_checked(steps).ok_or(NO_NUMBER)?;
        format!("{whole}{passed}.{rest}0")
    } else {
        let padded = format!("{whole:0>steps$}");
        let at = padded.len().saturating_sub(steps);
        let (rest, passed) = padded.split_at_checked(at).ok_or(NO_NUMBER)?;
        format!("0{rest}.{passed}{fraction}")
    };
    Decimal::read(&moved).map_err(|_| NO_NUMBER)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(pointer: &str, text: &str) -> Result<String, &'static str> {
        let pointer = Pointer::parse(pointer).unwrap();
        let number = pointer.number(text);
        number.map(|n| n.to_string()).map_err(|why| why.code())
    }

    #[test]
    fn a_number_is_read_digit_by_digit() {
        for (text, expected) in [
            ("67234.1", "67234.1"),
            ("0.1234567890123456789e1", "1.234567890123456789"),
            ("9007199254740993.1", "9007199254740993.1"),
            ("1.05e-05", "0.0000105"),
            ("1E2", "100"),
            ("12.34e+1", "123.4"),
            ("1234e-2", "12.34"),
            ("0", "0"),
            (" \"00012.50\" ", "12.5"),
        ] {
            assert_eq!(at("", text).as_deref(), Ok(expected), "{text}");
        }
        let long = format!("1.{}", "1".repeat(70));
        for text in [
            "-1",
            "1e99999",
            "1e-60",
            "1e41",
            "null",
            "true",
            "{}",
            "[1]",
            "\"\"",
            "\"1,5\"",
            "\"abc\"",
            "\"1e\"",
            "\"e5\"",
            "\"1.e2\"",
            "\"1e5e5\"",
            "0.1234567890123456789",
            &long,
        ] {
            assert_eq!(at("", text), Err("rate_answer_malformed"), "{text}");
        }
    }

    #[test]
    fn a_pointer_leads_through_objects_and_lists() {
        let text = r#"{"data":[{"a":1},{"a/b":{"~":"2.5"},"é":3}],"twice":1,"twice":2}"#;
        assert_eq!(at("/data/0/a", text).as_deref(), Ok("1"));
        assert_eq!(at("/data/1/a~1b/~0", text).as_deref(), Ok("2.5"));
        assert_eq!(at("/data/1/é", text).as_deref(), Ok("3"));
        for pointer in [
            "/data/2",
            "/data/00",
            "/data/-",
            "/date",
            "/twice",
            "/data/0/a/0",
            "",
        ] {
            assert_eq!(at(pointer, text), Err("rate_answer_malformed"), "{pointer}");
        }
        for text in ["", "{", "{\"data\":[{\"a\":1}", "1 2"] {
            assert_eq!(
                at("/data/0/a", text),
                Err("rate_answer_malformed"),
                "{text}"
            );
        }
        assert!(Pointer::parse("data").is_err());
        assert!(Pointer::parse(&"/a".repeat(MAX_STEPS + 1)).is_err());
    }
}

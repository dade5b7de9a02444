//! What an endpoint says: where to pay, and how much it takes.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use atomicity_ledger::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::AdapterError;

/// The largest endpoint that Paykit reads or writes, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

const MAX_LIMIT_DIGITS: usize = 64;

/// A bound on amounts: a plain decimal number in the asset's major unit, such as `0.0001`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Limit(String);

impl Limit {
    /// The number as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same number in Paykit's form.
    #[must_use]
    pub fn of_decimal(number: Decimal) -> Self {
        // At most 19 digits, a point and 18 digits: that is always a limit.
        Self(number.to_string())
    }

    /// Compares the numbers, not their spelling: `1.0` equals `1`.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        let (a, b) = (self.significant(), other.significant());
        a.0.len()
            .cmp(&b.0.len())
            .then_with(|| a.0.cmp(b.0))
            .then_with(|| a.1.cmp(b.1))
    }

    /// Whole and fractional digits without the zeros that change nothing.
    fn significant(&self) -> (&str, &str) {
        let (whole, fraction) = self.0.split_once('.').unwrap_or((&self.0, ""));
        (
            whole.trim_start_matches('0'),
            fraction.trim_end_matches('0'),
        )
    }
}

impl FromStr for Limit {
    type Err = AdapterError;

    fn from_str(text: &str) -> Result<Self, AdapterError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if text.len() > MAX_LIMIT_DIGITS
            || !(digits(whole) && digits(fraction))
            || (whole.is_empty() && fraction.is_empty())
        {
            return Err(AdapterError::PayloadMalformed(
                "min and max are decimal numbers",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Limit {
    type Error = AdapterError;

    fn try_from(text: String) -> Result<Self, AdapterError> {
        text.parse()
    }
}

impl From<Limit> for String {
    fn from(limit: Limit) -> Self {
        limit.0
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limit({})", self.0)
    }
}

/// The content of an endpoint: the handle to pay to, bounds on the amount, and whatever else its format needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Payload {
    value: String,
    min: Option<Limit>,
    max: Option<Limit>,
    other: Map<String, Value>,
}

/// How it stands in the file. Fields that we don't know are kept: other wallets may need them.
#[derive(Serialize, Deserialize)]
struct Wire {
    value: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<Limit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<Limit>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Payload {
    /// A payload with only a handle: an address, an invoice, an offer.
    ///
    /// # Errors
    /// [`AdapterError::PayloadMalformed`] if it is empty or has control characters, [`AdapterError::TooLarge`] if it does not
    /// fit into an endpoint.
    pub fn new(value: impl Into<String>) -> Result<Self, AdapterError> {
        let payload = Self {
            value: value.into(),
            min: None,
            max: None,
            other: Map::new(),
        };
        payload.check()?;
        payload.encode()?;
        Ok(payload)
    }

    /// The same with bounds on the amount, in the asset's major unit.
    ///
    /// # Errors
    /// [`AdapterError::PayloadMalformed`] if the smallest amount is above the largest.
    pub fn with_limits(
        mut self,
        min: Option<Limit>,
        max: Option<Limit>,
    ) -> Result<Self, AdapterError> {
        self.min = min;
        self.max = max;
        self.check()?;
        Ok(self)
    }

    /// The same with one more field, for formats that need one (the `bic` of a bank account).
    ///
    /// # Errors
    /// [`AdapterError::PayloadMalformed`] if the name is one of the common fields, [`AdapterError::TooLarge`] if it does not fit.
    pub fn with_field(mut self, name: &str, value: Value) -> Result<Self, AdapterError> {
        if matches!(name, "value" | "min" | "max") {
            return Err(AdapterError::PayloadMalformed(
                "value, min and max are set elsewhere",
            ));
        }
        self.other.insert(name.to_owned(), value);
        self.encode()?;
        Ok(self)
    }

    /// The handle to pay to.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The smallest amount that the endpoint takes, in the asset's major unit.
    #[must_use]
    pub fn min(&self) -> Option<&Limit> {
        self.min.as_ref()
    }

    /// The largest amount that the endpoint takes, in the asset's major unit.
    #[must_use]
    pub fn max(&self) -> Option<&Limit> {
        self.max.as_ref()
    }

    /// Any other field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.other.get(name)
    }

    /// Reads the content of an endpoint's file. Empty files are the caller's concern: Paykit treats them as absent.
    ///
    /// Text that is no JSON object is taken as the bare handle, as older wallets wrote it.
    ///
    /// # Errors
    /// [`AdapterError::TooLarge`] or [`AdapterError::PayloadMalformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, AdapterError> {
        if bytes.len() > MAX_PAYLOAD_BYTES {
            return Err(AdapterError::TooLarge {
                limit: MAX_PAYLOAD_BYTES,
            });
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| AdapterError::PayloadMalformed("it is not UTF-8"))?
            .trim();
        let payload = if text.starts_with('{') {
            let wire: Wire = serde_json::from_str(text).map_err(|_| {
                AdapterError::PayloadMalformed("it is no JSON object with a text `value`")
            })?;
            Self {
                value: wire.value,
                min: wire.min,
                max: wire.max,
                other: wire.other,
            }
        } else if text.starts_with(['[', '"']) {
            return Err(AdapterError::PayloadMalformed("it is JSON, but no object"));
        } else {
            Self {
                value: text.to_owned(),
                min: None,
                max: None,
                other: Map::new(),
            }
        };
        payload.check()?;
        Ok(payload)
    }

    /// The content of the endpoint's file.
    ///
    /// # Errors
    /// [`AdapterError::TooLarge`] if it exceeds [`MAX_PAYLOAD_BYTES`].
    pub fn encode(&self) -> Result<String, AdapterError> {
        let wire = Wire {
            value: self.value.clone(),
            min: self.min.clone(),
            max: self.max.clone(),
            other: self.other.clone(),
        };
        let text = serde_json::to_string(&wire)
            .map_err(|_| AdapterError::PayloadMalformed("it can't be written as JSON"))?;
        if text.len() > MAX_PAYLOAD_BYTES {
            return Err(AdapterError::TooLarge {
                limit: MAX_PAYLOAD_BYTES,
            });
        }
        Ok(text)
    }

    fn check(&self) -> Result<(), AdapterError> {
        if self.value.trim().is_empty() {
            return Err(AdapterError::PayloadMalformed("its `value` is empty"));
        }
        // A handle is shown to people before they pay: it must not be able to move a terminal's cursor.
        if self.value.chars().any(char::is_control) {
            return Err(AdapterError::PayloadMalformed(
                "its `value` has control characters",
            ));
        }
        match (&self.min, &self.max) {
            (Some(min), Some(max)) if min.compare(max) == Ordering::Greater => {
                Err(AdapterError::PayloadMalformed("`min` is above `max`"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn limit(text: &str) -> Limit {
        text.parse().unwrap()
    }

    #[test]
    fn a_payload_reads_back_as_written() {
        let payload = Payload::new("lno1abc")
            .unwrap()
            .with_limits(Some(limit("0.0001")), Some(limit("0.01")))
            .unwrap()
            .with_field("bic", Value::from("COBADEFF"))
            .unwrap();
        let text = payload.encode().unwrap();
        assert_eq!(
            text,
            r#"{"value":"lno1abc","min":"0.0001","max":"0.01","bic":"COBADEFF"}"#
        );
        assert_eq!(Payload::decode(text.as_bytes()).unwrap(), payload);
    }

    #[test]
    fn a_bare_handle_is_a_value() {
        let payload = Payload::decode(b" lnbc1xyz\n").unwrap();
        assert_eq!(payload.value(), "lnbc1xyz");
        assert_eq!(payload.encode().unwrap(), r#"{"value":"lnbc1xyz"}"#);
    }

    #[test]
    fn malformed_payloads_are_refused() {
        let nested = format!(
            "{{\"value\":\"x\",\"y\":{}1{}}}",
            "[".repeat(2000),
            "]".repeat(2000)
        );
        for bad in [
            "{",
            "{}",
            r#"{"value":1}"#,
            r#"{"value":""}"#,
            r#"{"value":"a","value":"b"}"#,
            "[]",
            r#""x""#,
            r#"{"value":"x","min":1}"#,
            r#"{"value":"x","min":"-1"}"#,
            r#"{"value":"x","max":"."}"#,
            r#"{"value":"x","min":"2","max":"1"}"#,
            r#"{"value":"a\u001b[2J"}"#,
            "a\u{7}b",
            "   ",
            &nested,
        ] {
            assert_eq!(
                Payload::decode(bad.as_bytes()).unwrap_err().code(),
                "payload_malformed",
                "{bad:.60}"
            );
        }
        assert_eq!(
            Payload::decode(&[0xff, 0xfe]).unwrap_err().code(),
            "payload_malformed"
        );
    }

    #[test]
    fn size_is_bounded_in_both_directions() {
        let fits = MAX_PAYLOAD_BYTES - r#"{"value":""}"#.len();
        assert!(Payload::new("x".repeat(fits)).is_ok());
        assert_eq!(
            Payload::new("x".repeat(fits + 1)).unwrap_err().code(),
            "too_large"
        );
        let big = vec![b'x'; MAX_PAYLOAD_BYTES + 1];
        assert_eq!(Payload::decode(&big).unwrap_err().code(), "too_large");
    }

    #[test]
    fn limits_compare_as_numbers() {
        for (a, b, order) in [
            ("1", "1.0", Ordering::Equal),
            ("0.5", ".5", Ordering::Equal),
            ("0010", "9", Ordering::Greater),
            ("0.09", "0.1", Ordering::Less),
            ("2", "10", Ordering::Less),
        ] {
            assert_eq!(limit(a).compare(&limit(b)), order, "{a} {b}");
        }
    }
}

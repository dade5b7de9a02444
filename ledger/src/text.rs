//! Short pieces of text in records, bounded where they are parsed, and random identifiers.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::error::LedgerError;

macro_rules! bounded_text {
    ($(#[$doc:meta])* $name:ident, $max:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The most bytes of UTF-8 that it may have.
            pub const MAX_BYTES: usize = $max;

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = LedgerError;

            fn try_from(text: String) -> Result<Self, LedgerError> {
                if text.is_empty() || text.len() > Self::MAX_BYTES {
                    return Err(LedgerError::TextInvalid {
                        what: $what,
                        why: concat!("it must have 1 to ", $max, " bytes"),
                    });
                }
                // Control characters and bidirectional overrides could make a terminal or a page show another text.
                if text.chars().any(|c| c.is_control() || is_bidi_control(c)) {
                    return Err(LedgerError::TextInvalid {
                        what: $what,
                        why: "it must not contain control characters",
                    });
                }
                Ok(Self(text))
            }
        }

        impl FromStr for $name {
            type Err = LedgerError;

            fn from_str(text: &str) -> Result<Self, LedgerError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

bounded_text! {
    /// What a payer writes beside a payment, and what they refer to (an invoice's number, say).
    Memo, 512, "memo"
}

bounded_text! {
    /// What somebody calls themselves or a friend.
    Name, 64, "name"
}

bounded_text! {
    /// An address: an inbox, a log.
    Address, 512, "address"
}

bounded_text! {
    /// Where something is paid outside: an invoice, a Bitcoin address, an account.
    TargetValue, 4096, "payment target"
}

bounded_text! {
    /// What shows that something was paid outside: an output of a transaction, a bank's reference.
    RailProof, 1024, "proof of a payment"
}

bounded_text! {
    /// What shows that something happened: a signed record, or JSON of what belongs together.
    Voucher, 4096, "receipt"
}

macro_rules! plain_text {
    ($(#[$doc:meta])* $name:ident, $max:literal, $what:literal, $rule:expr, $why:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The most bytes.
            pub const MAX_BYTES: usize = $max;

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = LedgerError;

            fn try_from(text: String) -> Result<Self, LedgerError> {
                let rule: fn(u8) -> bool = $rule;
                if text.is_empty() || text.len() > Self::MAX_BYTES || !text.bytes().all(rule) {
                    return Err(LedgerError::TextInvalid {
                        what: $what,
                        why: $why,
                    });
                }
                Ok(Self(text))
            }
        }

        impl FromStr for $name {
            type Err = LedgerError;

            fn from_str(text: &str) -> Result<Self, LedgerError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }
    };
}

plain_text! {
    /// The text of a policy, a proof or a checkpoint of a log: lines of printable ASCII, as the C2SP formats have it, except that
    /// names may hold any Unicode.
    ProofText, 16384, "log text", |b| b == b'\n' || b >= 0x20 && b != 0x7f,
    "it must have 1 to 16384 bytes and no control characters but the end of a line"
}

plain_text! {
    /// Sealed layers that travel with a promise: base64url.
    Layers, 11264, "sealed layers", |b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_',
    "they must be 1 to 11264 characters of base64url"
}

plain_text! {
    /// The name of a way to pay, as Paykit has it: `<asset>-<rail>-<format>`, such as `btc-lightning-bolt11`.
    MethodName, 64, "payment method", |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'),
    "it must be 1 to 64 letters, digits, '-', '_' and '.'"
}

plain_text! {
    /// A name for machines, such as a kind or a stage: `payment_failed`.
    Word, 32, "name", |b| b.is_ascii_lowercase() || b == b'_',
    "it must be 1 to 32 lower-case letters and '_'"
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Sixteen random bytes that name a payment, in base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordId([u8; 16]);

impl RecordId {
    /// Takes bytes that the caller drew at random.
    #[must_use]
    pub fn from_entropy(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for RecordId {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or(LedgerError::TextInvalid {
                what: "id",
                why: "it must be 16 bytes in base64url",
            })
    }
}

impl TryFrom<String> for RecordId {
    type Error = LedgerError;

    fn try_from(text: String) -> Result<Self, LedgerError> {
        text.parse()
    }
}

impl From<RecordId> for String {
    fn from(id: RecordId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordId({self})")
    }
}

//! Names of payment methods and of apps: both become path segments, so they are checked where they are made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::AdapterError;

/// The most bytes that the name of a method or of an app may have.
pub const MAX_NAME: usize = 64;

/// A name that Paykit keeps for its own storage.
const RESERVED: &str = "private";

/// The name of a payment method, such as `btc-lightning-bolt11`: one path segment, 1 to 64 of `a-z A-Z 0-9 - _ .`.
///
/// This is what Paykit's storage accepts. Names that wallets agree on have three lower-case parts, see [`MethodId::parts`]; only
/// those are published. Names are compared byte for byte: no folding of case, no aliases.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MethodId(String);

impl MethodId {
    /// Checks a name.
    ///
    /// # Errors
    /// [`AdapterError::MethodMalformed`] if it is empty, longer than 64 bytes, has another character, is only dots, or is
    /// `private`.
    pub fn new(name: impl Into<String>) -> Result<Self, AdapterError> {
        let name = name.into();
        let fail = |why| {
            Err(AdapterError::MethodMalformed {
                name: excerpt(&name),
                why,
            })
        };
        if name.is_empty() || name.len() > MAX_NAME {
            return fail("a name has 1 to 64 characters");
        }
        if !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        {
            return fail("a name has only letters, digits, '-', '_' and '.'");
        }
        if name.bytes().all(|b| b == b'.') {
            return fail("a name is not made of dots");
        }
        if name == RESERVED {
            return fail("Paykit keeps this name for itself");
        }
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Asset, rail and format, if the name follows the convention: three parts of lower-case letters and digits.
    #[must_use]
    pub fn parts(&self) -> Option<(&str, &str, &str)> {
        let mut parts = self.0.split('-');
        let three = (parts.next()?, parts.next()?, parts.next()?);
        let plain = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        (parts.next().is_none() && plain(three.0) && plain(three.1) && plain(three.2))
            .then_some(three)
    }
}

/// The name of an app that keeps endpoints for a user: 1 to 64 of `a-z 0-9 -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppId(String);

impl AppId {
    /// Checks a name.
    ///
    /// # Errors
    /// [`AdapterError::AppMalformed`] if it is empty, longer than 64 bytes or has another character.
    pub fn new(name: impl Into<String>) -> Result<Self, AdapterError> {
        let name = name.into();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
            return Err(AdapterError::AppMalformed {
                name: excerpt(&name),
            });
        }
        Ok(Self(name))
    }

    /// The app of this project.
    #[must_use]
    pub fn atomicity() -> Self {
        Self("atomicity".to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_traits {
    ($($name:ident),*) => {$(
        impl FromStr for $name {
            type Err = AdapterError;

            fn from_str(text: &str) -> Result<Self, AdapterError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = AdapterError;

            fn try_from(text: String) -> Result<Self, AdapterError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    )*};
}

text_traits!(MethodId, AppId);

/// The beginning of a stranger's text, safe to print: short, and without control characters.
pub(crate) fn excerpt(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_default)
        .collect();
    shown.truncate(SHOWN);
    if text.len() > shown.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn method_names_of_paykit_are_accepted_and_path_tricks_are_not() {
        for good in [
            "btc-lightning-bolt11",
            "x",
            "LnUrl-Pay",
            "method.v2",
            "my_method",
            &"a".repeat(64),
        ] {
            assert_eq!(MethodId::new(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(65);
        for bad in [
            "", ".", "..", "...", "a/b", "../x", "a b", "a\0b", "a%2f", "ä", "private", &long,
        ] {
            let error = MethodId::new(bad).unwrap_err();
            assert_eq!(error.code(), "method_malformed", "{bad:?}");
        }
    }

    #[test]
    fn only_three_lower_case_parts_follow_the_convention() {
        let usd = MethodId::new("usd-atomicity-ledger").unwrap();
        assert_eq!(usd.parts(), Some(("usd", "atomicity", "ledger")));
        for other in [
            "Btc-bitcoin-p2tr",
            "usdt-ethereum",
            "a-b-c-d",
            "a--c",
            "-a-b",
            "a-b-c_d",
            "a-b-",
        ] {
            assert_eq!(MethodId::new(other).unwrap().parts(), None, "{other}");
        }
    }

    #[test]
    fn app_names_are_lower_case_segments() {
        for good in ["bitkit", "paykit-server", "wallet-2"] {
            assert_eq!(AppId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "Bitkit", "a/b", "a_b", "a.b", &"a".repeat(65)] {
            assert_eq!(
                AppId::new(bad).unwrap_err().code(),
                "app_malformed",
                "{bad:?}"
            );
        }
    }

    #[test]
    fn an_excerpt_shows_no_control_characters_and_ends() {
        let shown = excerpt(&format!("\u{1b}[2J{}", "x".repeat(10_000)));
        assert!(!shown.contains('\u{1b}'));
        assert!(shown.chars().count() <= 81);
    }
}

//! Counters that order records: [`Seq`] within an epoch, [`Epoch`] of a book, [`IouNumber`] of a conditional IOU, [`Serial`] of
//! what a root signs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::amount::{MAX_MINOR, parse_decimal};
use crate::error::LedgerError;
use crate::time::MAX_JSON_INTEGER;

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident, $max:expr, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name(u64);

        impl $name {
            /// The largest value.
            pub const MAX: u64 = $max;
            /// The value before the first.
            pub const ZERO: Self = Self(0);

            /// Takes a number.
            ///
            /// # Errors
            /// [`LedgerError::OutOfRange`] above the largest value.
            pub fn new(n: u64) -> Result<Self, LedgerError> {
                if n <= Self::MAX { Ok(Self(n)) } else { Err(LedgerError::OutOfRange($what)) }
            }

            /// The number.
            #[must_use]
            pub fn get(self) -> u64 {
                self.0
            }

            /// The next one.
            ///
            /// # Errors
            /// [`LedgerError::OutOfRange`] after the largest value.
            pub fn next(self) -> Result<Self, LedgerError> {
                Self::new(self.0.saturating_add(1))
            }
        }

        impl TryFrom<u64> for $name {
            type Error = LedgerError;

            fn try_from(n: u64) -> Result<Self, LedgerError> {
                Self::new(n)
            }
        }

        impl From<$name> for u64 {
            fn from(n: $name) -> Self {
                n.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

counter! {
    /// The number of a state or a credit line within its epoch; the first is 1.
    Seq, MAX_JSON_INTEGER, "seq"
}

counter! {
    /// Which book key keeps the books: each hand-over, loss or restore begins a new epoch. Below 2^31.
    Epoch, (1 << 31) - 1, "epoch"
}

counter! {
    /// The order of what a root key signs for one purpose: delegations, profiles. Later wins.
    Serial, MAX_JSON_INTEGER, "serial"
}

impl Epoch {
    /// The number of the first conditional IOU of this epoch: epoch · 2^32, so that numbers of different epochs never meet.
    #[must_use]
    pub fn first_iou(self) -> IouNumber {
        IouNumber(self.0 << 32)
    }
}

/// The number of a conditional IOU, unique within a side of a channel; a decimal string in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IouNumber(u64);

impl IouNumber {
    /// Takes a number.
    ///
    /// # Errors
    /// [`LedgerError::OutOfRange`] above 2^63 − 1.
    pub fn new(n: u64) -> Result<Self, LedgerError> {
        if n <= MAX_MINOR {
            Ok(Self(n))
        } else {
            Err(LedgerError::OutOfRange("IOU number"))
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The one after it, or itself at the end of all numbers.
    #[must_use]
    pub fn following(self) -> Self {
        Self(self.0.saturating_add(1).min(MAX_MINOR))
    }
}

impl TryFrom<String> for IouNumber {
    type Error = LedgerError;

    fn try_from(text: String) -> Result<Self, LedgerError> {
        parse_decimal(&text, MAX_MINOR)
            .map_err(|_| LedgerError::OutOfRange("IOU number"))
            .map(Self)
    }
}

impl From<IouNumber> for String {
    fn from(n: IouNumber) -> Self {
        n.0.to_string()
    }
}

impl fmt::Debug for IouNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IouNumber({})", self.0)
    }
}

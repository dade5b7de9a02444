//! Why a payment did not get through, as its payer learns it.

use serde::{Deserialize, Serialize};

use crate::error::LedgerError;
use crate::key::UserKey;

/// Bytes of a failure before it is sealed.
pub(super) const PLAIN: usize = 216;

const VERSION: u8 = 1;
const EDGE_END: usize = 3 + 64;

/// Why a hop could not do what its layer says, and which edge to avoid. It names no balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// What went wrong.
    pub code: FailureCode,
    /// Who could not promise to whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<(UserKey, UserKey)>,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $n:literal, $text:literal;)*) => {
        /// What went wrong at a hop.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum FailureCode {
            $($(#[$doc])* $name),*
        }

        impl FailureCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            fn number(self) -> u8 {
                match self { $(Self::$name => $n),* }
            }

            fn from_number(n: u8) -> Option<Self> {
                match n { $($n => Some(Self::$name),)* _ => None }
            }

            /// The code for machines, in snake case.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

codes! {
    /// The edge can't carry the amount now.
    EdgeUnavailable = 1, "edge_unavailable";
    /// The fee of this hop is higher than what was left for it.
    FeeTooLow = 2, "fee_too_low";
    /// The amount is below what goes over this edge.
    AmountTooLow = 3, "amount_too_low";
    /// The neighbour before this hop has too much undecided here, or too many of its payments failed.
    TooMany = 4, "too_many";
    /// There is too little time left, or the deadline is too late for this edge.
    Deadline = 5, "deadline";
    /// A log of the terms is unknown, refused or not read so far.
    Logs = 6, "logs";
    /// The next hop is nobody whom this hop promises anything.
    UnknownNext = 7, "unknown_next";
    /// The edge has no free slot.
    Busy = 8, "busy";
    /// The payee does not want it.
    Declined = 9, "declined";
    /// The payee knows no such invoice, or it has expired or was paid.
    UnknownInvoice = 10, "unknown_invoice";
    /// The payee's invoice is about another amount or unit, or not all of it came in time.
    WrongAmount = 11, "wrong_amount";
    /// Something that may be over soon.
    Temporary = 12, "temporary";
    /// The hop after this one gave it up and said nothing that could be read.
    Silent = 13, "silent";
    /// It was not published in time.
    Expired = 14, "expired";
}

impl Failure {
    /// A failure of the hop itself.
    #[must_use]
    pub fn here(code: FailureCode) -> Self {
        Self { code, edge: None }
    }

    /// A failure of an edge.
    #[must_use]
    pub fn of_edge(code: FailureCode, from: UserKey, to: UserKey) -> Self {
        Self {
            code,
            edge: Some((from, to)),
        }
    }

    pub(super) fn encode(&self) -> [u8; PLAIN] {
        let mut bytes = [0; PLAIN];
        let edge = self.edge.iter().flat_map(|(from, to)| {
            let keys = from.as_bytes().iter().chain(to.as_bytes());
            keys.copied()
        });
        let head = [VERSION, self.code.number(), u8::from(self.edge.is_some())];
        for (slot, byte) in bytes.iter_mut().zip(head.into_iter().chain(edge)) {
            *slot = byte;
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, LedgerError> {
        let unknown = || LedgerError::LayersInvalid("they hold no failure that this version knows");
        let (head, rest) = bytes.split_at_checked(3).ok_or_else(unknown)?;
        let (keys, padding) = rest.split_at_checked(EDGE_END - 3).ok_or_else(unknown)?;
        let (keys, _) = keys.as_chunks::<32>();
        let &[VERSION, code, has_edge @ (0 | 1)] = head else {
            return Err(unknown());
        };
        let code = FailureCode::from_number(code).ok_or_else(unknown)?;
        let zeros = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        let edge = match keys {
            [from, to] if has_edge == 1 => {
                let key = |bytes: &[u8; 32]| UserKey::from_bytes(*bytes).map_err(|_| unknown());
                Some((key(from)?, key(to)?))
            }
            keys if keys.iter().all(|key| zeros(key)) => None,
            _ => return Err(unknown()),
        };
        if bytes.len() != PLAIN || !zeros(padding) {
            return Err(unknown());
        }
        Ok(Self { code, edge })
    }
}

//! What a payer who asked is shown: the last hop's promise to a payee who is away, and what it rests on.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::LedgerError;

/// Bytes of an answer before it is sealed: what the longest text of layers holds.
pub(super) const PLAIN: usize = 8408;

/// The most records in one answer.
pub const MAX_RECORDS: usize = 16;

const VERSION: u8 = 1;

/// Signed records in compact form: the promise to the payee, the payee's credit line, and what shows who may sign them.
///
/// Their three parts travel as bytes, which takes a quarter less room than their text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    records: Vec<String>,
}

impl Answer {
    /// Takes records in compact form.
    ///
    /// # Errors
    /// [`LedgerError::LayersInvalid`] without records, with more than 16, or with something that is none;
    /// [`LedgerError::TooLarge`] if they don't fit.
    pub fn new(records: Vec<String>) -> Result<Self, LedgerError> {
        let answer = Self { records };
        answer.encode()?;
        Ok(answer)
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> &[String] {
        &self.records
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, LedgerError> {
        let count = u8::try_from(self.records.len()).ok();
        let count = count.filter(|n| (1..=MAX_RECORDS).contains(&usize::from(*n)));
        let mut bytes = vec![VERSION, count.ok_or(malformed())?];
        for record in &self.records {
            let parts: Vec<&str> = record.split('.').collect();
            if parts.len() != 3 {
                return Err(malformed());
            }
            for part in parts {
                let part = URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed())?;
                let len = u16::try_from(part.len()).map_err(|_| too_large(part.len()))?;
                bytes.extend(len.to_be_bytes());
                bytes.extend(part);
            }
        }
        if bytes.len() > PLAIN {
            return Err(too_large(bytes.len()));
        }
        bytes.resize(PLAIN, 0);
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, LedgerError> {
        let (head, mut rest) = bytes.split_at_checked(2).ok_or(malformed())?;
        let &[VERSION, count] = head else {
            return Err(malformed());
        };
        if bytes.len() != PLAIN || !(1..=MAX_RECORDS).contains(&usize::from(count)) {
            return Err(malformed());
        }
        let mut records = Vec::new();
        for _ in 0..count {
            let mut parts = Vec::new();
            for _ in 0..3 {
                let (len, after) = rest.split_first_chunk::<2>().ok_or(malformed())?;
                let len = usize::from(u16::from_be_bytes(*len));
                let (part, after) = after.split_at_checked(len).ok_or(malformed())?;
                parts.push(URL_SAFE_NO_PAD.encode(part));
                rest = after;
            }
            records.push(parts.join("."));
        }
        if rest.iter().any(|byte| *byte != 0) {
            return Err(malformed());
        }
        Ok(Self { records })
    }
}

fn malformed() -> LedgerError {
    LedgerError::LayersInvalid("an answer holds 1 to 16 records in compact form")
}

fn too_large(bytes: usize) -> LedgerError {
    LedgerError::TooLarge {
        what: "answer to a payer",
        bytes,
        max: PLAIN,
    }
}

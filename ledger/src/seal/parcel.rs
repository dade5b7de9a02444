//! What an envelope hides: the sender and their records.

use serde::{Deserialize, Serialize};

use super::pad::{PARCEL_CLASSES, capacity};
use crate::error::LedgerError;
use crate::jws::{MAX_RECORD_BYTES, Version};
use crate::key::UserKey;

/// The most records in one parcel.
pub const MAX_PARCEL_RECORDS: usize = 32;

/// Records from one user to another, as compact JWS. Signatures are not checked here: whoever opens a parcel reads each record
/// with [`crate::AnyRecord::decode`], or as a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parcel {
    /// Version 1.
    pub v: Version,
    /// Who sends. Proven by the seal if the sender is a known peer; a mere claim if it is a stranger.
    pub from: UserKey,
    /// One to 32 records, in the order in which they should be applied.
    pub records: Vec<String>,
}

impl Parcel {
    /// A parcel of these records.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] or [`LedgerError::PayloadInvalid`] if there are none, too many or too large ones.
    pub fn new(from: UserKey, records: Vec<String>) -> Result<Self, LedgerError> {
        let parcel = Self {
            v: Version,
            from,
            records,
        };
        parcel.check()?;
        Ok(parcel)
    }

    /// Splits any number of records into parcels that fit, in order.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] if one record alone does not fit: such a record travels by channel file only.
    pub fn split(from: UserKey, records: Vec<String>) -> Result<Vec<Self>, LedgerError> {
        // Quotes and a comma for each record, beside what stands around the list.
        let room = capacity(PARCEL_CLASSES) - 128;
        let mut parcels = Vec::new();
        let (mut batch, mut bytes) = (Vec::new(), 0usize);
        for record in records {
            let size = record.len().saturating_add(3);
            if size > room {
                return Err(LedgerError::TooLarge {
                    what: "record in an envelope",
                    bytes: record.len(),
                    max: room - 3,
                });
            }
            if batch.len() == MAX_PARCEL_RECORDS || bytes + size > room {
                parcels.push(Self::new(from, std::mem::take(&mut batch))?);
                bytes = 0;
            }
            bytes += size;
            batch.push(record);
        }
        if !batch.is_empty() {
            parcels.push(Self::new(from, batch)?);
        }
        Ok(parcels)
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>, LedgerError> {
        self.check()?;
        serde_json::to_vec(self).map_err(|error| invalid(&error))
    }

    pub(super) fn from_json(json: &[u8]) -> Result<Self, LedgerError> {
        // A reader of structures would take a list of the values too.
        if !json.starts_with(b"{") {
            return Err(invalid(&"it must be an object"));
        }
        let parcel: Self = serde_json::from_slice(json).map_err(|error| invalid(&error))?;
        parcel.check()?;
        Ok(parcel)
    }

    fn check(&self) -> Result<(), LedgerError> {
        if self.records.is_empty() || self.records.len() > MAX_PARCEL_RECORDS {
            return Err(invalid(&"it must hold 1 to 32 records"));
        }
        match self
            .records
            .iter()
            .map(String::len)
            .find(|bytes| *bytes > MAX_RECORD_BYTES)
        {
            Some(bytes) => Err(LedgerError::RecordTooLarge { bytes }),
            None => Ok(()),
        }
    }
}

fn invalid(why: &impl std::fmt::Display) -> LedgerError {
    LedgerError::PayloadInvalid {
        typ: "parcel".to_owned(),
        detail: why.to_string(),
    }
}

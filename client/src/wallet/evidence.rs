//! Proof of a debt: everything that bears on one friend, in a file that anybody can check.

use atomicity_ledger::evidence::{self, Report};
use atomicity_ledger::{LedgerError, UserKey};

use super::{Wallet, now};
use crate::error::{ClientError, EvidenceFault};
use crate::store::{contacts, settings};

/// An evidence bundle.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Bundle {
    /// What the user calls the friend.
    pub friend: String,
    /// The friend's key.
    pub user: UserKey,
    /// The file's content.
    pub text: String,
    /// Records in it.
    pub records: usize,
}

impl Wallet {
    /// Writes down everything that proves what this user and a friend owe each other. Talks to nobody.
    ///
    /// # Errors
    /// [`ClientError::UnknownFriend`], or what the ledger says.
    pub async fn export_evidence(&self, user: &UserKey) -> Result<Bundle, ClientError> {
        let mut conn = self.store().read().await?;
        let contact = contacts::get(&mut conn, user)
            .await?
            .ok_or_else(|| ClientError::UnknownFriend(user.to_z32()))?;
        let pair = super::books::load(&mut conn, self.user(), *user).await?;
        let delegation = settings::need(&mut conn, settings::DELEGATION).await?;
        drop(conn);
        let mut records = pair.evidence_records();
        if !records.contains(&delegation) {
            // Whoever checks must see that the exporting key is this user's.
            records.insert(0, delegation);
        }
        let pen = self.keys().await?.pen;
        let text = evidence::export(self.user(), *user, &records, None, &pen, now())?;
        Ok(Bundle {
            friend: contact.name,
            user: *user,
            records: text.lines().count().saturating_sub(2),
            text,
        })
    }
}

/// Checks an evidence bundle. Needs no wallet and no network; judges at the time of its export.
///
/// # Errors
/// [`ClientError::EvidenceInvalid`], naming the record and its type.
pub fn verify_evidence(bytes: &[u8]) -> Result<Report, ClientError> {
    evidence::verify(bytes, None).map_err(|error| {
        let (record, typ) = match &error {
            LedgerError::EvidenceInvalid { index, typ, .. } => (Some(*index), Some(typ.clone())),
            _ => (None, None),
        };
        ClientError::EvidenceInvalid(Box::new(EvidenceFault {
            message: error.to_string(),
            record,
            typ,
            code: error.code(),
        }))
    })
}

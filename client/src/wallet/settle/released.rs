//! Direct releases that are out.

use atomicity_ledger::{LedgerError, PaymentHash};

use super::super::books::{self, Change};
use crate::error::ClientError;
use crate::store::pairs;

/// At most one unreleased direct release on a hash, over all friends: whoever learns the secret could call for each of them.
pub(in super::super) async fn only_direct_release(
    change: &mut Change,
    hash: &PaymentHash,
) -> Result<(), ClientError> {
    if is_directly_released(change, hash).await? {
        return Err(LedgerError::TermsRefused {
            why: "a direct release on the same hash was given already",
        }
        .into());
    }
    Ok(())
}

/// Whether a direct release on the hash was given to anybody and has not come back.
pub(super) async fn is_directly_released(
    change: &mut Change,
    hash: &PaymentHash,
) -> Result<bool, ClientError> {
    for row in pairs::with_promises(change.conn()).await? {
        let pair = books::parse(&row.body)?;
        for unit in pair.units() {
            let side = pair.own().unit(&unit);
            let given = side.is_some_and(|side| {
                side.promises().iter().any(|promise| {
                    let terms = &promise.iou().record().terms;
                    terms.is_direct() && terms.hash == *hash && promise.release().is_none()
                })
            });
            if given {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

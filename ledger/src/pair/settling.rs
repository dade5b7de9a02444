//! The peer's word on debts that are paid off outside: it has no place in the books, and those who keep them judge it all the same.

use super::Pair;
use super::event::PendingReason;
use super::receive::Standing;
use crate::error::LedgerError;
use crate::record::AnyRecord;
use crate::time::Timestamp;

impl Pair {
    /// Whether a record about a settlement is the peer's word to the owner: signed by the key that keeps the peer's books now. Answers,
    /// withdrawals, and requests that have expired also count if an earlier keeper signed them whose authority still stands: nothing is
    /// paid on such a word, and books may have changed hands while it was under way. Nothing if it counts; else what it waits for.
    ///
    /// # Errors
    /// [`LedgerError::ForeignChannel`] if it is of or for somebody else, or about something else; what speaks against its key.
    pub fn judge_settling(
        &self,
        record: &AnyRecord,
        now: Timestamp,
    ) -> Result<Option<PendingReason>, LedgerError> {
        let (to, late) = match record {
            AnyRecord::Settlement(r) => (r.record().issuer, r.record().has_expired(now)),
            AnyRecord::SettlementAnswer(r) => (r.record().to, true),
            AnyRecord::SettlementWithdrawal(r) => (r.record().to, true),
            _ => return Err(LedgerError::ForeignChannel),
        };
        if record.author() != self.peer || to != self.me {
            return Err(LedgerError::ForeignChannel);
        }
        let kid = record.kid();
        let standing = if late {
            self.standing_of_any_keeper(kid, now)?
        } else {
            self.standing_now(kid, now)?
        };
        Ok(match standing {
            Standing::Good => None,
            Standing::Pending(reason) => Some(reason),
        })
    }
}

//! What is stored of agents.

mod accounts;
mod adverts;
mod agents;
mod approvals;
mod invoices;
mod pairs;
mod records;
mod rules;
mod shown;
mod spends;
mod turns;
mod waiting;

use atomicity_ledger::pair::Pair;
use atomicity_ledger::{RecordHash, UserKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;

pub use self::accounts::{
    AccountRow, account, account_checked, active_accounts, count_spent, give_back, list_accounts,
    lock_account, put_account, revoke_account,
};
pub use self::adverts::{AdvertRow, advert, advert_shown, adverts_due, look_at_advert, put_advert};
pub use self::agents::{
    AgentRow, all, count, find, is_restored, lock, mark, put, raise_mark, set_restored, set_status,
    wipe, wipe_idle,
};
pub use self::approvals::{
    ApprovalRow, approval, count_approvals, due_approvals, end_approvals_of, end_open_turn,
    forget_approvals, list_approvals, lock_approval, put_approval,
};
pub use self::invoices::{
    InvoiceRow, add_invoice, invoice, invoice_of, is_collecting, late_invoices, list_invoices,
    lock_invoice, put_invoice, unpublished, withdraw,
};
pub use self::pairs::{
    LockedPair, PairRow, PairSummary, SavedPair, bodies_of_pairs, hand_over, list_pairs,
    lock_pairs, pair, profile, put_profile, save_pairs, save_tallies, set_returned, set_settings,
    tags_of, unwritten, written,
};
pub use self::records::{
    EventRow, EventView, JournalRow, JournalView, add_events, add_journal, add_outbox, answer_of,
    events, forget_old, journal, keep_answer, last_number, outbox, pairs_to_deliver, remove_sent,
    spend, spent,
};
pub use self::rules::lines_by_rule;
pub use self::shown::{KeptPair, events_before, journal_before, kept_pairs};
pub use self::spends::{
    SpendRow, Wanted, add_spend, expire_spends, forget_spends, list_spends, locked_spend,
    open_spends, put_spend, spend_of,
};
pub use self::turns::{
    TurnRow, answer_turn, last_attempt, list_turns, next_turn, open_turn, put_turn,
};
pub use self::waiting::{
    Held, PromiseRow, bodies, change_promises, due, envelopes_waiting, held, hold, mark_seen,
    open_on, published, put_relays, relays_about, release_held, seen_done, set_held, tags_in_use,
    unread_logs,
};

use crate::error::PluginError;

/// Reads a key column. The schema allows 32 bytes only, and only checked keys are written.
fn key(bytes: &[u8]) -> Result<UserKey, PluginError> {
    <[u8; 32]>::try_from(bytes)
        .ok()
        .and_then(|bytes| UserKey::from_bytes(bytes).ok())
        .ok_or_else(|| PluginError::Internal("the database holds a key that is none".to_owned()))
}

/// Reads the hash of a record.
fn hash(bytes: &[u8]) -> Result<RecordHash, PluginError> {
    let text = URL_SAFE_NO_PAD.encode(bytes);
    text.parse()
        .map_err(|_| PluginError::Internal("the database holds a hash that is none".to_owned()))
}

/// Reads 32 bytes.
fn bytes32(bytes: &[u8]) -> Result<[u8; 32], PluginError> {
    bytes
        .try_into()
        .map_err(|_| PluginError::Internal("the database holds a hash that is none".to_owned()))
}

/// Reads something that was stored as JSON.
///
/// # Errors
/// [`PluginError::Internal`].
pub fn parse<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, PluginError> {
    serde_json::from_str(text)
        .map_err(|error| PluginError::Internal(format!("stored {what} can't be read: {error}")))
}

/// Reads stored books.
///
/// # Errors
/// [`PluginError::Internal`].
pub fn parse_pair(body: &str) -> Result<Pair, PluginError> {
    parse("books", body)
}

/// Writes something as JSON.
///
/// # Errors
/// [`PluginError::Internal`].
pub fn text<T: serde::Serialize>(value: &T) -> Result<String, PluginError> {
    serde_json::to_string(value).map_err(|error| PluginError::Internal(error.to_string()))
}

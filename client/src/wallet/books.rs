//! Changing the books: one transaction that holds a pair, what must be sent, and the history.

use std::panic::Location;

use atomicity_ledger::pair::Pair;
use atomicity_ledger::{Timestamp, UserKey};
use sqlx::SqliteConnection;

use super::access::Keys;
use super::{Wallet, generation, now, requests};
use crate::error::ClientError;
use crate::store::history::{self, HistoryItem};
use crate::store::{WriteTx, outbox, pairs, settings};

/// A transaction on the books.
pub(crate) struct Change {
    tx: WriteTx,
    pub(crate) keys: Keys,
    pub(crate) now: Timestamp,
    signed: bool,
}

impl Wallet {
    /// Begins a change of the books. Nothing that was read before is trusted: another process may have written since.
    pub(crate) async fn change(&self) -> Result<Change, ClientError> {
        let mut tx = self.store().write().await?;
        let keys = Keys::load(tx.conn(), self.user()).await?;
        Ok(Change {
            tx,
            keys,
            now: now(),
            signed: false,
        })
    }
}

/// Reads the books with `peer`; empty books if there are none.
pub(crate) async fn load(
    conn: &mut SqliteConnection,
    me: UserKey,
    peer: UserKey,
) -> Result<Pair, ClientError> {
    match pairs::get(conn, &peer).await? {
        Some(row) => parse(&row.body),
        None => Ok(Pair::new(me, peer)?),
    }
}

/// Reads stored books.
pub(crate) fn parse(body: &str) -> Result<Pair, ClientError> {
    serde_json::from_str(body).map_err(|e| ClientError::StoreCorrupt {
        what: "the books",
        why: e.to_string(),
    })
}

impl Change {
    /// The connection of the transaction.
    pub(crate) fn conn(&mut self) -> &mut SqliteConnection {
        self.tx.conn()
    }

    /// Reads the books with `peer`.
    pub(crate) async fn load(&mut self, me: UserKey, peer: UserKey) -> Result<Pair, ClientError> {
        load(self.tx.conn(), me, peer).await
    }

    /// Stores changed books; the channel file will follow.
    pub(crate) async fn save(&mut self, pair: &Pair) -> Result<(), ClientError> {
        let body = serde_json::to_string(pair).map_err(|e| ClientError::Internal(e.to_string()))?;
        settings::set(self.tx.conn(), settings::SNAPSHOT_STALE, "1").await?;
        requests::note_debts(self, pair).await?;
        pairs::save(self.tx.conn(), &pair.peer(), &body).await
    }

    /// Stores books in which only what this store noted for itself has changed.
    pub(crate) async fn save_quietly(&mut self, pair: &Pair) -> Result<(), ClientError> {
        let body = serde_json::to_string(pair).map_err(|e| ClientError::Internal(e.to_string()))?;
        pairs::save_quietly(self.tx.conn(), &pair.peer(), &body).await
    }

    /// Puts records into the outbox for `peer`.
    pub(crate) async fn send(
        &mut self,
        peer: &UserKey,
        records: &[String],
    ) -> Result<(), ClientError> {
        if records.is_empty() {
            return Ok(());
        }
        let now = self.now.millis();
        outbox::push(self.tx.conn(), peer, records, now).await?;
        Ok(())
    }

    /// Adds a line to the history.
    pub(crate) async fn note(&mut self, item: HistoryItem) -> Result<(), ClientError> {
        let item = HistoryItem {
            at: self.now.millis(),
            ..item
        };
        history::add(self.tx.conn(), &item).await
    }

    /// Says that something was signed in this transaction: the mark on the homeserver must follow before it is sent.
    pub(crate) fn signed(&mut self) {
        self.signed = true;
    }

    /// Makes everything durable at once.
    #[track_caller]
    pub(crate) fn commit(mut self) -> impl Future<Output = Result<(), ClientError>> + Send {
        let at = Location::caller();
        async move {
            if self.signed {
                generation::count_signature(self.tx.conn()).await?;
            }
            self.tx.commit_for(at).await
        }
    }
}

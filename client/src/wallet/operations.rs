//! Doing something once, however often it is asked for: operations under a key that the asking program chose.
//!
//! A program that lost an answer can't know whether it was paid. It asks again with the same key: the transaction that signs also
//! notes what it made under that key, so that the second time this is found, gone on with and told, whatever died in between.

use std::sync::Arc;
use std::time::Duration;

use atomicity_ledger::RecordId;
use sqlx::SqliteConnection;

use super::{PaymentFault, Wallet, now};
use crate::error::ClientError;
use crate::store::operations::{self, OperationRow};
use crate::store::parse_own;

pub use crate::store::operations::MadeKind;

/// How long what was asked for under a key is remembered.
pub const OPERATIONS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// An operation, as it is shown.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OperationView {
    /// What came of it, and its name; `None` as long as nothing was signed.
    pub made: Option<(MadeKind, RecordId)>,
    /// The last answer: JSON, as whoever ended it wrote it.
    pub answer: Option<String>,
    /// Whether that answer was an error. It is no last word: asked again, the operation goes on.
    pub failed: bool,
    /// When it was first asked for, Unix milliseconds.
    pub created_at: u64,
    /// When it was answered last.
    pub ended_at: Option<u64>,
}

impl OperationView {
    fn new(row: OperationRow) -> Result<Self, ClientError> {
        let made = match row.made {
            Some((kind, id)) => Some((kind, parse_own(&id, "an operation")?)),
            None => None,
        };
        Ok(Self {
            made,
            answer: row.answer,
            failed: row.failed,
            created_at: row.created_at,
            ended_at: row.ended_at,
        })
    }
}

impl Wallet {
    /// Begins an operation, or finds the one of this key. `asked` is a hash of everything that was asked for.
    ///
    /// # Errors
    /// [`ClientError::KeyReused`] if the key stands for something else; what the store says.
    pub async fn begin_operation(
        &self,
        key: &str,
        asked: &[u8; 32],
    ) -> Result<OperationView, ClientError> {
        let mut tx = self.store().write().await?;
        operations::begin(tx.conn(), key, asked, now().millis()).await?;
        let row = operations::get(tx.conn(), key).await?;
        let row = row.ok_or_else(|| ClientError::Internal("an operation vanished".to_owned()))?;
        if row.asked != asked {
            return Err(ClientError::KeyReused(key.to_owned()));
        }
        tx.commit().await?;
        OperationView::new(row)
    }

    /// The operation of this key, if there is one.
    ///
    /// # Errors
    /// What the store says.
    pub async fn operation(&self, key: &str) -> Result<Option<OperationView>, ClientError> {
        let row = operations::get(&mut *self.store().read().await?, key).await?;
        row.map(OperationView::new).transpose()
    }

    /// Keeps the answer to an operation: the last word, or an error, after which it may be asked for again.
    ///
    /// # Errors
    /// What the store says.
    pub async fn answer_operation(
        &self,
        key: &str,
        answer: &str,
        failed: bool,
    ) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        operations::answered(tx.conn(), key, (answer, failed), now().millis()).await?;
        tx.commit().await
    }

    /// Forgets operations that began longer than [`OPERATIONS_KEPT`] ago.
    ///
    /// # Errors
    /// What the store says.
    pub async fn forget_operations(&self) -> Result<(), ClientError> {
        let kept = u64::try_from(OPERATIONS_KEPT.as_millis()).unwrap_or(u64::MAX);
        let before = now().millis().saturating_sub(kept);
        let mut tx = self.store().write().await?;
        operations::forget(tx.conn(), before).await?;
        tx.commit().await
    }

    /// This wallet for somebody who closes what they were given: closing it leaves the store open.
    #[must_use]
    pub fn lent(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            lent: true,
            operation: None,
        }
    }

    /// This wallet, lent for one operation that was begun: the first thing that it is asked to make is made once. Asked again, however
    /// much later, it finds what was made before.
    #[must_use]
    pub fn lent_for(&self, key: &str) -> Self {
        Self {
            operation: Some(Arc::from(key)),
            ..self.lent()
        }
    }

    /// This wallet without its operation: for what is done on the way.
    pub(super) fn plain(&self) -> Self {
        Self {
            operation: None,
            ..self.clone()
        }
    }

    /// What the operation for which this wallet was lent has made.
    ///
    /// # Errors
    /// What the store says.
    pub async fn made(&self) -> Result<Option<(MadeKind, RecordId)>, ClientError> {
        let Some(key) = &self.operation else {
            return Ok(None);
        };
        Ok(self.operation(key).await?.and_then(|view| view.made))
    }

    /// The same, if it is of this kind.
    ///
    /// # Errors
    /// What the store says.
    pub async fn made_before(&self, kind: MadeKind) -> Result<Option<RecordId>, ClientError> {
        let made = self.made().await?;
        Ok(made.filter(|(found, _)| *found == kind).map(|(_, id)| id))
    }

    /// Notes what is made for the operation, in the transaction that makes it.
    pub(super) async fn note_made(
        &self,
        conn: &mut SqliteConnection,
        kind: MadeKind,
        id: &RecordId,
    ) -> Result<(), ClientError> {
        self.note(conn, kind, id, false).await
    }

    /// The same, where one takes the place of the one before, of which nothing came.
    pub(super) async fn note_made_instead(
        &self,
        conn: &mut SqliteConnection,
        kind: MadeKind,
        id: &RecordId,
    ) -> Result<(), ClientError> {
        self.note(conn, kind, id, true).await
    }

    async fn note(
        &self,
        conn: &mut SqliteConnection,
        kind: MadeKind,
        id: &RecordId,
        again: bool,
    ) -> Result<(), ClientError> {
        let Some(key) = &self.operation else {
            return Ok(());
        };
        let name = id.to_string();
        match operations::made(conn, key, (kind, &name), again).await? {
            true => Ok(()),
            // Somebody else did it meanwhile: nothing of this is kept.
            false => Err(PaymentFault::BeingPaid(key.to_string()).into()),
        }
    }

    /// Notes that what was made before, by whomever, is what the operation goes on with.
    pub(super) async fn goes_on_with(
        &self,
        kind: MadeKind,
        id: &RecordId,
    ) -> Result<(), ClientError> {
        if self.operation.is_none() || self.made().await? == Some((kind, *id)) {
            return Ok(());
        }
        let mut tx = self.store().write().await?;
        self.note_made_instead(tx.conn(), kind, id).await?;
        tx.commit().await
    }

    /// The name of what an operation has somebody else sign: kept before they are asked, so that they are asked for the same again.
    pub(super) async fn name_of_order(&self, drawn: RecordId) -> Result<RecordId, ClientError> {
        if self.operation.is_none() {
            return Ok(drawn);
        }
        if let Some(known) = self.made_before(MadeKind::Ordered).await? {
            return Ok(known);
        }
        let mut change = self.change().await?;
        self.note_made(change.conn(), MadeKind::Ordered, &drawn)
            .await?;
        change.commit().await?;
        Ok(drawn)
    }
}

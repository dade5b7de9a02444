//! One book, one place: the homeserver keeps a mark that changes whenever this wallet has signed something.
//!
//! The mark is a number and sixteen random bytes. A store remembers the mark that it wrote last, and the one that it is about to
//! write; any other mark means that another copy of the wallet has signed since, or that this one is an old backup: it refuses.
//! The mark is raised under a lock of the homeserver, and nothing leaves the wallet before it stands there, so that two copies
//! never tell a peer different things under one number. Whichever copy acts first goes on; the others refuse.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::Wallet;
use super::paths;
use crate::error::ClientError;
use crate::net::NetError;
use crate::net::session::{HomeSession, StorageLock};
use crate::store::{lock, settings};

/// The file has at most so many bytes.
const MAX_BYTES: usize = 1024;
/// How long the homeserver keeps the path locked for us.
const LOCK_TTL: Duration = Duration::from_secs(15);
/// How often a lock that somebody else holds is tried again: for 18 s in all, so that one which a process left behind that died has ended.
const LOCK_TRIES: u32 = 13;
/// How long to wait for another process on the same wallet.
const PATIENCE: Duration = Duration::from_secs(20);

/// The mark, as it stands in the file and in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mark {
    v: u8,
    /// Raised by one each time.
    pub(crate) generation: u64,
    /// Random, so that two copies that raise the same number still differ.
    token: String,
}

impl Mark {
    fn after(generation: u64) -> Self {
        Self {
            v: 1,
            generation: generation.saturating_add(1),
            token: URL_SAFE_NO_PAD.encode(rand::rng().random::<[u8; 16]>()),
        }
    }
}

/// What this store remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    /// The mark that it wrote last.
    confirmed: Option<Mark>,
    /// The mark that it was about to write.
    intent: Option<Mark>,
    /// Whether it has signed since.
    signed: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The file shows this store's mark.
    Ours,
    /// There is no mark yet, and this store never wrote one.
    Fresh,
    /// The mark is gone.
    Gone,
    /// The mark is somebody else's.
    Foreign,
}

fn judge(known: &Known, shown: Option<&Mark>) -> Verdict {
    match shown {
        Some(mark) if known.confirmed.as_ref() == Some(mark) => Verdict::Ours,
        Some(mark) if known.intent.as_ref() == Some(mark) => Verdict::Ours,
        Some(_) => Verdict::Foreign,
        None if known.confirmed.is_none() => Verdict::Fresh,
        None => Verdict::Gone,
    }
}

fn verdict_error(verdict: &Verdict, shown: Option<&Mark>) -> Result<(), ClientError> {
    match verdict {
        Verdict::Ours | Verdict::Fresh => Ok(()),
        Verdict::Gone => Err(ClientError::GenerationUnknown(
            "its mark is gone".to_owned(),
        )),
        Verdict::Foreign => Err(ClientError::BookKeyInUse(format!(
            "generation {} is not of this store",
            shown.map_or(0, |mark| mark.generation)
        ))),
    }
}

/// Counts a transaction in which this store signed something.
pub(crate) async fn count_signature(conn: &mut SqliteConnection) -> Result<(), ClientError> {
    let signed = settings::number(conn, settings::SIGNED, 0).await?;
    settings::set(
        conn,
        settings::SIGNED,
        &signed.saturating_add(1).to_string(),
    )
    .await
}

/// The number of the mark that this store wrote last.
pub(crate) async fn current(conn: &mut SqliteConnection) -> Result<u64, ClientError> {
    let known = known(conn).await?;
    Ok(known.confirmed.map_or(0, |mark| mark.generation))
}

async fn known(conn: &mut SqliteConnection) -> Result<Known, ClientError> {
    let signed = settings::number(conn, settings::SIGNED, 0).await?;
    let shown = settings::number(conn, settings::SIGNED_SHOWN, 0).await?;
    Ok(Known {
        confirmed: stored_mark(conn, settings::GENERATION).await?,
        intent: stored_mark(conn, settings::GENERATION_INTENT).await?,
        signed: signed != shown,
    })
}

async fn stored_mark(
    conn: &mut SqliteConnection,
    name: &'static str,
) -> Result<Option<Mark>, ClientError> {
    let Some(text) = settings::get(conn, name).await? else {
        return Ok(None);
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|e| ClientError::StoreCorrupt {
            what: name,
            why: e.to_string(),
        })
}

impl Wallet {
    /// Makes sure that this store may sign.
    ///
    /// # Errors
    /// [`ClientError::BookKeyInUse`] if another store keeps the books or this one is an old backup,
    /// [`ClientError::GenerationUnknown`] if the homeserver does not say.
    pub(crate) async fn ensure_may_sign(&self) -> Result<(), ClientError> {
        if self.checked_lately() {
            return Ok(());
        }
        let session = self.session().await?;
        let _lock = self.process_lock(PATIENCE).await?;
        let shown = read(&session).await?;
        let known = self.known_marks().await?;
        verdict_error(&judge(&known, shown.as_ref()), shown.as_ref())?;
        self.note_checked();
        Ok(())
    }

    /// Raises the mark if this store has signed since it was raised last. Nothing may be sent before.
    ///
    /// # Errors
    /// As [`Wallet::ensure_may_sign`].
    pub(crate) async fn show_generation(&self) -> Result<(), ClientError> {
        if !self.known_marks().await?.signed {
            return Ok(());
        }
        let session = self.session().await?;
        let _lock = self.process_lock(PATIENCE).await?;
        self.raise(&session, false).await
    }

    /// Takes the books by the root's decision: whatever mark stands there is replaced.
    ///
    /// # Errors
    /// [`ClientError::GenerationUnknown`] if the mark can't be written.
    pub(crate) async fn seize_generation(&self) -> Result<(), ClientError> {
        let session = self.session().await?;
        let _lock = self.process_lock(PATIENCE).await?;
        self.raise(&session, true).await
    }

    async fn raise(&self, session: &HomeSession, by_root: bool) -> Result<(), ClientError> {
        let lock = lock_file(session).await?;
        let raised = self.raise_locked(session, &lock, by_root).await;
        // A lock that can't be given back runs out by itself.
        session.unlock(lock).await.ok();
        raised
    }

    async fn raise_locked(
        &self,
        session: &HomeSession,
        lock: &StorageLock,
        by_root: bool,
    ) -> Result<(), ClientError> {
        let shown = read(session).await?;
        let mut tx = self.store().write().await?;
        let known = known(tx.conn()).await?;
        let verdict = judge(&known, shown.as_ref());
        if !by_root {
            verdict_error(&verdict, shown.as_ref())?;
        }
        let newest = [&known.confirmed, &known.intent, &shown]
            .into_iter()
            .flatten()
            .map(|mark| mark.generation)
            .max();
        let signed = settings::number(tx.conn(), settings::SIGNED, 0).await?;
        let next = Mark::after(newest.unwrap_or(0));
        let text = encode(&next)?;
        // Durable here first: after a crash the store knows both marks that may stand there.
        if let (Verdict::Ours, Some(mark)) = (&verdict, &shown) {
            settings::set(tx.conn(), settings::GENERATION, &encode(mark)?).await?;
        }
        settings::set(tx.conn(), settings::GENERATION_INTENT, &text).await?;
        tx.commit().await?;
        session
            .put_locked(lock, text.clone().into_bytes())
            .await
            .map_err(|e| ClientError::GenerationUnknown(e.to_string()))?;
        let mut tx = self.store().write().await?;
        settings::set(tx.conn(), settings::GENERATION, &text).await?;
        settings::set(tx.conn(), settings::SIGNED_SHOWN, &signed.to_string()).await?;
        tx.commit().await
    }

    async fn known_marks(&self) -> Result<Known, ClientError> {
        known(&mut *self.store().read().await?).await
    }

    /// Takes the lock between processes on this wallet.
    ///
    /// # Errors
    /// [`ClientError::GenerationUnknown`] if another process keeps it for longer: only for now.
    pub(crate) async fn process_lock(
        &self,
        patience: Duration,
    ) -> Result<lock::WalletLock, ClientError> {
        lock::take(self.home(), patience).await?.ok_or_else(|| {
            ClientError::GenerationUnknown(
                "another process on this wallet is busy asking it".to_owned(),
            )
        })
    }
}

fn encode(mark: &Mark) -> Result<String, ClientError> {
    serde_json::to_string(mark).map_err(|e| ClientError::Internal(e.to_string()))
}

async fn read(session: &HomeSession) -> Result<Option<Mark>, ClientError> {
    let unknown = ClientError::GenerationUnknown;
    match session.get(paths::GENERATION, MAX_BYTES).await {
        Ok(bytes) => {
            let mark: Mark = serde_json::from_slice(&bytes).map_err(|e| unknown(e.to_string()))?;
            if mark.v == 1 {
                Ok(Some(mark))
            } else {
                Err(unknown(format!("version {} is unknown", mark.v)))
            }
        }
        Err(NetError::NotFound(_)) => Ok(None),
        Err(error) => Err(unknown(error.to_string())),
    }
}

async fn lock_file(session: &HomeSession) -> Result<StorageLock, ClientError> {
    let mut tries = 0;
    loop {
        match session.lock(paths::GENERATION, LOCK_TTL).await {
            Ok(lock) => return Ok(lock),
            Err(NetError::Locked(_)) if tries < LOCK_TRIES => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(200 * u64::from(tries))).await;
            }
            Err(error) => return Err(ClientError::GenerationUnknown(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            confirmed: Some(Mark::after(3)),
            ..Known::default()
        }
    }

    #[test]
    fn the_store_whose_mark_stands_there_goes_on() {
        let known = known();
        assert_eq!(judge(&known, known.confirmed.as_ref()), Verdict::Ours);
    }

    #[test]
    fn a_write_that_was_cut_short_is_recognized_either_way() {
        let known = Known {
            intent: Some(Mark::after(4)),
            ..known()
        };
        assert_eq!(judge(&known, known.intent.as_ref()), Verdict::Ours);
        assert_eq!(judge(&known, known.confirmed.as_ref()), Verdict::Ours);
    }

    #[test]
    fn another_copy_is_noticed_even_under_the_same_number() {
        let (known, other) = (known(), Mark::after(3));
        assert_eq!(
            known.confirmed.as_ref().map(|m| m.generation),
            Some(other.generation)
        );
        assert_eq!(judge(&known, Some(&other)), Verdict::Foreign);
    }

    #[test]
    fn an_old_backup_refuses() {
        let (backup, later) = (known(), Mark::after(9));
        assert_eq!(judge(&backup, Some(&later)), Verdict::Foreign);
        assert!(verdict_error(&Verdict::Foreign, Some(&later)).is_err());
    }

    #[test]
    fn a_mark_that_vanished_is_no_licence_to_sign() {
        assert_eq!(judge(&known(), None), Verdict::Gone);
        assert!(verdict_error(&Verdict::Gone, None).is_err());
        assert_eq!(judge(&Known::default(), None), Verdict::Fresh);
    }

    #[test]
    fn a_new_wallet_does_not_take_over_silently() {
        assert_eq!(
            judge(&Known::default(), Some(&Mark::after(0))),
            Verdict::Foreign
        );
    }
}

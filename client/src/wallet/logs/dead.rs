//! Logs that died: tombstones of their cosigners end the window, wherever they are found.

use atomicity_witness_log::{
    Checkpoint, ExpiryProof, ForkProof, LogError, LogTerms, SignedCheckpoint, SignedNote,
    Tombstone, Tombstones, Verdict, judge,
};

use super::{Log, Window};
use crate::error::ClientError;
use crate::net::log::LogSite;
use crate::wallet::Wallet;

/// How a dead log ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    notes: Vec<SignedNote>,
    size: u64,
    /// Everything from the oldest open promise on, and the log's own last checkpoint.
    window: Option<(Window, SignedNote)>,
}

impl End {
    /// That these terms had expired when the log ended; `None` if they had not.
    pub(crate) fn expiry(&self, terms: &LogTerms<'_>) -> Result<Option<ExpiryProof>, LogError> {
        if terms.from_size >= self.size {
            let range = atomicity_witness_log::CompactRange::new();
            let proof = ExpiryProof::build_tombstoned(range, Vec::new(), None, self.notes.clone())?;
            return Ok(Some(proof));
        }
        let Some((window, last)) = &self.window else {
            return Ok(None);
        };
        let leaves = window.from(terms.from_size);
        let said = judge(terms.from_size, terms.deadline_ms, terms.hash, leaves);
        if matches!(said, Verdict::Published { .. }) {
            return Ok(None);
        }
        ExpiryProof::build_tombstoned(
            window.range_at(terms.from_size)?,
            leaves.to_vec(),
            Some(last.clone()),
            self.notes.clone(),
        )
        .map(Some)
    }
}

impl Wallet {
    /// Asks the cosigners of a log whether it is dead. `from` is where the oldest open promise begins.
    ///
    /// # Errors
    /// What the network and the store say. A log that is not dead is no error.
    pub(crate) async fn read_end(&self, log: &Log, from: u64) -> Result<Option<End>, ClientError> {
        let notes = self.tombstones_of(log).await?;
        self.broken_tombstones(log, &notes).await?;
        let Some(end) = Tombstones::end(&log.policy, &log.row.origin, &notes)? else {
            return Ok(None);
        };
        let window = if from < end.size {
            let last = self.last_checkpoint(log, end.size).await?;
            let tree = Checkpoint::new(&log.row.origin, end.size, end.root);
            let read = self.read_to_end(log, from, &tree, last.clone()).await?;
            Some((read, last))
        } else {
            None
        };
        Ok(Some(End {
            notes,
            size: end.size,
            window,
        }))
    }

    /// One valid tombstone of each cosigner, at most.
    async fn tombstones_of(&self, log: &Log) -> Result<Vec<SignedNote>, ClientError> {
        let mut found: Vec<SignedNote> = Vec::new();
        for cosigner in log.policy.cosigners() {
            let Some(url) = &cosigner.url else { continue };
            let Ok(shown) = self.ask_tombstones(url).await else {
                continue;
            };
            let notes = shown
                .iter()
                .filter_map(|text| SignedNote::parse(text.as_bytes()).ok());
            let theirs = notes.into_iter().find(|note| {
                Tombstone::verify(note, &cosigner.key)
                    .is_ok_and(|tombstone| tombstone.origin == log.row.origin)
            });
            found.extend(theirs);
        }
        Ok(found)
    }

    async fn ask_tombstones(&self, url: &str) -> Result<Vec<String>, ClientError> {
        let site = LogSite::new(self.net(), url)?;
        let site = site.without("/cosigner")?.below("/cosigner")?;
        Ok(site.tombstones().await?)
    }

    /// A cosigner that cosigned the pinned tree after it had promised not to.
    async fn broken_tombstones(&self, log: &Log, notes: &[SignedNote]) -> Result<(), ClientError> {
        let Some(pin) = log.pin()? else { return Ok(()) };
        for note in notes {
            for cosigner in log.policy.cosigners() {
                let proof = ForkProof::BrokenTombstone {
                    key: cosigner.key.clone(),
                    tombstone: note.clone(),
                    cosigned: pin.clone(),
                };
                if let Ok(proof) = proof.confirm() {
                    self.caught(proof).await?;
                }
            }
        }
        Ok(())
    }

    /// The log's own checkpoint of the size at which it ended.
    async fn last_checkpoint(&self, log: &Log, size: u64) -> Result<SignedNote, ClientError> {
        let fits = |note: &SignedNote| {
            SignedCheckpoint::new(note.clone()).is_ok_and(|signed| {
                signed.verify_log(&log.key).is_ok() && signed.checkpoint().size == size
            })
        };
        if let Some(pin) = log.pin()?.filter(|note| fits(note)) {
            return Ok(pin);
        }
        let mut sites = self.mirrors(log).await?;
        sites.push(log.site.clone());
        for site in sites {
            for text in [site.head().await, site.checkpoint().await]
                .into_iter()
                .flatten()
            {
                if let Ok(note) = SignedNote::parse(text.as_bytes())
                    && fits(&note)
                {
                    return Ok(note);
                }
            }
        }
        Err(ClientError::LogUnreadable {
            origin: log.row.origin.clone(),
            why: "it died, and nobody shows its last checkpoint".to_owned(),
        })
    }
}

//! Logs that died: tombstones of their cosigners end the window, wherever they are found.

use atomicity_witness_log::{
    Checkpoint, End, ForkProof, SignedCheckpoint, SignedNote, Tombstone, Tombstones,
};

use super::Log;
use crate::error::ClientError;
use crate::net::log::LogSite;
use crate::wallet::Wallet;

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
            Some(self.read_to_end(log, from, &tree, last).await?)
        } else {
            None
        };
        Ok(Some(End::new(notes, end.size, window)))
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

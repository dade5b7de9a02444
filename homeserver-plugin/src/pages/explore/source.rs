//! A log as the explorer reads it: the own one, or the mirror of another.

use std::sync::Arc;

use atomicity_witness_log::tile::{TileKind, TilePlan, decode_bundle};
use atomicity_witness_log::tree::prove_inclusion;
use atomicity_witness_log::{
    Leaf, LogError, SignedCheckpoint, SignedNote, TilePath, TileSet, TlogProof, VerifierKey,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::error::PluginError;
use crate::mirror::index::{self, Found};
use crate::mirror::{Followed, LogId, store};
use crate::state::AppState;
use crate::witness_log::WitnessLog;

/// How the own log is called in addresses.
pub const OWN: &str = "own";
/// Entries of a bundle.
pub const BUNDLE: u64 = 256;

/// Where bytes come from.
enum Place {
    Own(WitnessLog),
    Mirror(Arc<Followed>),
}

/// A log and its newest published checkpoint.
pub struct Source {
    /// How it is called in addresses.
    pub name: String,
    /// Its key.
    pub key: VerifierKey,
    /// Its newest published checkpoint, if there is one.
    pub published: Option<SignedCheckpoint>,
    /// By what a checkpoint of it is checked, as text.
    pub policy: String,
    /// The cosigners that are known here, with their names.
    pub cosigners: Vec<VerifierKey>,
    place: Place,
}

/// An entry as it stands in the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its index.
    pub index: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Entry {
    /// What it says, if it is anything that a log may hold.
    pub fn leaf(&self) -> Option<Leaf> {
        Leaf::decode(&self.bytes).ok()
    }
}

fn unknown() -> PluginError {
    PluginError::NotFound {
        code: "log_unknown",
        detail: "no log of this name is known here",
    }
}

/// What is stored of a log can't be read.
pub fn damaged(error: &LogError) -> PluginError {
    PluginError::Internal(format!("a log's content: {error}"))
}

/// There is no such entry under the published checkpoint.
pub fn not_in_log() -> PluginError {
    PluginError::NotFound {
        code: "not_in_log",
        detail: "the log has published no such entry so far",
    }
}

/// There is no such tile under the published checkpoint.
pub fn no_tile() -> PluginError {
    PluginError::NotFound {
        code: "tile_unknown",
        detail: "the log has published no such tile so far",
    }
}

/// A mirror's index has not read all of it.
fn not_indexed_yet() -> PluginError {
    PluginError::NotFound {
        code: "not_indexed_yet",
        detail: "it is not among the entries that this copy has indexed so far, and there are more",
    }
}

impl Source {
    /// The log of this name.
    ///
    /// # Errors
    /// `log_unknown`, [`PluginError::Database`].
    pub async fn open(state: &AppState, name: &str) -> Result<Self, PluginError> {
        if name == OWN {
            return state
                .witness_log
                .clone()
                .ok_or_else(unknown)
                .and_then(Self::own);
        }
        let id = BASE64_URL_SAFE_NO_PAD.decode(name).map_err(|_| unknown())?;
        let id: LogId = id.try_into().map_err(|_| unknown())?;
        let log = state.follow.log(&id).ok_or_else(unknown)?;
        Self::mirror(state, name, log).await
    }

    fn own(log: WitnessLog) -> Result<Self, PluginError> {
        let policy = log.policy();
        let key = policy.log(&log.origin()).map(|log| log.key.clone());
        Ok(Self {
            name: OWN.to_owned(),
            key: key.ok_or_else(unknown)?,
            published: log.published().map(|published| published.signed.clone()),
            policy: String::from_utf8_lossy(policy.as_bytes()).into_owned(),
            cosigners: policy
                .cosigners()
                .iter()
                .map(|one| one.key.clone())
                .collect(),
            place: Place::Own(log),
        })
    }

    async fn mirror(
        state: &AppState,
        name: &str,
        log: &Arc<Followed>,
    ) -> Result<Self, PluginError> {
        let heads = store::heads(&state.pool, &log.id).await?;
        let published = heads.and_then(|heads| heads.published);
        let published = published.and_then(|text| SignedCheckpoint::parse(text.as_bytes()).ok());
        let cosigners = state.follow.cosigners.clone();
        // Which of them are enough is for whoever relies on the log to say.
        let mut policy = format!("log {}\n", log.key);
        for (number, cosigner) in cosigners.iter().enumerate() {
            policy.push_str(&format!("witness c{number} {cosigner}\n"));
        }
        policy.push_str("quorum none\n");
        Ok(Self {
            name: name.to_owned(),
            key: log.key.clone(),
            published,
            policy,
            cosigners,
            place: Place::Mirror(Arc::clone(log)),
        })
    }

    /// Whether it is run here.
    pub fn is_own(&self) -> bool {
        matches!(self.place, Place::Own(_))
    }

    /// How many entries are published.
    pub fn size(&self) -> u64 {
        self.published
            .as_ref()
            .map_or(0, |signed| signed.checkpoint().size)
    }

    /// Under which path its tiles are served.
    pub fn tiles_url(&self) -> String {
        match &self.place {
            Place::Own(_) => "/log".to_owned(),
            Place::Mirror(_) => format!("/mirror/{}", self.name),
        }
    }

    async fn read(
        &self,
        state: &AppState,
        paths: &[TilePath],
    ) -> Result<Vec<Vec<u8>>, PluginError> {
        let mut all = Vec::with_capacity(paths.len());
        match &self.place {
            Place::Own(log) => {
                for path in paths {
                    let bytes = log.tiles().read(path).await?.ok_or_else(not_in_log)?;
                    all.push(bytes.to_vec());
                }
            }
            Place::Mirror(log) => {
                let mut found = store::tiles(&state.pool, &log.id, paths).await?;
                for path in paths {
                    all.push(found.remove(path).ok_or_else(not_in_log)?);
                }
            }
        }
        Ok(all)
    }

    /// The bytes of a tile of hashes under the published checkpoint.
    ///
    /// # Errors
    /// `tile_unknown`, [`PluginError::Database`].
    pub async fn tile(&self, state: &AppState, path: &TilePath) -> Result<Vec<u8>, PluginError> {
        if !store::within(path, self.size()) {
            return Err(no_tile());
        }
        let mut found = self.read(state, &[*path]).await?;
        found.pop().ok_or_else(no_tile)
    }

    /// The path of the bundle in which an entry lies.
    pub fn bundle_of(&self, index: u64) -> Option<TilePath> {
        let size = self.size();
        let number = index / BUNDLE;
        let width = size.checked_sub(number.checked_mul(BUNDLE)?)?.min(BUNDLE);
        TilePath::new(TileKind::Entries, number, u16::try_from(width).ok()?).ok()
    }

    /// The published entries of the bundle in which an entry lies.
    ///
    /// # Errors
    /// `not_in_log`, [`PluginError::Database`].
    pub async fn entries(&self, state: &AppState, index: u64) -> Result<Vec<Entry>, PluginError> {
        if index >= self.size() {
            return Err(not_in_log());
        }
        let path = self.bundle_of(index).ok_or_else(not_in_log)?;
        let bytes = self
            .read(state, &[path])
            .await?
            .pop()
            .ok_or_else(not_in_log)?;
        let entries = decode_bundle(&path, &bytes).map_err(|error| damaged(&error))?;
        let numbered = (path.start()..).zip(entries);
        let numbered = numbered.map(|(index, bytes)| Entry {
            index,
            bytes: bytes.to_vec(),
        });
        Ok(numbered.collect())
    }

    /// The proof that an entry is in the log, under its newest checkpoint.
    ///
    /// # Errors
    /// `not_in_log`, [`PluginError::Database`]; [`PluginError::Internal`] if what is stored is damaged.
    pub async fn prove(&self, state: &AppState, entry: &Entry) -> Result<TlogProof, PluginError> {
        let note: SignedNote = match &self.published {
            Some(signed) => signed.note().clone(),
            None => return Err(not_in_log()),
        };
        let size = self.size();
        let paths: Vec<TilePath> = {
            let plan = TilePlan::new(size);
            let _ = prove_inclusion(&plan, entry.index, size);
            plan.tiles().into_iter().collect()
        };
        let tiles = self.read(state, &paths).await?;
        let mut set = TileSet::new();
        for (path, bytes) in paths.iter().zip(&tiles) {
            set.insert(path, bytes).map_err(|error| damaged(&error))?;
        }
        let path = prove_inclusion(&set, entry.index, size).map_err(|error| damaged(&error))?;
        Ok(TlogProof {
            extra: Some(entry.bytes.clone()),
            index: entry.index,
            path,
            note,
        })
    }

    /// Where the first entry with the preimage of this hash stands, under the newest checkpoint.
    ///
    /// # Errors
    /// `not_in_log`; `not_indexed_yet` if a mirror's index does not reach as far as its checkpoint; [`PluginError::Database`].
    pub async fn look_up(&self, state: &AppState, hash: [u8; 32]) -> Result<u64, PluginError> {
        match &self.place {
            Place::Own(log) => {
                let found = log.look_up(state, hash, 0).await?;
                found.map(|placed| placed.index).ok_or_else(not_in_log)
            }
            Place::Mirror(log) => {
                match index::find(&state.pool, &log.id, &hash, self.size()).await? {
                    Found::At(index) => Ok(index),
                    Found::Nowhere => Err(not_in_log()),
                    Found::NotYet => Err(not_indexed_yet()),
                }
            }
        }
    }
}

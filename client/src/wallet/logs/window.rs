//! Reading the entries that open promises ask about: from where the oldest of them begins to the pinned checkpoint.
//!
//! What was read once is kept as long as a promise asks. The entries together with the hashes before them have to add up to the
//! root that the checkpoint names: what a server says is believed no further than that.

use std::collections::BTreeMap;

use atomicity_witness_log::fork::inspect;
use atomicity_witness_log::rule::MAX_WINDOW;
use atomicity_witness_log::tile::{TILE_WIDTH, bundles, decode_bundle};
use atomicity_witness_log::tree::RangeSource;
use atomicity_witness_log::{Checkpoint, CompactRange, Hash, Leaf, SignedNote, TilePath, Window};

use super::Log;
use super::pin::range_before;
use crate::error::ClientError;
use crate::net::log::LogSite;
use crate::store::windows::{self, WindowRow};
use crate::wallet::Wallet;

/// Raw entries, not checked yet.
struct Entries {
    base: CompactRange,
    entries: Vec<Vec<u8>>,
    /// Bundles that were fetched just now.
    fresh: Vec<(TilePath, Vec<u8>)>,
}

impl Wallet {
    /// Reads the entries of a log from `from` on, up to the pinned checkpoint.
    ///
    /// # Errors
    /// [`ClientError::LogUnreadable`] if nobody serves entries that fit to the checkpoint, or if there are too many of them;
    /// [`ClientError::LogRefused`] if they prove that the log lied; what the network and the store say.
    pub(crate) async fn read_window(&self, log: &Log, from: u64) -> Result<Window, ClientError> {
        let note = log.pin()?.ok_or_else(|| ClientError::LogUnreadable {
            origin: log.row.origin.clone(),
            why: "it has shown no checkpoint".to_owned(),
        })?;
        let checkpoint = Checkpoint::parse(note.text())?;
        let stored = windows::get(&mut *self.store().read().await?, &log.row.origin).await?;
        let aligned = from.min(checkpoint.size) / TILE_WIDTH * TILE_WIDTH;
        let start = match &stored {
            Some(row) if row.start <= aligned => row.start,
            _ => aligned,
        };
        if checkpoint.size - start > MAX_WINDOW + TILE_WIDTH {
            return Err(unreadable(
                log,
                "more entries would have to be read than is allowed",
            ));
        }
        let kept = stored.filter(|row| row.start == start);
        let mut attempts = vec![(log.site.clone(), kept)];
        // What was kept may be bad: then all is fetched again.
        if attempts.iter().any(|(_, kept)| kept.is_some()) {
            attempts.push((log.site.clone(), None));
        }
        let mirrors = self.mirrors(log).await?;
        attempts.extend(mirrors.into_iter().map(|site| (site, None)));
        let mut failure = unreadable(log, "nobody serves its entries");
        for (site, kept) in attempts {
            let read = self.read_from(log, &site, &checkpoint, start, kept.as_ref());
            match read.await {
                Ok(read) => return self.take_entries(log, note, read, kept.is_some()).await,
                Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Gathers kept and fetched entries that add up to the checkpoint.
    async fn read_from(
        &self,
        log: &Log,
        site: &LogSite,
        checkpoint: &Checkpoint,
        start: u64,
        kept: Option<&WindowRow>,
    ) -> Result<Entries, ClientError> {
        let base = match kept {
            Some(row) => stored_range(row.start, &row.base)?,
            None if start == 0 => CompactRange::new(),
            None => range_before(site, start, checkpoint.size).await?,
        };
        let mut have: BTreeMap<u64, (u16, Vec<u8>)> = BTreeMap::new();
        if kept.is_some() {
            let mut conn = self.store().read().await?;
            let first = start / TILE_WIDTH;
            for (idx, width, body) in windows::bundles(&mut conn, &log.row.origin, first).await? {
                have.insert(idx, (width, body));
            }
        }
        let all: Vec<TilePath> = bundles(start, checkpoint.size, checkpoint.size).collect();
        let wide_enough = |path: &TilePath| {
            have.get(&path.index())
                .is_some_and(|(width, _)| *width >= path.width())
        };
        let missing = all
            .iter()
            .filter(|path| !wide_enough(path))
            .copied()
            .collect();
        let fresh = site.tiles(missing).await?;
        for (path, bytes) in &fresh {
            have.insert(path.index(), (path.width(), bytes.clone()));
        }
        let mut entries = Vec::new();
        let mut range = base.clone();
        for path in all {
            let (width, body) = have
                .get(&path.index())
                .ok_or_else(|| unreadable(log, "an entry is missing"))?;
            let held = TilePath::new(path.kind(), path.index(), *width)?;
            let found = decode_bundle(&held, body)?;
            for entry in found.into_iter().take(usize::from(path.width())) {
                range.append(atomicity_witness_log::tree::leaf_hash(entry))?;
                entries.push(entry.to_vec());
            }
        }
        if range.root() != checkpoint.root {
            return Err(unreadable(
                log,
                "its entries are not those of its checkpoint",
            ));
        }
        Ok(Entries {
            base,
            entries,
            fresh,
        })
    }

    /// Reads what adds up to the checkpoint as leaves, and keeps it.
    async fn take_entries(
        &self,
        log: &Log,
        note: SignedNote,
        read: Entries,
        goes_on: bool,
    ) -> Result<Window, ClientError> {
        let start = read.base.size();
        let hashes: Vec<Hash> = read
            .entries
            .iter()
            .map(|entry| atomicity_witness_log::tree::leaf_hash(entry))
            .collect();
        let source = RangeSource::new(read.base.clone(), hashes);
        if let Some(lie) = inspect(&log.key, &note, start, &read.entries, &source)? {
            let why = lie.to_string();
            self.caught(lie).await?;
            let origin = log.row.origin.clone();
            return Err(ClientError::LogRefused { origin, why });
        }
        let leaves = read
            .entries
            .iter()
            .map(|entry| Leaf::decode(entry))
            .collect::<Result<Vec<_>, _>>()?;
        let window = Window::new(read.base, leaves, note);
        let row = WindowRow {
            start,
            base: bytes_of(window.base()),
        };
        let mut tx = self.store().write().await?;
        if !goes_on {
            windows::forget(tx.conn(), &log.row.origin).await?;
        }
        for (path, bytes) in &read.fresh {
            let (idx, width) = (path.index(), path.width());
            windows::put_bundle(tx.conn(), &log.row.origin, idx, width, bytes).await?;
        }
        windows::put(tx.conn(), &log.row.origin, &row).await?;
        tx.commit().await?;
        Ok(window)
    }

    /// Reads all entries of a log that ended at `end`, from `from` on, and that add up to `root`.
    pub(super) async fn read_to_end(
        &self,
        log: &Log,
        from: u64,
        end: &Checkpoint,
        last: SignedNote,
    ) -> Result<Window, ClientError> {
        let start = from / TILE_WIDTH * TILE_WIDTH;
        if end.size.saturating_sub(start) > MAX_WINDOW + TILE_WIDTH {
            return Err(unreadable(
                log,
                "more entries would have to be read than is allowed",
            ));
        }
        let mut sites = self.mirrors(log).await?;
        sites.push(log.site.clone());
        let mut failure = unreadable(log, "nobody serves its entries");
        for site in sites {
            match self.read_from(log, &site, end, start, None).await {
                Ok(read) => {
                    let leaves = read.entries.iter().map(|entry| Leaf::decode(entry));
                    let leaves = leaves.collect::<Result<_, _>>()?;
                    return Ok(Window::new(read.base, leaves, last));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

fn unreadable(log: &Log, why: &str) -> ClientError {
    ClientError::LogUnreadable {
        origin: log.row.origin.clone(),
        why: why.to_owned(),
    }
}

fn bytes_of(range: &CompactRange) -> Vec<u8> {
    let hashes = range.hashes().iter();
    hashes.flat_map(|hash| *hash.as_bytes()).collect()
}

fn stored_range(size: u64, bytes: &[u8]) -> Result<CompactRange, ClientError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    let hashes = hashes.iter().map(|hash| Hash::from_bytes(*hash)).collect();
    let range = CompactRange::from_parts(size, hashes);
    range
        .ok()
        .filter(|_| rest.is_empty())
        .ok_or(ClientError::StoreCorrupt {
            what: "the window of a log",
            why: "its hashes don't fit to its size".to_owned(),
        })
}

//! The newest checkpoint of each log, and comparing it with whatever else the log, or somebody who relied on it, shows.

use atomicity_ledger::PolicyHash;
use atomicity_witness_log::fork::compare;
use atomicity_witness_log::tile::{TilePlan, TileSet};
use atomicity_witness_log::tree::ConsistencyPath;
use atomicity_witness_log::{CompactRange, ForkProof, LogError, SignedCheckpoint, SignedNote};

use super::{ForkView, Log};
use crate::error::ClientError;
use crate::net::NetError;
use crate::net::log::LogSite;
use crate::store::{logs, watchtowers};
use crate::wallet::{Wallet, now};

/// What a checkpoint turned out to be.
#[derive(Debug)]
pub(crate) enum Seen {
    /// It is the pinned one, or fits to it and is now pinned, or is older and fits.
    Fits,
    /// It can't be compared yet.
    Unclear,
    /// Somebody lied; what of it is news.
    Lie(Vec<ForkView>),
}

/// A log whose newest checkpoint is older than this is not alive, in seconds.
const LIVING_S: u64 = 60;

/// What only proves lies is gathered here.
type Lies = Vec<ForkProof>;

impl Wallet {
    /// Asks a log for its newest checkpoint and pins it, if it counts and fits to the pin. Returns what it proves against
    /// somebody, as far as it is news.
    ///
    /// # Errors
    /// [`ClientError::Net`] if neither the log nor a mirror answers; [`ClientError::LogUnreadable`], [`ClientError::Log`] if what
    /// they show does not count.
    pub(crate) async fn refresh_pin(&self, log: &mut Log) -> Result<Vec<ForkView>, ClientError> {
        let mut failure = match self.refresh_from(log, log.site.clone()).await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        if !matches!(failure, ClientError::Net(_)) {
            return Err(failure);
        }
        // What a mirror shows counts by its signatures, as if the log had shown it.
        for mirror in self.mirrors(log).await? {
            match self.refresh_from(log, mirror).await {
                Ok(found) => return Ok(found),
                Err(ClientError::Net(_)) => {}
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Asks the log itself, as one must before something new is to hang on it: a mirror answers for a dead log too.
    ///
    /// # Errors
    /// As [`Wallet::refresh_pin`]; [`ClientError::LogUnreadable`] if nobody cosigned anything of it lately.
    pub(crate) async fn refresh_living(&self, log: &mut Log) -> Result<Vec<ForkView>, ClientError> {
        let news = self.refresh_from(log, log.site.clone()).await?;
        let Some(pin) = log.pin()?.filter(|_| news.is_empty()) else {
            return Ok(news);
        };
        let checked = log.policy.check_origin(&pin, &log.row.origin)?;
        let newest_s = checked.cosigned().values().max().copied();
        if newest_s.is_some_and(|at| at.saturating_add(LIVING_S) < now().millis() / 1000) {
            return Err(ClientError::LogUnreadable {
                origin: log.row.origin.clone(),
                why: "it has shown nothing new for a while".to_owned(),
            });
        }
        Ok(news)
    }

    async fn refresh_from(
        &self,
        log: &mut Log,
        site: LogSite,
    ) -> Result<Vec<ForkView>, ClientError> {
        let text = site.checkpoint().await?;
        let note = SignedNote::parse(text.as_bytes())?;
        log.policy.check_origin(&note, &log.row.origin)?;
        match self.examine(log, &note).await? {
            Seen::Fits => Ok(Vec::new()),
            Seen::Lie(news) => Ok(news),
            Seen::Unclear => {
                let mut tx = self.store().write().await?;
                let at = now().millis();
                logs::keep_note(tx.conn(), &log.row.origin, &text, None, at).await?;
                tx.commit().await?;
                Err(ClientError::LogUnreadable {
                    origin: log.row.origin.clone(),
                    why: "its newest checkpoint can't be brought together with the one before"
                        .to_owned(),
                })
            }
        }
    }

    /// Compares a checkpoint with the pin, pins it if it is newer and counts, and keeps a proof if somebody lied.
    ///
    /// # Errors
    /// What is wrong with its signature; what the network says.
    pub(crate) async fn examine(
        &self,
        log: &mut Log,
        note: &SignedNote,
    ) -> Result<Seen, ClientError> {
        let signed = SignedCheckpoint::new(note.clone())?;
        signed.verify_log(&log.key)?;
        let shown = signed.checkpoint().clone();
        let Some(pin) = log.pin()? else {
            self.adopt(log, note, shown.size).await?;
            return Ok(Seen::Fits);
        };
        let (found, lies) = self.compare_sizes(log, &pin, note, shown.size).await?;
        if !lies.is_empty() {
            let mut news = Vec::new();
            for lie in lies {
                news.extend(self.caught(lie).await?);
            }
            return Ok(Seen::Lie(news));
        }
        if found && shown.size >= log.row.size {
            self.adopt(log, note, shown.size).await?;
        }
        Ok(if found { Seen::Fits } else { Seen::Unclear })
    }

    /// Whether the two could be compared, and what that proves.
    async fn compare_sizes(
        &self,
        log: &Log,
        pin: &SignedNote,
        note: &SignedNote,
        size: u64,
    ) -> Result<(bool, Lies), ClientError> {
        let (old, new) = (size.min(log.row.size), size.max(log.row.size));
        if old == new || old == 0 {
            return Ok((
                true,
                judge(log, pin, note, &TileSet::new())?.unwrap_or_default(),
            ));
        }
        let mut failure = None;
        let mut sites = vec![log.site.clone()];
        sites.extend(self.mirrors(log).await?);
        for site in sites {
            let plan = |plan: &TilePlan| ConsistencyPath::prove(plan, old, new).map(|_| ());
            match hashes(&site, new, plan).await {
                Ok(tiles) => {
                    if let Some(lies) = judge(log, pin, note, &tiles)? {
                        return Ok((true, lies));
                    }
                    // These are not the tiles of the larger tree. Perhaps somebody else has them.
                    failure = None;
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            Some(error @ ClientError::Net(_)) if !is_missing(&error) => Err(error),
            _ => Ok((false, Vec::new())),
        }
    }

    async fn adopt(&self, log: &mut Log, note: &SignedNote, size: u64) -> Result<(), ClientError> {
        // A checkpoint without its quorum proves lies, and nothing else.
        if log.policy.check_origin(note, &log.row.origin).is_err() {
            return Ok(());
        }
        let (text, at) = (note.to_string(), now().millis());
        let mut tx = self.store().write().await?;
        logs::pin(tx.conn(), &log.row.origin, &text, size, at).await?;
        // Another task may have gone further meanwhile.
        if let Some(row) = logs::get(tx.conn(), &log.row.origin).await? {
            log.row = row;
        }
        tx.commit().await
    }

    /// Where the entries of a log may be found beside the log itself: at its cosigners, and at the user's watchtowers.
    pub(crate) async fn mirrors(&self, log: &Log) -> Result<Vec<LogSite>, ClientError> {
        let path = format!("/mirror/{}", PolicyHash::of(&log.row.origin));
        let towers = watchtowers::list(&mut *self.store().read().await?).await?;
        let cosigners = log
            .policy
            .cosigners()
            .iter()
            .filter_map(|c| c.url.as_deref());
        let at = |url: &str, part: &str| -> Result<LogSite, NetError> {
            LogSite::new(self.net(), url)?.without(part)?.below(&path)
        };
        let mut sites: Vec<LogSite> = cosigners
            .filter_map(|url| at(url, "/cosigner").ok())
            .collect();
        sites.extend(
            towers
                .iter()
                .filter_map(|tower| at(&tower.url, "/watchtower").ok()),
        );
        sites.truncate(8);
        Ok(sites)
    }
}

/// The lies that two checkpoints prove; `None` if these are not the tiles of the larger one.
fn judge(
    log: &Log,
    pin: &SignedNote,
    note: &SignedNote,
    tiles: &TileSet,
) -> Result<Option<Lies>, ClientError> {
    let mut lies: Lies = match compare(&log.key, pin, note, tiles) {
        Ok(lie) => lie.into_iter().collect(),
        Err(LogError::ConsistencyInvalid | LogError::HashMissing { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !lies.is_empty() {
        // Whoever cosigned both lied as well.
        let cosigners = log.policy.cosigners().iter();
        let both = cosigners.filter_map(|c| compare(&c.key, pin, note, tiles).ok().flatten());
        lies.extend(both);
    }
    Ok(Some(lies))
}

/// Fetches the tiles that a proof in the tree of `size` leaves needs. What they are worth shows when the proof is checked.
pub(crate) async fn hashes(
    site: &LogSite,
    size: u64,
    proof: impl Fn(&TilePlan) -> Result<(), LogError>,
) -> Result<TileSet, ClientError> {
    let plan = TilePlan::new(size);
    proof(&plan)?;
    let paths = plan.tiles();
    let mut tiles = TileSet::new();
    for (path, bytes) in site.tiles(paths).await? {
        tiles.insert(&path, &bytes)?;
    }
    Ok(tiles)
}

/// The hashes before `start` in the tree of `size` leaves, as a server says.
pub(crate) async fn range_before(
    site: &LogSite,
    start: u64,
    size: u64,
) -> Result<CompactRange, ClientError> {
    let plan = |plan: &TilePlan| CompactRange::from_source(plan, start).map(|_| ());
    let tiles = hashes(site, size, plan).await?;
    Ok(CompactRange::from_source(&tiles, start)?)
}

pub(crate) fn is_missing(error: &ClientError) -> bool {
    matches!(error, ClientError::Net(NetError::NotFound(_)))
}

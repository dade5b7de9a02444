//! Reading one user at their homeserver. What was read so far is kept, whatever goes wrong after it.

mod adverts;
mod keys;
mod listing;
mod profile;
mod rates;
mod ratings;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use atomicity_ledger::authority::Purpose;
use atomicity_ledger::{LedgerError, SignerKey, UserKey};

use super::authority::KeyFile;
use super::frontier::{Outcome, Source, Visit, Work};
use super::{Router, now, store};
use crate::error::PluginError;
use crate::resolve::Fetched;
use crate::resolve::at::Fault;
use crate::state::AppState;

/// Where follows lie.
const FOLLOWS: &str = "/pub/pubky.app/follows/";

/// Why a visit ended early.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Home(#[from] Fault),
    #[error("{0}")]
    Ours(#[from] PluginError),
}

/// A visit under way.
struct Visitor<'a> {
    state: &'a AppState,
    router: &'a Router,
    user: UserKey,
    home: UserKey,
    home_at: i64,
    /// What requests took so far.
    spent: Duration,
    /// What is known of the keys that sign for the user.
    keys: HashMap<SignerKey, KeyFile>,
    /// Something of the user's was not what it should be.
    refused: bool,
    /// Advertisements that were not there, for the first time.
    doubtful: BTreeSet<UserKey>,
    /// The rates were not there, for the first time.
    rates_doubtful: bool,
    profile: bool,
    pinned: bool,
}

/// Reads what is to be read. Never fails: what went wrong is in the outcome.
pub async fn read(state: &AppState, router: &Router, visit: &Visit) -> Outcome {
    let known = router.frontier().user(&visit.user).cloned();
    let mut visitor = Visitor {
        state,
        router,
        user: visit.user,
        home: visit.home,
        home_at: visit.home_at,
        spent: Duration::ZERO,
        keys: HashMap::new(),
        refused: false,
        doubtful: BTreeSet::new(),
        rates_doubtful: false,
        profile: known.as_ref().is_some_and(|user| user.profile),
        pinned: visit.pinned,
    };
    let done = visitor.all(&visit.work).await;
    let mut outcome = Outcome {
        user_failed: visitor.refused,
        profile: visitor.profile,
        full: visit.work.full,
        doubtful: visitor.doubtful,
        rates_doubtful: visitor.rates_doubtful,
        ..Outcome::default()
    };
    match done {
        Ok(()) => router.metrics.visit(match visitor.refused {
            true => "refused",
            false => "done",
        }),
        Err(Broken::Home(fault)) => {
            router.metrics.visit(fault.code());
            tracing::debug!(home = %visit.home, code = fault.code(), "a homeserver failed in a visit");
            outcome.home_failed = true;
        }
        Err(Broken::Ours(error)) => {
            router.metrics.visit("aborted");
            tracing::debug!(%error, "a visit was broken off");
            outcome.aborted = true;
        }
    }
    match store::adverts::of_user(&state.pool, &visit.user).await {
        Ok(held) => {
            let counted = || held.iter().filter(|advert| !advert.withdrawn);
            let root = |signer: &SignerKey| signer.is_root_of(&visit.user);
            outcome.adverts = counted().count();
            outcome.delegates = counted().any(|advert| !root(&advert.signer));
        }
        Err(_) => outcome.aborted = true,
    }
    match store::rates::of_user(&state.pool, &visit.user).await {
        Ok(held) => {
            let signer = held.filter(|held| !held.withdrawn).map(|held| held.signer);
            outcome.delegates |= signer.is_some_and(|key| !key.is_root_of(&visit.user));
        }
        Err(_) => outcome.aborted = true,
    }
    outcome
}

impl Visitor<'_> {
    async fn all(&mut self, work: &Work) -> Result<(), Broken> {
        if work.full || work.profile {
            self.read_profile().await?;
        }
        if work.full || work.keys {
            self.look_for_revocations(work.keys).await?;
        }
        let deleted = &work.deleted;
        if work.full {
            let peers = self.listed_adverts().await?;
            self.read_adverts(&peers, deleted).await?;
        } else if !work.peers.is_empty() {
            let peers: Vec<UserKey> = work.peers.iter().copied().collect();
            self.read_adverts(&peers, deleted).await?;
        }
        if (work.full || work.rates) && (self.profile || self.pinned) {
            self.read_rates(work.rates_deleted).await?;
        }
        // Users who take no part are not followed further, or the crawl would have no end.
        if (work.full || work.follows) && (self.profile || self.pinned) {
            self.read_follows().await?;
        }
        if self.router.indexer && (work.full || work.ratings) && (self.profile || self.pinned) {
            self.read_ratings().await?;
        }
        Ok(())
    }

    /// Reads a file or listing of the user, at the pace that the operator allows.
    async fn get(
        &mut self,
        target: &str,
        etag: Option<&str>,
        max_bytes: usize,
    ) -> Result<Fetched, Broken> {
        let budget = Duration::from_secs(self.router.config.visit_timeout_s);
        if self.spent >= budget {
            return Err(Fault::Slow.into());
        }
        self.router.pace(&self.home).await;
        let started = Instant::now();
        let resolver = &self.state.resolver;
        let asked = resolver.get_at(&self.home, &self.user, target, etag, max_bytes);
        let found = asked.await;
        self.spent = self.spent.saturating_add(started.elapsed());
        self.router.metrics.request(match &found {
            Ok(Fetched::Found { .. }) => "found",
            Ok(Fetched::NotModified) => "unchanged",
            Ok(Fetched::NotFound) => "not_found",
            Err(fault) => fault.code(),
        });
        Ok(found?)
    }

    /// Something is not what it should be. It costs the user, and nobody else.
    fn refuse(&mut self, why: &str) {
        self.refused = true;
        self.router.metrics.refused(why);
    }

    async fn read_follows(&mut self) -> Result<(), Broken> {
        let most = self.router.config.follows_per_user;
        let follows = self.list(FOLLOWS, most).await?;
        self.suggest(follows.into_iter());
        Ok(())
    }

    /// Others whom the user names.
    fn suggest(&self, users: impl Iterator<Item = UserKey>) {
        let now = crate::clock::now_ms();
        let source = Source::Introduced(self.home);
        let mut frontier = self.router.frontier();
        let mut any = false;
        for user in users {
            any |= frontier.suggest(user, source, now);
        }
        drop(frontier);
        if any {
            self.router.wake();
        }
    }

    /// Until when `key` may sign for the user to this purpose, Unix ms. A key that is not the root's is looked for first.
    async fn judge(
        &mut self,
        key: SignerKey,
        purpose: Purpose,
    ) -> Result<Result<u64, LedgerError>, Broken> {
        if key.is_root_of(&self.user) {
            return Ok(Ok(u64::MAX));
        }
        let file = self.key_file(key, false).await?;
        Ok(file.judge(self.user, key, purpose, now()))
    }
}

/// A body as text, if it is any.
fn text(body: &[u8]) -> Option<&str> {
    std::str::from_utf8(body).ok().map(str::trim)
}

//! Reading the durable copy at the start.

use atomicity_ledger::record::{Advert, Rates};
use atomicity_ledger::{Signed, Timestamp};
use sqlx::PgPool;

use super::{Router, store};
use crate::clock;
use crate::error::PluginError;

/// Reads everything that is stored, so that questions are answered before anything is crawled.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn everything(pool: &PgPool, router: &Router) -> Result<(), PluginError> {
    let now = clock::now_ms();
    for row in store::homes(pool).await? {
        let mut frontier = router.frontier();
        frontier.restore_home(row.home, row.failures, row.next_at);
    }
    let mut after = None;
    loop {
        let page = store::users(pool, after).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        let mut frontier = router.frontier();
        for (key, user) in page {
            if frontier.user(&key).is_none() {
                frontier.restore(key, user);
            }
        }
    }
    adverts(pool, router, now).await?;
    rates(pool, router, now).await
}

async fn rates(pool: &PgPool, router: &Router, now: i64) -> Result<(), PluginError> {
    let mut after = None;
    loop {
        let page = store::rates::texts(pool, after, now).await?;
        let Some((owner, ..)) = page.last() else {
            return Ok(());
        };
        after = Some(*owner);
        let router = router.clone();
        let put = tokio::task::spawn_blocking(move || {
            for (_, expires, jws) in &page {
                if let Ok(signed) = Signed::<Rates>::decode(jws) {
                    router.map.put_rates(signed.record(), time(*expires));
                }
            }
        });
        joined(put).await?;
    }
}

fn time(millis: i64) -> Timestamp {
    Timestamp::saturating_from_millis(u64::try_from(millis).unwrap_or(0))
}

async fn joined(put: tokio::task::JoinHandle<()>) -> Result<(), PluginError> {
    put.await
        .map_err(|error| PluginError::Internal(format!("reading the graph: {error}")))
}

async fn adverts(pool: &PgPool, router: &Router, now: i64) -> Result<(), PluginError> {
    let mut after = None;
    loop {
        let page = store::adverts::texts(pool, after, now).await?;
        let Some((owner, peer, ..)) = page.last() else {
            return Ok(());
        };
        after = Some((*owner, *peer));
        let router = router.clone();
        // Every signature is checked again: that takes a while.
        let put = tokio::task::spawn_blocking(move || {
            for (.., expires, jws) in &page {
                if let Ok(signed) = Signed::<Advert>::decode(jws) {
                    let most = router.config.units_per_advert;
                    router.map.put(signed.record(), None, time(*expires), most);
                }
            }
        });
        joined(put).await?;
    }
}

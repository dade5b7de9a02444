//! Publishing the secrets of invoices for which all is there, and looking after those for which time is short.
//!
//! That all is there was stored before; nothing of it is given up since then. What the log shows is found by whoever looks at the
//! logs, and goes to everybody who had promised.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use atomicity_ledger::hop::CollectionStage;
use atomicity_ledger::record::{LogTerm, Terms};
use atomicity_ledger::{PaymentHash, Preimage, UserKey};
use serde_json::json;
use url::Url;

use super::{Agent, change, keys, store};
use crate::clock;
use crate::error::PluginError;
use crate::resolve::call::Call;
use crate::state::AppState;
use crate::witness_log::fault;

/// How often invoices whose time is short are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// The first pause after no log took a secret, and the longest.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(2);
/// Longest answer of a log that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Secrets that are on their way into a log.
#[derive(Default)]
pub struct Publications(Mutex<HashSet<(UserKey, PaymentHash)>>);

impl Publications {
    fn begin(&self, key: (UserKey, PaymentHash)) -> bool {
        let mut set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        set.insert(key)
    }

    fn end(&self, key: &(UserKey, PaymentHash)) {
        let mut set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        set.remove(key);
    }
}

/// Publishes the secret of an invoice that is stored as being published; once at a time.
pub fn start(state: &AppState, agent: &Agent, owner: UserKey, hash: PaymentHash) {
    if !agent.publications().begin((owner, hash)) {
        return;
    }
    let (state, agent) = (state.clone(), agent.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = state.shutdown.cancelled() => {}
            () = publish(&state, &agent, owner, hash) => {}
        }
        agent.publications().end(&(owner, hash));
    });
}

async fn publish(state: &AppState, agent: &Agent, owner: UserKey, hash: PaymentHash) {
    let mut pause = PAUSE;
    loop {
        match attempt(state, agent, &owner, &hash).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(
                    code = error.code(),
                    "a secret is not published yet: {error}"
                );
            }
        }
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// Tries once. Returns whether there is nothing more to do.
async fn attempt(
    state: &AppState,
    agent: &Agent,
    owner: &UserKey,
    hash: &PaymentHash,
) -> Result<bool, PluginError> {
    if !state.readiness.lock_held() {
        return Err(PluginError::NotReady);
    }
    let Some(keeper) = agent.keeper(owner) else {
        return Ok(true);
    };
    // Nothing is shown for a user who has said stop.
    let _leave = keeper.leave(change::now()).await?;
    let Some(row) = store::invoice_of(&state.pool, owner, hash).await? else {
        return Ok(true);
    };
    let terms = row.collection.parts().first().map(|part| &part.terms);
    let busy = *row.collection.stage() == CollectionStage::Publishing;
    let Some(terms) = terms.filter(|_| busy) else {
        return Ok(true);
    };
    if u64::try_from(clock::now_ms()).is_ok_and(|now| now >= terms.deadline_ms) {
        // Too late: what becomes of it is what the logs say.
        return Ok(true);
    }
    let preimage = keys::open_secret(&state.keypair, *owner, hash, &row.sealed)?;
    fault::point("agent_before_publish");
    let shown = show(state, terms, &preimage).await;
    fault::point("agent_after_publish");
    shown.map(|()| true)
}

/// Shows a secret to the first of these logs that takes it.
async fn show(state: &AppState, terms: &Terms, preimage: &Preimage) -> Result<(), PluginError> {
    let mut last = PluginError::Upstream("none of these logs is known here".to_owned());
    for log in &terms.logs {
        match show_to(state, log, preimage).await {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn show_to(state: &AppState, log: &LogTerm, preimage: &Preimage) -> Result<(), PluginError> {
    let origin = log.origin.as_str();
    let own = state.witness_log.as_ref();
    if let Some(own) = own.filter(|own| own.origin() == origin) {
        let preimage = *preimage.as_bytes();
        let done = own.publish_preimage(state, preimage, log.from_size, true);
        return done.await.map(drop);
    }
    let followed = state.follow.by_origin(origin);
    let followed = followed.ok_or_else(|| {
        PluginError::Upstream("a log on which a payment hangs is not known here".to_owned())
    })?;
    let mut url: Url = followed.url.clone();
    url.set_path(&format!("{}/preimages", url.path().trim_end_matches('/')));
    let body = json!({"preimage": preimage, "min_index": log.from_size}).to_string();
    let call = Call {
        url: &url,
        body: Some(body.as_bytes()),
        max_bytes: MAX_ANSWER,
    };
    let answer = state.resolver.call_json(&call).await?;
    if (200..300).contains(&answer.status) {
        Ok(())
    } else {
        Err(PluginError::Upstream(format!(
            "a log did not take a secret: status {}",
            answer.status
        )))
    }
}

/// Takes up what is to be published for a user.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn take_up(state: &AppState, agent: &Agent, owner: UserKey) -> Result<(), PluginError> {
    for hash in store::unpublished(&state.pool, &owner).await? {
        start(state, agent, owner, hash);
    }
    Ok(())
}

async fn look(state: &AppState, agent: &Agent) -> Result<(), PluginError> {
    for (owner, row) in store::late_invoices(&state.pool, clock::now_ms()).await? {
        if let Some(peer) = row.collection.neighbours().first() {
            agent.work().add((owner, *peer), |work| {
                work.invoices.insert(row.hash);
            });
        }
    }
    Ok(())
}

/// Looks after invoices whose time is short, until the process stops.
pub async fn run(state: AppState, agent: Agent) {
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        if !state.readiness.lock_held() {
            continue;
        }
        if let Err(error) = look(&state, &agent).await {
            tracing::debug!(%error, "invoices were not looked at");
        }
    }
}

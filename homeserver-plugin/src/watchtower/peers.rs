//! Asking other watchtowers what they found, and checking it.

use std::time::Duration;

use atomicity_witness_log::ForkProof;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use url::Url;

use super::http::{VerdictItem, VerdictPage};
use crate::error::PluginError;
use crate::mirror::proofs::{self, MAX_PROOF, Via};
use crate::mirror::upstream::below;
use crate::resolve::call::Call;
use crate::state::AppState;

/// Longest page of verdicts that is read.
const MAX_PAGE: usize = 512 * 1024;
/// Verdicts asked for at once.
const PAGE: usize = 200;
/// Pages read in one go.
const MAX_PAGES: usize = 50;
/// After so many rounds everything is asked anew: numbers may have begun again at a watchtower that was restored.
const ROUNDS: u32 = 120;

/// Asks one watchtower, again and again, until the process stops.
pub async fn run(state: AppState, peer: Url) {
    let every = Duration::from_millis(state.config.watchtower.peer_poll_ms);
    let (mut after, mut rounds) = (0, 0u32);
    loop {
        if state.readiness.lock_held() {
            if let Err(error) = round(&state, &peer, &mut after).await {
                tracing::debug!(%peer, %error, "another watchtower could not be asked");
            }
            rounds += 1;
            if rounds >= ROUNDS {
                (after, rounds) = (0, 0);
            }
        }
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = tokio::time::sleep(every.mul_f64(rand::random_range(0.9..=1.1))) => {}
        }
    }
}

async fn get(state: &AppState, url: &Url, max_bytes: usize) -> Result<Vec<u8>, PluginError> {
    let call = Call {
        url,
        body: None,
        max_bytes,
    };
    let answer = state.resolver.call(&call).await?;
    if answer.status == 200 {
        Ok(answer.body)
    } else {
        Err(PluginError::Upstream(format!("status {}", answer.status)))
    }
}

async fn round(state: &AppState, peer: &Url, after: &mut i64) -> Result<(), PluginError> {
    for _ in 0..MAX_PAGES {
        let mut url = below(peer, "watchtower/verdicts");
        url.set_query(Some(&format!("after={after}&limit={PAGE}")));
        let bytes = get(state, &url, MAX_PAGE).await?;
        let page: VerdictPage = serde_json::from_slice(&bytes)
            .map_err(|error| PluginError::Upstream(format!("no page of verdicts: {error}")))?;
        for item in page.items.iter().take(PAGE) {
            take(state, peer, item).await?;
        }
        let next = page.next.as_deref().and_then(|next| next.parse().ok());
        match next {
            Some(next) if next > *after => *after = next,
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Fetches the proof of one verdict, unless it is known or of no concern. A verdict without a valid proof is passed over.
async fn take(state: &AppState, peer: &Url, item: &VerdictItem) -> Result<(), PluginError> {
    let digest = BASE64_URL_SAFE_NO_PAD
        .decode(&item.digest)
        .unwrap_or_default();
    let limit = state.config.watchtower.proofs_per_key;
    if proofs::is_settled(&state.pool, &item.culprit, &digest, limit).await? {
        return Ok(());
    }
    let Ok(id) = item.id.parse::<i64>() else {
        return Ok(());
    };
    let bytes = get(
        state,
        &below(peer, &format!("watchtower/proofs/{id}")),
        MAX_PROOF,
    )
    .await?;
    let Ok(proof) = ForkProof::decode(&bytes) else {
        tracing::warn!(%peer, id, "another watchtower serves a proof that is none");
        return Ok(());
    };
    match proofs::record(state, &proof, Via::Peer).await {
        Ok(_) => Ok(()),
        Err(error @ PluginError::Database(_)) => Err(error),
        Err(error) => {
            tracing::debug!(%peer, id, %error, "a proof of another watchtower was not taken");
            Ok(())
        }
    }
}

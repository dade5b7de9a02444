//! Reading what came: envelopes opened, logs asked.

use std::collections::BTreeMap;

use atomicity_ledger::seal::{Envelope, Route, open_known};
use atomicity_ledger::{LedgerError, UserKey};

use super::super::engine::Work;
use super::super::keeper::Keeper;
use super::super::{Agent, logs, store};
use super::Job;
use crate::error::PluginError;
use crate::state::AppState;

/// Opens envelopes and asks the logs; jobs without anything to do are left out.
pub(super) async fn read<'a>(
    state: &AppState,
    agent: &Agent,
    keeper: &Keeper,
    works: &'a [(UserKey, Work)],
) -> Result<Vec<Job<'a>>, PluginError> {
    let ids = works.iter().flat_map(|(_, work)| work.envelopes.clone());
    let ids: Vec<i64> = ids.collect();
    let mut bodies: BTreeMap<i64, String> = match ids.is_empty() {
        true => BTreeMap::new(),
        false => store::bodies(&state.pool, &keeper.owner, &ids)
            .await?
            .into_iter()
            .collect(),
    };
    let mut jobs = Vec::new();
    for (peer, work) in works {
        let mut wanted = work.envelopes.clone();
        wanted.sort_unstable();
        let envelopes = wanted
            .into_iter()
            .filter_map(|id| bodies.remove(&id).map(|body| (id, body)));
        let (ids, records) = open_envelopes(agent, keeper, peer, envelopes);
        let job = Job {
            peer: *peer,
            work,
            ids,
            records,
            decisions: logs::decisions(state, agent, (keeper.owner, *peer), &work.settle).await?,
        };
        if !job.is_idle() {
            jobs.push(job);
        }
    }
    Ok(jobs)
}

/// The records of these envelopes. What can't be opened is dropped.
fn open_envelopes(
    agent: &Agent,
    keeper: &Keeper,
    peer: &UserKey,
    envelopes: impl Iterator<Item = (i64, String)>,
) -> (Vec<i64>, Vec<String>) {
    let (mut taken, mut records) = (Vec::new(), Vec::new());
    for (id, body) in envelopes {
        taken.push(id);
        let opened = Envelope::from_json(body.as_bytes()).and_then(|envelope| {
            let Route::Known(tag) = envelope.route() else {
                return Err(LedgerError::SealBroken("it bears no tag"));
            };
            let agreement = agent.agreement(keeper.owner.as_bytes(), tag.as_bytes());
            let agreement = agreement.filter(|known| known.from() == peer);
            let agreement = agreement.ok_or(LedgerError::SealBroken("its tag is unknown"))?;
            open_known(&agreement, &envelope)
        });
        match opened {
            Ok(parcel) => records.extend(parcel.records),
            Err(error) => {
                agent.metrics().record("void");
                tracing::debug!(code = error.code(), "an envelope is void");
            }
        }
    }
    (taken, records)
}

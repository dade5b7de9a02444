//! Publishing what can go over the channels whose books are kept here, and for which fee, so that routers find them while the user's
//! phone is off. In coarse figures, at most every half minute: what is published must not trace payments.

use std::collections::BTreeSet;

use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{Advert, AdvertUnit, advert_path};
use atomicity_ledger::{AnyRecord, Serial, Signed, Timestamp, UserKey};
use reqwest::{Method, StatusCode};

use super::change::Change;
use super::files::{Session, put};
use super::keeper::Keeper;
use super::settings::PeerSettings;
use super::store::{self, AdvertRow};
use super::{Agent, change};
use crate::clock;
use crate::error::PluginError;
use crate::state::AppState;

/// Adverts of one user that are looked at in one go.
const BATCH: i64 = 64;
/// How long an advert stands, and how long before its end it is renewed, in milliseconds.
const STANDS_MS: i64 = 24 * 60 * 60 * 1000;
const RENEW_BEFORE_MS: i64 = 6 * 60 * 60 * 1000;
/// An advert is rewritten at most so often, in milliseconds.
const REWRITE_EVERY_MS: i64 = 30_000;
/// The longest that a promise may be undecided, in seconds.
const MAX_DEADLINE_S: u32 = 120;

/// Channels of a user whose adverts are to be looked at; none if the user gave no leave to write them.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn due(state: &AppState, keeper: &Keeper) -> Result<Vec<UserKey>, PluginError> {
    if !keeper.may_advertise {
        return Ok(Vec::new());
    }
    let now = clock::now_ms();
    let times = (now + RENEW_BEFORE_MS, now - REWRITE_EVERY_MS);
    store::adverts_due(&state.pool, &keeper.owner, times, BATCH).await
}

/// Brings the advert about one channel up to date.
///
/// # Errors
/// [`PluginError::Database`]; [`PluginError::Upstream`] if the homeserver does not take it; `agent_stopped`.
pub async fn write(
    state: &AppState,
    agent: &Agent,
    keeper: &Keeper,
    session: &Session,
    peer: UserKey,
) -> Result<(), PluginError> {
    let known = store::advert(&state.pool, &keeper.owner, &peer).await?;
    let row = match known {
        Some(row) if !row.shown => row,
        known => match plan(state, agent, keeper, peer, known).await? {
            Some(row) => row,
            None => return Ok(()),
        },
    };
    let (method, body) = match row.record.is_empty() {
        true => (Method::DELETE, Vec::new()),
        false => (Method::PUT, row.record.into_bytes()),
    };
    let path = advert_path(&peer);
    let status = put(state, &keeper.owner, session, method, &path, body).await?;
    if !status.is_success() && status != StatusCode::NOT_FOUND {
        return Err(PluginError::Upstream(format!(
            "an advert was not taken: status {status}"
        )));
    }
    store::advert_shown(&state.pool, &keeper.owner, &peer, row.serial).await
}

/// What can go over the channel, in every unit in which the user allows anything.
fn units(
    agent: &Agent,
    settings: &PeerSettings,
    pair: &atomicity_ledger::pair::Pair,
    now: Timestamp,
) -> Vec<AdvertUnit> {
    if !settings.adverts {
        return Vec::new();
    }
    let mut units: Vec<AdvertUnit> = settings
        .units
        .iter()
        .filter_map(|known| {
            let budget = settings.budget(&known.unit, agent.config());
            let policy = settings.hop_policy(pair.peer(), budget, agent.config());
            policy.advertise(pair, &known.unit, now)
        })
        .collect();
    units.sort_by(|a, b| a.unit.cmp(&b.unit));
    units
}

/// Signs what is to be published and stores it; `None` if nothing has to be.
async fn plan(
    state: &AppState,
    agent: &Agent,
    keeper: &Keeper,
    peer: UserKey,
    known: Option<AdvertRow>,
) -> Result<Option<AdvertRow>, PluginError> {
    let owner = keeper.owner;
    let kept = store::pair(&state.pool, &owner, &peer).await?;
    let Some(kept) = kept.filter(|row| row.status == "kept") else {
        return Ok(None);
    };
    let settings: PeerSettings = store::parse("settings", &kept.settings)?;
    let pair = store::parse_pair(&kept.body)?;
    let now = change::now();
    let at = clock::now_ms();
    let units = units(agent, &settings, &pair, now);
    let body = match units.is_empty() {
        true => String::new(),
        false => store::text(&units)?,
    };
    let is_new = known.is_none();
    let mut row = known.unwrap_or_default();
    let renewed = !body.is_empty() && row.expires_at < at + RENEW_BEFORE_MS;
    // What the wallet had published before is written over, or goes.
    let changed = row.body != body || renewed || is_new;
    row.version = kept.version;
    row.shown = !changed;
    let keeper = agent.keeper(&owner).ok_or_else(super::keeper::stopped)?;
    let mut change = Change::begin(state, &keeper, &BTreeSet::new()).await?;
    if changed {
        row.serial = at.max(row.serial + 1);
        row.written_at = at;
        let until = i64::try_from(keeper.until.millis()).unwrap_or(i64::MAX);
        row.expires_at = until.min(at + STANDS_MS);
        row.body = body;
        row.record = match units.is_empty() {
            true => String::new(),
            false => {
                let advert = sign(&keeper, peer, &row, units, now)?;
                change.note(peer, &AnyRecord::from(advert.clone()));
                advert.jws().to_owned()
            }
        };
    }
    store::put_advert(change.tx(), &owner, &peer, &row).await?;
    change.commit().await?;
    Ok(changed.then_some(row))
}

fn sign(
    keeper: &Keeper,
    to: UserKey,
    row: &AdvertRow,
    units: Vec<AdvertUnit>,
    at: Timestamp,
) -> Result<Signed<Advert>, PluginError> {
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    let internal = |error: atomicity_ledger::LedgerError| PluginError::Internal(error.to_string());
    let advert = Advert {
        v: Version,
        from: keeper.owner,
        to,
        serial: Serial::new(number(row.serial)).map_err(internal)?,
        units,
        slots: None,
        max_deadline_s: MAX_DEADLINE_S,
        expires: Timestamp::saturating_from_millis(number(row.expires_at)),
        at,
    };
    Signed::sign(advert, &keeper.pen).map_err(internal)
}

//! Books: handing them over, looking at them, taking them back.

use std::collections::{BTreeMap, BTreeSet};

use atomicity_ledger::hop::Tally;
use atomicity_ledger::pair::{NewBook, Pair, Standing};
use atomicity_ledger::{AnyRecord, Epoch, RecordHash, SignerKey, Timestamp, Total, Unit, UserKey};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::super::change::{self, Change, books_restored, pair_unknown};
use super::super::keeper::{Keeper, stopped};
use super::super::settings::PeerSettings;
use super::super::store::{self, PairRow};
use super::super::{Agent, agreements, engine, lookup};
use super::{agent, bad, refused};
use crate::auth::Caller;
use crate::clock;
use crate::error::PluginError;
use crate::http::etag;
use crate::http::extract::{JsonBody, UserPath};
use crate::problem::Problem;
use crate::state::AppState;

/// Books that are handed over.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandOver {
    /// The books as the wallet stores them. Their book in force names the agent's key.
    #[schema(value_type = Object)]
    pair: Box<RawValue>,
    /// The peer's profile, if the wallet knows it; else it is looked up.
    #[serde(default)]
    profile: Option<String>,
    /// What you allow towards this peer.
    #[serde(default)]
    settings: PeerSettings,
}

/// To which key books are returned.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Return {
    /// The key that keeps them from now on, z-base-32.
    #[schema(value_type = String)]
    key: SignerKey,
    /// How far that key may go, by unit, in minor units: as the agent's book if left out.
    #[serde(default)]
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    caps: Option<BTreeMap<Unit, Total>>,
}

/// Books as they stand.
#[derive(Serialize, ToSchema)]
pub struct PairView {
    /// Towards whom.
    peer: String,
    /// `kept`, `returned`, or `restored`: of a database that is older than what was signed; kept again in the next epoch.
    state: String,
    /// The epoch in which they were handed over.
    epoch: String,
    /// Grows with every change.
    version: String,
    /// Whether the peer has acknowledged the book that names the agent.
    acknowledged: bool,
    /// What you allow towards this peer.
    settings: PeerSettings,
    /// The books.
    #[schema(value_type = Object)]
    pair: Box<RawValue>,
    /// Records of the peer that can't be judged yet: apply them again.
    pending: Vec<String>,
    /// The peer's profile as last seen.
    profile: Option<String>,
}

async fn view(state: &AppState, owner: &UserKey, row: PairRow) -> Result<PairView, PluginError> {
    let pair = store::parse_pair(&row.body)?;
    let mut tx = state.pool.begin().await?;
    let held = store::held(&mut tx, owner, &row.peer).await?;
    tx.rollback().await?;
    Ok(PairView {
        peer: row.peer.to_string(),
        state: row.status,
        epoch: row.epoch.to_string(),
        version: row.version.to_string(),
        acknowledged: pair.own().book_ack().is_some(),
        settings: store::parse("settings", &row.settings)?,
        pair: RawValue::from_string(row.body)
            .map_err(|error| PluginError::Internal(error.to_string()))?,
        pending: held.into_iter().map(|held| held.record).collect(),
        profile: row.profile,
    })
}

/// Checks books that are handed over: every signature, and that the agent may keep them.
fn check(keeper: &Keeper, peer: UserKey, text: &str, now: Timestamp) -> Result<Pair, PluginError> {
    let malformed = |detail: String| bad("pair_malformed", detail);
    let mut pair: Pair =
        serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    if pair.me() != keeper.owner || pair.peer() != peer {
        return Err(malformed("these are the books of somebody else".to_owned()));
    }
    if pair.is_behind() {
        return Err(PluginError::Refused {
            code: "no_pen",
            detail: "the same books were written elsewhere".to_owned(),
        });
    }
    let files = pair.file_records();
    for jws in files
        .own
        .iter()
        .chain(&files.held)
        .chain(&pair.evidence_records())
    {
        // Grants have another form; the credentials check them.
        if atomicity_ledger::jws::peek_typ(jws).is_ok() {
            AnyRecord::decode(jws).map_err(|error| malformed(error.to_string()))?;
        }
    }
    let learnt = pair.learn_own_authority(&keeper.authority, now);
    learnt.map_err(|error| refused(&error))?;
    let key = keeper.pen.signer_key();
    let book = pair.own().book().map(|book| book.record().clone());
    let book = book
        .filter(|book| book.key == key)
        .ok_or_else(|| PluginError::Refused {
            code: "book_not_for_agent",
            detail: "the book in force does not name the agent's key".to_owned(),
        })?;
    let authority = keeper
        .authority_for(peer, now)
        .map_err(|error| refused(&error))?;
    for cap in &book.cap {
        if authority.cap_bound(&cap.unit).is_some_and(|b| cap.debt > b) {
            let unit = cap.unit.clone();
            return Err(refused(&atomicity_ledger::LedgerError::CapAboveAuthority {
                unit,
            }));
        }
    }
    Ok(pair)
}

fn epoch_of(pair: &Pair) -> i64 {
    let epoch = pair.own().epoch().unwrap_or(Epoch::ZERO).get();
    i64::try_from(epoch).unwrap_or(i64::MAX)
}

/// Hands books over to the agent: from here on it keeps them. The same epoch again changes the settings only.
#[utoipa::path(put, path = "/v0/me/agent/peers/{peer}", tag = "agent", security(("session" = [])), request_body = HandOver,
    params(("peer" = String, Path, description = "Towards whom, z-base-32")),
    responses(
        (status = 200, body = PairView),
        (status = 400, description = "`pair_malformed`, `settings_invalid`, `user_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`agent_stopped`, `book_not_for_agent`, `epoch_ended`, `too_many_pairs`, and what the rules of the books say", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn hand_over(
    State(state): State<AppState>,
    UserPath(peer): UserPath,
    caller: Caller,
    JsonBody(request): JsonBody<HandOver>,
) -> Result<Json<PairView>, PluginError> {
    let agent = agent(&state)?;
    let keeper = agent.keeper(&caller.user).ok_or_else(stopped)?;
    if !request.settings.is_sound() {
        return Err(bad("settings_invalid", "each unit once, at most 64"));
    }
    let now = change::now();
    let pair = check(&keeper, peer, request.pair.get(), now)?;
    let profile = request
        .profile
        .filter(|jws| lookup::judge_profile(jws, peer, pair.peer_credentials(), now).is_ok());
    let settings = serde_json::to_string(&request.settings)
        .map_err(|error| PluginError::Internal(error.to_string()))?;
    take_over(&state, agent, &keeper, pair, profile, settings).await?;
    let row = store::pair(&state.pool, &caller.user, &peer).await?;
    let row = row.ok_or_else(pair_unknown)?;
    Ok(Json(view(&state, &caller.user, row).await?))
}

async fn take_over(
    state: &AppState,
    agent: &Agent,
    keeper: &std::sync::Arc<Keeper>,
    pair: Pair,
    profile: Option<String>,
    settings: String,
) -> Result<(), PluginError> {
    let (owner, peer) = (keeper.owner, pair.peer());
    let known = store::pair(&state.pool, &owner, &peer).await?;
    let epoch = epoch_of(&pair);
    let has = known.as_ref().filter(|row| row.epoch >= epoch);
    if let Some(row) = has {
        if row.epoch > epoch || row.status != "kept" {
            return Err(PluginError::Refused {
                code: "epoch_ended",
                detail: "the agent had these books in this epoch or a later one already".to_owned(),
            });
        }
        let mut tx = state.pool.begin().await?;
        store::set_settings(&mut tx, &owner, &peer, &settings).await?;
        tx.commit().await?;
    } else {
        let row = PairRow {
            peer,
            status: "kept".to_owned(),
            epoch,
            body: serde_json::to_string(&pair)
                .map_err(|error| PluginError::Internal(error.to_string()))?,
            version: 1,
            settings,
            profile_at: profile.as_ref().map_or(0, |_| clock::now_ms()),
            profile,
            held: 0,
            tally: serde_json::to_string(&Tally::default())
                .map_err(|error| PluginError::Internal(error.to_string()))?,
            file_path: None,
            returned_to: None,
        };
        store_new(state, agent, keeper, &row).await?;
    }
    introduce(state, keeper, peer).await?;
    if profile_missing(state, &owner, &peer).await? {
        let (state, agent) = (state.clone(), agent.clone());
        tokio::spawn(async move {
            // Whoever has no profile is written to as soon as they have one.
            let _ = lookup::profile(&state, &agent, (owner, peer)).await;
        });
    }
    engine::catch_up(state, agent, &owner).await
}

async fn profile_missing(
    state: &AppState,
    owner: &UserKey,
    peer: &UserKey,
) -> Result<bool, PluginError> {
    let row = store::pair(&state.pool, owner, peer).await?;
    Ok(row.is_some_and(|row| row.profile.is_none()))
}

async fn store_new(
    state: &AppState,
    agent: &Agent,
    keeper: &Keeper,
    row: &PairRow,
) -> Result<(), PluginError> {
    let _leave = keeper.leave(change::now()).await?;
    let (owner, most) = (keeper.owner, agent.config().max_pairs_per_user);
    let mut tx = state.pool.begin().await?;
    if !store::hand_over(&mut tx, &owner, row, most).await? {
        return Err(PluginError::Refused {
            code: "too_many_pairs",
            detail: "the agent keeps as many books for you as it may".to_owned(),
        });
    }
    store::look_at_advert(&mut tx, &owner, &row.peer).await?;
    let tags = agreements(keeper, &row.peer, row.profile.as_deref())?;
    let bytes: Vec<[u8; 32]> = tags.iter().map(|a| *a.tag().as_bytes()).collect();
    store::put_profile(&mut tx, &owner, &row.peer, None, &bytes).await?;
    let pair = store::parse_pair(&row.body)?;
    let open = change::hanging_rows(&pair);
    store::change_promises(&mut tx, &owner, &open, &[]).await?;
    tx.commit().await?;
    agent.set_tags(&owner, &row.peer, tags);
    let ious = open.iter().map(|row| row.iou).collect();
    agent.look_at_logs((owner, row.peer), &ious);
    Ok(())
}

/// Tells the peer who keeps the books now, until they have acknowledged it. What the keeper before took and gave up, the agent says anew:
/// the peer may hear of the new book first.
async fn introduce(
    state: &AppState,
    keeper: &std::sync::Arc<Keeper>,
    peer: UserKey,
) -> Result<(), PluginError> {
    let mut change = Change::begin(state, keeper, &BTreeSet::from([peer])).await?;
    let Some(loaded) = change.pair(&peer) else {
        return Err(pair_unknown());
    };
    if loaded.pair.own().book_ack().is_some() {
        return Ok(());
    }
    let before: BTreeSet<String> = loaded.pair.file_records().own.into_iter().collect();
    let now = change.now;
    let (loaded, pen) = change.pair_mut(&peer)?;
    let renewed = loaded.pair.renew_acks(pen, now);
    renewed.map_err(|error| refused(&error))?;
    for jws in loaded.pair.file_records().own {
        if before.contains(&jws) {
            change.send_text(peer, jws);
        } else {
            change.send(
                peer,
                &AnyRecord::decode(&jws).map_err(|error| refused(&error))?,
            );
        }
    }
    change.commit().await
}

/// Books that the agent keeps, as they stand.
#[utoipa::path(get, path = "/v0/me/agent/peers/{peer}", tag = "agent", security(("session" = [])),
    params(("peer" = String, Path, description = "Towards whom, z-base-32")),
    responses(
        (status = 200, body = PairView),
        (status = 304, description = "Not modified"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`pair_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn read(
    State(state): State<AppState>,
    headers: HeaderMap,
    UserPath(peer): UserPath,
    caller: Caller,
) -> Result<Response, PluginError> {
    let row = store::pair(&state.pool, &caller.user, &peer).await?;
    let row = row.ok_or_else(pair_unknown)?;
    etag::respond(&headers, &view(&state, &caller.user, row).await?)
}

/// A promise, as the books have it.
#[derive(Debug, Serialize, ToSchema)]
pub struct PromiseView {
    /// Whether it is yours; else it is the peer's.
    given: bool,
    /// `undecided`, `due`, `merged`, `released`, `expired`.
    standing: String,
    /// Whether its holder has said that it arrived.
    acknowledged: bool,
    /// The promise in compact form.
    promise: String,
    /// The holder's release.
    release: Option<String>,
    /// What shows that it is due.
    publication: Option<String>,
}

/// A promise that the books still hold.
#[utoipa::path(get, path = "/v0/me/agent/peers/{peer}/promises/{iou}", tag = "agent", security(("session" = [])),
    params(("peer" = String, Path, description = "Between you and whom, z-base-32"), ("iou" = String, Path, description = "The promise's hash")),
    responses(
        (status = 200, body = PromiseView),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`user_malformed`, `hash_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`pair_unknown`, `promise_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn promise(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path((peer, iou)): Path<(String, String)>,
    caller: Caller,
) -> Result<Response, PluginError> {
    let peer = super::peer_of(&peer)?;
    let iou: RecordHash = iou
        .parse()
        .map_err(|error: atomicity_ledger::LedgerError| bad("hash_malformed", error.to_string()))?;
    let row = store::pair(&state.pool, &caller.user, &peer).await?;
    let pair = store::parse_pair(&row.ok_or_else(pair_unknown)?.body)?;
    let given = pair.promise_given(iou);
    let promise = given.or_else(|| pair.promise_held(iou));
    let promise = promise.ok_or(PluginError::NotFound {
        code: "promise_unknown",
        detail: "the books hold no such promise, or no longer",
    })?;
    let standing = match promise.standing() {
        Standing::Undecided => "undecided",
        Standing::Due => "due",
        Standing::Merged => "merged",
        Standing::Released => "released",
        Standing::Expired => "expired",
    };
    let view = PromiseView {
        given: given.is_some(),
        standing: standing.to_owned(),
        acknowledged: promise.is_acknowledged(),
        promise: promise.iou().jws().to_owned(),
        release: promise.release().map(|r| r.jws().to_owned()),
        publication: promise.publication().map(|p| p.jws().to_owned()),
    };
    etag::respond(&headers, &view)
}

/// Takes books back: the agent signs a book of the next epoch for your key, stops keeping them, and answers with them. Repeating it does
/// no harm.
#[utoipa::path(post, path = "/v0/me/agent/peers/{peer}/return", tag = "agent", security(("session" = [])), request_body = Return,
    params(("peer" = String, Path, description = "Towards whom, z-base-32")),
    responses(
        (status = 200, body = PairView),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`pair_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`agent_stopped`, `books_restored`, `returned_already`, `invoice_busy`, and what the rules of the books say", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn give_back(
    State(state): State<AppState>,
    UserPath(peer): UserPath,
    caller: Caller,
    JsonBody(request): JsonBody<Return>,
) -> Result<Json<PairView>, PluginError> {
    let agent = agent(&state)?;
    let owner = caller.user;
    let row = store::pair(&state.pool, &owner, &peer).await?;
    let mut row = row.ok_or_else(pair_unknown)?;
    if row.status == "restored" {
        return Err(books_restored());
    }
    if row.status == "kept" {
        sign_back(&state, &owner, peer, &request).await?;
        agent.set_tags(&owner, &peer, Vec::new());
        let again = store::pair(&state.pool, &owner, &peer).await?;
        row = again.ok_or_else(pair_unknown)?;
    }
    if row.returned_to.as_deref() != Some(request.key.as_bytes().as_slice()) {
        return Err(PluginError::Refused {
            code: "returned_already",
            detail: "these books were returned to another key".to_owned(),
        });
    }
    Ok(Json(view(&state, &owner, row).await?))
}

async fn sign_back(
    state: &AppState,
    owner: &UserKey,
    peer: UserKey,
    request: &Return,
) -> Result<(), PluginError> {
    let keeper = agent(state)?.keeper(owner).ok_or_else(stopped)?;
    let mut change = Change::begin(state, &keeper, &BTreeSet::from([peer])).await?;
    if change.pair(&peer).is_none() {
        // Somebody else was faster; what they did is looked at next.
        return Ok(());
    }
    // Who can't see the books can't say what became of a secret that a log may have.
    if store::is_collecting(change.tx(), owner, &peer).await? {
        return Err(PluginError::Refused {
            code: "invoice_busy",
            detail:
                "what this peer promised is collected for an invoice: it is decided in a moment"
                    .to_owned(),
        });
    }
    let now = change.now;
    let (loaded, pen) = change.pair_mut(&peer)?;
    let in_force = loaded
        .pair
        .own()
        .book()
        .map(|book| book.record().cap.clone());
    let same = in_force.unwrap_or_default().into_iter();
    let caps = match &request.caps {
        Some(caps) => caps.clone(),
        None => same.map(|cap| (cap.unit, cap.debt)).collect(),
    };
    let book = NewBook {
        key: request.key,
        caps,
        continues: true,
        at_least: Epoch::ZERO,
    };
    let book = loaded
        .pair
        .open_book(book, pen, now)
        .map_err(|error| refused(&error))?;
    change.send(peer, &AnyRecord::from(book));
    let key = *request.key.as_bytes();
    store::set_returned(change.tx(), owner, &peer, &key).await?;
    let at = i64::try_from(now.millis()).unwrap_or(i64::MAX);
    let ended = store::end_approvals_of(change.tx(), owner, &peer, "books_returned", at).await?;
    for request in ended {
        change.tell_of_approval(peer, &request, "books_returned");
    }
    change.tell(peer, "returned", serde_json::json!({"key": request.key}));
    change.commit().await
}

//! What the keys of payment accounts ask for: no session is needed, the record says who asks.

use std::collections::BTreeSet;

use atomicity_ledger::account::{MAX_PASS_LIFE_MS, day_of};
use atomicity_ledger::pair::PaymentNote;
use atomicity_ledger::record::{Pass, Spend, SpendTo};
use atomicity_ledger::{RecordHash, RecordId, Signed, SignerKey, Total, UserKey};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::super::accounts::{self, ensure_active, freshen, judged, unknown};
use super::super::change::{Change, now};
use super::super::issue::{Spending, sign};
use super::super::keeper::stopped;
use super::super::store::{self, AccountRow, SpendRow};
use super::accounts::{AccountView, view as account_view};
use super::{agent, bad, peer_of, refused};
use crate::clock;
use crate::error::PluginError;
use crate::http::etag;
use crate::http::extract::{JsonBody, UserPath};
use crate::problem::Problem;
use crate::state::AppState;

/// Most spends of one account that wait for the user's wallet.
const MOST_OPEN: i64 = 100;
/// The scheme of the header that bears a pass.
const SCHEME: &str = "atomicity";

/// What an account asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SpendRequest {
    /// An `atomicity-spend` in compact form, signed by the account's key.
    spend: String,
}

/// A spend, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpendView {
    /// Its name.
    id: String,
    /// The account's key.
    account: String,
    /// `waiting` for the user's wallet, `paying`, `unknown`, `paid`, `failed`.
    state: String,
    /// Why it failed: a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// In what.
    unit: String,
    /// What is to arrive, in minor units; of a place outside what it counts for.
    amount: String,
    /// What it cost beyond that, in minor units.
    fee: String,
    /// Whether the agent signed it at once; else the user's wallet pays.
    direct: bool,
    /// What shows that it was paid: `{"record": <hash of the payment>}`, `{"preimage": …}` or `{"proof": …}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    receipt: Option<Box<RawValue>>,
    /// When it was taken, Unix milliseconds.
    at: i64,
    /// From then on nobody begins to pay.
    expires: i64,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<i64>,
}

/// A spend as it is shown.
pub fn view(row: &SpendRow) -> Result<SpendView, PluginError> {
    // Nobody takes it up any more, also if nobody has noted that yet.
    let late = row.state == "waiting" && row.expires <= clock::now_ms();
    let receipt = row.receipt.clone().map(RawValue::from_string).transpose();
    Ok(SpendView {
        id: row.id.clone(),
        account: row.key.to_string(),
        state: if late {
            "failed".to_owned()
        } else {
            row.state.clone()
        },
        reason: if late {
            Some("spend_expired".to_owned())
        } else {
            row.reason.clone()
        },
        unit: row.unit.clone(),
        amount: row.amount.to_string(),
        fee: row.fee.to_string(),
        direct: row.direct,
        receipt: receipt.map_err(|error| PluginError::Internal(error.to_string()))?,
        at: row.at,
        expires: row.expires,
        ended_at: row.ended_at,
    })
}

/// This plugin's key.
fn own_key(state: &AppState) -> Result<UserKey, PluginError> {
    let key = state.keypair.public_key().z32();
    key.parse()
        .map_err(|error: atomicity_ledger::LedgerError| PluginError::Internal(error.to_string()))
}

fn minor(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A spend that was taken before under this name.
fn known(row: &SpendRow, spend: &Signed<Spend>) -> Result<Response, PluginError> {
    if row.record == spend.jws() {
        return Ok((StatusCode::OK, Json(view(row)?)).into_response());
    }
    Err(PluginError::Refused {
        code: "id_reused",
        detail: "another spend had this name".to_owned(),
    })
}

/// Asks the agent of a user to pay, with a record that the key of a payment account signed. What the agent can do by itself is signed
/// when this is answered; anything else waits for the user's wallet. The same again is answered as before.
#[utoipa::path(post, path = "/v0/accounts/{owner}/spends", tag = "accounts", request_body = SpendRequest,
    params(("owner" = String, Path, description = "Who is to pay, z-base-32")),
    responses(
        (status = 201, description = "Taken", body = SpendView),
        (status = 200, description = "It was taken before", body = SpendView),
        (status = 400, description = "`user_malformed`, `body_malformed`, `spend_malformed`, `spend_elsewhere`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`account_disabled`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`payment_account_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`agent_stopped`, `id_reused`, `key_revoked`, `account_restored`, `authority_expired`, `authority_not_yet_valid`, `unit_not_allowed`, `peer_not_allowed`, `target_not_allowed`, `spend_expired`, `spend_too_long`, `invoice_expired`, `account_day_limit_exceeded`, `account_limit_exceeded`, and what the rules of the books say (`limit_exceeded`, `day_limit_exceeded` …)", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`, `too_many_spends`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`revocation_unknown`, `database_unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn spend(
    State(state): State<AppState>,
    UserPath(owner): UserPath,
    JsonBody(body): JsonBody<SpendRequest>,
) -> Result<Response, PluginError> {
    let spend: Signed<Spend> =
        Signed::decode(&body.spend).map_err(|error| bad("spend_malformed", error.to_string()))?;
    if spend.record().owner != owner || spend.record().plugin != own_key(&state)? {
        return Err(bad(
            "spend_elsewhere",
            "it asks another user, or another plugin",
        ));
    }
    state.limits.spend(spend.kid().as_bytes())?;
    state.disabled.refuse(&owner)?;
    let id = spend.record().id.to_string();
    if let Some(row) = store::spend_of(&state.pool, &owner, &id).await? {
        return known(&row, &spend);
    }
    let row = store::account(&state.pool, &owner, &spend.kid()).await?;
    freshen(&state, agent(&state)?, owner, &row.ok_or_else(unknown)?).await?;
    take(&state, owner, spend).await
}

/// Counts and signs, or counts and hands over to the user's wallet, in one transaction.
async fn take(
    state: &AppState,
    owner: UserKey,
    spend: Signed<Spend>,
) -> Result<Response, PluginError> {
    let (record, key) = (spend.record(), spend.kid());
    let keeper = agent(state)?.keeper(&owner).ok_or_else(stopped)?;
    let peer = match &record.to {
        SpendTo::Peer(peer) => Some(*peer),
        _ => None,
    };
    let mut change =
        Change::begin(state, &keeper, &peer.into_iter().collect::<BTreeSet<_>>()).await?;
    let account = store::lock_account(change.tx(), &owner, &key).await?;
    let account = account.ok_or_else(unknown)?;
    let id = record.id.to_string();
    if let Some(row) = store::locked_spend(change.tx(), &owner, &id).await? {
        return known(&row, &spend);
    }
    ensure_active(&account)?;
    let terms = judged(owner, &account, &spend, change.now)?;
    accounts::expire(change.tx(), &owner, &key).await?;
    let direct = peer.filter(|peer| change.pair(peer).is_some());
    if let Some(peer) = peer.filter(|_| direct.is_none())
        && store::is_restored(change.tx(), &owner, &peer).await?
    {
        change.require(&peer).await?;
    }
    let cost = match direct {
        Some(_) => Total::from_minor(record.amount.minor()).map_err(|error| refused(&error))?,
        None => record.cost().map_err(|error| refused(&error))?,
    };
    let day = minor(day_of(change.now)).max(account.day);
    let account = store::lock_account(change.tx(), &owner, &key).await?;
    let account = account.ok_or_else(unknown)?;
    let fits = terms.fits(cost, account.used(day));
    fits.map_err(|fault| accounts::refused(&fault))?;
    let mut row = row_of(
        &spend,
        minor(change.now.millis()),
        (day, minor(cost.minor())),
    );
    if let Some(payee) = record.payee() {
        change.note_spend(payee, &spend);
    }
    if let Some(peer) = direct {
        let paid = pay(&mut change, peer, record.id, &spend).await?;
        row.direct = true;
        row.state = "paid".to_owned();
        row.receipt = Some(serde_json::json!({ "record": paid }).to_string());
        row.ended_at = Some(row.at);
    } else if store::open_spends(change.tx(), &owner, &key).await? >= MOST_OPEN {
        return Err(PluginError::TooMany {
            code: "too_many_spends",
            detail: "as many spends of this account wait for the user's wallet as may",
            retry_after: std::time::Duration::from_secs(60),
        });
    }
    store::count_spent(change.tx(), &owner, &key, (day, row.cost)).await?;
    if !store::add_spend(change.tx(), &owner, &row, spend.hash().as_bytes()).await? {
        // Another account of the user took the name at the same time.
        return Err(PluginError::Refused {
            code: "id_reused",
            detail: "another spend had this name".to_owned(),
        });
    }
    change.tell_of_spend(&account.name, &row);
    change.commit().await?;
    Ok((StatusCode::CREATED, Json(view(&row)?)).into_response())
}

fn row_of(spend: &Signed<Spend>, at: i64, (day, cost): (i64, i64)) -> SpendRow {
    let record = spend.record();
    SpendRow {
        id: record.id.to_string(),
        key: spend.kid(),
        at,
        day,
        record: spend.jws().to_owned(),
        unit: record.unit.to_string(),
        amount: minor(record.amount.minor()),
        cost,
        expires: minor(record.expires.millis()),
        direct: false,
        state: "waiting".to_owned(),
        reason: None,
        fee: 0,
        receipt: None,
        ended_at: None,
    }
}

/// Pays a friend whose books are here. Returns the hash of the payment.
async fn pay(
    change: &mut Change,
    peer: UserKey,
    id: RecordId,
    spend: &Signed<Spend>,
) -> Result<RecordHash, PluginError> {
    let record = spend.record();
    let note = PaymentNote {
        id,
        reference: None,
        memo: record.memo.clone(),
    };
    let spending = Spending {
        peer,
        unit: record.unit.clone(),
        amount: record.amount,
    };
    let [state, payment] = sign(change, &spending, note).await?;
    let hash = payment.hash();
    change.send(peer, &state);
    change.send(peer, &payment);
    Ok(hash)
}

/// How far a spend is. Its name is known to nobody but the app and the user.
#[utoipa::path(get, path = "/v0/accounts/{owner}/spends/{id}", tag = "accounts",
    params(("owner" = String, Path, description = "Who is to pay, z-base-32"), ("id" = String, Path, description = "The spend's name")),
    responses(
        (status = 200, body = SpendView),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`user_malformed`, `id_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`account_disabled`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`spend_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn one(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path((owner, id)): Path<(String, String)>,
) -> Result<Response, PluginError> {
    let owner = peer_of(&owner)?;
    state.disabled.refuse(&owner)?;
    let id: RecordId = id
        .parse()
        .map_err(|error: atomicity_ledger::LedgerError| bad("id_malformed", error.to_string()))?;
    let row = store::spend_of(&state.pool, &owner, &id.to_string()).await?;
    let row = row.ok_or_else(spend_unknown)?;
    etag::respond(&headers, &view(&row)?)
}

/// There is no such spend.
pub fn spend_unknown() -> PluginError {
    PluginError::NotFound {
        code: "spend_unknown",
        detail: "there is no spend of this name",
    }
}

/// Reads the pass that a request bears: `Authorization: Atomicity <atomicity-pass>`.
fn pass(state: &AppState, headers: &HeaderMap, owner: UserKey) -> Result<SignerKey, PluginError> {
    let refuse = |detail| PluginError::Unauthorized {
        code: "pass_invalid",
        detail,
    };
    let value = headers.get(header::AUTHORIZATION);
    let text = value
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME))
        .ok_or_else(|| refuse("send an `atomicity-pass` as `Authorization: Atomicity …`"))?;
    let pass: Signed<Pass> =
        Signed::decode(text.1.trim()).map_err(|_| refuse("the pass can't be read"))?;
    let (record, now) = (pass.record(), now());
    if record.owner != owner || record.plugin != own_key(state)? {
        return Err(refuse("the pass is for another user, or another plugin"));
    }
    if now >= record.expires || record.expires > now.plus_millis(MAX_PASS_LIFE_MS) {
        return Err(refuse(
            "the pass has ended, or ends more than five minutes from now",
        ));
    }
    Ok(pass.kid())
}

/// How a payment account stands, and what is left of it. For whoever has its key: `Authorization: Atomicity <atomicity-pass>`.
#[utoipa::path(get, path = "/v0/accounts/{owner}/{key}", tag = "accounts", security(("pass" = [])),
    params(("owner" = String, Path, description = "Who is to pay, z-base-32"), ("key" = String, Path, description = "The account's key, z-base-32")),
    responses(
        (status = 200, body = AccountView),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`user_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`pass_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`account_disabled`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`payment_account_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn account(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path((owner, key)): Path<(String, String)>,
) -> Result<Response, PluginError> {
    let owner = peer_of(&owner)?;
    state.disabled.refuse(&owner)?;
    let asks = pass(&state, &headers, owner)?;
    if asks.to_string() != key {
        return Err(PluginError::Unauthorized {
            code: "pass_invalid",
            detail: "the pass is of another key",
        });
    }
    let mut tx = state.pool.begin().await?;
    let row = store::lock_account(&mut tx, &owner, &asks).await?;
    let row: AccountRow = row.ok_or_else(unknown)?;
    accounts::expire(&mut tx, &owner, &asks).await?;
    let row = store::lock_account(&mut tx, &owner, &asks)
        .await?
        .unwrap_or(row);
    tx.commit().await?;
    let mut shown = account_view(owner, &row)?;
    // What the user calls it is the user's.
    shown.name = None;
    etag::respond(&headers, &shown)
}

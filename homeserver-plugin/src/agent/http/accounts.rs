//! The user's own view of payment accounts: making them known, ending them, seeing what was spent, saying what became of a spend.

use atomicity_ledger::account::{AccountTerms, day_of};
use atomicity_ledger::record::Delegation;
use atomicity_ledger::text::RailProof;
use atomicity_ledger::{Name, Preimage, RecordHash, Signed, SignerKey, UserKey};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::accounts::{self, ensure_active, unknown};
use super::super::change::{Change, now};
use super::super::keeper::stopped;
use super::super::store::{self, AccountRow, SpendRow, Wanted};
use super::spends::{SpendView, spend_unknown, view as spend_view};
use super::{agent, bad, refused};
use crate::auth::Caller;
use crate::clock;
use crate::error::PluginError;
use crate::http::etag;
use crate::http::extract::{JsonBody, QueryParams, TextPath};
use crate::problem::Problem;
use crate::state::AppState;

/// Most accounts of one user, with those that have ended.
const MOST_ACCOUNTS: i64 = 1_000;
/// Items in one page.
const PAGE: i64 = 100;

/// What the wallet says of an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountRequest {
    /// The root's `atomicity-delegation` for the key: scope `request` (and `rails` for places outside), one unit; `per_peer` is the most in all.
    delegation: String,
    /// What you call it.
    #[schema(value_type = String, max_length = 64)]
    name: Name,
}

/// A payment account.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountView {
    /// Its key.
    pub(crate) account: String,
    /// What its user calls it; only the user is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// `active`, `revoked`, `restored` (the plugin lost count: it needs a new key).
    pub(crate) state: String,
    /// In what.
    pub(crate) unit: String,
    /// The most on one day (UTC), in minor units; only the sum of all counts if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) per_day: Option<String>,
    /// The most in all.
    pub(crate) total: String,
    /// What was spent in all, with what is reserved.
    pub(crate) spent: String,
    /// What can still be spent today.
    pub(crate) left_today: String,
    /// What can still be spent in all.
    pub(crate) left: String,
    /// Whom it may pay; anybody if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peers: Option<Vec<String>>,
    /// Whether the user's wallet also pays places outside for it, by its rails.
    pub(crate) rails: bool,
    /// From when, Unix milliseconds.
    pub(crate) from: u64,
    /// Until when.
    pub(crate) until: u64,
}

/// A page of accounts.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountPage {
    /// By their keys.
    items: Vec<AccountView>,
    /// Ask with this as `after` for more; null at the end.
    next: Option<String>,
}

/// Which accounts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccountsQuery {
    /// Only accounts after this key.
    after: Option<String>,
}

/// Which spends.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SpendsQuery {
    /// Only of this account.
    account: Option<String>,
    /// Only those that have not ended.
    #[serde(default)]
    open: bool,
    /// The last id of the page before.
    after: Option<String>,
    /// How many: 1 to 100.
    limit: Option<i64>,
}

/// A spend with what its account signed.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpendItem {
    /// How far it is.
    #[serde(flatten)]
    spend: SpendView,
    /// The `atomicity-spend` in compact form.
    record: String,
}

/// A page of spends.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpendPage {
    /// Newest first.
    items: Vec<SpendItem>,
    /// Ask with this as `after` for more; null at the end.
    next: Option<String>,
}

/// What became of a spend.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpendOutcome {
    /// It is taken up: what is reserved for it stays so until it is known what became of it.
    Paying,
    /// Nobody knows at present.
    Unknown,
    /// It was paid.
    Paid,
    /// It was not paid, and will not be.
    Failed,
}

/// What shows that something was paid.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpendReceipt {
    /// The preimage of the invoice's hash.
    #[schema(value_type = String)]
    Preimage(Preimage),
    /// The hash of the payment.
    #[schema(value_type = String)]
    Record(RecordHash),
    /// What another rail has.
    #[schema(value_type = String)]
    Proof(RailProof),
}

/// What the wallet says of a spend.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SpendReport {
    /// What became of it.
    state: SpendOutcome,
    /// What it cost beyond the amount, in minor units, if it was paid.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    fee: Option<atomicity_ledger::Total>,
    /// What shows it, if it was paid.
    #[serde(default)]
    receipt: Option<SpendReceipt>,
    /// Why it failed: a code.
    #[serde(default)]
    reason: Option<String>,
}

/// An account as it is shown.
pub fn view(owner: UserKey, row: &AccountRow) -> Result<AccountView, PluginError> {
    let now = now();
    let internal = |text: String| PluginError::Internal(text);
    let known = accounts::credentials(owner, row, now).map_err(|e| internal(e.to_string()))?;
    let word = known.delegation(row.key);
    let word: &Delegation = word.ok_or_else(|| internal("an account without a word".to_owned()))?;
    let terms = AccountTerms::of(word).map_err(|e| internal(e.to_string()))?;
    let today = i64::try_from(day_of(now)).unwrap_or(i64::MAX).max(row.day);
    let (left_today, left) = terms.left(row.used(today));
    Ok(AccountView {
        account: row.key.to_string(),
        name: Some(row.name.clone()),
        state: row.status.clone(),
        unit: terms.unit.to_string(),
        per_day: terms.per_day.map(|most| most.minor().to_string()),
        total: terms.in_all.minor().to_string(),
        spent: row.spent.to_string(),
        left_today: left_today.to_string(),
        left: left.to_string(),
        peers: word
            .peers
            .as_ref()
            .map(|peers| peers.iter().map(ToString::to_string).collect()),
        rails: terms.rails,
        from: word.not_before.millis(),
        until: word.not_after.millis(),
    })
}

fn key_of(text: &str) -> Result<SignerKey, PluginError> {
    text.parse()
        .map_err(|error: atomicity_ledger::LedgerError| bad("key_malformed", error.to_string()))
}

/// Makes a payment account known, or changes its name and terms; what was spent stays counted. A key that was revoked does not come
/// back.
#[utoipa::path(put, path = "/v0/me/agent/accounts/{key}", tag = "agent", security(("session" = [])), request_body = AccountRequest,
    params(("key" = String, Path, description = "The account's key, z-base-32")),
    responses(
        (status = 200, body = AccountView),
        (status = 400, description = "`key_malformed`, `delegation_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`agent_stopped`, `key_revoked`, `account_restored`, `authority_expired`, `not_an_account`, `delegation_older`, `unit_not_allowed`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_accounts`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn put(
    State(state): State<AppState>,
    TextPath(key): TextPath,
    caller: Caller,
    JsonBody(body): JsonBody<AccountRequest>,
) -> Result<Json<AccountView>, PluginError> {
    let key = key_of(&key)?;
    let malformed = |detail: String| bad("delegation_malformed", detail);
    let word: Signed<Delegation> =
        Signed::decode(&body.delegation).map_err(|error| malformed(error.to_string()))?;
    let record = word.record();
    if record.root != caller.user || record.key != key || !word.kid().is_root_of(&caller.user) {
        return Err(malformed(
            "it is no word of your root for this key".to_owned(),
        ));
    }
    let terms = AccountTerms::of(record).map_err(|fault| accounts::refused(&fault))?;
    if now() >= record.not_after {
        return Err(refused(&atomicity_ledger::LedgerError::AuthorityExpired {
            key,
        }));
    }
    agent(&state)?.keeper(&caller.user).ok_or_else(stopped)?;
    let mut tx = state.pool.begin().await?;
    if let Some(row) = store::lock_account(&mut tx, &caller.user, &key).await? {
        ensure_active(&row)?;
        let before = accounts::credentials(caller.user, &row, now());
        let before = before.ok().and_then(|known| known.delegation(key).cloned());
        if let Some(before) = before {
            if before.serial > record.serial {
                return Err(PluginError::Refused {
                    code: "delegation_older",
                    detail: "a later word of your root is known here".to_owned(),
                });
            }
            if AccountTerms::of(&before).is_ok_and(|before| before.unit != terms.unit) {
                return Err(PluginError::Refused {
                    code: "unit_not_allowed",
                    detail: "what was spent is counted in another unit: make another account"
                        .to_owned(),
                });
            }
        }
    }
    let what = (&key, body.name.as_str(), word.jws());
    let kept = store::put_account(
        &mut tx,
        &caller.user,
        what,
        (clock::now_ms(), MOST_ACCOUNTS),
    );
    if !kept.await? {
        return Err(PluginError::TooMany {
            code: "too_many_accounts",
            detail: "the agent knows as many accounts of yours as it may",
            retry_after: std::time::Duration::from_secs(3_600),
        });
    }
    tx.commit().await?;
    let row = store::account(&state.pool, &caller.user, &key).await?;
    Ok(Json(view(caller.user, &row.ok_or_else(unknown)?)?))
}

/// Ends a payment account for good: when this is answered, nothing more is signed for it. Repeating it does no harm.
#[utoipa::path(delete, path = "/v0/me/agent/accounts/{key}", tag = "agent", security(("session" = [])),
    params(("key" = String, Path, description = "The account's key, z-base-32")),
    responses(
        (status = 200, body = AccountView),
        (status = 400, description = "`key_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`payment_account_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn revoke(
    State(state): State<AppState>,
    TextPath(key): TextPath,
    caller: Caller,
) -> Result<Json<AccountView>, PluginError> {
    let key = key_of(&key)?;
    store::revoke_account(&state.pool, &caller.user, &key).await?;
    let row = store::account(&state.pool, &caller.user, &key).await?;
    Ok(Json(view(caller.user, &row.ok_or_else(unknown)?)?))
}

/// Your payment accounts, and what is left of each.
#[utoipa::path(get, path = "/v0/me/agent/accounts", tag = "agent", security(("session" = [])), params(AccountsQuery),
    responses(
        (status = 200, body = AccountPage),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`key_malformed`, `query_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn list(
    State(state): State<AppState>,
    headers: HeaderMap,
    QueryParams(query): QueryParams<AccountsQuery>,
    caller: Caller,
) -> Result<Response, PluginError> {
    let after = query.after.as_deref().map(key_of).transpose()?;
    let after = after.map_or(Vec::new(), |key| key.as_bytes().to_vec());
    let mut rows = store::list_accounts(&state.pool, &caller.user, &after, PAGE + 1).await?;
    let more = i64::try_from(rows.len()).is_ok_and(|len| len > PAGE);
    rows.truncate(usize::try_from(PAGE).unwrap_or(usize::MAX));
    let next = rows
        .last()
        .filter(|_| more)
        .map(|last| last.key.to_string());
    let items = rows.iter().map(|row| view(caller.user, row));
    let items = items.collect::<Result<_, _>>()?;
    etag::respond(&headers, &AccountPage { items, next })
}

/// What your payment accounts asked for.
#[utoipa::path(get, path = "/v0/me/agent/spends", tag = "agent", security(("session" = [])), params(SpendsQuery),
    responses(
        (status = 200, body = SpendPage),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`key_malformed`, `limit_invalid`, `query_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn spends(
    State(state): State<AppState>,
    headers: HeaderMap,
    QueryParams(query): QueryParams<SpendsQuery>,
    caller: Caller,
) -> Result<Response, PluginError> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&limit) {
        return Err(bad("limit_invalid", format!("limit must be 1 to {PAGE}")));
    }
    let key = query.account.as_deref().map(key_of).transpose()?;
    let wanted = Wanted {
        key: key.as_ref(),
        open: query.open,
        after: query.after.as_deref(),
    };
    let mut rows = store::list_spends(&state.pool, &caller.user, wanted, limit + 1).await?;
    let more = i64::try_from(rows.len()).is_ok_and(|len| len > limit);
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| more).map(|last| last.id.clone());
    let items = rows.into_iter().map(|row| {
        Ok(SpendItem {
            spend: spend_view(&row)?,
            record: row.record,
        })
    });
    let items = items.collect::<Result<_, PluginError>>()?;
    etag::respond(&headers, &SpendPage { items, next })
}

/// What became of a spend that your wallet pays. What was reserved beyond what it has cost is given back. Repeating it does no harm.
#[utoipa::path(put, path = "/v0/me/agent/spends/{id}", tag = "agent", security(("session" = [])), request_body = SpendReport,
    params(("id" = String, Path, description = "The spend's name")),
    responses(
        (status = 200, body = SpendView),
        (status = 400, description = "`report_invalid`, `id_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`spend_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`agent_stopped`, `spend_ended`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn report(
    State(state): State<AppState>,
    TextPath(id): TextPath,
    caller: Caller,
    JsonBody(body): JsonBody<SpendReport>,
) -> Result<Json<SpendView>, PluginError> {
    let owner = caller.user;
    let found = store::spend_of(&state.pool, &owner, &id).await?;
    let key = found.ok_or_else(spend_unknown)?.key;
    let keeper = agent(&state)?.keeper(&owner).ok_or_else(stopped)?;
    let mut change = Change::begin(&state, &keeper, &std::collections::BTreeSet::new()).await?;
    let account = store::lock_account(change.tx(), &owner, &key).await?;
    let account = account.ok_or_else(unknown)?;
    accounts::expire(change.tx(), &owner, &key).await?;
    let row = store::locked_spend(change.tx(), &owner, &id).await?;
    let row = row.ok_or_else(spend_unknown)?;
    let next = outcome(&row, &body)?;
    if next.state == row.state {
        return Ok(Json(spend_view(&row)?));
    }
    let spare = row.cost.saturating_sub(next.cost);
    if spare > 0 {
        store::give_back(change.tx(), &owner, &key, (row.day, spare)).await?;
    }
    store::put_spend(change.tx(), &owner, &next).await?;
    change.tell_of_spend(&account.name, &next);
    change.commit().await?;
    Ok(Json(spend_view(&next)?))
}

/// The spend after what the wallet says of it.
fn outcome(row: &SpendRow, report: &SpendReport) -> Result<SpendRow, PluginError> {
    let mut next = row.clone();
    next.state = match report.state {
        SpendOutcome::Paying => "paying",
        SpendOutcome::Unknown => "unknown",
        SpendOutcome::Paid => "paid",
        SpendOutcome::Failed => "failed",
    }
    .to_owned();
    if next.state == row.state {
        return Ok(next);
    }
    if row.ended_at.is_some() || (row.state == "unknown" && next.state == "paying") {
        return Err(PluginError::Refused {
            code: "spend_ended",
            detail: format!("it is {} already", row.state),
        });
    }
    match report.state {
        SpendOutcome::Paying | SpendOutcome::Unknown => {}
        SpendOutcome::Paid => {
            let fee = report.fee.map_or(0, |fee| fee.minor());
            let fee = i64::try_from(fee).unwrap_or(i64::MAX);
            let most = row.cost.saturating_sub(row.amount);
            if fee > most {
                return Err(bad("report_invalid", "it may not have cost as much"));
            }
            next.fee = fee;
            next.cost = row.amount.saturating_add(fee);
            let receipt = report.receipt.as_ref().map(store::text);
            next.receipt = receipt.transpose()?;
            next.ended_at = Some(clock::now_ms());
        }
        SpendOutcome::Failed => {
            let reason = report.reason.as_deref().unwrap_or("failed");
            let named =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if reason.is_empty() || reason.len() > 64 || !reason.bytes().all(named) {
                return Err(bad("report_invalid", "the reason is no code"));
            }
            next.reason = Some(reason.to_owned());
            next.cost = 0;
            next.ended_at = Some(clock::now_ms());
        }
    }
    Ok(next)
}

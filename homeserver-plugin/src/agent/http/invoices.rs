//! Invoices that the agent looks after.

use std::collections::BTreeSet;

use atomicity_ledger::authority::Purpose;
use atomicity_ledger::hop::{Bill, Collection, CollectionStage};
use atomicity_ledger::jws::Version;
use atomicity_ledger::link::Link;
use atomicity_ledger::record::{Hint, Invoice, InvoiceLog};
use atomicity_ledger::{
    Amount, AnyRecord, Memo, Preimage, RecordId, Signed, Timestamp, Total, Unit, UserKey,
};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::{IntoParams, ToSchema};
use zeroize::Zeroizing;

use super::super::change::{self, Change};
use super::super::collect::MIN_LEFT_MS;
use super::super::keeper::{Keeper, stopped};
use super::super::store::{self, InvoiceRow};
use super::super::{Agent, keys};
use super::{agent, bad, refused};
use crate::auth::Caller;
use crate::clock;
use crate::error::PluginError;
use crate::http::etag;
use crate::http::extract::{JsonBody, QueryParams, TextPath};
use crate::inbox::envelope::read_32;
use crate::problem::Problem;
use crate::state::AppState;

/// Most invoices of one user that are open.
const MOST_OPEN: i64 = 1_000;
/// The longest that an invoice stands.
const LONGEST_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// Invoices in one page, if nothing is said and at most.
const PAGE: i64 = 100;
/// Most logs in one invoice.
const MAX_LOGS: usize = 4;

/// What to ask for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvoiceRequest {
    /// Sixteen random bytes in base64url: the invoice's name.
    #[schema(value_type = String, min_length = 22, max_length = 22)]
    id: RecordId,
    /// In what.
    #[schema(value_type = String)]
    unit: Unit,
    /// How much, in minor units; the payer chooses if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    amount: Option<Amount>,
    /// From then on nothing is taken, Unix milliseconds; at most 30 days from now.
    #[schema(value_type = u64)]
    expires: Timestamp,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    memo: Option<Memo>,
    /// Friends whose promises to you need not be published: at most 4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hints: Vec<HintBody>,
}

impl InvoiceRequest {
    /// Without hints.
    pub(crate) fn simple(
        id: RecordId,
        (unit, amount): (Unit, Option<Amount>),
        expires: Timestamp,
        memo: Option<Memo>,
    ) -> Self {
        Self {
            id,
            unit,
            amount,
            expires,
            memo,
            hints: Vec::new(),
        }
    }
}

/// A last hop.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HintBody {
    /// The friend.
    #[schema(value_type = String)]
    peer: UserKey,
    /// The most that can come this way, in minor units.
    #[schema(value_type = String)]
    capacity: Amount,
    /// The fixed part of their fee.
    #[schema(value_type = String)]
    base: Total,
    /// The part that grows with the amount, in millionths.
    ppm: u32,
}

/// An invoice that you have signed yourself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvoiceHandOver {
    /// The invoice in compact form.
    invoice: String,
    /// Its secret: 32 bytes in base64url.
    #[schema(value_type = String)]
    preimage: Zeroizing<String>,
}

/// An invoice, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct InvoiceView {
    /// Its name.
    pub(crate) id: String,
    /// `open`, `publishing`, `paid`, `failed`, `expired`, `withdrawn`.
    pub(crate) state: String,
    /// In what.
    pub(crate) unit: String,
    /// How much, in minor units.
    pub(crate) amount: Option<String>,
    /// What has been promised for it, or was paid, in minor units.
    pub(crate) received: String,
    /// What payments of it hang on.
    pub(crate) hash: String,
    /// When it ends, Unix milliseconds.
    pub(crate) expires: u64,
    /// What it is for.
    pub(crate) memo: Option<String>,
    /// When it was made.
    pub(crate) created_at: i64,
    /// When it was paid, failed or was withdrawn.
    pub(crate) ended_at: Option<i64>,
    /// The record in compact form.
    pub(crate) invoice: String,
    /// The `atomicity:` link.
    pub(crate) link: String,
    /// What was published, once it is paid.
    pub(crate) preimage: Option<String>,
}

/// A page of invoices.
#[derive(Debug, Serialize, ToSchema)]
pub struct InvoicePage {
    /// Newest first.
    items: Vec<InvoiceView>,
    /// Ask with this as `after` for more; null at the end.
    next: Option<String>,
}

/// Which invoices.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct InvoicesQuery {
    /// The last id of the page before.
    after: Option<String>,
    /// How many: 1 to 100.
    limit: Option<i64>,
}

fn read(jws: &str) -> Result<Signed<Invoice>, PluginError> {
    Signed::decode(jws).map_err(|error| PluginError::Internal(error.to_string()))
}

/// An invoice as it is shown.
pub(crate) fn view(row: &InvoiceRow) -> Result<InvoiceView, PluginError> {
    let signed = read(&row.record)?;
    let invoice = signed.record();
    let state = match row.state() {
        "open" if invoice.has_expired(change::now()) => "expired",
        state => state,
    };
    let text = |value: &dyn std::fmt::Display| value.to_string();
    Ok(InvoiceView {
        id: row.id.clone(),
        state: state.to_owned(),
        unit: text(&invoice.unit),
        amount: invoice.amount.map(|amount| text(&amount.minor())),
        received: text(&row.received),
        hash: text(&invoice.hash),
        expires: invoice.expires.millis(),
        memo: invoice.memo.as_ref().map(|memo| memo.as_str().to_owned()),
        created_at: row.created_at,
        ended_at: row.ended_at,
        invoice: row.record.clone(),
        preimage: match row.collection.stage() {
            CollectionStage::Paid { preimage } => Some(String::from(*preimage)),
            _ => None,
        },
        link: Link::from(signed).to_string(),
    })
}

/// There is none of this name.
pub(crate) fn unknown() -> PluginError {
    PluginError::NotFound {
        code: "invoice_unknown",
        detail: "there is no invoice of this name",
    }
}

/// The logs on which a payment to this user can hang.
fn logs(state: &AppState, agent: &Agent, keeper: &Keeper) -> Result<Vec<InvoiceLog>, PluginError> {
    let usable = agent.logs().usable(state, &keeper.settings);
    let refused = |origin: &str| keeper.settings.logs_refused.iter().any(|no| no == origin);
    let mut logs: Vec<InvoiceLog> = usable
        .into_iter()
        .filter(|log| !refused(log.origin.as_str()))
        .collect();
    logs.sort_by(|a, b| a.origin.cmp(&b.origin));
    logs.dedup_by(|a, b| a.origin == b.origin);
    logs.truncate(MAX_LOGS);
    if logs.is_empty() {
        return Err(PluginError::Refused {
            code: "no_log",
            detail: "no log counts for you that this plugin can read now".to_owned(),
        });
    }
    Ok(logs)
}

/// What is new of an invoice.
struct New {
    signed: Signed<Invoice>,
    preimage: Preimage,
    digest: [u8; 32],
}

/// Stores an invoice, or finds it there.
async fn store_new(
    state: &AppState,
    keeper: &std::sync::Arc<Keeper>,
    new: New,
) -> Result<Json<InvoiceView>, PluginError> {
    let owner = keeper.owner;
    let invoice = new.signed.record();
    let hash = invoice.hash;
    let row = InvoiceRow {
        hash,
        id: invoice.id.to_string(),
        created_at: clock::now_ms(),
        digest: new.digest.to_vec(),
        record: new.signed.jws().to_owned(),
        sealed: keys::seal_secret(&state.keypair, owner, &hash, &new.preimage)?,
        collection: Collection::new(Bill::of(invoice, MIN_LEFT_MS)),
        withdrawn: false,
        received: 0,
        ended_at: None,
    };
    let mut change = Change::begin(state, keeper, &BTreeSet::new()).await?;
    if store::add_invoice(change.tx(), &owner, &row, MOST_OPEN).await? {
        change.note(owner, &AnyRecord::from(new.signed));
        change.tell_of_invoice(&row);
        change.commit().await?;
        return Ok(Json(view(&row)?));
    }
    drop(change);
    let known = store::invoice(&state.pool, &owner, &row.id).await?;
    match known {
        Some(known) if known.digest == row.digest => Ok(Json(view(&known)?)),
        Some(_) => Err(PluginError::Refused {
            code: "id_reused",
            detail: "another invoice has this name".to_owned(),
        }),
        None if store::invoice_of(&state.pool, &owner, &hash)
            .await?
            .is_some() =>
        {
            Err(PluginError::Refused {
                code: "hash_reused",
                detail: "another invoice has this secret".to_owned(),
            })
        }
        None => Err(PluginError::TooMany {
            code: "too_many_invoices",
            detail: "as many invoices are open as one user may have",
            retry_after: std::time::Duration::from_secs(60),
        }),
    }
}

/// Makes an invoice; the agent looks after it. The same again is answered as before.
#[utoipa::path(post, path = "/v0/me/agent/invoices", tag = "agent", security(("session" = [])), request_body = InvoiceRequest,
    responses(
        (status = 200, body = InvoiceView),
        (status = 400, description = "`expires_invalid`, `body_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`agent_stopped`, `id_reused`, `no_log`, `contradiction`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_invoices`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    JsonBody(body): JsonBody<InvoiceRequest>,
) -> Result<Json<InvoiceView>, PluginError> {
    let agent = agent(&state)?;
    let text =
        serde_json::to_vec(&body).map_err(|error| PluginError::Internal(error.to_string()))?;
    let digest: [u8; 32] = Sha256::digest(&text).into();
    let id = body.id.to_string();
    if let Some(known) = store::invoice(&state.pool, &caller.user, &id).await?
        && known.digest == digest
    {
        return Ok(Json(view(&known)?));
    }
    let keeper = agent.keeper(&caller.user).ok_or_else(stopped)?;
    let now = change::now();
    check_expiry(body.expires, now)?;
    let key = keeper.pen.signer_key();
    let judged = keeper.credentials.judge(key, Purpose::Receive, now);
    judged.map_err(|error| refused(&error))?;
    let preimage = Preimage::from_bytes(rand::random());
    let mut hints: Vec<Hint> = body
        .hints
        .into_iter()
        .map(|hint| Hint {
            peer: hint.peer,
            capacity: hint.capacity,
            base: hint.base,
            ppm: hint.ppm,
        })
        .collect();
    hints.sort_by_key(|hint| hint.peer);
    let logs = logs(&state, agent, &keeper)?;
    let invoice = Invoice {
        v: Version,
        id: body.id,
        payee: caller.user,
        unit: body.unit,
        amount: body.amount,
        hash: preimage.hash(),
        logs,
        logs_refused: Vec::new(),
        hints,
        expires: body.expires,
        memo: body.memo,
        at: now,
    };
    let signed = Signed::sign(invoice, &keeper.pen).map_err(|error| refused(&error))?;
    let new = New {
        signed,
        preimage,
        digest,
    };
    store_new(&state, &keeper, new).await
}

fn check_expiry(expires: Timestamp, now: Timestamp) -> Result<(), PluginError> {
    if expires > now && expires <= now.plus_millis(LONGEST_MS) {
        Ok(())
    } else {
        Err(bad(
            "expires_invalid",
            "expires must lie ahead, at most 30 days",
        ))
    }
}

/// Hands over an invoice that you have signed. From then on publish nothing for it yourself.
#[utoipa::path(put, path = "/v0/me/agent/invoices/{id}", tag = "agent", security(("session" = [])), request_body = InvoiceHandOver,
    params(("id" = String, Path, description = "The invoice's name")),
    responses(
        (status = 200, body = InvoiceView),
        (status = 400, description = "`invoice_malformed`, `envelope_malformed`, `expires_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`agent_stopped`, `id_reused`, `hash_reused`, `log_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_invoices`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn hand_over(
    State(state): State<AppState>,
    TextPath(id): TextPath,
    caller: Caller,
    JsonBody(body): JsonBody<InvoiceHandOver>,
) -> Result<Json<InvoiceView>, PluginError> {
    let agent = agent(&state)?;
    let keeper = agent.keeper(&caller.user).ok_or_else(stopped)?;
    let malformed = |detail: String| bad("invoice_malformed", detail);
    let signed: Signed<Invoice> =
        Signed::decode(&body.invoice).map_err(|error| malformed(error.to_string()))?;
    let invoice = signed.record();
    let bytes = Zeroizing::new(read_32("preimage", &body.preimage)?);
    let preimage = Preimage::from_bytes(*bytes);
    if invoice.payee != caller.user || invoice.id.to_string() != id {
        return Err(malformed("it is another invoice".to_owned()));
    }
    if preimage.hash() != invoice.hash {
        return Err(malformed("the secret does not fit to its hash".to_owned()));
    }
    let digest: [u8; 32] = Sha256::digest(&body.invoice).into();
    if let Some(known) = store::invoice(&state.pool, &caller.user, &id).await?
        && known.digest == digest
    {
        return Ok(Json(view(&known)?));
    }
    check_expiry(invoice.expires, change::now())?;
    let known = agent.logs().known(&state, &keeper.settings);
    let counts = |log: &InvoiceLog| {
        let found = known.get(&log.origin);
        found.is_some_and(|known| known.policies.contains(&log.policy_hash) && !known.refused)
    };
    if !invoice.logs.iter().all(counts) {
        return Err(PluginError::Refused {
            code: "log_unknown",
            detail: "it names a log that does not count for the agent".to_owned(),
        });
    }
    let new = New {
        signed,
        preimage,
        digest,
    };
    store_new(&state, &keeper, new).await
}

/// Your invoices, newest first.
#[utoipa::path(get, path = "/v0/me/agent/invoices", tag = "agent", security(("session" = [])), params(InvoicesQuery),
    responses(
        (status = 200, body = InvoicePage),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`limit_invalid`, `query_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn list(
    State(state): State<AppState>,
    headers: HeaderMap,
    QueryParams(query): QueryParams<InvoicesQuery>,
    caller: Caller,
) -> Result<Response, PluginError> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&limit) {
        return Err(bad("limit_invalid", format!("limit must be 1 to {PAGE}")));
    }
    let after = query.after.as_deref();
    let mut rows = store::list_invoices(&state.pool, &caller.user, after, limit + 1).await?;
    let more = i64::try_from(rows.len()).is_ok_and(|len| len > limit);
    if more {
        rows.pop();
    }
    let page = InvoicePage {
        next: rows.last().filter(|_| more).map(|last| last.id.clone()),
        items: rows.iter().map(view).collect::<Result<_, _>>()?,
    };
    etag::respond(&headers, &page)
}

/// One invoice.
#[utoipa::path(get, path = "/v0/me/agent/invoices/{id}", tag = "agent", security(("session" = [])),
    params(("id" = String, Path, description = "Its name")),
    responses(
        (status = 200, body = InvoiceView),
        (status = 304, description = "Not modified"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`invoice_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn one(
    State(state): State<AppState>,
    headers: HeaderMap,
    TextPath(id): TextPath,
    caller: Caller,
) -> Result<Response, PluginError> {
    let row = store::invoice(&state.pool, &caller.user, &id).await?;
    etag::respond(&headers, &view(&row.ok_or_else(unknown)?)?)
}

/// Withdraws an invoice: what has come for it is given back. Repeating it does no harm.
#[utoipa::path(delete, path = "/v0/me/agent/invoices/{id}", tag = "agent", security(("session" = [])),
    params(("id" = String, Path, description = "Its name")),
    responses(
        (status = 200, body = InvoiceView),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`invoice_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`invoice_busy`: it is being published, or is over", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn withdraw(
    State(state): State<AppState>,
    TextPath(id): TextPath,
    caller: Caller,
) -> Result<Json<InvoiceView>, PluginError> {
    let done = store::withdraw(&state.pool, &caller.user, &id, clock::now_ms()).await?;
    let row = store::invoice(&state.pool, &caller.user, &id).await?;
    let row = row.ok_or_else(unknown)?;
    if done {
        Ok(Json(view(&row)?))
    } else {
        Err(PluginError::Refused {
            code: "invoice_busy",
            detail: "it is being published, or is over".to_owned(),
        })
    }
}

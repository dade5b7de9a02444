//! `GET /v0/users/{user}/requests/{id}`: a public request to be paid and how far it is filled, from the payee's homeserver, verified here.

use std::sync::Arc;
use std::time::Duration;

use atomicity_ledger::authority::Purpose;
use atomicity_ledger::link::Link;
use atomicity_ledger::record::{
    Goal, PaymentRequest, Period, RequestState, request_path, request_state_path,
};
use atomicity_ledger::{Amount, MAX_RECORD_BYTES, RecordId, Signed, UserKey};
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Memory;
use super::profile::check_signer;
use crate::error::PluginError;
use crate::http::etag;
use crate::problem::Problem;
use crate::resolve::Fetched;
use crate::state::AppState;

/// How long an answer is served without asking the homeserver again: short, since people watch a bill being filled.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// How long it is served while the homeserver can't be asked.
const STALE_FOR: Duration = Duration::from_secs(24 * 3600);

/// A request and its state as they are kept: checked.
pub(crate) struct Kept {
    pub(crate) request: Signed<PaymentRequest>,
    pub(crate) state: Option<Signed<RequestState>>,
}

/// A verified request to be paid.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RequestAnswer {
    /// What it asks for.
    pub request: RequestView,
    /// How far it is, by the payee's word; absent if they have said nothing.
    pub state: Option<RequestStateView>,
    /// The `atomicity:` link that a wallet opens.
    pub link: String,
    /// The signed request itself, for those who check for themselves.
    pub jws: String,
    /// The signed state itself.
    pub state_jws: Option<String>,
    /// `true` if the homeserver could not be asked just now and this is what it said before; the `Age` header tells when.
    pub stale: bool,
}

/// What a request asks for. Amounts are minor units.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RequestView {
    /// Its name.
    pub id: String,
    /// Who is to be paid, z-base-32.
    pub payee: String,
    /// Who is asked, z-base-32; anybody if absent.
    pub payer: Option<String>,
    /// In what.
    #[schema(example = "BREAD/2")]
    pub unit: String,
    /// `exact`: this much, at once; `target`: this much in all, by as many as like; `open`: as much as they like.
    #[schema(example = "target")]
    pub kind: String,
    /// How much; absent if `open`.
    #[schema(example = "3000")]
    pub amount: Option<String>,
    /// The least that one payment brings.
    pub min: Option<String>,
    /// The most that one payment brings.
    pub max: Option<String>,
    /// Other ways to pay it, the best first.
    pub targets: Vec<RequestTargetView>,
    /// What it is for.
    pub memo: Option<String>,
    /// How often it recurs: `day`, `week` or `month`; absent if it does not.
    pub every: Option<String>,
    /// When it is due first, Unix ms, if it recurs.
    pub from: Option<u64>,
    /// How often it recurs, if there is an end to it.
    pub count: Option<u32>,
    /// From then on nothing should be paid, Unix ms.
    pub expires: u64,
    /// When it was signed, by the payee's clock, Unix ms.
    pub at: u64,
}

/// Another way to pay.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RequestTargetView {
    /// How.
    pub method: String,
    /// Where.
    pub value: String,
}

/// How far a request is. Amounts are minor units.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RequestStateView {
    /// What was paid.
    pub filled: String,
    /// What is being paid.
    pub reserved: String,
    /// What can still be paid; absent if there is no end to it.
    pub left: Option<String>,
    /// Whether more is welcome.
    pub open: bool,
    /// Later states have greater serials.
    pub serial: u64,
    /// When it was signed, by the payee's clock, Unix ms.
    pub at: u64,
}

fn minor(amount: Option<Amount>) -> Option<String> {
    amount.map(|amount| amount.minor().to_string())
}

impl From<&PaymentRequest> for RequestView {
    fn from(asked: &PaymentRequest) -> Self {
        let (kind, min, max) = match &asked.amount {
            Goal::Exact(_) => ("exact", None, None),
            Goal::Target { min, .. } => ("target", *min, None),
            Goal::Open { min, max } => ("open", *min, *max),
        };
        let every = asked.every.as_ref();
        Self {
            id: asked.id.to_string(),
            payee: asked.payee.to_z32(),
            payer: asked.payer.map(|payer| payer.to_z32()),
            unit: asked.unit.to_string(),
            kind: kind.to_owned(),
            amount: minor(asked.amount.most()),
            min: minor(min),
            max: minor(max),
            targets: asked
                .targets
                .iter()
                .map(|target| RequestTargetView {
                    method: target.method.as_str().to_owned(),
                    value: target.value.as_str().to_owned(),
                })
                .collect(),
            memo: asked.memo.as_ref().map(|memo| memo.as_str().to_owned()),
            every: every.map(|every| {
                let name = match every.period {
                    Period::Day => "day",
                    Period::Week => "week",
                    Period::Month => "month",
                };
                name.to_owned()
            }),
            from: every.map(|every| every.from.millis()),
            count: every.and_then(|every| every.count),
            expires: asked.expires.millis(),
            at: asked.at.millis(),
        }
    }
}

fn state_view(asked: &PaymentRequest, state: &RequestState) -> RequestStateView {
    let taken = state.filled.minor().saturating_add(state.reserved.minor());
    let most = match asked.every {
        None => asked.amount.most(),
        Some(_) => None,
    };
    RequestStateView {
        filled: state.filled.minor().to_string(),
        reserved: state.reserved.minor().to_string(),
        left: most.map(|most| most.minor().saturating_sub(taken).to_string()),
        open: state.open,
        serial: state.serial.get(),
        at: state.at.millis(),
    }
}

/// A public request to be paid, and how far it is filled.
///
/// Read from the payee's own homeserver, wherever that is, and checked here: only what the payee's root key signed, or a key that may receive for them, is
/// shown. How far it is filled is the payee's word; whether a part can still be paid is decided when a wallet asks for it. An answer is a few seconds old at
/// most; while the homeserver can't be reached, up to a day (`stale`). The `Age` header says how old, in seconds.
#[utoipa::path(
    get,
    path = "/v0/users/{user}/requests/{id}",
    tag = "credit",
    params(
        ("user" = String, Path, description = "The payee's key, z-base-32"),
        ("id" = String, Path, description = "The request's name"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what you hold"),
    ),
    responses(
        (status = 200, body = RequestAnswer, description = "The request, checked"),
        (status = 304, description = "What you hold is still right"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`user_malformed`, `id_malformed`"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`request_unknown`: the user has published no such request; `homeserver_unknown`: the key names no homeserver"),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "`upstream_unavailable`: the homeserver could not be asked, or what it said is not the user's request"),
    )
)]
pub async fn get(
    State(state): State<AppState>,
    Extension(memory): Extension<Arc<Memory>>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, PluginError> {
    let (user, id) = parse(path)?;
    let (kept, age, stale) = find(&state, &memory, (user, id)).await?;
    let asked = kept.request.record();
    let answer = RequestAnswer {
        request: asked.into(),
        state: kept
            .state
            .as_ref()
            .map(|state| state_view(asked, state.record())),
        link: Link::from(kept.request.clone()).to_string(),
        jws: kept.request.jws().to_owned(),
        state_jws: kept.state.as_ref().map(|state| state.jws().to_owned()),
        stale,
    };
    let mut response = etag::respond(&headers, &answer)?;
    response
        .headers_mut()
        .insert(header::AGE, HeaderValue::from(age.as_secs()));
    Ok(response)
}

/// Whose request, and which.
///
/// # Errors
/// `user_malformed`, `id_malformed`.
pub(crate) fn parse(
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<(UserKey, RecordId), PluginError> {
    let malformed = |code, detail: String| PluginError::BadRequest { code, detail };
    let path = path.map_err(|rejection| malformed("user_malformed", rejection.body_text()));
    let Path((user, id)) = path?;
    let user = user.parse::<UserKey>();
    let user = user.map_err(|error| malformed("user_malformed", error.to_string()))?;
    let id = id.parse::<RecordId>();
    let id = id.map_err(|error| malformed("id_malformed", error.to_string()))?;
    Ok((user, id))
}

/// A request of a user, its age, and whether their homeserver could not be asked just now.
pub(crate) async fn find(
    state: &AppState,
    memory: &Memory,
    key: (UserKey, RecordId),
) -> Result<(Arc<Kept>, Duration, bool), PluginError> {
    let held = memory.requests.get(&key);
    if let Some((kept, age)) = &held
        && *age < FRESH_FOR
    {
        return Ok((Arc::clone(kept), *age, false));
    }
    let known = held.as_ref().map(|(kept, _)| kept.as_ref());
    let budget = state.config.http.request_timeout().mul_f32(0.8);
    let asked = tokio::time::timeout(budget, ask(state, key, known)).await;
    let outcome = asked.unwrap_or_else(|_| {
        Err(PluginError::Upstream(
            "the homeserver did not answer in time".to_owned(),
        ))
    });
    match (outcome, held) {
        (Ok(kept), _) => {
            let kept = Arc::new(kept);
            let weight = kept.request.jws().len().saturating_mul(4);
            memory.requests.put(key, Arc::clone(&kept), weight);
            Ok((kept, Duration::ZERO, false))
        }
        // Nothing or garbage after a good answer is no news: what the payee signed still stands.
        (Err(error), Some((kept, age))) if age < STALE_FOR => {
            tracing::debug!(code = error.code(), "a request served from memory");
            Ok((kept, age, true))
        }
        (Err(error), _) => Err(error),
    }
}

async fn ask(
    state: &AppState,
    (user, id): (UserKey, RecordId),
    known: Option<&Kept>,
) -> Result<Kept, PluginError> {
    let text = read(state, &user, &request_path(id)).await?;
    let text = text.ok_or(PluginError::NotFound {
        code: "request_unknown",
        detail: "this user has published no such request",
    })?;
    let request = Signed::<PaymentRequest>::decode(text.trim())
        .map_err(|error| not_theirs(&error.to_string()))?;
    let asked = request.record();
    if asked.payee != user || asked.id != id {
        return Err(not_theirs("it is another one"));
    }
    let same = known.is_some_and(|known| known.request.jws() == request.jws());
    check_signer(state, &user, (request.kid(), Purpose::Receive), not_theirs).await?;
    let said = read(state, &user, &request_state_path(id)).await?;
    let said = match said {
        None => None,
        Some(text) => Some(check_state(state, &request, text.trim()).await?),
    };
    // An old file, served again, is no news.
    let serial = |state: &Signed<RequestState>| state.record().serial;
    let before = known.filter(|_| same).and_then(|known| known.state.clone());
    let newest = match (said, before) {
        (Some(said), Some(before)) if serial(&before) > serial(&said) => Some(before),
        (said, before) => said.or(before),
    };
    Ok(Kept {
        request,
        state: newest,
    })
}

async fn check_state(
    state: &AppState,
    request: &Signed<PaymentRequest>,
    text: &str,
) -> Result<Signed<RequestState>, PluginError> {
    let said =
        Signed::<RequestState>::decode(text).map_err(|error| not_theirs(&error.to_string()))?;
    let payee = request.record().payee;
    if said.record().payee != payee || said.record().request != request.hash() {
        return Err(not_theirs("its state is of another one"));
    }
    if said.kid() != request.kid() {
        check_signer(state, &payee, (said.kid(), Purpose::Receive), not_theirs).await?;
    }
    Ok(said)
}

async fn read(state: &AppState, user: &UserKey, path: &str) -> Result<Option<String>, PluginError> {
    let fetched = state
        .resolver
        .get_public(user, path, None, MAX_RECORD_BYTES)
        .await?;
    let Fetched::Found { body, .. } = fetched else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&body).map_err(|_| not_theirs("it is not text"))?;
    Ok(Some(text.to_owned()))
}

fn not_theirs(why: &str) -> PluginError {
    PluginError::Upstream(format!(
        "what lies at the homeserver is not this user's request: {why}"
    ))
}

//! What operators can ask and do by HTTP.

use atomicity_ledger::UserKey;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use super::super::accounts::{self, AccountDetail, AccountLine, Signature};
use super::super::audit::{self, Action, AuditEntry};
use super::super::export;
use super::super::status::{self, AdminStatus};
use super::{Known, admin};
use crate::error::PluginError;
use crate::http::bounded;
use crate::http::extract::{self, JsonBody, QueryParams, UserPath, parse_id};
use crate::problem::Problem;
use crate::state::AppState;

const DEFAULT_PAGE: i64 = 100;
const MAX_PAGE: i64 = 500;

/// A page of accounts.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AccountsList {
    /// By key.
    pub items: Vec<AccountLine>,
    /// Ask with this as `after` for more; null at the end.
    pub next: Option<String>,
}

/// A page of actions.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The newest first.
    pub items: Vec<AuditEntry>,
    /// Ask with this as `before` for more; null at the end.
    pub next: Option<String>,
}

/// A page of signatures.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SignaturesPage {
    /// The newest first.
    pub items: Vec<Signature>,
    /// Ask with this as `before` for more; null at the end.
    pub next: Option<String>,
}

/// Why an account is switched off.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisableRequest {
    /// For other operators, and for whoever asks; one line, at most 512 bytes.
    pub reason: String,
}

/// Whether new work is refused.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// True to finish what is open and take nothing new, until this is taken back or the plugin starts again.
    pub draining: bool,
}

/// A new password.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewPassword {
    /// It counts from now on, and the old one no longer.
    pub password: String,
}

/// Which accounts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccountsQuery {
    /// Only those above this key.
    after: Option<String>,
    /// Only those that are switched off.
    #[serde(default)]
    disabled: bool,
    /// Most items, 1 to 500; 100 if not given.
    limit: Option<i64>,
}

/// How far back.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BackQuery {
    /// Only what has a smaller number.
    before: Option<String>,
    /// Most items, 1 to 500; 100 if not given.
    limit: Option<i64>,
}

/// The routes.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    let all = OpenApiRouter::new()
        .routes(routes!(read_status))
        .routes(routes!(list))
        .routes(routes!(one))
        .routes(routes!(signatures))
        .routes(routes!(disable))
        .routes(routes!(enable))
        .routes(routes!(export_account))
        .routes(routes!(drain))
        .routes(routes!(actions))
        .routes(routes!(renew_password));
    bounded(all, extract::SMALL_BODY, "body_too_large")
}

fn page_size(asked: Option<i64>) -> Result<i64, PluginError> {
    let limit = asked.unwrap_or(DEFAULT_PAGE);
    if (1..=MAX_PAGE).contains(&limit) {
        return Ok(limit);
    }
    Err(PluginError::BadRequest {
        code: "limit_invalid",
        detail: format!("limit must be 1 to {MAX_PAGE}"),
    })
}

/// Cuts the one item off that was read too many, which tells that there is more; the page, and what to ask with for the next.
pub(in super::super) fn paged<T>(
    mut items: Vec<T>,
    limit: i64,
    cursor: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > most;
    items.truncate(most);
    let next = items.last().filter(|_| more).map(cursor);
    (items, next)
}

/// How the plugin stands: accounts, queues, agents, logs, crawl, database, disks, limits.
#[utoipa::path(get, path = "/v0/admin/status", tag = "operator", security(("password" = [])),
    responses(
        (status = 200, body = AdminStatus),
        (status = 401, description = "`admin_password_wrong`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`database_unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn read_status(
    _: Known,
    State(state): State<AppState>,
) -> Result<Json<AdminStatus>, PluginError> {
    Ok(Json(status::collect(&state).await?))
}

/// The accounts.
#[utoipa::path(get, path = "/v0/admin/accounts", tag = "operator", security(("password" = [])), params(AccountsQuery),
    responses(
        (status = 200, body = AccountsList),
        (status = 400, description = "`limit_invalid`, `user_malformed`, `query_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`admin_password_wrong`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn list(
    _: Known,
    State(state): State<AppState>,
    QueryParams(query): QueryParams<AccountsQuery>,
) -> Result<Json<AccountsList>, PluginError> {
    let limit = page_size(query.limit)?;
    let after = query.after.as_deref().map(str::parse::<UserKey>);
    let after = after.transpose().map_err(|error| PluginError::BadRequest {
        code: "user_malformed",
        detail: error.to_string(),
    })?;
    let after = after
        .map(|user| user.as_bytes().to_vec())
        .unwrap_or_default();
    let found = accounts::list(&state.pool, &after, query.disabled, limit + 1).await?;
    let (items, next) = paged(found, limit, |line| line.user.clone());
    Ok(Json(AccountsList { items, next }))
}

/// One account, and what its agent does.
#[utoipa::path(get, path = "/v0/admin/accounts/{user}", tag = "operator", security(("password" = [])),
    params(("user" = String, Path, description = "Whose, z-base-32")),
    responses(
        (status = 200, body = AccountDetail),
        (status = 400, description = "`user_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`admin_password_wrong`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`account_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn one(
    _: Known,
    State(state): State<AppState>,
    UserPath(user): UserPath,
) -> Result<Json<AccountDetail>, PluginError> {
    Ok(Json(accounts::one(&state.pool, &user).await?))
}

/// What the agent of a user signed, newest first, without the records themselves.
#[utoipa::path(get, path = "/v0/admin/accounts/{user}/signatures", tag = "operator", security(("password" = [])),
    params(("user" = String, Path, description = "Whose, z-base-32"), BackQuery),
    responses(
        (status = 200, body = SignaturesPage),
        (status = 400, description = "`user_malformed`, `id_malformed`, `limit_invalid`, `query_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`admin_password_wrong`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn signatures(
    _: Known,
    State(state): State<AppState>,
    UserPath(user): UserPath,
    QueryParams(query): QueryParams<BackQuery>,
) -> Result<Json<SignaturesPage>, PluginError> {
    let limit = page_size(query.limit)?;
    let before = query.before.as_deref().map_or(Ok(i64::MAX), parse_id)?;
    let found = accounts::signatures(&state.pool, &user, before, limit + 1).await?;
    let (items, next) = paged(found, limit, |one| one.id.clone());
    Ok(Json(SignaturesPage { items, next }))
}

/// Switches an account off. Nothing in it is lost, and what others send to it is kept.
#[utoipa::path(post, path = "/v0/admin/accounts/{user}/disable", tag = "operator", security(("password" = [])), request_body = DisableRequest,
    params(("user" = String, Path, description = "Whose, z-base-32")),
    responses(
        (status = 200, body = AccountDetail),
        (status = 400, description = "`user_malformed`, `reason_invalid`, `body_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`admin_password_wrong`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`account_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn disable(
    Known(operator): Known,
    State(state): State<AppState>,
    UserPath(user): UserPath,
    JsonBody(request): JsonBody<DisableRequest>,
) -> Result<Json<AccountDetail>, PluginError> {
    accounts::disable(&state, operator, &user, &request.reason).await?;
    Ok(Json(accounts::one(&state.pool, &user).await?))
}

/// Switches an account on again.
#[utoipa::path(post, path = "/v0/admin/accounts/{user}/enable", tag = "operator", security(("password" = [])),
    params(("user" = String, Path, description = "Whose, z-base-32")),
    responses(
        (status = 200, body = AccountDetail),
        (status = 400, description = "`user_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`admin_password_wrong`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`account_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn enable(
    Known(operator): Known,
    State(state): State<AppState>,
    UserPath(user): UserPath,
) -> Result<Json<AccountDetail>, PluginError> {
    accounts::enable(&state, operator, &user).await?;
    Ok(Json(accounts::one(&state.pool, &user).await?))
}

/// All that is held about one account, as JSON lines. The last line has `"end": true`: without it, the export was cut off.
#[utoipa::path(get, path = "/v0/admin/accounts/{user}/export", tag = "operator", security(("password" = [])),
    params(("user" = String, Path, description = "Whose, z-base-32")),
    responses(
        (status = 200, description = "One JSON object a line", body = String, content_type = "application/jsonl"),
        (status = 400, description = "`user_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`admin_password_wrong`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`account_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn export_account(
    Known(operator): Known,
    State(state): State<AppState>,
    UserPath(user): UserPath,
) -> Result<Response, PluginError> {
    exported(&state, operator, user).await
}

/// The answer with an export, for a browser to save.
pub(in super::super) async fn exported(
    state: &AppState,
    operator: audit::Operator,
    user: UserKey,
) -> Result<Response, PluginError> {
    let lines = export::begin(state, operator, user).await?;
    let lines = stream::unfold(lines, |mut lines| async move {
        let line = lines.recv().await?;
        Some((line, lines))
    });
    let name = format!("attachment; filename=\"account-{user}.jsonl\"");
    let headers = [
        (header::CONTENT_TYPE, "application/jsonl".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((StatusCode::OK, headers, Body::from_stream(lines)).into_response())
}

/// Takes no new work, or takes it again. What is open is finished; readiness says so.
#[utoipa::path(post, path = "/v0/admin/drain", tag = "operator", security(("password" = [])), request_body = Drain,
    responses(
        (status = 200, body = Drain),
        (status = 400, description = "`body_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`admin_password_wrong`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn drain(
    Known(operator): Known,
    State(state): State<AppState>,
    JsonBody(wanted): JsonBody<Drain>,
) -> Result<Json<Drain>, PluginError> {
    set_draining(&state, operator, wanted.draining).await?;
    Ok(Json(Drain {
        draining: state.readiness.is_draining(),
    }))
}

/// Takes no new work, or takes it again.
///
/// # Errors
/// [`PluginError::Database`], with nothing changed.
pub(in super::super) async fn set_draining(
    state: &AppState,
    operator: audit::Operator,
    draining: bool,
) -> Result<(), PluginError> {
    let action = Action {
        name: if draining { "drain" } else { "end_drain" },
        subject: None,
        detail: "",
    };
    audit::note(&state.pool, operator, action).await?;
    state.readiness.set_draining(draining);
    state.metrics.draining(draining);
    Ok(())
}

/// What operators did, newest first.
#[utoipa::path(get, path = "/v0/admin/audit", tag = "operator", security(("password" = [])), params(BackQuery),
    responses(
        (status = 200, body = AuditPage),
        (status = 400, description = "`id_malformed`, `limit_invalid`, `query_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`admin_password_wrong`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn actions(
    _: Known,
    State(state): State<AppState>,
    QueryParams(query): QueryParams<BackQuery>,
) -> Result<Json<AuditPage>, PluginError> {
    let limit = page_size(query.limit)?;
    let before = query.before.as_deref().map_or(Ok(i64::MAX), parse_id)?;
    let found = audit::page(&state.pool, None, before, limit + 1).await?;
    let (items, next) = paged(found, limit, |entry| entry.id.clone());
    Ok(Json(AuditPage { items, next }))
}

/// Makes another password, at once. Whoever is logged in on the page is logged out.
#[utoipa::path(post, path = "/v0/admin/password", tag = "operator", security(("password" = [])),
    responses(
        (status = 200, body = NewPassword),
        (status = 401, description = "`admin_password_wrong`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`password_is_a_setting`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn renew_password(
    Known(operator): Known,
    State(state): State<AppState>,
) -> Result<Json<NewPassword>, PluginError> {
    let password = renewed(&state, operator).await?;
    Ok(Json(NewPassword {
        password: password.to_string(),
    }))
}

/// Makes another password, once that is written down. What can't be renewed is not written down.
///
/// # Errors
/// `password_is_a_setting`, [`PluginError::Database`], [`PluginError::File`].
pub(in super::super) async fn renewed(
    state: &AppState,
    operator: audit::Operator,
) -> Result<Zeroizing<String>, PluginError> {
    let password = &admin(state)?.password;
    password.file()?;
    let action = Action {
        name: "renew_password",
        subject: None,
        detail: "",
    };
    audit::note(&state.pool, operator, action).await?;
    password.renew()
}

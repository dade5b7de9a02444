//! `GET /v0/users/{user}/profile`: a user's service record, from their homeserver, verified here.

use std::sync::Arc;
use std::time::Duration;

use atomicity_ledger::authority::{Credentials, PROFILE_PATH, Purpose, delegation_path};
use atomicity_ledger::record::Profile;
use atomicity_ledger::{LedgerError, MAX_RECORD_BYTES, Signed, SignerKey, Timestamp, UserKey};
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Memory;
use crate::clock;
use crate::error::PluginError;
use crate::http::etag;
use crate::http::extract::UserPath;
use crate::problem::Problem;
use crate::resolve::Fetched;
use crate::state::AppState;

/// How long it is served while the homeserver can't be asked.
const STALE_FOR: Duration = Duration::from_secs(24 * 3600);

/// A profile as it is kept: checked, with what the homeserver said about it.
pub(crate) struct Kept {
    pub(crate) profile: Signed<Profile>,
    etag: Option<String>,
}

/// A verified profile.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProfileAnswer {
    /// What the profile says.
    pub profile: ProfileView,
    /// The key that signed it, z-base-32.
    pub signed_by: String,
    /// The signed record itself, for those who check for themselves.
    pub jws: String,
    /// `true` if the homeserver could not be asked just now and this is what it said before; the `Age` header tells when.
    pub stale: bool,
}

/// What a profile says.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProfileView {
    /// Whose it is, z-base-32.
    pub user: String,
    /// Later profiles have greater serials.
    pub serial: u64,
    /// What the user calls themselves. Nobody checked it.
    pub name: Option<String>,
    /// Keys to seal to, the current one first.
    pub encryption: Vec<EncryptionKeyView>,
    /// Where records can be left, best first.
    pub inboxes: Vec<InboxView>,
    /// Units the user deals in.
    #[schema(example = json!(["BREAD/2", "HOUR/2"]))]
    pub units: Vec<String>,
    /// Logs the user trusts.
    pub logs_trusted: Vec<String>,
    /// Logs the user refuses.
    pub logs_refused: Vec<String>,
    /// Whether the user agrees to a page about them.
    pub page: bool,
    /// When it was signed, by the user's clock, Unix ms.
    pub at: u64,
}

/// A key to seal to.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EncryptionKeyView {
    /// Its number.
    pub n: u32,
    /// X25519.
    pub key: String,
}

/// A service that takes records for the user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct InboxView {
    /// The service's key, z-base-32.
    pub plugin: String,
    /// Where it is reached by HTTP, if it says so.
    pub url: Option<String>,
}

impl From<&Profile> for ProfileView {
    fn from(profile: &Profile) -> Self {
        let text = |list: &[atomicity_ledger::text::Address]| {
            list.iter().map(|one| one.as_str().to_owned()).collect()
        };
        Self {
            user: profile.user.to_z32(),
            serial: profile.serial.get(),
            name: profile.name.as_ref().map(|name| name.as_str().to_owned()),
            encryption: profile
                .encryption
                .iter()
                .map(|entry| EncryptionKeyView {
                    n: entry.n.get(),
                    key: entry.key.to_string(),
                })
                .collect(),
            inboxes: profile
                .inboxes
                .iter()
                .map(|inbox| InboxView {
                    plugin: inbox.plugin.to_z32(),
                    url: inbox.url.as_ref().map(|url| url.as_str().to_owned()),
                })
                .collect(),
            units: profile.units.iter().map(ToString::to_string).collect(),
            logs_trusted: text(&profile.logs_trusted),
            logs_refused: text(&profile.logs_refused),
            page: profile.page,
            at: profile.at.millis(),
        }
    }
}

/// A user's profile: how to reach them and what to seal to.
///
/// Read from the user's own homeserver, wherever that is, and checked here: only a profile that the user's root key signed, or a key that the root let sign
/// it, is shown. An answer is up to a minute old; while the homeserver can't be reached, up to a day (`stale`). The `Age` header says how old, in seconds.
#[utoipa::path(
    get,
    path = "/v0/users/{user}/profile",
    tag = "credit",
    params(
        ("user" = String, Path, description = "The user's key, z-base-32"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what you hold"),
    ),
    responses(
        (status = 200, body = ProfileAnswer, description = "The profile, checked"),
        (status = 304, description = "What you hold is still right"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`profile_unknown`: the user has none; `homeserver_unknown`: the key names no homeserver"),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "`upstream_unavailable`: the homeserver could not be asked, or what it said is not the user's profile"),
    )
)]
pub async fn get(
    State(state): State<AppState>,
    Extension(memory): Extension<Arc<Memory>>,
    UserPath(user): UserPath,
    headers: HeaderMap,
) -> Result<Response, PluginError> {
    let (kept, age, stale) = find(&state, &memory, &user).await?;
    let answer = ProfileAnswer {
        profile: kept.profile.record().into(),
        signed_by: kept.profile.kid().to_z32(),
        jws: kept.profile.jws().to_owned(),
        stale,
    };
    let mut response = etag::respond(&headers, &answer)?;
    response
        .headers_mut()
        .insert(header::AGE, HeaderValue::from(age.as_secs()));
    Ok(response)
}

/// The profile of a user, its age, and whether their homeserver could not be asked just now.
pub(crate) async fn find(
    state: &AppState,
    memory: &Memory,
    user: &UserKey,
) -> Result<(Arc<Kept>, Duration, bool), PluginError> {
    let held = memory.profiles.get(user);
    let fresh_for = Duration::from_secs(state.config.network.profile_max_age_s);
    if let Some((kept, age)) = &held
        && *age < fresh_for
    {
        state.metrics.profile("memory");
        return Ok((Arc::clone(kept), *age, false));
    }
    let known = held.as_ref().map(|(kept, _)| kept.as_ref());
    let budget = state.config.http.request_timeout().mul_f32(0.8);
    let asked = tokio::time::timeout(budget, ask(state, user, known)).await;
    let outcome = asked.unwrap_or_else(|_| {
        Err(PluginError::Upstream(
            "the homeserver did not answer in time".to_owned(),
        ))
    });
    match (outcome, held) {
        (Ok(Asked::New(kept)), _) => {
            state.metrics.profile("fetched");
            memory.profiles.put(
                *user,
                Arc::clone(&kept),
                kept.profile.jws().len().saturating_mul(3),
            );
            Ok((kept, Duration::ZERO, false))
        }
        (Ok(Asked::Unchanged), Some((kept, _))) => {
            state.metrics.profile("unchanged");
            memory.profiles.put(
                *user,
                Arc::clone(&kept),
                kept.profile.jws().len().saturating_mul(3),
            );
            Ok((kept, Duration::ZERO, false))
        }
        (outcome, Some((kept, age))) if age < STALE_FOR => {
            // Nothing, garbage or an error after a good answer is no news: what the user signed still stands.
            let code = outcome
                .err()
                .map_or("profile_unknown", |error| error.code());
            tracing::debug!(code, "profile served from memory");
            state.metrics.profile("stale");
            Ok((kept, age, true))
        }
        (Err(error), _) => {
            state.metrics.profile("failed");
            Err(error)
        }
        (Ok(Asked::None | Asked::Unchanged), _) => {
            state.metrics.profile("failed");
            Err(PluginError::NotFound {
                code: "profile_unknown",
                detail: "this user has published no profile",
            })
        }
    }
}

enum Asked {
    New(Arc<Kept>),
    Unchanged,
    None,
}

async fn ask(state: &AppState, user: &UserKey, known: Option<&Kept>) -> Result<Asked, PluginError> {
    let etag = known.and_then(|kept| kept.etag.as_deref());
    let (body, etag) = match state
        .resolver
        .get_public(user, PROFILE_PATH, etag, MAX_RECORD_BYTES)
        .await?
    {
        Fetched::Found { body, etag } => (body, etag),
        Fetched::NotModified => return Ok(Asked::Unchanged),
        Fetched::NotFound => return Ok(Asked::None),
    };
    let text = std::str::from_utf8(&body).map_err(|_| not_theirs("it is not text"))?;
    let profile =
        Signed::<Profile>::decode(text.trim()).map_err(|error| not_theirs(&error.to_string()))?;
    if profile.record().user != *user {
        return Err(not_theirs("it is another user's"));
    }
    if known.is_some_and(|kept| kept.profile.record().serial > profile.record().serial) {
        return Ok(Asked::Unchanged); // an old file, served again
    }
    let signer = (profile.kid(), Purpose::Profile);
    check_signer(state, user, signer, not_theirs).await?;
    Ok(Asked::New(Arc::new(Kept { profile, etag })))
}

/// Whether the key that signed may speak for the user in this. The root may; another key needs a grant or a delegation, which lies where
/// the user's are. `not_theirs` says what it is about.
pub(super) async fn check_signer(
    state: &AppState,
    user: &UserKey,
    (key, purpose): (SignerKey, Purpose),
    not_theirs: fn(&str) -> PluginError,
) -> Result<(), PluginError> {
    let refuse = |error: LedgerError| not_theirs(&error.to_string());
    let now = u64::try_from(clock::now_ms())
        .ok()
        .and_then(|ms| Timestamp::from_millis(ms).ok());
    let now =
        now.ok_or_else(|| PluginError::Internal("the clock is beyond all dates".to_owned()))?;
    let mut credentials = Credentials::new(*user);
    if !key.is_root_of(user)
        && let Fetched::Found { body, .. } = state
            .resolver
            .get_public(user, &delegation_path(&key), None, MAX_RECORD_BYTES)
            .await?
    {
        let text =
            std::str::from_utf8(&body).map_err(|_| not_theirs("its authority is not text"))?;
        credentials.learn(text.trim(), now).map_err(refuse)?;
    }
    credentials
        .judge(key, purpose, now)
        .map(|_| ())
        .map_err(refuse)
}

fn not_theirs(why: &str) -> PluginError {
    PluginError::Upstream(format!(
        "what lies at the homeserver is not this user's profile: {why}"
    ))
}

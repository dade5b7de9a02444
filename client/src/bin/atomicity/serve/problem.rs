//! Errors as RFC 9457 problem details, with the codes and hints of the command line.

use atomicity_client::ClientError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::output::error_value;

/// Media type of problem details.
const PROBLEM_JSON: &str = "application/problem+json";

/// Why something did not happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Names the kind of error; the last segment is `code`.
    #[serde(rename = "type")]
    #[schema(example = "https://atomicity.invalid/problems/limit_exceeded")]
    pub kind: String,
    /// The HTTP status in words.
    #[schema(value_type = String)]
    pub title: Box<str>,
    /// The HTTP status.
    pub status: u16,
    /// What happened, for people.
    pub detail: String,
    /// What happened, for programs: the same codes as `atomicity --json` prints.
    #[schema(example = "limit_exceeded")]
    pub code: String,
    /// What to do about it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub hint: Option<Box<str>>,
    /// With `limit_exceeded`: what could be paid, and why not more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub limit: Option<Box<Value>>,
}

/// The answer to a request.
pub type Answer = Result<Json<Value>, Problem>;

impl Problem {
    /// One of this interface itself.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("https://atomicity.invalid/problems/{code}"),
            title: status.canonical_reason().unwrap_or("Error").into(),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
            hint: None,
            limit: None,
        }
    }

    /// With words about what to do.
    pub fn with_hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What is wrong with a request.
    pub fn bad(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }
}

/// What is asked for and not there.
fn is_unknown(code: &str) -> bool {
    code.starts_with("unknown_") || code.ends_with("_unknown") && code != "generation_unknown"
}

/// The status that goes with an error: by the exit codes of the command line.
fn status(error: &ClientError) -> StatusCode {
    if matches!(error, ClientError::KeyReused(_)) {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    match error.exit_code() {
        2 if is_unknown(error.code()) => StatusCode::NOT_FOUND,
        2 => StatusCode::BAD_REQUEST,
        // Refused by a limit, or as things stand; or this copy must not sign.
        3 | 5 => StatusCode::CONFLICT,
        4 => StatusCode::BAD_GATEWAY,
        6 => StatusCode::FORBIDDEN,
        7 => StatusCode::INSUFFICIENT_STORAGE,
        _ if matches!(
            error,
            ClientError::Internal(_) | ClientError::StoreCorrupt { .. }
        ) =>
        {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl From<&ClientError> for Problem {
    fn from(error: &ClientError) -> Self {
        let mut value = error_value(error);
        let mut problem = Self::new(status(error), error.code(), error.to_string());
        problem.hint = match error {
            // There is no terminal here, and what `serve` was given is not used for it.
            ClientError::PassphraseNeeded => Some("send it as `passphrase`".into()),
            _ => error.hint().map(Into::into),
        };
        problem.limit = value.get_mut("limit").map(|limit| Box::new(limit.take()));
        problem
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        Self::from(&error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::warn!(code = self.code, "request failed: {}", self.detail);
        }
        let mut response = (status, Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_hints_are_those_of_the_command_line() {
        let error = ClientError::UnknownFriend("eve".to_owned());
        let problem = Problem::from(&error);
        assert_eq!(
            (problem.status, problem.code.as_str()),
            (404, "unknown_friend")
        );
        assert_eq!(problem.hint.as_deref(), error.hint().as_deref());
        assert!(problem.kind.ends_with("/unknown_friend"));
        let usage = Problem::from(ClientError::Usage("no".to_owned()));
        assert_eq!((usage.status, usage.code.as_str()), (400, "usage"));
        let reused = Problem::from(ClientError::KeyReused("k".to_owned()));
        assert_eq!(reused.status, 422);
        let unknown = ClientError::GenerationUnknown("silent".to_owned());
        assert_eq!(Problem::from(unknown).status, 409);
    }
}

//! Errors as RFC 9457 problem details.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::PluginError;

/// Media type of problem details.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// An error as callers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Names the kind of error; the last segment is `code`.
    #[serde(rename = "type")]
    #[schema(example = "https://atomicity.invalid/problems/rate_limited")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, for people.
    pub detail: String,
    /// What happened, for programs.
    #[schema(example = "rate_limited")]
    pub code: String,
    /// Seconds to wait before another try; also in the `Retry-After` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

/// The code of a problem, left with the response for whoever counts.
#[derive(Clone, Copy, Debug)]
pub struct ProblemCode(pub &'static str);

impl From<&PluginError> for Problem {
    fn from(error: &PluginError) -> Self {
        let status = error.status();
        Self {
            kind: format!("https://atomicity.invalid/problems/{}", error.code()),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: error.public_detail(),
            code: error.code().to_owned(),
            retry_after_s: error.retry_after().map(|wait| wait.as_secs().max(1)),
        }
    }
}

impl IntoResponse for PluginError {
    fn into_response(self) -> Response {
        if self.status().is_server_error() {
            tracing::warn!(code = self.code(), error = %self, "request failed");
        }
        let problem = Problem::from(&self);
        let mut response = (self.status(), Json(&problem)).into_response();
        response.extensions_mut().insert(ProblemCode(self.code()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = problem.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self, PluginError::Unauthorized { .. }) {
            let scheme = match self.code() {
                "pass_invalid" => "Atomicity",
                _ => "Bearer",
            };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        response
    }
}

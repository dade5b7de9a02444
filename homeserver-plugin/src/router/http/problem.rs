//! Why there is no way, as problem details.

use atomicity_routing::RouteError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::{PROBLEM_JSON, ProblemCode};

/// Why there is no way.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RouteProblem {
    /// Names the kind of error; the last segment is `code`.
    #[serde(rename = "type")]
    #[schema(example = "https://atomicity.invalid/problems/too_narrow")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, for people.
    pub detail: String,
    /// What happened, for programs.
    #[schema(example = "too_narrow")]
    pub code: String,
    /// With `too_narrow`: the most that can be carried, in minor units; with fees on top a little less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub widest: Option<String>,
    /// With `fee_too_high`: what the hops of the cheapest way take; with `cost_too_high`: what the payer would promise. In minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cheapest: Option<String>,
}

/// The reason as an answer.
pub(super) struct NoWay(pub(super) RouteError);

impl NoWay {
    fn code(&self) -> (StatusCode, &'static str) {
        match self.0 {
            RouteError::ToOneself | RouteError::LimitInvalid { .. } | RouteError::EdgeToOneself => {
                (StatusCode::BAD_REQUEST, "question_invalid")
            }
            RouteError::UnknownPayee | RouteError::UnknownUnit => {
                (StatusCode::NOT_FOUND, "unknown_payee")
            }
            RouteError::UnknownPayer => (StatusCode::NOT_FOUND, "unknown_payer"),
            RouteError::UnknownVia => (StatusCode::NOT_FOUND, "unknown_via"),
            RouteError::TooNarrow { .. } | RouteError::TooNarrowInParts { .. } => {
                (StatusCode::CONFLICT, "too_narrow")
            }
            RouteError::FeeTooHigh { .. } => (StatusCode::CONFLICT, "fee_too_high"),
            RouteError::TotalTooHigh { .. } => (StatusCode::CONFLICT, "cost_too_high"),
            RouteError::GaveUp => (StatusCode::NOT_FOUND, "gave_up"),
            RouteError::NoExchange => (StatusCode::NOT_FOUND, "no_exchange"),
            _ => (StatusCode::NOT_FOUND, "no_route"),
        }
    }
}

impl IntoResponse for NoWay {
    fn into_response(self) -> Response {
        let (status, code) = self.code();
        let widest = match self.0 {
            RouteError::TooNarrow { widest } => Some(widest),
            RouteError::TooNarrowInParts { carried, .. } => Some(carried),
            _ => None,
        };
        let cheapest = match self.0 {
            RouteError::FeeTooHigh { cheapest, .. } | RouteError::TotalTooHigh { cheapest, .. } => {
                Some(cheapest)
            }
            _ => None,
        };
        let problem = RouteProblem {
            kind: format!("https://atomicity.invalid/problems/{code}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: self.0.to_string(),
            code: code.to_owned(),
            widest: widest.map(|amount| amount.to_string()),
            cheapest: cheapest.map(|amount| amount.to_string()),
        };
        let mut response = (status, Json(problem)).into_response();
        response.extensions_mut().insert(ProblemCode(code));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

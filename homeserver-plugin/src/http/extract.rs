//! What requests carry, taken in bounded, with problem details when it is not what the route takes.

use atomicity_ledger::UserKey;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use crate::error::PluginError;

/// Body limit of routes that take small JSON.
pub const SMALL_BODY: usize = 16 * 1024;

/// A JSON body. The route's body limit applies before anything is parsed.
pub struct JsonBody<T>(pub T);

/// The bytes of a JSON body, within the route's body limit, not parsed yet.
pub struct RawJson(pub axum::body::Bytes);

impl<S: Send + Sync> FromRequest<S> for RawJson {
    type Rejection = PluginError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        if !is_json(request.headers()) {
            return Err(PluginError::UnsupportedMediaType);
        }
        axum::body::Bytes::from_request(request, state)
            .await
            .map(Self)
            .map_err(body_refused)
    }
}

/// Whether JSON text begins as an object does. Without this, `serde` would also take a list of the members' values.
#[must_use]
pub fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

fn is_json(headers: &axum::http::HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn body_refused(rejection: BytesRejection) -> PluginError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        // The layer knows the limit, the rejection doesn't tell it.
        PluginError::TooLarge {
            code: "body_too_large",
        }
    } else {
        PluginError::BadRequest {
            code: "body_unreadable",
            detail: "the body ended early or could not be read".to_owned(),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = PluginError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let RawJson(bytes) = RawJson::from_request(request, state).await?;
        let refuse = |why: String| PluginError::BadRequest {
            code: "body_malformed",
            detail: format!("the body is not what this route takes: {why}"),
        };
        if !is_object(&bytes) {
            return Err(refuse("it must be an object".to_owned()));
        }
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| refuse(error.to_string()))
    }
}

/// Query parameters.
pub struct QueryParams<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for QueryParams<T> {
    type Rejection = PluginError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Query::from_request_parts(parts, state)
            .await
            .map(|Query(value)| Self(value))
            .map_err(|rejection| PluginError::BadRequest {
                code: "query_invalid",
                detail: rejection.body_text(),
            })
    }
}

/// The user in a route's path.
pub struct UserPath(pub UserKey);

impl<S: Send + Sync> FromRequestParts<S> for UserPath {
    type Rejection = PluginError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let refuse = |detail: String| PluginError::BadRequest {
            code: "user_malformed",
            detail,
        };
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| refuse(rejection.body_text()))?;
        text.parse()
            .map(Self)
            .map_err(|error: atomicity_ledger::LedgerError| refuse(error.to_string()))
    }
}

/// A text in the path, at most 64 bytes.
pub struct TextPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for TextPath {
    type Rejection = PluginError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let refuse = |detail: String| PluginError::BadRequest {
            code: "id_malformed",
            detail,
        };
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| refuse(rejection.body_text()))?;
        if text.len() > 64 {
            return Err(refuse("it is too long".to_owned()));
        }
        Ok(Self(text))
    }
}

/// Reads an id: decimal digits without sign or leading zeros, 0 to 2^63 − 1.
///
/// # Errors
/// `id_malformed`.
pub fn parse_id(text: &str) -> Result<i64, PluginError> {
    let canonical = text == "0" || (!text.starts_with('0') && !text.is_empty());
    let digits = text.len() <= 19 && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(id) if canonical && digits => Ok(id),
        _ => Err(PluginError::BadRequest {
            code: "id_malformed",
            detail: "an id is a decimal number as this service gave it".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_one_spelling_names_an_id() {
        assert_eq!(parse_id("0").unwrap(), 0);
        assert_eq!(parse_id("9223372036854775807").unwrap(), i64::MAX);
        for wrong in [
            "",
            "-1",
            "+1",
            "01",
            "00",
            "9223372036854775808",
            "1e3",
            " 1",
            "99999999999999999999",
        ] {
            assert_eq!(
                parse_id(wrong).unwrap_err().code(),
                "id_malformed",
                "{wrong}"
            );
        }
    }
}

//! Answers that say *not modified* to who has them already.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::error::PluginError;

/// `body` as JSON with a strong ETag, or 304 if `If-None-Match` names it.
///
/// # Errors
/// [`PluginError::Internal`] if `body` can't be written as JSON.
pub fn respond(headers: &HeaderMap, body: &impl Serialize) -> Result<Response, PluginError> {
    let bytes = serde_json::to_vec(body).map_err(|error| {
        PluginError::Internal(format!("an answer could not be written: {error}"))
    })?;
    let digest = Sha256::digest(&bytes);
    let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..18]));
    let mut response = if matches(headers, &etag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let mut response = Response::new(Body::from(bytes));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        response
    };
    let answer = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        answer.insert(header::ETAG, etag);
    }
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer.insert(header::VARY, HeaderValue::from_static("authorization"));
    Ok(response)
}

/// Whether `If-None-Match` names this tag, weakly compared.
pub(super) fn matches(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|held| held == "*" || held.strip_prefix("W/").unwrap_or(held) == etag)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn who_holds_the_answer_gets_no_body_and_a_change_is_noticed() {
        let first = respond(&HeaderMap::new(), &["a"]).unwrap();
        assert_eq!(first.status(), StatusCode::OK);
        let etag = first.headers()[header::ETAG].clone();
        let mut headers = HeaderMap::new();
        headers.insert(
            header::IF_NONE_MATCH,
            format!("\"x\", W/{}", etag.to_str().unwrap())
                .parse()
                .unwrap(),
        );
        assert_eq!(
            respond(&headers, &["a"]).unwrap().status(),
            StatusCode::NOT_MODIFIED
        );
        assert_eq!(respond(&headers, &["b"]).unwrap().status(), StatusCode::OK);
    }
}

//! What requests carry, taken in bounded, with problem details when it is not what the route takes.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The largest body.
pub const BODY: usize = 64 * 1024;
/// The longest key of an operation.
const KEY: usize = 64;
/// How long an answer may be waited for, seconds.
const MOST_WAIT: u64 = 100;

/// A JSON object.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        // Asking for JSON makes a browser ask first: a form of a foreign page can't get here.
        if !is_json(request.headers()) {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            let detail = "the body must be application/json";
            return Err(Problem::new(status, "unsupported_media_type", detail));
        }
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|rejection| match rejection.status() {
            status @ StatusCode::PAYLOAD_TOO_LARGE => {
                Problem::new(status, "body_too_large", format!("at most {BODY} bytes"))
            }
            _ => Problem::bad("body_unreadable", "the body ended early"),
        })?;
        let refuse = |why: String| Problem::bad("body_malformed", why);
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(refuse("it must be an object".to_owned()));
        }
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| refuse(error.to_string()))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|value| value.to_str().ok());
    kind.and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// What stands behind the question mark.
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Query::from_request_parts(parts, state)
            .await
            .map(|Query(value)| Self(value))
            .map_err(|rejection| Problem::bad("query_invalid", rejection.body_text()))
    }
}

/// The word in the path.
pub struct Named(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Path::<String>::from_request_parts(parts, state)
            .await
            .map(|Path(text)| Self(text))
            .map_err(|rejection| Problem::bad("path_invalid", rejection.body_text()))
    }
}

/// Under which key something is to be done once, and how long its answer is waited for.
pub struct Once {
    /// The key.
    pub key: String,
    /// The time.
    pub wait: std::time::Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitQuery {
    wait: Option<u64>,
}

impl<S: Send + Sync> FromRequestParts<S> for Once {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let key = own_key(&parts.headers)?;
        let Asked(WaitQuery { wait }) = Asked::from_request_parts(parts, state).await?;
        let wait = wait.unwrap_or(0);
        if wait > MOST_WAIT {
            let detail = format!("wait for at most {MOST_WAIT} seconds");
            return Err(Problem::bad("query_invalid", detail));
        }
        Ok(Self {
            key,
            wait: std::time::Duration::from_secs(wait),
        })
    }
}

fn own_key(headers: &HeaderMap) -> Result<String, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        let detail = "this moves money: name it with one Idempotency-Key header";
        let hint = "draw a random key for each payment, and use it again when you ask again";
        return Err(Problem::bad("idempotency_key_missing", detail).with_hint(hint));
    };
    let key = key.to_str().unwrap_or_default();
    check_key(key)?;
    Ok(key.to_owned())
}

/// Whether it can be a key, and stand in a path.
pub fn check_key(key: &str) -> Result<(), Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    if key.is_empty() || key.len() > KEY || !key.chars().all(plain) || key.starts_with('.') {
        let detail = format!("a key has 1 to {KEY} letters, digits, - _ ~ or . (not first)");
        return Err(Problem::bad("idempotency_key_invalid", detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_are_short_and_fit_into_a_path() {
        for key in ["a", "7f3c-11", "A_b.c~d", &"x".repeat(64)] {
            check_key(key).unwrap();
        }
        for key in ["", "a/b", "..", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(check_key(key).unwrap_err().code, "idempotency_key_invalid");
        }
    }
}

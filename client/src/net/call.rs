//! Requests as they are sent, answers as they are read, and what a status outside of 2xx means.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};

use super::error::{NetError, service_code};
use super::shorten;
use crate::config::NetworkConfig;

/// However long a server asks us to wait, we look again after this.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// A request to a server.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) timeout: Duration,
    pub(crate) max_bytes: usize,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>, config: &NetworkConfig) -> Self {
        Self {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: None,
            timeout: config.request_timeout,
            max_bytes: config.max_file_bytes,
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Result<Self, NetError> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| NetError::Invalid(format!("{name} has characters it can't have")))?;
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    pub(crate) fn bearer(self, token: &str) -> Result<Self, NetError> {
        let mut call = self.header("authorization", &format!("Bearer {token}"))?;
        if let Some(value) = call.headers.get_mut("authorization") {
            value.set_sensitive(true);
        }
        Ok(call)
    }

    pub(crate) fn body(mut self, bytes: Vec<u8>) -> Self {
        self.body = Some(bytes);
        self
    }

    pub(crate) fn json(self, value: &impl serde::Serialize) -> Result<Self, NetError> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| NetError::Invalid(format!("can't be written as JSON: {error}")))?;
        self.body(bytes).header("content-type", "application/json")
    }

    pub(crate) fn at_most(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }
}

/// An answer, read whole and within its limit.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The entity tag, if it is one that can be sent back.
    pub(crate) fn etag(&self) -> Option<String> {
        let tag = self.header("etag")?;
        (tag.len() <= 200 && tag.chars().all(|c| c.is_ascii_graphic())).then(|| tag.to_owned())
    }

    /// How long the server asks us to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.header("retry-after")?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
    }

    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, server: &str) -> Result<T, NetError> {
        serde_json::from_slice(&self.body).map_err(|error| NetError::Malformed {
            server: server.to_owned(),
            reason: shorten(&error.to_string(), 200),
        })
    }

    /// The error that a status outside of 2xx stands for, read as problem details where it is one.
    pub(crate) fn failure(&self, server: &str) -> NetError {
        #[derive(serde::Deserialize)]
        struct Problem {
            #[serde(default)]
            code: String,
            #[serde(default)]
            title: String,
            #[serde(default)]
            detail: String,
        }
        let problem: Option<Problem> = serde_json::from_slice(&self.body).ok();
        let code = problem.as_ref().and_then(|p| service_code(&p.code));
        let detail = match &problem {
            Some(p) if !p.detail.is_empty() => shorten(&p.detail, 200),
            Some(p) if !p.title.is_empty() => shorten(&p.title, 200),
            _ => shorten(&String::from_utf8_lossy(&self.body), 200),
        };
        let server = server.to_owned();
        let status = self.status.as_u16();
        let retry_after = self.retry_after();
        match (self.status, code, retry_after) {
            (status, _, wait)
                if status == StatusCode::TOO_MANY_REQUESTS
                    || (status.is_server_error() && wait.is_some()) =>
            {
                let standard = match status {
                    StatusCode::TOO_MANY_REQUESTS => "rate_limited",
                    _ => "unavailable",
                };
                NetError::RateLimited {
                    server,
                    code: code.unwrap_or(standard),
                    detail,
                    retry_after: wait.unwrap_or(Duration::from_secs(5)),
                }
            }
            (_, Some(code), _) => NetError::Refused {
                server,
                status,
                code,
                detail,
            },
            (StatusCode::FORBIDDEN, None, _) => NetError::Forbidden { server, detail },
            _ => NetError::HttpStatus {
                server,
                status,
                detail,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn failure(status: u16, retry_after: Option<&'static str>, body: &str) -> NetError {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert("retry-after", HeaderValue::from_static(value));
        }
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: body.as_bytes().to_vec(),
        };
        answer.failure("server")
    }

    #[test]
    fn a_services_own_code_is_kept_if_it_is_a_known_one() {
        let known = failure(
            403,
            None,
            r#"{"code":"tag_unknown","detail":"no such tag"}"#,
        );
        assert_eq!((known.code(), known.is_retryable()), ("tag_unknown", false));
        assert!(known.to_string().contains("no such tag"));
        let unknown = failure(400, None, r#"{"code":"rm -rf"}"#);
        assert_eq!(unknown.code(), "http_status");
    }

    #[test]
    fn later_and_never_are_told_apart() {
        let full = failure(429, Some("7"), r#"{"code":"queue_full"}"#);
        assert_eq!((full.code(), full.is_retryable()), ("queue_full", true));
        assert_eq!(full.retry_after(), Some(Duration::from_secs(7)));
        let endless = failure(503, Some("999999999"), "");
        assert_eq!(
            (endless.code(), endless.retry_after()),
            ("unavailable", Some(LONGEST_PAUSE))
        );
        assert!(failure(500, None, "").is_retryable());
        assert!(!failure(413, None, "").is_retryable());
        assert!(!failure(403, None, "").is_retryable());
    }

    #[test]
    fn a_servers_words_cannot_drive_the_terminal() {
        let error = failure(418, None, "\u{1b}[2Jcleared\r\n").to_string();
        assert!(
            error.contains("cleared") && !error.chars().any(char::is_control),
            "{error:?}"
        );
    }

    #[test]
    fn only_tags_that_can_be_sent_back_are_kept() {
        let tag = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("etag", HeaderValue::from_static(value));
            Answer {
                status: StatusCode::OK,
                headers,
                body: Vec::new(),
            }
            .etag()
        };
        assert_eq!(tag("\"abc=\""), Some("\"abc=\"".to_owned()));
        assert_eq!(tag("with space"), None);
    }

    #[test]
    fn tokens_are_marked_secret_and_bad_headers_refused() {
        let call = Call::new(Method::GET, "/", &NetworkConfig::default());
        let call = call.bearer("token").unwrap();
        assert!(!format!("{call:?}").contains("token"));
        assert_eq!(
            call.header("if", "a\nb").unwrap_err().code(),
            "invalid_argument"
        );
    }
}

//! Questions to a node over HTTPS: bounded in bytes and time, with its pinned certificate and a macaroon.

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Method, Response, Url};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::rail::error::{RailError, bounded, with_causes};
use crate::rail::node;
use crate::rail::payment::to_hex;
use crate::rail::pinned::PinnedCertificate;

/// The longest answer. A payment that was tried over hundreds of ways is the longest there is.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const MACAROON: &str = "Grpc-Metadata-macaroon";

/// A node's REST interface.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    macaroon: Zeroizing<String>,
    timeout: Duration,
}

/// What to do, and where.
pub(crate) type Request<'a> = (Method, &'a str);

impl Client {
    pub(crate) fn new(
        url: Url,
        certificate: &PinnedCertificate,
        macaroon: &[u8],
        timeout: Duration,
    ) -> Result<Self, RailError> {
        if url.scheme() != "https" {
            let why = "the node's address must begin with https://";
            return Err(RailError::ConfigInvalid(why.to_owned()));
        }
        let builder = node::client(timeout).tls_backend_preconfigured(certificate.tls()?);
        // A stream may be silent for days; a dead one is noticed.
        let http = node::built(builder.tcp_keepalive(KEEP_ALIVE))?;
        Ok(Self {
            http,
            base: url.as_str().trim_end_matches('/').to_owned(),
            macaroon: Zeroizing::new(to_hex(macaroon)),
            timeout,
        })
    }

    /// How long one question may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks and reads the whole answer.
    pub(crate) async fn ask(
        &self,
        request: Request<'_>,
        body: Option<&Value>,
    ) -> Result<Vec<u8>, RailError> {
        let end = Instant::now() + self.timeout;
        let limited = timeout_at(end, async {
            let mut lines = Lines::new(self.send(request, body).await?);
            lines.rest().await
        });
        limited
            .await
            .unwrap_or(Err(RailError::Timeout(self.timeout)))
    }

    /// Asks and reads the first message of a stream. That the stream ends without one is no answer.
    pub(crate) async fn first(
        &self,
        request: Request<'_>,
        body: Option<&Value>,
        wait: Duration,
    ) -> Result<Vec<u8>, RailError> {
        let end = Instant::now() + wait;
        let limited = timeout_at(end, async {
            let mut lines = Lines::new(self.send(request, body).await?);
            lines.expect_next().await
        });
        limited.await.unwrap_or(Err(RailError::Timeout(wait)))
    }

    /// Asks for a stream that goes on for as long as it likes.
    pub(crate) async fn follow(&self, request: Request<'_>) -> Result<Lines, RailError> {
        self.send(request, None).await.map(Lines::new)
    }

    async fn send(
        &self,
        (method, path): Request<'_>,
        body: Option<&Value>,
    ) -> Result<Response, RailError> {
        let mut macaroon = HeaderValue::from_str(&self.macaroon)
            .map_err(|_| RailError::ConfigInvalid("the macaroon is unusable".to_owned()))?;
        macaroon.set_sensitive(true);
        let url = format!("{}{path}", self.base);
        let mut request = self.http.request(method, url).header(MACAROON, macaroon);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| {
            let words = with_causes(&error.without_url());
            RailError::Unreachable(words)
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = Lines::new(response).rest().await?;
        Err(failure(status, &body))
    }
}

/// The address is the operator's; the macaroon is a secret.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .field("macaroon", &"…")
            .finish_non_exhaustive()
    }
}

/// An answer as it arrives, in lines.
pub(crate) struct Lines {
    response: Response,
    buffer: Vec<u8>,
    /// How much of the buffer holds no end of a line.
    searched: usize,
}

impl Lines {
    fn new(response: Response) -> Self {
        Self {
            response,
            buffer: Vec::new(),
            searched: 0,
        }
    }

    /// The next message; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, RailError> {
        loop {
            let fresh = self.buffer.iter().skip(self.searched);
            if let Some(at) = fresh.copied().position(|byte| byte == b'\n') {
                let rest = self.buffer.split_off(self.searched + at + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                self.searched = 0;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return unwrap_message(&line).map(Some);
            }
            self.searched = self.buffer.len();
            if self.more().await? {
                continue;
            }
            // A last line without an end may have been cut off: then it is no JSON.
            let line = std::mem::take(&mut self.buffer);
            self.searched = 0;
            if line.iter().all(u8::is_ascii_whitespace) {
                return Ok(None);
            }
            return unwrap_message(&line).map(Some);
        }
    }

    /// The next message. That there is none is no answer.
    pub(crate) async fn expect_next(&mut self) -> Result<Vec<u8>, RailError> {
        let ended = || RailError::AnswerBroken("the stream ended without a message".to_owned());
        self.next().await?.ok_or_else(ended)
    }

    /// All there is.
    async fn rest(&mut self) -> Result<Vec<u8>, RailError> {
        while self.more().await? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    async fn more(&mut self) -> Result<bool, RailError> {
        let chunk = self.response.chunk().await;
        let chunk =
            chunk.map_err(|why| RailError::AnswerBroken(with_causes(&why.without_url())))?;
        let Some(chunk) = chunk else {
            return Ok(false);
        };
        if self.buffer.len() + chunk.len() > MAX_ANSWER {
            return Err(RailError::TooLarge { limit: MAX_ANSWER });
        }
        self.buffer.extend_from_slice(&chunk);
        Ok(true)
    }
}

/// Each message of a stream is in an envelope: `{"result": …}`, or `{"error": …}` as its last.
fn unwrap_message(line: &[u8]) -> Result<Vec<u8>, RailError> {
    #[derive(Deserialize)]
    struct Envelope {
        result: Option<Value>,
        error: Option<Value>,
    }
    let malformed = RailError::AnswerMalformed("a message of the stream");
    let Ok(envelope) = serde_json::from_slice::<Envelope>(line) else {
        return Err(malformed);
    };
    match (envelope.result, envelope.error) {
        (Some(result), None) => serde_json::to_vec(&result).map_err(|_| malformed),
        // The status was sent long before: there is none for this.
        (None, Some(_)) => Err(failure(200, line)),
        _ => Err(malformed),
    }
}

/// What a node's answer of failure means.
pub(super) fn failure(status: u16, body: &[u8]) -> RailError {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Words {
        code: i64,
        message: String,
        error: Option<Value>,
    }
    let read = |words: Value| serde_json::from_value::<Words>(words).unwrap_or_default();
    let whole = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let mut words = read(whole);
    if let Some(inner @ Value::Object(_)) = words.error.take() {
        words = read(inner);
    }
    let message = bounded(&words.message);
    let says = |part: &str| message.contains(part);
    // Permissions are refused, and starting nodes heard of, under the code for anything.
    if matches!(status, 401 | 403)
        || matches!(words.code, 7 | 16)
        || says("permission denied")
        || says("macaroon")
        || says("verification failed")
    {
        return RailError::NotPermitted(message);
    }
    let starting = [
        "wallet locked",
        "wallet not",
        "starting up",
        "waiting to start",
    ];
    if words.code == 14 || starting.into_iter().any(says) {
        return RailError::NotReady(message);
    }
    RailError::NodeFailed {
        status,
        code: words.code,
        message,
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;

//! Questions to a Bitcoin Core node: JSON-RPC over plain HTTP to this machine, bounded in bytes and time.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::rail::error::{RailError, bounded};
use crate::rail::node;

/// The longest answer: a large transaction, decoded.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// How the node knows us.
#[derive(Clone, Debug)]
pub enum CoreAuth {
    /// The file `.cookie`, which the node writes anew when it starts.
    Cookie(PathBuf),
    /// A user of `rpcauth`, and a file with the password.
    Password {
        /// The user.
        user: String,
        /// A file with the password.
        password: PathBuf,
    },
}

/// TLS that trusts nobody: none is spoken, and the certificates of the system need not be read.
fn no_tls() -> Result<rustls::ClientConfig, RailError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| RailError::ConfigInvalid(format!("no TLS: {why}")))?;
    Ok(builder
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}

pub(super) struct Client {
    http: reqwest::Client,
    url: Url,
    auth: CoreAuth,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(
        mut url: Url,
        wallet: &str,
        auth: CoreAuth,
        timeout: Duration,
    ) -> Result<Self, RailError> {
        let invalid = |why: &str| RailError::ConfigInvalid(why.to_owned());
        if url.scheme() != "http" || !node::is_loopback(&url) {
            return Err(invalid(
                "the node's address must be http:// and a loopback address: its passwords are not protected on the way",
            ));
        }
        let mut path = url
            .path_segments_mut()
            .map_err(|()| invalid("the node's address has no path"))?;
        path.clear().push("wallet").push(wallet);
        drop(path);
        Ok(Self {
            http: node::built(node::client(timeout).tls_backend_preconfigured(no_tls()?))?,
            url,
            auth,
            timeout,
        })
    }

    /// What goes into the header, read anew each time: a cookie changes when the node starts.
    async fn authorization(&self) -> Result<HeaderValue, RailError> {
        let words = match &self.auth {
            CoreAuth::Cookie(path) => node::read_line(path).await?,
            CoreAuth::Password { user, password } => {
                let password = node::read_line(password).await?;
                Zeroizing::new(format!("{user}:{}", password.as_str()))
            }
        };
        let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(words.as_bytes())));
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| RailError::ConfigInvalid("the password is unusable".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Calls one method, and reads what it answers.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, RailError> {
        let body = json!({ "jsonrpc": "1.0", "id": method, "method": method, "params": params });
        let request = self.http.post(self.url.clone()).json(&body);
        let request = request.header(AUTHORIZATION, self.authorization().await?);
        let (status, body) = node::answer(request, self.timeout, MAX_ANSWER).await?;
        read(method, status, &body)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<Words>,
    id: String,
}

#[derive(Deserialize)]
struct Words {
    code: i64,
    #[serde(default)]
    message: String,
}

fn read<T: DeserializeOwned>(
    method: &'static str,
    status: u16,
    body: &[u8],
) -> Result<T, RailError> {
    if matches!(status, 401 | 403) {
        return Err(RailError::NotPermitted(format!("status {status}")));
    }
    let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else {
        let message = "no answer of JSON-RPC".to_owned();
        return Err(RailError::NodeFailed {
            status,
            code: 0,
            message,
        });
    };
    if envelope.id != method {
        return Err(RailError::AnswerMalformed("an answer to something else"));
    }
    if let Some(words) = envelope.error {
        let message = bounded(&words.message);
        // Starting; wallet locked; wallet not loaded.
        return Err(if matches!(words.code, -28 | -13 | -18 | -35) {
            RailError::NotReady(message)
        } else {
            RailError::NodeFailed {
                status,
                code: words.code,
                message,
            }
        });
    }
    let result = envelope.result.filter(|_| status == 200);
    let result = result.ok_or(RailError::AnswerMalformed("an answer without a result"))?;
    serde_json::from_str(result.get()).map_err(|_| RailError::AnswerMalformed(method))
}

/// Whether the node itself said no: it numbers its errors.
pub(super) fn is_refusal(error: &RailError) -> bool {
    matches!(error, RailError::NodeFailed { code, .. } if *code != 0)
}

/// Whether it is the node's word that its wallet has no such transaction.
pub(super) fn says_unknown(error: &RailError) -> bool {
    matches!(error, RailError::NodeFailed { code: -5, message, .. } if message.contains("non-wallet transaction"))
}

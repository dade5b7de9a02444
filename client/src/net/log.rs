//! Reading witness logs, their mirrors and watchtowers, and publishing in logs.
//!
//! Nothing that comes from there is believed here: sizes are bounded, and what the bytes are worth is checked by the caller.

use std::time::Duration;

use atomicity_ledger::Preimage;
use atomicity_witness_log::TilePath;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Answer, Call, Net, NetError, ServiceKey};

/// The largest checkpoint or policy that is read, in bytes.
const MAX_TEXT_BYTES: usize = 64 * 1024;
/// A full bundle of the longest leaves has a tenth of this.
const MAX_TILE_BYTES: usize = 128 * 1024;
/// The largest answer in JSON.
const MAX_JSON_BYTES: usize = 1024 * 1024;
/// The largest proof of a lie.
const MAX_FORK_BYTES: usize = 4 * 1024 * 1024;
/// Publishing waits for a cosigned checkpoint.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(30);
/// Tiles that are fetched at once.
const AT_ONCE: usize = 8;

/// Where something is served: by a Pkarr key, or somewhere on the web.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Key { key: ServiceKey, prefix: String },
    Web(Url),
}

/// A server of a log's files.
#[derive(Clone, Debug)]
pub(crate) struct LogSite {
    net: Net,
    place: Place,
    text: String,
}

/// The answer to a publication.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PublishedAnswer {
    /// The index of the leaf.
    pub index: u64,
    /// Its time.
    pub time_ms: u64,
    /// The proof (C2SP tlog-proof).
    pub proof: String,
}

/// A page of verdicts.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Verdicts {
    /// They.
    pub items: Vec<VerdictItem>,
    /// Where to go on; none at the end.
    #[serde(default)]
    pub next: Option<String>,
}

/// What a watchtower says about somebody. Its proof says whether it is true.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct VerdictItem {
    /// The watchtower's number for it.
    #[serde(deserialize_with = "text_or_number")]
    pub id: String,
    /// The log.
    pub origin: String,
}

fn text_or_number<'de, D: serde::Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(u64),
    }
    Ok(match Either::deserialize(input)? {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    })
}

impl LogSite {
    /// The server at an address: `https://<key>/…` is reached by the key, anything else as an ordinary web address.
    ///
    /// # Errors
    /// [`NetError::Invalid`] if it is no address.
    pub(crate) fn new(net: &Net, text: &str) -> Result<Self, NetError> {
        let url: Url = text
            .trim()
            .parse()
            .ok()
            .filter(|url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| NetError::Invalid(format!("{text:?} is no web address")))?;
        let key = url
            .host_str()
            .filter(|_| url.scheme() == "https" && url.port().is_none())
            .and_then(|host| host.parse::<ServiceKey>().ok());
        let path = url.path().trim_end_matches('/').to_owned();
        let (place, text) = match key {
            Some(key) => {
                let text = format!("https://{key}{path}");
                (Place::Key { key, prefix: path }, text)
            }
            None => {
                let text = url.as_str().trim_end_matches('/').to_owned();
                (Place::Web(url), text)
            }
        };
        Ok(Self {
            net: net.clone(),
            place,
            text,
        })
    }

    /// The address as it is written.
    pub(crate) fn address(&self) -> &str {
        &self.text
    }

    /// Says that the user named this server: it may live on a private address.
    pub(crate) fn trust(&self) {
        match &self.place {
            Place::Key { key, .. } => self.net.trust(key),
            Place::Web(url) => {
                if let Some(host) = url.host_str() {
                    self.net.trust_host(host);
                }
            }
        }
    }

    /// The server of which this is a part: without the last piece of the path, if it is this one.
    pub(crate) fn without(&self, last: &str) -> Result<Self, NetError> {
        let text = self.text.strip_suffix(last).unwrap_or(&self.text);
        Self::new(&self.net, text)
    }

    /// Something below this address.
    pub(crate) fn below(&self, path: &str) -> Result<Self, NetError> {
        Self::new(&self.net, &format!("{}{path}", self.text))
    }

    async fn call(&self, call: Call) -> Result<Answer, NetError> {
        match &self.place {
            Place::Key { key, prefix } => {
                let path = format!("{prefix}{}", call.path);
                self.net.call(key, &Call { path, ..call }).await
            }
            Place::Web(url) => self.net.call_url(url, &call).await,
        }
    }

    fn request(&self, method: Method, path: &str, max: usize) -> Call {
        Call::new(method, path, self.net.config()).at_most(max)
    }

    async fn get(&self, path: &str, max: usize) -> Result<Vec<u8>, NetError> {
        let answer = self.call(self.request(Method::GET, path, max)).await?;
        match answer.status {
            StatusCode::OK => Ok(answer.body),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                Err(NetError::NotFound(format!("{}{path}", self.text)))
            }
            _ => Err(answer.failure(&self.text)),
        }
    }

    async fn text(&self, path: &str) -> Result<String, NetError> {
        let bytes = self.get(path, MAX_TEXT_BYTES).await?;
        String::from_utf8(bytes).map_err(|_| self.malformed("it is no text"))
    }

    fn malformed(&self, reason: &str) -> NetError {
        NetError::Malformed {
            server: self.text.clone(),
            reason: reason.to_owned(),
        }
    }

    /// The newest checkpoint.
    pub(crate) async fn checkpoint(&self) -> Result<String, NetError> {
        self.text("/checkpoint").await
    }

    /// The newest checkpoint that a mirror knows to be signed by the log, whoever cosigned it.
    pub(crate) async fn head(&self) -> Result<String, NetError> {
        self.text("/head").await
    }

    /// The log's policy, as its operator proposes it.
    pub(crate) async fn policy(&self) -> Result<String, NetError> {
        self.text("/policy").await
    }

    /// A tile or bundle. A partial one may have become full since: then that one comes, with its path.
    pub(crate) async fn tile(&self, path: &TilePath) -> Result<(TilePath, Vec<u8>), NetError> {
        match self.get(&format!("/{path}"), MAX_TILE_BYTES).await {
            Ok(bytes) => Ok((*path, bytes)),
            Err(NetError::NotFound(_)) if !path.is_full() => {
                let full = path.full();
                let bytes = self.get(&format!("/{full}"), MAX_TILE_BYTES).await?;
                Ok((full, bytes))
            }
            Err(error) => Err(error),
        }
    }

    /// Several tiles or bundles, a few at a time, in the order asked for.
    pub(crate) async fn tiles(
        &self,
        paths: Vec<TilePath>,
    ) -> Result<Vec<(TilePath, Vec<u8>)>, NetError> {
        stream::iter(paths)
            .map(|path| async move { self.tile(&path).await })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Publishes a preimage and waits for the proof.
    pub(crate) async fn publish(
        &self,
        preimage: &Preimage,
        min_index: u64,
    ) -> Result<PublishedAnswer, NetError> {
        #[derive(Serialize)]
        struct Body {
            preimage: Preimage,
            min_index: u64,
        }
        let body = Body {
            preimage: *preimage,
            min_index,
        };
        let mut call = self
            .request(Method::POST, "/preimages", MAX_TEXT_BYTES)
            .json(&body)?;
        call.timeout = call.timeout.max(PUBLISH_PATIENCE);
        let answer = self.call(call).await?;
        if answer.status.is_success() {
            answer.json(&self.text)
        } else {
            Err(answer.failure(&self.text))
        }
    }

    /// The tombstones that a cosigner signed, of whatever logs.
    pub(crate) async fn tombstones(&self) -> Result<Vec<String>, NetError> {
        #[derive(Deserialize)]
        struct Item {
            tombstone: String,
        }
        #[derive(Deserialize)]
        struct List {
            items: Vec<Item>,
        }
        let body = self.get("/tombstones", MAX_JSON_BYTES).await?;
        let list: List =
            serde_json::from_slice(&body).map_err(|e| self.malformed(&e.to_string()))?;
        Ok(list.items.into_iter().map(|item| item.tombstone).collect())
    }

    /// Hands checkpoints to a watchtower, at most 16.
    pub(crate) async fn tell_checkpoints(&self, notes: &[String]) -> Result<(), NetError> {
        let body = serde_json::json!({ "notes": notes });
        let call = self
            .request(Method::POST, "/checkpoints", MAX_JSON_BYTES)
            .json(&body)?;
        self.told(call).await
    }

    /// Hands a proof to a watchtower.
    pub(crate) async fn tell_proof(&self, proof: &[u8]) -> Result<(), NetError> {
        let call = self
            .request(Method::POST, "/proofs", MAX_JSON_BYTES)
            .body(proof.to_vec())
            .header("content-type", "application/octet-stream")?;
        self.told(call).await
    }

    async fn told(&self, call: Call) -> Result<(), NetError> {
        let answer = self.call(call).await?;
        if answer.status.is_success() {
            Ok(())
        } else {
            Err(answer.failure(&self.text))
        }
    }

    /// A page of a watchtower's verdicts.
    pub(crate) async fn verdicts(&self, after: Option<&str>) -> Result<Verdicts, NetError> {
        let mut pairs = vec![("limit", "100")];
        pairs.extend(after.map(|after| ("after", after)));
        let path = format!("/verdicts?{}", super::query(pairs));
        let body = self.get(&path, MAX_JSON_BYTES).await?;
        serde_json::from_slice(&body).map_err(|e| self.malformed(&e.to_string()))
    }

    /// The proof of a verdict.
    pub(crate) async fn proof(&self, id: &str) -> Result<Vec<u8>, NetError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || id.len() > 100 || !id.chars().all(plain) {
            return Err(self.malformed("a verdict's number is none"));
        }
        self.get(&format!("/proofs/{id}"), MAX_FORK_BYTES).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::NetworkConfig;
    use atomicity_ledger::Keypair;

    #[tokio::test]
    async fn a_key_in_the_place_of_a_host_is_reached_by_key() {
        let config = NetworkConfig {
            testnet: true,
            relays: Some(Vec::new()),
            ..NetworkConfig::default()
        };
        let net = Net::new(&config).unwrap();
        let key = Keypair::from_secret(&[1; 32]).user_key();
        let by_key = LogSite::new(&net, &format!("https://{key}/log/")).unwrap();
        let prefix = "/log".to_owned();
        assert_eq!(by_key.place, Place::Key { key, prefix });
        let cosigner = by_key.without("/log").unwrap().below("/cosigner").unwrap();
        assert_eq!(cosigner.address(), format!("https://{key}/cosigner"));
        let web = LogSite::new(&net, "http://127.0.0.1:80/log").unwrap();
        assert!(matches!(web.place, Place::Web(_)));
        assert_eq!(
            LogSite::new(&net, "ftp://x/").unwrap_err().code(),
            "invalid_argument"
        );
    }
}

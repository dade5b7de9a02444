//! What rails of nodes share: HTTP that is bounded in bytes and time, the operator's files, the clock.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atomicity_ledger::Timestamp;
use reqwest::{ClientBuilder, RequestBuilder};
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::error::{RailError, with_causes};

/// The longest file of an operator's: a certificate, a credential.
const MAX_FILE: u64 = 64 * 1024;

/// A client that follows nobody and asks no proxy.
pub(crate) fn client(connect_timeout: Duration) -> ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(connect_timeout)
}

/// The client, or why there is none.
pub(crate) fn built(builder: ClientBuilder) -> Result<reqwest::Client, RailError> {
    builder
        .build()
        .map_err(|why| RailError::ConfigInvalid(with_causes(&why)))
}

/// An answer read to its end: its status and its body.
pub(crate) async fn answer(
    request: RequestBuilder,
    wait: Duration,
    limit: usize,
) -> Result<(u16, Vec<u8>), RailError> {
    let end = Instant::now() + wait;
    let limited = timeout_at(end, async {
        let unreachable = |why: reqwest::Error| {
            let words = with_causes(&why.without_url());
            RailError::Unreachable(words)
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let broken = |why: reqwest::Error| RailError::AnswerBroken(with_causes(&why.without_url()));
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > limit {
                return Err(RailError::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    });
    limited.await.unwrap_or(Err(RailError::Timeout(wait)))
}

/// Reads a small file of the node's operator.
pub(crate) async fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, RailError> {
    let unusable = |why: &dyn fmt::Display| {
        RailError::ConfigInvalid(format!("{} can't be read: {why}", path.display()))
    };
    let file = tokio::fs::File::open(path)
        .await
        .map_err(|why| unusable(&why))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    let mut file = file.take(MAX_FILE + 1);
    let read = file.read_to_end(&mut bytes).await;
    let read = read.map_err(|why| unusable(&why))?;
    if read as u64 > MAX_FILE {
        return Err(unusable(&"it is too long"));
    }
    Ok(bytes)
}

/// Reads a small file that holds one line of text.
pub(crate) async fn read_line(path: &Path) -> Result<Zeroizing<String>, RailError> {
    let bytes = read_file(path).await?;
    let line = std::str::from_utf8(&bytes).ok().map(str::trim);
    let line = line.filter(|line| !line.is_empty() && !line.chars().any(char::is_control));
    let line = line.ok_or_else(|| {
        RailError::ConfigInvalid(format!("{} is not one line of text", path.display()))
    })?;
    Ok(Zeroizing::new(line.to_owned()))
}

/// Whether a URL names this machine by an address; a name can lead anywhere.
pub(crate) fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<std::net::IpAddr>()
        .is_ok_and(|address| address.is_loopback())
}

/// What the clock says.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.ok().and_then(|d| u64::try_from(d.as_millis()).ok());
    Timestamp::saturating_from_millis(millis.unwrap_or_default())
}

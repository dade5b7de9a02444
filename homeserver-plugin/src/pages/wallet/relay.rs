//! The relay through which an authenticator hands over what its user approved: a box that anybody can write to who knows its name, with
//! content that only this log-in can open.
//!
//! The form is Pubky Auth's: the box is named by the hash of a secret, and what lies in it is encrypted by the secret itself. Both are in the
//! code that the user scans.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::{StatusCode, redirect};
use url::Url;
use zeroize::Zeroizing;

use crate::error::PluginError;

/// Longest message that is read: a grant has less than one kilobyte.
const MAX_BYTES: usize = 16 * 1024;
/// Relays hold a question open for some 25 s.
const PATIENCE: Duration = Duration::from_secs(40);
/// Pause after a relay did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Pause after a relay said that nothing has come, should it say so at once.
const BREATH: Duration = Duration::from_millis(100);
/// Most messages of others that are thrown away in one log-in.
const MAX_FOREIGN: usize = 8;

/// Asks the relay that the operator named.
#[derive(Clone, Debug)]
pub struct Relay {
    base: Url,
    http: reqwest::Client,
}

impl Relay {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// [`PluginError::Config`].
    pub fn new(base: &Url) -> Result<Self, PluginError> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("atomicity-homeserver/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .timeout(PATIENCE)
            .build()
            .map_err(|error| PluginError::Config(format!("pages.relay: {error}")))?;
        Ok(Self {
            base: base.clone(),
            http,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    fn place(&self, secret: &[u8; 32]) -> Result<Url, PluginError> {
        let name = BASE64_URL_SAFE_NO_PAD.encode(pubky_common::crypto::hash(secret).as_bytes());
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| PluginError::Config("pages.relay can't hold a path".to_owned()))?
            .pop_if_empty()
            .push(&name);
        Ok(url)
    }

    /// Waits for the message, for ever: whoever asks gives up. `silent` is told whenever the relay does not answer, or does again.
    ///
    /// # Errors
    /// [`PluginError::Upstream`] if somebody else keeps writing into the box.
    pub async fn receive(
        &self,
        secret: &[u8; 32],
        silent: impl Fn(bool),
    ) -> Result<Zeroizing<Vec<u8>>, PluginError> {
        let place = self.place(secret)?;
        let mut foreign = 0_usize;
        while foreign < MAX_FOREIGN {
            match self.ask(&place).await {
                Ok(Some(sealed)) => {
                    // The authenticator may wait to hear that it was taken.
                    let taken = self.http.delete(place.clone()).send().await;
                    if let Err(error) = taken {
                        // The address names the box: it stays out of the log.
                        let error = error.without_url();
                        tracing::debug!(%error, "a relay was not told that a message was taken");
                    }
                    match pubky_common::crypto::decrypt(&sealed, secret) {
                        Ok(message) if !message.is_empty() => return Ok(Zeroizing::new(message)),
                        _ => foreign = foreign.saturating_add(1),
                    }
                }
                Ok(None) => {
                    silent(false);
                    tokio::time::sleep(BREATH).await;
                }
                Err(error) => {
                    let error = error.without_url();
                    tracing::debug!(%error, "a relay did not answer");
                    silent(true);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        Err(PluginError::Upstream(
            "somebody else writes into this log-in's box".to_owned(),
        ))
    }

    /// One question; `None` if nothing has come.
    async fn ask(&self, place: &Url) -> Result<Option<Vec<u8>>, reqwest::Error> {
        let response = self.http.get(place.clone()).send().await;
        let mut response = match response {
            Err(error) if error.is_timeout() && !error.is_connect() => return Ok(None),
            other => other?,
        };
        if response.status() == StatusCode::REQUEST_TIMEOUT {
            return Ok(None);
        }
        response.error_for_status_ref()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len().saturating_add(chunk.len()) > MAX_BYTES {
                // Nobody's grant is so long: read as a message that can't be opened.
                return Ok(Some(Vec::new()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }
}

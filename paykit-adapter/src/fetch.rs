//! Bounded reading from homeservers: every answer has a limit in bytes and in time, every listing a limit in pages.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pubky::{Method, PubkyHttpClient, PubkyResource, PublicKey};
use reqwest::Response;

use crate::error::AdapterError;

/// Bounds on reading. The defaults suit a wallet; a service may want less.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReadLimits {
    /// How long one request may take, its content included.
    pub request: Duration,
    /// How long one call of [`crate::Reader`] may take in all. What was read by then is returned.
    pub total: Duration,
    /// How many bytes one call may read in all.
    pub bytes: usize,
    /// How many endpoints one call may return in all, over all apps.
    pub endpoints: usize,
    /// How many requests may run at once.
    pub concurrency: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            total: Duration::from_secs(30),
            bytes: 4 * 1024 * 1024,
            endpoints: 1024,
            concurrency: 8,
        }
    }
}

/// The bytes that a call may still read, shared by its requests.
pub(crate) struct Budget {
    left: AtomicUsize,
    limit: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            left: AtomicUsize::new(limit),
            limit,
        }
    }

    fn take(&self, bytes: usize) -> Result<(), AdapterError> {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .map(|_| ())
            .map_err(|_| {
                // What doesn't fit ends the call, or many small files could still be fetched one by one.
                self.left.store(0, Ordering::Relaxed);
                AdapterError::BudgetExhausted { limit: self.limit }
            })
    }

    fn check(&self) -> Result<(), AdapterError> {
        if self.left.load(Ordering::Relaxed) == 0 {
            return Err(AdapterError::BudgetExhausted { limit: self.limit });
        }
        Ok(())
    }
}

/// One place to read from: whose, through which client, within which bounds.
pub(crate) struct Source<'a> {
    pub(crate) client: &'a PubkyHttpClient,
    pub(crate) owner: PublicKey,
    pub(crate) limits: ReadLimits,
    pub(crate) budget: Budget,
}

/// The names in a directory, directories with a slash at their end.
pub(crate) struct Names {
    pub(crate) names: Vec<String>,
    /// Whether there were more than asked for.
    pub(crate) more: bool,
}

const PAGE: usize = 100;
/// A path on a homeserver has at most 972 bytes; with scheme and key a line has fewer than 1,100.
const MAX_LINE: usize = 1100;

impl Source<'_> {
    /// Reads a file of at most `max` bytes, or nothing if there is none.
    pub(crate) async fn get(
        &self,
        path: &str,
        max: usize,
    ) -> Result<Option<Vec<u8>>, AdapterError> {
        self.get_query(path, &[], max).await
    }

    /// Lists a directory without its subdirectories, at most `max` names. An absent directory is empty.
    pub(crate) async fn list(&self, dir: &str, max: usize) -> Result<Names, AdapterError> {
        let malformed = AdapterError::ListingMalformed;
        let prefix = format!("{}{dir}", self.owner.z32());
        let mut names = Vec::new();
        let mut seen = BTreeSet::new();
        let mut cursor = None;
        // Each turn but the last adds a full page of new names, so the loop ends whatever the homeserver answers.
        while names.len() <= max {
            let mut query = vec![("shallow", "true".to_owned()), ("limit", PAGE.to_string())];
            query.extend(cursor.take().map(|last| ("cursor", last)));
            let Some(page) = self.get_query(dir, &query, PAGE * MAX_LINE).await? else {
                break;
            };
            let page = String::from_utf8(page).map_err(|_| malformed("it is not UTF-8"))?;
            let before = names.len();
            for line in page.lines().map(str::trim).filter(|line| !line.is_empty()) {
                let name = line
                    .strip_prefix("pubky://")
                    .and_then(|rest| rest.strip_prefix(&prefix))
                    .filter(|name| !name.is_empty())
                    .ok_or(malformed("it names a file outside the directory"))?;
                cursor = Some(format!("{prefix}{name}"));
                if seen.insert(name.to_owned()) {
                    names.push(name.to_owned());
                }
            }
            if names.len().saturating_sub(before) < PAGE {
                break;
            }
        }
        let more = names.len() > max;
        names.truncate(max);
        Ok(Names { names, more })
    }

    async fn get_query(
        &self,
        path: &str,
        query: &[(&str, String)],
        max: usize,
    ) -> Result<Option<Vec<u8>>, AdapterError> {
        self.budget.check()?;
        let limit = self.limits.request;
        match tokio::time::timeout(limit, self.request(path, query, max)).await {
            Ok(result) => result,
            Err(_) => Err(AdapterError::Timeout(limit)),
        }
    }

    async fn request(
        &self,
        path: &str,
        query: &[(&str, String)],
        max: usize,
    ) -> Result<Option<Vec<u8>>, AdapterError> {
        let mut url = PubkyResource::new(self.owner.clone(), path)?.to_transport_url()?;
        for (name, value) in query {
            url.query_pairs_mut().append_pair(name, value);
        }
        let response = self
            .client
            .request_async(Method::GET, url)
            .await?
            .send()
            .await
            .map_err(pubky::Error::from)?;
        match response.status().as_u16() {
            404 | 410 => Ok(None),
            200 => self.body(response, max).await.map(Some),
            status => Err(AdapterError::from_status(status)),
        }
    }

    /// The content in chunks: the announced length may be absent or a lie.
    async fn body(&self, mut response: Response, max: usize) -> Result<Vec<u8>, AdapterError> {
        let too_large = || AdapterError::TooLarge { limit: max };
        if response
            .content_length()
            .is_some_and(|length| length > max as u64)
        {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(AdapterError::BodyBroken)? {
            self.budget.take(chunk.len())?;
            if bytes.len().saturating_add(chunk.len()) > max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_at_its_limit_and_stays_ended() {
        let budget = Budget::new(100);
        assert!(budget.take(60).is_ok());
        assert!(budget.take(40).is_ok());
        assert!(budget.check().is_err());
        let budget = Budget::new(100);
        assert!(budget.take(101).is_err());
        assert!(
            budget.take(1).is_err(),
            "what was refused does not make room for the next"
        );
    }
}

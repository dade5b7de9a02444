//! Files on the own homeserver: bounded reads, writes, listings and write locks.

use std::time::Duration;

use atomicity_ledger::UserKey;
use reqwest::{Method, StatusCode};

use super::error::NetError;
use super::fetch::{Body, Fetched};
use super::session::HomeSession;
use super::{Answer, Call, ServiceKey};

/// The longest path that a homeserver takes, in bytes.
const MAX_PATH_BYTES: usize = 972;
const MAX_SEGMENT_BYTES: usize = 255;
/// Room for one page of a listing: 1,000 addresses.
const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;
/// Entries on one page of [`HomeSession::list_all`].
const PAGE: u16 = 500;
/// Longest time that a homeserver lets a lock live.
const MAX_LOCK: Duration = Duration::from_secs(60);

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListPage {
    /// Absolute paths, such as `/pub/atomicity/v0/profile`, in order.
    pub paths: Vec<String>,
    /// What to give as `after` for the next page; `None` at the end.
    pub next: Option<String>,
}

/// An exclusive write lock on one path. It ends by itself; end it earlier with [`HomeSession::unlock`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageLock {
    path: String,
    token: String,
    /// How long it lives from when it was taken or refreshed.
    pub ttl: Duration,
}

impl StorageLock {
    /// The locked path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Percent-encodes what may not stand in a path segment as it is.
pub(crate) fn encode_segment(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Checks an absolute path of storage and percent-encodes it. A `/` at the end means a folder.
pub(crate) fn encode_path(path: &str) -> Result<String, NetError> {
    let bad = |why: &str| NetError::Invalid(format!("{path:?} can't be a path: {why}"));
    if path.len() > MAX_PATH_BYTES {
        return Err(bad("it is too long"));
    }
    let inner = path
        .strip_prefix('/')
        .filter(|_| path.starts_with("/pub/") || path.starts_with("/priv/"))
        .ok_or_else(|| bad("it begins neither with /pub/ nor with /priv/"))?;
    let mut out = String::with_capacity(path.len());
    for segment in inner.strip_suffix('/').unwrap_or(inner).split('/') {
        if matches!(segment, "" | "." | "..") || segment.len() > MAX_SEGMENT_BYTES {
            return Err(bad("a part of it is empty, a dot or too long"));
        }
        if segment.chars().any(char::is_control) {
            return Err(bad("it has control characters"));
        }
        out.push('/');
        out.push_str(&encode_segment(segment));
    }
    if inner.ends_with('/') {
        out.push('/');
    }
    Ok(out)
}

/// The path under which a homeserver serves `path` of `user`.
pub(crate) fn storage_path(user: &UserKey, path: &str) -> Result<String, NetError> {
    Ok(format!("/storage/{}{}", user.to_z32(), encode_path(path)?))
}

impl HomeSession {
    fn storage(&self, method: Method, path: &str) -> Result<Call, NetError> {
        let path = storage_path(self.user(), path)?;
        Ok(Call::new(method, path, self.net().config()))
    }

    /// The error for a refused storage request.
    fn refusal(&self, answer: &Answer, path: &str) -> NetError {
        let server: &ServiceKey = self.homeserver();
        match answer.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => NetError::NotFound(path.to_owned()),
            StatusCode::LOCKED => NetError::Locked(path.to_owned()),
            StatusCode::PRECONDITION_FAILED => NetError::LockLost(path.to_owned()),
            StatusCode::INSUFFICIENT_STORAGE => NetError::QuotaExceeded(server.to_z32()),
            _ => answer.failure(&server.to_z32()),
        }
    }

    async fn storage_ok(&self, call: Call, path: &str) -> Result<Answer, NetError> {
        let answer = self.send(call).await?;
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(self.refusal(&answer, path))
        }
    }

    /// Reads a file of the own, at most `max_bytes` of it.
    ///
    /// # Errors
    /// [`NetError::NotFound`], [`NetError::TooLarge`], network errors.
    pub async fn get(&self, path: &str, max_bytes: usize) -> Result<Vec<u8>, NetError> {
        let call = self.storage(Method::GET, path)?.at_most(max_bytes);
        Ok(self.storage_ok(call, path).await?.body)
    }

    /// Reads a file of the own if it is no longer the version with this tag.
    ///
    /// # Errors
    /// As [`HomeSession::get`].
    pub async fn get_if_changed(
        &self,
        path: &str,
        etag: Option<&str>,
        max_bytes: usize,
    ) -> Result<Fetched, NetError> {
        let mut call = self.storage(Method::GET, path)?.at_most(max_bytes);
        if let Some(etag) = etag {
            call = call.header("if-none-match", etag)?;
        }
        let answer = self.send(call).await?;
        let home = *self.homeserver();
        match answer.status {
            StatusCode::NOT_MODIFIED if etag.is_some() => Ok(Fetched {
                home,
                etag: etag.map(str::to_owned),
                body: Body::Unchanged,
            }),
            status if status.is_success() => Ok(Fetched {
                home,
                etag: answer.etag(),
                body: Body::Bytes(answer.body),
            }),
            _ => Err(self.refusal(&answer, path)),
        }
    }

    /// Writes a file, whatever was there.
    ///
    /// # Errors
    /// [`NetError::Locked`], [`NetError::QuotaExceeded`], [`NetError::Forbidden`] outside of the wallet's folders, network errors.
    pub async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<(), NetError> {
        let call = self.storage(Method::PUT, path)?.body(bytes);
        self.storage_ok(call, path).await.map(|_| ())
    }

    /// Deletes a file. False if there was none.
    ///
    /// # Errors
    /// As [`HomeSession::put`].
    pub async fn delete(&self, path: &str) -> Result<bool, NetError> {
        let call = self.storage(Method::DELETE, path)?;
        match self.storage_ok(call, path).await {
            Ok(_) => Ok(true),
            Err(NetError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// One page of what lies under a folder (`dir` ends with `/`), subfolders included. A folder that does not exist is empty.
    ///
    /// # Errors
    /// [`NetError::Malformed`] if the listing names anything outside of the folder; network errors.
    pub async fn list(
        &self,
        dir: &str,
        after: Option<&str>,
        limit: u16,
    ) -> Result<ListPage, NetError> {
        if !dir.ends_with('/') {
            return Err(NetError::Invalid(format!("{dir:?} is no folder")));
        }
        let limit = limit.clamp(1, 1000);
        let own = format!("pubky://{}", self.user());
        let limit_text = limit.to_string();
        let cursor = after.map(|after| format!("{own}{after}"));
        let query = super::query(
            [("limit", limit_text.as_str())]
                .into_iter()
                .chain(cursor.as_deref().map(|cursor| ("cursor", cursor))),
        );
        let mut call = self.storage(Method::GET, dir)?.at_most(MAX_PAGE_BYTES);
        call.path = format!("{}?{query}", call.path);
        let answer = match self.storage_ok(call, dir).await {
            Err(NetError::NotFound(_)) => return Ok(ListPage::default()),
            other => other?,
        };
        let malformed = |reason: &str| NetError::Malformed {
            server: self.homeserver().to_z32(),
            reason: reason.to_owned(),
        };
        let text =
            String::from_utf8(answer.body).map_err(|_| malformed("a listing that is not text"))?;
        let mut paths = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let path = line
                .strip_prefix(&own)
                .filter(|path| path.starts_with(dir))
                .ok_or_else(|| malformed("a listing of something else"))?;
            paths.push(path.to_owned());
        }
        // A full page may be the last one; the next is then empty.
        let full = paths.len() >= usize::from(limit);
        let next = paths.last().filter(|_| full).cloned();
        if next.is_some() && next.as_deref() == after {
            return Err(malformed("a listing that does not move on"));
        }
        Ok(ListPage { paths, next })
    }

    /// Everything under a folder, at most `max` paths.
    ///
    /// # Errors
    /// [`NetError::TooLarge`] if there are more; as [`HomeSession::list`].
    pub async fn list_all(&self, dir: &str, max: usize) -> Result<Vec<String>, NetError> {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let page = self.list(dir, after.as_deref(), PAGE).await?;
            all.extend(page.paths);
            if all.len() > max {
                return Err(NetError::TooLarge {
                    server: self.homeserver().to_z32(),
                    limit: max,
                });
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Takes the exclusive write lock of a path, which need not exist. While it lives only [`HomeSession::put_locked`] with it can
    /// write there.
    ///
    /// # Errors
    /// [`NetError::Locked`] if somebody else holds it; network errors.
    pub async fn lock(&self, path: &str, ttl: Duration) -> Result<StorageLock, NetError> {
        let call = self
            .storage(lock_method()?, path)?
            .header("timeout", &timeout_header(ttl))?;
        let answer = self.storage_ok(call, path).await?;
        let token = answer
            .header("lock-token")
            .and_then(|value| value.trim().strip_prefix('<')?.strip_suffix('>'))
            .filter(|token| token.starts_with("opaquelocktoken:") && token.len() <= 200)
            .ok_or_else(|| NetError::Malformed {
                server: self.homeserver().to_z32(),
                reason: "a lock without a token".to_owned(),
            })?
            .to_owned();
        Ok(StorageLock {
            path: path.to_owned(),
            token,
            ttl: granted(&answer).unwrap_or(ttl),
        })
    }

    /// Starts the life of a lock anew.
    ///
    /// # Errors
    /// [`NetError::LockLost`] if it has ended already; network errors.
    pub async fn refresh_lock(
        &self,
        lock: &mut StorageLock,
        ttl: Duration,
    ) -> Result<(), NetError> {
        let call = self
            .storage(lock_method()?, &lock.path)?
            .header("if", &format!("(<{}>)", lock.token))?
            .header("timeout", &timeout_header(ttl))?;
        let answer = self.storage_ok(call, &lock.path).await?;
        lock.ttl = granted(&answer).unwrap_or(ttl);
        Ok(())
    }

    /// Writes the locked file.
    ///
    /// # Errors
    /// [`NetError::LockLost`] if the lock has ended: nothing was written. As [`HomeSession::put`].
    pub async fn put_locked(&self, lock: &StorageLock, bytes: Vec<u8>) -> Result<(), NetError> {
        let call = self
            .storage(Method::PUT, &lock.path)?
            .header("if", &format!("(<{}>)", lock.token))?
            .body(bytes);
        self.storage_ok(call, &lock.path).await.map(|_| ())
    }

    /// Deletes the locked file. False if there was none.
    ///
    /// # Errors
    /// As [`HomeSession::put_locked`].
    pub async fn delete_locked(&self, lock: &StorageLock) -> Result<bool, NetError> {
        let call = self
            .storage(Method::DELETE, &lock.path)?
            .header("if", &format!("(<{}>)", lock.token))?;
        match self.storage_ok(call, &lock.path).await {
            Ok(_) => Ok(true),
            Err(NetError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Ends a lock. One that has ended already is fine.
    ///
    /// # Errors
    /// Network errors.
    pub async fn unlock(&self, lock: StorageLock) -> Result<(), NetError> {
        let method = Method::from_bytes(b"UNLOCK")
            .map_err(|_| NetError::Invalid("UNLOCK is no method".to_owned()))?;
        let call = self
            .storage(method, &lock.path)?
            .header("lock-token", &format!("<{}>", lock.token))?;
        let answer = self.send(call).await?;
        match answer.status {
            status if status.is_success() || status == StatusCode::CONFLICT => Ok(()),
            _ => Err(self.refusal(&answer, &lock.path)),
        }
    }
}

fn lock_method() -> Result<Method, NetError> {
    Method::from_bytes(b"LOCK").map_err(|_| NetError::Invalid("LOCK is no method".to_owned()))
}

fn timeout_header(ttl: Duration) -> String {
    format!("Second-{}", ttl.min(MAX_LOCK).as_secs().max(1))
}

fn granted(answer: &Answer) -> Option<Duration> {
    let seconds = answer.header("timeout")?.trim().strip_prefix("Second-")?;
    Some(Duration::from_secs(seconds.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_are_checked_and_encoded() {
        assert_eq!(
            encode_path("/pub/a b/ü%?#").unwrap(),
            "/pub/a%20b/%C3%BC%25%3F%23"
        );
        assert_eq!(encode_path("/priv/x/").unwrap(), "/priv/x/");
        for bad in [
            "pub/a",
            "/other/a",
            "/pub/../x",
            "/pub//x",
            "/pub/./x",
            "/pub/a\n",
            "/pub",
            "",
        ] {
            assert_eq!(
                encode_path(bad).unwrap_err().code(),
                "invalid_argument",
                "{bad:?}"
            );
        }
        assert!(encode_path(&format!("/pub/{}", "a".repeat(256))).is_err());
        assert!(encode_path(&format!("/pub/{}", "a/".repeat(600))).is_err());
    }
}

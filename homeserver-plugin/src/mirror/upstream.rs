//! Reading a log at its own address. Nothing that comes from there is believed.

use atomicity_witness_log::tile::{TILE_BYTES, TileKind, bundles, decode_bundle};
use atomicity_witness_log::{SignedNote, TilePath, TileSet};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use url::Url;

use super::{Followed, MirrorError};
use crate::resolve::Resolver;
use crate::resolve::call::Call;
use crate::state::AppState;

/// Longest checkpoint that is read. A checkpoint with dozens of cosignatures has a tenth of it.
pub const MAX_CHECKPOINT: usize = 64 * 1024;
/// Longest bundle that is read: what a log of ours writes has 11 KiB.
const MAX_BUNDLE: usize = 1024 * 1024;
/// Requests to one log at once.
const AT_ONCE: usize = 8;

/// The URL of something below a prefix.
#[must_use]
pub fn below(prefix: &Url, path: &str) -> Url {
    let mut url = prefix.clone();
    url.set_path(&format!("{}/{path}", prefix.path().trim_end_matches('/')));
    url
}

async fn get(
    resolver: &Resolver,
    log: &Followed,
    path: &str,
    max_bytes: usize,
) -> Result<(u16, Vec<u8>), MirrorError> {
    let url = below(&log.url, path);
    let call = Call {
        url: &url,
        body: None,
        max_bytes,
    };
    let answer = match log.stranger {
        true => resolver.call_stranger(&call).await,
        false => resolver.call(&call).await,
    };
    let answer = answer.map_err(|error| MirrorError::Unserved(error.to_string()))?;
    Ok((answer.status, answer.body))
}

/// The checkpoint that the log shows the public. Not verified.
///
/// # Errors
/// [`MirrorError::Unserved`], [`MirrorError::Log`] if it is no note.
pub async fn checkpoint(resolver: &Resolver, log: &Followed) -> Result<SignedNote, MirrorError> {
    note(resolver, log, "checkpoint").await
}

/// The newest checkpoint that a mirror accepted. Not verified.
///
/// # Errors
/// As [`checkpoint`].
pub async fn head(resolver: &Resolver, mirror: &Followed) -> Result<SignedNote, MirrorError> {
    note(resolver, mirror, "head").await
}

async fn note(resolver: &Resolver, log: &Followed, what: &str) -> Result<SignedNote, MirrorError> {
    match get(resolver, log, what, MAX_CHECKPOINT).await? {
        (200, body) => Ok(SignedNote::parse(&body)?),
        (status, _) => Err(MirrorError::Unserved(format!(
            "its {what}, with status {status}"
        ))),
    }
}

/// A tile or bundle. A log may keep only the full one that replaced a partial one: then that is returned, with its path.
async fn resource(
    state: &AppState,
    log: &Followed,
    path: TilePath,
) -> Result<(TilePath, Vec<u8>), MirrorError> {
    let max_bytes = match path.kind() {
        TileKind::Hashes(_) => TILE_BYTES,
        TileKind::Entries => MAX_BUNDLE,
    };
    for candidate in [path, path.full()] {
        match get(&state.resolver, log, &candidate.to_string(), max_bytes).await? {
            (200, body) => return Ok((candidate, body)),
            (404 | 410, _) => {}
            (status, _) => {
                return Err(MirrorError::Unserved(format!(
                    "{candidate}, with status {status}"
                )));
            }
        }
    }
    Err(MirrorError::Unserved(path.to_string()))
}

/// The entries `[start, end)` of the tree of `size` entries.
///
/// # Errors
/// [`MirrorError::Unserved`], [`MirrorError::Log`] if a bundle is malformed.
pub async fn entries(
    state: &AppState,
    log: &Followed,
    (start, end): (u64, u64),
    size: u64,
) -> Result<Vec<Vec<u8>>, MirrorError> {
    let paths: Vec<TilePath> = bundles(start, end, size).collect();
    let fetched: Vec<(TilePath, Vec<u8>)> = stream::iter(paths)
        .map(|path| resource(state, log, path))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let mut entries = Vec::new();
    for (path, bytes) in &fetched {
        let wanted = decode_bundle(path, bytes)?;
        let numbered = (path.start()..).zip(wanted);
        entries.extend(
            numbered
                .filter(|(index, _)| (start..end).contains(index))
                .map(|(_, entry)| entry.to_vec()),
        );
    }
    Ok(entries)
}

/// These tiles, as far as the log gives them.
///
/// # Errors
/// [`MirrorError::Unserved`], [`MirrorError::Log`] if a tile is malformed.
pub async fn tiles(
    state: &AppState,
    log: &Followed,
    paths: Vec<TilePath>,
) -> Result<TileSet, MirrorError> {
    let fetched: Vec<(TilePath, Vec<u8>)> = stream::iter(paths)
        .map(|path| resource(state, log, path))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let mut set = TileSet::new();
    for (path, bytes) in &fetched {
        set.insert(path, bytes)?;
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_prefix_may_end_with_a_slash_or_not() {
        for prefix in ["https://example.org/log", "https://example.org/log/"] {
            let url = below(&prefix.parse().unwrap(), "tile/0/x001/234");
            assert_eq!(url.as_str(), "https://example.org/log/tile/0/x001/234");
        }
        let url = below(&"http://127.0.0.1:1".parse().unwrap(), "checkpoint");
        assert_eq!(url.as_str(), "http://127.0.0.1:1/checkpoint");
    }
}

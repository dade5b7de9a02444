//! A log in the test's own process that signs whatever it is told to: two histories, times that fall, entries that are no leaves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use atomicity_witness_log::tile::{TileKind, encode_bundle, encode_tile};
use atomicity_witness_log::tree::{leaf_hash, prove_consistency};
use atomicity_witness_log::{
    AddCheckpoint, Checkpoint, Hash, HashSource as _, KeyKind, Leaf, MemoryTree, SignedCheckpoint,
    SignedNote, SigningKey, TilePath, VerifierKey,
};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use url::Url;

/// Unix time in milliseconds.
///
/// # Errors
/// If the clock stands before 1970.
pub fn now_ms() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(u64::try_from(
        since.context("a clock before 1970")?.as_millis(),
    )?)
}

/// One history of a log.
#[derive(Clone, Default)]
pub struct Story {
    entries: Vec<Vec<u8>>,
    tree: MemoryTree,
}

impl Story {
    /// Adds an entry, whatever it is.
    pub fn push(&mut self, entry: &[u8]) {
        self.tree.push(leaf_hash(entry));
        self.entries.push(entry.to_vec());
    }

    /// Adds a preimage, at the time that the test's clock says.
    ///
    /// # Errors
    /// If the clock stands before 1970.
    pub fn preimage(&mut self, preimage: [u8; 32]) -> Result<()> {
        let time_ms = now_ms()?;
        self.push(&Leaf::Preimage { time_ms, preimage }.encode());
        Ok(())
    }

    /// Adds a tick, so many milliseconds ago.
    ///
    /// # Errors
    /// If the clock stands before 1970.
    pub fn tick_ago(&mut self, ago_ms: u64) -> Result<()> {
        let time_ms = now_ms()?.saturating_sub(ago_ms);
        self.push(&Leaf::Tick { time_ms }.encode());
        Ok(())
    }

    /// Adds a tick.
    ///
    /// # Errors
    /// If the clock stands before 1970.
    pub fn tick(&mut self) -> Result<()> {
        self.tick_ago(0)
    }

    /// Number of entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[Vec<u8>] {
        &self.entries
    }

    fn resource(&self, path: &TilePath) -> Option<Vec<u8>> {
        let numbers = path.start()..path.start() + u64::from(path.width());
        match path.kind() {
            TileKind::Hashes(level) => {
                let hashes: Option<Vec<Hash>> = numbers
                    .map(|index| self.tree.hash(8 * level, index).ok())
                    .collect();
                Some(encode_tile(&hashes?))
            }
            TileKind::Entries => {
                let start = usize::try_from(numbers.start).ok()?;
                let end = usize::try_from(numbers.end).ok()?;
                encode_bundle(self.entries.get(start..end)?).ok()
            }
        }
    }
}

struct Shown {
    story: Story,
    checkpoint: Option<SignedNote>,
    silent: bool,
}

/// The log. What it shows the world is one of its stories.
#[derive(Clone)]
pub struct LyingLog {
    key: SigningKey,
    url: String,
    shown: Arc<Mutex<Shown>>,
}

impl LyingLog {
    /// Starts one without entries.
    ///
    /// # Errors
    /// If it can't listen.
    pub async fn start(origin: &str) -> Result<Self> {
        let key = SigningKey::from_secret(origin, KeyKind::Ed25519, rand::random())?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let log = Self {
            key,
            url: format!("http://{}/log", listener.local_addr()?),
            shown: Arc::new(Mutex::new(Shown {
                story: Story::default(),
                checkpoint: None,
                silent: false,
            })),
        };
        let router = Router::new()
            .route("/log/checkpoint", get(checkpoint))
            .route("/log/tile/{*path}", get(tile))
            .with_state(log.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(log)
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its key.
    #[must_use]
    pub fn vkey(&self) -> VerifierKey {
        self.key.verifier()
    }

    /// Where it is read.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves the tiles of this story from now on. The checkpoint that it publishes stays the same.
    pub fn serve(&self, story: &Story) {
        self.shown().story = story.clone();
    }

    /// Publishes this checkpoint.
    pub fn publish(&self, note: &SignedNote) {
        self.shown().checkpoint = Some(note.clone());
    }

    /// Serves this story and publishes a checkpoint of it, which is returned.
    ///
    /// # Errors
    /// If it can't be signed.
    pub fn tell(&self, story: &Story) -> Result<SignedNote> {
        let note = self.sign(story)?;
        self.serve(story);
        self.publish(&note);
        Ok(note)
    }

    /// Whether it answers at all.
    pub fn set_silent(&self, silent: bool) {
        self.shown().silent = silent;
    }

    /// Signs the head of a story.
    ///
    /// # Errors
    /// If the story makes no checkpoint.
    pub fn sign(&self, story: &Story) -> Result<SignedNote> {
        let checkpoint =
            Checkpoint::new(self.key.verifier().name(), story.size(), story.tree.root());
        Ok(checkpoint.sign(&self.key)?)
    }

    /// The body of a request to cosign a story of which so many entries are known.
    ///
    /// # Errors
    /// If the story has fewer entries than that.
    pub fn request(&self, story: &Story, old_size: u64) -> Result<String> {
        let request = AddCheckpoint {
            old_size,
            consistency: prove_consistency(&story.tree, old_size, story.size())?,
            checkpoint: SignedCheckpoint::new(self.sign(story)?)?,
        };
        Ok(request.to_string())
    }

    /// Serves a story and asks a cosigner for its cosignature of it.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn ask(
        &self,
        cosigner: &Url,
        story: &Story,
        old_size: u64,
    ) -> Result<reqwest::Response> {
        self.serve(story);
        let body = self.request(story, old_size)?;
        let url = format!("{cosigner}/add-checkpoint");
        Ok(reqwest::Client::new().post(url).body(body).send().await?)
    }
}

async fn checkpoint(State(log): State<LyingLog>) -> Response {
    let shown = log.shown();
    match &shown.checkpoint {
        Some(note) if !shown.silent => note.to_string().into_response(),
        _ => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn tile(State(log): State<LyingLog>, Path(path): Path<String>) -> Response {
    let shown = log.shown();
    if shown.silent {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let path: Option<TilePath> = format!("tile/{path}").parse().ok();
    match path.and_then(|path| shown.story.resource(&path)) {
        Some(bytes) => bytes.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

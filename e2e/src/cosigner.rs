//! A cosigner in the test's own process: what `c2sp.org/tlog-witness` asks for and nothing more. It never forgets, and can be away.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use atomicity_witness_log::add_checkpoint::encode_response;
use atomicity_witness_log::checkpoint::cosign;
use atomicity_witness_log::tree::verify_consistency;
use atomicity_witness_log::{
    AddCheckpoint, Hash, KeyKind, LogError, SignedCheckpoint, SignedNote, SigningKey, Tombstone,
    VerifierKey,
};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

struct Memory {
    log: VerifierKey,
    size: u64,
    root: Hash,
    away: bool,
    /// The promise never to cosign a larger tree, if it was made.
    tombstone: Option<(Tombstone, SignedNote)>,
    /// Every checkpoint that bore the log's signature, cosigned or not.
    seen: Vec<SignedCheckpoint>,
}

/// A cosigner of one log.
#[derive(Clone)]
pub struct Cosigner {
    key: SigningKey,
    address: SocketAddr,
    memory: Arc<Mutex<Memory>>,
}

impl Cosigner {
    /// Starts one that follows the log of this key.
    ///
    /// # Errors
    /// If it can't listen.
    pub async fn start(name: &str, log: VerifierKey) -> Result<Self> {
        let key = SigningKey::from_secret(name, KeyKind::Cosignature, rand::random())?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let cosigner = Self {
            key,
            address: listener.local_addr()?,
            memory: Arc::new(Mutex::new(Memory {
                log,
                size: 0,
                root: Hash::empty_root(),
                away: false,
                tombstone: None,
                seen: Vec::new(),
            })),
        };
        let router = Router::new()
            .route("/cosigner/add-checkpoint", post(add_checkpoint))
            .route("/cosigner/tombstones", get(tombstones))
            .with_state(cosigner.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(cosigner)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its key, as a log's configuration names it.
    #[must_use]
    pub fn vkey(&self) -> VerifierKey {
        self.key.verifier()
    }

    /// Where it takes checkpoints.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/cosigner", self.address)
    }

    /// Whether it answers at all.
    pub fn set_away(&self, away: bool) {
        self.memory().away = away;
    }

    /// Gives the log up where it is.
    ///
    /// # Errors
    /// If it can't sign that.
    pub fn bury(&self) -> Result<()> {
        let mut memory = self.memory();
        let tombstone = Tombstone {
            origin: memory.log.name().to_owned(),
            size: memory.size,
            root: memory.root,
        };
        let note = tombstone.sign(&self.key)?;
        memory.tombstone = Some((tombstone, note));
        Ok(())
    }

    /// How much of the log it cosigned.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.memory().size
    }

    /// Every checkpoint that it was shown with a good signature of the log.
    #[must_use]
    pub fn seen(&self) -> Vec<SignedCheckpoint> {
        self.memory().seen.clone()
    }

    fn decide(&self, body: &[u8]) -> Result<String, Box<Response>> {
        let plain = |status: StatusCode, error: LogError| {
            Box::new((status, error.to_string()).into_response())
        };
        let request =
            AddCheckpoint::parse(body).map_err(|error| plain(StatusCode::BAD_REQUEST, error))?;
        let mut memory = self.memory();
        if memory.away {
            return Err(Box::new(StatusCode::SERVICE_UNAVAILABLE.into_response()));
        }
        let signed = &request.checkpoint;
        signed
            .verify_log(&memory.log)
            .map_err(|error| plain(StatusCode::FORBIDDEN, error))?;
        if !memory.seen.contains(signed) {
            memory.seen.push(signed.clone());
        }
        if request.old_size != memory.size {
            let kind = [(header::CONTENT_TYPE, "text/x.tlog.size")];
            let answer = (StatusCode::CONFLICT, kind, format!("{}\n", memory.size));
            return Err(Box::new(answer.into_response()));
        }
        if memory.tombstone.is_some() {
            let problem = json!({"type": "about:blank", "title": "Unprocessable Entity", "status": 422, "detail": "dead", "code": "tombstoned"});
            return Err(Box::new(
                (StatusCode::UNPROCESSABLE_ENTITY, Json(problem)).into_response(),
            ));
        }
        let new = signed.checkpoint();
        verify_consistency(
            memory.size,
            new.size,
            &request.consistency,
            &memory.root,
            &new.root,
        )
        .map_err(|error| plain(StatusCode::UNPROCESSABLE_ENTITY, error))?;
        (memory.size, memory.root) = (new.size, new.root);
        let line = now_s()
            .and_then(|now| Ok(cosign(signed, &self.key, now)?))
            .map_err(|error| {
                Box::new((StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response())
            })?;
        Ok(encode_response(&[line]))
    }
}

fn now_s() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(since.context("a clock before 1970")?.as_secs())
}

async fn tombstones(State(cosigner): State<Cosigner>) -> Json<Value> {
    let memory = cosigner.memory();
    let items: Vec<Value> = memory
        .tombstone
        .iter()
        .map(|(stone, note)| json!({"origin": stone.origin, "size": stone.size, "tombstone": note.to_string()}))
        .collect();
    Json(json!({"items": items}))
}

async fn add_checkpoint(State(cosigner): State<Cosigner>, body: Bytes) -> Response {
    match cosigner.decide(&body) {
        Ok(lines) => lines.into_response(),
        Err(refusal) => *refusal,
    }
}

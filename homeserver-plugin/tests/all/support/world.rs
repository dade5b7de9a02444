//! A local DHT, users in it, and a homeserver that does as it is told.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use atomicity_ledger::{Keypair as LedgerKeypair, UserKey};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use pkarr::dns::rdata::SVCB;
use pkarr::{Keypair, SignedPacket};
use serde_json::json;

/// A DHT on this machine.
pub struct World {
    pub network: mainline::Testnet,
}

impl World {
    pub fn new() -> Self {
        Self {
            network: mainline::Testnet::builder(4).build().unwrap(),
        }
    }

    pub fn join(&self, config: &mut atomicity_plugin::Config) {
        config
            .network
            .dht_bootstrap
            .clone_from(&self.network.bootstrap);
        config.network.dht_request_timeout_ms = 200;
        config.network.resolve_timeout_ms = 3_000;
        config.network.fetch_timeout_ms = 2_000;
    }

    pub fn client(&self) -> pkarr::Client {
        pkarr::Client::builder()
            .no_relays()
            .bootstrap(&self.network.bootstrap)
            .build()
            .unwrap()
    }

    /// Says that `user` lives at `home`.
    pub async fn settle(&self, user: &Keypair, home: &Keypair) {
        let target = home.public_key().to_z32();
        let record = SVCB::new(0, target.as_str().try_into().unwrap());
        let packet = SignedPacket::builder()
            .https("_pubky".try_into().unwrap(), record, 3600)
            .sign(user)
            .unwrap();
        self.client().publish(&packet).await.unwrap();
    }
}

/// What a homeserver answers for one path.
#[derive(Clone)]
pub enum File {
    /// The file, with this as its validator.
    Is(String, &'static str),
    /// An error.
    Fails(StatusCode),
}

#[derive(Default)]
struct Shelf {
    files: HashMap<String, File>,
    asked: Vec<(String, Option<String>)>,
    written: HashMap<String, Vec<u8>>,
}

/// A homeserver whose files the test chooses.
pub struct HomeServer {
    pub keys: Keypair,
    shelf: Arc<Mutex<Shelf>>,
    handle: axum_server::Handle<SocketAddr>,
}

impl HomeServer {
    pub async fn open(world: &World) -> Self {
        let keys = Keypair::random();
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let tls = RustlsConfig::from_config(Arc::new(keys.to_rpk_rustls_server_config()));
        let handle = axum_server::Handle::new();
        let server = axum_server::from_tcp(listener)
            .unwrap()
            .acceptor(RustlsAcceptor::new(tls))
            .handle(handle.clone());
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shelf));
        tokio::spawn(server.serve(app.into_make_service()));
        let mut record = SVCB::new(1, ".".try_into().unwrap());
        record.set_port(address.port());
        let packet = SignedPacket::builder()
            .https(".".try_into().unwrap(), record, 3600)
            .address(".".try_into().unwrap(), address.ip(), 3600)
            .sign(&keys)
            .unwrap();
        world.client().publish(&packet).await.unwrap();
        Self {
            keys,
            shelf,
            handle,
        }
    }

    pub fn key(&self) -> UserKey {
        UserKey::from_bytes(self.keys.public_key().to_bytes()).unwrap()
    }

    /// A user who lives here.
    pub async fn resident(&self, world: &World) -> LedgerKeypair {
        let keys = Keypair::random();
        world.settle(&keys, &self.keys).await;
        LedgerKeypair::from_secret(&keys.secret_key())
    }

    pub fn put(&self, user: &UserKey, path: &str, file: File) {
        self.shelf
            .lock()
            .unwrap()
            .files
            .insert(format!("/storage/{user}{path}"), file);
    }

    /// What somebody wrote.
    pub fn bytes(&self, user: &UserKey, path: &str) -> Option<Vec<u8>> {
        let shelf = self.shelf.lock().unwrap();
        shelf
            .written
            .get(&format!("/storage/{user}{path}"))
            .cloned()
    }

    /// Paths that were asked for since the last look, each with the validator that came along.
    pub fn asked(&self) -> Vec<(String, Option<String>)> {
        std::mem::take(&mut self.shelf.lock().unwrap().asked)
    }

    pub fn stop(&self) {
        self.handle.shutdown();
    }
}

async fn answer(
    State(shelf): State<Arc<Mutex<Shelf>>>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let path = request.uri().path().to_owned();
    if request.method() == Method::POST && path == "/auth/grant/session" {
        let session =
            json!({"token": "let-me-in", "session": {"token_expires_at": 9_999_999_999u64}});
        return session.to_string().into_response();
    }
    if request.method() == Method::PUT {
        let bearer = headers.get("authorization").map(|value| value.as_bytes());
        if bearer != Some(b"Bearer let-me-in") {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let body = axum::body::to_bytes(request.into_body(), 1 << 21)
            .await
            .unwrap();
        shelf.lock().unwrap().written.insert(path, body.to_vec());
        return StatusCode::CREATED.into_response();
    }
    let held = headers
        .get("if-none-match")
        .map(|value| value.to_str().unwrap().to_owned());
    let file = {
        let mut shelf = shelf.lock().unwrap();
        shelf.asked.push((path.clone(), held.clone()));
        shelf.files.get(&path).cloned()
    };
    match file {
        _ if path == "/info" => "{\"features\":[]}".into_response(),
        Some(File::Is(_, etag)) if held.as_deref() == Some(etag) => {
            StatusCode::NOT_MODIFIED.into_response()
        }
        Some(File::Is(body, etag)) => ([("etag", etag)], body).into_response(),
        Some(File::Fails(status)) => status.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

//! A homeserver that serves what it is told to: old bytes, garbage, far too much, nothing, or late.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures_util::{StreamExt, stream};
use pkarr::SignedPacket;
use pkarr::dns::rdata::SVCB;
use pubky::{Keypair, PublicKey};

use crate::{ports, wait};

/// How long the packets of this homeserver and of its users may be cached, in seconds.
const TTL: u32 = 300;

/// One chunk of an endless answer.
const CHUNK: usize = 64 * 1024;

/// What a [`Hostile`] homeserver answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// These bytes, with success.
    Bytes(Vec<u8>),
    /// This status and no bytes.
    Status(u16),
    /// So many zero bytes, without saying how many in advance.
    Flood(usize),
    /// Nothing, for ever.
    Silence,
    /// First bytes of a body, then nothing for ever.
    Stall(Vec<u8>),
    /// Another answer, but only after so long.
    Late(Duration, Box<Answer>),
}

/// A homeserver with its own key and packet that serves chosen bytes. It ends with this value.
pub struct Hostile {
    keypair: Keypair,
    port: u16,
    pkarr: pkarr::Client,
    shared: Arc<Shared>,
    handle: axum_server::Handle<SocketAddr>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, Answer>>,
    default: Mutex<Option<Answer>>,
    asked: Mutex<Vec<String>>,
}

impl Hostile {
    /// Starts one and publishes its packet. It answers 404 until told otherwise.
    ///
    /// # Errors
    /// If it cannot listen or publish.
    pub async fn start(pkarr: pkarr::Client) -> Result<Self> {
        let keypair = Keypair::random();
        let port = ports::free()?;
        let shared = Arc::new(Shared::default());
        let app = axum::Router::new()
            .fallback(answer)
            .with_state(shared.clone());
        let tls = RustlsConfig::from_config(Arc::new(keypair.to_rpk_rustls_server_config()));
        let listener = std::net::TcpListener::bind(ports::on_loopback(port))?;
        listener.set_nonblocking(true)?;
        let handle = axum_server::Handle::new();
        let server = axum_server::from_tcp(listener)?
            .acceptor(RustlsAcceptor::new(tls))
            .handle(handle.clone());
        tokio::spawn(server.serve(app.into_make_service()));

        let mut endpoint = SVCB::new(1, ".".try_into()?);
        endpoint.set_port(port);
        let packet = SignedPacket::builder()
            .https(".".try_into()?, endpoint, TTL)
            .address(".".try_into()?, Ipv4Addr::LOCALHOST.into(), TTL)
            .sign(&keypair)?;
        wait::until(
            "the packet of a hostile homeserver to be published",
            || async { Ok(pkarr.publish(&packet).await?) },
        )
        .await?;
        Ok(Self {
            keypair,
            port,
            pkarr,
            shared,
            handle,
        })
    }

    /// Its public key.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.keypair.public_key()
    }

    /// The port of its Pubky TLS listener.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes this the homeserver of `user`, whose root key it has to know for that.
    ///
    /// # Errors
    /// If the user's packet cannot be published.
    pub async fn adopt(&self, user: &Keypair) -> Result<()> {
        let host = self.key().z32();
        let packet = SignedPacket::builder()
            .https(
                "_pubky".try_into()?,
                SVCB::new(0, host.as_str().try_into()?),
                TTL,
            )
            .sign(user)?;
        wait::until("a user's packet to be published", || async {
            Ok(self.pkarr.publish(&packet).await?)
        })
        .await?;
        Ok(())
    }

    /// Answers `path` of any user so.
    pub fn serve(&self, path: &str, answer: Answer) {
        lock(&self.shared.answers).insert(path.to_owned(), answer);
    }

    /// Answers every path that has no answer of its own so.
    pub fn serve_everything(&self, answer: Answer) {
        *lock(&self.shared.default) = Some(answer);
    }

    /// The paths it was asked for, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared.asked).clone()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    lock(&shared.asked).push(path.clone());
    let chosen = lock(&shared.answers).get(&path).cloned();
    let mut chosen = chosen
        .or_else(|| lock(&shared.default).clone())
        .unwrap_or(Answer::Status(StatusCode::NOT_FOUND.as_u16()));
    while let Answer::Late(time, then) = chosen {
        tokio::time::sleep(time).await;
        chosen = *then;
    }
    match chosen {
        Answer::Bytes(bytes) => bytes.into_response(),
        Answer::Status(code) => StatusCode::from_u16(code)
            .unwrap_or(StatusCode::IM_A_TEAPOT)
            .into_response(),
        Answer::Flood(size) => {
            let chunks = size.div_ceil(CHUNK);
            let zeros = Bytes::from(vec![0; CHUNK]);
            stream_of(stream::iter(std::iter::repeat_n(zeros, chunks)))
        }
        Answer::Stall(start) => {
            stream_of(stream::iter([Bytes::from(start)]).chain(stream::pending()))
        }
        Answer::Silence | Answer::Late(..) => std::future::pending().await,
    }
}

fn stream_of(chunks: impl futures_util::Stream<Item = Bytes> + Send + 'static) -> Response {
    Body::from_stream(chunks.map(Ok::<_, Infallible>)).into_response()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

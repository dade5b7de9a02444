//! A node that answers as the documentation of the real one says, and insists on what it is asked.
//!
//! These exchanges were written from the projects' own descriptions and schemas; they are not recordings of a node that ran.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What the node does with a question.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers with this status and body.
    Say(u16, String),
    /// Hangs up without a word.
    HangUp,
    /// Answers half.
    Half,
}

/// One question that must come next, and the answer.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// The path.
    pub(crate) path: &'static str,
    /// A header that it must have, `name: value`, in lower case but for the value.
    pub(crate) header: String,
    /// The body. What is `null` in it may be anything.
    pub(crate) body: Value,
    pub(crate) reply: Reply,
}

/// A node that answers these questions, in this order, and no others.
pub(crate) struct Replay {
    pub(crate) address: SocketAddr,
    serving: JoinHandle<()>,
}

pub(crate) fn certificate() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/testdata/replay-tls.cert"
    ))
}

fn acceptor() -> TlsAcceptor {
    let certificate = include_bytes!("../../testdata/replay-tls.cert");
    let key = include_bytes!("../../testdata/replay-tls.key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate).unwrap()],
            PrivateKeyDer::from_pem_slice(key).unwrap(),
        );
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

impl Replay {
    pub(crate) async fn start(tls: bool, exchanges: Vec<Exchange>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = tls.then(acceptor);
        let serving = tokio::spawn(async move {
            for exchange in exchanges {
                let (stream, _) = listener.accept().await.unwrap();
                match &acceptor {
                    Some(tls) => serve(tls.accept(stream).await.unwrap(), &exchange).await,
                    None => serve(stream, &exchange).await,
                }
            }
        });
        Self { address, serving }
    }

    /// Every question has come, as it should have.
    pub(crate) async fn finish(self) {
        let waited = tokio::time::timeout(std::time::Duration::from_secs(20), self.serving).await;
        waited.expect("a question did not come").unwrap();
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, exchange: &Exchange) {
    let (head, body) = request(&mut stream).await;
    let mut lines = head.lines();
    let expected = format!("POST {} HTTP/1.1", exchange.path);
    assert_eq!(
        lines.next(),
        Some(expected.as_str()),
        "instead of {exchange:?}"
    );
    assert!(lines.any(|line| line == exchange.header), "{head}");
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert!(
        fits(&exchange.body, &body),
        "{body} instead of {}",
        exchange.body
    );
    match &exchange.reply {
        Reply::Say(status, body) => {
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} -\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        Reply::Half => {
            let answer = b"HTTP/1.1 200 -\r\ncontent-length: 1000\r\n\r\n{\"result\":";
            stream.write_all(answer).await.unwrap();
        }
        Reply::HangUp => return,
    }
    let _ = stream.shutdown().await;
}

/// Whether `got` is what was expected, where `null` stands for anything.
fn fits(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Null, _) => true,
        (Value::Object(expected), Value::Object(got)) => {
            expected.len() == got.len()
                && expected
                    .iter()
                    .all(|(name, value)| got.get(name).is_some_and(|got| fits(value, got)))
        }
        (Value::Array(expected), Value::Array(got)) => {
            expected.len() == got.len() && expected.iter().zip(got).all(|(a, b)| fits(a, b))
        }
        (expected, got) => expected == got,
    }
}

async fn request<S: AsyncRead + Unpin>(stream: &mut S) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    (head, body)
}

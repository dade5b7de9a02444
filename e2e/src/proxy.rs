//! A TCP proxy on loopback that can be told to misbehave.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ports;

const RETRY: Duration = Duration::from_millis(20);

/// What a [`Proxy`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Passes bytes both ways.
    Pass,
    /// Accepts connections and never says anything; open ones fall silent, and break when this ends.
    BlackHole,
    /// Does not listen: connections are refused, open ones break.
    Refuse,
    /// Passes bytes both ways, but each new connection only after this long.
    Delay(Duration),
}

/// A proxy in front of one address. It ends with this value.
pub struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy on a free port that passes everything to `target`.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let port = ports::free()?;
        let listener = TcpListener::bind(ports::on_loopback(port)).await?;
        let (mode, changes) = watch::channel(Mode::Pass);
        let task = tokio::spawn(serve(listener, port, target, changes));
        Ok(Self { port, mode, task })
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes what it does.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(first: TcpListener, port: u16, target: SocketAddr, mut mode: watch::Receiver<Mode>) {
    let mut listener = Some(first);
    // Dropped with this task, which ends every connection.
    let mut connections = JoinSet::new();
    loop {
        let refuse = *mode.borrow_and_update() == Mode::Refuse;
        if refuse {
            listener = None;
        } else if listener.is_none() {
            listener = listen(port);
        }
        tokio::select! {
            client = accept(listener.as_ref()) => {
                connections.spawn(handle(client, target, mode.clone()));
            }
            Some(_) = connections.join_next() => {}
            change = mode.changed() => {
                if change.is_err() {
                    return;
                }
            }
            // The port may be held for a moment by connections that were just broken.
            () = tokio::time::sleep(RETRY), if !refuse && listener.is_none() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    if let Some(listener) = listener {
        loop {
            match listener.accept().await {
                Ok((client, _)) => return client,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }
    std::future::pending().await
}

fn listen(port: u16) -> Option<TcpListener> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.set_reuseaddr(true).ok()?;
    socket.bind(ports::on_loopback(port)).ok()?;
    socket.listen(1024).ok()
}

async fn handle(mut client: TcpStream, target: SocketAddr, mut mode: watch::Receiver<Mode>) {
    let now = *mode.borrow_and_update();
    match now {
        Mode::Refuse => return,
        Mode::BlackHole => {
            let _ = mode.changed().await;
            return;
        }
        Mode::Delay(time) => tokio::time::sleep(time).await,
        Mode::Pass => {}
    }
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    let mut copy = std::pin::pin!(tokio::io::copy_bidirectional(&mut client, &mut server));
    loop {
        tokio::select! {
            _ = &mut copy => return,
            change = mode.changed() => {
                let now = *mode.borrow_and_update();
                if change.is_err() || now == Mode::Refuse {
                    return;
                }
                if now == Mode::BlackHole {
                    let _ = mode.changed().await;
                    return;
                }
            }
        }
    }
}

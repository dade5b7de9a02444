//! `serve`: the wallet over HTTP, for programs on the user's own machine; beside that it does what `watch` does.

mod api;
mod events;
mod extract;
mod gate;
mod operations;
mod problem;
mod routes;
mod state;
#[cfg(test)]
mod tests;
mod token;
mod words;

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use atomicity_client::ClientError;
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use serde_json::json;

use self::gate::Gate;
use self::state::Served;
use self::token::Token;
use crate::Context;
use crate::args::Serve;
use crate::output::print_line;
use crate::sync::{send_rest, until_stopped, watch_options};

/// Name of the file that keeps a second `serve` away.
const LOCK_FILE: &str = "serve.lock";
/// How long a client may take to send its request line and headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long what is under way may go on after the end was asked for.
const DRAINING: Duration = Duration::from_secs(10);
/// How long to wait before watching again after it has failed, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

pub async fn run(context: &Context, args: Serve) -> Result<u8, ClientError> {
    if args.openapi {
        let text = api::document().to_pretty_json();
        print_line(&text.map_err(|e| ClientError::Internal(e.to_string()))?);
        return Ok(0);
    }
    gate::may_listen(args.listen, args.allow_remote).map_err(ClientError::Usage)?;
    let wallet = context.wallet().await?;
    let _alone = alone(wallet.home())?;
    wallet.forget_operations().await?;
    let place = token::place(wallet.home(), args.token_file.clone());
    let token = Token::open(&place)?;
    let (listener, address) = listen(args.listen)?;
    let callers = (&args.allow_host[..], &args.allow_origin[..]);
    let gate = Gate::new(address, args.allow_remote, callers, token).map_err(ClientError::Usage)?;
    let stop = until_stopped();
    let served = Served::new(&context.global, wallet.clone(), stop.clone());
    say_where(context, address, &place, &served);
    let answering = async {
        let done = answer(listener, served.clone(), Arc::new(gate)).await;
        stop.cancel();
        done
    };
    let (done, ()) = tokio::join!(answering, watch_until_the_end(&served, args.poll));
    served.tasks().close();
    // What is not done by then is found and gone on with when it is asked for again.
    tokio::time::timeout(DRAINING, served.tasks().wait())
        .await
        .ok();
    send_rest(&wallet).await;
    wallet.close().await;
    done.map_err(io("the listener"))?;
    Ok(0)
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> ClientError {
    move |why| ClientError::Io {
        path: what.into(),
        why,
    }
}

/// One process answers for a wallet, so that nothing is done twice at the same time. Commands and `watch` may run beside it.
fn alone(home: &Path) -> Result<File, ClientError> {
    let path = home.join(LOCK_FILE);
    let failed = |why| ClientError::Io {
        path: path.clone(),
        why,
    };
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(ClientError::Usage(
            "another `atomicity serve` runs on this wallet".to_owned(),
        )),
        Err(std::fs::TryLockError::Error(why)) => Err(failed(why)),
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ClientError> {
    let open = || -> std::io::Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    open().map_err(|why| ClientError::Io {
        path: address.to_string().into(),
        why,
    })
}

/// Says where to ask and where the token lies, never what it is.
fn say_where(context: &Context, address: SocketAddr, token: &Path, served: &Served) {
    let url = format!("http://{address}");
    if !address.ip().is_loopback() {
        context.out.warn(
            "other machines can reach this: whoever has the token has the wallet, and nothing is encrypted on the way",
        );
    }
    let value = json!({
        "url": url,
        "token_file": token,
        "user": served.wallet().user(),
    });
    context.out.result(&value, || {
        format!(
            "The wallet answers at {url} (see {url}/openapi.json).\nThe token is in {}; Ctrl-C ends.",
            token.display()
        )
    });
}

async fn answer(listener: TcpListener, served: Served, gate: Arc<Gate>) -> std::io::Result<()> {
    let handle = Handle::new();
    let stop = served.stop().clone();
    let ending = handle.clone();
    tokio::spawn(async move {
        stop.cancelled().await;
        ending.graceful_shutdown(Some(DRAINING));
    });
    let router = api::router(served, gate);
    // Nobody on this machine needs HTTP/2, and the bounds here are made for requests that come one after the other.
    let server = axum_server::from_tcp(listener)?.handle(handle);
    let mut server = server.http1_only();
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    server.serve(router.into_make_service()).await
}

/// Watches until the end was asked for, and not much longer.
async fn watch_until_the_end(served: &Served, poll: Option<u64>) {
    let late = async {
        served.stop().cancelled().await;
        tokio::time::sleep(DRAINING).await;
    };
    tokio::select! {
        () = watch(served.clone(), poll) => {}
        () = late => {}
    }
}

/// Watches as long as the process lives, whatever goes wrong in between.
async fn watch(served: Served, poll: Option<u64>) {
    let options = watch_options(poll);
    let stop = served.stop().clone();
    let mut pause = AGAIN.0;
    while !stop.is_cancelled() {
        let began = Instant::now();
        let teller = served.clone();
        let wallet = served.wallet().lent();
        let watched = wallet
            .watch(options.clone(), stop.clone(), move |event| {
                teller.tell(&event)
            })
            .await;
        if let Err(error) = watched {
            served.halted(&error);
        }
        if began.elapsed() > AGAIN.1 {
            pause = AGAIN.0;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(AGAIN.1);
    }
}

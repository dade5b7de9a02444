//! Plays the story in plain words. On a terminal it then stays up, to look around, until Ctrl-C.

use std::io::IsTerminal;
use std::process::ExitCode;

use atomicity_e2e::postgres::SERVER_VARIABLE;
use atomicity_e2e::story;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        eprintln!("error: cannot listen for signals");
        return ExitCode::FAILURE;
    };
    let interrupted = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(interrupted);
    tokio::select! {
        played = story::play(|line| println!("{line}")) => match played {
            Ok(stage) => {
                if std::io::stdout().is_terminal() {
                    println!("\nEverything is still up:");
                    for line in stage.addresses() {
                        println!("  {line}");
                    }
                    println!("Ctrl-C ends it.");
                    interrupted.await;
                }
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error:#}");
                if format!("{error:#}").contains(SERVER_VARIABLE) {
                    eprintln!("  hint: run `make demo`, which starts a Postgres for this");
                }
                ExitCode::FAILURE
            }
        },
        () = &mut interrupted => {
            eprintln!("stopped before the end");
            ExitCode::FAILURE
        }
    }
}

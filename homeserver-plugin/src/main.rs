//! The command `atomicity-homeserver`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}

//! `atomicity`: give and take credit among friends, from the command line.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong use, 3 refused by a limit, 4 nothing could be reached, 5 this copy must not sign, 6 the
//! root key can't be opened, 7 the wallet can't be written.

mod account;
mod agent;
mod args;
mod call;
mod clear;
mod doctor;
mod endpoint;
mod events;
mod evidence;
mod exchange;
mod forward;
mod friend;
mod handbook;
mod identity;
mod invoice;
mod log;
mod output;
mod pay;
mod payment;
mod profile;
mod promise;
mod rail;
mod reassign;
mod recover;
mod request;
mod rule;
mod secrets;
mod services;
mod settle;
mod sync;
mod unit;

use std::process::ExitCode;

use args::{Command, Global};
use atomicity_client::ClientError;
use atomicity_client::config::{Config, Overrides};
use atomicity_client::wallet::{ROOT_FILE, RootKey, Wallet};
use output::Output;

/// What every command gets.
struct Context {
    global: Global,
    out: Output,
}

impl Context {
    fn config(&self) -> Result<Config, ClientError> {
        Ok(Config::load(&Overrides {
            home: self.global.home.clone(),
            config: self.global.config.clone(),
            testnet: None,
        })?)
    }

    async fn wallet(&self) -> Result<Wallet, ClientError> {
        Wallet::open(&self.config()?).await
    }

    /// Opens the root key of this wallet.
    async fn root(&self, wallet: &Wallet) -> Result<RootKey, ClientError> {
        let path = wallet.home().join(ROOT_FILE);
        let passphrase = secrets::ask(&self.global, "your root key")?;
        RootKey::open(&path, &passphrase).await
    }
}

fn main() -> ExitCode {
    let cli = match handbook::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    start_log(cli.global.verbose);
    let out = Output {
        json: cli.global.json,
        quiet: cli.global.quiet,
    };
    let context = Context {
        global: cli.global,
        out,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(run(&context, cli.command));
            // A look-up that nobody waits for any more must not keep the process.
            runtime.shutdown_timeout(std::time::Duration::from_millis(200));
            done
        }
        Err(error) => Err(ClientError::Internal(error.to_string())),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => ExitCode::from(out.error(&error)),
    }
}

/// Help and version go to standard output with 0; a wrong use goes to standard error with 2, and as JSON if that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
        let message = error.to_string();
        let first = message.lines().next().unwrap_or_default();
        let first = first.trim_start_matches("error: ");
        let value = serde_json::json!({
            "error": { "code": "usage", "message": first, "hint": null }
        });
        output::print_line(&value.to_string());
    }
    // Nobody is left to tell if the terminal is gone.
    error.print().ok();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "off",
        1 => "atomicity_client=info",
        2 => "atomicity_client=debug",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("ATOMICITY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}

async fn run(context: &Context, command: Command) -> Result<u8, ClientError> {
    match command {
        Command::Init(args) => identity::init(context, args).await,
        Command::Signup(args) => identity::signup(context, args).await,
        Command::Whoami(args) => identity::whoami(context, &args).await,
        Command::Unit(command) => unit::run(context, command).await,
        Command::Friend(command) => friend::run(context, command).await,
        Command::Issue(args) => pay::issue(context, args).await,
        Command::Pay(args) => promise::pay(context, *args).await,
        Command::Invoice(args) => invoice::create(context, args).await,
        Command::Invoices => invoice::list(context).await,
        Command::Payments => payment::list(context).await,
        Command::Receipt { payment } => payment::receipt(context, &payment).await,
        Command::Forward(command) => forward::run(context, command).await,
        Command::Clear(args) => clear::run(context, &args).await,
        Command::Endpoint(command) => endpoint::run(context, command).await,
        Command::Reassign(args) => reassign::run(context, &args).await,
        Command::Rule(command) => rule::run(context, command).await,
        Command::Block(args) => rule::block(context, &args, true).await,
        Command::Unblock(args) => rule::block(context, &args, false).await,
        Command::Agent(command) => agent::run(context, command).await,
        Command::Account(command) => account::run(context, command).await,
        Command::Exchange(command) => exchange::run(context, command).await,
        Command::Settle(args) => settle::run(context, *args).await,
        Command::Request(command) => request::run(context, command).await,
        Command::Call(command) => call::run(context, command).await,
        Command::Rail(command) => rail::run(context, command).await,
        Command::Promises(args) => promise::promises(context, args).await,
        Command::Secret(command) => promise::secret(context, command).await,
        Command::Log(command) => log::run(context, command).await,
        Command::Services(args) => services::run(context, args).await,
        Command::Rate(args) => services::rate(context, args).await,
        Command::Balance(args) => pay::balance(context, args).await,
        Command::History(args) => pay::history(context, args).await,
        Command::Sync(args) => sync::sync(context, args).await,
        Command::Watch(args) => sync::watch(context, &args).await,
        Command::Evidence(command) => evidence::run(context, command).await,
        Command::Recover(args) => recover::recover(context, args).await,
        Command::Move(args) => recover::move_home(context, args).await,
        Command::Profile(command) => profile::run(context, command).await,
        Command::Snapshot(command) => profile::snapshot(context, command).await,
        Command::Doctor => doctor::run(context).await,
        Command::Completions { shell } => handbook::completions(shell),
        Command::Man { dir } => handbook::man(context, dir),
    }
}

//! `atomicity`: give and take credit among friends, from the command line.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong use, 3 refused by a limit, 4 nothing could be reached, 5 this copy must not sign, 6 the
//! root key can't be opened, 7 the wallet can't be written.

mod account;
mod agent;
mod amounts;
mod app;
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
mod proposal;
mod rail;
mod reassign;
mod recover;
mod request;
mod rule;
mod secrets;
mod serve;
mod services;
mod settle;
mod sync;
mod unit;

use std::future::ready;
use std::process::ExitCode;

use args::{Command, Global};
use atomicity_client::ClientError;
use atomicity_client::config::{Config, Overrides};
use atomicity_client::wallet::{ROOT_FILE, RootKey, Wallet};
use futures_util::future::BoxFuture;
use output::Output;
use zeroize::Zeroizing;

/// What every command gets.
struct Context {
    global: Global,
    out: Output,
    /// The wallet that is open already, if the command is somebody's request to `serve`.
    lent: Option<Lent>,
}

/// An open wallet.
struct Lent {
    wallet: Wallet,
    /// The passphrase of the root key, if the request has it.
    passphrase: Option<Zeroizing<String>>,
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
        if let Some(lent) = &self.lent {
            return Ok(lent.wallet.clone());
        }
        Wallet::open(&self.config()?).await
    }

    /// Opens the root key of this wallet.
    async fn root(&self, wallet: &Wallet) -> Result<RootKey, ClientError> {
        let path = wallet.home().join(ROOT_FILE);
        let passphrase = match &self.lent {
            // Whoever asks has to say it: what this process was given is its own.
            Some(lent) => lent
                .passphrase
                .clone()
                .ok_or(ClientError::PassphraseNeeded)?,
            None => secrets::ask(&self.global, "your root key")?,
        };
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
        lent: None,
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
        Command::Serve(args) => serve::run(context, *args).await,
        Command::Watch(args) => sync::watch(context, &args).await,
        other => perform(context, other).await,
    }
}

/// Runs what `serve` may be asked for too: everything that ends by itself. Boxed one by one: the compiler looks once into each
/// whether it may move between threads, and not for each route again.
fn perform(context: &Context, command: Command) -> BoxFuture<'_, Result<u8, ClientError>> {
    match command {
        Command::Serve(_) | Command::Watch(_) => {
            let why = "this runs until it is stopped, and not for a request";
            Box::pin(ready(Err(ClientError::Usage(why.to_owned()))))
        }
        Command::Init(args) => Box::pin(identity::init(context, args)),
        Command::Signup(args) => Box::pin(identity::signup(context, args)),
        Command::Whoami(args) => Box::pin(async move { identity::whoami(context, &args).await }),
        Command::Unit(command) => Box::pin(unit::run(context, command)),
        Command::Friend(command) => Box::pin(friend::run(context, command)),
        Command::Issue(args) => Box::pin(pay::issue(context, args)),
        Command::Pay(args) => Box::pin(promise::pay(context, *args)),
        Command::Invoice(args) => Box::pin(invoice::create(context, args)),
        Command::Invoices => Box::pin(invoice::list(context)),
        Command::Payments => Box::pin(payment::list(context)),
        Command::Receipt { payment } => {
            Box::pin(async move { payment::receipt(context, &payment).await })
        }
        Command::Forward(command) => Box::pin(forward::run(context, command)),
        Command::Clear(args) => Box::pin(async move { clear::run(context, &args).await }),
        Command::Endpoint(command) => Box::pin(endpoint::run(context, command)),
        Command::Reassign(args) => Box::pin(async move { reassign::run(context, &args).await }),
        Command::Rule(command) => Box::pin(rule::run(context, command)),
        Command::Block(args) => Box::pin(async move { rule::block(context, &args, true).await }),
        Command::Unblock(args) => Box::pin(async move { rule::block(context, &args, false).await }),
        Command::Agent(command) => Box::pin(agent::run(context, command)),
        Command::Account(command) => Box::pin(account::run(context, command)),
        Command::App(command) => Box::pin(app::run(context, command)),
        Command::Exchange(command) => Box::pin(exchange::run(context, command)),
        Command::Settle(args) => Box::pin(settle::run(context, *args)),
        Command::Request(command) => Box::pin(request::run(context, command)),
        Command::Call(command) => Box::pin(call::run(context, command)),
        Command::Rail(command) => Box::pin(rail::run(context, command)),
        Command::Promises(args) => Box::pin(promise::promises(context, args)),
        Command::Secret(command) => Box::pin(promise::secret(context, command)),
        Command::Log(command) => Box::pin(log::run(context, command)),
        Command::Proposals(args) => Box::pin(proposal::run(context, args)),
        Command::Services(args) => Box::pin(services::run(context, args)),
        Command::Rate(args) => Box::pin(services::rate(context, args)),
        Command::Balance(args) => Box::pin(pay::balance(context, args)),
        Command::History(args) => Box::pin(pay::history(context, args)),
        Command::Sync(args) => Box::pin(sync::sync(context, args)),
        Command::Evidence(command) => Box::pin(evidence::run(context, command)),
        Command::Recover(args) => Box::pin(recover::recover(context, args)),
        Command::Move(args) => Box::pin(recover::move_home(context, args)),
        Command::Profile(command) => Box::pin(profile::run(context, command)),
        Command::Diary(command) => Box::pin(profile::diary(context, command)),
        Command::Snapshot(command) => Box::pin(profile::snapshot(context, command)),
        Command::Doctor => Box::pin(doctor::run(context)),
        Command::Completions { shell } => Box::pin(ready(handbook::completions(shell))),
        Command::Man { dir } => Box::pin(ready(handbook::man(context, dir))),
    }
}

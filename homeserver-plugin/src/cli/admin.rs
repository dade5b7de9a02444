//! `admin`: what operators see and do while the plugin runs. Each command asks the listener for operators on this machine.

mod words;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use atomicity_ledger::UserKey;
use atomicity_plugin::admin::password;
use atomicity_plugin::problem::Problem;
use atomicity_plugin::{Config, PluginError};
use clap::{Args, Subcommand};
use reqwest::{Method, Response};
use serde_json::{Value, json};

/// How long an answer may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to see or do.
#[derive(Args)]
pub struct AdminArgs {
    /// JSON on stdout.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Subcommand)]
enum AdminCommand {
    /// How it stands: accounts, queues, agents, logs, crawl, database, disks, limits.
    Status,
    /// Lists the accounts.
    Accounts {
        /// Only those that are switched off.
        #[arg(long)]
        disabled: bool,
    },
    /// One account: what waits for it, and what its agent does.
    Account {
        /// Whose.
        user: UserKey,
    },
    /// What the agent of a user signed, newest first.
    Signed {
        /// Whose.
        user: UserKey,
        /// How many at most.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
    },
    /// Switches an account off: its user is refused and its agent signs nothing. Nothing in it is lost.
    Disable {
        /// Whose.
        user: UserKey,
        /// Why, in one line.
        #[arg(long)]
        reason: String,
    },
    /// Switches an account on again.
    Enable {
        /// Whose.
        user: UserKey,
    },
    /// Takes no new work and finishes what is open, before a stop for instance. Ends with a restart.
    Drain {
        /// Takes new work again.
        #[arg(long)]
        end: bool,
    },
    /// Writes all that is held about one account, as JSON lines.
    Export {
        /// Whose.
        user: UserKey,
        /// Into this file, which must not be there yet; standard output if not given.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// What operators did, newest first.
    Audit {
        /// How many at most.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
    },
    /// Shows the password for the page of operators.
    Password {
        /// Makes another one, at once.
        #[arg(long)]
        renew: bool,
    },
}

/// Why a command has failed, in words and by a code.
struct Fault {
    code: String,
    words: String,
    hint: Option<String>,
}

impl From<PluginError> for Fault {
    fn from(error: PluginError) -> Self {
        Self {
            code: error.code().to_owned(),
            words: error.to_string(),
            hint: None,
        }
    }
}

/// The listener for operators.
struct Listener {
    base: String,
    password: zeroize::Zeroizing<String>,
    http: reqwest::Client,
}

impl Listener {
    fn new(config: &Config, data_dir: &Path) -> Result<Self, PluginError> {
        if !config.admin.enabled {
            return Err(PluginError::Config(
                "there is no listener for operators: set enabled = true in [admin], and start the plugin again".to_owned(),
            ));
        }
        let mut address = config.admin.listen;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(|error| PluginError::Internal(error.to_string()))?;
        Ok(Self {
            base: format!("http://{address}"),
            password: password::read(&config.admin, data_dir)?,
            http,
        })
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Response, Fault> {
        let url = format!("{}{path}", self.base);
        let mut request = self
            .http
            .request(method, &url)
            .bearer_auth(self.password.as_str());
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = tokio::time::timeout(PATIENCE, request.send()).await;
        let answer = answer.ok().and_then(Result::ok).ok_or_else(|| Fault {
            code: "unreachable".to_owned(),
            words: format!("nobody answers at {}", self.base),
            hint: Some("does the plugin run, with this configuration?".to_owned()),
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        Err(match answer.json::<Problem>().await {
            Ok(problem) => Fault {
                hint: hint(&problem.code),
                code: problem.code,
                words: problem.detail,
            },
            Err(_) => Fault {
                code: format!("http_{}", status.as_u16()),
                words: format!("{} answered {status}", self.base),
                hint: Some("is something else listening there?".to_owned()),
            },
        })
    }

    async fn read(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Fault> {
        let answer = self.ask(method, path, body).await?;
        answer.json().await.map_err(|error| Fault {
            code: "answer_malformed".to_owned(),
            words: error.to_string(),
            hint: None,
        })
    }
}

fn hint(code: &str) -> Option<String> {
    let words = match code {
        "admin_password_wrong" => {
            "the plugin that runs has another password: was it started with another data directory or configuration?"
        }
        "account_unknown" => "`atomicity-homeserver admin accounts` lists them",
        "password_is_a_setting" => "change admin.password, then start the plugin again",
        _ => return None,
    };
    Some(words.to_owned())
}

/// Does what was asked for. 0 done, 1 failed, 2 wrong configuration.
pub async fn run(
    args: &AdminArgs,
    config: &Config,
    data_dir: &Path,
) -> Result<ExitCode, PluginError> {
    let listener = Listener::new(config, data_dir)?;
    match act(args, &listener).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(fault) => {
            if args.json {
                say!("{}", json!({"error": fault.code, "detail": fault.words}));
            }
            eprintln!("error: {} ({})", fault.words, fault.code);
            if let Some(hint) = fault.hint {
                eprintln!("hint: {hint}");
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn act(args: &AdminArgs, listener: &Listener) -> Result<(), Fault> {
    use AdminCommand as Do;
    let get = |path: String| async move { listener.read(Method::GET, &path, None).await };
    let post = |path: String, body| async move { listener.read(Method::POST, &path, body).await };
    match &args.command {
        Do::Status => {
            let status = get("/v0/admin/status".to_owned()).await?;
            show(args, &status, words::status)
        }
        Do::Accounts { disabled } => accounts(args, listener, *disabled).await,
        Do::Account { user } => {
            let account = get(format!("/v0/admin/accounts/{user}")).await?;
            show(args, &account, words::account)
        }
        Do::Signed { user, limit } => {
            let path = format!("/v0/admin/accounts/{user}/signatures?limit={limit}");
            show(args, &get(path).await?, words::signatures)
        }
        Do::Disable { user, reason } => {
            let path = format!("/v0/admin/accounts/{user}/disable");
            let account = post(path, Some(json!({"reason": reason}))).await?;
            show(args, &account, words::account)
        }
        Do::Enable { user } => {
            let account = post(format!("/v0/admin/accounts/{user}/enable"), None).await?;
            show(args, &account, words::account)
        }
        Do::Drain { end } => {
            let wanted = Some(json!({"draining": !end}));
            let drain = post("/v0/admin/drain".to_owned(), wanted).await?;
            show(args, &drain, words::drain)
        }
        Do::Export { user, out } => export(listener, user, out.as_deref()).await,
        Do::Audit { limit } => {
            let actions = get(format!("/v0/admin/audit?limit={limit}")).await?;
            show(args, &actions, words::actions)
        }
        Do::Password { renew } => {
            let password = if *renew {
                post("/v0/admin/password".to_owned(), None).await?
            } else {
                json!({"password": listener.password.as_str()})
            };
            show(args, &password, words::password)
        }
    }
}

/// Prints an answer: as it is, or in words.
fn show<T: serde::de::DeserializeOwned>(
    args: &AdminArgs,
    answer: &Value,
    words: impl FnOnce(&T) -> String,
) -> Result<(), Fault> {
    let text = if args.json {
        format!("{answer}\n")
    } else {
        let read: T = serde_json::from_value(answer.clone()).map_err(|error| Fault {
            code: "answer_malformed".to_owned(),
            words: format!("the plugin that runs is another version: {error}"),
            hint: Some("--json shows what it says".to_owned()),
        })?;
        words(&read)
    };
    print(text.as_bytes())
}

fn print(bytes: &[u8]) -> Result<(), Fault> {
    match std::io::stdout().lock().write_all(bytes) {
        // A reader that went away is no fault of ours.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(file_fault(&error)),
        _ => Ok(()),
    }
}

fn file_fault(error: &std::io::Error) -> Fault {
    Fault {
        code: "file_unavailable".to_owned(),
        words: error.to_string(),
        hint: None,
    }
}

/// All accounts, page by page: a line each.
async fn accounts(args: &AdminArgs, listener: &Listener, disabled: bool) -> Result<(), Fault> {
    let mut after = String::new();
    loop {
        let path = format!("/v0/admin/accounts?limit=500&disabled={disabled}{after}");
        let page = listener.read(Method::GET, &path, None).await?;
        if args.json {
            for account in page["items"].as_array().into_iter().flatten() {
                print(format!("{account}\n").as_bytes())?;
            }
        } else {
            show(args, &page, words::accounts)?;
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(()),
        }
    }
}

/// Writes an export as it comes. One that was cut off does not count as done.
async fn export(listener: &Listener, user: &UserKey, out: Option<&Path>) -> Result<(), Fault> {
    let path = format!("/v0/admin/accounts/{user}/export");
    let mut answer = listener.ask(Method::GET, &path, None).await?;
    let mut file = match out {
        Some(path) => Some(
            std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                // Whom somebody knows and what waits for them is nobody else's business on this machine.
                .mode(0o600)
                .open(path)
                .map_err(|error| file_fault(&error))?,
        ),
        None => None,
    };
    let cut = || Fault {
        code: "export_cut_off".to_owned(),
        words: "the export was cut off: what was written is not all".to_owned(),
        hint: Some("the log of the plugin says why".to_owned()),
    };
    let mut last = Vec::new();
    while let Some(bytes) = answer.chunk().await.map_err(|_| cut())? {
        match &mut file {
            Some(file) => file.write_all(&bytes).map_err(|error| file_fault(&error))?,
            None => print(&bytes)?,
        }
        last.extend_from_slice(&bytes);
        let begins = last.iter().rev().skip(1).position(|byte| *byte == b'\n');
        let begins = begins.map_or(0, |back| last.len().saturating_sub(back + 1));
        last.drain(..begins);
    }
    let end: Value = serde_json::from_slice(&last).unwrap_or_default();
    if end["end"] != true {
        return Err(cut());
    }
    if let Some(file) = file {
        file.sync_all().map_err(|error| file_fault(&error))?;
        eprintln!("{} rows", end["rows"]);
    }
    Ok(())
}

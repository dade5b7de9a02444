//! The command line: what to do, and with which settings.

/// Writes a line to standard output. A reader that has gone away is no fault of ours.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::print_line(format_args!($($text)*))
    };
}

mod admin;
mod commands;
mod cosigner;
mod handbook;
mod init;
mod log;

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use atomicity_handbook::Shell;
use atomicity_plugin::PluginError;
use atomicity_plugin::config::{self, Config, Overrides};
use atomicity_plugin::doctor::Places;
use clap::builder::Resettable;
use clap::{Args, FromArgMatches as _, Parser, Subcommand};

fn print_line(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("error: what was to be printed could not be written: {error}");
        }
        _ => {}
    }
}

/// The sidecar of a Pubky homeserver: keeps sealed messages for users who are away, and serves credit to web apps.
#[derive(Parser)]
#[command(
    name = "atomicity-homeserver",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the data directory with a key and a config.toml to fill in. Keeps what is there.
    Init,
    /// Serves until SIGINT or SIGTERM.
    Run,
    /// Reads the configuration and says what is wrong with it. Touches neither database nor network.
    CheckConfig,
    /// Looks at everything the plugin depends on and says what is wrong with it.
    Doctor {
        /// One JSON object on stdout.
        #[arg(long)]
        json: bool,
    },
    /// The witness log of this plugin.
    Log {
        #[command(subcommand)]
        command: log::LogCommand,
    },
    /// Cosigning the logs of others.
    Cosigner {
        #[command(subcommand)]
        command: cosigner::CosignerCommand,
    },
    /// What operators see and do while the plugin runs: status, accounts, draining, exports.
    Admin(admin::AdminArgs),
    /// Brings the database's schema up to date. Stop the plugin first.
    Migrate {
        /// Only says where the schema stands; exit code 1 if it is not up to date.
        #[arg(long)]
        check: bool,
    },
    /// Prints what makes a shell complete the words of this program.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Writes the man pages, one for each command, into a folder.
    Man {
        /// The folder; it is made if it is missing.
        dir: PathBuf,
    },
}

/// Each setting comes from its flag, else from its environment variable unless that is empty, else from config.toml.
#[derive(Args)]
struct Settings {
    /// Directory of config.toml and secret [default: atomicity-homeserver in the user's data folder, or else /var/lib/atomicity-homeserver if that is there].
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "ATOMICITY_HOMESERVER_DATA_DIR"
    )]
    data_dir: Option<PathBuf>,
    /// Another file than config.toml in the data directory [default with /var/lib/atomicity-homeserver: /etc/atomicity-homeserver/config.toml if that is there].
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ATOMICITY_HOMESERVER_CONFIG"
    )]
    config: Option<PathBuf>,
    /// The plugin's own Postgres database. A flag shows in the list of processes: prefer the environment.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "ATOMICITY_HOMESERVER_DATABASE_URL",
        hide_env_values = true
    )]
    database_url: Option<String>,
    /// Where HTTP listens.
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS:PORT",
        env = "ATOMICITY_HOMESERVER_HTTP_LISTEN"
    )]
    http_listen: Option<String>,
    /// Where TLS with the raw public key listens.
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS:PORT",
        env = "ATOMICITY_HOMESERVER_PUBKY_LISTEN"
    )]
    pubky_listen: Option<String>,
    /// The URL others use if a proxy stands in front.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "ATOMICITY_HOMESERVER_PUBLIC_URL"
    )]
    public_url: Option<String>,
    /// The address written into the plugin's packet.
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS",
        env = "ATOMICITY_HOMESERVER_PUBLIC_IP"
    )]
    public_ip: Option<String>,
    /// The homeserver whose users may register.
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "ATOMICITY_HOMESERVER_HOMESERVER"
    )]
    homeserver: Option<String>,
    /// Let users of other homeservers register too.
    #[arg(long, global = true, value_name = "true|false", env = "ATOMICITY_HOMESERVER_OPEN_REGISTRATION", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    open_registration: Option<bool>,
    /// text or json.
    #[arg(
        long,
        global = true,
        value_name = "text|json",
        env = "ATOMICITY_HOMESERVER_LOG_FORMAT"
    )]
    log_format: Option<String>,
    /// Which log lines, such as `info` or `atomicity_plugin=debug`.
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        env = "ATOMICITY_HOMESERVER_LOG_FILTER"
    )]
    log_filter: Option<String>,
    /// Allow addresses on this machine and in private networks.
    #[arg(long, global = true, value_name = "true|false", env = "ATOMICITY_HOMESERVER_TESTNET", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    testnet: Option<bool>,
    /// Nodes to join the DHT by, host:port, comma-separated.
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        env = "ATOMICITY_HOMESERVER_DHT_BOOTSTRAP",
        value_delimiter = ','
    )]
    dht_bootstrap: Option<Vec<String>>,
    /// Any setting: `--set inbox.max_tags=500`. Counts before the flags above.
    #[arg(long, global = true, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

/// Where a package puts data and configuration.
const SYSTEM_DATA_DIR: &str = "/var/lib/atomicity-homeserver";
const SYSTEM_CONFIG: &str = "/etc/atomicity-homeserver/config.toml";

/// The user's own data directory; that of the system if the user has none and a package has made one.
fn default_data_dir() -> PathBuf {
    let base = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    let own = base.unwrap_or_default().join("atomicity-homeserver");
    let system = PathBuf::from(SYSTEM_DATA_DIR);
    if !own.exists() && system.exists() {
        system
    } else {
        own
    }
}

impl Settings {
    /// The data directory and the configuration file.
    fn places(&self) -> (PathBuf, PathBuf) {
        let data_dir = self.data_dir.clone().unwrap_or_else(default_data_dir);
        let config = self.config.clone().unwrap_or_else(|| {
            let system = Path::new(SYSTEM_CONFIG);
            if data_dir == Path::new(SYSTEM_DATA_DIR) && system.exists() {
                system.to_owned()
            } else {
                data_dir.join("config.toml")
            }
        });
        (data_dir, config)
    }

    fn overrides(&self) -> Result<Overrides, PluginError> {
        let mut overrides = Overrides::default();
        let texts = [
            ("database.url", &self.database_url),
            ("http.listen", &self.http_listen),
            ("pubky.listen", &self.pubky_listen),
            ("http.public_url", &self.public_url),
            ("pubky.public_ip", &self.public_ip),
            ("accounts.homeserver", &self.homeserver),
            ("log.format", &self.log_format),
            ("log.filter", &self.log_filter),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                overrides.set(name, value.clone());
            }
        }
        let flags = [
            ("accounts.open_registration", self.open_registration),
            ("network.testnet", self.testnet),
        ];
        for (name, value) in flags {
            if let Some(value) = value {
                overrides.set(name, value);
            }
        }
        if let Some(nodes) = &self.dht_bootstrap {
            overrides.set("network.dht_bootstrap", nodes.clone());
        }
        for assignment in &self.set {
            overrides.set_text(assignment)?;
        }
        Ok(overrides)
    }

    fn load(&self) -> Result<Config, PluginError> {
        config::load(&self.places().1, &self.overrides()?)
    }
}

/// The arguments, where an empty environment variable counts as unset: so container files hand on a value that nobody filled in.
fn arguments() -> clap::Command {
    handbook::command().mut_args(|argument| {
        let value = argument.get_env().and_then(std::env::var_os);
        if value.is_some_and(|value| value.is_empty()) {
            argument.env(Resettable::Reset)
        } else {
            argument
        }
    })
}

/// Reads the command line and does what it says. 0 done, 1 failed, 2 wrong usage or configuration.
pub fn main() -> ExitCode {
    let read = Cli::from_arg_matches(&arguments().get_matches());
    let cli = read.unwrap_or_else(|error| error.exit());
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(dispatch(&cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error} ({})", error.code());
            match error {
                PluginError::Config(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

async fn dispatch(cli: &Cli) -> Result<ExitCode, PluginError> {
    let settings = &cli.settings;
    let (data_dir, config_file) = settings.places();
    match &cli.command {
        Command::Init => init::init(&data_dir, &config_file),
        Command::Run => commands::run(settings.load()?, &data_dir).await,
        Command::CheckConfig => commands::check_config(&settings.load()?, &data_dir),
        Command::Doctor { json } => {
            let places = Places {
                data_dir: &data_dir,
                config_file: &config_file,
            };
            match settings.load() {
                Ok(config) => commands::doctor(&config, &places, *json).await,
                Err(error) => commands::doctor_without_config(error, &config_file, *json),
            }
        }
        Command::Log { command } => log::run(command, &settings.load()?, &data_dir).await,
        Command::Cosigner { command } => cosigner::run(command, &settings.load()?, &data_dir).await,
        Command::Admin(args) => admin::run(args, &settings.load()?, &data_dir).await,
        Command::Migrate { check } => commands::migrate(&settings.load()?, *check).await,
        Command::Completions { shell } => handbook::completions(*shell),
        Command::Man { dir } => handbook::man(dir),
    }
}

//! The program `atomicity`, as a person uses it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use pubky::Keypair;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::wait;
use crate::watch::Watch;

/// A wallet: a folder and what is needed to run `atomicity` on it.
#[derive(Clone, Debug)]
pub struct Wallet {
    name: String,
    home: PathBuf,
    config: PathBuf,
    program: PathBuf,
    passphrase: String,
    /// Where its process is to die.
    crash: Option<String>,
}

/// What a run of `atomicity` left.
#[derive(Clone, Debug)]
pub struct Output {
    /// What was run, for messages.
    pub command: String,
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// The JSON object it printed.
    ///
    /// # Errors
    /// If it printed something else.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("no JSON from {self}"))
    }

    /// The JSON object it printed, if it ended with `code`.
    ///
    /// # Errors
    /// If it ended otherwise or printed something else.
    pub fn expect(&self, code: i32) -> Result<Value> {
        if self.code != Some(code) {
            bail!("expected exit code {code} from {self}");
        }
        self.json()
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self
            .code
            .map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        write!(
            f,
            "`{}`, which ended with {code}\n  stdout: {}\n  stderr: {}",
            self.command,
            self.stdout.trim_end(),
            self.stderr.trim_end(),
        )
    }
}

impl Wallet {
    pub(crate) fn new(name: &str, home: PathBuf, config: PathBuf, program: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            home,
            config,
            program,
            passphrase: format!("the passphrase of {name}"),
            crash: None,
        }
    }

    /// Whose wallet it is.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The encrypted file with the root key.
    #[must_use]
    pub fn root_file(&self) -> PathBuf {
        self.home.join("root.pkarr")
    }

    /// The passphrase of its root key.
    #[must_use]
    pub fn passphrase(&self) -> &str {
        &self.passphrase
    }

    /// The same person with another, empty folder.
    #[must_use]
    pub fn on_a_new_device(&self, home: PathBuf) -> Self {
        Self {
            home,
            ..self.clone()
        }
    }

    /// A copy of its folder, as a thief or an old backup has it.
    ///
    /// # Errors
    /// If a file cannot be copied.
    pub fn copy_to(&self, home: PathBuf) -> Result<Self> {
        copy_folder(&self.home, &home)?;
        Ok(Self {
            home,
            ..self.clone()
        })
    }

    /// The root key of its owner.
    ///
    /// # Errors
    /// If the file is not there or the passphrase is not the one it was made with.
    pub fn root(&self) -> Result<Keypair> {
        let bytes = std::fs::read(self.root_file())?;
        Ok(pubky::recovery_file::decrypt_recovery_file(
            &bytes,
            &self.passphrase,
        )?)
    }

    /// `atomicity` with this wallet and `arguments`.
    #[must_use]
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(&self.program);
        clear_environment(&mut command);
        command
            .arg("--home")
            .arg(&self.home)
            .env("ATOMICITY_CONFIG", &self.config)
            .env("ATOMICITY_PASSPHRASE", &self.passphrase)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(crash) = &self.crash {
            command.env("ATOMICITY_TEST_CRASH", crash);
        }
        command
    }

    /// `atomicity` with this wallet and `arguments`, to be pasted into a shell.
    #[must_use]
    pub fn command_line(&self, arguments: &[&str]) -> String {
        let (program, config, home) = (
            self.program.to_string_lossy(),
            self.config.to_string_lossy(),
            self.home.to_string_lossy(),
        );
        let before = [&*program, "--config", &*config, "--home", &*home];
        let words = before.iter().chain(arguments).map(|word| quoted(word));
        words.collect::<Vec<_>>().join(" ")
    }

    /// Runs `atomicity` for people, without `--json`.
    ///
    /// # Errors
    /// If it cannot be run or does not end.
    pub async fn say<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Output> {
        let mut shown = vec![self.name.clone(), "$ atomicity".to_owned()];
        shown.extend(
            arguments
                .iter()
                .map(|a| a.as_ref().to_string_lossy().into_owned()),
        );
        finish(self.command(arguments), shown.join(" ")).await
    }

    /// Runs `atomicity --json`.
    ///
    /// # Errors
    /// If it cannot be run or does not end.
    pub async fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Output> {
        let mut all: Vec<&OsStr> = vec![OsStr::new("--json")];
        all.extend(arguments.iter().map(AsRef::as_ref));
        self.say(&all).await
    }

    /// Runs `atomicity --json`, which must end with success; what it printed.
    ///
    /// # Errors
    /// If it ended otherwise.
    pub async fn ok<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Value> {
        self.run(arguments).await?.expect(0)
    }

    /// Runs `atomicity --json`, which must end with `code`; the `error` object it printed.
    ///
    /// # Errors
    /// If it ended otherwise.
    pub async fn fails<A: AsRef<OsStr>>(&self, code: i32, arguments: &[A]) -> Result<Value> {
        let output = self.run(arguments).await?;
        let error = output.expect(code)?.get("error").cloned();
        error.with_context(|| format!("no error object from {output}"))
    }

    /// The same wallet, whose process dies when `place` is reached for the n-th time while `file` exists.
    #[must_use]
    pub fn dying(&self, place: &str, n: usize, file: &Path) -> Self {
        let file = file.display();
        Self {
            crash: Some(format!("{place}:{n}:{file}")),
            ..self.clone()
        }
    }

    /// Starts `atomicity watch` and waits until it is ready.
    ///
    /// # Errors
    /// If it does not get ready.
    pub async fn watch(&self, arguments: &[&str]) -> Result<Watch> {
        let mut all = vec!["--json", "watch"];
        all.extend(arguments);
        Watch::start(self.name.clone(), self.command(&all)).await
    }
}

/// A word as a shell reads it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Runs `command`, which is shown as `shown`, to its end.
///
/// # Errors
/// If it cannot be run or does not end.
pub async fn run(command: Command, shown: &str) -> Result<Output> {
    finish(command, shown.to_owned()).await
}

/// Runs `command` to its end.
pub(crate) async fn finish(mut command: Command, shown: String) -> Result<Output> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut said = child.stdout.take().context("no standard output")?;
    let mut complained = child.stderr.take().context("no standard error")?;
    let run = async {
        let (_, _, status) = tokio::try_join!(
            said.read_to_end(&mut stdout),
            complained.read_to_end(&mut stderr),
            child.wait()
        )?;
        anyhow::Ok(status)
    };
    let status = tokio::time::timeout(wait::PATIENCE, run).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&stdout), text(&stderr));
    let Ok(status) = status else {
        let others = crate::watch::last_words();
        bail!("`{shown}` does not end; it said: {stdout}{stderr}{others}");
    };
    Ok(Output {
        command: shown,
        code: status?.code(),
        stdout,
        stderr,
    })
}

/// Keeps settings in the environment of the test run away from the programs under test.
pub(crate) fn clear_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ATOMICITY_") {
            command.env_remove(name);
        }
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

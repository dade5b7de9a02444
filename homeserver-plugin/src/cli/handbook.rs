//! `completions` and `man`, and the examples below the help of each command.

use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use atomicity_handbook::{Examples, Shell};
use atomicity_plugin::PluginError;
use clap::CommandFactory as _;

/// Examples, and what one would look for in a manual. They are parsed by a test.
const EXAMPLES: Examples = &[
    (
        "init",
        &["sudo -u atomicity atomicity-homeserver --data-dir /var/lib/atomicity-homeserver init"],
    ),
    (
        "run",
        &["atomicity-homeserver --data-dir data --set inbox.max_tags=500 run"],
    ),
    (
        "check-config",
        &["sudo -u atomicity atomicity-homeserver check-config"],
    ),
    (
        "doctor",
        &[
            "sudo -u atomicity atomicity-homeserver doctor",
            "sudo -u atomicity atomicity-homeserver doctor --json",
        ],
    ),
    (
        "log create",
        &["sudo -u atomicity atomicity-homeserver log create --origin example.org/log"],
    ),
    (
        "cosigner create",
        &["sudo -u atomicity atomicity-homeserver cosigner create"],
    ),
    (
        "cosigner rotate",
        &["sudo -u atomicity atomicity-homeserver cosigner rotate"],
    ),
    (
        "admin status",
        &["sudo -u atomicity atomicity-homeserver admin status"],
    ),
    (
        "admin disable",
        &[
            "sudo -u atomicity atomicity-homeserver admin disable 8pinxxgqs41n4aididenw5apqp1urfmzdztr8jt4abrkdn435ewo --reason spam",
        ],
    ),
    (
        "admin export",
        &[
            "sudo -u atomicity atomicity-homeserver admin export 8pinxxgqs41n4aididenw5apqp1urfmzdztr8jt4abrkdn435ewo --out /var/lib/atomicity-homeserver/account.jsonl",
        ],
    ),
    (
        "migrate",
        &[
            "sudo -u atomicity atomicity-homeserver migrate --check",
            "sudo -u atomicity atomicity-homeserver migrate",
        ],
    ),
    (
        "completions",
        &["atomicity-homeserver completions bash > /etc/bash_completion.d/atomicity-homeserver"],
    ),
    (
        "man",
        &["atomicity-homeserver man /usr/local/share/man/man1"],
    ),
];

/// The command line with everything that its help shows.
pub fn command() -> clap::Command {
    atomicity_handbook::with_examples(super::Cli::command(), EXAMPLES)
}

/// Prints what a shell needs.
pub fn completions(shell: Shell) -> Result<ExitCode, PluginError> {
    let written = atomicity_handbook::completions(command(), shell, &mut std::io::stdout().lock());
    match written {
        // A reader that went away is no fault of ours.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(failed(Path::new("standard output"), error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Writes the man pages.
pub fn man(dir: &Path) -> Result<ExitCode, PluginError> {
    let pages = atomicity_handbook::pages(command(), dir).map_err(|error| failed(dir, error))?;
    say!("{pages} pages in {}", dir.display());
    Ok(ExitCode::SUCCESS)
}

fn failed(path: &Path, source: std::io::Error) -> PluginError {
    PluginError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_of_its_command_and_is_understood() {
        assert_eq!(
            atomicity_handbook::unknown(&command(), EXAMPLES),
            Vec::<&str>::new()
        );
        for (path, lines) in EXAMPLES {
            for line in *lines {
                let line = line.split(" > ").next().unwrap();
                let line = line.strip_prefix("sudo -u atomicity ").unwrap_or(line);
                assert!(line.contains(path), "{line} is not an example of {path}");
                let read = command().try_get_matches_from(line.split_whitespace());
                assert!(read.is_ok(), "{line}: {}", read.unwrap_err());
            }
        }
    }

    #[test]
    fn every_command_says_in_one_line_what_it_does() {
        fn look(command: &clap::Command, path: &str) {
            for inner in command.get_subcommands() {
                let path = format!("{path} {}", inner.get_name());
                let about = inner.get_about().map(ToString::to_string);
                let about = about.unwrap_or_default();
                assert!(
                    !about.is_empty() && !about.contains('\n'),
                    "{path}: {about:?}"
                );
                for argument in inner.get_arguments() {
                    assert!(
                        argument.get_help().is_some(),
                        "{path}: {}",
                        argument.get_id()
                    );
                }
                look(inner, &path);
            }
        }
        look(&command(), "atomicity-homeserver");
    }
}

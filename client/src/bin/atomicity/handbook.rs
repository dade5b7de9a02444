//! `completions` and `man`, and the examples below the help of each command.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use atomicity_client::ClientError;
use atomicity_handbook::Shell;
use clap::{CommandFactory as _, FromArgMatches as _};
use serde_json::json;

use crate::Context;
use crate::args::{Cli, examples};

/// The command line with everything that its help shows.
pub fn command() -> clap::Command {
    atomicity_handbook::with_examples(Cli::command(), examples::EXAMPLES)
}

/// Reads a command line.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = command();
    let mut matches = command.try_get_matches_from_mut(words)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Prints what a shell needs.
pub fn completions(shell: Shell) -> Result<u8, ClientError> {
    let written = atomicity_handbook::completions(command(), shell, &mut std::io::stdout().lock());
    match written {
        // A reader that went away is no fault of ours.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(0),
        other => other
            .map(|()| 0)
            .map_err(|error| failed("standard output", error)),
    }
}

/// Writes the man pages.
pub fn man(context: &Context, dir: PathBuf) -> Result<u8, ClientError> {
    let pages = atomicity_handbook::pages(command(), &dir).map_err(|error| failed(&dir, error))?;
    let value = json!({ "pages": pages, "dir": dir.display().to_string() });
    context
        .out
        .result(&value, || format!("{pages} pages in {}", dir.display()));
    Ok(0)
}

fn failed(path: impl AsRef<Path>, why: std::io::Error) -> ClientError {
    ClientError::Io {
        path: path.as_ref().to_owned(),
        why,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A line as a shell would split it, as far as examples go: spaces, and double quotes around a word that has some.
    fn words(line: &str) -> Vec<OsString> {
        // What a shell does with what the command prints is not the command's.
        let line = line.split(" > ").next().unwrap();
        let mut words = Vec::new();
        for (at, part) in line.split('"').enumerate() {
            if at % 2 == 1 {
                words.push(part.into());
            } else {
                words.extend(part.split_whitespace().map(OsString::from));
            }
        }
        words
    }

    #[test]
    fn every_example_is_of_its_command_and_is_understood() {
        assert_eq!(
            atomicity_handbook::unknown(&command(), examples::EXAMPLES),
            Vec::<&str>::new()
        );
        for (path, lines) in examples::EXAMPLES {
            for line in *lines {
                let rest = line.strip_prefix("atomicity ").unwrap();
                assert!(rest.starts_with(path), "{line} is not an example of {path}");
                let read = parse(words(line));
                assert!(read.is_ok(), "{line}: {}", read.unwrap_err());
            }
        }
    }

    #[test]
    fn every_command_says_in_one_line_what_it_does() {
        fn look(command: &clap::Command, path: &str) {
            for inner in command
                .get_subcommands()
                .filter(|inner| !inner.is_hide_set())
            {
                let path = format!("{path} {}", inner.get_name());
                let about = inner.get_about().map(ToString::to_string);
                let about = about.unwrap_or_default();
                assert!(
                    !about.is_empty() && !about.contains('\n'),
                    "{path}: {about:?}"
                );
                assert!(
                    about.chars().count() <= 150,
                    "{path} is long-winded: {about}"
                );
                for argument in inner.get_arguments().filter(|found| !found.is_hide_set()) {
                    assert!(
                        argument.get_help().is_some(),
                        "{path}: {}",
                        argument.get_id()
                    );
                }
                look(inner, &path);
            }
        }
        look(&command(), "atomicity");
    }
}

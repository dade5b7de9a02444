//! What a request asks for, in the words of the command line: both mean the same because both are read by the same code.

use atomicity_client::ClientError;
use clap::Parser as _;

use crate::args::{Cli, Command};

/// A command, word by word. What comes from outside only ever stands behind `--option=` or behind `--`: it can't become an option.
#[derive(Clone, Debug)]
pub struct Words {
    command: Vec<String>,
    said: Vec<String>,
}

impl Words {
    /// A command such as `request new`.
    pub fn of(command: &'static str) -> Self {
        Self {
            command: command.split(' ').map(str::to_owned).collect(),
            said: Vec::new(),
        }
    }

    /// `--name=value`, if there is a value.
    pub fn with(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        let value = value.map(|value| format!("--{name}={}", value.to_string()));
        self.command.extend(value);
        self
    }

    /// `--name=value` for each.
    pub fn each(mut self, name: &'static str, values: &[String]) -> Self {
        let values = values.iter().map(|value| format!("--{name}={value}"));
        self.command.extend(values);
        self
    }

    /// `--name`, if it is so.
    pub fn flag(mut self, name: &'static str, on: bool) -> Self {
        self.command.extend(on.then(|| format!("--{name}")));
        self
    }

    /// A word that is no option.
    pub fn say(mut self, word: impl Into<String>) -> Self {
        self.said.push(word.into());
        self
    }

    /// The same, if there is one.
    pub fn say_if(self, word: Option<String>) -> Self {
        match word {
            Some(word) => self.say(word),
            None => self,
        }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        let command = self.command.iter().map(String::as_str);
        let said = self.said.iter().map(String::as_str);
        let divider = (!self.said.is_empty()).then_some("--");
        command.chain(divider).chain(said)
    }

    /// What the command line understands by it.
    ///
    /// # Errors
    /// [`ClientError::Usage`].
    pub fn command(&self) -> Result<Command, ClientError> {
        let words = std::iter::once("atomicity").chain(self.all());
        match Cli::try_parse_from(words) {
            Ok(cli) => Ok(cli.command),
            Err(error) => {
                let message = error.to_string();
                let first = message.lines().next().unwrap_or_default();
                let first = first.trim_start_matches("error: ");
                Err(ClientError::Usage(first.to_owned()))
            }
        }
    }

    /// Everything that was asked for, each word with its length before it, so that no two commands look alike.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in self.all() {
            bytes.extend(word.len().to_be_bytes());
            bytes.extend(word.as_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_comes_from_outside_never_becomes_an_option() {
        let words = Words::of("request show").say("--help");
        match words.command().unwrap() {
            Command::Request(crate::args::RequestCommand::Show { request }) => {
                assert_eq!(request, "--help");
            }
            other => panic!("{other:?}"),
        }
        let words = Words::of("friend add")
            .with("name", Some("--json --home=x"))
            .say("--name=y");
        match words.command().unwrap() {
            Command::Friend(crate::args::FriendCommand::Add { key, name }) => {
                assert_eq!(
                    (key.as_str(), name.as_deref()),
                    ("--name=y", Some("--json --home=x"))
                );
            }
            other => panic!("{other:?}"),
        }
        // A friend may be called like a command.
        let words = Words::of("settle")
            .flag("no-wait", true)
            .say("list")
            .say("5 USD");
        match words.command().unwrap() {
            Command::Settle(settle) => {
                assert_eq!(settle.friend.as_deref(), Some("list"));
                assert!(settle.command.is_none());
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn wrong_use_is_told_in_one_line() {
        let error = Words::of("settle confirm").command().unwrap_err();
        assert_eq!(error.code(), "usage");
        assert!(!error.to_string().contains('\n'));
        let error = Words::of("invoice")
            .with("expires", Some("soon"))
            .say("5 USD")
            .command();
        assert_eq!(error.unwrap_err().code(), "usage");
    }

    #[test]
    fn other_commands_have_other_bytes() {
        let one = Words::of("issue").say("ab").say("c").bytes();
        let other = Words::of("issue").say("a").say("bc").bytes();
        assert_ne!(one, other);
        assert_eq!(one, Words::of("issue").say("ab").say("c").bytes());
    }
}

//! Pages of the docs that people can follow: what each person types, and what they then see.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::cli::{self, Wallet};
use crate::wait;
use crate::watch::Watch;

/// The mark of a block with commands.
const BLOCK: &str = "```console";
/// What stands for anything in a line that shows what is seen.
const ANYTHING: char = '…';
/// Commands that change nothing, so that whoever waits for something types them again.
const LOOKING: [&str; 6] = ["balance", "history", "list", "show", "sync", "apply"];

/// One line of a page: who types what, and what they see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who types it.
    pub who: String,
    /// What they type, without the prompt.
    pub line: String,
    /// Lines of which each must be seen.
    pub seen: Vec<String>,
}

/// Reads the steps of a page.
///
/// # Errors
/// If something stands in a block before the first prompt.
pub fn steps(page: &str) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == BLOCK;
            continue;
        }
        if !inside {
            continue;
        }
        match line.split_once("$ ") {
            Some((who, typed)) if who.chars().all(|c| c.is_ascii_lowercase()) => steps.push(Step {
                who: who.to_owned(),
                line: typed.to_owned(),
                seen: Vec::new(),
            }),
            _ => {
                let last = steps.last_mut().context("nobody typed anything yet")?;
                last.seen.push(line.to_owned());
            }
        }
    }
    Ok(steps)
}

/// Whether `said` shows what `wanted` says, however it is spaced, anything standing for `…`.
fn shows(said: &str, wanted: &str) -> bool {
    let said = plain(said);
    let mut rest = said.as_str();
    wanted
        .split(ANYTHING)
        .map(plain)
        .all(|part| match rest.find(&part) {
            Some(at) => {
                rest = rest
                    .get(at.saturating_add(part.len())..)
                    .unwrap_or_default();
                true
            }
            None => false,
        })
}

fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// People who follow a page.
pub struct Followers {
    wallets: BTreeMap<String, Wallet>,
    /// What only they know: words in angle brackets.
    known: BTreeMap<String, String>,
    watching: Vec<Watch>,
}

impl Followers {
    /// Those with these names and wallets.
    #[must_use]
    pub fn new(people: impl IntoIterator<Item = (String, Wallet)>) -> Self {
        Self {
            wallets: people.into_iter().collect(),
            known: BTreeMap::new(),
            watching: Vec::new(),
        }
    }

    /// Tells them what `<name>` stands for.
    pub fn know(&mut self, name: &str, value: impl Into<String>) {
        self.known.insert(name.to_owned(), value.into());
    }

    /// Follows the steps, one after the other.
    ///
    /// # Errors
    /// If a command fails, or does not show what the page says.
    pub async fn follow(&mut self, steps: &[Step]) -> Result<()> {
        for step in steps {
            self.take(step)
                .await
                .with_context(|| format!("{}$ {}", step.who, step.line))?;
        }
        Ok(())
    }

    async fn take(&mut self, step: &Step) -> Result<()> {
        let wallet = self.wallets.get(&step.who).context("nobody of this name")?;
        let line = self.filled_in(&step.line)?;
        let words = words(&line)?;
        let (program, arguments) = words.split_first().context("an empty line")?;
        ensure!(program == "atomicity", "not a command of ours");
        if arguments.last().map(String::as_str) == Some("&") {
            ensure!(
                arguments == ["watch", "&"],
                "only `watch` goes on meanwhile"
            );
            self.watching.push(wallet.watch(&[]).await?);
            return Ok(());
        }
        let looking = arguments
            .iter()
            .any(|word| LOOKING.contains(&word.as_str()));
        let end = tokio::time::Instant::now() + wait::PATIENCE;
        let said = loop {
            let output = wallet.say(arguments).await?;
            let missing = step
                .seen
                .iter()
                .find(|wanted| !shows(&output.stdout, wanted));
            match missing {
                None if output.code == Some(0) => break output.stdout,
                // As a reader would: looks again, since news take a moment.
                _ if looking && tokio::time::Instant::now() < end => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                None => bail!("it failed: {output}"),
                Some(wanted) => bail!("{wanted:?} is not to be seen: {output}"),
            }
        };
        self.remember(&said);
        Ok(())
    }

    /// What a command showed that the next ones may need: a link, and the name of a request.
    fn remember(&mut self, said: &str) {
        let link = said
            .split_whitespace()
            .find(|word| word.starts_with("atomicity:"));
        if let Some(link) = link {
            self.know("the link", link);
        }
        let name = said.lines().find_map(|line| line.strip_prefix("name "));
        if let Some(name) = name {
            self.know("the request", name.trim());
        }
    }

    fn filled_in(&self, line: &str) -> Result<String> {
        let mut text = String::new();
        let mut rest = line;
        while let Some((before, after)) = rest.split_once('<') {
            let (name, after) = after.split_once('>').context("a bracket is not closed")?;
            let value = self.known.get(name);
            let value = value.with_context(|| format!("nobody knows <{name}>"))?;
            text.push_str(before);
            text.push_str(&cli::quoted(value));
            rest = after;
        }
        text.push_str(rest);
        Ok(text)
    }
}

/// A line as a shell splits it: spaces, and quotes of both kinds.
fn words(line: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    ensure!(quote.is_none(), "a quote is not closed");
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_by_its_prompts() {
        let page = "Text.\n```console\nben$ atomicity sync\nben$ atomicity balance\nsam … 1\n```\n```sh\nno$ step\n```\n";
        let found = steps(page).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].who, "ben");
        assert_eq!(found[1].seen, ["sam … 1"]);
        assert!(steps("```console\nno prompt\n```\n").is_err());
    }

    #[test]
    fn what_is_seen_is_compared_whatever_the_spaces() {
        assert!(shows(
            "name   x\npaid      0.00 USD, 300.00 USD left",
            "paid 0.00 USD … left"
        ));
        assert!(!shows("paid 1.00 USD", "paid 0.00 USD"));
        assert!(!shows("b a", "a … b"), "in this order");
    }

    #[test]
    fn a_line_is_split_as_a_shell_would() {
        let found = words(r#"atomicity issue ben "2.00 USD" --memo 'a b' """#).unwrap();
        assert_eq!(
            found,
            ["atomicity", "issue", "ben", "2.00 USD", "--memo", "a b", ""]
        );
        assert!(words("a \"b").is_err());
    }
}

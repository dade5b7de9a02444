//! What comes with a program besides the program: man pages, completions for shells, and examples in `--help`.
//!
//! All of it is made from the description of the command line that the program itself parses by, so none of it can fall behind.

use std::fs::File;
use std::io::{BufWriter, Result, Write};
use std::path::Path;

use clap::Command;
pub use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// Commands that are shown how to be used: the words that lead to the command, without the program's own name, and whole lines as one would type them.
pub type Examples = &'static [(&'static str, &'static [&'static str])];

/// Puts examples below the help of the commands that they belong to.
///
/// Whoever names a command that does not exist finds no trace of the example: see [`unknown`].
#[must_use]
pub fn with_examples(command: Command, examples: Examples) -> Command {
    examples.iter().fold(command, |command, (path, lines)| {
        let words: Vec<&str> = path.split_whitespace().collect();
        at(command, &words, &|command| {
            command.after_help(help_text(lines))
        })
    })
}

/// Examples of commands that `command` does not have.
#[must_use]
pub fn unknown(command: &Command, examples: Examples) -> Vec<&'static str> {
    examples
        .iter()
        .filter(|(path, _)| {
            let found = path
                .split_whitespace()
                .try_fold(command, |command, word| command.find_subcommand(word));
            found.is_none()
        })
        .map(|(path, _)| *path)
        .collect()
}

fn help_text(lines: &[&str]) -> String {
    let title = if lines.len() == 1 {
        "Example:"
    } else {
        "Examples:"
    };
    let lines = lines.iter().map(|line| format!("\n  {line}"));
    format!("{title}{}", lines.collect::<String>())
}

fn at(command: Command, path: &[&str], change: &dyn Fn(Command) -> Command) -> Command {
    match path.split_first() {
        None => change(command),
        // `mut_subcommand` makes a command that is not there.
        Some((first, _)) if command.find_subcommand(first).is_none() => command,
        Some((first, rest)) => command.mut_subcommand(first, |inner| at(inner, rest, change)),
    }
}

/// Writes what makes `shell` complete the words of `command`.
///
/// # Errors
/// If `out` can't be written.
pub fn completions(mut command: Command, shell: Shell, out: &mut dyn Write) -> Result<()> {
    let name = command.get_name().to_owned();
    // The generators panic if they can't write: so they write into memory.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    out.write_all(&text)?;
    out.flush()
}

/// Writes one man page for `command` and one for each of its commands into `dir`, which is made if it is missing. Answers how many.
///
/// # Errors
/// If a page can't be written.
pub fn pages(command: Command, dir: &Path) -> Result<usize> {
    std::fs::create_dir_all(dir)?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    page_and_below(&command, dir)
}

fn page_and_below(command: &Command, dir: &Path) -> Result<usize> {
    let mut written: usize = 1;
    for inner in command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set())
    {
        written = written.saturating_add(page_and_below(inner, dir)?);
    }
    page(command, dir)?;
    Ok(written)
}

fn page(command: &Command, dir: &Path) -> Result<()> {
    let man = Man::new(command.clone()).manual("Atomicity");
    let mut out = BufWriter::new(File::create(dir.join(man.get_filename()))?);
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    if command
        .get_arguments()
        .any(|argument| !argument.is_hide_set())
    {
        man.render_options_section(&mut out)?;
    }
    if command.get_subcommands().any(|inner| !inner.is_hide_set()) {
        man.render_subcommands_section(&mut out)?;
    }
    examples(command, &mut out)?;
    out.flush()
}

/// What `--help` shows last: lines that must not be filled.
fn examples(command: &Command, out: &mut dyn Write) -> Result<()> {
    let after = command.get_after_long_help().or(command.get_after_help());
    let Some(after) = after.map(ToString::to_string) else {
        return Ok(());
    };
    let mut parts = after.split("\n\n").map(str::lines);
    let mut roff = Roff::new();
    for lines in &mut parts {
        let mut lines = lines.peekable();
        let title = lines.next().unwrap_or_default();
        roff.control("SH", [title.trim_end_matches(':').to_uppercase().as_str()]);
        roff.control("nf", []);
        roff.text(
            lines
                .map(|line| roman(format!("{}\n", line.trim())))
                .collect::<Vec<_>>(),
        );
        roff.control("fi", []);
    }
    roff.to_writer(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    const EXAMPLES: Examples = &[
        ("garden plant", &["tool garden plant rose --deep 3"]),
        ("no such thing", &["tool no such thing"]),
    ];

    fn tool() -> Command {
        let plant = Command::new("plant")
            .about("Puts a plant into the earth")
            .arg(Arg::new("plant").required(true))
            .arg(Arg::new("deep").long("deep").help("How deep, in cm"));
        let hidden = Command::new("secret").hide(true);
        let garden = Command::new("garden")
            .about("What grows")
            .subcommand(plant)
            .subcommand(hidden);
        Command::new("tool").about("Does things").subcommand(garden)
    }

    #[test]
    fn an_example_stands_below_its_command_and_one_of_nothing_is_told() {
        let mut command = with_examples(tool(), EXAMPLES);
        assert_eq!(unknown(&command, EXAMPLES), ["no such thing"]);
        assert!(command.find_subcommand("no").is_none());
        let garden = command.find_subcommand_mut("garden").unwrap();
        let plant = garden.find_subcommand_mut("plant").unwrap();
        let help = plant.render_help().to_string();
        assert!(
            help.ends_with("Example:\n  tool garden plant rose --deep 3\n"),
            "{help}"
        );
    }

    #[test]
    fn each_command_has_a_page_with_its_examples() {
        let dir = tempfile::tempdir().unwrap();
        let into = dir.path().join("man");
        let written = pages(with_examples(tool(), EXAMPLES), &into).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&into)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["tool-garden-plant.1", "tool-garden.1", "tool.1"]);
        assert_eq!(written, names.len());
        let page = std::fs::read_to_string(into.join("tool-garden-plant.1")).unwrap();
        let example = page.split_once(".SH EXAMPLE\n").unwrap().1;
        assert!(example.contains("tool garden plant rose"), "{page}");
    }

    #[test]
    fn every_shell_gets_something() {
        use clap::ValueEnum as _;
        for shell in Shell::value_variants() {
            let mut text = Vec::new();
            completions(tool(), *shell, &mut text).unwrap();
            assert!(
                String::from_utf8(text).unwrap().contains("plant"),
                "{shell}"
            );
        }
    }
}

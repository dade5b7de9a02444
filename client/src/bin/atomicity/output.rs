//! What the user sees: JSON for machines, plain words for people, errors with a hint.

use std::cell::RefCell;
use std::io::{IsTerminal as _, Write as _};

use atomicity_client::ClientError;
use atomicity_client::wallet::{ChannelState, ChannelView, Delivery};
use atomicity_ledger::{Balance, Unit};
use serde_json::{Value, json};

tokio::task_local! {
    /// Where the result of a command goes that runs for a request: into the request's answer.
    static TAKEN: RefCell<Option<Value>>;
}

/// Runs a command, and takes what it would have printed with `--json`.
pub async fn taking<T>(command: impl Future<Output = T>) -> (T, Option<Value>) {
    let run = async {
        let done = command.await;
        (done, TAKEN.with(RefCell::take))
    };
    TAKEN.scope(RefCell::new(None), run).await
}

/// Whether somebody takes what is printed: then there is nobody to be asked at a terminal.
pub fn is_taken() -> bool {
    TAKEN.try_with(|_| ()).is_ok()
}

/// Shows what is to be done, and has the user agree to it at the terminal.
///
/// # Errors
/// [`ClientError::Usage`] if they don't, or there is nobody to be asked: `--yes` says so beforehand.
pub fn confirm(what: &str, question: &str) -> Result<(), ClientError> {
    let agree = || ClientError::Usage(format!("{what}: agree to it with --yes"));
    if is_taken() || !std::io::stdin().is_terminal() {
        return Err(agree());
    }
    eprint_line(&format!("{what}. {question} [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        true => Ok(()),
        false => Err(agree()),
    }
}

/// Where and how to print.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// JSON instead of words.
    pub json: bool,
    /// No warnings, no progress.
    pub quiet: bool,
}

impl Output {
    /// Prints a result: `value` with `--json`, else what `words` makes.
    pub fn result(&self, value: &Value, words: impl FnOnce() -> String) {
        if TAKEN
            .try_with(|taken| taken.replace(Some(value.clone())))
            .is_ok()
        {
            return;
        }
        let text = if self.json {
            value.to_string()
        } else {
            words()
        };
        print_line(&text);
    }

    /// Prints a warning for people.
    pub fn warn(&self, text: &str) {
        if !self.quiet {
            eprint_line(&format!("warning: {text}"));
        }
    }

    /// Prints an error, and returns its exit code.
    pub fn error(&self, error: &ClientError) -> u8 {
        if self.json {
            print_line(&json!({ "error": error_value(error) }).to_string());
        }
        eprint_line(&format!("error: {error}"));
        if let Some(hint) = error.hint() {
            eprint_line(&format!("  hint: {hint}"));
        }
        error.exit_code()
    }

    /// Whether a person is looking at standard error.
    pub fn shows_progress(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }
}

/// Writes a line. A reader that went away is no fault of ours.
pub fn print_line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

pub fn eprint_line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// `{code, message, hint}` and what belongs to it.
pub fn error_value(error: &ClientError) -> Value {
    let mut value = json!({
        "code": error.code(),
        "message": error.to_string(),
        "hint": error.hint(),
    });
    if let ClientError::LimitExceeded(limit) = error {
        value["limit"] = json!({
            "available": limit.available.to_string(),
            "available_text": minor_text(&limit.unit, limit.available),
            "accept": limit.accept.to_string(),
            "accept_text": minor_text(&limit.unit, limit.accept),
            "own_issue": limit.own_issue.map(|own| own.to_string()),
            "own_issue_text": limit.own_issue.map(|own| minor_text(&limit.unit, own)),
            "net": limit.net.to_string(),
            "net_text": limit.unit.format_balance(Balance::from_minor(limit.net)),
        });
    }
    if let ClientError::EvidenceInvalid(fault) = error {
        value["record"] = json!(fault.record);
        value["type"] = json!(fault.typ);
        value["line"] = json!(fault.record);
    }
    value
}

/// An error of one part of a larger operation.
pub fn fault_value(code: &str, message: &str) -> Value {
    json!({ "code": code, "message": message })
}

/// `2.00 BREAD`
pub fn minor_text(unit: &Unit, minor: u64) -> String {
    format!("{} {}", unit.format_minor(minor), unit.code())
}

/// How far something got.
pub fn delivery_name(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Inbox => "inbox",
        Delivery::File => "file",
        Delivery::Queued => "queued",
        Delivery::Agent => "agent",
    }
}

/// The same in words.
pub fn delivery_words(delivery: Delivery, friend: &str) -> String {
    match delivery {
        Delivery::Inbox => format!("delivered to {friend}'s inbox"),
        Delivery::File => format!("published; {friend} will find it"),
        Delivery::Agent => format!("signed by your agent, which delivers it to {friend}"),
        Delivery::Queued => {
            "signed and kept; it will be sent by the next `atomicity sync`".to_owned()
        }
    }
}

/// The name of a channel's state.
pub fn state_name(state: ChannelState) -> &'static str {
    match state {
        ChannelState::Active => "active",
        ChannelState::WaitingForAck => "waiting_for_ack",
        ChannelState::Frozen => "frozen",
    }
}

/// One channel, as `balance` shows it.
pub fn channel_value(view: &ChannelView) -> Value {
    let text = |minor: u64| minor_text(&view.unit, minor);
    json!({
        "friend": view.friend,
        "user": view.user,
        "unit": view.unit,
        "net": view.net.minor().to_string(),
        "net_text": view.unit.format_balance(view.net),
        "line_for_them": view.line_for_them.to_string(),
        "line_for_them_text": text(view.line_for_them),
        "line_for_me": view.line_for_me.map(|n| n.to_string()),
        "line_for_me_text": view.line_for_me.map(text),
        "own_ceiling": view.own_ceiling.map(|n| n.to_string()),
        "own_ceiling_text": view.own_ceiling.map(text),
        "can_issue": view.can_issue.to_string(),
        "can_issue_text": text(view.can_issue),
        "can_receive": view.can_receive.to_string(),
        "can_receive_text": text(view.can_receive),
        "due_to_me": view.due_to_me.to_string(),
        "due_to_me_text": text(view.due_to_me),
        "due_to_them": view.due_to_them.to_string(),
        "due_to_them_text": text(view.due_to_them),
        "promised_to_me": view.promised_to_me.to_string(),
        "promised_to_me_text": text(view.promised_to_me),
        "promised_to_them": view.promised_to_them.to_string(),
        "promised_to_them_text": text(view.promised_to_them),
        "unacknowledged": view.unacknowledged.to_string(),
        "unacknowledged_text": text(view.unacknowledged),
        "pending": view.pending,
        "state": state_name(view.state),
        "epoch": { "mine": view.epoch_mine, "theirs": view.epoch_theirs },
    })
}

/// A thing that takes longer than a moment, for people to see.
pub fn spinner(out: Output, what: &'static str) -> indicatif::ProgressBar {
    if !out.shows_progress() {
        return indicatif::ProgressBar::hidden();
    }
    let target = indicatif::ProgressDrawTarget::stderr();
    let bar = indicatif::ProgressBar::with_draw_target(None, target).with_message(what);
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}

/// Columns of text, padded so that they line up; the first is left-aligned, the others right-aligned.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(n, (cell, width))| {
                if n == 0 {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            })
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let head: Vec<String> = header.iter().map(|h| (*h).to_owned()).collect();
    let mut lines = vec![line(&head)];
    lines.extend(rows.iter().map(|row| line(row)));
    lines.join("\n")
}

/// Unix milliseconds as `2026-01-31 12:34:56Z`.
pub fn time_text(millis: u64) -> String {
    let seconds = millis / 1000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}Z",
        rest / 3600,
        rest % 3600 / 60,
        rest % 60
    )
}

/// The Gregorian date of a day since 1970-01-01: years counted from March, so that the leap day ends them.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// The beginning of a day such as `2031-12-24` in UTC, Unix milliseconds; `None` if there is no such day.
pub fn day_millis(text: &str) -> Option<u64> {
    let mut parts = text.split('-').map(str::parse::<u64>);
    let (year, month, day) = (
        parts.next()?.ok()?,
        parts.next()?.ok()?,
        parts.next()?.ok()?,
    );
    if parts.next().is_some() || !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    // Years are counted from March, as in `civil`.
    let (year_of_march, shifted) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let (era, of_era) = (year_of_march / 400, year_of_march % 400);
    let of_year = (153 * shifted + 2) / 5 + day.checked_sub(1)?;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    let days = days.checked_sub(719_468)?;
    (civil(days) == (year, month, day)).then(|| days * 86_400_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_come_out_right() {
        assert_eq!(time_text(0), "1970-01-01 00:00:00Z");
        assert_eq!(time_text(951_782_400_000), "2000-02-29 00:00:00Z");
        assert_eq!(time_text(1_767_225_599_999), "2025-12-31 23:59:59Z");
    }

    #[test]
    fn days_are_read_and_those_that_do_not_exist_are_not() {
        assert_eq!(day_millis("1970-01-01"), Some(0));
        assert_eq!(day_millis("2000-02-29"), Some(951_782_400_000));
        assert_eq!(day_millis("2026-01-01"), Some(1_767_225_600_000));
        for no in [
            "2001-02-29",
            "2026-04-31",
            "2026-13-01",
            "2026-01",
            "30d",
            "2026-01-00",
            "1-1-1",
        ] {
            assert_eq!(day_millis(no), None, "{no}");
        }
    }

    #[test]
    fn columns_line_up() {
        let text = table(
            &["friend", "net"],
            &[
                vec!["Åsa".to_owned(), "-2.00".to_owned()],
                vec!["the baker".to_owned(), "13.00".to_owned()],
            ],
        );
        assert_eq!(text, "friend       net\nÅsa        -2.00\nthe baker  13.00");
    }
}

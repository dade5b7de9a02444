//! What the user's wallet told of what waits and what there was. It is a wallet's word, in kinds that may be newer than this server.

use atomicity_ledger::UserKey;
use atomicity_ledger::record::{Diary, DiaryDirection, DiaryEntry};
use maud::{Markup, html};

use super::books::Books;
use super::overview::name_of;
use crate::error::PluginError;
use crate::http::diary;
use crate::pages::text;
use crate::state::AppState;

/// A diary with when it arrived, Unix milliseconds.
pub struct Told {
    diary: Diary,
    arrived: i64,
}

impl Told {
    /// What `user`'s wallet told last.
    ///
    /// # Errors
    /// [`PluginError::Database`], [`PluginError::Internal`].
    pub async fn read(state: &AppState, user: &UserKey) -> Result<Option<Self>, PluginError> {
        let stored = diary::load(state, user).await?;
        Ok(stored.map(|(signed, arrived)| Self {
            diary: signed.record().clone(),
            arrived,
        }))
    }

    /// What is not done yet, and not over by now (Unix milliseconds).
    pub fn waiting(&self, now: u64) -> impl Iterator<Item = &DiaryEntry> {
        let all = self.diary.waiting.iter();
        all.filter(move |entry| {
            entry.until.is_none_or(|until| until.millis() > now) || !ends(entry)
        })
    }

    fn past<'a>(&'a self, with: Option<&'a UserKey>) -> impl Iterator<Item = &'a DiaryEntry> {
        let all = self.diary.past.iter();
        all.filter(move |entry| with.is_none_or(|with| entry.peer.as_ref() == Some(with)))
    }
}

/// A request is over when its time is; a settlement that somebody may have paid is not.
fn ends(entry: &DiaryEntry) -> bool {
    matches!(entry.kind.as_str(), "request" | "call" | "asked")
}

/// One thing that waits, as an item of a list.
pub fn waits(entry: &DiaryEntry, user: &UserKey, books: &Books) -> Markup {
    let out = entry.direction == Some(DiaryDirection::Out);
    let who = html! {
        @match &entry.peer {
            Some(peer) => bdi { (name_of(books, peer)) },
            None => "somebody",
        }
    };
    let amount = money(entry);
    html! {
        li {
            @match entry.kind.as_str() {
                "request" => { (who) " asks you for " (amount) }
                "call" => { (who) " asks you to pay back " (amount) }
                "asked" => {
                    "You ask " @if entry.peer.is_some() { (who) } @else { "whoever has the link" } " for " (amount)
                }
                "settle_decide" => { (who) " asks you to pay off " (amount) " outside: you decide" }
                "settle_by_hand" => { "Pay " (who) " by hand what you owe: " (amount) }
                "settle_confirm" => { (who) " says that " (amount) " were paid outside: did they come?" }
                "settle_overdue" => { (who) " should have paid off " (amount) " long ago" }
                "settling" if out => { "You pay off " (amount) " to " (who) }
                "settling" => { (who) " pays off " (amount) }
                "paying" => { "Your payment of " (amount) " to " (who) " is under way" }
                other => { (text::plain(&other.replace('_', " "), text::LINE)) ": " (amount) }
            }
            @if let Some(memo) = &entry.memo { " · " (text::foreign(memo.as_str(), text::LINE)) }
            @if let Some(until) = entry.until.filter(|_| ends(entry)) {
                span.quiet { " · until " (text::time(until.millis())) }
            }
            (next_step(entry, user))
        }
    }
}

/// What the reader can do about it.
fn next_step(entry: &DiaryEntry, user: &UserKey) -> Markup {
    let Some(id) = &entry.id else {
        return html! {};
    };
    let command = |words: &str| html! { code { "atomicity " (words) " " (id) } };
    html! {
        @match entry.kind.as_str() {
            "request" | "call" => { br; span.quiet { "Pay it: " (command("request pay")) } }
            "asked" if entry.peer.is_none() => { " · " a href={ "/u/" (user) "/requests/" (id) } { "the bill with its code" } }
            "settle_decide" => {
                br; span.quiet { "Pay it: " (command("settle pay")) ", or don’t: " (command("settle decline")) }
            }
            "settle_by_hand" => { br; span.quiet { "When you have: " (command("settle paid")) } }
            "settle_confirm" => {
                br; span.quiet { "They did: " (command("settle confirm")) ", or not: " (command("settle dispute")) }
            }
            _ => {}
        }
    }
}

fn money(entry: &DiaryEntry) -> Markup {
    html! {
        @match (&entry.unit, entry.amount) {
            (Some(unit), Some(amount)) => strong { (text::amount(unit, amount.minor())) },
            (Some(unit), None) => { "an amount of your choice in " (unit.code()) }
            _ => "something",
        }
    }
}

/// Since when the wallet says so.
pub fn since(told: &Told) -> Markup {
    html! {
        p.quiet {
            "As your wallet told it, at " (text::exact_time(told.diary.at.millis())) " by its clock; it arrived here at "
            (text::exact_time(u64::try_from(told.arrived).unwrap_or(0))) "."
        }
    }
}

/// What there was, newest first; with one friend only, if one is named.
pub fn past(told: &Told, books: &Books, with: Option<&UserKey>) -> Markup {
    html! {
        @if told.past(with).next().is_none() { p { "Nothing yet." } }
        ol.plain.past {
            @for entry in told.past(with) { (happened(entry, books)) }
        }
        (since(told))
    }
}

fn happened(entry: &DiaryEntry, books: &Books) -> Markup {
    let out = entry.direction == Some(DiaryDirection::Out);
    let id = entry.id.map(|id| id.to_string()).unwrap_or_default();
    html! {
        li {
            div.row {
                span {
                    (what(entry.kind.as_str(), out))
                    @if let (Some(unit), Some(amount)) = (&entry.unit, entry.amount) {
                        ": " strong { (text::amount(unit, amount.minor())) }
                    }
                    @if let Some(peer) = &entry.peer {
                        " · " a href={ "/wallet/friends/" (peer) } { bdi { (name_of(books, peer)) } }
                    }
                    @if let Some(status) = entry.status.as_ref().and_then(|status| standing(status.as_str())) {
                        " · " span.quiet { (status) }
                    }
                }
                span.quiet { (text::exact_time(entry.at.millis())) }
            }
            @if let Some(memo) = &entry.memo { p.quiet { (text::foreign(memo.as_str(), text::LINE)) } }
            @if let Some(receipt) = &entry.receipt {
                details data-key={ "told-" (entry.at.millis()) "-" (id) } { summary { "Receipt" } pre { code { (receipt) } } }
            }
        }
    }
}

/// A kind in words; its own name if this server does not know it.
fn what(kind: &str, out: bool) -> String {
    let words = match (kind, out) {
        ("payment", true) | ("paid", _) => "You paid",
        ("payment", false) => "They paid you",
        ("payment_failed", _) => "A payment did not go through, and cost nothing",
        ("refusal", true) => "You gave back what was above your limit",
        ("refusal", false) => "They gave back what was above their limit",
        ("line", true) => "You changed how much they may owe",
        ("line", false) => "They changed how much you may owe",
        ("merged", _) => "A promise was kept",
        ("released", _) => "A promise was given up",
        ("forwarded", _) => "Passed on for others",
        ("frozen", _) => "Frozen: their records contradict each other",
        ("friend", _) => "A friend was added",
        ("unit", _) => "You opened a unit",
        ("recovered", _) => "The wallet was made anew from its root key",
        ("moved", _) => "You moved to another homeserver",
        ("invoice", _) => "You made an invoice",
        ("invoice_paid", _) => "An invoice of yours was paid",
        ("request", _) => "You asked to be paid",
        ("request_received", _) => "What you asked for came another way",
        ("request_paid", _) => "Somebody paid what you asked for",
        ("settle", _) => "You asked to be paid outside what you are owed",
        ("settled", true) => "You paid off, outside",
        ("settled", false) => "They paid off, outside",
        ("cleared", _) => "A circle of debts was cleared",
        ("outlay", _) => "Paid outside for an app",
        ("spend", _) => "An app spent for you",
        ("account", _) => "An app’s account changed",
        ("agent", _) => "Your agent changed",
        ("published", _) => "A secret was published",
        ("log_caught", _) => "A witness log was caught lying",
        (other, _) => return text::plain(&other.replace('_', " "), text::LINE),
    };
    words.to_owned()
}

/// How far something got, where that says more than that it happened.
fn standing(status: &str) -> Option<&'static str> {
    match status {
        "sent" => Some("they have not acknowledged it yet"),
        "acknowledged" => Some("acknowledged"),
        "refused" => Some("refused"),
        _ => None,
    }
}

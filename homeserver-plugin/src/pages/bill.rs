//! `GET /u/{user}/requests/{id}`: the page of a public request to be paid, for whoever has its address: with a wallet, without one, and without
//! scripts.

use std::sync::Arc;

use atomicity_ledger::Timestamp;
use atomicity_ledger::link::Link;
use atomicity_ledger::record::{Goal, PaymentRequest, Period, RequestState};
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use maud::{Markup, html};

use super::user::{require_shown, shown_name};
use super::ways::{self, Way};
use super::{Frame, Page, frame, layout, qr, text};
use crate::error::PluginError;
use crate::http::credit::endpoints::{self, EndpointsPage};
use crate::http::credit::{Memory, profile, requests};
use crate::router;
use crate::state::AppState;

/// How a request stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Parts are welcome.
    Open,
    /// What was asked for has come.
    Full,
    /// All of it is paid or being paid just now.
    Spoken,
    /// The payee took it back.
    Closed,
    /// Its time is over.
    Expired,
}

impl Standing {
    fn of(asked: &PaymentRequest, state: Option<&RequestState>, now: Timestamp) -> Self {
        let most = asked.amount.most().filter(|_| asked.every.is_none());
        let filled = state.map_or(0, |state| state.filled.minor());
        let reserved = state.map_or(0, |state| state.reserved.minor());
        match most.map(|most| most.minor()) {
            Some(most) if filled >= most => Self::Full,
            _ if asked.has_expired(now) => Self::Expired,
            Some(most) if filled.saturating_add(reserved) >= most => Self::Spoken,
            _ if state.is_some_and(|state| !state.open) => Self::Closed,
            _ => Self::Open,
        }
    }

    /// Its name for the script.
    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Full => "full",
            Self::Spoken => "spoken",
            Self::Closed => "closed",
            Self::Expired => "expired",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Open => "Open: whoever wants to can pay a part.",
            Self::Full => "Full: all of it is paid. Thank you. Nothing more is needed.",
            Self::Spoken => {
                "All of it is paid or being paid just now. If a part is given up, it can be paid again."
            }
            Self::Closed => "Closed: who asked for it takes nothing more.",
            Self::Expired => "Over: its time has passed. Pay nothing more on it.",
        }
    }

    const ALL: [Self; 5] = [
        Self::Open,
        Self::Full,
        Self::Spoken,
        Self::Closed,
        Self::Expired,
    ];
}

/// `GET /u/{user}/requests/{id}`.
///
/// # Errors
/// `user_malformed`, `id_malformed`, `page_unknown`, `request_unknown`; what asking the payee's homeserver can end in.
pub async fn page(
    State(state): State<AppState>,
    Extension(memory): Extension<Arc<Memory>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Page, PluginError> {
    let (user, id) = requests::parse(path)?;
    require_shown(&state, &user).await?;
    // All at once: each may take most of the time that there is. Only the request has to be there.
    let (request, payee, places) = tokio::join!(
        requests::find(&state, &memory, (user, id)),
        profile::find(&state, &memory, &user),
        endpoints::first(&state, &memory, &user),
    );
    let (kept, age, stale) = request?;
    let asked = kept.request.record();
    let said = kept.state.as_ref().map(|state| state.record());
    let payee = payee.ok();
    let name = payee
        .as_ref()
        .and_then(|(kept, ..)| kept.profile.record().name.as_ref());
    let view = Bill {
        asked,
        said,
        standing: Standing::of(asked, said, router::now()),
        link: Link::from(kept.request.clone()).to_string(),
        payee: shown_name(name.map(|name| name.as_str()), &user),
        places: places.ok(),
        stale: stale.then_some(age.as_secs()),
        wallet: state.config.pages.wallet(),
    };
    Ok(view.page())
}

/// All that is shown.
struct Bill<'a> {
    asked: &'a PaymentRequest,
    said: Option<&'a RequestState>,
    standing: Standing,
    link: String,
    /// What the payee calls themselves.
    payee: String,
    places: Option<Arc<EndpointsPage>>,
    /// How old it is, in seconds, if the homeserver could not be asked just now.
    stale: Option<u64>,
    /// Whether users of this server have a wallet page here.
    wallet: bool,
}

impl Bill<'_> {
    fn page(&self) -> Page {
        let title = match &self.asked.memo {
            Some(memo) => text::plain(memo.as_str(), text::LINE),
            None => format!("A request of {}", self.payee),
        };
        let content = html! {
            h1 { (text::foreign(&title, text::LINE)) }
            p.lead {
                (text::foreign(&self.payee, text::LINE)) " asks for " (self.wanted())
                @if let Some(payer) = &self.asked.payer { ", of " code { (text::short_key(payer)) } " alone" }
                "."
            }
            div.beside {
                div { (self.progress()) (self.with_credit()) (self.otherwise()) }
                div { (self.scan()) (self.facts()) }
            }
        };
        let frame = Frame {
            modules: &["local.js", "bill.js"],
            ..frame(&title, "")
        };
        layout(&frame, content)
    }

    /// What is asked for, in words.
    fn wanted(&self) -> Markup {
        let unit = &self.asked.unit;
        let money = |minor: u64| text::amount(unit, minor);
        let period = self.asked.every.as_ref().map(|every| match every.period {
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        });
        html! {
            @match &self.asked.amount {
                Goal::Exact(amount) => (money(amount.minor())),
                Goal::Target { amount, min } => {
                    (money(amount.minor())) " together"
                    @if let Some(min) = min { ", " (money(min.minor())) " or more each" }
                },
                Goal::Open { min, max } => {
                    "any amount of " (unit.code())
                    @if let Some(min) = min { ", " (money(min.minor())) " or more" }
                    @if let Some(max) = max { ", " (money(max.minor())) " at most" }
                },
            }
            @if let Some(period) = period { " every " (period) }
        }
    }

    /// How much has come. A script keeps it up to date; without one the reader loads the page again.
    fn progress(&self) -> Markup {
        let unit = &self.asked.unit;
        let filled = self.said.map_or(0, |said| said.filled.minor());
        let reserved = self.said.map_or(0, |said| said.reserved.minor());
        let most = self
            .asked
            .amount
            .most()
            .filter(|_| self.asked.every.is_none());
        let source = format!("/v0/users/{}/requests/{}", self.asked.payee, self.asked.id);
        html! {
            section.card id="bill" aria-labelledby="state" data-source=(source) data-places=(unit.decimals()) data-unit=(unit.code())
                data-expires=(self.asked.expires.millis()) {
                h2 id="state" { "How it stands" }
                p.big { span id="filled" { (text::amount(unit, filled)) } }
                @if let Some(most) = most {
                    p { "paid of " (text::amount(unit, most.minor())) ", " span id="left" { (text::amount(unit, most.minor().saturating_sub(filled))) } " missing" }
                    progress id="bar" max="1000" value=(thousandths(filled, most.minor())) aria-label="How much is paid" {}
                } @else {
                    p { "paid so far" }
                }
                // In one line that is always there, so that nothing moves when it changes.
                p.quiet { "Being paid just now: " span id="reserved" { (text::amount(unit, reserved)) } }
                div.standings role="status" {
                    @for standing in Standing::ALL {
                        p.standing data-standing=(standing.name()) hidden[standing != self.standing] { (standing.words()) }
                    }
                }
                p.quiet {
                    "By the word of " (text::foreign(&self.payee, text::LINE)) ", signed"
                    @if let Some(said) = self.said { " " span id="said" { (text::exact_time(said.at.millis())) } } @else { ". They have said nothing yet" }
                    ". " span id="live" { "To see what is new, load this page again." }
                }
                p.bad id="stale" role="status" hidden[self.stale.is_none()] {
                    "Their homeserver does not answer just now: this may be out of date."
                }
            }
        }
    }

    fn with_credit(&self) -> Markup {
        let part = match &self.asked.amount {
            Goal::Exact(_) => None,
            Goal::Target { min, .. } | Goal::Open { min, .. } => {
                Some(min.map_or(self.asked.unit.scale(), |min| min.minor()))
            }
        };
        let example = part.map(|minor| format!(" {}", self.asked.unit.format_minor(minor)));
        html! {
            section.card aria-labelledby="credit" data-while="open" hidden[self.standing != Standing::Open] {
                h2 id="credit" { "Pay in credit" }
                p {
                    "With an Atomicity wallet: you owe the amount to a friend of yours, and friends of friends pass it on. Nobody pays before \
                     everybody on the way has promised."
                }
                p { a.button.go href=(self.link) { "Open in a wallet" } }
                @if self.wallet {
                    p { a href={ "/wallet/proposals?link=" (self.link) } { "Propose it to your wallet" } ", if you have an account at this server." }
                }
                p.quiet { "Or, in a terminal" @if part.is_some() { ", with the amount that you want to pay" } ":" }
                pre { code id="line" { "atomicity request pay " (self.link) (example.unwrap_or_default()) } }
                button type="button" data-copy="line" { "Copy" }
            }
        }
    }

    /// For who has no account: the places that the request names, else those that its payee has published.
    fn otherwise(&self) -> Markup {
        let named = self.asked.targets.iter().map(|target| Way {
            method: target.method.as_str(),
            value: target.value.as_str(),
            min: None,
            max: None,
        });
        let published: Vec<Way<'_>> = match &self.places {
            Some(places) => places
                .items
                .iter()
                .map(Way::from)
                .filter(|way| !way.is_credit())
                .collect(),
            None => Vec::new(),
        };
        let nothing = self.asked.targets.is_empty() && published.is_empty();
        html! {
            section.card aria-labelledby="other" data-while="open" hidden[self.standing != Standing::Open] {
                h2 id="other" { "Pay without an account" }
                @if !self.asked.targets.is_empty() {
                    p { "Signed with the request:" }
                    (ways::list("target", named))
                }
                @if !published.is_empty() {
                    p { "Published by " (text::foreign(&self.payee, text::LINE)) " on their homeserver, for anything:" }
                    (ways::list("place", published.into_iter()))
                }
                @if nothing {
                    p { "No other way to pay is published. Ask " (text::foreign(&self.payee, text::LINE)) " whether they take cash." }
                }
                p {
                    "Then tell " (text::foreign(&self.payee, text::LINE)) " what you paid: they note it by hand, and it counts here like any other part."
                }
            }
        }
    }

    fn scan(&self) -> Markup {
        html! {
            section.card aria-labelledby="scan" data-while="open" hidden[self.standing != Standing::Open] {
                h2 id="scan" { "Scan it" }
                @match qr::code(&self.link, "Code with the link of this request") {
                    Some(picture) => (picture),
                    None => p { "The link of this request is too long for a code." },
                }
                p.quiet { "With a wallet on another device." }
            }
        }
    }

    fn facts(&self) -> Markup {
        let asked = self.asked;
        html! {
            section.card aria-labelledby="facts" {
                h2 id="facts" { "The request" }
                dl.narrow {
                    dt { "Of" } dd { (text::key(&asked.payee)) }
                    dt { "Name" } dd { code.key { (asked.id) } }
                    dt { "Asked" } dd { (text::time(asked.at.millis())) }
                    dt { "Stands until" } dd { (text::time(asked.expires.millis())) }
                }
                p.quiet { "Who asks signed this with their key. Pay only if you know whose key it is." }
            }
        }
    }
}

/// A part of the whole, for a bar. At most 1000.
fn thousandths(part: u64, whole: u64) -> u64 {
    let share = u128::from(part) * 1_000 / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(1_000).min(1_000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::{Keypair, RecordId, UserKey};
    use serde_json::json;

    use super::*;

    fn asked(amount: serde_json::Value, expires: u64) -> PaymentRequest {
        serde_json::from_value(json!({
            "v": 1, "id": RecordId::from_entropy([1; 16]), "payee": payee(), "unit": "USD/2", "amount": amount, "targets": [],
            "expires": expires, "at": 1,
        }))
        .unwrap()
    }

    fn payee() -> UserKey {
        Keypair::from_secret(&[1; 32]).user_key()
    }

    fn state(filled: &str, reserved: &str, open: bool) -> RequestState {
        let hash = atomicity_ledger::RecordHash::of("x");
        serde_json::from_value(json!({
            "v": 1, "request": hash, "payee": payee(), "filled": filled, "reserved": reserved, "open": open, "serial": 1, "at": 1,
        }))
        .unwrap()
    }

    #[test]
    fn a_request_stands_as_its_payee_says_and_its_time_tells() {
        let now = Timestamp::from_millis(10).unwrap();
        let target = |expires| asked(json!({"target": {"amount": "100"}}), expires);
        let of = |asked: &PaymentRequest, said: Option<RequestState>| {
            Standing::of(asked, said.as_ref(), now)
        };
        assert_eq!(of(&target(20), None), Standing::Open);
        assert_eq!(
            of(&target(20), Some(state("60", "0", true))),
            Standing::Open
        );
        assert_eq!(
            of(&target(20), Some(state("60", "40", false))),
            Standing::Spoken
        );
        assert_eq!(
            of(&target(20), Some(state("100", "0", false))),
            Standing::Full
        );
        assert_eq!(
            of(&target(20), Some(state("60", "0", false))),
            Standing::Closed
        );
        assert_eq!(
            of(&target(10), Some(state("60", "0", true))),
            Standing::Expired
        );
        // Full stays full.
        assert_eq!(
            of(&target(10), Some(state("100", "0", false))),
            Standing::Full
        );
        let open = asked(json!({"open": {}}), 20);
        assert_eq!(of(&open, Some(state("100000", "0", true))), Standing::Open);
    }

    #[test]
    fn a_bar_is_never_longer_than_its_whole() {
        assert_eq!(thousandths(0, 3), 0);
        assert_eq!(thousandths(1, 3), 333);
        assert_eq!(thousandths(3, 3), 1_000);
        assert_eq!(thousandths(u64::MAX, 1), 1_000);
        assert_eq!(thousandths(1, 0), 1_000);
    }
}

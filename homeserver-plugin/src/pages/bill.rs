//! `GET /u/{user}/requests/{id}`: the page of a public request to be paid, for whoever has its address: with a wallet, without one, and without
//! scripts. Who may pay a part chooses in the page's address how much: `?amount=`.

mod choose;
pub(super) mod guests;
mod standing;

use std::sync::Arc;

use atomicity_ledger::Unit;
use atomicity_ledger::link::Link;
use atomicity_ledger::record::{Goal, PaymentRequest, Period, RequestState};
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use maud::{Markup, html};

pub(crate) use self::choose::Room;
use self::choose::{Choice, Typed};
pub(crate) use self::standing::Standing;
use super::user::{require_shown, shown_name};
use super::ways::{self, Way};
use super::{Frame, Page, frame, layout, qr, text};
use crate::db::guests::Way as GuestWay;
use crate::error::PluginError;
use crate::http::credit::endpoints::{self, EndpointsPage};
use crate::http::credit::{Memory, profile, requests};
use crate::http::extract::QueryParams;
use crate::http::guests::welcome;
use crate::router;
use crate::state::AppState;

/// `GET /u/{user}/requests/{id}`.
///
/// # Errors
/// `user_malformed`, `id_malformed`, `page_unknown`, `request_unknown`, `query_invalid`; what asking the payee's homeserver can end in.
pub async fn page(
    State(state): State<AppState>,
    Extension(memory): Extension<Arc<Memory>>,
    path: Result<Path<(String, String)>, PathRejection>,
    QueryParams(typed): QueryParams<Typed>,
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
    let page = format!("/u/{user}/requests/{id}");
    let standing = Standing::of(asked, said, router::now());
    // Nobody chooses where nothing is to be paid any more.
    let room = Room::of(asked, said).filter(|_| standing == Standing::Open);
    let guests = match standing {
        Standing::Open => welcome(&state, asked).await?,
        _ => Vec::new(),
    };
    let view = Bill {
        guests,
        asked,
        said,
        standing,
        choice: room.map(|room| Choice::new(room, &asked.unit, typed)),
        address: super::address(&state.config).map(|pages| format!("{pages}{page}")),
        page,
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
    /// Where this page lies on this server.
    page: String,
    /// Its whole address on the web, if the operator names that of the server.
    address: Option<String>,
    /// How much the reader wants to pay, if it can be chosen.
    choice: Option<Choice>,
    /// By which ways the payee's wallet takes what guests pay.
    guests: Vec<GuestWay>,
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
        let title = title(self.asked, &self.payee);
        let content = html! {
            h1 { (text::foreign(&title, text::LINE)) }
            p.lead {
                (text::foreign(&self.payee, text::LINE)) " asks for " (self.wanted())
                @if let Some(payer) = &self.asked.payer { ", of " code { (text::short_key(payer)) } " alone" }
                "."
            }
            div.beside {
                div { (self.progress()) (self.choosing()) (self.with_credit()) (self.otherwise()) }
                div { (self.share()) (self.facts()) }
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
                        p.standing data-standing=(standing.name()) hidden[standing != self.standing] { (standing.words(self.asked)) }
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

    /// How much: where a part can be paid.
    fn choosing(&self) -> Markup {
        html! {
            @if let Some(choice) = &self.choice {
                section.card aria-labelledby="choose" data-while="open" {
                    h2 id="choose" { "Choose how much" }
                    (choice.form(&self.asked.unit, &self.page))
                }
            }
        }
    }

    fn with_credit(&self) -> Markup {
        let unit = &self.asked.unit;
        let chosen = self.chosen().map(|minor| unit.format_minor(minor));
        let words = match (&self.choice, &chosen) {
            (Some(choice), None) => Some(choice.example(unit)),
            _ => chosen.clone(),
        };
        html! {
            section.card aria-labelledby="credit" data-while="open" hidden[self.standing != Standing::Open] {
                h2 id="credit" { "Pay in credit" }
                p {
                    "With an Atomicity wallet: you owe the amount to a friend of yours, and friends of friends pass it on. Nobody pays before \
                     everybody on the way has promised."
                }
                p { a.button.go href=(self.link) { "Open in a wallet" } }
                @if self.wallet {
                    @let amount = chosen.as_ref().map(|amount| format!("&amount={amount}"));
                    p {
                        a href={ "/wallet/proposals?link=" (self.link) (amount.unwrap_or_default()) } { "Propose it to your wallet" }
                        ", if you have an account at this server."
                    }
                }
                p.quiet { "Or, in a terminal" @if self.choice.is_some() && chosen.is_none() { ", with the amount that you want to pay" } ":" }
                pre { code id="line" { "atomicity request pay " (self.link) @if let Some(words) = words { " " (words) } } }
                button type="button" data-copy="line" { "Copy" }
            }
        }
    }

    /// How much the reader chose.
    fn chosen(&self) -> Option<u64> {
        self.choice.as_ref().and_then(Choice::minor)
    }

    /// How much one payer pays, if that is known: chosen, or asked for exactly.
    fn part(&self) -> Option<u64> {
        match &self.asked.amount {
            Goal::Exact(amount) => Some(amount.minor()),
            Goal::Target { .. } | Goal::Open { .. } => self.chosen(),
        }
    }

    /// For who has no account: the places that the request names, else those that its payee has published.
    fn otherwise(&self) -> Markup {
        let payee = text::foreign(&self.payee, text::LINE);
        let bitcoins = self
            .part()
            .and_then(|minor| bitcoins(&self.asked.unit, minor));
        let bitcoins = bitcoins.as_deref();
        let named = self.asked.targets.iter().map(|target| Way {
            bitcoins,
            ..Way::new(target.method.as_str(), target.value.as_str())
        });
        let published: Vec<Way<'_>> = match &self.places {
            Some(places) => places
                .items
                .iter()
                .map(|place| Way {
                    bitcoins,
                    ..Way::from(place)
                })
                .filter(|way| !way.is_credit())
                .collect(),
            None => Vec::new(),
        };
        let nothing = self.asked.targets.is_empty() && published.is_empty();
        html! {
            section.card aria-labelledby="other" data-while="open" hidden[self.standing != Standing::Open] {
                h2 id="other" { "Pay without an account" }
                (guests::form(&self.guests, self.part(), (&self.page, &self.payee)))
                @if let (Some(minor), false) = (self.part(), nothing) {
                    p { "Pay " strong { (text::amount(&self.asked.unit, minor)) } " in one of these ways" @if !self.guests.is_empty() { " instead" } "; in something else, what that is worth." }
                }
                @if !self.asked.targets.is_empty() {
                    p { "Signed with the request:" }
                    (ways::list("target", named))
                }
                @if !published.is_empty() {
                    p { "Published by " (payee) " on their homeserver, for anything:" }
                    (ways::list("place", published.into_iter()))
                }
                @if nothing { p { "No other way to pay is published. Ask " (payee) " whether they take cash." } }
                h3 { "So that it counts" }
                p {
                    @if self.guests.is_empty() { "This page does not see what is paid like that." }
                    @else {
                        "What you pay by " @if self.guests.len() > 1 { "the buttons" } @else { "the button" }
                        " above counts by itself. What is paid otherwise this page does not see."
                    }
                    " Tell " (payee) " how much you paid and how, and where there is room for a note, write this name there:"
                }
                pre { code id="name" { (self.asked.id) } }
                button type="button" data-copy="name" { "Copy" }
                p.quiet { "They note it by hand once they have it. Then it counts here like any other part." }
            }
        }
    }

    /// Codes and links to pass on: the page's for any phone, the request's for wallets.
    fn share(&self) -> Markup {
        html! {
            section.card aria-labelledby="share" data-while="open" hidden[self.standing != Standing::Open] {
                h2 id="share" { "Pass it on" }
                @if let Some(address) = &self.address {
                    h3 { "For everybody" }
                    @if let Some(picture) = qr::code(address, "Code with the address of this page") { (picture) }
                    p.quiet { "The camera of any phone opens this page." }
                    pre { code id="address" { (address) } }
                    button type="button" data-copy="address" { "Copy" }
                }
                h3 { "For wallets" }
                @match qr::code(&self.link, "Code with the link of this request") {
                    Some(picture) => (picture),
                    None => p { "The link of this request is too long for a code." },
                }
                p.quiet { "With an Atomicity wallet on another device." }
                details {
                    summary { "The link" }
                    pre { code id="link" { (self.link) } }
                    button type="button" data-copy="link" { "Copy" }
                }
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

/// What a request is about.
pub(super) fn title(asked: &PaymentRequest, payee: &str) -> String {
    match &asked.memo {
        Some(memo) => text::plain(memo.as_str(), text::LINE),
        None => format!("A request of {payee}"),
    }
}

/// An amount as links to Bitcoin wallets name it, if it is one of bitcoins: in decimals, eight places at most.
fn bitcoins(unit: &Unit, minor: u64) -> Option<String> {
    let number = unit.format_minor(minor);
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => &number,
    };
    let places = number.split_once('.').map_or(0, |(_, places)| places.len());
    (unit.code() == "BTC" && places <= 8).then(|| number.to_owned())
}

/// A part of the whole, for a bar. At most 1000.
fn thousandths(part: u64, whole: u64) -> u64 {
    let share = u128::from(part) * 1_000 / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(1_000).min(1_000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_bar_is_never_longer_than_its_whole() {
        assert_eq!(thousandths(0, 3), 0);
        assert_eq!(thousandths(1, 3), 333);
        assert_eq!(thousandths(3, 3), 1_000);
        assert_eq!(thousandths(u64::MAX, 1), 1_000);
        assert_eq!(thousandths(1, 0), 1_000);
    }

    #[test]
    fn only_bitcoins_are_named_in_links_to_bitcoin_wallets() {
        let named = |unit: &str, minor| bitcoins(&unit.parse().unwrap(), minor);
        assert_eq!(named("BTC/8", 150_000).as_deref(), Some("0.0015"));
        assert_eq!(named("BTC/8", 200_000_000).as_deref(), Some("2"));
        assert_eq!(named("BTC/11", 1_500_000).as_deref(), Some("0.000015"));
        assert_eq!(named("BTC/11", 1), None);
        assert_eq!(named("USD/2", 2_500), None);
    }
}

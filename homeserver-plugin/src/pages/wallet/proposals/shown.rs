//! What was proposed, in words, and what became of it.

use atomicity_ledger::link::Link;
use atomicity_ledger::{Memo, UserKey};
use maud::{Markup, html};

use super::super::books::Books;
use super::super::overview::name_of;
use super::super::visitor::Visitor;
use super::trust;
use crate::http::proposals::{self, ProposalView, Wish};
use crate::pages::text;

/// One proposal.
pub(super) fn shown(visitor: &Visitor, books: &Books, view: &ProposalView) -> Markup {
    let time = |ms: i64| text::exact_time(u64::try_from(ms).unwrap_or(0));
    let id = view.proposal.id;
    html! {
        article.card data-proposal=(id) data-state=(view.state) {
            p { (wish(&view.proposal.wish)) }
            p {
                strong { (words(view)) }
                @if let Some(told) = &view.told { (told_words(&view.proposal.wish, told)) }
            }
            @if let Some(told) = &view.told { (route(books, &told.route)) }
            @if view.state == "done" { (goes_on(visitor, view)) }
            p.quiet { "proposed " (time(view.at)) @if view.state == "open" { ", holds until " (time(view.expires)) } }
            @if view.state == "open" {
                (not_yet_known(view))
                p { code { "atomicity proposals accept " (id) } }
                form method="post" action={ "/wallet/proposals/" (id) "/withdraw" } {
                    (visitor.field())
                    button type="submit" { "Take it back" }
                }
            }
        }
    }
}

/// What it will cost, while nobody has looked.
fn not_yet_known(view: &ProposalView) -> Markup {
    html! {
        @match &view.proposal.wish {
            Wish::Pay { .. } | Wish::Reassign { .. } if view.told.is_none() => {
                p.quiet { "Over whom it would go, and what that costs, appears here while your wallet runs: " code { "atomicity watch" } "." }
            }
            Wish::Part { .. } => {
                p.quiet { "Over whom it goes is known once its payee keeps it for you. Your wallet spends at most 1 % and one smallest unit on that, unless you allow more there." }
            }
            _ => {}
        }
    }
}

/// What comes after the end of what was only a beginning.
fn goes_on(visitor: &Visitor, view: &ProposalView) -> Markup {
    let request = view.told.as_ref().and_then(|told| told.request);
    html! {
        @match &view.proposal.wish {
            Wish::Ask { user: None, .. } => {
                @if let Some(request) = request {
                    p {
                        a.button href={ "/u/" (visitor.caller.user) "/requests/" (request) } { "Show the bill" }
                        " Pass on its code. It fills as people pay, while your wallet runs."
                    }
                }
            }
            Wish::Ask { user: Some(_), .. } => {
                p {
                    "The wallet of a friend shows it to them."
                    @if let Some(request) = request { " For anybody else, your wallet shows its link and code: " code { "atomicity request show " (request) } "." }
                }
            }
            Wish::Settle { .. } => {
                p {
                    "That is all so far: they owe you as much as before. Their wallet asks them whether they pay, or pays by a rule of theirs.                      Once your wallet has what they paid, they owe you so much less. How it goes on it shows by "
                    code { "atomicity settle list" } "."
                }
            }
            _ => {}
        }
    }
}

fn words(view: &ProposalView) -> &'static str {
    match view.state.as_str() {
        "done" if matches!(view.proposal.wish, Wish::Settle { .. }) => "They were asked",
        "open" => "Waits for your wallet",
        "accepted" => "Your wallet is at it",
        "declined" => "You declined it",
        "withdrawn" => "Taken back",
        "done" => "Done",
        "failed" => "Not done, and will not be",
        _ => "Has expired",
    }
}

fn wish(wish: &Wish) -> Markup {
    html! {
        @match wish {
            Wish::Friend { user, name } => {
                "Add " @if let Some(name) = name { (text::foreign(name.as_str(), text::LINE)) " " } (text::key(user)) " as a friend"
            }
            Wish::Limit { user, unit, accept } => {
                "Let " (text::key(user)) " owe you up to " (text::amount(unit, accept.minor()))
            }
            Wish::Pay { link, .. } => { "Pay " (invoiced(link)) }
            Wish::Issue { user, unit, amount, memo } => {
                "Pay " (text::key(user)) " " strong { (text::amount(unit, amount.minor())) } (what_for(memo.as_ref()))
            }
            Wish::Reassign { user, link, .. } => { "Have " (text::key(user)) " owe no more to you: " (invoiced(link)) }
            Wish::Part { link, amount, .. } => {
                @if let Ok(Link::Request(request)) = link.parse::<Link>() {
                    @let asked = request.record();
                    "Pay "
                    @if let Some(amount) = amount { strong { (text::amount(&asked.unit, amount.minor())) } } @else { "what is left" }
                    " of what " (text::key(&asked.payee)) " asks" (what_for(asked.memo.as_ref()))
                }
            }
            Wish::Ask { user, unit, amount, memo } => {
                "Ask "
                @if let Some(user) = user { (text::key(user)) } @else { "whoever has the link" }
                " for " strong { (text::amount(unit, amount.minor())) } (what_for(memo.as_ref()))
            }
            Wish::Settle { user, unit, amount, invoice } => {
                "Have " (text::key(user)) " pay off " strong { (text::amount(unit, amount.minor())) }
                @if invoice.is_some() { " by paying a Lightning invoice" }
            }
            Wish::Block { user, blocked } => {
                @if *blocked { "Block " (text::key(user)) } @else { "Deal with " (text::key(user)) " again" }
            }
            other => { @if let Some(words) = trust::words(other) { (words) } }
        }
    }
}

fn what_for(memo: Option<&Memo>) -> Markup {
    html! { @if let Some(memo) = memo { ": " (text::foreign(memo.as_str(), text::LINE)) } }
}

/// What an invoice asks for, and for whom.
fn invoiced(link: &str) -> Markup {
    html! {
        @if let Ok(Link::Invoice(invoice)) = link.parse::<Link>() {
            @let invoice = invoice.record();
            @if let Some(amount) = invoice.amount { strong { (text::amount(&invoice.unit, amount.minor())) } }
            " to " (text::key(&invoice.payee)) (what_for(invoice.memo.as_ref()))
        }
    }
}

/// Over whom it goes, as the wallet found it.
fn route(books: &Books, route: &[Vec<UserKey>]) -> Markup {
    html! {
        @for part in route {
            p { "You" @for user in part { " → " bdi title=(user) { (name_of(books, user)) } } }
        }
    }
}

fn told_words(wish: &Wish, told: &proposals::Told) -> Markup {
    html! {
        @if let (Some(unit), Some(amount)) = (wish.paid_in(), told.amount) { ": " (text::amount(&unit, amount.minor())) }
        @if let (Some(unit), Some(fee)) = (wish.paid_in(), told.fee) { ", for " (text::amount(&unit, fee.minor())) " beyond the amount" }
        @if let Some(hops) = told.hops { ", over " (hops) @if hops == 1 { " person" } @else { " people" } }
        @if let Some(reason) = &told.reason { ": " (text::foreign(reason, 64)) }
    }
}

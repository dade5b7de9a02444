//! The forms by which something is proposed, in groups that open one by one.

use std::collections::BTreeSet;

use atomicity_ledger::link::Link;
use atomicity_ledger::{RecordId, Unit, UserKey};
use maud::{Markup, html};

use super::super::books::Books;
use super::super::overview::name_of;
use super::super::visitor::Visitor;
use super::{Filled, trust};

/// What a form is for, and its fields.
pub struct Ask<'a> {
    /// Where it goes.
    pub action: &'a str,
    /// What it does, in a few words.
    pub does: &'a str,
    /// Whether it stands open at once.
    pub open: bool,
}

impl<'a> Ask<'a> {
    pub fn new(action: &'a str, does: &'a str) -> Self {
        Self {
            action,
            does,
            open: false,
        }
    }

    /// The form, folded until somebody opens it.
    pub fn with(&self, visitor: &Visitor, fields: &Markup) -> Markup {
        html! {
            details.ask open[self.open] {
                summary { (self.does) }
                form method="post" action={ "/wallet/proposals/" (self.action) } {
                    (visitor.field())
                    input type="hidden" name="id" value=(RecordId::from_entropy(rand::random()));
                    (fields)
                    button.go type="submit" { "Propose" }
                }
            }
        }
    }
}

/// A field with what it is called.
pub fn field(label: &str, input: &Markup) -> Markup {
    html! { label { (label) (input) } }
}

/// The link of an invoice or a request.
pub fn link_field(label: &str, value: &str) -> Markup {
    field(
        label,
        &html! { input name="link" value=(value) required maxlength="14000" placeholder="atomicity:…" autocomplete="off" autocapitalize="none" spellcheck="false"; },
    )
}

/// Somebody's key; those of friends are offered by their names.
pub fn user_field(label: &str, required: bool) -> Markup {
    field(
        label,
        &html! { input name="user" list="friends" required[required] maxlength="80" placeholder="their key" autocomplete="off" autocapitalize="none" spellcheck="false"; },
    )
}

/// How much; `hint` stands there while nothing does.
pub fn amount_field(name: &str, label: &str, hint: &str, required: bool) -> Markup {
    field(
        label,
        &html! { input name=(name) placeholder=(hint) required[required] inputmode="decimal" maxlength="40" autocomplete="off"; },
    )
}

/// In what; the units that are in use are offered.
pub fn unit_field() -> Markup {
    field(
        "Unit",
        &html! { input name="unit" list="units" required placeholder="BREAD/2" maxlength="20" autocomplete="off" autocapitalize="characters" spellcheck="false"; },
    )
}

/// A Lightning invoice, if there is one.
pub fn invoice_field() -> Markup {
    field(
        "A Lightning invoice; without one they pay wherever your wallet can be paid",
        &html! { input name="invoice" maxlength="2048" autocomplete="off" autocapitalize="none" spellcheck="false"; },
    )
}

/// Words that somebody may leave out.
pub fn words_field(name: &str, label: &str, most: u16) -> Markup {
    field(
        label,
        &html! { input name=(name) maxlength=(most) autocomplete="off"; },
    )
}

/// What fields offer: friends by their names, and units.
fn offered(books: &Books) -> Markup {
    let peers: BTreeSet<&UserKey> = books.lines.iter().map(|line| &line.peer).collect();
    let units: BTreeSet<&Unit> = books.lines.iter().map(|line| &line.unit).collect();
    html! {
        datalist id="friends" {
            @for peer in peers { option value=(peer) { (name_of(books, peer)) } }
        }
        datalist id="units" {
            @for unit in units { option value={ (unit.code()) "/" (unit.decimals()) } {} }
        }
    }
}

/// All of them.
pub fn all(visitor: &Visitor, books: &Books, filled: &Filled) -> Markup {
    let given = filled.link.as_deref().unwrap_or_default();
    let (invoice, request) = match given.parse::<Link>() {
        Ok(Link::Request(_)) => ("", given),
        Ok(Link::Invoice(_)) => (given, ""),
        _ => ("", ""),
    };
    let user = filled.user.as_deref().unwrap_or_default();
    let open = |ask: Ask<'static>, value: &str| Ask {
        open: !value.is_empty(),
        ..ask
    };
    html! {
        (offered(books))
        section.card aria-labelledby="to-pay" {
            h2 id="to-pay" { "Pay" }
            (open(Ask::new("pay", "Pay an invoice over friends"), invoice).with(visitor, &link_field("Its link", invoice)))
            (open(Ask::new("part", "Pay what somebody asks, or a part of it"), request).with(visitor, &html! {
                (link_field("Its link", request))
                (field("How much", &html! { input name="amount" value=(filled.amount.as_deref().unwrap_or_default()) placeholder="what is left" inputmode="decimal" maxlength="40" autocomplete="off"; }))
            }))
            (Ask::new("issue", "Pay a friend").with(visitor, &html! {
                (user_field("Whom", true))
                (amount_field("amount", "How much", "0.00", true))
                (unit_field())
                (words_field("memo", "What for", 120))
            }))
        }
        section.card aria-labelledby="to-get" {
            h2 id="to-get" { "Be paid" }
            (Ask::new("ask", "Ask to be paid").with(visitor, &html! {
                (amount_field("amount", "How much", "0.00", true))
                (unit_field())
                (user_field("By whom: a key, or nobody for everybody who has the link", false))
                (words_field("memo", "What for", 120))
            }))
            (Ask::new("settle", "Have a friend pay off what they owe").with(visitor, &html! {
                (user_field("Which friend", true))
                (amount_field("amount", "How much", "0.00", true))
                (unit_field())
                (invoice_field())
            }))
            (Ask::new("reassign", "Hand on what a friend owes").with(visitor, &html! {
                (user_field("Who owes", true))
                (link_field("An invoice of whom they are to owe it to", ""))
            }))
        }
        section.card aria-labelledby="to-trust" {
            h2 id="to-trust" { "Friends and limits" }
            (open(Ask::new("friend", "Add a friend"), user).with(visitor, &html! {
                (field("Their key", &html! { input name="user" value=(user) required maxlength="80" autocomplete="off" autocapitalize="none" spellcheck="false"; }))
                (words_field("name", "What to call them", 60))
            }))
            (Ask::new("limit", "Say how much a friend may owe you").with(visitor, &html! {
                (user_field("Which friend", true))
                (amount_field("accept", "How much", "0.00", true))
                (unit_field())
            }))
            (Ask::new("block", "Deal with somebody no more, or again").with(visitor, &html! {
                (user_field("With whom", true))
                (field("Which", &html! { select name="blocked" { option value="true" { "no more" } option value="false" { "again" } } }))
            }))
            (trust::rules(visitor))
        }
        section.card aria-labelledby="to-lend" {
            h2 id="to-lend" { "Apps and the agent" }
            (trust::keys(visitor))
        }
    }
}

//! What a guest without an account can do on a bill: have the payee's wallet make an invoice, or name an address, for their part.

use atomicity_ledger::RecordId;
use maud::{Markup, html};

use crate::db::guests::Way;
use crate::pages::text;

/// How a way is called in the middle of a sentence.
pub fn words(way: Way) -> &'static str {
    match way {
        Way::Lightning => "over Lightning",
        Way::Onchain => "on-chain",
    }
}

/// All ways in the middle of a sentence.
fn either(ways: &[Way]) -> String {
    ways.iter()
        .map(|way| words(*way))
        .collect::<Vec<_>>()
        .join(" or ")
}

/// What a wallet is asked for.
fn asked_for(ways: &[Way]) -> String {
    ways.iter()
        .map(|way| match way {
            Way::Lightning => "invoice",
            Way::Onchain => "address",
        })
        .collect::<Vec<_>>()
        .join(" or an ")
}

/// The form, where it is known how much; else that it has to be chosen first. Nothing where no guests are taken.
pub fn form(ways: &[Way], part: Option<u64>, (page, payee): (&str, &str)) -> Markup {
    html! {
        @match part {
            _ if ways.is_empty() => {},
            None => p { "Choose how much, above: then you can pay it here, " (either(ways)) ", and it counts by itself." },
            Some(minor) => {
                form method="post" action={ (page) "/guest" } {
                    input type="hidden" name="id" value=(RecordId::from_entropy(rand::random()));
                    input type="hidden" name="amount" value=(minor);
                    label for="guest" { "Your name, so that " (text::foreign(payee, text::LINE)) " knows who paid (if you like)" }
                    input id="guest" name="name" maxlength="40" autocomplete="name";
                    p.row {
                        @for way in ways { button.go type="submit" name="way" value=(way.word()) { "Pay " (words(*way)) } }
                    }
                }
                p.quiet {
                    "The wallet of " (text::foreign(payee, text::LINE)) " is asked for an " (asked_for(ways)) " of your own. You need no account, and what you pay counts here by itself."
                }
            },
        }
    }
}

//! An entry of a log with the proof that it is there, which a script checks in the browser; and the same form for a proof that somebody
//! brings along.

use atomicity_witness_log::leaf::preimage_hash;
use axum::extract::{Path, State};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use maud::{Markup, html};

use super::log::what;
use super::source::{Entry, OWN, Source, not_in_log};
use crate::error::PluginError;
use crate::pages::{Frame, Page, frame, layout, text};
use crate::state::AppState;

/// `GET /explore/logs/{log}/entries/{index}`.
///
/// # Errors
/// `log_unknown`, `not_in_log`, [`PluginError::Database`].
pub async fn page(
    State(state): State<AppState>,
    Path((name, index)): Path<(String, String)>,
) -> Result<Page, PluginError> {
    let source = Source::open(&state, &name).await?;
    let index: u64 = index.parse().map_err(|_| not_in_log())?;
    let entries = source.entries(&state, index).await?;
    let entry = entries
        .into_iter()
        .find(|entry| entry.index == index)
        .ok_or_else(not_in_log)?;
    let proof = source.prove(&state, &entry).await?.to_string();
    let title = format!("Entry {index}");
    let content = html! {
        h1 { (title) }
        p { "of " a href={ "/explore/logs/" (source.name) } { (text::foreign(source.key.name(), text::LINE)) } }
        (facts(&entry))
        (form(&proof, &source.policy))
    };
    Ok(checked(&title, content))
}

fn facts(entry: &Entry) -> Markup {
    let leaf = entry.leaf();
    let preimage = leaf.as_ref().and_then(|leaf| leaf.preimage());
    html! {
        section.card aria-labelledby="entry" {
            h2 id="entry" { "What it says" }
            dl {
                @if let Some(leaf) = &leaf {
                    dt { "When" } dd { (text::exact_time(leaf.time_ms())) }
                }
                dt { "What" } dd { (what(entry)) }
                @if let Some(preimage) = preimage {
                    dt { "Secret" } dd { code.key { (BASE64_URL_SAFE_NO_PAD.encode(preimage)) } }
                    dt { "Its hash" } dd { code.key { (BASE64_URL_SAFE_NO_PAD.encode(preimage_hash(preimage))) } }
                }
            }
            @if preimage.is_none() && leaf.is_some() {
                p.quiet { "A tick says only that the log was alive at that time." }
            }
        }
    }
}

/// `GET /explore/check`: the form alone.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn check(State(state): State<AppState>) -> Result<Page, PluginError> {
    let policy = match &state.witness_log {
        Some(_) => Source::open(&state, OWN).await?.policy,
        None => String::new(),
    };
    let content = html! {
        h1 { "Check a proof" }
        p.lead {
            "A wallet writes such proofs, and so does a log when it publishes something. The check happens in your browser: nothing is sent \
             anywhere."
        }
        (form("", &policy))
    };
    Ok(checked("Check a proof", content))
}

fn checked(title: &str, content: Markup) -> Page {
    let frame = Frame {
        modules: &["local.js", "proof.js"],
        ..frame(title, "")
    };
    layout(&frame, content)
}

/// Proof and policy to be checked. Both can be changed: a proof that was tampered with is refused.
fn form(proof: &str, policy: &str) -> Markup {
    html! {
        section.card aria-labelledby="proof-title" {
            h2 id="proof-title" { "The proof" }
            form id="check" {
                label for="proof" { "Proof (" code { "c2sp.org/tlog-proof@v1" } ")" }
                textarea id="proof" rows="14" maxlength="1200000" autocomplete="off" spellcheck="false" { (proof) }
                label for="policy" { "Whom to believe: the log’s key, its cosigners, and how many of them are enough (" code { "c2sp.org/tlog-policy" } ")" }
                textarea id="policy" rows="6" maxlength="70000" autocomplete="off" spellcheck="false" { (policy) }
                p { button.go type="submit" { "Check it here" } }
            }
            ol.steps id="steps" {}
            p id="outcome" role="status" {
                "Your browser can check this itself, with scripts on. A program can as well: both are in formats of the C2SP."
            }
        }
    }
}

//! The pages of a log: its newest checkpoint with who signed it, looking a hash up, its entries.

use atomicity_witness_log::leaf::preimage_hash;
use atomicity_witness_log::{SignedCheckpoint, VerifierKey};
use axum::extract::{Path, State};
use axum::response::Redirect;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use maud::{Markup, html};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::source::{BUNDLE, Entry, Source, not_in_log};
use crate::error::PluginError;
use crate::http::extract::QueryParams;
use crate::mirror::proofs;
use crate::pages::{Page, frame, layout, text};
use crate::state::AppState;

/// Entries that the page of a log shows.
const NEWEST: usize = 12;

/// `GET /explore/logs/{log}`.
///
/// # Errors
/// `log_unknown`, [`PluginError::Database`].
pub async fn page(
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<Page, PluginError> {
    let source = Source::open(&state, &name).await?;
    let last = source.size().checked_sub(1);
    let newest = match last {
        Some(last) => source.entries(&state, last).await?,
        None => Vec::new(),
    };
    let lied = proofs::page(&state.pool, 0, 1, Some(source.key.name())).await?;
    let title = text::plain(source.key.name(), text::LINE);
    let content = html! {
        h1 { (text::foreign(&title, text::LINE)) }
        p.lead { "A witness log " @if source.is_own() { "run here." } @else { "that is followed here: what you see is this server’s own copy, every entry of it checked." } }
        @if !lied.is_empty() {
            p.bad role="status" { "Somebody was caught lying about this log: " a href="/explore/verdicts" { "the evidence" } "." }
        }
        (checkpoint(&source))
        (search(&source))
        section.card aria-labelledby="newest" {
            h2 id="newest" { "Newest entries" }
            @if newest.is_empty() { p { "None is published yet." } }
            @else {
                (table(&source, newest.iter().rev().take(NEWEST)))
                p { a href={ "/explore/logs/" (source.name) "/entries" } { "All entries" } }
                p { a href={ "/explore/logs/" (source.name) "/tiles" } { "The tiles of hashes over them" } }
            }
        }
    };
    Ok(layout(&frame(&title, ""), content))
}

fn checkpoint(source: &Source) -> Markup {
    html! {
        section.card aria-labelledby="checkpoint" {
            h2 id="checkpoint" { "Newest checkpoint" }
            @match &source.published {
                None => p { "None is published yet." },
                Some(signed) => {
                    dl {
                        dt { "Entries" } dd { (text::count(signed.checkpoint().size)) }
                        dt { "Root" } dd { code.key { (signed.checkpoint().root) } }
                    }
                    (signers(source, signed))
                    details {
                        summary { "As it was signed" }
                        pre { code { (text::lines(&signed.note().to_string())) } }
                    }
                },
            }
            dl {
                dt { "Verifier key" } dd { code.key { (text::plain(&source.key.to_string(), 400)) } }
                dt { "For programs" } dd { a href={ (source.tiles_url()) "/checkpoint" } { (source.tiles_url()) "/checkpoint" } }
            }
        }
    }
}

/// Who signed a checkpoint, and whether the signature is good: as checked here.
fn signers(source: &Source, signed: &SignedCheckpoint) -> Markup {
    let log = signed.verify_log(&source.key).is_ok();
    let cosigner = |key: &VerifierKey| signed.verify_cosigner(key).ok();
    let known = |name: &str| {
        name == source.key.name() || source.cosigners.iter().any(|key| key.name() == name)
    };
    let others = signed
        .note()
        .signatures()
        .iter()
        .filter(|line| !known(line.name()))
        .count();
    html! {
        div.scroll tabindex="0" role="region" aria-label="Signatures" {
            table {
                thead { tr { th scope="col" { "Signed by" } th scope="col" { "As" } th scope="col" { "When" } th scope="col" { "Checked" } } }
                tbody {
                    tr { td { span.cut { (text::foreign(source.key.name(), 80)) } } td { "the log" } td {} td { (mark(log)) } }
                    @for key in &source.cosigners {
                        tr {
                            td { span.cut { (text::foreign(key.name(), 80)) } }
                            td { "cosigner" }
                            @match cosigner(key) {
                                Some(seconds) => { td { (text::exact_time(seconds.saturating_mul(1_000))) } td { (mark(true)) } },
                                None => { td {} td { "has not signed this one" } },
                            }
                        }
                    }
                }
            }
        }
        @if others > 0 {
            p.quiet { (others) @if others == 1 { " more signature is" } @else { " more signatures are" } " by nobody known here." }
        }
    }
}

fn mark(good: bool) -> Markup {
    html! {
        @if good { span.good { "good" } } @else { span.bad { "bad" } }
    }
}

fn search(source: &Source) -> Markup {
    html! {
        section.card aria-labelledby="search" {
            h2 id="search" { "Was it published?" }
            form action={ "/explore/logs/" (source.name) "/find" } method="get" {
                label for="hash" { "The hash of a payment, or the secret itself: 64 hexadecimal digits, or 43 characters of base64url" }
                div.row {
                    input.mono id="hash" name="hash" required minlength="43" maxlength="64" autocomplete="off" autocapitalize="none" spellcheck="false";
                    button.go type="submit" { "Look it up" }
                }
            }
            @if !source.is_own() {
                p { "It is looked for in this server’s copy, and what is found comes with the proof." }
            }
            p { a href="/explore/check" { "Check a proof that you have" } }
        }
    }
}

/// What is looked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    hash: String,
}

/// `GET /explore/logs/{log}/find`: leads to the entry with the preimage of a hash, or with this preimage.
///
/// # Errors
/// `log_unknown`, `bytes_malformed`, `not_in_log`, `not_indexed_yet`, [`PluginError::Database`].
pub async fn find(
    State(state): State<AppState>,
    Path(name): Path<String>,
    QueryParams(wanted): QueryParams<Wanted>,
) -> Result<Redirect, PluginError> {
    let source = Source::open(&state, &name).await?;
    let hash = bytes32(wanted.hash.trim()).ok_or_else(|| PluginError::BadRequest {
        code: "bytes_malformed",
        detail: "a hash has 64 hexadecimal digits, or 43 characters of base64url".to_owned(),
    })?;
    let index = match source.look_up(&state, hash).await {
        Err(PluginError::NotFound { .. }) => {
            source.look_up(&state, Sha256::digest(hash).into()).await?
        }
        found => found?,
    };
    Ok(Redirect::to(&format!(
        "/explore/logs/{}/entries/{index}",
        source.name
    )))
}

/// 32 bytes, as hexadecimal digits or in base64url.
fn bytes32(text: &str) -> Option<[u8; 32]> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let digit = |at: usize| text.get(at..at.checked_add(2)?);
        let bytes = (0..32).map(|at| u8::from_str_radix(digit(2 * at)?, 16).ok());
        let bytes: Option<Vec<u8>> = bytes.collect();
        return bytes?.try_into().ok();
    }
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// From where on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// Any index; the bundle in which it lies is shown. The newest if absent.
    from: Option<u64>,
}

/// `GET /explore/logs/{log}/entries`: the entries of one bundle.
///
/// # Errors
/// `log_unknown`, `query_invalid`, `not_in_log`, [`PluginError::Database`].
pub async fn entries(
    State(state): State<AppState>,
    Path(name): Path<String>,
    QueryParams(query): QueryParams<Begin>,
) -> Result<Page, PluginError> {
    let source = Source::open(&state, &name).await?;
    let last = source.size().checked_sub(1).ok_or_else(not_in_log)?;
    let from = query.from.unwrap_or(last);
    let found = source.entries(&state, from).await?;
    let start = from - from % BUNDLE;
    let path = source.bundle_of(from).ok_or_else(not_in_log)?;
    let here = format!("/explore/logs/{}/entries", source.name);
    let title = format!("Entries of {}", text::plain(source.key.name(), text::LINE));
    let content = html! {
        h1 { (text::foreign(&title, 200)) }
        p { a href={ "/explore/logs/" (source.name) } { "Back to the log" } }
        nav aria-label="Earlier and later" {
            ul {
                @if let Some(before) = start.checked_sub(1) { li { a href={ (here) "?from=" (before) } { "Earlier" } } }
                @if start + BUNDLE <= last { li { a href={ (here) "?from=" (start + BUNDLE) } { "Later" } } }
                li { a href={ (source.tiles_url()) "/" (path) } { "These as bytes" } }
            }
        }
        div.card { (table(&source, found.iter())) }
    };
    Ok(layout(&frame(&title, ""), content))
}

/// Entries, each with a link to its proof.
fn table<'a>(source: &Source, entries: impl Iterator<Item = &'a Entry>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Entries" {
            table {
                thead { tr { th scope="col" { "Number" } th scope="col" { "When" } th scope="col" { "What" } } }
                tbody {
                    @for entry in entries {
                        tr {
                            td.number { a href={ "/explore/logs/" (source.name) "/entries/" (entry.index) } { (entry.index) } }
                            td { @if let Some(leaf) = entry.leaf() { (text::exact_time(leaf.time_ms())) } }
                            td { (what(entry)) }
                        }
                    }
                }
            }
        }
    }
}

/// What an entry is, in words.
pub fn what(entry: &Entry) -> Markup {
    let Some(leaf) = entry.leaf() else {
        return html! { span.bad { "nothing that a log may hold" } };
    };
    html! {
        @match leaf.preimage() {
            None => span.quiet { "tick" },
            Some(preimage) => { "secret of " code.cut { (BASE64_URL_SAFE_NO_PAD.encode(preimage_hash(preimage))) } },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_in_both_spellings_and_no_other() {
        let bytes: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap_or(0) * 7);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(bytes32(&hex), Some(bytes));
        assert_eq!(bytes32(&hex.to_uppercase()), Some(bytes));
        assert_eq!(bytes32(&BASE64_URL_SAFE_NO_PAD.encode(bytes)), Some(bytes));
        for wrong in [
            "",
            "x",
            &hex[1..],
            &format!("+{}", &hex[1..]),
            &"ä".repeat(32),
        ] {
            assert_eq!(bytes32(wrong), None, "{wrong}");
        }
    }
}

//! Who was caught lying, with the evidence.

use atomicity_witness_log::fork::Misdeed;
use atomicity_witness_log::{ForkProof, Leaf, SignedNote, TlogProof};
use axum::extract::{Path, State};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use maud::{Markup, html};
use serde::Deserialize;

use crate::error::PluginError;
use crate::http::extract::{QueryParams, parse_id};
use crate::mirror::proofs::{self, Verdict};
use crate::pages::{Page, frame, layout, text};
use crate::state::AppState;

/// Verdicts of a page.
const PAGE: usize = 50;

/// Which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    after: Option<String>,
}

/// `GET /explore/verdicts`.
///
/// # Errors
/// `id_malformed`, [`PluginError::Database`].
pub async fn list(
    State(state): State<AppState>,
    QueryParams(query): QueryParams<After>,
) -> Result<Page, PluginError> {
    let after = query.after.as_deref().map_or(Ok(0), parse_id)?;
    let more = i64::try_from(PAGE).unwrap_or(1).saturating_add(1);
    let mut found = proofs::page(&state.pool, after, more, None).await?;
    let full = found.len() > PAGE;
    found.truncate(PAGE);
    let content = html! {
        h1 { "Verdicts" }
        p.lead { "A log or a cosigner that signs two things that can’t both be true has proven itself a liar. Each proof below was checked here; check it yourself." }
        @if found.is_empty() { p.good { "There are none." } }
        @else { (table(&found)) }
        @if let Some(last) = found.last().filter(|_| full) {
            p { a href={ "/explore/verdicts?after=" (last.id) } { "More" } }
        }
    };
    Ok(layout(&frame("Verdicts", ""), content))
}

fn table(found: &[Verdict]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Verdicts" {
            table {
                thead { tr { th scope="col" { "Number" } th scope="col" { "Who" } th scope="col" { "Did what" } th scope="col" { "About" } th scope="col" { "Found" } } }
                tbody {
                    @for verdict in found {
                        tr {
                            td.number { a href={ "/explore/verdicts/" (verdict.id) } { (verdict.id) } }
                            td { span.cut { (text::foreign(name_of(&verdict.culprit), 80)) } }
                            td { (deed(&verdict.what)) }
                            td { span.cut { (text::foreign(&verdict.origin, 80)) } }
                            td { (text::time(u64::try_from(verdict.found_at).unwrap_or(0))) }
                        }
                    }
                }
            }
        }
    }
}

/// The name in a verifier key.
fn name_of(vkey: &str) -> &str {
    vkey.split_once('+').map_or(vkey, |(name, _)| name)
}

/// What somebody did, in words.
fn deed(code: &str) -> &'static str {
    let all = [
        (Misdeed::SameSize, "showed two histories of the same length"),
        (
            Misdeed::Inconsistent,
            "showed a history that does not continue an earlier one",
        ),
        (
            Misdeed::DifferentLeaves,
            "showed two entries with one number",
        ),
        (Misdeed::FallingTimes, "wrote entries whose times fall"),
        (
            Misdeed::BrokenTombstone,
            "signed on after promising to have ended",
        ),
        (Misdeed::MalformedLeaf, "wrote an entry that is none"),
    ];
    let known = all.iter().find(|(misdeed, _)| misdeed.code() == code);
    known.map_or("lied", |(_, words)| words)
}

/// `GET /explore/verdicts/{id}`.
///
/// # Errors
/// `id_malformed`, `verdict_unknown`, [`PluginError::Database`].
pub async fn page(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Page, PluginError> {
    let id = parse_id(&id)?;
    let unknown = || PluginError::NotFound {
        code: "verdict_unknown",
        detail: "there is no verdict with this number",
    };
    let verdict = proofs::page(&state.pool, id.saturating_sub(1), 1, None)
        .await?
        .pop();
    let verdict = verdict
        .filter(|verdict| verdict.id == id)
        .ok_or_else(unknown)?;
    let bytes = proofs::get(&state.pool, id).await?.ok_or_else(unknown)?;
    let proof = ForkProof::decode(&bytes).ok();
    let holds = proof.as_ref().is_some_and(|proof| proof.verify().is_ok());
    let title = format!("Verdict {id}");
    let content = html! {
        h1 { (title) }
        p.lead { (text::foreign(name_of(&verdict.culprit), text::LINE)) " " (deed(&verdict.what)) "." }
        section.card aria-labelledby="whom" {
            h2 id="whom" { "Whom it convicts" }
            dl {
                dt { "Key" } dd { code.key { (text::plain(&verdict.culprit, 400)) } }
                dt { "As" } dd { @if verdict.role == "cosigner" { "a cosigner" } @else { "the log itself" } }
                dt { "Log" } dd { (text::foreign(&verdict.origin, text::LINE)) }
                dt { "Found" } dd { (text::exact_time(u64::try_from(verdict.found_at).unwrap_or(0))) }
                dt { "The proof" } dd { a href={ "/watchtower/proofs/" (id) } { "as bytes" } ", SHA-256 " code.key { (BASE64_URL_SAFE_NO_PAD.encode(&verdict.digest)) } }
                dt { "Checked just now" } dd { @if holds { span.good { "it holds" } } @else { span.bad { "it does not hold" } } }
            }
        }
        @if let Some(proof) = &proof { (evidence(proof)) }
    };
    Ok(layout(&frame(&title, ""), content))
}

/// What contradicts itself, side by side.
fn evidence(proof: &ForkProof) -> Markup {
    let (first, second) = match proof {
        ForkProof::SameSize { a, b, .. } => (note("One history", a), Some(note("The other", b))),
        ForkProof::Inconsistent { old, new, .. } => (
            note("The earlier one", old),
            Some(note("The later one, which does not begin with it", new)),
        ),
        ForkProof::DifferentLeaves { a, b, .. } => {
            (entry("One entry", a), Some(entry("The other", b)))
        }
        ForkProof::FallingTimes { before, after, .. } => (
            entry("The earlier entry", before),
            Some(entry("The later one, with an earlier time", after)),
        ),
        ForkProof::BrokenTombstone {
            tombstone,
            cosigned,
            ..
        } => (
            note("The promise to have ended", tombstone),
            Some(note("What it signed all the same", cosigned)),
        ),
        ForkProof::MalformedLeaf { proof, .. } => (entry("The entry", proof), None),
    };
    html! {
        section aria-labelledby="evidence" {
            h2 id="evidence" { "What it signed" }
            div.pair { (first) @if let Some(second) = second { (second) } }
        }
    }
}

fn note(title: &str, note: &SignedNote) -> Markup {
    html! {
        div.card { h3 { (title) } pre { code { (text::lines(&note.to_string())) } } }
    }
}

fn entry(title: &str, proof: &TlogProof) -> Markup {
    let extra = proof.extra.as_deref().unwrap_or_default();
    html! {
        div.card {
            h3 { (title) }
            dl {
                dt { "Number" } dd { (proof.index) }
                @if let Ok(leaf) = Leaf::decode(extra) { dt { "When" } dd { (text::exact_time(leaf.time_ms())) } }
                dt { "Bytes" } dd { code.key { (BASE64_URL_SAFE_NO_PAD.encode(extra.get(..extra.len().min(256)).unwrap_or_default())) } }
            }
            pre { code { (text::lines(&proof.note.to_string())) } }
        }
    }
}

//! Everything at a glance, and what was done.

use axum::extract::State;
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;

use super::super::audit::{self, AuditEntry};
use super::super::http::{paged, set_draining};
use super::super::status::{self, AdminStatus};
use super::{LoggedIn, Sent, count, size, time, token};
use crate::error::PluginError;
use crate::http::extract::{QueryParams, parse_id};
use crate::pages::{Page, text};
use crate::state::AppState;

/// Actions on one page.
const PAGE: i64 = 100;

/// `GET /`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn page(by: LoggedIn, State(state): State<AppState>) -> Result<Page, PluginError> {
    let status = status::collect(&state).await?;
    let content = html! {
        h1 { "How it stands" }
        (standing(&status, &by))
        div.pair {
            (accounts(&status))
            @if let Some(agents) = &status.agents { (agents_card(agents)) }
            @if let Some(log) = &status.log { (log_card(log)) }
            @if !status.followed.is_empty() { (followed(&status)) }
            @if let Some(crawl) = &status.router { (crawl_card(crawl)) }
            (database(&status))
        }
        (limits(&status))
        section.card aria-labelledby="done" {
            h2 id="done" { "What was done last" }
            (actions(&status.actions))
            p { a href="/audit" { "All of it" } }
        }
        (leaving(&by))
    };
    Ok(super::page("", "/", content))
}

fn standing(status: &AdminStatus, by: &LoggedIn) -> Markup {
    html! {
        section.card aria-labelledby="standing" {
            h2 id="standing" { "The plugin" }
            dl {
                dt { "State" }
                dd {
                    @match status.obstacle.as_deref() {
                        None => span.good { "serving" },
                        Some("draining") => span.bad { "draining: no new work is taken" },
                        Some(why) => span.bad { "not ready: " (why) },
                    }
                }
                dt { "Live streams" } dd { (count(status.streams)) }
                dt { "Version" } dd { (status.version) }
                dt { "Key" } dd { code.key { (status.plugin) } }
                dt { "As of" } dd { (time(Some(status.at))) }
            }
            form action="/drain" method="post" {
                (token(&by.session))
                @if status.draining {
                    input type="hidden" name="draining" value="false";
                    button type="submit" { "Take new work again" }
                } @else {
                    input type="hidden" name="draining" value="true";
                    button type="submit" aria-describedby="drain-help" { "Drain" }
                    p.quiet id="drain-help" { "Takes no new work and finishes what is open, until this is taken back or the plugin starts again." }
                }
            }
        }
    }
}

fn accounts(status: &AdminStatus) -> Markup {
    let accounts = &status.accounts;
    html! {
        section.card aria-labelledby="accounts" {
            h2 id="accounts" { "Accounts and inboxes" }
            dl {
                dt { "Open" } dd { (count(accounts.open)) }
                dt { "Closed" } dd { (count(accounts.closed)) }
                dt { "Switched off" }
                dd {
                    (count(accounts.disabled))
                    @if accounts.disabled > 0 { " " a href="/accounts?disabled=true" { "which" } }
                }
                dt { "Sessions" } dd { (count(accounts.sessions)) }
                dt { "Envelopes" } dd { (count(accounts.queued)) ", " (size(u64::try_from(accounts.queued_bytes).unwrap_or(0))) }
                dt { "The oldest" } dd { (time(accounts.oldest_at)) }
            }
            p { a href="/accounts" { "All accounts" } }
        }
    }
}

fn agents_card(agents: &status::AgentTotals) -> Markup {
    html! {
        section.card aria-labelledby="agents" {
            h2 id="agents" { "Agents" }
            dl {
                dt { "At work" } dd { (count(agents.active)) }
                dt { "Stopped" } dd { (count(agents.stopped)) }
                dt { "Pairs kept" } dd { (count(agents.pairs)) }
                dt { "Worked on now" } dd { (text::count(agents.working)) }
                dt { "Signed in a day" } dd { (count(agents.signed_in_a_day)) }
                dt { "Not judged yet" } dd { (count(agents.held)) }
                dt { "To be sent" } dd { (count(agents.to_send)) }
                dt { "Promises open" } dd { (count(agents.promises)) }
                dt { "Spends open" } dd { (count(agents.spends)) }
            }
        }
    }
}

fn log_card(log: &status::LogStatus) -> Markup {
    html! {
        section.card aria-labelledby="log" {
            h2 id="log" { "The log" }
            dl {
                dt { "Name" } dd { (text::foreign(&log.origin, text::LINE)) }
                dt { "State" }
                dd { @if log.status == "running" { span.good { "running" } } @else { span.bad { (log.status) } } }
                dt { "Entries" } dd { (count(log.size)) }
                dt { "Published" } dd { (count(log.published_size)) }
                dt { "The newest" } dd { (time(log.newest_at)) }
                dt { "Cosigners" }
                dd {
                    (text::count(log.quorum)) " must sign"
                    @if !log.cosigners.is_empty() {
                        " of" ul { @for cosigner in &log.cosigners { li { (cosigner_line(cosigner)) } } }
                    }
                }
                dt { "Tombstones" } dd { (count(log.tombstones)) }
            }
        }
    }
}

/// A cosigner, and how it answered last.
fn cosigner_line(cosigner: &status::CosignerStatus) -> Markup {
    html! {
        (text::foreign(&cosigner.name, text::LINE)) ": "
        @match cosigner.outcome.as_deref() {
            None => "not asked yet",
            Some("cosigned") => span.good { "cosigned" },
            Some(outcome) => span.bad { (outcome) },
        }
        ", last cosigned: " (time(cosigner.cosigned_at))
    }
}

fn followed(status: &AdminStatus) -> Markup {
    html! {
        section.card aria-labelledby="followed" {
            h2 id="followed" { "Logs of others" }
            div.scroll tabindex="0" role="region" aria-label="Table of the logs of others" {
                table {
                    thead { tr { th scope="col" { "Log" } th scope="col" { "Entries" } th scope="col" { "Cosigned" } th scope="col" { "Newest" } th scope="col" { "Lies" } } }
                    tbody {
                        @for log in &status.followed {
                            tr {
                                th scope="row" { span.cut { (text::foreign(&log.origin, text::LINE)) } @if log.buried { " (buried)" } }
                                td.number { (count(log.size)) }
                                td.number { (count(log.cosigned_size)) }
                                td { (time(log.newest_at)) }
                                td.number { (count(log.proofs)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn crawl_card(crawl: &status::CrawlStatus) -> Markup {
    html! {
        section.card aria-labelledby="crawl" {
            h2 id="crawl" { "The crawl" }
            dl {
                dt { "Users" } dd { (count(crawl.users)) }
                dt { "Read" } dd { (count(crawl.visited)) }
                dt { "Due" } dd { (count(crawl.due)) }
                dt { "Failing" } dd { (count(crawl.failing)) }
                dt { "Homeservers" } dd { (count(crawl.homeservers)) }
                dt { "Of these failing" } dd { (count(crawl.failing_homeservers)) }
                dt { "Advertisements" } dd { (count(crawl.adverts)) }
                dt { "Exchangers" } dd { (count(crawl.rates)) }
            }
        }
    }
}

fn database(status: &AdminStatus) -> Markup {
    let database = &status.database;
    html! {
        section.card aria-labelledby="database" {
            h2 id="database" { "Database and disks" }
            dl {
                dt { "Postgres" } dd { (text::plain(&database.version, text::LINE)) }
                dt { "Schema" } dd { (count(database.schema)) " of " (count(database.schema_known)) }
                dt { "Weight" } dd { (size(u64::try_from(database.bytes).unwrap_or(0))) }
                dt { "Connections" } dd { (text::count(database.connections.into())) ", " (text::count(database.idle)) " idle" }
                @for disk in &status.disks {
                    dt { "Free" } dd { (size(disk.free_bytes)) " in " code { (disk.path) } }
                }
            }
        }
    }
}

fn limits(status: &AdminStatus) -> Markup {
    html! {
        details.card {
            summary { "Limits" }
            dl {
                @for limit in &status.limits {
                    dt { code { (limit.name) } } dd { (limit.value) }
                }
            }
        }
    }
}

fn leaving(by: &LoggedIn) -> Markup {
    html! {
        section.card aria-labelledby="you" {
            h2 id="you" { "You" }
            div.row {
                form action="/logout" method="post" { (token(&by.session)) button type="submit" { "Log out" } }
                form action="/password" method="post" { (token(&by.session)) button type="submit" { "Make another password" } }
            }
        }
    }
}

/// Actions in a table, the newest first.
pub(super) fn actions(actions: &[AuditEntry]) -> Markup {
    html! {
        @if actions.is_empty() {
            p.quiet { "Nothing." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Actions" {
                table {
                    thead { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "About" } th scope="col" { "Why" } th scope="col" { "From" } } }
                    tbody {
                        @for entry in actions {
                            tr {
                                td { (time(Some(entry.at))) }
                                td { code { (entry.action) } }
                                td { @if let Some(subject) = &entry.subject { a href=(format!("/accounts/{subject}")) { (short(subject)) } } }
                                td { (text::foreign(&entry.detail, text::LINE)) }
                                td { (entry.via) " " (entry.address) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The beginning of a key, to be recognised by.
pub(super) fn short(key: &str) -> String {
    let mut text: String = key.chars().take(12).collect();
    text.push('…');
    text
}

/// How far back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Back {
    /// Only what has a smaller number.
    pub before: Option<String>,
}

/// `GET /audit`.
///
/// # Errors
/// `id_malformed`; [`PluginError::Database`].
pub async fn audit(
    _: LoggedIn,
    State(state): State<AppState>,
    QueryParams(query): QueryParams<Back>,
) -> Result<Page, PluginError> {
    let before = query.before.as_deref().map_or(Ok(i64::MAX), parse_id)?;
    let found = audit::page(&state.pool, None, before, PAGE + 1).await?;
    let (entries, next) = paged(found, PAGE, |entry| entry.id.clone());
    let content = html! {
        h1 { "What was done" }
        (actions(&entries))
        @if let Some(next) = next {
            p { a href=(format!("/audit?before={next}")) { "Earlier" } }
        }
    };
    Ok(super::page("What was done", "/audit", content))
}

/// Whether new work is refused.
#[derive(Deserialize)]
pub struct Drain {
    draining: String,
}

/// `POST /drain`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn drain(
    State(state): State<AppState>,
    Sent { by, form }: Sent<Drain>,
) -> Result<Redirect, PluginError> {
    set_draining(&state, by.operator, form.draining == "true").await?;
    Ok(Redirect::to("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosigner_that_has_fallen_silent_is_seen_and_since_when() {
        let shown = |outcome: Option<&str>, cosigned_at| {
            let cosigner = status::CosignerStatus {
                name: "<b>".to_owned(),
                cosigned_at,
                asked_at: outcome.map(|_| 2_000),
                outcome: outcome.map(str::to_owned),
            };
            cosigner_line(&cosigner).into_string()
        };
        let silent = shown(Some("unreachable"), Some(1_000));
        assert!(silent.contains("unreachable") && silent.contains("1970-01-01T00:00:01"));
        assert!(
            silent.contains("bad") && !silent.contains("<b>"),
            "{silent}"
        );
        assert!(shown(Some("cosigned"), Some(1_000)).contains("good"));
        let new = shown(None, None);
        assert!(
            new.contains("not asked yet") && new.contains("never"),
            "{new}"
        );
    }
}

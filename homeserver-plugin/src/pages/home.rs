//! Where a visitor begins: who this is, and a field that takes a key, a link or a hash.

use atomicity_ledger::link::Link;
use axum::extract::State;
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;

use super::{Page, frame, layout, text, typed};
use crate::error::PluginError;
use crate::http::extract::QueryParams;
use crate::state::AppState;

/// `GET /`.
pub async fn page(State(state): State<AppState>) -> Page {
    let content = html! {
        h1 { "Credit between people" }
        p.lead {
            "This server keeps sealed messages for its users while they are away, and shows what they want shown. Their books are kept \
             by their own wallets and signed with their own keys."
        }
        (search())
        (about(&state))
    };
    layout(&frame("", "/"), content)
}

/// The field that finds things.
fn search() -> Markup {
    html! {
        form.search action="/find" method="get" role="search" {
            label for="q" { "Look something up" }
            div.row {
                input id="q" name="q" required maxlength="70000" autocomplete="off" autocapitalize="none" spellcheck="false"
                    aria-describedby="q-help";
                button.go type="submit" { "Show" }
            }
            p.quiet id="q-help" { "A user’s key, or a link that begins with " code { "atomicity:" } }
        }
    }
}

fn about(state: &AppState) -> Markup {
    let plugin = state.keypair.public_key().z32();
    let follow = &state.follow;
    html! {
        section.card aria-labelledby="about" {
            h2 id="about" { "About this server" }
            dl {
                dt { "Key" } dd { code.key { (plugin) } }
                @if let Some(homeserver) = &state.config.accounts.homeserver {
                    dt { "For the users of" } dd { (text::key(homeserver)) }
                }
                dt { "Does" }
                dd {
                    ul {
                        li { "keep messages for users who are away" }
                        @if state.agent.is_some() { li { "keep books for users who ask for it, within their limits" } }
                        @if state.router.is_some() { li { "find ways to pay strangers" } }
                        @if state.witness_log.is_some() { li { "run a witness log" } }
                        @if follow.cosigner.is_some() { li { "cosign the logs of others" } }
                        @if follow.watchtower { li { "watch logs" } }
                    }
                }
                dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) }
            }
        }
    }
}

/// What is looked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Anything that there are pages about.
    q: Option<String>,
    /// A user whose surroundings are wanted.
    around: Option<String>,
}

/// `GET /find`: leads to the page about what was typed in.
///
/// # Errors
/// `query_invalid` if it is nothing that there are pages about.
pub async fn find(QueryParams(wanted): QueryParams<Wanted>) -> Result<Redirect, PluginError> {
    let found = match (&wanted.q, &wanted.around) {
        (Some(any), _) => place(any.trim()),
        (None, Some(user)) => typed::key(user).map(|user| format!("/explore/users/{user}")),
        (None, None) => None,
    };
    let found = found.ok_or_else(|| PluginError::BadRequest {
        code: "query_invalid",
        detail: "that is neither a user’s key nor a link that begins with atomicity:".to_owned(),
    })?;
    Ok(Redirect::to(&found))
}

fn place(wanted: &str) -> Option<String> {
    if let Some(user) = typed::key(wanted) {
        return Some(format!("/u/{user}"));
    }
    match wanted.parse::<Link>().ok()? {
        Link::User(link) => Some(format!("/u/{}", link.user)),
        Link::Request(asked) => {
            let asked = asked.record();
            Some(format!("/u/{}/requests/{}", asked.payee, asked.id))
        }
        Link::Invoice(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use atomicity_ledger::Keypair;

    use super::*;

    #[test]
    fn a_key_is_found_however_it_is_written() {
        let user = Keypair::from_secret(&[7; 32]).user_key();
        let page = Some(format!("/u/{user}"));
        for written in [
            format!("{user}"),
            format!("pubky{user}"),
            format!("pubky://{user}"),
            format!("pubky://{user}/"),
            format!("atomicity:{user}"),
            format!("ATOMICITY:{user}?unit=USD/2&amount=5.00"),
        ] {
            assert_eq!(place(&written), page, "{written}");
        }
        for other in ["", "x", "atomicity:", "//evil.example", "/u/x", "http://a"] {
            assert_eq!(place(other), None, "{other}");
        }
    }
}

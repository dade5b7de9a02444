//! `GET /u/{user}/requests/{id}/guest/{part}`: what a guest pays of a bill, how, and whether it has come. It works without scripts; one keeps
//! it up to date.

use std::sync::Arc;

use atomicity_ledger::record::PaymentRequest;
use atomicity_ledger::{Amount, Name, RecordId, Unit, UserKey};
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;

use super::bill::{self, guests::words};
use super::user::{require_shown, shown_name};
use super::wallet::visitor::Anonymous;
use super::{Frame, Page, frame, layout, qr, text};
use crate::clock;
use crate::db::guests::{Row, State as Stage, Way};
use crate::error::PluginError;
use crate::http::client_addr::ClientAddr;
use crate::http::credit::{Memory, profile, requests};
use crate::http::guests::{self, GuestPartView, NewGuestPart};
use crate::state::AppState;

/// After so long a wallet that has not answered is called silent.
const PATIENCE_MS: i64 = 30_000;

/// What the form of a bill sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    id: RecordId,
    amount: Amount,
    way: Way,
    #[serde(default)]
    name: Option<String>,
}

/// `POST /u/{user}/requests/{id}/guest`: asks the payee's wallet how to pay, and leads to the page of the part.
///
/// # Errors
/// `form_foreign`, `page_unknown`; what [`guests::leave`] can end in.
pub async fn ask(
    State(state): State<AppState>,
    Extension(memory): Extension<Arc<Memory>>,
    path: Result<Path<(String, String)>, PathRejection>,
    ClientAddr(address): ClientAddr,
    Anonymous(form): Anonymous<Form>,
) -> Result<Redirect, PluginError> {
    let (user, request) = requests::parse(path)?;
    require_shown(&state, &user).await?;
    let name = form.name.as_deref().map(str::trim);
    let name = name.filter(|name| !name.is_empty()).map(str::parse::<Name>);
    let name = name.transpose().map_err(|error| PluginError::BadRequest {
        code: "guest_part_invalid",
        detail: error.to_string(),
    })?;
    let mut new = NewGuestPart {
        id: form.id,
        amount: form.amount,
        way: form.way,
        name,
    };
    let about = (user, request);
    let address = address.into();
    let found = match guests::leave(&state, &memory, about, address, &new).await {
        Ok((false, row)) => (!over(&row)).then_some(row),
        Err(PluginError::Refused {
            code: "id_reused", ..
        }) => None,
        other => Some(other?.1),
    };
    let row = match found {
        Some(row) => row,
        // Somebody went back to the bill and means another part than before.
        None => {
            new.id = RecordId::from_entropy(rand::random());
            guests::leave(&state, &memory, about, address, &new)
                .await?
                .1
        }
    };
    Ok(Redirect::to(&format!(
        "/u/{user}/requests/{request}/guest/{}",
        row.id
    )))
}

/// Whether nothing comes of a part any more.
fn over(row: &Row) -> bool {
    matches!(
        row.state_at(clock::now_ms()),
        Stage::Paid | Stage::Refused | Stage::Ended
    )
}

/// `GET /u/{user}/requests/{id}/guest/{part}`.
///
/// # Errors
/// `user_malformed`, `id_malformed`, `page_unknown`, `guest_part_unknown`.
pub async fn page(
    State(state): State<AppState>,
    Extension(memory): Extension<Arc<Memory>>,
    path: Result<Path<(String, String, String)>, PathRejection>,
) -> Result<Page, PluginError> {
    let (user, request, part) = guests::parse(path)?;
    require_shown(&state, &user).await?;
    let row = guests::find(&state, (&user, request), part).await?;
    // A homeserver that is away keeps nobody from paying.
    let (kept, payee) = tokio::join!(
        requests::find(&state, &memory, (user, request)),
        profile::find(&state, &memory, &user),
    );
    let kept = kept.ok().map(|(kept, ..)| kept);
    let payee = payee.ok();
    let name = payee
        .as_ref()
        .and_then(|(kept, ..)| kept.profile.record().name.as_ref());
    let unit = row.unit.parse::<Unit>();
    let unit = unit.map_err(|error| PluginError::Internal(error.to_string()))?;
    let now = clock::now_ms();
    let said = kept.as_ref().and_then(|kept| kept.state.as_ref());
    let view = Part {
        stage: row.state_at(now),
        view: GuestPartView::of(&row, now),
        user,
        unit,
        now,
        asked: kept.as_ref().map(|kept| kept.request.record()),
        filled: said.map(|said| said.record().filled.minor()),
        payee: shown_name(name.map(|name| name.as_str()), &user),
        row: &row,
    };
    Ok(view.page())
}

/// All that is shown.
struct Part<'a> {
    row: &'a Row,
    view: GuestPartView,
    stage: Stage,
    user: UserKey,
    unit: Unit,
    now: i64,
    /// The bill, if its homeserver answers.
    asked: Option<&'a PaymentRequest>,
    /// How much of it is paid, by its payee's word.
    filled: Option<u64>,
    /// What the payee calls themselves.
    payee: String,
}

impl Part<'_> {
    fn page(&self) -> Page {
        let Self { row, user, .. } = self;
        let title = match self.asked {
            Some(asked) => bill::title(asked, &self.payee),
            None => format!("A request of {}", self.payee),
        };
        let source = format!(
            "/v0/users/{user}/requests/{}/guest-parts/{}",
            row.request, row.id
        );
        let waited = self.now.saturating_sub(row.at).max(0);
        let lasts = row.expires.saturating_sub(self.now);
        let offered = self.stage == Stage::Offered;
        let content = html! {
            h1 { (text::foreign(&title, text::LINE)) }
            p.lead id="what" { (self.what()) }
            section.card id="guest" aria-labelledby="state" data-source=(source) data-state=(self.stage.word()) data-waited=(waited)
                data-lasts=[offered.then_some(lasts.max(1))] {
                h2 id="state" { "Your part" }
                div.stands id="stands" role="status" { (self.stands(waited)) }
                p.quiet { span id="live" { "To see what is new, load this page again." } }
                p { a href=(self.bill()) { "Back to the bill" } }
                // Last, so that what stands above stays where it is.
                div id="how" { (self.how()) }
            }
        };
        let frame = Frame {
            modules: &["local.js", "guest.js"],
            ..frame(&title, "")
        };
        layout(&frame, content)
    }

    /// The address of the bill, with the same amount chosen.
    fn bill(&self) -> String {
        let page = format!("/u/{}/requests/{}", self.user, self.row.request);
        match self.stage {
            Stage::Paid => page,
            _ => format!("{page}?amount={}", self.unit.format_minor(self.minor())),
        }
    }

    fn minor(&self) -> u64 {
        self.row.amount.unsigned_abs()
    }

    fn payee(&self) -> Markup {
        text::foreign(&self.payee, text::LINE)
    }

    /// What is paid, for whom, by whom.
    fn what(&self) -> Markup {
        html! {
            strong { (text::amount(&self.unit, self.minor())) } " for " (self.payee()) ", " (words(self.row.way))
            @if let Some(name) = &self.row.name { ", from " (text::foreign(name, text::LINE)) }
            "."
        }
    }

    /// How it stands, in words.
    fn stands(&self, waited: i64) -> Markup {
        let way = match self.row.way {
            Way::Lightning => "invoice",
            Way::Onchain => "address",
        };
        html! {
            @match self.stage {
                Stage::Waiting => {
                    p.standing { "Asking the wallet of " (self.payee()) " for an " (way) "…" }
                    p id="silent" hidden[waited < PATIENCE_MS] {
                        "It does not answer just now: it may be switched off or without a connection. You can go on waiting, or go back to the bill and pay in another way. Nothing is paid yet."
                    }
                },
                Stage::Offered => p.standing { "Ready: now pay it with your wallet." },
                Stage::Seen => p.standing { "Your payment is on its way. It counts once it is confirmed on the chain, which can take an hour. You need not keep this page open." },
                Stage::Paid => {
                    p.standing.good { "Paid. Thank you." }
                    (self.full())
                },
                Stage::Refused => p.standing { (self.refusal()) },
                Stage::Ended if self.row.target.is_none() => {
                    p.standing { "The wallet of " (self.payee()) " did not answer. Nothing was paid. Go back to the bill to try again, or to pay in another way." }
                },
                Stage::Ended => {
                    p.standing { "Not paid in time. Pay nothing more to this " (way) "." }
                    p { "If you have paid already, it counts as soon as the wallet of " (self.payee()) " sees it." }
                },
            }
        }
    }

    fn refusal(&self) -> Markup {
        html! {
            @match self.row.reason.as_deref() {
                Some("request_full") => "There is no room for it any more: all of the bill is paid or being paid. Nothing was paid.",
                Some("request_closed" | "request_expired" | "request_unknown") => "The bill takes nothing more. Nothing was paid.",
                Some("request_busy") => "Too many guests are paying just now. Nothing was paid. Go back to the bill and try again in a few minutes.",
                Some("below_dust") => "That is too little for a payment on-chain. Nothing was paid. Go back to the bill to pay over Lightning, or more.",
                Some(reason) => {
                    "The wallet of " (self.payee()) " can’t take it like this just now (" code { (text::plain(reason, text::LINE)) } "). Nothing was paid. Go back to the bill to pay in another way."
                },
                None => "It was not taken. Nothing was paid.",
            }
        }
    }

    /// How full the bill is, by its payee's word.
    fn full(&self) -> Markup {
        let most = self.asked.and_then(|asked| asked.amount.most());
        html! {
            @if let (Some(filled), Some(most)) = (self.filled, most) {
                p { "Of " (text::amount(&self.unit, most.minor())) " so far " (text::amount(&self.unit, filled.min(most.minor()))) " are paid; yours may take a moment to be among them." }
            }
        }
    }

    /// What is to be paid, and where.
    fn how(&self) -> Markup {
        let shown = matches!(self.stage, Stage::Offered | Stage::Seen);
        let (Some(uri), Some(target), Some(msat), true) =
            (&self.view.uri, &self.row.target, self.row.price_msat, shown)
        else {
            return html! {};
        };
        let (label, name) = match self.row.way {
            Way::Lightning => ("Code with the invoice", "Open in your Lightning wallet"),
            Way::Onchain => (
                "Code with the address and amount",
                "Open in a Bitcoin wallet",
            ),
        };
        let offered = self.stage == Stage::Offered;
        let late = offered && self.row.expires <= self.now;
        html! {
            p { "That is " strong { (satoshis(msat)) } "." }
            div id="pay" hidden[late] {
                @if offered {
                    @if let Some(picture) = qr::code(uri, label) { (picture) }
                    p { a.button.go href=(uri) { (name) } }
                }
                pre { code id="target" { (target) } }
                @if offered {
                    button type="button" data-copy="target" { "Copy" }
                    p.quiet { "Pay it once, and before " (text::exact_time(self.row.expires.unsigned_abs())) "." }
                }
            }
            @if offered {
                p.bad id="late" role="status" hidden[!late] {
                    "Its time is over: pay nothing more to it. If you have paid already, it still counts once it is seen."
                }
            }
        }
    }
}

/// Thousandths of satoshis as people write them.
fn satoshis(msat: i64) -> Markup {
    let (whole, rest) = (msat / 1_000, msat % 1_000);
    let number = match rest {
        0 => whole.to_string(),
        _ => format!("{whole}.{rest:03}"),
    };
    html! { data value=(number) { (number) } " satoshis" }
}

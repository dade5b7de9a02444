//! What the fates of a payment's parts say: whether another way may do, which edges to keep off, and what is told in the end.

use atomicity_ledger::UserKey;
use atomicity_ledger::hop::{Attempt, AttemptPart, Fate};
use atomicity_ledger::onion::FailureCode;

use super::Plan;
use super::fault::PaymentFault;
use crate::store::payments::PaymentRow;

/// How often a hop that exchanges may say that it is offered too little, before it is avoided: its rate may have changed.
const MAX_RATES_READ: u32 = 4;

/// Why a payment ended, as an error.
pub(super) fn failure_of(row: &PaymentRow) -> PaymentFault {
    let why = row.why.clone().unwrap_or_default();
    match why.as_str() {
        "not_unattended" => PaymentFault::NotUnattended("no allowance was shown".to_owned()),
        _ => PaymentFault::NotThrough(why),
    }
}

/// What makes every other way useless, if anything does: the payee's own word, or a secret that is out.
pub(super) fn final_word(plan: &Plan, row: &PaymentRow, attempt: &Attempt) -> Option<String> {
    if plan.invoice.is_none() {
        // It was shown to a log, and that did not publish it in time: under this hash nothing may hang any more.
        if row.shown.is_some() {
            return Some("expired".to_owned());
        }
        // What the last hop showed was not enough; another last hop would need another router's word.
        if let Some(why) = &row.why {
            return Some(match why.as_str() {
                "key_revoked" => "key_revoked".to_owned(),
                _ => "not_unattended".to_owned(),
            });
        }
        return None;
    }
    let says_no = |part: &AttemptPart| match &part.fate {
        Fate::Failed {
            hop: Some(hop),
            failure,
        } if usize::from(*hop) + 1 == part.hops.len() => match failure.code {
            // It is only not known at that end of the edge: the payee keeps books in two places.
            FailureCode::UnknownInvoice if failure.edge.is_some() => None,
            FailureCode::Declined
            | FailureCode::UnknownInvoice
            | FailureCode::WrongAmount
            | FailureCode::Logs => Some(failure.code.as_str()),
            _ => None,
        },
        _ => None,
    };
    // Parts that were given back because another one was late say nothing about the invoice.
    let parts = attempt.parts();
    let alone = |part: &AttemptPart| part.arrives == plan.amount;
    let said = parts.iter().filter(|p| alone(p)).find_map(says_no);
    said.or_else(|| {
        let grave = |code: &&str| *code != FailureCode::WrongAmount.as_str();
        parts.iter().filter_map(says_no).find(grave)
    })
    .map(str::to_owned)
}

/// What was said last.
pub(super) fn last_word(attempt: &Attempt) -> &'static str {
    let said = attempt
        .parts()
        .iter()
        .rev()
        .find_map(|part| match &part.fate {
            Fate::Failed { failure, .. } => Some(failure.code.as_str()),
            _ => None,
        });
    said.unwrap_or("no_route")
}

/// The edges that failed.
pub(super) fn avoided(me: UserKey, attempt: &Attempt) -> Vec<(UserKey, UserKey)> {
    let mut edges = Vec::new();
    let mut forgiven = 0;
    for part in attempt.parts() {
        let Fate::Failed { hop, failure } = &part.fate else {
            continue;
        };
        // Rates change, and are read anew for the next way.
        let exchanged = attempt.unit() != attempt.unit_arriving();
        if exchanged && failure.code == FailureCode::FeeTooLow && forgiven < MAX_RATES_READ {
            forgiven += 1;
            continue;
        }
        let silent = hop.is_none() && failure.code == FailureCode::Expired;
        if silent && part.hops.len() > 1 {
            // Somebody after the first hop never answered; nobody can tell who.
            edges.extend(part.hops.windows(2).filter_map(|w| match w {
                [a, b] => Some((*a, *b)),
                _ => None,
            }));
            continue;
        }
        let path: Vec<UserKey> = std::iter::once(me)
            .chain(part.hops.iter().copied())
            .collect();
        let speaker = hop.map_or(0, usize::from).saturating_add(1);
        let of_hop = match (path.get(speaker), path.get(speaker + 1)) {
            (Some(from), Some(to)) => Some((*from, *to)),
            (Some(payee), None) => path.get(speaker - 1).map(|from| (*from, *payee)),
            _ => None,
        };
        edges.extend(failure.edge.or(of_hop));
    }
    edges.sort_unstable();
    edges.dedup();
    edges
}

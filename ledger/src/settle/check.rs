//! What of a request can be judged without the ledger: its form, its time, its target, its rate.

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::decimal::{Asset, Decimal};
use crate::digest::PaymentHash;
use crate::error::LedgerError;
use crate::record::{Pays, SettleReason, Settlement, Spend, SpendTo, Target};
use crate::text::Name;
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most ways in which one request is tried.
pub const MAX_WAYS: usize = 8;
/// How much time must be left when a request is judged, in milliseconds.
pub const MIN_LEFT_MS: u64 = 5_000;

/// How one request can be paid: with one of the issuer's rails, at one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// The issuer's name of the rail.
    pub rail: Name,
    /// Where.
    pub target: Target,
}

/// What a rail reads in a Lightning invoice whose signature holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvoiceFacts {
    /// Its payment hash.
    pub hash: PaymentHash,
    /// How much it asks for, in millisatoshi; none if that is left to the payer.
    pub millisatoshi: Option<u64>,
    /// When it expires.
    pub expires: Timestamp,
}

/// What the issuer's own source of rates says of the request's amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// What the amount is worth outside.
    pub pays: Pays,
    /// How far the request may be off, in millionths of that.
    pub spread_ppm: u32,
}

/// What the issuer knows when judging a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether the issuer keeps books in the unit.
    pub unit_known: bool,
    /// Whether the issuer's own rules let the holder have this.
    pub allowed: bool,
    /// Whether the issuer has too much to do.
    pub busy: bool,
    /// The ways that were chosen, in the issuer's order.
    pub ways: Vec<Way>,
    /// What the invoice says, if the one target is an invoice and it could be read.
    pub invoice: Option<InvoiceFacts>,
    /// The issuer's own rate for what the request wants paid, none if there is none now. Not needed if it wants what the unit counts.
    pub quote: Option<Quote>,
}

/// What was decided about a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// How it is tried, one after the other. Never empty.
    pub ways: Vec<Way>,
    /// What the rails pay.
    pub pays: Pays,
    /// The payment hash of a Lightning invoice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<PaymentHash>,
    /// From then on no attempt begins.
    pub not_after: Timestamp,
}

/// Why not, and what the issuer would pay instead.
pub type Refusal = (SettleReason, Option<Pays>);

/// What somebody asks for: in a request to settle, or in a spend of an account.
pub(super) struct Asked<'a> {
    unit: &'a Unit,
    amount: Amount,
    pays: Result<Pays, LedgerError>,
    /// Anywhere if there are none.
    targets: &'a [Target],
    /// Whether the one target is a Lightning invoice.
    is_invoice: bool,
    expires: Timestamp,
}

impl<'a> From<&'a Settlement> for Asked<'a> {
    fn from(asked: &'a Settlement) -> Self {
        Self {
            unit: &asked.unit,
            amount: asked.amount,
            pays: asked.payment(),
            targets: &asked.targets,
            is_invoice: asked.is_invoice(),
            expires: asked.expires,
        }
    }
}

impl<'a> Asked<'a> {
    /// Nothing if the spend names no place outside.
    pub(super) fn of_spend(spend: &'a Spend) -> Option<Self> {
        let SpendTo::Target(target) = &spend.to else {
            return None;
        };
        Some(Self {
            unit: &spend.unit,
            amount: spend.amount,
            pays: spend.payment(),
            targets: std::slice::from_ref(target),
            is_invoice: target.is_invoice(),
            expires: spend.expires,
        })
    }
}

pub(super) fn check(asked: &Asked<'_>, facts: &Facts, now: Timestamp) -> Result<Plan, Refusal> {
    let refuse = |reason| Err((reason, None));
    let earliest_end = now.plus_millis(MIN_LEFT_MS);
    if asked.expires <= earliest_end {
        return refuse(SettleReason::Expired);
    }
    if !facts.unit_known {
        return refuse(SettleReason::UnitUnknown);
    }
    if !facts.allowed {
        return refuse(SettleReason::NotAllowed);
    }
    if facts.busy {
        return refuse(SettleReason::Busy);
    }
    let pays = match &asked.pays {
        Ok(pays) => pays.clone(),
        Err(_) => return refuse(SettleReason::AmountDiffers),
    };
    let invoice = check_invoice(asked, &pays, facts)?;
    if invoice.is_some_and(|invoice| invoice.expires <= earliest_end) {
        return refuse(SettleReason::Expired);
    }
    check_rate(asked, &pays, facts.quote.as_ref())?;
    let ways = usable(asked, &facts.ways);
    if ways.is_empty() {
        return refuse(SettleReason::NoMethod);
    }
    let not_after = invoice.map_or(asked.expires, |invoice| invoice.expires.min(asked.expires));
    Ok(Plan {
        ways,
        pays,
        hash: invoice.map(|invoice| invoice.hash),
        not_after,
    })
}

/// The invoice must ask for exactly what the request says.
fn check_invoice(
    asked: &Asked<'_>,
    pays: &Pays,
    facts: &Facts,
) -> Result<Option<InvoiceFacts>, Refusal> {
    if !asked.is_invoice {
        return Ok(None);
    }
    let invoice = facts.invoice.ok_or((SettleReason::TargetMalformed, None))?;
    if invoice.millisatoshi.is_some() && invoice.millisatoshi == pays.millisatoshi() {
        Ok(Some(invoice))
    } else {
        Err((SettleReason::AmountDiffers, None))
    }
}

/// What the unit counts is paid one for one; anything else at the issuer's own rate, nearly.
fn check_rate(asked: &Asked<'_>, pays: &Pays, quote: Option<&Quote>) -> Result<(), Refusal> {
    if pays.asset == Asset::of(asked.unit) {
        let own = Decimal::from_minor(asked.amount.minor(), asked.unit.decimals());
        return if own == Ok(pays.amount) {
            Ok(())
        } else {
            Err((SettleReason::AmountDiffers, None))
        };
    }
    let Some(quote) = quote.filter(|quote| quote.pays.asset == pays.asset) else {
        return Err((SettleReason::RateOff, None));
    };
    if pays.amount.is_near(quote.pays.amount, quote.spread_ppm) {
        Ok(())
    } else {
        let offer = Some(quote.pays.clone()).filter(|offer| !offer.amount.is_zero());
        Err((SettleReason::RateOff, offer))
    }
}

/// The ways that lead to a target of the request, or anywhere if it names none; an invoice only where it is the request's own.
fn usable(asked: &Asked<'_>, ways: &[Way]) -> Vec<Way> {
    let named = |way: &&Way| {
        asked.targets.contains(&way.target) || asked.targets.is_empty() && !way.target.is_invoice()
    };
    let ways = ways.iter().filter(named);
    ways.take(MAX_WAYS).cloned().collect()
}

//! Where and what is paid outside, as it stands in several records.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::rule;
use crate::decimal::{Asset, Decimal};
use crate::error::LedgerError;
use crate::text::{MethodName, TargetValue};

/// The most targets in one record.
pub const MAX_TARGETS: usize = 8;
/// The method of a Lightning invoice: the only one whose payment is proven by a preimage that is known before by its hash.
pub const LIGHTNING_INVOICE: &str = "btc-lightning-bolt11";
/// A Lightning invoice is an amount of this many decimal places of one bitcoin.
pub const MILLISATOSHI_PLACES: u8 = 11;
/// The asset that Lightning pays in.
const BITCOIN: &str = "BTC";

/// A place outside where something can be paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// How.
    pub method: MethodName,
    /// Where.
    pub value: TargetValue,
}

/// What is paid outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pays {
    /// Of what.
    pub asset: Asset,
    /// How much, in the asset's major unit; more than nothing.
    pub amount: Decimal,
}

impl Target {
    /// Whether it is a Lightning invoice.
    #[must_use]
    pub fn is_invoice(&self) -> bool {
        self.method.as_str() == LIGHTNING_INVOICE
    }
}

impl Pays {
    /// How many millisatoshi it is, if it is a whole number of them.
    #[must_use]
    pub fn millisatoshi(&self) -> Option<u64> {
        (self.asset.as_str() == BITCOIN)
            .then(|| self.amount.to_minor(MILLISATOSHI_PLACES))
            .flatten()
    }
}

/// Paykit keeps one name for itself, and dots alone are no file name.
pub(super) fn check_method(typ: &'static str, method: &MethodName) -> Result<(), LedgerError> {
    let name = method.as_str();
    rule(
        typ,
        name != "private" && name.bytes().any(|b| b != b'.'),
        "a method has a name that Paykit does not take",
    )
}

pub(super) fn check_targets(typ: &'static str, targets: &[Target]) -> Result<(), LedgerError> {
    rule(
        typ,
        targets.len() <= MAX_TARGETS,
        "targets must be at most 8",
    )?;
    let pairs: BTreeSet<(&str, &str)> = targets
        .iter()
        .map(|t| (t.method.as_str(), t.value.as_str()))
        .collect();
    rule(typ, pairs.len() == targets.len(), "a target stands twice")?;
    targets
        .iter()
        .try_for_each(|target| check_method(typ, &target.method))
}

pub(super) fn check_pays(typ: &'static str, pays: Option<&Pays>) -> Result<(), LedgerError> {
    rule(
        typ,
        pays.is_none_or(|pays| !pays.amount.is_zero()),
        "what is paid is nothing",
    )
}

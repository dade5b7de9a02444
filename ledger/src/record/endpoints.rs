//! `atomicity-endpoints`: how a user wants to be paid outside by one counterparty.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::rule;
use super::target::{Target, check_method};
use crate::decimal::Decimal;
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::UserKey;
use crate::seq::Serial;
use crate::text::{MethodName, TargetValue};
use crate::time::Timestamp;

/// The most endpoints for one counterparty.
pub const MAX_ENDPOINTS: usize = 16;

/// `from` tells `to`, and nobody else, where they can be paid. There is one at a time: the greatest serial counts; none are left
/// if the list is empty. Signed by the key that keeps the books of `from` towards `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoints {
    /// Version 1.
    pub v: Version,
    /// Who can be paid.
    pub from: UserKey,
    /// By whom.
    pub to: UserKey,
    /// Later lists have greater serials.
    pub serial: Serial,
    /// Where, the one that `from` likes best first.
    pub endpoints: Vec<Endpoint>,
    /// From then on the list counts as empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// One way to be paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// How.
    pub method: MethodName,
    /// Where.
    pub value: TargetValue,
    /// The least that is taken there, in the asset's major unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Decimal>,
    /// The most that is taken there, in the asset's major unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Decimal>,
}

impl Endpoint {
    /// Whether it takes this amount of its asset.
    #[must_use]
    pub fn takes(&self, amount: Decimal) -> bool {
        self.min.is_none_or(|min| amount >= min) && self.max.is_none_or(|max| amount <= max)
    }

    /// Where to pay, without the bounds.
    #[must_use]
    pub fn target(&self) -> Target {
        Target {
            method: self.method.clone(),
            value: self.value.clone(),
        }
    }
}

impl Endpoints {
    /// What counts at `now`: nothing once the list has expired.
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> &[Endpoint] {
        if self.expires.is_some_and(|expires| now >= expires) {
            &[]
        } else {
            &self.endpoints
        }
    }
}

impl Record for Endpoints {
    const TYP: &'static str = "atomicity-endpoints";

    fn author(&self) -> UserKey {
        self.from
    }

    fn check(&self) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        rule(self.from != self.to, "from and to are the same user")?;
        rule(
            self.endpoints.len() <= MAX_ENDPOINTS,
            "endpoints must be at most 16",
        )?;
        let pairs: BTreeSet<(&str, &str)> = self
            .endpoints
            .iter()
            .map(|e| (e.method.as_str(), e.value.as_str()))
            .collect();
        rule(
            pairs.len() == self.endpoints.len(),
            "an endpoint stands twice",
        )?;
        for endpoint in &self.endpoints {
            check_method(Self::TYP, &endpoint.method)?;
            rule(
                endpoint
                    .max
                    .is_none_or(|max| endpoint.min.is_none_or(|min| min <= max)),
                "an endpoint takes more at least than at most",
            )?;
        }
        Ok(())
    }
}

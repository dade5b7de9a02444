//! Credit endpoints: how a user says "I can be paid in credit, in these units".
//!
//! One endpoint per code, `<code in lower case>-atomicity-ledger`. Names of endpoints can't hold the slash of a unit, and one code
//! may have several units (`USD/2` and `USD`), so the value names them in full: `atomicity:<payee>?units=USD,USD/2`. It names the
//! payee too, because a holder may point at somebody else whom a debt is to be reassigned to.

use std::collections::{BTreeMap, BTreeSet};

use atomicity_ledger::{Unit, UserKey};

use crate::error::AdapterError;
use crate::name::MethodId;
use crate::payload::Payload;

/// The most units that one endpoint names: a code has no more, with 0 to 18 decimal places.
pub const MAX_CODE_UNITS: usize = 19;

const RAIL: &str = "atomicity";
const FORMAT: &str = "ledger";
const SCHEME: &str = "atomicity:";
const UNITS: &str = "?units=";
/// Longer than any well-formed value.
const MAX_VALUE: usize = 512;

/// What a credit endpoint says. Its units share one code, and there is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditEndpoint {
    payee: UserKey,
    units: BTreeSet<Unit>,
}

impl CreditEndpoint {
    /// An endpoint for one unit.
    #[must_use]
    pub fn new(payee: UserKey, unit: Unit) -> Self {
        Self {
            payee,
            units: BTreeSet::from([unit]),
        }
    }

    /// Who is to be paid: the owner of the endpoint, or whom they want to receive in their place.
    #[must_use]
    pub fn payee(&self) -> &UserKey {
        &self.payee
    }

    /// The open units, ordered.
    #[must_use]
    pub fn units(&self) -> &BTreeSet<Unit> {
        &self.units
    }

    /// The endpoint after `unit` was opened too.
    ///
    /// # Errors
    /// [`AdapterError::CreditMalformed`] if the unit has another code: it belongs to another endpoint.
    pub fn opened(mut self, unit: Unit) -> Result<Self, AdapterError> {
        if self
            .units
            .first()
            .is_some_and(|first| first.code() != unit.code())
        {
            return Err(AdapterError::CreditMalformed(
                "its units have different codes",
            ));
        }
        self.units.insert(unit);
        Ok(self)
    }

    /// The endpoint after `unit` was closed, or nothing if no unit is left.
    #[must_use]
    pub fn closed(mut self, unit: &Unit) -> Option<Self> {
        self.units.remove(unit);
        (!self.units.is_empty()).then_some(self)
    }

    /// The name of the endpoint that a unit belongs to.
    ///
    /// # Errors
    /// [`AdapterError::MethodMalformed`]; no well-formed unit has so long a code.
    pub fn method(unit: &Unit) -> Result<MethodId, AdapterError> {
        MethodId::new(format!(
            "{}-{RAIL}-{FORMAT}",
            unit.code().to_ascii_lowercase()
        ))
    }

    /// The endpoint's content.
    ///
    /// # Errors
    /// [`AdapterError::TooLarge`]; no well-formed set of units is.
    pub fn payload(&self) -> Result<Payload, AdapterError> {
        let units: Vec<String> = self.units.iter().map(Unit::to_string).collect();
        Payload::new(format!("{SCHEME}{}{UNITS}{}", self.payee, units.join(",")))
    }

    /// Reads an endpoint. Units may stand in any order, but none twice.
    ///
    /// # Errors
    /// [`AdapterError::CreditMalformed`] with what is wrong.
    pub fn read(method: &MethodId, payload: &Payload) -> Result<Self, AdapterError> {
        let malformed = AdapterError::CreditMalformed;
        let value = payload.value();
        if value.len() > MAX_VALUE {
            return Err(malformed("its value is too long"));
        }
        let (payee, list) = value
            .strip_prefix(SCHEME)
            .and_then(|rest| rest.split_once(UNITS))
            .ok_or(malformed(
                "its value is not of the form atomicity:<key>?units=<units>",
            ))?;
        let payee = payee
            .parse()
            .map_err(|_| malformed("its payee is no usable key"))?;
        let mut units = BTreeSet::new();
        for text in list.split(',') {
            let unit: Unit = text
                .parse()
                .map_err(|_| malformed("it names a malformed unit"))?;
            if Self::method(&unit)? != *method {
                return Err(malformed("it names a unit of another code"));
            }
            if !units.insert(unit) {
                return Err(malformed("it names a unit twice"));
            }
        }
        Ok(Self { payee, units })
    }
}

/// Whether a method is a credit endpoint of ours, by its name.
#[must_use]
pub fn is_credit_method(method: &MethodId) -> bool {
    matches!(method.parts(), Some((_, RAIL, FORMAT)))
}

/// All credit endpoints of a user with these open units: what has to be published, no more and no less.
///
/// # Errors
/// As of [`CreditEndpoint::method`] and [`CreditEndpoint::payload`]: none for well-formed units.
pub fn credit_endpoints(
    payee: &UserKey,
    open: &BTreeSet<Unit>,
) -> Result<BTreeMap<MethodId, Payload>, AdapterError> {
    let mut by_method: BTreeMap<MethodId, CreditEndpoint> = BTreeMap::new();
    for unit in open {
        let method = CreditEndpoint::method(unit)?;
        let endpoint = match by_method.remove(&method) {
            Some(endpoint) => endpoint.opened(unit.clone())?,
            None => CreditEndpoint::new(*payee, unit.clone()),
        };
        by_method.insert(method, endpoint);
    }
    by_method
        .into_iter()
        .map(|(method, endpoint)| Ok((method, endpoint.payload()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn payee() -> UserKey {
        atomicity_ledger::Keypair::from_secret(&[7; 32]).user_key()
    }

    fn units(texts: &[&str]) -> BTreeSet<Unit> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn read(method: &str, value: &str) -> Result<CreditEndpoint, AdapterError> {
        CreditEndpoint::read(
            &MethodId::new(method).unwrap(),
            &Payload::new(value).unwrap(),
        )
    }

    #[test]
    fn one_endpoint_per_code_names_all_its_units() {
        let endpoints = credit_endpoints(&payee(), &units(&["USD/2", "BREAD/2", "USD"])).unwrap();
        let names: Vec<&str> = endpoints.keys().map(MethodId::as_str).collect();
        assert_eq!(names, ["bread-atomicity-ledger", "usd-atomicity-ledger"]);
        let mut read_back = BTreeSet::new();
        for (method, payload) in &endpoints {
            assert!(is_credit_method(method));
            let endpoint = CreditEndpoint::read(method, payload).unwrap();
            assert_eq!(endpoint.payee(), &payee());
            read_back.extend(endpoint.units().clone());
        }
        assert_eq!(read_back, units(&["USD/2", "BREAD/2", "USD"]));
    }

    #[test]
    fn no_open_unit_means_no_endpoint() {
        assert!(
            credit_endpoints(&payee(), &BTreeSet::new())
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn the_longest_code_with_all_its_units_fits() {
        let code = "A".repeat(17);
        let open: BTreeSet<Unit> = (0..=18)
            .map(|n| {
                if n == 0 {
                    code.clone()
                } else {
                    format!("{code}/{n}")
                }
            })
            .map(|text| text.parse().unwrap())
            .collect();
        assert_eq!(open.len(), MAX_CODE_UNITS);
        let endpoints = credit_endpoints(&payee(), &open).unwrap();
        let (method, payload) = endpoints.first_key_value().unwrap();
        assert!(payload.value().len() <= MAX_VALUE);
        assert_eq!(
            CreditEndpoint::read(method, payload).unwrap().units(),
            &open
        );
    }

    #[test]
    fn opening_and_closing_change_one_unit() {
        let endpoint = CreditEndpoint::new(payee(), "USD/2".parse().unwrap());
        let both = endpoint.opened("USD".parse().unwrap()).unwrap();
        assert_eq!(both.units(), &units(&["USD", "USD/2"]));
        let one = both.clone().closed(&"USD/2".parse().unwrap()).unwrap();
        assert_eq!(one.units(), &units(&["USD"]));
        assert_eq!(one.closed(&"USD".parse().unwrap()), None);
        assert_eq!(
            both.opened("EUR/2".parse().unwrap()).unwrap_err().code(),
            "credit_malformed"
        );
    }

    #[test]
    fn malformed_values_are_refused() {
        let key = payee();
        for (method, value) in [
            ("usd-atomicity-ledger", format!("atomicity:{key}")),
            ("usd-atomicity-ledger", format!("atomicity:{key}?units=")),
            (
                "usd-atomicity-ledger",
                format!("atomicity:{key}?units=USD/2,"),
            ),
            (
                "usd-atomicity-ledger",
                format!("atomicity:{key}?units=USD/2,USD/2"),
            ),
            (
                "usd-atomicity-ledger",
                format!("atomicity:{key}?units=EUR/2"),
            ),
            (
                "usd-atomicity-ledger",
                format!("atomicity:{key}?units=usd/2"),
            ),
            (
                "usd-atomicity-ledger",
                format!("atomicity:{key}?units=USD/0"),
            ),
            (
                "usd-atomicity-ledger",
                format!("lightning:{key}?units=USD/2"),
            ),
            (
                "usd-atomicity-ledger",
                "atomicity:abc?units=USD/2".to_owned(),
            ),
            (
                "usd-atomicity-ledger",
                format!("atomicity:{key}?units={}", "USD/2,".repeat(500)),
            ),
            (
                "USD-atomicity-ledger",
                format!("atomicity:{key}?units=USD/2"),
            ),
        ] {
            assert_eq!(
                read(method, &value).unwrap_err().code(),
                "credit_malformed",
                "{value:.80}"
            );
        }
    }
}

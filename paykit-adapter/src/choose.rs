//! Choosing how to pay: what the payer has, matched with where the payee can be paid.
//!
//! The order is the payer's first and the payee's second. The next candidate is had only for a [`Failure`], which is what a rail gives when it
//! is certain that nothing was paid: an outcome that is unknown leads nowhere but to asking again.
//!
//! ```
//! use atomicity_ledger::record::Pays;
//! use atomicity_paykit_adapter::choose::{OwnWay, Payable, choose};
//! use atomicity_paykit_adapter::rail::{Failure, FailureReason};
//!
//! let own = OwnWay {
//!     rail: "node".parse()?,
//!     methods: vec!["btc-lightning-bolt11".parse()?, "btc-bitcoin-address".parse()?],
//!     asset: "BTC".parse()?,
//!     min: None,
//!     max: Some("0.01".parse()?),
//! };
//! let theirs = [
//!     Payable::new("btc-bitcoin-address".parse()?, "bc1q…"),
//!     Payable::new("btc-lightning-bolt11".parse()?, "lnbc1…"),
//! ];
//! let pays = Pays { asset: "BTC".parse()?, amount: "0.0001".parse()? };
//! let choice = choose(&pays, &[own], &theirs).begin().ok_or("no way")?;
//! assert_eq!(choice.candidate().value, "lnbc1…");
//! let failure = Failure::new(FailureReason::NoRoute, "no route");
//! let choice = choice.failed_for_good(failure)?;
//! assert_eq!(choice.candidate().value, "bc1q…");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use atomicity_ledger::record::{Endpoint as PrivateEndpoint, Pays, Target};
use atomicity_ledger::settle::Way;
use atomicity_ledger::text::{MethodName, TargetValue};
use atomicity_ledger::{Asset, Decimal, Name};

use crate::name::MethodId;
use crate::payload::Limit;
use crate::rail::Failure;
use crate::read::{Endpoint, Listing};

/// The most candidates of one choice. A payee with a thousand endpoints must not keep a payer busy for days.
pub const MAX_CANDIDATES: usize = 32;

/// One of the payer's own ways: a rail, and what it may be used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnWay {
    /// The payer's name of the rail.
    pub rail: Name,
    /// The methods that it pays by, the one that the payer likes best first.
    pub methods: Vec<MethodId>,
    /// What it pays.
    pub asset: Asset,
    /// The least that the payer wants to pay by it, in the asset's major unit.
    pub min: Option<Decimal>,
    /// The most that the payer wants to pay by it, in the asset's major unit.
    pub max: Option<Decimal>,
}

impl OwnWay {
    fn takes(&self, pays: &Pays) -> bool {
        self.asset == pays.asset
            && self.min.is_none_or(|min| pays.amount >= min)
            && self.max.is_none_or(|max| pays.amount <= max)
    }
}

/// One place where the payee can be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payable {
    /// How.
    pub method: MethodId,
    /// Where.
    pub value: String,
    /// The least that is taken there, in the asset's major unit.
    pub min: Option<Limit>,
    /// The most that is taken there, in the asset's major unit.
    pub max: Option<Limit>,
}

impl Payable {
    /// A place that takes any amount.
    #[must_use]
    pub fn new(method: MethodId, value: impl Into<String>) -> Self {
        Self {
            method,
            value: value.into(),
            min: None,
            max: None,
        }
    }

    /// A target of a record; nothing if Paykit does not take the name of its method.
    #[must_use]
    pub fn of_target(target: &Target) -> Option<Self> {
        let method = MethodId::new(target.method.as_str()).ok()?;
        Some(Self::new(method, target.value.as_str()))
    }

    fn of_private(endpoint: &PrivateEndpoint) -> Option<Self> {
        let mut place = Self::of_target(&endpoint.target())?;
        place.min = endpoint.min.map(Limit::of_decimal);
        place.max = endpoint.max.map(Limit::of_decimal);
        Some(place)
    }

    fn takes(&self, asset: &Asset, amount: &Limit) -> bool {
        self.is_of(asset)
            && self
                .min
                .as_ref()
                .is_none_or(|min| amount.compare(min) != Ordering::Less)
            && self
                .max
                .as_ref()
                .is_none_or(|max| amount.compare(max) != Ordering::Greater)
    }

    /// A method that follows the convention names its asset. Of another nothing is known: there the payer's own word counts.
    fn is_of(&self, asset: &Asset) -> bool {
        let parts = self.method.parts();
        parts.is_none_or(|(own, _, _)| own.eq_ignore_ascii_case(asset.as_str()))
    }
}

impl From<&Endpoint> for Payable {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            method: endpoint.method.clone(),
            value: endpoint.payload.value().to_owned(),
            min: endpoint.payload.min().cloned(),
            max: endpoint.payload.max().cloned(),
        }
    }
}

/// The payee's list as one payer sees it: what was given to this payer alone, in the payee's order, then what is public, as listed.
///
/// A place that stands in both counts once, as it stands in the private list: its bounds are meant for this payer.
/// `private` is what is in force now: see [`Endpoints::in_force`](atomicity_ledger::record::Endpoints::in_force).
#[must_use]
pub fn merged(private: &[PrivateEndpoint], public: &Listing) -> Vec<Payable> {
    let mut seen = BTreeSet::new();
    let private = private.iter().filter_map(Payable::of_private);
    let all = private.chain(public.endpoints.iter().map(Payable::from));
    all.filter(|place| seen.insert((place.method.clone(), place.value.clone())))
        .collect()
}

/// One way to pay: with one of the payer's rails, at one of the payee's places.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// The payer's name of the rail.
    pub rail: Name,
    /// How.
    pub method: MethodId,
    /// Where.
    pub value: String,
}

impl Candidate {
    /// As a settlement keeps it; nothing if the value is too long for a record or has characters that records refuse.
    #[must_use]
    pub fn way(&self) -> Option<Way> {
        let method: MethodName = self.method.as_str().parse().ok()?;
        let value: TargetValue = self.value.parse().ok()?;
        Some(Way {
            rail: self.rail.clone(),
            target: Target { method, value },
        })
    }
}

/// What can be tried, in order. Nothing was tried yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates(Vec<Candidate>);

impl Candidates {
    /// All of them, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Candidate] {
        &self.0
    }

    /// As a settlement keeps them, in order, without those that fit into no record.
    #[must_use]
    pub fn ways(&self) -> Vec<Way> {
        self.0.iter().filter_map(Candidate::way).collect()
    }

    /// Begins with the first one, if there is any.
    #[must_use]
    pub fn begin(self) -> Option<Choice> {
        Choice::next(self.0.into(), Vec::new()).ok()
    }
}

/// Every way that fits the amount, the payer's and the payee's bounds and the currency: in the payer's order of rails and methods, within
/// that in the payee's. None twice, and at most [`MAX_CANDIDATES`].
#[must_use]
pub fn choose(pays: &Pays, own: &[OwnWay], theirs: &[Payable]) -> Candidates {
    let amount = Limit::of_decimal(pays.amount);
    let mut places: BTreeMap<&MethodId, Vec<&Payable>> = BTreeMap::new();
    for place in theirs.iter().filter(|p| p.takes(&pays.asset, &amount)) {
        places.entry(&place.method).or_default().push(place);
    }
    let mut seen = BTreeSet::new();
    let fitting = own.iter().filter(|way| way.takes(pays));
    let pairs = fitting.flat_map(|way| way.methods.iter().map(move |method| (way, method)));
    let all = pairs.flat_map(|(way, method)| {
        let places = places.get(method).into_iter().flatten();
        places.map(|place| Candidate {
            rail: way.rail.clone(),
            method: place.method.clone(),
            value: place.value.clone(),
        })
    });
    let fresh = all.filter(|candidate| seen.insert(candidate.clone()));
    Candidates(fresh.take(MAX_CANDIDATES).collect())
}

/// The candidate whose turn it is. It can't be copied: of one choice one candidate has its turn at a time.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Choice {
    current: Candidate,
    rest: VecDeque<Candidate>,
    failed: Vec<(Candidate, Failure)>,
}

impl Choice {
    fn next(
        mut rest: VecDeque<Candidate>,
        failed: Vec<(Candidate, Failure)>,
    ) -> Result<Self, Exhausted> {
        match rest.pop_front() {
            Some(current) => Ok(Self {
                current,
                rest,
                failed,
            }),
            None => Err(Exhausted(failed)),
        }
    }

    /// What is tried now.
    #[must_use]
    pub fn candidate(&self) -> &Candidate {
        &self.current
    }

    /// What failed before it, and why.
    #[must_use]
    pub fn failed(&self) -> &[(Candidate, Failure)] {
        &self.failed
    }

    /// The rail is certain that it was not paid and never will be: the next one has its turn.
    ///
    /// # Errors
    /// If there is none.
    pub fn failed_for_good(mut self, why: Failure) -> Result<Self, Exhausted> {
        self.failed.push((self.current, why));
        Self::next(self.rest, self.failed)
    }
}

/// Everything was tried, and failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted(
    /// What was tried, in order, and why it failed.
    pub Vec<(Candidate, Failure)>,
);

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no way to pay is left")?;
        for (candidate, failure) in &self.0 {
            write!(f, "; {} by {}: {failure}", candidate.method, candidate.rail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Exhausted {}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;

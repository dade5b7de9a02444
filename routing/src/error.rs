//! Why there is no route, or why a route is none.

use atomicity_ledger::Amount;

/// Everything that this crate refuses, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    // Questions that make no sense.
    /// The payer is the payee; circles are asked for with [`crate::circles`].
    #[error("payer and payee are the same user")]
    ToOneself,
    /// A limit of the request is zero or larger than what this crate takes.
    #[error("{what} must be between 1 and {limit}")]
    LimitInvalid {
        /// Which limit.
        what: &'static str,
        /// The largest value.
        limit: usize,
    },
    /// An advert, a hint or an edge to avoid that leads from a user to itself.
    #[error("a channel joins two different users")]
    EdgeToOneself,

    // No answer.
    /// Nobody publishes a channel in this unit.
    #[error("no channel is published in this unit")]
    UnknownUnit,
    /// The payer has no published channel in this unit and brought none.
    #[error("the payer has no channel in this unit that is known here")]
    UnknownPayer,
    /// The payee has no published channel in this unit, and the request brought none.
    #[error("the payee has no channel in this unit that is known here")]
    UnknownPayee,
    /// The node that must be on the way has no published channel in this unit.
    #[error("the node that must be on the way has no channel in this unit that is known here")]
    UnknownVia,
    /// No chain of channels leads from the payer to the payee within the limits.
    #[error("no chain of channels leads to the payee within the limits")]
    NoPath,
    /// No path is wide enough for the amount; parts may be.
    #[error("no single path is wide enough; the widest takes {widest} minor units, fees included")]
    TooNarrow {
        /// What the narrowest edge of the widest path takes, in minor units: no single path carries more, and with fees on top it
        /// may carry a little less.
        widest: u64,
    },
    /// The steps that the request allows ended before a way was found, or before it was certain that there is none. Also where `via`
    /// or an exchange asks for two legs that don't touch: not every pair of them is tried.
    #[error("no way was found with the effort that is allowed; there may be one")]
    GaveUp,
    /// The cheapest way costs more than the request allows.
    #[error("the cheapest way costs {cheapest} minor units of fees, {allowed} are allowed")]
    FeeTooHigh {
        /// Fees of the cheapest way, in minor units; of the cheapest that was found where the steps allowed did not suffice for more.
        cheapest: u64,
        /// What the request allows.
        allowed: u64,
    },
    /// Nobody who exchanges so much of these units is known.
    #[error("nobody is known who exchanges that much of these units")]
    NoExchange,
    /// The cheapest way with an exchange costs the payer more than the request allows.
    #[error("the cheapest way costs {cheapest} minor units in all, {allowed} are allowed")]
    TotalTooHigh {
        /// What the payer would send, in minor units.
        cheapest: u64,
        /// What the request allows.
        allowed: u64,
    },
    /// No way was found for the rest of an amount in the parts that are allowed.
    #[error("in {parts} parts {carried} minor units can be carried, not the whole")]
    TooNarrowInParts {
        /// How many parts were used.
        parts: usize,
        /// What they carry together.
        carried: u64,
    },

    // What a check finds.
    /// A route that is not a chain from payer to payee, visits a node twice or ends with another amount.
    #[error("not a route for this request: {0}")]
    RouteMalformed(&'static str),
    /// A route uses an edge that is not published, withdrawn, expired, or to be avoided.
    #[error("hop {hop} uses a channel that can't be used")]
    EdgeUnusable {
        /// Position of the edge in the route, from 0.
        hop: usize,
    },
    /// A route sends more over an edge than it takes, or less than its minimum.
    #[error("hop {hop} sends {amount} minor units, which the channel does not take")]
    AmountOutside {
        /// Position of the edge in the route, from 0.
        hop: usize,
        /// What the route sends over it.
        amount: u64,
    },
    /// A hop would get less than its fee.
    #[error("hop {hop} gets less than its fee of {fee} minor units")]
    FeeMissing {
        /// Position in the route of the edge over which it forwards.
        hop: usize,
        /// What it asks.
        fee: u64,
    },
    /// An amount above 2^63 − 1.
    #[error("an amount is larger than any may be")]
    Overflow,
}

impl RouteError {
    /// A stable, machine-readable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ToOneself => "to_oneself",
            Self::LimitInvalid { .. } => "limit_invalid",
            Self::EdgeToOneself => "edge_to_oneself",
            Self::UnknownUnit => "unknown_unit",
            Self::UnknownPayer => "unknown_payer",
            Self::UnknownPayee => "unknown_payee",
            Self::UnknownVia => "unknown_via",
            Self::NoPath => "no_path",
            Self::GaveUp => "gave_up",
            Self::TooNarrow { .. } => "too_narrow",
            Self::FeeTooHigh { .. } => "fee_too_high",
            Self::NoExchange => "no_exchange",
            Self::TotalTooHigh { .. } => "total_too_high",
            Self::TooNarrowInParts { .. } => "too_narrow_in_parts",
            Self::RouteMalformed(_) => "route_malformed",
            Self::EdgeUnusable { .. } => "edge_unusable",
            Self::AmountOutside { .. } => "amount_outside",
            Self::FeeMissing { .. } => "fee_missing",
            Self::Overflow => "overflow",
        }
    }

    /// That an amount sent is above what any may be.
    pub(crate) fn amount(minor: u64) -> Result<Amount, Self> {
        Amount::from_minor(minor).map_err(|_| Self::Overflow)
    }
}

//! Paying outside: debts that are paid off, at the issuer's side ([`Discharge`]) and the holder's ([`Demand`]), what accounts have paid
//! ([`Outlay`]), and requests that many fill ([`Fills`]).
//!
//! The machines here do no I/O, read no clock, draw no randomness and sign nothing. Each is a small value that is stored. Every
//! step changes it in memory and returns what belongs into the **same transaction** ([`Entry`]: a hash that is taken, a word to the
//! other side, what becomes of the direct release) and what is to be done **after** it ([`Next`]). [`Discharge::carry_out`] and the
//! methods of [`Demand`] that take a [`Neighbour`](crate::hop::Neighbour) put entries into the pair and sign them.
//!
//! What keeps both sides whole:
//! - A rail is told to pay only by [`Discharge::dispatch`] and [`Outlay::dispatch`], once for each attempt, after that attempt was stored. Whoever was
//!   interrupted asks [`Discharge::next`], which never says *pay*: it says *look up*.
//! - An attempt ends as *not paid* only if the rail says that it failed for good, that it was never sent, or, after the order has
//!   expired, that nothing of the kind ever arrived and ever will. Everything else holds the claim, the credit and the hash.
//! - The issuer gives the direct release up in the transaction that ends the last attempt unpaid, and never else.
//! - A payment hash is taken once, in the transaction that reserves the claim, and never given back.

mod attempt;
mod check;
mod demand;
mod discharge;
mod draft;
mod fills;
mod hands;
mod outlay;
mod standing;

pub use check::{Facts, InvoiceFacts, MAX_WAYS, MIN_LEFT_MS, Plan, Quote, Refusal, Way};
pub use demand::{Demand, DemandNext, DemandStage, OVERDUE_MS};
pub use discharge::{Discharge, Known, LOOK_UP_GRACE_MS, Stage};
pub use draft::{Draft, Holding};
pub use fills::{
    Fills, MAX_KEPT_PARTS, MAX_OPEN_PARTS, MAX_OPEN_PARTS_OF_GUESTS, MAX_OPEN_PARTS_OF_ONE,
    PartStage,
};
pub use outlay::{Outlay, OutlayNext, OutlayStage};
pub use standing::{ReleaseStanding, Standing};

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::{PaymentHash, Preimage};
use crate::jws::RecordHash;
use crate::record::{Pays, SettlementSaid};
use crate::text::RailProof;
use crate::time::Timestamp;

/// What shows that something was paid outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The preimage of a Lightning invoice.
    Preimage(Preimage),
    /// What another rail has: an output of a transaction, a bank's reference.
    Text(RailProof),
}

/// Names one attempt for a rail: the rail does it once, however often it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// The request, or the spend.
    pub settlement: RecordHash,
    /// Which attempt, from 1.
    pub attempt: u32,
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.settlement, self.attempt)
    }
}

/// What a rail is to do, or to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its name.
    pub ticket: Ticket,
    /// With which rail, and where.
    pub way: Way,
    /// What.
    pub pays: Pays,
    /// From then on the rail must not begin with it.
    pub not_after: Timestamp,
}

/// What a rail says of an attempt, when it is told to pay or later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RailSaid {
    /// It was paid.
    Succeeded(Proof),
    /// It was not paid, and never will be.
    FailedForGood,
    /// It was not even sent: nothing of it left this machine. Only an answer to *pay* can be this.
    NotSent,
    /// It is on its way.
    InFlight,
    /// Nobody knows: no answer, or one that can't be read.
    Unknown,
    /// The rail has never seen it.
    NeverSeen {
        /// The rail remembers every order before it acts on it, and refuses orders that have expired: once this one has, what was
        /// never seen will never be paid.
        authoritative: bool,
    },
}

/// What belongs into the transaction that stores a [`Discharge`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The hash is this request's from now on, and no other's ever. If another has it, nothing of the transaction may happen.
    TakeHash(PaymentHash),
    /// To be signed, and sent to the holder.
    Answer(SettlementSaid),
    /// The holder's direct release is given up, if it is here.
    GiveUp {
        /// The direct release.
        iou: RecordHash,
    },
    /// The preimage of the holder's direct release is shown to them, also if it was before.
    Show {
        /// The direct release.
        iou: RecordHash,
        /// Its preimage.
        preimage: Preimage,
    },
}

/// What is to be done once everything is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Gather [`Facts`] for [`Discharge::judge`].
    Judge,
    /// Read the [`Standing`] for [`Discharge::reserve`].
    Reserve,
    /// Read the [`Standing`] anew for [`Discharge::dispatch`].
    Dispatch,
    /// Tell the rail to pay, once, and hand its answer to [`Discharge::rail_said`].
    Pay(Order),
    /// Ask the rail what became of it, now and then, and hand its answer to [`Discharge::rail_said`].
    LookUp(Order),
    /// Something is awaited: the direct release, or the holder's books.
    Wait,
    /// Nothing any more.
    Over,
    /// The rail says that something was paid after all, which it had said was not. Somebody must look at it.
    Alarm,
}

/// What a step of a [`Discharge`] asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What belongs into the same transaction.
    pub entries: Vec<Entry>,
    /// What comes after it.
    pub next: Next,
}

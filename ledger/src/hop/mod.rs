//! A payment over several hops, as each of them sees it: passing a promise on ([`forward`], [`follow`]), collecting what an invoice
//! asked for ([`Collection`]), and paying ([`Attempt`]).
//!
//! Everything here works on [`Pair`]s and on small values that are stored beside them. Each function changes them
//! in memory and returns what is to be sent. The caller stores everything that was given as `&mut` in **one** transaction, and sends
//! only then; after an error nothing of it may be stored. Whatever was begun is taken up again by calling the same function again:
//! it changes nothing twice, and what the neighbour has not acknowledged is returned once more.
//!
//! The rules that keep a middle hop whole:
//! - it promises onward no more than it was promised less its fee, on the same terms, byte for byte;
//! - what it was promised it gives up only after the promise onward was released to it;
//! - once it knows the preimage, it hands the proof to both sides.

mod advertise;
mod attempt;
mod attempt_asked;
mod budget;
mod collection;
mod errand;
mod forward;
mod policy;
mod relay;
mod reply;
mod shown;

pub use attempt::{Attempt, AttemptPart, Fate, MAX_ATTEMPT_PARTS, Progress, Receipt, Route, Stop};
pub use attempt_asked::{Asked, Request};
pub use budget::Tally;
pub use collection::{
    Bill, Collection, CollectionPart, CollectionStage, MAX_COLLECTION_PARTS, Publish, TrustedLog,
};
pub use errand::{Errand, decline, errands};
pub use forward::forward;
pub use policy::{HopBudget, HopPolicy, HopRule};
pub use relay::{Relay, RelayStage, follow, published};
pub use reply::{answer, pass_on};
pub use shown::{Expected, Shown};

use crate::jws::RecordHash;
use crate::key::{Keypair, UserKey};
use crate::onion::FailureCode;
use crate::pair::{Event, KnownLogs, Pair, Published};
use crate::record::{AnyRecord, ReleaseReason};
use crate::seal::EncryptionSecret;
use crate::time::Timestamp;

/// A friend, and the key that keeps the owner's books towards them.
pub struct Neighbour<'a> {
    /// Everything between the owner and the friend.
    pub pair: &'a mut Pair,
    /// The owner's book key there.
    pub pen: &'a Keypair,
}

impl Neighbour<'_> {
    /// The same once more, for another call.
    pub fn again(&mut self) -> Neighbour<'_> {
        Neighbour {
            pair: self.pair,
            pen: self.pen,
        }
    }
}

/// What every step needs to know of the world.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The time.
    pub now: Timestamp,
    /// The logs that the owner knows.
    pub logs: &'a KnownLogs,
    /// The encryption keys that the owner still reads: current, previous, and the X25519 form of the root key.
    pub secrets: &'a [EncryptionSecret],
    /// Fresh for every call.
    pub entropy: [u8; 32],
}

/// What a step did: store, then send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// To whom what is to be sent, in this order.
    pub send: Vec<(UserKey, AnyRecord)>,
    /// What it changed, and towards whom, for people and for apps.
    pub events: Vec<(UserKey, Event)>,
}

impl Step {
    fn send(&mut self, to: UserKey, records: impl IntoIterator<Item = AnyRecord>) {
        self.send
            .extend(records.into_iter().map(|record| (to, record)));
    }

    fn take(&mut self, peer: UserKey, published: Published) {
        self.send(peer, published.records);
        let events = published.events.into_iter();
        self.events.extend(events.map(|event| (peer, event)));
    }

    fn join(&mut self, other: Self) {
        self.send.extend(other.send);
        self.events.extend(other.events);
    }
}

/// What a release without a readable word says by its reason.
fn code_of(reason: ReleaseReason) -> FailureCode {
    match reason {
        ReleaseReason::Expired => FailureCode::Expired,
        ReleaseReason::Log => FailureCode::Logs,
        ReleaseReason::Limit => FailureCode::EdgeUnavailable,
        ReleaseReason::Declined => FailureCode::Declined,
        ReleaseReason::Onward => FailureCode::Silent,
    }
}

/// How a promise of the owner ended, if these events say that the holder gave it up.
fn given_up(events: &[Event], promise: RecordHash) -> Option<ReleaseReason> {
    events.iter().find_map(|event| match event {
        Event::Released { iou, reason, .. } if *iou == promise => Some(*reason),
        _ => None,
    })
}

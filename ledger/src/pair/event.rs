//! What a record did.

use crate::amount::{Amount, Balance, Total};
use crate::digest::Preimage;
use crate::jws::RecordHash;
use crate::key::{SignerKey, UserKey};
use crate::record::{
    AnyRecord, ConditionalIou, CreditLine, LogProof, Payment, ReleaseReason, Reply, View,
};
use crate::seq::{Epoch, Seq};
use crate::unit::Unit;

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken. Store the pair, then send the replies.
    Applied {
        /// What it changed, for people.
        events: Vec<Event>,
        /// What must be sent to the peer, in this order.
        replies: Vec<AnyRecord>,
    },
    /// It was there already.
    Duplicate,
    /// Something newer is in force.
    Stale,
    /// It can't be judged yet. Keep it, and give it again when what is missing has come.
    Pending(PendingReason),
}

/// What a record waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PendingReason {
    /// The book of its epoch has not come.
    BookUnknown,
    /// Nobody looked recently enough whether this key was revoked.
    RevocationUnknown {
        /// The key.
        key: SignerKey,
    },
    /// It must be answered with a signature, and nobody here may sign now.
    NoPen,
    /// It names records that have not come.
    HeldUnknown,
    /// The state that bears it out has not come.
    StateUnknown,
    /// A conditional IOU that it counts on has not come.
    PromiseUnknown,
    /// A log must be read first: how far it is, or whether something was published there in time.
    LogUnread,
}

/// Something that people or apps want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The peer issued.
    Issued {
        /// In what.
        unit: Unit,
        /// By how much the peer's total grew, in minor units.
        growth: u64,
        /// The state.
        epoch: Epoch,
        /// The state.
        seq: Seq,
        /// What the peer owes now, net.
        balance: Balance,
    },
    /// The peer said what a growth was for.
    Payment(Box<Payment>),
    /// The peer took the owner's states up to this one.
    Acknowledged {
        /// In what.
        unit: Unit,
        /// The epoch.
        epoch: Epoch,
        /// The newest state taken.
        seq: Seq,
    },
    /// The peer gave back what exceeded its credit line: the payments in (`after_seq`, `to_seq`] failed.
    Refused {
        /// In what.
        unit: Unit,
        /// How much, in minor units.
        amount: Amount,
        /// The epoch.
        epoch: Epoch,
        /// The last state that stands.
        after_seq: Seq,
        /// The last state that failed.
        to_seq: Seq,
    },
    /// The owner gave back what exceeded the owner's credit line.
    PaidBack {
        /// In what.
        unit: Unit,
        /// How much, in minor units.
        amount: Amount,
        /// The epoch of the peer's states.
        epoch: Epoch,
        /// The last state that stands.
        after_seq: Seq,
        /// The last state that was given back.
        to_seq: Seq,
    },
    /// The peer promised something.
    Promised(Box<ConditionalIou>),
    /// The owner gave a promise of the peer up at once.
    PromiseRefused {
        /// The promise.
        iou: RecordHash,
        /// In what.
        unit: Unit,
        /// How much.
        amount: Amount,
        /// Why.
        reason: ReleaseReason,
    },
    /// The peer says that a promise of the owner arrived.
    PromiseArrived {
        /// The promise.
        iou: RecordHash,
    },
    /// The peer gave a promise of the owner up: nothing is owed under it.
    Released {
        /// The promise.
        iou: RecordHash,
        /// In what.
        unit: Unit,
        /// How much.
        amount: Amount,
        /// Why.
        reason: ReleaseReason,
    },
    /// A promise of the peer is due: the owner can claim it, booked or not.
    Due {
        /// The promise.
        iou: RecordHash,
        /// In what.
        unit: Unit,
        /// How much.
        amount: Amount,
        /// What was published.
        preimage: Preimage,
        /// Where; nothing for a direct release. What is booked already is no longer kept with its promise.
        proof: Option<Box<LogProof>>,
    },
    /// The peer booked a promise before the owner saw why. Both sides have settled it, and it is no longer kept.
    Booked {
        /// The promise.
        iou: RecordHash,
    },
    /// A promise of the owner was published and is booked now.
    Merged {
        /// The promise.
        iou: RecordHash,
        /// In what.
        unit: Unit,
        /// How much.
        amount: Amount,
        /// What was published.
        preimage: Preimage,
    },
    /// It is proven that a promise was not published in time: what it reserved is free.
    Expired {
        /// The promise.
        iou: RecordHash,
        /// Who had promised.
        from: UserKey,
        /// In what.
        unit: Unit,
        /// How much.
        amount: Amount,
    },
    /// The peer shows the checkpoints that it relied on.
    View(Box<View>),
    /// The peer hands back an answer to a promise of the owner, sealed for the payer.
    Reply(Box<Reply>),
    /// The peer set a credit line.
    Line(Box<CreditLine>),
    /// The peer's books are kept by another key from now on.
    Book {
        /// The epoch.
        epoch: Epoch,
        /// The key.
        key: SignerKey,
    },
    /// What the peer's earlier key had signed in this unit exceeds what its user is bound to.
    Unbound {
        /// In what.
        unit: Unit,
        /// What was signed.
        signed: Total,
        /// What binds.
        bound: Total,
    },
    /// The peer acknowledged the owner's new book: the owner may sign again.
    BookAcknowledged {
        /// The epoch.
        epoch: Epoch,
    },
    /// The peer contradicted itself: the channel is frozen until a new book.
    Frozen {
        /// In what.
        unit: Unit,
        /// How.
        why: String,
    },
    /// The owner's book was written elsewhere: this store must not sign.
    WrittenElsewhere {
        /// In what.
        unit: Unit,
        /// The epoch that was seen.
        epoch: Epoch,
        /// The number that was seen.
        seq: Seq,
    },
}

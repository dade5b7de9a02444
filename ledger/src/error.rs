//! Why something was refused. Each variant has a stable code for machines and a sentence for people.

use crate::key::{SignerKey, UserKey};
use crate::record::SettleReason;
use crate::seq::{Epoch, Seq};
use crate::unit::Unit;

/// Everything that this crate refuses, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    // Values.
    /// A key that is malformed or that must not be used.
    #[error("not a usable key: {0}")]
    KeyInvalid(&'static str),
    /// A malformed unit.
    #[error("{unit:?} is not a unit such as USD/2, BTC/8 or COFFEE: {why}")]
    UnitInvalid {
        /// What was given, cut short.
        unit: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A code that several known units bear.
    #[error("{code} could mean {candidates}: write the unit in full")]
    UnitAmbiguous {
        /// The code.
        code: String,
        /// The units, in words.
        candidates: String,
    },
    /// A malformed amount, or one out of range.
    #[error("not an amount: {0}")]
    AmountInvalid(String),
    /// A total would exceed 2^63 − 1.
    #[error("the total would exceed the largest amount that can be written")]
    TotalOverflow,
    /// A counter or a time is out of range.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// A rule of a policy does not hold together.
    #[error("the rule is not usable: {0}")]
    RuleInvalid(&'static str),
    /// A text, an id or a hash is malformed.
    #[error("{what}: {why}")]
    TextInvalid {
        /// Which text.
        what: &'static str,
        /// The rule that it breaks.
        why: &'static str,
    },

    // Records.
    /// A record above the size limit.
    #[error(
        "the record has {bytes} bytes, the most is {}",
        crate::jws::MAX_RECORD_BYTES
    )]
    RecordTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// No compact JWS.
    #[error("not a record: {0}")]
    JwsMalformed(&'static str),
    /// A header with a wrong, missing, unknown or repeated member.
    #[error("the record's header is not valid: {0}")]
    HeaderInvalid(String),
    /// A type that this version does not know.
    #[error("records of type {0:?} are unknown to this version")]
    UnknownType(String),
    /// A record of another type than expected.
    #[error("expected a record of type {expected}, found {found:?}")]
    WrongType {
        /// What was expected.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// A payload with a wrong, missing, unknown or repeated field.
    #[error("the {typ} record is not valid: {detail}")]
    PayloadInvalid {
        /// The type.
        typ: String,
        /// Names the field.
        detail: String,
    },
    /// Fields that contradict each other.
    #[error("the {typ} record contradicts itself: {why}")]
    Contradiction {
        /// The type.
        typ: &'static str,
        /// The rule that is broken.
        why: &'static str,
    },
    /// A signature that does not fit.
    #[error("the signature of the {typ} record does not fit its bytes")]
    SignatureInvalid {
        /// The type.
        typ: String,
    },

    // Authority.
    /// The key has no authority for this.
    #[error("key {key} may not sign for {user}: {why}")]
    NotAuthorized {
        /// The key that signed.
        key: SignerKey,
        /// In whose name.
        user: UserKey,
        /// What is missing.
        why: &'static str,
    },
    /// The authority has ended.
    #[error("the authority of key {key} has expired")]
    AuthorityExpired {
        /// The key.
        key: SignerKey,
    },
    /// The authority has not begun.
    #[error("the authority of key {key} is not valid yet")]
    AuthorityNotYetValid {
        /// The key.
        key: SignerKey,
    },
    /// The key was revoked.
    #[error("key {key} was revoked by its user")]
    KeyRevoked {
        /// The key.
        key: SignerKey,
    },
    /// A book names a cap above what its signer may grant.
    #[error("the book names a cap in {unit} above what its key may commit to")]
    CapAboveAuthority {
        /// The unit.
        unit: Unit,
    },

    // Channels.
    /// A record of two other users.
    #[error("the record belongs to another channel")]
    ForeignChannel,
    /// A record of an epoch that has ended.
    #[error("the record is of epoch {found}, which ended: epoch {current} is in force")]
    EpochEnded {
        /// The record's epoch.
        found: Epoch,
        /// The one in force.
        current: Epoch,
    },
    /// A book that skips epochs without the root's signature, or comes second.
    #[error("the book of epoch {found} can't follow epoch {current}: {why}")]
    BookOutOfTurn {
        /// Its epoch.
        found: Epoch,
        /// The one in force.
        current: Epoch,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A state whose totals fall.
    #[error("the totals of state {seq} in {unit} fall: totals only grow")]
    TotalFell {
        /// The unit.
        unit: Unit,
        /// The state.
        seq: Seq,
    },
    /// Conditional IOUs that are not known here.
    #[error("state {seq} in {unit} merges or counts conditional IOUs that are not known here")]
    MergeUnfounded {
        /// The unit.
        unit: Unit,
        /// The state.
        seq: Seq,
    },
    /// Two records under one number.
    #[error(
        "two different records bear epoch {epoch}, seq {seq} in {unit}: the channel is frozen and both are kept as evidence"
    )]
    Equivocation {
        /// The unit.
        unit: Unit,
        /// The epoch.
        epoch: Epoch,
        /// The number.
        seq: Seq,
    },
    /// The channel is frozen.
    #[error("the channel in {unit} is frozen: {why}")]
    Frozen {
        /// The unit.
        unit: Unit,
        /// Why.
        why: &'static str,
    },
    /// A pay-back that would not fit into the holder's own total.
    #[error(
        "the growth in {unit} exceeds the credit line and is too large to be paid back: the channel is frozen"
    )]
    PayBackImpossible {
        /// The unit.
        unit: Unit,
    },
    /// A payment above what the payee accepts or the payer allows themselves.
    #[error("{wanted} exceeds the limit: {available} can be paid now ({why})")]
    LimitExceeded {
        /// What was to be paid, as people write it.
        wanted: String,
        /// What could be paid.
        available: String,
        /// Which limit binds, and its figures.
        why: String,
    },
    /// A payment below the payee's smallest.
    #[error("{wanted} is less than the smallest payment that this friend takes ({smallest})")]
    BelowMinimum {
        /// What was to be paid.
        wanted: String,
        /// The smallest.
        smallest: String,
    },
    /// Nobody here may sign for this side.
    #[error("this wallet does not keep the books of this channel: {why}")]
    NoPen {
        /// Why not, and what to do.
        why: &'static str,
    },
    /// The peer has not yet acknowledged the new book.
    #[error("the peer has not acknowledged the new book yet: payments wait until they have")]
    BookNotAcknowledged,

    // Conditional IOUs.
    /// A proof that does not show what it should.
    #[error("the proof does not hold: {why}")]
    ProofInvalid {
        /// Why not.
        why: String,
    },
    /// Terms that can't be relied on.
    #[error("these terms can't be relied on: {why}")]
    TermsRefused {
        /// Why not, and what to do.
        why: &'static str,
    },
    /// Too many promises are undecided, or kept.
    #[error("no more promises in {unit} now: {why}")]
    NoSlot {
        /// The unit.
        unit: Unit,
        /// Which bound, and what frees a slot.
        why: &'static str,
    },
    /// A conditional IOU that is not known here.
    #[error("no such conditional IOU is known here")]
    PromiseUnknown,
    /// A conditional IOU whose number was settled for good.
    #[error(
        "promise {number} in {unit} was cleared: both sides have settled everything up to there"
    )]
    PromiseCleared {
        /// The unit.
        unit: Unit,
        /// The number.
        number: u64,
    },
    /// A conditional IOU that can't be given up, or can't be passed on.
    #[error("the promise can't be given up: {why}")]
    NotReleasable {
        /// Why not.
        why: &'static str,
    },

    // Settlements and requests.
    /// A claim that can't be paid off as asked.
    #[error("this claim can't be settled so: {}", reason.code())]
    CannotSettle {
        /// Why not.
        reason: SettleReason,
    },
    /// A part of a request that nobody asked for.
    #[error("no such part of this request is known here")]
    PartUnknown,

    // Seals and bundles.
    /// A seal that does not open with the keys at hand.
    #[error("the seal can't be opened: {0}")]
    SealBroken(&'static str),
    /// Layers or an answer that don't open, or that say nothing that is known here.
    #[error("the sealed layers can't be used: {0}")]
    LayersInvalid(&'static str),
    /// A sealed value or a file above its size limit.
    #[error("{what} has {bytes} bytes, the most is {max}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// An evidence bundle that does not hold.
    #[error("record {index} of the bundle ({typ}): {why}")]
    EvidenceInvalid {
        /// Which record, from 1.
        index: usize,
        /// Its type, as far as it can be told.
        typ: String,
        /// What is wrong.
        why: String,
    },
}

impl LedgerError {
    /// A stable code for machines, in snake case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::KeyInvalid(_) => "key_invalid",
            Self::UnitInvalid { .. } => "unit_invalid",
            Self::UnitAmbiguous { .. } => "unit_ambiguous",
            Self::AmountInvalid(_) => "amount_invalid",
            Self::TotalOverflow => "total_overflow",
            Self::OutOfRange(_) => "out_of_range",
            Self::RuleInvalid(_) => "rule_invalid",
            Self::TextInvalid { .. } => "text_invalid",
            Self::RecordTooLarge { .. } => "record_too_large",
            Self::JwsMalformed(_) => "jws_malformed",
            Self::HeaderInvalid(_) => "header_invalid",
            Self::UnknownType(_) => "unknown_type",
            Self::WrongType { .. } => "wrong_type",
            Self::PayloadInvalid { .. } => "payload_invalid",
            Self::Contradiction { .. } => "contradiction",
            Self::SignatureInvalid { .. } => "signature_invalid",
            Self::NotAuthorized { .. } => "not_authorized",
            Self::AuthorityExpired { .. } => "authority_expired",
            Self::AuthorityNotYetValid { .. } => "authority_not_yet_valid",
            Self::KeyRevoked { .. } => "key_revoked",
            Self::CapAboveAuthority { .. } => "cap_above_authority",
            Self::ForeignChannel => "foreign_channel",
            Self::EpochEnded { .. } => "epoch_ended",
            Self::BookOutOfTurn { .. } => "book_out_of_turn",
            Self::TotalFell { .. } => "total_fell",
            Self::MergeUnfounded { .. } => "merge_unfounded",
            Self::Equivocation { .. } => "equivocation",
            Self::Frozen { .. } => "channel_frozen",
            Self::PayBackImpossible { .. } => "pay_back_impossible",
            Self::LimitExceeded { .. } => "limit_exceeded",
            Self::BelowMinimum { .. } => "below_minimum",
            Self::NoPen { .. } => "no_pen",
            Self::BookNotAcknowledged => "book_not_acknowledged",
            Self::ProofInvalid { .. } => "proof_invalid",
            Self::TermsRefused { .. } => "terms_refused",
            Self::NoSlot { .. } => "no_slot",
            Self::PromiseUnknown => "promise_unknown",
            Self::PromiseCleared { .. } => "promise_cleared",
            Self::NotReleasable { .. } => "not_releasable",
            Self::CannotSettle { reason } => reason.code(),
            Self::PartUnknown => "part_unknown",
            Self::SealBroken(_) => "seal_broken",
            Self::LayersInvalid(_) => "layers_invalid",
            Self::TooLarge { .. } => "too_large",
            Self::EvidenceInvalid { .. } => "evidence_invalid",
        }
    }
}

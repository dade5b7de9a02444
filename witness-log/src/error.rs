//! Why something was refused. Each variant has a stable code for machines and a sentence for people.

use crate::fork::ForkProof;

/// Everything that this crate refuses, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    // Bytes and texts.
    /// Something is larger than its bound.
    #[error("{what} is larger than its bound of {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// The most there may be of it (bytes, lines or items).
        limit: usize,
    },
    /// The bytes are no leaf: neither a tick nor a preimage.
    #[error("an entry of the log is neither a tick nor a preimage")]
    LeafMalformed,
    /// A tile, an entry bundle or the path of one is malformed.
    #[error("malformed tile, entry bundle or path: {0}")]
    TileMalformed(&'static str),
    /// A key is malformed or must not be used.
    #[error("not a usable key: {0}")]
    KeyInvalid(&'static str),
    /// A signed note is malformed.
    #[error("malformed note: {0}")]
    NoteMalformed(&'static str),
    /// The text of a note is no checkpoint.
    #[error("malformed checkpoint: {0}")]
    CheckpointMalformed(&'static str),
    /// A policy is malformed.
    #[error("malformed policy, line {line}: {why}")]
    PolicyMalformed {
        /// The line, from 1; 0 if it concerns the whole policy.
        line: usize,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A proof, or a request that carries one, is malformed.
    #[error("malformed proof: {0}")]
    ProofMalformed(&'static str),

    // Signatures and policies.
    /// A signature that bears the name and the id of a known key does not verify.
    #[error("the signature of {0} does not verify")]
    SignatureInvalid(String),
    /// The note bears no signature of that key.
    #[error("the note is not signed by {0}")]
    NotSigned(String),
    /// A key of the wrong kind for what it should do.
    #[error("this needs a key of another signature type")]
    KeyKindWrong,
    /// A checkpoint of a log that the policy does not list, or of another one than was asked for.
    #[error("{0} is not the log in question")]
    OriginUnknown(String),
    /// Too few cosigners signed the checkpoint.
    #[error("the checkpoint lacks the cosignatures that the policy asks for")]
    QuorumNotReached,

    // Trees.
    /// An index or a size outside the tree.
    #[error("an index or a size lies outside the tree")]
    OutOfRange,
    /// A hash that is needed is not at hand.
    #[error("the hash at level {level}, index {index} is not at hand")]
    HashMissing {
        /// Level, 0 for leaves.
        level: u8,
        /// Index within the level.
        index: u64,
    },
    /// An inclusion proof does not lead to the root.
    #[error("the inclusion proof does not lead to the root of the checkpoint")]
    InclusionInvalid,
    /// A consistency proof does not lead to both roots.
    #[error("the consistency proof does not lead from one root to the other")]
    ConsistencyInvalid,
    /// Entries or tiles that do not add up to the root.
    #[error("the content does not add up to the root of the checkpoint")]
    RootMismatch,

    // The rule.
    /// A proof for another preimage than the one in the terms.
    #[error("the leaf does not hold the preimage of the terms")]
    PreimageWrong,
    /// A leaf before the first index that counts.
    #[error("the leaf lies before the first index that counts under the terms")]
    BeforeWindow,
    /// A leaf after the deadline.
    #[error("the leaf is later than the deadline")]
    AfterDeadline,
    /// A proof of expiry over entries that hold the preimage in time.
    #[error("the preimage was published in time")]
    WasPublished,
    /// A proof of expiry that ends before the deadline, or goes on after it.
    #[error("the entries do not end with the first one after the deadline")]
    WindowOpen,
    /// `from_size` is too far back, or ahead of what is known.
    #[error("from_size {from_size} is not within 2^20 entries before the newest known size {size}")]
    FromSizeOutside {
        /// What the terms say.
        from_size: u64,
        /// The newest cosigned size known.
        size: u64,
    },
    /// The time of a leaf is earlier than that of the leaf before it.
    #[error("the time of entry {index} falls")]
    TimeFalls {
        /// Index of the later leaf.
        index: u64,
    },

    // Running and following a log.
    /// The clock did not advance since the last batch: a log stops rather than guesses.
    #[error("the clock reads {now_ms} ms, the newest entry {last_ms} ms: it must advance")]
    ClockStuck {
        /// What the clock says.
        now_ms: u64,
        /// The time of the newest entry.
        last_ms: u64,
    },
    /// The last entry of a checkpoint is no tick.
    #[error("the checkpoint does not end with a tick")]
    NoTick,
    /// The newest tick is too far from one's own clock.
    #[error("the newest tick says {tick_ms} ms, the clock {now_ms} ms: too far apart")]
    TickSkewed {
        /// What the tick says.
        tick_ms: u64,
        /// What the own clock says.
        now_ms: u64,
    },
    /// A checkpoint smaller than the one already known.
    #[error("the checkpoint has {got} entries, {known} are known already")]
    Shrunk {
        /// Size already known.
        known: u64,
        /// Size offered.
        got: u64,
    },
    /// The number of entries is not the difference of the two sizes.
    #[error("{got} entries were handed in, {wanted} are needed")]
    EntriesMissing {
        /// How many are needed.
        wanted: u64,
        /// How many there were.
        got: u64,
    },
    /// A tombstone was signed: no larger tree will be cosigned.
    #[error("a tombstone stands at size {size}")]
    Tombstoned {
        /// The size of the tombstone.
        size: u64,
    },
    /// A tombstone for a log that still ticks.
    #[error("the log is not dead")]
    NotDead,
    /// The tombstones at hand leave a quorum possible.
    #[error("the tombstones do not suffice: a quorum is still possible")]
    TombstonesTooFew,
    /// Different roots are tombstoned at one size.
    #[error("different roots are tombstoned at size {size}")]
    TombstonesDisagree {
        /// The size.
        size: u64,
    },
    /// What was handed in proves that somebody lied; the proof is enclosed.
    #[error("{0}")]
    Forked(Box<ForkProof>),
    /// What was offered as proof of a fork proves none.
    #[error("this proves no misbehaviour: {0}")]
    NotAFork(&'static str),
}

impl LogError {
    /// A stable, machine-readable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::LeafMalformed => "leaf_malformed",
            Self::TileMalformed(_) => "tile_malformed",
            Self::KeyInvalid(_) => "key_invalid",
            Self::NoteMalformed(_) => "note_malformed",
            Self::CheckpointMalformed(_) => "checkpoint_malformed",
            Self::PolicyMalformed { .. } => "policy_malformed",
            Self::ProofMalformed(_) => "proof_malformed",
            Self::SignatureInvalid(_) => "signature_invalid",
            Self::NotSigned(_) => "not_signed",
            Self::KeyKindWrong => "key_kind_wrong",
            Self::OriginUnknown(_) => "origin_unknown",
            Self::QuorumNotReached => "quorum_not_reached",
            Self::OutOfRange => "out_of_range",
            Self::HashMissing { .. } => "hash_missing",
            Self::InclusionInvalid => "inclusion_invalid",
            Self::ConsistencyInvalid => "consistency_invalid",
            Self::RootMismatch => "root_mismatch",
            Self::PreimageWrong => "preimage_wrong",
            Self::BeforeWindow => "before_window",
            Self::AfterDeadline => "after_deadline",
            Self::WasPublished => "was_published",
            Self::WindowOpen => "window_open",
            Self::FromSizeOutside { .. } => "from_size_outside",
            Self::TimeFalls { .. } => "time_falls",
            Self::ClockStuck { .. } => "clock_stuck",
            Self::NoTick => "no_tick",
            Self::TickSkewed { .. } => "tick_skewed",
            Self::Shrunk { .. } => "shrunk",
            Self::EntriesMissing { .. } => "entries_missing",
            Self::Tombstoned { .. } => "tombstoned",
            Self::NotDead => "not_dead",
            Self::TombstonesTooFew => "tombstones_too_few",
            Self::TombstonesDisagree { .. } => "tombstones_disagree",
            Self::Forked(_) => "forked",
            Self::NotAFork(_) => "not_a_fork",
        }
    }
}

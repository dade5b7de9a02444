//! The witness log of Atomicity: a transparency log of preimages whose content alone decides what is due.
//!
//! Everything here is pure: no I/O, no clock, no randomness. Times are arguments, bytes come from the caller and go back to it.
//!
//! The log follows the specifications of the C2SP: `tlog-tiles` ([`tile`]), `signed-note` ([`note`]), `tlog-checkpoint` and
//! `tlog-cosignature` ([`checkpoint`]), `tlog-policy` ([`policy`]), `tlog-proof` ([`proof`]) and the `add-checkpoint` call of
//! `tlog-witness` ([`add_checkpoint`]); whom they call a *witness* is a **cosigner** here. What they leave to the application is
//! ours: the leaves ([`leaf`]), the publication rule ([`rule`]), proofs of expiry ([`expiry`]), tombstones of dead logs
//! ([`tombstone`]) and proofs that somebody lied ([`fork`]).
//!
//! - A log runs a [`sequencer::LogState`]; a cosigner or mirror a [`follower::Follower`] per log.
//! - Whoever relies on a log holds a [`policy::Policy`] and terms ([`rule::LogTerms`]), and checks a [`proof::PublicationProof`]
//!   or an [`expiry::ExpiryProof`] against them.
//! - Whoever watches compares what different people were shown with [`fork::compare`] and keeps each [`fork::ForkProof`].
//!
//! Nothing in this crate panics, whatever it is given. Every decoder has a bound on what it reads.

pub mod add_checkpoint;
pub mod checkpoint;
mod codec;
mod contradiction;
pub mod edge;
pub mod error;
pub mod expiry;
pub mod follower;
pub mod fork;
mod fork_codec;
mod fork_verify;
mod key;
pub mod leaf;
pub mod liars;
pub mod note;
#[cfg(feature = "planted")]
pub mod planted;
#[cfg(not(feature = "planted"))]
mod planted;
pub mod policy;
mod policy_parse;
pub mod proof;
pub mod rule;
pub mod sequencer;
mod signature;
pub mod tile;
pub mod tombstone;
pub mod tree;
pub mod window;

pub use add_checkpoint::AddCheckpoint;
pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use edge::TileEdge;
pub use error::LogError;
pub use expiry::{Expired, ExpiryProof};
pub use follower::Follower;
pub use fork::{Culprit, ForkProof};
pub use leaf::Leaf;
pub use liars::{Distrust, Liars};
pub use note::{KeyKind, NoteSignature, SignedNote, SigningKey, VerifierKey};
pub use policy::{CheckedCheckpoint, Policy};
pub use proof::{PublicationProof, Published, TlogProof};
pub use rule::{LogTerms, Outcome, Verdict, judge, judge_all};
pub use sequencer::{Batch, LogState};
pub use tile::{TilePath, TileSet};
pub use tombstone::{Tombstone, Tombstones};
pub use tree::{CompactRange, Hash, HashSource, MemoryTree};
pub use window::{End, Said, Window, said};

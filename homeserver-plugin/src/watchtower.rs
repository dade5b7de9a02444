//! Watching logs for others: what different people were shown is compared, lies are proven, and proofs are served to whoever asks.
//!
//! Nothing is believed: neither what clients hand in nor what other watchtowers say. A verdict is a proof that was checked here.

pub mod examine;
mod http;
pub mod peers;
pub mod promises;

pub use self::http::{CHECKPOINTS_BODY, PROOF_BODY, checkpoint_routes, proof_routes, routes};

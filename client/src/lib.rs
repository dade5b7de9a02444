//! The SDK of Atomicity: a wallet that keeps a user's books with their friends.
//!
//! [`wallet::Wallet`] is where to start: it opens the store, signs, fetches, sends and recovers. [`net`] reaches homeservers and
//! plugins, [`account`] spends from somebody's payment account with nothing but its key, [`keys`] reads and writes the file of the root key, [`config`] the settings. What a record means is decided in
//! `atomicity-ledger`; this crate brings the store, the clock, the randomness and the wire.

pub mod account;
pub mod config;
pub mod error;
pub mod keys;
pub mod net;
mod store;
pub mod wallet;

pub use error::ClientError;

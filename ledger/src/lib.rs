//! The kernel of Atomicity: who owes whom how much, and how each side can prove it.
//!
//! Everything in this crate is a pure function of its arguments. It reads no clock, draws no randomness, opens no file and no
//! socket: time and entropy come in as arguments, and what must be stored or sent goes out as values. A wallet and a sidecar
//! bring the store and the wire; what a record means is decided here, once.
//!
//! Where to start reading: [`record`] for what is signed, [`jws`] for how, [`authority`] for who may sign, [`pair`] for the state
//! machine of two users, [`settle`] for paying debts off outside, [`account`] for what apps may spend, [`seal`] for who may read.

pub mod account;
pub mod amount;
pub mod authority;
pub mod channel_file;
pub mod decimal;
pub mod digest;
pub mod error;
pub mod evidence;
pub mod hop;
pub mod jws;
pub mod key;
pub mod link;
pub mod money;
pub mod onion;
pub mod pair;
#[cfg(feature = "planted")]
pub mod planted;
#[cfg(not(feature = "planted"))]
mod planted;
pub mod policy;
pub mod record;
pub mod seal;
pub mod seq;
pub mod settle;
pub mod text;
pub mod time;
pub mod unit;

pub use amount::{Amount, Balance, Total};
pub use decimal::{Asset, Decimal};
pub use digest::{PaymentHash, PolicyHash, Preimage};
pub use error::LedgerError;
pub use jws::{MAX_RECORD_BYTES, Record, RecordHash, Signed};
pub use key::{Keypair, SignerKey, UserKey};
pub use money::Money;
pub use record::AnyRecord;
pub use seq::{Epoch, IouNumber, Seq, Serial};
pub use text::{Memo, Name, RecordId};
pub use time::Timestamp;
pub use unit::Unit;

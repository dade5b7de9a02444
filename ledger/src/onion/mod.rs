//! Nested sealed layers of equal size: what each hop of a payment is to do, readable by that hop alone.
//!
//! The payer seals one [`Payload`] for each hop. A hop opens the outermost layer with its encryption key and gets its payload and
//! what to pass on. Whatever the number of hops and whatever a hop's place, the text has the same size and looks random, so a hop
//! learns its neighbours and no more. Every hop checks the whole of what it got: a byte changed on the way, or layers moved to
//! another payment, are noticed by the next one that opens.
//!
//! The same keys carry answers back ([`HopSecret`]): the hop that speaks seals, every hop on the way puts a stream of its own over
//! it, and only the payer can take them off ([`ReplyKeys`]).
//!
//! It is the construction known as Sphinx, with X25519, HKDF-SHA-256 and ChaCha20-Poly1305, and a fresh ephemeral key for each hop.

mod answer;
mod back;
mod failure;
mod keys;
mod layers;
mod payload;

pub use answer::Answer;
pub use back::{FAILURE_BYTES, REPLY_BYTES};
pub use failure::{Failure, FailureCode};
pub use keys::{HopKey, HopSecret, ReplyKeys};
pub use layers::{LAYERS_BYTES, Opened, open, seal};
pub use payload::{MAX_GIFT_MEMO, Payload};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::LedgerError;
use crate::text::Layers;

/// The most hops of one payment, the payee included.
pub const MAX_HOPS: usize = 10;

/// The text of these bytes.
fn to_text(bytes: &[u8]) -> Result<Layers, LedgerError> {
    Layers::try_from(URL_SAFE_NO_PAD.encode(bytes))
}

/// The bytes of a text that must have so many.
fn from_text(layers: &Layers, size: usize) -> Result<Vec<u8>, LedgerError> {
    URL_SAFE_NO_PAD
        .decode(layers.as_str())
        .ok()
        .filter(|bytes| bytes.len() == size)
        .ok_or(LedgerError::LayersInvalid(
            "they have another size or another alphabet",
        ))
}

//! What the log holds: preimages and ticks, each with the log's time.

use crate::error::LogError;
use crate::tree::{Hash, leaf_hash};

/// Bytes of an encoded tick.
pub const TICK_BYTES: usize = 9;
/// Bytes of an encoded preimage leaf.
pub const PREIMAGE_BYTES: usize = 41;

const TICK: u8 = 0x00;
const PREIMAGE: u8 = 0x01;

/// An entry of the log. Times are unix milliseconds of the log's clock and never fall from one entry to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leaf {
    /// Somebody published these 32 bytes.
    Preimage {
        /// When, in unix milliseconds.
        time_ms: u64,
        /// What.
        preimage: [u8; 32],
    },
    /// The log was alive.
    Tick {
        /// When, in unix milliseconds.
        time_ms: u64,
    },
}

impl Leaf {
    /// The log's time of the entry, in unix milliseconds.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        match *self {
            Self::Preimage { time_ms, .. } | Self::Tick { time_ms } => time_ms,
        }
    }

    /// The preimage, if the entry is none of the log's own ticks.
    #[must_use]
    pub fn preimage(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Preimage { preimage, .. } => Some(preimage),
            Self::Tick { .. } => None,
        }
    }

    /// Whether it is a tick.
    #[must_use]
    pub fn is_tick(&self) -> bool {
        matches!(self, Self::Tick { .. })
    }

    /// Whether it holds the preimage of this SHA-256 hash.
    #[must_use]
    pub fn publishes(&self, hash: &[u8; 32]) -> bool {
        self.preimage().is_some_and(|p| preimage_hash(p) == *hash)
    }

    /// `0x01 ‖ time (u64, big endian) ‖ preimage (32 bytes)`, or `0x00 ‖ time` for a tick.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PREIMAGE_BYTES);
        out.push(if self.is_tick() { TICK } else { PREIMAGE });
        out.extend_from_slice(&self.time_ms().to_be_bytes());
        if let Some(preimage) = self.preimage() {
            out.extend_from_slice(preimage);
        }
        out
    }

    /// Reads exactly one leaf.
    ///
    /// # Errors
    /// [`LogError::LeafMalformed`] for any other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let (kind, rest) = bytes.split_first().ok_or(LogError::LeafMalformed)?;
        let (time, rest) = rest.split_first_chunk().ok_or(LogError::LeafMalformed)?;
        let time_ms = u64::from_be_bytes(*time);
        match (*kind, rest) {
            (TICK, []) => Ok(Self::Tick { time_ms }),
            (PREIMAGE, rest) => {
                let preimage = rest.try_into().map_err(|_| LogError::LeafMalformed)?;
                Ok(Self::Preimage { time_ms, preimage })
            }
            _ => Err(LogError::LeafMalformed),
        }
    }

    /// The hash of the leaf in the log's tree (RFC 6962, section 2.1).
    #[must_use]
    pub fn hash(&self) -> Hash {
        leaf_hash(&self.encode())
    }
}

/// SHA-256 of a preimage: what terms name.
#[must_use]
pub fn preimage_hash(preimage: &[u8; 32]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(preimage).into()
}

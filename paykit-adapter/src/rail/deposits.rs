//! Being paid at an address.

use futures_util::future::BoxFuture;

use super::error::RailError;
use super::msat::Msat;

/// An address that was given to nobody before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// As payers write it.
    pub address: String,
    /// The block before which nothing came to it.
    pub since_block: u32,
}

/// What came to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deposited {
    /// All of it, also what no block holds yet and what may still vanish.
    pub seen: Msat,
    /// What lies as deep in the chain as the rail wants it.
    pub confirmed: Msat,
}

/// A rail that is paid at addresses of a chain.
pub trait Deposits: Send + Sync {
    /// A new address.
    ///
    /// # Errors
    /// If the node gives none.
    fn new_address(&self) -> BoxFuture<'_, Result<Address, RailError>>;

    /// What came to an address that this rail gave.
    ///
    /// # Errors
    /// If the node can't be asked.
    fn deposited<'a>(&'a self, address: &'a Address)
    -> BoxFuture<'a, Result<Deposited, RailError>>;
}

/// Addresses are shown to strangers and put into links: nothing but letters and digits.
pub(super) fn checked(address: String) -> Result<String, RailError> {
    /// The longest address of Bitcoin has 90 characters (BIP 173).
    const LONGEST: usize = 90;
    let plain = address.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if address.is_empty() || address.len() > LONGEST || !plain {
        return Err(RailError::AnswerMalformed("an address"));
    }
    Ok(address)
}

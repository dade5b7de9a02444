//! What a Bitcoin Core node's answers say. Amounts are read from their text: they are written as fractions of a bitcoin.

use atomicity_ledger::Decimal;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::rail::error::RailError;
use crate::rail::msat::Msat;

/// A bitcoin has this many places on the chain.
const PLACES: u8 = 8;

/// A number of satoshi.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sat(pub(super) u64);

impl<'de> Deserialize<'de> for Sat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let sat = Decimal::read(text.get()).ok();
        let sat = sat.and_then(|bitcoin| bitcoin.to_minor(PLACES));
        sat.map(Self)
            .ok_or_else(|| serde::de::Error::custom("no amount of bitcoin"))
    }
}

impl Sat {
    /// From a whole number of satoshi.
    pub(super) fn of(msat: Msat) -> Result<Self, RailError> {
        let sat = msat.sat_rounded_up();
        if Msat::from_sat(sat)? != msat || sat == 0 {
            return Err(RailError::AmountUnusable(
                "the chain has no parts of a satoshi",
            ));
        }
        Ok(Self(sat))
    }

    pub(super) fn msat(self) -> Result<Msat, RailError> {
        Msat::from_sat(self.0)
    }

    /// As the node reads it.
    pub(super) fn bitcoin(self) -> String {
        format!("{}.{:08}", self.0 / 100_000_000, self.0 % 100_000_000)
    }
}

#[derive(Deserialize)]
pub(super) struct Validity {
    pub(super) isvalid: bool,
}

#[derive(Deserialize)]
pub(super) struct Funded {
    pub(super) psbt: String,
    pub(super) fee: Sat,
}

#[derive(Deserialize)]
pub(super) struct Signed {
    pub(super) psbt: String,
    pub(super) complete: bool,
}

#[derive(Deserialize)]
pub(super) struct Finished {
    #[serde(default)]
    pub(super) hex: String,
    pub(super) complete: bool,
}

#[derive(Deserialize)]
pub(super) struct DecodedPsbt {
    pub(super) tx: Decoded,
}

#[derive(Deserialize)]
pub(super) struct Decoded {
    pub(super) txid: String,
    pub(super) vin: Vec<Input>,
    pub(super) vout: Vec<Output>,
}

#[derive(Deserialize)]
pub(super) struct Input {
    #[serde(default)]
    pub(super) txid: String,
    #[serde(default)]
    pub(super) vout: u32,
}

#[derive(Deserialize)]
pub(super) struct Output {
    pub(super) value: Sat,
    pub(super) n: u32,
    #[serde(rename = "scriptPubKey")]
    pub(super) script: Script,
}

#[derive(Deserialize)]
pub(super) struct Script {
    pub(super) hex: String,
    #[serde(default)]
    pub(super) address: String,
}

#[derive(Deserialize)]
pub(super) struct Accepted {
    pub(super) allowed: bool,
    #[serde(default, rename = "reject-reason")]
    pub(super) reason: String,
}

/// A transaction as the wallet knows it.
#[derive(Deserialize)]
pub(super) struct Known {
    pub(super) confirmations: i64,
    #[serde(default)]
    pub(super) walletconflicts: Vec<String>,
    #[serde(default)]
    pub(super) decoded: Option<Decoded>,
}

#[derive(Deserialize)]
pub(super) struct Chain {
    pub(super) chain: String,
    pub(super) blocks: u64,
    pub(super) headers: u64,
    pub(super) initialblockdownload: bool,
}

#[derive(Deserialize)]
pub(super) struct Balances {
    pub(super) mine: Mine,
}

#[derive(Deserialize)]
pub(super) struct Mine {
    pub(super) trusted: Sat,
}

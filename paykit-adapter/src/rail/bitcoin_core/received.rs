//! Whether a payment came to the wallet of this node, and new addresses to be paid at.

use atomicity_ledger::Money;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::BitcoinCore;
use super::answers::{Known, Sat};
use super::rpc::says_unknown;
use crate::rail::deposits::{Address, Deposited, Deposits, checked};
use crate::rail::error::RailError;
use crate::rail::msat::Msat;

/// The digits of a transaction's id.
const TXID: usize = 64;

impl BitcoinCore {
    /// Whether `output`, written `<txid>:<number>`, pays this address exactly this much and has enough confirmations, as the wallet of
    /// this node knows it. One that the wallet does not know, or that is not deep enough yet, has not come.
    ///
    /// # Errors
    /// If the node does not say.
    pub async fn has_received(
        &self,
        output: &str,
        address: &str,
        amount: &Money,
    ) -> Result<bool, RailError> {
        let Some((txid, number)) = read(output) else {
            return Ok(false);
        };
        let amount = Sat::of(Msat::from_money(amount)?)?;
        let params = json!({ "txid": txid, "verbose": true });
        let known: Known = match self.client.call("gettransaction", params).await {
            Ok(known) => known,
            Err(error) if says_unknown(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        let decoded = known.decoded.ok_or(RailError::AnswerMalformed(
            "a transaction that is not decoded",
        ))?;
        let pays = decoded
            .vout
            .iter()
            .any(|out| out.n == number && out.script.address == address && out.value == amount);
        Ok(pays && known.confirmations >= i64::from(self.confirmations))
    }
}

impl BitcoinCore {
    async fn give_address(&self) -> Result<Address, RailError> {
        self.ask_chain().await?;
        let made: String = self.client.call("getnewaddress", json!([])).await?;
        Ok(Address {
            address: checked(made)?,
            // The node itself knows since when.
            since_block: 0,
        })
    }

    /// What came to an address and lies that deep.
    async fn came_to(&self, address: &str, depth: u32) -> Result<Msat, RailError> {
        let params = json!([address, depth]);
        let came: Sat = self.client.call("getreceivedbyaddress", params).await?;
        came.msat()
    }
}

impl Deposits for BitcoinCore {
    fn new_address(&self) -> BoxFuture<'_, Result<Address, RailError>> {
        self.give_address().boxed()
    }

    fn deposited<'a>(
        &'a self,
        address: &'a Address,
    ) -> BoxFuture<'a, Result<Deposited, RailError>> {
        async move {
            // What is deep is asked for first: what comes meanwhile is seen, at least.
            let confirmed = self.came_to(&address.address, self.confirmations).await?;
            let seen = self.came_to(&address.address, 0).await?;
            Ok(Deposited { seen, confirmed })
        }
        .boxed()
    }
}

fn read(output: &str) -> Option<(&str, u32)> {
    let (txid, number) = output.split_once(':')?;
    let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let number: u32 = number
        .parse()
        .ok()
        .filter(|n: &u32| n.to_string() == number)?;
    (txid.len() == TXID && txid.bytes().all(plain)).then_some((txid, number))
}

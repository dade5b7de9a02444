//! Being paid at addresses of an lnd node's own wallet.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::Method;

use super::Lnd;
use super::answers::{NewAddress, NodeInfo, Transactions};
use crate::rail::deposits::{Address, Deposited, Deposits, checked};
use crate::rail::error::RailError;

/// Blocks that may be replaced by others after an address was given.
const REORG: u32 = 6;
/// The least depth of what counts as having come.
const CONFIRMATIONS: u32 = 1;

impl Lnd {
    async fn give_address(&self) -> Result<Address, RailError> {
        let info = self.client.ask((Method::GET, "/v1/getinfo"), None).await?;
        let info = NodeInfo::read(&info)?;
        info.check_network(self.network)?;
        let path = "/v1/newaddress?type=WITNESS_PUBKEY_HASH";
        let made = self.client.ask((Method::GET, path), None).await?;
        Ok(Address {
            address: checked(NewAddress::read(&made)?.address)?,
            since_block: info.block_height.saturating_sub(REORG),
        })
    }

    async fn look_at(&self, address: &Address) -> Result<Deposited, RailError> {
        // To the end of the chain and beyond: what no block holds yet.
        let since = address.since_block;
        let path = format!("/v1/transactions?start_height={since}&end_height=-1");
        let all = self.client.ask((Method::GET, &path), None).await?;
        let all = Transactions::read(&all)?;
        Ok(Deposited {
            seen: all.came_to(&address.address, 0)?,
            confirmed: all.came_to(&address.address, CONFIRMATIONS)?,
        })
    }
}

impl Deposits for Lnd {
    fn new_address(&self) -> BoxFuture<'_, Result<Address, RailError>> {
        self.give_address().boxed()
    }

    fn deposited<'a>(
        &'a self,
        address: &'a Address,
    ) -> BoxFuture<'a, Result<Deposited, RailError>> {
        self.look_at(address).boxed()
    }
}

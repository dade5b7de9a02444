//! A coffee shop that takes Lightning only, somebody who wants a coffee, and somebody who owes her and has a node.

use std::time::Duration;

use anyhow::{Context, Result};
use atomicity_ledger::PaymentHash;
use atomicity_paykit_adapter::rail::{Bolt11, Invoices, Lnd, Msat, NewInvoice, Rail as _};
use serde_json::Value;

use crate::lightning::{Lightning, LightningNode};
use crate::people::{Person, expect};
use crate::town::{befriend, read_news, until_owed};

/// In what they count.
pub const USD: &str = "USD/2";

/// What a coffee costs, in satoshis.
pub const COFFEE_SAT: u64 = 5_000;

/// Hanna holds a claim of 20.00 on Ivan, who has a node. The shop has another, and no wallet of ours.
pub struct Coffee {
    /// The chain and both nodes: Alice's is Ivan's, Bob's the shop's.
    pub network: Lightning,
    /// The shop's node.
    pub shop: Lnd,
    /// Who wants a coffee.
    pub hanna: Person,
    /// Who owes her.
    pub ivan: Person,
}

impl Coffee {
    /// Opens the shop, if there are btcd and lnd. Both people have signed up already; they become friends here.
    ///
    /// # Errors
    /// If anything does not start, or does not go as said.
    pub async fn open(hanna: Person, ivan: Person) -> Result<Option<Self>> {
        let Some(network) = Lightning::start().await? else {
            return Ok(None);
        };
        owe(&hanna, &ivan).await?;
        let shop = network.bob.rail().await?;
        let coffee = Self {
            network,
            shop,
            hanna,
            ivan,
        };
        let added = coffee.ivan.wallet().ok(&coffee.rail().await?).await?;
        expect(&added, "/health/ready", true)?;
        Ok(Some(coffee))
    }

    /// The command by which Ivan lets his node pay.
    ///
    /// # Errors
    /// If the node does not answer.
    pub async fn rail(&self) -> Result<Vec<String>> {
        let node = self.network.alice.rail_config().await?;
        let (cert, macaroon) = (node.certificate.display(), node.macaroon.display());
        let words = format!("rail add lnd --url {} --network simnet --cert", node.url);
        let mut words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        words.extend([
            cert.to_string(),
            "--macaroon".to_owned(),
            macaroon.to_string(),
        ]);
        Ok(words)
    }

    /// Ivan pays up to 50.00 without being asked, at 1,000 sat for a dollar.
    ///
    /// # Errors
    /// If the wallet does not take it.
    pub async fn allow(&self) -> Result<Value> {
        let auto = ["settle", "auto", "--up-to", "50 USD/2", "--rate", "1000sat"];
        self.ivan.wallet().ok(&auto).await
    }

    /// What the shop asks for a coffee. With `hold` it takes the money only once it says so.
    ///
    /// # Errors
    /// If the shop's node does not answer.
    pub async fn invoice(&self, hold: Option<PaymentHash>) -> Result<Bolt11> {
        self.ask_for(COFFEE_SAT, Duration::from_secs(900), hold)
            .await
    }

    /// What the shop asks for a lump of sugar, for half a minute: a tenth of a dollar at Ivan's rate.
    ///
    /// # Errors
    /// If the shop's node does not answer.
    pub async fn small_invoice(&self) -> Result<Bolt11> {
        self.ask_for(100, Duration::from_secs(30), None).await
    }

    async fn ask_for(
        &self,
        sat: u64,
        expiry: Duration,
        hold: Option<PaymentHash>,
    ) -> Result<Bolt11> {
        let wanted = NewInvoice {
            amount: Msat::from_sat(sat)?,
            memo: "a coffee".to_owned(),
            expiry,
            hold,
        };
        Ok(self.takings()?.new_invoice(&wanted).await?)
    }

    /// The shop's till.
    ///
    /// # Errors
    /// If its node makes no invoices.
    pub fn takings(&self) -> Result<&dyn Invoices> {
        self.shop.invoices().context("the shop makes no invoices")
    }
}

/// Ivan and Hanna become friends, and Ivan owes her 20.00.
///
/// # Errors
/// If their wallets do not agree.
pub async fn owe(hanna: &Person, ivan: &Person) -> Result<()> {
    befriend(hanna, ivan, "50.00 USD/2").await?;
    ivan.give(hanna, "20.00 USD/2", "the garden").await?;
    read_news(hanna, ivan).await?;
    until_owed(hanna, ivan, USD, 2000).await
}

/// What a node has in its channels, in millisatoshis.
///
/// # Errors
/// If it does not say.
pub async fn has(node: &LightningNode) -> Result<u64> {
    let balance = node.get("/v1/balance/channels").await?;
    let msat = balance.pointer("/local_balance/msat");
    Ok(msat
        .and_then(Value::as_str)
        .context("no balance")?
        .parse()?)
}

//! Samples of what the key of a payment account asks for.

use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{Invoice, Pass, Pays, Spend, SpendTo};
use atomicity_ledger::{Keypair, RecordId, Signed};

use super::routes::route_samples;
use super::settlements::target;
use super::{Sample, amount, at, cast, sample, unit};

/// The key of the milkman's account for a shop.
pub const SHOP: [u8; 32] = [0x61; 32];
/// The plugin with the milkman's agent.
pub const PLUGIN: [u8; 32] = [0x71; 32];

pub fn account_samples() -> Vec<Sample> {
    let c = cast();
    let plugin = Keypair::from_secret(&PLUGIN).user_key();
    let first = Spend {
        v: Version,
        id: RecordId::from_entropy([0x51; 16]),
        owner: c.milkman.user_key(),
        plugin,
        unit: unit("BREAD/2"),
        amount: amount(200),
        to: SpendTo::Peer(c.baker.user_key()),
        pays: None,
        max_fee: None,
        memo: Some("Zwölf Brötchen 🥐".parse().unwrap()),
        expires: at(60_000),
        at: at(1000),
    };
    let invoice = route_samples();
    let invoice: Signed<Invoice> = Signed::decode(&invoice[0].jws).unwrap();
    let billed = Spend {
        id: RecordId::from_entropy([0x52; 16]),
        amount: amount(500),
        to: SpendTo::Invoice(Box::new(invoice)),
        max_fee: Some(amount(6)),
        memo: None,
        ..first.clone()
    };
    let outside = Spend {
        id: RecordId::from_entropy([0x53; 16]),
        to: SpendTo::Target(target("btc-lightning-bolt11", "lnbcrt50u1coffee")),
        pays: Some(Pays {
            asset: "BTC".parse().unwrap(),
            amount: "0.00005".parse().unwrap(),
        }),
        max_fee: None,
        ..billed.clone()
    };
    let cash = Spend {
        id: RecordId::from_entropy([0x54; 16]),
        to: SpendTo::Target(target("bread-cash-hand", "at the café")),
        pays: None,
        memo: Some("for the cat".parse().unwrap()),
        ..outside.clone()
    };
    let pass = Pass {
        v: Version,
        owner: c.milkman.user_key(),
        plugin,
        expires: at(60_000),
        at: at(1000),
    };
    vec![
        sample("an account pays a friend", SHOP, first),
        sample("an account pays an invoice", SHOP, billed),
        sample("an account pays outside", SHOP, outside),
        sample("an account pays outside what its unit counts", SHOP, cash),
        sample("an account shows who it is", SHOP, pass),
    ]
}

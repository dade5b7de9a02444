//! Rails that can be asked.

use std::sync::Arc;
use std::time::Duration;

use atomicity_ledger::record::Pays;
use atomicity_ledger::{Amount, Asset, Money, Name, Total, Unit};
use atomicity_paykit_adapter::MethodId;
use atomicity_paykit_adapter::choose::OwnWay;
use atomicity_paykit_adapter::rail::{
    BitcoinCore, ClnConfig, CoreAuth, CoreConfig, CoreLightning, Lnd, LndConfig, Manual, Msat,
    Rail, RailError,
};
use url::Url;

use super::super::SettleFault;
use super::super::hand::Kept;
use super::{RailBounds, RailSettings};
use crate::error::ClientError;
use crate::store::Store;

/// How long one question to a node may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A payment by Lightning may cost so much in any case, in millisatoshi: small ones can't be sent for a hundredth.
const LEAST_MAX_FEE_MSAT: u64 = 10_000;
const BITCOIN: &str = "BTC";

/// What is done by a rail, and what it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wallet) enum RailKind {
    /// A Lightning node.
    Lightning,
    /// Transactions on the chain.
    Chain,
    /// People.
    Hand,
}

/// A rail that can be asked.
#[derive(Clone, Debug)]
pub(in crate::wallet) struct OpenRail {
    pub(in crate::wallet) name: Name,
    pub(in crate::wallet) rail: Arc<dyn Rail>,
    pub(in crate::wallet) kind: RailKind,
    /// The most that a payment may cost on top: so many millionths of it, and this much in any case, in millisatoshi.
    pub(in crate::wallet) max_fee: (u32, u64),
    pub(in crate::wallet) bounds: RailBounds,
    /// As what looks for payments that came, if it can.
    pub(in crate::wallet) chain: Option<Arc<BitcoinCore>>,
}

impl OpenRail {
    /// A rail of a Lightning node without bounds.
    pub(in crate::wallet) fn lightning(name: Name, rail: Arc<dyn Rail>, max_fee_ppm: u32) -> Self {
        Self {
            name,
            rail,
            kind: RailKind::Lightning,
            max_fee: (max_fee_ppm, LEAST_MAX_FEE_MSAT),
            bounds: (None, None),
            chain: None,
        }
    }

    /// The most that paying `money` may cost on top.
    pub(in crate::wallet::settle) fn max_fee(&self, money: &Money) -> Total {
        let (ppm, least) = self.max_fee;
        let share = u128::from(money.amount.minor()) * u128::from(ppm) / 1_000_000;
        let fee = u64::try_from(share).unwrap_or(0).max(least);
        Total::from_minor(fee).unwrap_or(Total::ZERO)
    }

    /// Whether a forgotten order may be given again: what the rail remembers lies in the wallet's own store.
    pub(in crate::wallet::settle) fn resumes(&self) -> bool {
        self.kind != RailKind::Lightning
    }

    /// Whether the user wants such an amount to be paid by it.
    pub(in crate::wallet::settle) fn takes(&self, pays: &Pays) -> bool {
        let (min, max) = self.bounds;
        min.is_none_or(|min| pays.amount >= min) && max.is_none_or(|max| pays.amount <= max)
    }

    /// What it can be used for.
    pub(in crate::wallet::settle) fn ways(&self) -> Vec<OwnWay> {
        let mut all: Vec<OwnWay> = Vec::new();
        for method in self.rail.methods() {
            let Some(asset) = self.asset_of(method) else {
                continue;
            };
            match all.last_mut().filter(|way| way.asset == asset) {
                Some(way) => way.methods.push(method.clone()),
                None => all.push(OwnWay {
                    rail: self.name.clone(),
                    methods: vec![method.clone()],
                    asset,
                    min: self.bounds.0,
                    max: self.bounds.1,
                }),
            }
        }
        all
    }

    fn asset_of(&self, method: &MethodId) -> Option<Asset> {
        if self.kind == RailKind::Hand {
            let (asset, _, _) = method.parts()?;
            return asset.to_ascii_uppercase().parse().ok();
        }
        BITCOIN.parse().ok()
    }

    /// What is to be paid, in the unit that the rail counts in. Nothing if it can't pay such an amount.
    pub(in crate::wallet::settle) fn money(&self, pays: &Pays) -> Option<Money> {
        if self.kind != RailKind::Hand {
            let msat = pays.millisatoshi().and_then(|msat| Msat::new(msat).ok());
            return msat?.to_money().ok();
        }
        // Cents, unless it is more exact than that.
        let mut places = [2].into_iter().chain(0..=18);
        places.find_map(|places: u8| {
            let minor = pays.amount.to_minor(places)?;
            let unit: Unit = match places {
                0 => pays.asset.as_str().parse().ok()?,
                _ => format!("{}/{places}", pays.asset.as_str()).parse().ok()?,
            };
            let amount = Amount::from_minor(minor).ok()?;
            Some(Money { amount, unit })
        })
    }
}

pub(super) fn fault(error: &RailError) -> ClientError {
    SettleFault::Rail {
        code: error.code(),
        why: error.to_string(),
    }
    .into()
}

fn address(url: &str, scheme: &str) -> Result<Url, ClientError> {
    url.parse()
        .map_err(|_| ClientError::Usage(format!("{url:?} is no address: write {scheme}://…")))
}

/// The methods of a rail; each names its asset, since nothing else does.
fn methods(names: &[String]) -> Result<Vec<MethodId>, ClientError> {
    let method = |name: &String| match name.parse::<MethodId>() {
        Ok(method) if method.parts().is_some() => Ok(method),
        Ok(_) => Err(ClientError::Usage(format!(
            "{name:?}: a method is named by asset, rail and format, such as eur-sepa-iban"
        ))),
        Err(error) => Err(ClientError::Usage(error.to_string())),
    };
    names.iter().map(method).collect()
}

pub(super) async fn open(
    store: &Store,
    name: &str,
    settings: &RailSettings,
    bounds: RailBounds,
) -> Result<OpenRail, ClientError> {
    let owned = name.to_owned();
    let name: Name = name.parse()?;
    let mut opened = match settings {
        RailSettings::Lnd {
            url,
            certificate,
            macaroon,
            network,
            max_fee_ppm,
        } => {
            let lnd = Lnd::open(LndConfig {
                name: owned,
                url: address(url, "https")?,
                certificate: certificate.clone(),
                macaroon: macaroon.clone(),
                network: *network,
                timeout: TIMEOUT,
            });
            let lnd = lnd.await.map_err(|error| fault(&error))?;
            OpenRail::lightning(name, Arc::new(lnd), *max_fee_ppm)
        }
        RailSettings::Cln {
            url,
            certificate,
            rune,
            network,
            max_fee_ppm,
        } => {
            let cln = CoreLightning::open(ClnConfig {
                name: owned,
                url: address(url, "https")?,
                certificate: certificate.clone(),
                rune: rune.clone(),
                network: *network,
                timeout: TIMEOUT,
            });
            let cln = cln.await.map_err(|error| fault(&error))?;
            OpenRail::lightning(name, Arc::new(cln), *max_fee_ppm)
        }
        RailSettings::Bitcoind { max_fee_sat, .. } => {
            let core = Arc::new(bitcoin_core(store, owned, settings)?);
            OpenRail {
                kind: RailKind::Chain,
                max_fee: (0, max_fee_sat.saturating_mul(1000)),
                chain: Some(core.clone()),
                ..OpenRail::lightning(name, core, 0)
            }
        }
        RailSettings::Manual { methods: names } => {
            let manual = Manual::new(owned, methods(names)?, Kept::shared(store));
            let manual = manual.map_err(|error| fault(&error))?;
            OpenRail {
                kind: RailKind::Hand,
                ..OpenRail::lightning(name, Arc::new(manual), 0)
            }
        }
    };
    opened.bounds = bounds;
    Ok(opened)
}

fn bitcoin_core(
    store: &Store,
    name: String,
    settings: &RailSettings,
) -> Result<BitcoinCore, ClientError> {
    let RailSettings::Bitcoind {
        url,
        wallet,
        user,
        secret,
        chain,
        methods: names,
        target_blocks,
        confirmations,
        ..
    } = settings
    else {
        return Err(ClientError::Internal("no Bitcoin Core node".to_owned()));
    };
    let config = CoreConfig {
        name,
        url: address(url, "http")?,
        wallet: wallet.clone(),
        auth: match user {
            Some(user) => CoreAuth::Password {
                user: user.clone(),
                password: secret.clone(),
            },
            None => CoreAuth::Cookie(secret.clone()),
        },
        chain: chain.clone(),
        methods: methods(names)?,
        target_blocks: *target_blocks,
        confirmations: *confirmations,
        timeout: TIMEOUT,
    };
    BitcoinCore::open(config, Kept::shared(store)).map_err(|error| fault(&error))
}

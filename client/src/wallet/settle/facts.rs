//! What is known about a friend's request before it is judged: whether it may be paid, at which rate, by which rail, and what its invoice
//! says.

use atomicity_ledger::pair::Pair;
use atomicity_ledger::record::{Pays, Settlement, Target};
use atomicity_ledger::settle::{Facts, InvoiceFacts, Quote, Way};
use atomicity_ledger::{Asset, Money, PaymentHash, Timestamp};
use atomicity_paykit_adapter::choose::{self, OwnWay, Payable, choose};
use atomicity_paykit_adapter::rail::{self, Msat, RailError};
use atomicity_paykit_adapter::{Listing, Reader};

use super::super::{Wallet, books, now};
use super::holder::bitcoins;
use super::{OpenRail, quotes};
use crate::error::ClientError;
use crate::store::rails::{self, OwnRate, SettleRule};
use crate::store::settlements::{self, DischargeRow};

/// Requests of one friend that are worked on at the same time.
const MAX_OPEN: usize = 32;
/// What Lightning and the chain pay in.
const BITCOIN: &str = "BTC";

/// What a friend's request needs to go on.
pub(super) enum Verdict {
    /// It can be judged; by this rule, if the user was not asked.
    Judge(Box<Facts>, Option<SettleRule>),
    /// The user has to say something.
    AskUser,
    /// Something that has to be known is not known now.
    Later,
}

/// By whose word a request is paid.
enum Leave {
    /// The user saw both amounts.
    User,
    /// A rule lets it go.
    Rule(SettleRule),
}

impl Wallet {
    /// What is known about a request, if it may be judged without asking the user.
    pub(super) async fn gather(&self, row: &DischargeRow) -> Result<Verdict, ClientError> {
        let asked = row.discharge.settlement().record();
        let mut conn = self.store().read().await?;
        let rule = rails::rule_for(&mut conn, &row.user, &asked.unit).await?;
        let open = settlements::open_with(&mut conn, &row.user).await?.len();
        let pair = books::load(&mut conn, self.user(), row.user).await?;
        drop(conn);
        let pays = asked.payment()?;
        let leave = match rule.filter(|rule| rule.up_to >= asked.amount.minor()) {
            _ if row.approved => Leave::User,
            Some(rule) if is_own(asked, &pays) || prices(rule.rate(), &pays) => Leave::Rule(rule),
            _ => return Ok(Verdict::AskUser),
        };
        let quote = match &leave {
            Leave::User => Some(Quote {
                pays: pays.clone(),
                spread_ppm: 0,
            }),
            Leave::Rule(_) if is_own(asked, &pays) => None,
            Leave::Rule(rule) => match self.quoted_for(rule, asked, &pays.asset).await {
                Ok(quote) => quote,
                Err(error) => {
                    // A price that nobody knows now may be known soon.
                    tracing::info!(code = error.code(), "no rate: {error}");
                    return Ok(Verdict::Later);
                }
            },
        };
        let rails = self.open_rails().await?;
        let invoice = asked.targets.first().filter(|target| target.is_invoice());
        let (ways, invoice) = match invoice {
            Some(target) => invoice_ways(&rails, asked.expires, target, &pays).await,
            None => match self.places_to_pay(&pair, asked).await? {
                Some(places) => (ways(&rails, &pays, &places).await, None),
                None => return Ok(Verdict::Later),
            },
        };
        let facts = Facts {
            unit_known: pair.units().contains(&asked.unit),
            allowed: true,
            busy: open > MAX_OPEN,
            ways,
            invoice,
            quote,
        };
        let rule = match leave {
            Leave::User => None,
            Leave::Rule(rule) => Some(rule),
        };
        Ok(Verdict::Judge(Box::new(facts), rule))
    }

    /// What the rule's rate makes of what a friend asks for.
    async fn quoted_for(
        &self,
        rule: &SettleRule,
        asked: &Settlement,
        into: &Asset,
    ) -> Result<Option<Quote>, ClientError> {
        let debt = quotes::debt(asked);
        self.quoted(rule.rate(), &debt, into, &asked.targets).await
    }

    /// What the user's rate makes of the amount; nothing if no rate will ever say it.
    pub(super) async fn quoted(
        &self,
        rate: OwnRate,
        amount: &Money,
        into: &Asset,
        targets: &[Target],
    ) -> Result<Option<Quote>, ClientError> {
        if rate.msat.is_some() && into.as_str() == BITCOIN {
            return Ok(fixed(rate, amount));
        }
        let places = quotes::places(targets, into);
        match self.quote(amount, into, places).await {
            Ok(quote) => Ok(Some(quote)),
            Err(ClientError::Settle(error)) if error.code() == "rate_pair_missing" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where the friend can be paid: where the request says, else what they gave this user alone and then what everybody can read.
    /// Nothing if that is not known now.
    async fn places_to_pay(
        &self,
        pair: &Pair,
        asked: &Settlement,
    ) -> Result<Option<Vec<Payable>>, ClientError> {
        if !asked.targets.is_empty() {
            let targets = asked.targets.iter();
            return Ok(Some(targets.filter_map(Payable::of_target).collect()));
        }
        let private = pair.private_endpoints(now());
        let reader = Reader::new(self.net().sdk().client().clone());
        match reader.list(&asked.holder).await {
            Ok(listing) => Ok(Some(choose::merged(private, &listing))),
            Err(error) if private.is_empty() => {
                tracing::info!(code = error.code(), "no endpoints: {error}");
                Ok(None)
            }
            Err(_) => Ok(Some(choose::merged(private, &Listing::default()))),
        }
    }
}

/// Whether it asks for what the unit itself counts.
fn is_own(asked: &Settlement, pays: &Pays) -> bool {
    pays.asset == Asset::of(&asked.unit)
}

/// Whether there is a rate for what is to be paid.
fn prices(rate: OwnRate, pays: &Pays) -> bool {
    rate.by_source || rate.msat.is_some() && pays.asset.as_str() == BITCOIN
}

/// What a rate of the user's own makes of the amount.
fn fixed(rate: OwnRate, amount: &Money) -> Option<Quote> {
    let whole = 10u128.checked_pow(u32::from(amount.unit.decimals()))?;
    let worth = u128::from(amount.amount.minor()).checked_mul(u128::from(rate.msat?))?;
    let msat = Msat::new(u64::try_from(worth / whole).ok()?).ok()?;
    Some(Quote {
        pays: bitcoins(msat).ok()?,
        spread_ppm: rate.spread_ppm,
    })
}

/// How the amount can be paid at one of these places: in the order of the rails, then of the places.
pub(super) async fn ways(rails: &[OpenRail], pays: &Pays, places: &[Payable]) -> Vec<Way> {
    let own: Vec<OwnWay> = rails.iter().flat_map(OpenRail::ways).collect();
    let mut found = Vec::new();
    for way in choose(pays, &own, places).ways() {
        let rail = rails.iter().find(|rail| rail.name == way.rail);
        let Some(rail) = rail.filter(|_| !way.target.is_invoice()) else {
            continue;
        };
        match rail.rail.check(way.target.value.as_str()).await {
            // A node that is away is asked again before it is told to pay.
            Err(
                error @ (RailError::TargetMalformed(_)
                | RailError::TargetUnsupported(_)
                | RailError::TargetExpired),
            ) => tracing::info!(code = error.code(), "a place to pay: {error}"),
            _ => found.push(way),
        }
    }
    found
}

/// How an invoice can be paid, and what it says.
pub(super) async fn invoice_ways(
    rails: &[OpenRail],
    expires: Timestamp,
    target: &Target,
    pays: &Pays,
) -> (Vec<Way>, Option<InvoiceFacts>) {
    let fits = |rail: &&OpenRail| {
        let mut methods = rail.rail.methods().iter();
        methods.any(|method| method.as_str() == target.method.as_str()) && rail.takes(pays)
    };
    let able: Vec<&OpenRail> = rails.iter().filter(fits).collect();
    // Without a rail there is nobody who could read it, and no way: that is what is said then.
    let unread = |expires: Timestamp| InvoiceFacts {
        hash: PaymentHash::from_bytes([0; 32]),
        millisatoshi: pays.millisatoshi(),
        expires,
    };
    let mut invoice = able.is_empty().then(|| unread(expires));
    let mut found = Vec::new();
    for rail in able {
        match rail.rail.check(target.value.as_str()).await {
            Ok(quote) => {
                invoice = facts(&quote).or(invoice);
                found.push(Way {
                    rail: rail.name.clone(),
                    target: target.clone(),
                });
            }
            Err(RailError::TargetExpired) => {
                invoice = Some(unread(Timestamp::saturating_from_millis(0)));
            }
            Err(error) => tracing::info!(code = error.code(), "an invoice: {error}"),
        }
    }
    (found, invoice)
}

fn facts(quote: &rail::Quote) -> Option<InvoiceFacts> {
    let amount = quote.amount.as_ref()?;
    Some(InvoiceFacts {
        hash: quote.id?.as_hash(),
        millisatoshi: Msat::from_money(amount).ok().map(Msat::get),
        expires: quote.expires_at?,
    })
}

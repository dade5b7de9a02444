//! What a guest's part costs in bitcoin, and what came is worth.

use atomicity_ledger::{Amount, Asset, Money};
use atomicity_paykit_adapter::rail::{Msat, RailError};

use super::till::fault;
use super::{BITCOIN, Wallet};
use crate::error::ClientError;
use crate::store::requests::guests::GuestRow;

/// In how many decimal places bitcoins are counted here: satoshis, as all wallets do.
const PLACES: u8 = 8;

impl Wallet {
    /// What an amount costs in bitcoin now, in whole satoshis, at least one. What can't be counted has no price.
    pub(super) async fn price_for_guests(&self, money: &Money) -> Result<Msat, ClientError> {
        let bitcoin: Asset = BITCOIN.parse()?;
        let minor = if Asset::of(&money.unit) == bitcoin {
            satoshis(money)
        } else {
            let quote = self.quote(money, &bitcoin, PLACES).await?;
            quote.pays.amount.to_minor(PLACES)
        };
        price_of(minor).map_err(|error| fault(&error))
    }
}

/// So many satoshis, at least one; an error if there is no such number.
fn price_of(sat: Option<u64>) -> Result<Msat, RailError> {
    let sat = sat.ok_or(RailError::AmountUnusable(
        "it is more than can be counted in bitcoin",
    ))?;
    Msat::from_sat(sat.max(1))
}

/// What came is worth as much more or less than what was kept as it is more or less than the price; nothing if that is less than the
/// smallest unit.
pub(super) fn worth(part: &GuestRow, received: Msat) -> Option<Amount> {
    let price = part.place.as_ref()?.price.max(1);
    let minor = u128::from(part.amount.minor()) * u128::from(received.get()) / u128::from(price);
    Amount::from_minor(u64::try_from(minor).ok()?).ok()
}

/// Bitcoins in satoshis, rounded up; nothing if they are too many.
fn satoshis(money: &Money) -> Option<u64> {
    let (minor, places) = (money.amount.minor(), money.unit.decimals());
    match places.checked_sub(PLACES) {
        Some(finer) => Some(minor.div_ceil(10u64.checked_pow(u32::from(finer))?)),
        None => minor.checked_mul(10u64.checked_pow(u32::from(PLACES.checked_sub(places)?))?),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::RecordId;

    use super::*;
    use crate::store::requests::guests::{GuestPlace, GuestStage, GuestWay};

    fn part(minor: u64, price: u64) -> GuestRow {
        GuestRow {
            id: RecordId::from_entropy([1; 16]),
            request: RecordId::from_entropy([2; 16]),
            plugin: String::new(),
            name: None,
            way: GuestWay::Onchain,
            rail: String::new(),
            amount: Amount::from_minor(minor).unwrap(),
            stage: GuestStage::Offered,
            told: None,
            place: Some(GuestPlace {
                place: "sb1q".to_owned(),
                invoice: None,
                since_block: 0,
                price,
                until: 0,
            }),
            reason: None,
            created_at: 0,
            changed_at: 0,
        }
    }

    #[test]
    fn what_came_is_worth_its_share_of_the_price_rounded_down() {
        let worth = |minor, price, came| {
            worth(&part(minor, price), Msat::new(came).unwrap()).map(Amount::minor)
        };
        assert_eq!(worth(3_000, 45_000_000, 45_000_000), Some(3_000));
        assert_eq!(worth(3_000, 45_000_000, 44_999_999), Some(2_999));
        assert_eq!(worth(3_000, 45_000_000, 90_000_000), Some(6_000));
        assert_eq!(worth(1, 45_000_000, 44_999_999), None);
        let most = i64::MAX.unsigned_abs();
        assert_eq!(worth(most, most, most), Some(most));
        assert_eq!(worth(most, 1, most), None);
    }

    #[test]
    fn what_can_not_be_counted_has_no_price_and_least_of_all_a_low_one() {
        let price = |sat| price_of(sat).map(Msat::get).map_err(|error| error.code());
        assert_eq!(price(Some(0)), Ok(1_000));
        assert_eq!(price(Some(25_000)), Ok(25_000_000));
        assert_eq!(price(None), Err("amount_unusable"));
        assert_eq!(price(Some(u64::MAX)), Err("amount_unusable"));
    }

    #[test]
    fn bitcoins_of_any_unit_are_whole_satoshis_and_never_fewer() {
        let sat = |unit: &str, minor| {
            satoshis(&Money {
                amount: Amount::from_minor(minor).unwrap(),
                unit: unit.parse().unwrap(),
            })
        };
        assert_eq!(sat("BTC/8", 150_000), Some(150_000));
        assert_eq!(sat("BTC/11", 1), Some(1));
        assert_eq!(sat("BTC/11", 1_500_001), Some(1_501));
        assert_eq!(sat("BTC/2", 3), Some(3_000_000));
        assert_eq!(sat("BTC", 2), Some(200_000_000));
        assert_eq!(sat("BTC", i64::MAX.unsigned_abs()), None);
    }
}

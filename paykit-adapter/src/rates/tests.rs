#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

const TERMS: Terms = Terms {
    max_age_ms: 60_000,
    spread_ppm: 10_000,
};

fn asset(code: &str) -> Asset {
    code.parse().unwrap()
}

fn number(text: &str) -> Decimal {
    Decimal::read(text).unwrap()
}

fn now() -> Timestamp {
    Timestamp::saturating_from_millis(1_800_000_000_000)
}

fn rate(price: &str) -> Rate {
    let pair = Pair::new(asset("BTC"), asset("USD")).unwrap();
    Rate::new(pair, number(price), Some(now())).unwrap()
}

fn quoted(price: &str, debt: &str, into: &str, places: u8) -> Result<String, &'static str> {
    let debt = Money::parse(debt, &[]).unwrap();
    let quote = rate(price).quote(&debt, &asset(into), places, TERMS, now());
    quote
        .map(|quote| quote.pays.amount.to_string())
        .map_err(|why| why.code())
}

#[test]
fn a_debt_is_worth_the_same_in_both_directions_but_for_rounding_up() {
    for (price, debt, into, places, expected) in [
        ("100000", "5.00 USD/2", "BTC", 11, "0.00005"),
        ("67234.5", "5.00 USD/2", "BTC", 11, "0.00007436659"),
        ("67234.5", "5.00 USD/2", "BTC", 8, "0.00007437"),
        ("67234.5", "0.01 USD/2", "BTC", 8, "0.00000015"),
        ("67234.5", "0.00000001 BTC/8", "USD", 2, "0.01"),
        ("67234.5", "1.00000000 BTC/8", "USD", 2, "67234.5"),
        ("67234.5", "1.00000000 BTC/8", "USD", 0, "67235"),
        ("3", "1 USD", "BTC", 18, "0.333333333333333334"),
        (
            "0.000000000000000001",
            "9 USD",
            "BTC",
            0,
            "9000000000000000000",
        ),
        (
            "999999999999999999",
            "1 USD",
            "BTC",
            18,
            "0.000000000000000002",
        ),
    ] {
        assert_eq!(
            quoted(price, debt, into, places).as_deref(),
            Ok(expected),
            "{debt} at {price}"
        );
    }
    for (price, debt, into, places, expected) in [
        ("1", "5 USD", "EUR", 2, "rate_pair_missing"),
        ("1", "5 EUR/2", "BTC", 2, "rate_pair_missing"),
        ("1", "5 USD", "USD", 2, "rate_pair_missing"),
        ("1", "5 USD", "BTC", 19, "rate_out_of_range"),
        (
            "0.000000000000000001",
            "11 USD",
            "BTC",
            0,
            "rate_out_of_range",
        ),
        (
            "999999999999999999",
            "9000000000000000000 BTC",
            "USD",
            18,
            "rate_out_of_range",
        ),
    ] {
        assert_eq!(
            quoted(price, debt, into, places),
            Err(expected),
            "{debt} at {price}"
        );
    }
}

#[test]
fn a_price_has_to_be_one() {
    let pair = Pair::new(asset("BTC"), asset("USD")).unwrap();
    for price in ["0", "1000000000000000000", "1.234567890123456789"] {
        let refused = Rate::new(pair.clone(), number(price), None).unwrap_err();
        assert_eq!(refused.code(), "rate_price_unusable", "{price}");
    }
    assert!(Pair::new(asset("BTC"), asset("BTC")).is_err());
}

#[tokio::test]
async fn a_fixed_price_ages_only_if_it_says_since_when() {
    let pair = Pair::new(asset("BTC"), asset("USD")).unwrap();
    let source = |set_at| Fixed::new(pair.clone(), number("1"), set_at, TERMS).unwrap();
    let later = now().plus_millis(60_000);
    assert!(source(None).rate(later).await.is_ok());
    assert!(source(Some(now())).rate(now()).await.is_ok());
    let stale = source(Some(now())).rate(later).await.unwrap_err();
    assert_eq!(stale.code(), "rate_stale");
    let ahead = source(Some(later.plus_millis(1)))
        .rate(now())
        .await
        .unwrap_err();
    assert_eq!(ahead.code(), "rate_ahead");
    // What was fresh when it was asked for may be too old when it is used.
    let debt = Money::parse("5 USD", &[]).unwrap();
    let late = rate("1").quote(&debt, &asset("BTC"), 8, TERMS, later);
    assert_eq!(late.unwrap_err().code(), "rate_stale");
}

#[test]
fn what_is_off_gets_an_offer() {
    let pays = |code: &str, amount: &str| Pays {
        asset: asset(code),
        amount: number(amount),
    };
    let mine = pays("BTC", "1");
    for near in ["1", "1.01", "0.99"] {
        assert_eq!(
            judge(&pays("BTC", near), &mine, 10_000),
            Judgement::Agreed,
            "{near}"
        );
    }
    let offer = Judgement::Offer(mine.clone());
    for far in ["1.010000000000000001", "0.989999999999999999", "0"] {
        assert_eq!(judge(&pays("BTC", far), &mine, 10_000), offer, "{far}");
    }
    assert_eq!(judge(&pays("USD", "1"), &mine, 1_000_000), offer);
}

proptest! {
    /// The rounded result is the smallest one that is worth at least the debt: checked by multiplying back, with nothing rounded.
    #[test]
    fn rounding_is_up_and_by_less_than_one(
        debt in 1..1_000_000_000u64,
        price in 1..1_000_000_000_000u64,
        price_places in 0..7u8,
        places in 0..12u8,
    ) {
        let pair = Pair::new(asset("BTC"), asset("USD")).unwrap();
        let rate = Rate::new(pair, Decimal::from_minor(price, price_places).unwrap(), None).unwrap();
        let ten = |n: u8| 10u128.pow(u32::from(n));
        // Paid in bitcoin: got · price ≥ debt > (got − 1) · price, all over the same power of ten.
        let money = Money::parse(&format!("{}.{:02} USD/2", debt / 100, debt % 100), &[]).unwrap();
        let Ok(quote) = rate.quote(&money, &asset("BTC"), places, TERMS, now()) else {
            return Ok(());
        };
        let Some(got) = quote.pays.amount.to_minor(places) else {
            return Ok(());
        };
        let wanted = u128::from(debt) * ten(price_places) * ten(places);
        let worth = |got: u64| u128::from(got) * u128::from(price) * 100;
        prop_assert!(got > 0 && worth(got) >= wanted && worth(got - 1) < wanted);

        // Paid in dollars: got ≥ debt · price > got − 1.
        let money = Money::parse(&format!("{}.{:02} BTC/2", debt / 100, debt % 100), &[]).unwrap();
        let Ok(quote) = rate.quote(&money, &asset("USD"), places, TERMS, now()) else {
            return Ok(());
        };
        let Some(got) = quote.pays.amount.to_minor(places) else {
            return Ok(());
        };
        let wanted = u128::from(debt) * u128::from(price) * ten(places);
        let worth = |got: u64| u128::from(got) * ten(price_places) * 100;
        prop_assert!(got > 0 && worth(got) >= wanted && worth(got - 1) < wanted);
    }
}

#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;
use crate::payload::Payload;
use crate::rail::FailureReason;

const METHODS: [&str; 5] = [
    "btc-lightning-bolt11",
    "btc-bitcoin-address",
    "usd-cash-text",
    "usd-bank-iban",
    "odd.name",
];

fn method(name: &str) -> MethodId {
    name.parse().unwrap()
}

fn number(tenths: u16) -> Decimal {
    Decimal::from_minor(u64::from(tenths), 1).unwrap()
}

/// The same number as Paykit wallets may write it.
fn spelled(tenths: u16) -> Limit {
    format!("00{}.{}0", tenths / 10, tenths % 10)
        .parse()
        .unwrap()
}

prop_compose! {
    fn own_way()(
        rail in 0..3u8,
        methods in proptest::collection::vec(0..METHODS.len(), 0..4),
        bitcoin in any::<bool>(),
        min in proptest::option::of(0..30u16),
        max in proptest::option::of(0..30u16),
    ) -> OwnWay {
        OwnWay {
            rail: format!("rail {rail}").parse().unwrap(),
            methods: methods.into_iter().map(|at| method(METHODS[at])).collect(),
            asset: if bitcoin { "BTC" } else { "USD" }.parse().unwrap(),
            min: min.map(number),
            max: max.map(number),
        }
    }
}

prop_compose! {
    fn payable()(
        at in 0..METHODS.len(),
        value in 0..3u8,
        min in proptest::option::of(0..30u16),
        max in proptest::option::of(0..30u16),
    ) -> Payable {
        Payable {
            method: method(METHODS[at]),
            value: format!("there {value}"),
            min: min.map(spelled),
            max: max.map(spelled),
        }
    }
}

/// Whether this way and this place go together, said anew.
fn fits(pays: &Pays, way: &OwnWay, name: &MethodId, place: &Payable) -> bool {
    let read = |limit: &Limit| Decimal::read(limit.as_str()).unwrap();
    let above = |min: Option<Decimal>| min.is_none_or(|min| min <= pays.amount);
    let below = |max: Option<Decimal>| max.is_none_or(|max| max >= pays.amount);
    let names_asset = place.method.as_str().contains('-');
    let code = pays.asset.as_str().to_lowercase();
    way.asset == pays.asset
        && place.method == *name
        && (!names_asset || place.method.as_str().starts_with(&code))
        && above(way.min)
        && below(way.max)
        && above(place.min.as_ref().map(read))
        && below(place.max.as_ref().map(read))
}

proptest! {
    #[test]
    fn what_is_chosen_fits_both_sides_in_their_order_and_once(
        own in proptest::collection::vec(own_way(), 0..4),
        theirs in proptest::collection::vec(payable(), 0..8),
        amount in 1..30u16,
        bitcoin in any::<bool>(),
    ) {
        let asset: Asset = if bitcoin { "BTC" } else { "USD" }.parse().unwrap();
        let pays = Pays { asset, amount: number(amount) };
        let mut expected: Vec<Candidate> = Vec::new();
        for way in &own {
            for name in &way.methods {
                for place in theirs.iter().filter(|place| fits(&pays, way, name, place)) {
                    let candidate = Candidate {
                        rail: way.rail.clone(),
                        method: name.clone(),
                        value: place.value.clone(),
                    };
                    if !expected.contains(&candidate) {
                        expected.push(candidate);
                    }
                }
            }
        }
        expected.truncate(MAX_CANDIDATES);
        let chosen = choose(&pays, &own, &theirs);
        prop_assert_eq!(chosen.as_slice(), expected.as_slice());
        let distinct: BTreeSet<&Candidate> = chosen.as_slice().iter().collect();
        prop_assert_eq!(distinct.len(), chosen.as_slice().len());
        prop_assert_eq!(chosen.ways().len(), chosen.as_slice().len());

        // One after the other, and each only for a failure of the one before.
        let mut walked = Vec::new();
        let mut turn = chosen.begin();
        while let Some(choice) = turn.take() {
            walked.push(choice.candidate().clone());
            prop_assert_eq!(choice.failed().len() + 1, walked.len());
            let failure = Failure::new(FailureReason::NoRoute, "");
            match choice.failed_for_good(failure) {
                Ok(next) => turn = Some(next),
                Err(Exhausted(failed)) => prop_assert_eq!(failed.len(), walked.len()),
            }
        }
        prop_assert_eq!(walked, expected);
    }
}

fn private(value: &str, max: Option<&str>) -> PrivateEndpoint {
    PrivateEndpoint {
        method: "btc-lightning-bolt11".parse().unwrap(),
        value: value.parse().unwrap(),
        min: None,
        max: max.map(|max| max.parse().unwrap()),
    }
}

fn public(name: &str, value: &str) -> Endpoint {
    Endpoint {
        app: None,
        method: method(name),
        payload: Payload::new(value).unwrap(),
    }
}

#[test]
fn private_endpoints_come_first_and_hide_their_public_twins() {
    let listing = Listing {
        endpoints: vec![
            public("btc-bitcoin-address", "bc1q"),
            public("btc-lightning-bolt11", "shared"),
        ],
        faults: Vec::new(),
    };
    let all = merged(
        &[private("mine", None), private("shared", Some("1"))],
        &listing,
    );
    let values: Vec<&str> = all.iter().map(|place| place.value.as_str()).collect();
    assert_eq!(values, ["mine", "shared", "bc1q"]);
    assert_eq!(all[1].max.as_ref().unwrap().as_str(), "1");
    assert_eq!(merged(&[], &Listing::default()), []);
}

#[test]
fn a_long_list_is_cut_and_what_fits_no_record_is_no_way() {
    let own = OwnWay {
        rail: "node".parse().unwrap(),
        methods: vec![method("odd.name")],
        asset: "BTC".parse().unwrap(),
        min: None,
        max: None,
    };
    let theirs: Vec<Payable> = (0..1000)
        .map(|n| Payable::new(method("odd.name"), n.to_string()))
        .collect();
    let pays = Pays {
        asset: "BTC".parse().unwrap(),
        amount: number(1),
    };
    let chosen = choose(&pays, std::slice::from_ref(&own), &theirs);
    assert_eq!(chosen.as_slice().len(), MAX_CANDIDATES);
    assert_eq!(chosen.as_slice()[31].value, "31");
    let long = Payable::new(method("odd.name"), "x".repeat(5000));
    let chosen = choose(&pays, &[own], &[long]);
    assert_eq!((chosen.as_slice().len(), chosen.ways().len()), (1, 0));
}

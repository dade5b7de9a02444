//! Where somebody can be paid outside the ledger, as the wallet publishes and shows it.

use atomicity_e2e::people::expect;
use atomicity_e2e::town::Town;
use serde_json::Value;

use crate::common::BREAD;

const OFFER: &str = "lno1pqps7sjqpgtyzm3qv4uxzmtsd3jjqer9wd3hy6tsw35k7msjzfpy7nz5yqcnygrfdej82um5wf5k2uckyypwa3eyt44h6txtxquqh7lz5djge4afgfjn7k4rgrkuag0jsd5xvxg";

fn methods(list: &Value) -> Vec<&str> {
    let all = list["endpoints"].as_array().unwrap().iter();
    all.map(|one| one["method"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_publishes_everybody_reads_and_bad_endpoints_are_refused() {
    let town = Town::found(BREAD).await.unwrap();
    let anna = town.person("anna", 0).await.unwrap();
    let ben = town.person("ben", 1).await.unwrap();
    let wallet = anna.wallet();
    let add = ["endpoint", "add", "btc-lightning-bolt12", OFFER];
    wallet
        .ok(&[&add[..], &["--min", "0.00001", "--max", "0.01"]].concat())
        .await
        .unwrap();
    wallet
        .ok(&["endpoint", "add", "eur-sepa-iban", "DE02120300000000202051"])
        .await
        .unwrap();

    // Ben knows her key only; what says which units she keeps books in stands beside it.
    let seen = ben
        .wallet()
        .ok(&["endpoint", "list", anna.key()])
        .await
        .unwrap();
    let expected = [
        "bread-atomicity-ledger",
        "btc-lightning-bolt12",
        "eur-sepa-iban",
    ];
    assert_eq!(methods(&seen), expected, "{seen}");
    expect(&seen, "/endpoints/1/value", OFFER).unwrap();
    expect(&seen, "/endpoints/1/min", "0.00001").unwrap();
    expect(&seen, "/endpoints/1/max", "0.01").unwrap();
    expect(&seen, "/endpoints/1/app", "atomicity").unwrap();

    // Said again it is changed.
    wallet
        .ok(&["endpoint", "add", "eur-sepa-iban", "DE75512108001245126199"])
        .await
        .unwrap();
    let seen = ben
        .wallet()
        .ok(&["endpoint", "list", anna.key()])
        .await
        .unwrap();
    expect(&seen, "/endpoints/2/value", "DE75512108001245126199").unwrap();

    let refused: [&[&str]; 5] = [
        &["endpoint", "add", "bread-atomicity-ledger", "atomicity:me"],
        &["endpoint", "add", "not a method", "x"],
        &["endpoint", "add", "lightning", OFFER],
        &["endpoint", "add", "btc-lightning-bolt12", ""],
        &[
            "endpoint",
            "add",
            "btc-lightning-bolt12",
            OFFER,
            "--min",
            "2",
            "--max",
            "1",
        ],
    ];
    for arguments in refused {
        wallet.fails(2, arguments).await.unwrap();
    }

    let gone = wallet
        .ok(&["endpoint", "remove", "eur-sepa-iban"])
        .await
        .unwrap();
    assert_eq!(gone["removed"], true, "{gone}");
    let again = wallet
        .ok(&["endpoint", "remove", "eur-sepa-iban"])
        .await
        .unwrap();
    assert_eq!(again["removed"], false, "{again}");
    let seen = ben
        .wallet()
        .ok(&["endpoint", "list", anna.key()])
        .await
        .unwrap();
    assert_eq!(
        methods(&seen),
        ["bread-atomicity-ledger", "btc-lightning-bolt12"],
        "{seen}"
    );
}

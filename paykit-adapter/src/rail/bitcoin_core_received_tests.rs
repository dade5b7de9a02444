//! What came to the wallet of a node, and the addresses that it gives.

use super::*;

#[tokio::test]
async fn what_came_is_seen_only_where_how_much_and_how_deep_it_should() {
    let received = |confirmations: i64| {
        let decoded = decoded(TXID, &[CHANGE, PAYS]);
        let result = format!(
            "{{\"amount\":0.00150000,\"confirmations\":{confirmations},\"txid\":\"{TXID}\",\"decoded\":{decoded}}}"
        );
        let params = json!({ "txid": TXID, "verbose": true });
        ask("gettransaction", params, &result)
    };
    let money = |text: &str| Money::parse(text, &[]).unwrap();
    let right = money("0.00150000000 BTC/11");
    let less = money("0.00140000000 BTC/11");
    let output = |n: &str| format!("{TXID}:{n}");
    let cases = [
        (2, output("1"), ADDRESS, &right, true),
        (1, output("1"), ADDRESS, &right, false),
        (-1, output("1"), ADDRESS, &right, false),
        (2, output("0"), ADDRESS, &right, false),
        (2, output("1"), "bcrt1qchange", &right, false),
        (2, output("1"), ADDRESS, &less, false),
    ];
    for (confirmations, output, address, amount, expected) in cases {
        let (replay, rail) = rail(vec![received(confirmations)], &kept()).await;
        let seen = rail.has_received(&output, address, amount).await.unwrap();
        done(replay).await;
        assert_eq!(
            seen, expected,
            "{confirmations} {output} {address} {amount:?}"
        );
    }
    // What is no output is not asked for, and a transaction that the wallet does not know has not come.
    let gone = refuse(received(0), -5, "Invalid or non-wallet transaction id");
    let (replay, rail) = rail(vec![gone], &kept()).await;
    for wrong in ["", "paid in cash", &output("01"), &format!("{TXID}:"), TXID] {
        assert!(!rail.has_received(wrong, ADDRESS, &right).await.unwrap());
    }
    assert!(
        !rail
            .has_received(&output("1"), ADDRESS, &right)
            .await
            .unwrap()
    );
    done(replay).await;
}

#[tokio::test]
async fn a_new_address_is_given_and_what_comes_to_it_counts_once_it_is_deep() {
    let drawer = Arc::new(Drawer::default());
    let chain = |name: &str| {
        let result = format!(
            "{{\"chain\":\"{name}\",\"blocks\":7,\"headers\":7,\"initialblockdownload\":false}}"
        );
        ask("getblockchaininfo", json!([]), &result)
    };
    let given = ask("getnewaddress", json!([]), &format!("\"{ADDRESS}\""));
    let came = |depth: u32, sum: &str| ask("getreceivedbyaddress", json!([ADDRESS, depth]), sum);
    let exchanges = vec![
        chain("regtest"),
        given,
        came(2, "0.00000000"),
        came(0, "0.00150000"),
        came(2, "0.00150000"),
        came(0, "0.00150001"),
    ];
    let (replay, node) = rail(exchanges, &drawer).await;
    let till = node.deposits().unwrap();
    let address = till.new_address().await.unwrap();
    assert_eq!(address.address, ADDRESS);
    let first = till.deposited(&address).await.unwrap();
    let second = till.deposited(&address).await.unwrap();
    done(replay).await;
    let sat = |sat| Msat::from_sat(sat).unwrap();
    assert_eq!((first.confirmed, first.seen), (Msat::ZERO, sat(150_000)));
    assert_eq!(
        (second.confirmed, second.seen),
        (sat(150_000), sat(150_001))
    );

    // A node of another chain, and one that says something else than an address.
    let (replay, node) = rail(vec![chain("main")], &drawer).await;
    let refused = node.deposits().unwrap().new_address().await.unwrap_err();
    assert_eq!(refused.code(), "rail_config_invalid");
    done(replay).await;
    let odd = ask("getnewaddress", json!([]), "\"bitcoin:x?amount=1\"");
    let (replay, node) = rail(vec![chain("regtest"), odd], &drawer).await;
    let refused = node.deposits().unwrap().new_address().await.unwrap_err();
    assert_eq!(refused.code(), "rail_answer_malformed");
    done(replay).await;
}

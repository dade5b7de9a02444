//! Debts that are paid off in another currency, and what a rule lets go in a day.

use atomicity_ledger::record::Pays;

use super::*;
use crate::config::RateConfig;

/// The milkman's wallet with a fixed rate for euros.
async fn with_rate(shop: &mut Shop, price: &str) {
    let mut config = shop.milkman.wallet.config().clone();
    let assets = ("BREAD".parse().unwrap(), "EUR".parse().unwrap());
    config.rates = vec![RateConfig {
        pair: atomicity_paykit_adapter::rates::Pair::new(assets.0, assets.1).unwrap(),
        price: Some(price.parse().unwrap()),
        url: None,
        pointer: String::new(),
        time: None,
        terms: atomicity_paykit_adapter::rates::Terms {
            max_age_ms: 60_000,
            spread_ppm: 10_000,
        },
        reuse_ms: 0,
    }];
    shop.milkman.wallet.store().close().await;
    shop.milkman.wallet = Wallet::open(&config).await.unwrap();
    shop.milkman.wallet.note_checked();
}

#[tokio::test]
async fn another_currency_needs_a_rate_and_a_day_has_a_limit() {
    let mut shop = owed().await;
    by_hand(&shop.milkman, "purse", &["eur-cash-hand"]).await;
    let place = [target("eur-cash-hand", "at the oven")];
    let euros = |amount: &str| {
        OutsidePays::Exactly(Pays {
            asset: "EUR".parse().unwrap(),
            amount: Decimal::read(amount).unwrap(),
        })
    };
    let rule = |by_source: bool, per_day: u64| {
        let mut rule = SettleRule::up_to(money("0.50 BREAD/2"), None, None, 0);
        rule.by_source = by_source;
        rule.per_day = Some(per_day);
        rule
    };
    // Without a rate the user is asked, and by a rule that goes by rates it is declined.
    let milkman = shop.milkman.wallet.clone();
    milkman.pay_by_itself(&rule(false, 100)).await.unwrap();
    let id = shop.ask_outside(&place, euros("1.00")).await;
    shop.go_on().await;
    assert_eq!(shop.stage(&id).await.1, "received");
    milkman.pay_by_itself(&rule(true, 100)).await.unwrap();
    shop.go_on().await;
    let view = shop.baker.wallet.settlement(&id).await.unwrap();
    assert_eq!(view.reason, Some(SettleReason::RateOff));

    with_rate(&mut shop, "2").await;
    let dear = shop.ask_outside(&place, euros("1.02")).await;
    shop.go_on().await;
    let view = shop.baker.wallet.settlement(&dear).await.unwrap();
    assert_eq!(view.reason, Some(SettleReason::RateOff));
    assert_eq!(view.offer.unwrap().amount.to_string(), "1");
    let waits = shop.milkman.wallet.settlement(&dear).await.unwrap();
    let own = shop.milkman.wallet.own_rate_for(&waits).await.unwrap();
    assert_eq!(own.unwrap().amount.to_string(), "1");

    // Two of 0.50 fit into a day of 1.00; the third asks. One that ends unpaid gives its room back.
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(shop.ask_outside(&place, euros("1.01")).await);
        shop.go_on().await;
    }
    assert_eq!(shop.stage(&asked[0]).await.1, "dispatched");
    assert_eq!(shop.stage(&asked[1]).await.1, "dispatched");
    assert_eq!(shop.stage(&asked[2]).await.1, "received");
    shop.say(&asked[0], None).await.unwrap();
    shop.go_on().await;
    assert_eq!(shop.stage(&asked[0]).await.1, "failed");
    assert_eq!(shop.stage(&asked[2]).await.1, "dispatched");
    let view = shop.milkman.wallet.settlement(&asked[2]).await.unwrap();
    assert_eq!(view.by_hand, Some(money("1.01 EUR/2")));
}

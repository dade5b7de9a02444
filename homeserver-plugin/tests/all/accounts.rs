//! Who has an account.

use atomicity_ledger::UserKey;
use pkarr::SignedPacket;
use reqwest::Method;

use crate::support::plugin::Plugin;

#[tokio::test]
async fn an_account_is_made_kept_closed_and_opened_again() {
    let plugin = Plugin::start().await;
    let account = plugin.visitor().await;
    account
        .call(Method::GET, "/v0/me", None)
        .await
        .assert_problem(404, "account_unknown");
    account
        .receive(&account.stranger("early"))
        .await
        .assert_problem(404, "account_unknown");
    let made = account.call(Method::PUT, "/v0/me", None).await;
    made.assert_status(201);
    assert_eq!(made.body["user"], account.z32());
    let kept = account.call(Method::PUT, "/v0/me", None).await;
    kept.assert_status(200);
    assert_eq!(kept.body["registered_at"], made.body["registered_at"]);
    account
        .receive(&account.stranger("in time"))
        .await
        .assert_status(201);

    account
        .call(Method::DELETE, "/v0/me", None)
        .await
        .assert_status(204);
    account
        .receive(&account.stranger("late"))
        .await
        .assert_problem(410, "account_moved");
    // The sender of what came in time only missed the answer.
    account
        .receive(&account.stranger("in time"))
        .await
        .assert_status(200);
    assert_eq!(account.waiting().await, [1]);
    let closed = account.call(Method::GET, "/v0/me", None).await;
    assert!(closed.body["closed_at"].is_u64());

    account
        .call(Method::PUT, "/v0/me", None)
        .await
        .assert_status(201);
    assert_eq!(
        account
            .receive(&account.stranger("late"))
            .await
            .assert_status(201)
            .id(),
        2
    );
    assert_eq!(account.waiting().await, [1, 2]);
}

#[tokio::test]
async fn an_unchanged_account_is_not_sent_twice() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    let first = account.call(Method::GET, "/v0/me", None).await;
    let etag = first.headers["etag"].clone();
    let again = account
        .request(Method::GET, "/v0/me")
        .header("if-none-match", etag.clone());
    assert_eq!(again.send().await.unwrap().status(), 304);
    account
        .receive(&account.stranger("news"))
        .await
        .assert_status(201);
    let changed = account
        .request(Method::GET, "/v0/me")
        .header("if-none-match", etag);
    assert_eq!(changed.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn there_are_only_so_many_accounts() {
    let plugin = Plugin::start_with(|config| config.accounts.max = 1).await;
    let first = plugin.user().await;
    let second = plugin.visitor().await;
    second
        .call(Method::PUT, "/v0/me", None)
        .await
        .assert_problem(403, "accounts_full");
    first
        .call(Method::PUT, "/v0/me", None)
        .await
        .assert_status(200);
}

/// Publishes that `user` lives at `home`.
async fn publish_home(network: &mainline::Testnet, user: &pubky::Keypair, home: &UserKey) {
    let client = pkarr::Client::builder()
        .no_default_network()
        .bootstrap(&network.bootstrap)
        .dht_report_policy(pkarr::dht::ReportPolicy::testnet())
        .build()
        .unwrap();
    let z32 = home.to_z32();
    let target = pkarr::dns::rdata::SVCB::new(0, z32.as_str().try_into().unwrap());
    let packet = SignedPacket::builder()
        .https("_pubky".try_into().unwrap(), target, 3_600)
        .sign(user.as_inner())
        .unwrap();
    client.publish(&packet).await.unwrap();
}

#[tokio::test]
async fn only_users_of_the_operators_homeserver_may_register() {
    let network = mainline::Testnet::builder(4).build().unwrap();
    let key = |n: u8| atomicity_ledger::Keypair::from_secret(&[n; 32]).user_key();
    let plugin = Plugin::start_with(|config| {
        config.accounts.open_registration = false;
        config.accounts.homeserver = Some(key(1));
        config.network.dht_bootstrap.clone_from(&network.bootstrap);
        config.network.resolve_timeout_ms = 5_000;
    })
    .await;
    let (local, foreign, nowhere) = (
        plugin.visitor().await,
        plugin.visitor().await,
        plugin.visitor().await,
    );
    publish_home(&network, &local.user.root, &key(1)).await;
    publish_home(&network, &foreign.user.root, &key(2)).await;
    local
        .call(Method::PUT, "/v0/me", None)
        .await
        .assert_status(201);
    foreign
        .call(Method::PUT, "/v0/me", None)
        .await
        .assert_problem(403, "not_a_local_user");
    nowhere
        .call(Method::PUT, "/v0/me", None)
        .await
        .assert_problem(403, "not_a_local_user");
    foreign
        .receive(&foreign.stranger("x"))
        .await
        .assert_problem(404, "account_unknown");
}

//! While the service takes no new work, whoever wants to end something still can.

use pubky::Keypair;
use reqwest::Method;
use serde_json::json;

use super::{SESSION, log_in, pages};
use crate::admin::PASSWORD;
use crate::support::browser::{Browser, Relay, Shown};
use crate::support::plugin::{Answer, Plugin};

async fn drain(plugin: &Plugin) {
    let address = plugin.addresses.admin.unwrap();
    let url = format!("http://{address}/v0/admin/drain");
    let request = plugin.http.request(Method::POST, url).bearer_auth(PASSWORD);
    Answer::of(request.json(&json!({"draining": true})))
        .await
        .assert_status(200);
}

async fn propose(browser: &Browser) -> (Shown, String) {
    let page = browser.get("/wallet/proposals").await;
    let action = "/wallet/proposals/friend";
    let (csrf, id) = (page.field(action, "csrf"), page.field(action, "id"));
    let friend = Keypair::random().public_key().z32();
    let fields = [
        ("csrf", csrf.as_str()),
        ("id", &id),
        ("user", &friend),
        ("name", "Ben"),
    ];
    (browser.post(action, &fields).await, id)
}

#[tokio::test]
async fn while_it_drains_the_page_begins_nothing_and_ends_what_is_open() {
    let relay = Relay::start().await;
    let plugin = Plugin::start_with(|config| {
        pages(config, &relay);
        config.admin.enabled = true;
        config.admin.listen = "127.0.0.1:0".parse().unwrap();
        config.admin.password = Some(PASSWORD.to_owned());
    })
    .await;
    let account = plugin.user().await;
    let browser = Browser::new(&format!("http://{}", plugin.addresses.http));
    log_in(&browser, &account.user.root).await;
    let (made, id) = propose(&browser).await;
    assert_eq!(made.status, 303, "{}", made.html);
    drain(&plugin).await;

    let (refused, _) = propose(&browser).await;
    refused.assert_code(503, "draining");
    browser
        .post("/wallet/login", &[])
        .await
        .assert_code(503, "draining");
    let page = browser.get("/wallet/proposals").await;
    let csrf = page.field("/wallet/proposals/friend", "csrf");
    let back = format!("/wallet/proposals/{id}/withdraw");
    let shown = browser.submit(&back, &[("csrf", &csrf)]).await;
    assert!(shown.html.contains("Taken back"), "{}", shown.html);
    // Here there is no agent, and no invoice: what is said about that is not that it drains.
    for (path, code) in [
        ("/wallet/accounts/end", "body_malformed"),
        ("/wallet/agent/stop", "agent_off"),
        ("/wallet/invoices/x/withdraw", "agent_off"),
        ("/wallet/sessions/end", "body_malformed"),
    ] {
        let answer = browser.post(path, &[("csrf", &csrf)]).await;
        assert!(
            answer.html.contains(code) && answer.status != 503,
            "{path}: {}",
            answer.html
        );
    }
    browser.post("/wallet/logout", &[("csrf", &csrf)]).await;
    assert!(browser.cookie(SESSION).is_none());
}

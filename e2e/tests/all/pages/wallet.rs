//! The wallet page: log-in by an authenticator over a relay, balances as they change, a friend paid by the agent.

use atomicity_e2e::people::expect;
use atomicity_e2e::town::engage;
use atomicity_e2e::{World, wait};

use super::place::{Place, accepted, log_in};
use super::{PHONE, Visitor};
use crate::common::BREAD;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_logs_in_by_their_authenticator_sees_their_balances_change_and_pays_a_friend() {
    let mut world = World::start().await.unwrap();
    let place = Place::found(&mut world, BREAD).await;
    engage(&place.anna, &[], &[&place.ben]).await.unwrap();
    let Some(mut visitor) = Visitor::come(&world).await else {
        return;
    };
    let (anna, ben) = (&place.anna, &place.ben);
    visitor
        .inspect(&format!("{}/wallet", place.base), "wallet-login")
        .await;
    log_in(&world, &mut visitor, &place).await;
    let overview = format!("{}/wallet", place.base);
    visitor.inspect(&overview, "wallet").await;

    // What a friend does stands there without the page being loaded again.
    visitor.browser.goto(&overview).await.unwrap();
    visitor.browser.eval("window.same = true").await.unwrap();
    ben.give(anna, "3.00 BREAD/2", "cake").await.unwrap();
    let owes = "window.same === true && document.querySelector('.balance data').value === '3.00'";
    visitor.browser.until(owes).await.unwrap();

    // Paying goes by way of a question.
    let friend = format!("{}/wallet/friends/{}", place.base, ben.key());
    visitor.inspect(&friend, "wallet-friend").await;
    visitor.browser.goto(&friend).await.unwrap();
    let fill = "const form = document.querySelector('form[action=\"/wallet/pay/check\"]'); \
        form.querySelector('[name=\"amount\"]').value = '5.00'; form.requestSubmit()";
    visitor.browser.eval(fill).await.unwrap();
    visitor
        .browser
        .until("document.querySelector('form[action=\"/wallet/pay\"]') !== null")
        .await
        .unwrap();
    visitor
        .browser
        .eval("document.querySelector('form[action=\"/wallet/pay\"]').requestSubmit()")
        .await
        .unwrap();
    let owing = "document.querySelector('.balance data')?.value === '-2.00'";
    visitor.browser.until(owing).await.unwrap();
    wait::until("both wallets to know of it", || async {
        ben.sync().await?;
        anna.sync().await?;
        expect(&ben.account(anna, BREAD).await?, "/net", "200")?;
        expect(&anna.account(ben, BREAD).await?, "/net", "-200")
    })
    .await
    .unwrap();
    visitor
        .inspect(&format!("{}/wallet/history", place.base), "wallet-history")
        .await;
    visitor
        .inspect(
            &format!("{}/wallet/sessions", place.base),
            "wallet-sessions",
        )
        .await;

    // What the agent may not sign, the wallet does, once its user says so there.
    let proposals = format!("{}/wallet/proposals", place.base);
    visitor.inspect(&proposals, "wallet-proposals").await;
    visitor.browser.goto(&proposals).await.unwrap();
    let fill = format!(
        "const form = document.querySelector('form[action=\"/wallet/proposals/limit\"]'); \
        form.querySelector('[name=\"user\"]').value = '{}'; form.querySelector('[name=\"accept\"]').value = '33.00'; \
        form.querySelector('[name=\"unit\"]').value = 'BREAD/2'; form.requestSubmit()",
        ben.key()
    );
    visitor.browser.eval(&fill).await.unwrap();
    visitor
        .browser
        .until("document.querySelector('[data-proposal]')?.dataset.state === 'open'")
        .await
        .unwrap();
    let waits = anna.wallet().ok(&["proposals"]).await.unwrap();
    assert_eq!(waits["proposals"][0]["kind"], "limit", "{waits}");
    let id = waits["proposals"][0]["id"].as_str().unwrap();
    let done = anna
        .wallet()
        .ok(&["proposals", "accept", id, "--yes"])
        .await
        .unwrap();
    assert_eq!(done["state"], "done", "{done}");
    visitor
        .browser
        .until("document.querySelector('[data-proposal]')?.dataset.state === 'done'")
        .await
        .unwrap();
    let sheet = anna.account(ben, BREAD).await.unwrap();
    assert_eq!(sheet["line_for_them"], "3300", "{sheet}");

    // Asking to be paid is one, too.
    let cake = [("amount", "4"), ("unit", BREAD), ("memo", "cake")];
    accepted(&mut visitor, anna, ("ask", &cake)).await;
    let asks = anna.wallet().ok(&["request", "list"]).await.unwrap();
    expect(&asks, "/requests/0/memo", "cake").unwrap();

    // A rule about many, and an app that may spend until it may not.
    let rule = [
        ("about", "anyone"),
        ("accept", "5"),
        ("cap", "20"),
        ("unit", BREAD),
    ];
    accepted(&mut visitor, anna, ("rule", &rule)).await;
    let rules = anna.wallet().ok(&["rule", "list"]).await.unwrap();
    assert_eq!(rules["rules"].as_array().unwrap().len(), 1, "{rules}");
    expect(&rules, "/rules/0/total", "2000").unwrap();
    let app = pubky::Keypair::random().public_key().z32();
    let shop = [
        ("name", "shop"),
        ("key", app.as_str()),
        ("per_day", "5"),
        ("unit", BREAD),
    ];
    accepted(&mut visitor, anna, ("account", &shop)).await;
    let accounts = anna.wallet().ok(&["account", "list"]).await.unwrap();
    expect(&accounts, "/accounts/0/name", "shop").unwrap();
    expect(&accounts, "/accounts/0/account", app.as_str()).unwrap();
    expect(&accounts, "/accounts/0/left_today", "500").unwrap();
    accepted(&mut visitor, anna, ("revoke", &[("key", app.as_str())])).await;
    let accounts = anna.wallet().ok(&["account", "list"]).await.unwrap();
    expect(&accounts, "/accounts/0/state", "revoked").unwrap();

    // No script can reach the cookie; and who has logged out is out.
    let (width, height) = PHONE;
    visitor.browser.resize(width, height).await.unwrap();
    visitor
        .browser
        .goto(&format!("{}/wallet/sessions", place.base))
        .await
        .unwrap();
    let cookies = visitor.browser.eval("document.cookie").await.unwrap();
    assert_eq!(cookies, "");
    visitor
        .browser
        .eval("document.querySelector('form[action=\"/wallet/logout\"]').requestSubmit()")
        .await
        .unwrap();
    visitor
        .browser
        .until("document.querySelector('form[action=\"/wallet/login\"]') !== null")
        .await
        .unwrap();
    let asked = "fetch('/wallet/history').then((answer) => answer.status)";
    assert_eq!(visitor.number(asked).await, 401);
}

//! The wallet page: log-in by an authenticator over a relay, balances as they change, a friend paid by the agent.

use atomicity_e2e::people::{Person, Site, expect};
use atomicity_e2e::promises::Cosigned;
use atomicity_e2e::town::{agent_settings, befriend, engage, settle_at};
use atomicity_e2e::{World, wait};

use super::{PHONE, Visitor};
use crate::common::BREAD;

/// Anna has an agent and looks at the page; Ben keeps his own books.
struct Place {
    anna: Person,
    ben: Person,
    base: String,
    _sites: [Site; 2],
    _log: Cosigned,
}

impl Place {
    async fn found(world: &mut World) -> Self {
        let relay = world.relay().await.unwrap();
        let log = Cosigned::start(world, "log", 3600).await.unwrap();
        let homeserver = world.homeserver("h1").await.unwrap();
        let mut options = world.plugin_options("agents", &homeserver).await.unwrap();
        options.more.extend(agent_settings(&log));
        options.more.push("pages.enabled=true".to_owned());
        options.more.push(format!("pages.relay={relay:?}"));
        let plugin = world.plugin_with("agents", options).await.unwrap();
        let base = plugin.http_url();
        let site = Site { homeserver, plugin };
        let other = Site::open(world, "h2").await.unwrap();
        let anna = settle_at(world, "anna", (&site, BREAD), &log).await;
        let ben = settle_at(world, "ben", (&other, BREAD), &log).await;
        let (anna, ben) = (anna.unwrap(), ben.unwrap());
        befriend(&anna, &ben, "20.00 BREAD/2").await.unwrap();
        engage(&anna, &[], &[&ben]).await.unwrap();
        Self {
            anna,
            ben,
            base,
            _sites: [site, other],
            _log: log,
        }
    }
}

/// Begins a log-in, approves it with an authenticator that holds the key of `person`, and waits for the overview.
async fn log_in(world: &World, visitor: &mut Visitor, place: &Place) {
    let browser = &mut visitor.browser;
    browser
        .goto(&format!("{}/wallet", place.base))
        .await
        .unwrap();
    let press = "document.querySelector('form[action=\"/wallet/login\"] button').click()";
    browser.eval(press).await.unwrap();
    let code = "document.querySelector('#pubkyauth') !== null && document.querySelector('svg.qr') !== null";
    browser.until(code).await.unwrap();
    let link = browser.eval("document.querySelector('#pubkyauth').href");
    let link = link.await.unwrap();
    let root = place.anna.wallet().root().unwrap();
    let authenticator = world.sdk().unwrap().signer(root);
    authenticator
        .approve_auth(link.as_str().unwrap())
        .await
        .unwrap();
    // The page goes on by itself.
    browser
        .until("document.querySelector('[data-live=\"overview\"]') !== null")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_logs_in_by_their_authenticator_sees_their_balances_change_and_pays_a_friend() {
    let mut world = World::start().await.unwrap();
    let place = Place::found(&mut world).await;
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
        .ok(&["proposals", "accept", id])
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
    visitor.browser.goto(&proposals).await.unwrap();
    let fill = "const form = document.querySelector('form[action=\"/wallet/proposals/ask\"]'); \
        form.querySelector('[name=\"amount\"]').value = '4'; form.querySelector('[name=\"unit\"]').value = 'BREAD/2'; \
        form.querySelector('[name=\"memo\"]').value = 'cake'; form.requestSubmit()";
    visitor.browser.eval(fill).await.unwrap();
    let waits = "document.querySelectorAll('[data-proposal]').length === 2";
    visitor.browser.until(waits).await.unwrap();
    let asked = anna.wallet().ok(&["proposals"]).await.unwrap();
    assert_eq!(asked["proposals"][0]["kind"], "ask", "{asked}");
    let id = asked["proposals"][0]["id"].as_str().unwrap();
    let accept = ["proposals", "accept", id];
    expect(&anna.wallet().ok(&accept).await.unwrap(), "/state", "done").unwrap();
    let asks = anna.wallet().ok(&["request", "list"]).await.unwrap();
    expect(&asks, "/requests/0/memo", "cake").unwrap();

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

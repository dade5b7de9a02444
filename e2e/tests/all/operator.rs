//! The operator's page in a real Chromium.

use atomicity_e2e::browser::Browser;
use atomicity_e2e::people::{Person, Site};
use atomicity_e2e::{World, ports};
use serde_json::{Value, json};

use crate::visitor::Visitor;

const PASSWORD: &str = "an operator's password";
const HOSTILE: &str = "<script>document.title='caught'</script>\u{202e}txet";

/// A site whose plugin has a listener for operators; its address.
async fn operated(world: &World) -> (Site, String) {
    let mut site = Site::open(world, "h").await.unwrap();
    let port = ports::free().unwrap();
    site.plugin.stop().await.unwrap();
    site.plugin.options_mut().more.extend([
        "admin.enabled=true".to_owned(),
        format!("admin.listen=\"127.0.0.1:{port}\""),
        format!("admin.password=\"{PASSWORD}\""),
        "agent.enabled=true".to_owned(),
        "router.enabled=true".to_owned(),
    ]);
    site.plugin.start().await.unwrap();
    (site, format!("http://127.0.0.1:{port}"))
}

async fn log_in(browser: &mut Browser, password: &str) {
    browser.fill("#password", password).await.unwrap();
    browser.click("main button").await.unwrap();
}

/// The page is no wider than a telephone, and has one heading of the first level.
async fn fits(browser: &mut Browser) {
    let wide = browser.eval("document.documentElement.scrollWidth");
    let wide = wide.await.unwrap().as_u64().unwrap();
    let address = browser.eval("location.pathname").await.unwrap();
    assert!(wide <= 360, "{address} is {wide} wide");
    let headings = browser.eval("document.querySelectorAll('h1').length");
    assert_eq!(headings.await.unwrap(), 1, "{address}");
    let bare = "[...document.querySelectorAll('input:not([type=hidden])')].filter((it) => it.labels.length === 0).length";
    assert_eq!(browser.eval(bare).await.unwrap(), 0, "{address}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_logs_in_sees_and_acts() {
    let world = World::start().await.unwrap();
    let Some(mut browser) = Browser::start(&world).await.unwrap() else {
        return;
    };
    let (site, url) = operated(&world).await;
    let mut baker = Person::new(&world, "baker").unwrap();
    baker.join(&site, "BREAD/2").await.unwrap();
    browser.resize(360, 700).await.unwrap();

    // Whoever comes without a session is led to where one logs in.
    browser.goto(&format!("{url}/accounts")).await.unwrap();
    browser.sees("For whoever runs this plugin").await.unwrap();
    fits(&mut browser).await;
    // The answer to a wrong password is a 401, of which the browser tells.
    assert_eq!(browser.complaints(), Vec::<String>::new());
    log_in(&mut browser, "wrong").await;
    browser.sees("That is not the password.").await.unwrap();
    browser.complaints();
    log_in(&mut browser, PASSWORD).await;
    browser.sees("How it stands").await.unwrap();
    browser.sees("serving").await.unwrap();
    fits(&mut browser).await;

    let cookies = browser.call("Network.getCookies", json!({"urls": [url]}));
    let cookies = cookies.await.unwrap();
    let cookies: Vec<&Value> = cookies["cookies"].as_array().unwrap().iter().collect();
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    assert_eq!(cookies[0]["httpOnly"], true);
    assert_eq!(cookies[0]["sameSite"], "Strict");
    assert_eq!(browser.eval("document.cookie").await.unwrap(), "");

    // One account is looked for, switched off with a reason that is only text, and on again.
    browser.goto(&format!("{url}/accounts")).await.unwrap();
    fits(&mut browser).await;
    browser.fill("#user", baker.key()).await.unwrap();
    browser.click("main form button").await.unwrap();
    browser.sees("What can be done").await.unwrap();
    fits(&mut browser).await;
    browser.fill("#reason", HOSTILE).await.unwrap();
    browser.click("form[action$=disable] button").await.unwrap();
    browser.sees("switched off: <script>").await.unwrap();
    assert_eq!(
        browser.eval("document.title").await.unwrap(),
        "An account – Operator"
    );
    fits(&mut browser).await;
    let refused = baker.wallet().run(&["sync"]).await.unwrap();
    assert!(
        refused.stderr.contains("account_disabled") || refused.stdout.contains("account_disabled"),
        "{refused}"
    );
    browser.click("form[action$=enable] button").await.unwrap();
    browser.sees("Switch it off").await.unwrap();
    baker.sync().await.unwrap();

    // A form that no page of this session made changes nothing.
    let forged = "fetch('/drain', {method: 'POST', body: new URLSearchParams({csrf: 'x', draining: 'true'})}).then((it) => it.status)";
    assert_eq!(browser.eval(forged).await.unwrap(), 403);
    browser.complaints();
    browser.goto(&url).await.unwrap();
    browser.click("form[action='/drain'] button").await.unwrap();
    browser
        .sees("draining: no new work is taken")
        .await
        .unwrap();
    browser.click("form[action='/drain'] button").await.unwrap();
    browser.sees("serving").await.unwrap();
    browser.goto(&format!("{url}/audit")).await.unwrap();
    for action in ["disable_account", "enable_account", "drain", "end_drain"] {
        browser.sees(action).await.unwrap();
    }
    fits(&mut browser).await;
    assert_eq!(browser.complaints(), Vec::<String>::new());

    browser.goto(&url).await.unwrap();
    browser
        .click("form[action='/logout'] button")
        .await
        .unwrap();
    browser.sees("For whoever runs this plugin").await.unwrap();
    browser.goto(&url).await.unwrap();
    browser.sees("For whoever runs this plugin").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_can_use_the_operators_pages() {
    let world = World::start().await.unwrap();
    let Some(mut visitor) = Visitor::come(&world).await else {
        return;
    };
    let (site, url) = operated(&world).await;
    let mut baker = Person::new(&world, "baker").unwrap();
    baker.join(&site, "BREAD/2").await.unwrap();
    let at = |path: &str| format!("{url}{path}");
    visitor.inspect(&at("/login"), "operator-login").await;
    log_in(&mut visitor.browser, PASSWORD).await;
    visitor.browser.sees("How it stands").await.unwrap();
    visitor.inspect(&at("/"), "operator").await;

    let account = format!("/accounts/{}", baker.key());
    visitor.browser.goto(&at(&account)).await.unwrap();
    let switch = &mut visitor.browser;
    switch
        .fill("#reason", "sends what nobody asked for")
        .await
        .unwrap();
    switch.click("form[action$=disable] button").await.unwrap();
    switch.sees("switched off: sends").await.unwrap();
    visitor.inspect(&at(&account), "operator-account").await;
    for (path, name) in [
        ("/accounts", "operator-accounts"),
        (&format!("{account}/signatures"), "operator-signatures"),
        ("/audit", "operator-audit"),
        ("/keys", "operator-keys"),
        ("/docs", "operator-docs"),
    ] {
        visitor.inspect(&at(path), name).await;
    }
    visitor.camera = false;
    // A page that is not there is one too; the browser tells of the 404.
    visitor.browser.goto(&at("/nowhere")).await.unwrap();
    visitor.browser.complaints();
    visitor.inspect_here("operator-error").await;
}

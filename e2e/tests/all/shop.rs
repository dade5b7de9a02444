//! The example of a web app in a real Chromium: a shop that shows a customer what they have there, and says in words what is missing.

mod module;
mod server;

use atomicity_e2e::browser::Browser;
use atomicity_e2e::people::{Person, Site, string};
use atomicity_e2e::{World, town};
use serde_json::json;

use crate::common::settle;
use crate::visitor::Visitor;
use server::{Liar, Server};

const DOLLAR: &str = "USD/2";

/// What the wallet of `person` signs for the page's key.
async fn granted(person: &Person, app_key: &str) -> String {
    let asked = ["app", "grant", app_key, "--for", "1h"];
    let said = person.wallet().ok(&asked);
    string(&said.await.unwrap(), "/grant").unwrap()
}

/// A plugin, as a wallet shows it.
fn address(site: &Site) -> String {
    format!("{}@{}", site.plugin.key(), site.plugin.http_url())
}

/// A shop and a customer, who owe each other nothing yet; the customer's wallet tells the plugin nothing of its books.
async fn shop_and_customer(world: &World) -> (Site, Person, Person) {
    let site = Site::open(world, "h").await.unwrap();
    let mut shop = Person::new(world, "shop").unwrap();
    let mut customer = Person::new(world, "customer").unwrap();
    shop.join(&site, DOLLAR).await.unwrap();
    customer.join(&site, DOLLAR).await.unwrap();
    town::befriend(&shop, &customer, "50.00 USD/2")
        .await
        .unwrap();
    (site, shop, customer)
}

/// Fills in the form, and leaves the button to whoever asked.
async fn fill_in(browser: &mut Browser, plugin: &str, customer: &Person) {
    let key = "document.getElementById('app-key').textContent";
    browser.until(&format!("{key} !== ''")).await.unwrap();
    let key = browser.eval(key).await.unwrap();
    browser.fill("#plugin", plugin).await.unwrap();
    let grant = granted(customer, key.as_str().unwrap()).await;
    browser.fill("#grant", &grant).await.unwrap();
}

async fn sign_in(browser: &mut Browser, plugin: &str, customer: &Person) {
    fill_in(browser, plugin, customer).await;
    browser.click("#sign-in button").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_shows_what_a_customer_has_there_and_it_changes_as_they_are_paid() {
    let world = World::start().await.unwrap();
    let Some(mut visitor) = Visitor::come(&world).await else {
        return;
    };
    let (mut site, shop, customer) = shop_and_customer(&world).await;
    customer.wallet().ok(&["snapshot", "on"]).await.unwrap();
    shop.give(&customer, "12.50 USD/2", "bottles")
        .await
        .unwrap();
    settle(&shop, &customer).await;

    let server = Server::shop(shop.key().to_owned()).await;
    visitor.inspect(&server.page(), "shop-sign-in").await;
    let browser = &mut visitor.browser;
    browser.goto(&server.page()).await.unwrap();
    sign_in(browser, &address(&site), &customer).await;
    let credit = "You have 12.50 USD of credit here";
    browser.sees(credit).await.unwrap();
    // What the shop owes, and what it lets the customer owe.
    browser.sees("62.50 USD").await.unwrap();
    browser.sees("It changes here by itself.").await.unwrap();
    let checked = browser.eval("document.getElementById('checked').textContent");
    let checked = checked.await.unwrap();
    assert!(
        checked.as_str().unwrap().contains("(delegation)"),
        "{checked}"
    );
    let named = browser.eval("document.querySelectorAll('#unchecked li').length");
    assert_eq!(named.await.unwrap(), 3);
    // What programs call a unit is not shown to customers.
    let text = browser.eval("document.body.textContent").await.unwrap();
    assert!(!text.as_str().unwrap().contains(DOLLAR), "{text}");
    visitor.inspect_here("shop").await;
    let browser = &mut visitor.browser;

    // The page is as it was, and shows what has come since.
    browser.eval("window.untouched = true").await.unwrap();
    shop.give(&customer, "2.00 USD/2", "more bottles")
        .await
        .unwrap();
    settle(&shop, &customer).await;
    let changed = "You have 14.50 USD of credit here";
    browser.sees(changed).await.unwrap();
    assert_eq!(browser.eval("window.untouched").await.unwrap(), true);

    // Also over an outage of the plugin.
    assert_eq!(browser.complaints(), Vec::<String>::new());
    site.plugin.stop().await.unwrap();
    browser.sees("Your plugin is away just now").await.unwrap();
    site.plugin.start().await.unwrap();
    browser.sees("It changes here by itself.").await.unwrap();
    customer.give(&shop, "4.50 USD/2", "bread").await.unwrap();
    settle(&customer, &shop).await;
    let changed = "You have 10.00 USD of credit here";
    browser.sees(changed).await.unwrap();
    assert_eq!(browser.eval("window.untouched").await.unwrap(), true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_whose_wallet_is_silent_is_told_what_to_do() {
    let world = World::start().await.unwrap();
    let Some(mut visitor) = Visitor::come(&world).await else {
        return;
    };
    let (site, shop, customer) = shop_and_customer(&world).await;
    shop.give(&customer, "12.50 USD/2", "bottles")
        .await
        .unwrap();
    settle(&shop, &customer).await;
    let server = Server::shop(shop.key().to_owned()).await;
    let browser = &mut visitor.browser;
    browser.goto(&server.page()).await.unwrap();
    sign_in(browser, &address(&site), &customer).await;
    browser.sees("atomicity snapshot on").await.unwrap();
    // The browser notes the 404 by which the plugin says so.
    browser.complaints();
    visitor.camera = false;
    visitor.inspect_here("shop-silent").await;
    customer.wallet().ok(&["snapshot", "on"]).await.unwrap();
    let credit = "You have 12.50 USD of credit here";
    visitor.browser.sees(credit).await.unwrap();
    let silent = visitor
        .browser
        .eval("document.getElementById('waiting').hidden");
    assert_eq!(silent.await.unwrap(), true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_presses_twice_signs_in_once() {
    let world = World::start().await.unwrap();
    let Some(mut browser) = Browser::start(&world).await.unwrap() else {
        return;
    };
    let (site, shop, customer) = shop_and_customer(&world).await;
    customer.wallet().ok(&["snapshot", "on"]).await.unwrap();
    let server = Server::shop(shop.key().to_owned()).await;
    browser.goto(&server.page()).await.unwrap();
    fill_in(&mut browser, &address(&site), &customer).await;
    let twice = "window.asked = []; const real = window.fetch; \
        window.fetch = (url, options) => { window.asked.push(new URL(url).pathname); return real(url, options); }; \
        const button = document.querySelector('#sign-in button'); button.click(); button.click(); 0";
    browser.eval(twice).await.unwrap();
    browser.sees("It changes here by itself.").await.unwrap();
    let asked =
        "window.asked.filter((path) => path === '/v0/sessions' || path.endsWith('/events'))";
    let asked = browser.eval(asked).await.unwrap();
    assert_eq!(asked, json!(["/v0/sessions", "/v0/me/snapshot/events"]));

    // What went wrong once can be mended and tried again.
    browser.click("#account .sign-out").await.unwrap();
    let again = "!document.getElementById('sign-in').hidden && document.getElementById('app-key').textContent !== ''";
    browser.until(again).await.unwrap();
    sign_in(&mut browser, &site.plugin.http_url(), &customer).await;
    browser.sees("(plugin_key_missing)").await.unwrap();
    sign_in(&mut browser, &address(&site), &customer).await;
    browser.sees("It changes here by itself.").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_can_not_work_says_why() {
    let world = World::start().await.unwrap();
    let Some(mut browser) = Browser::start(&world).await.unwrap() else {
        return;
    };
    let form = "document.getElementById('sign-in').checkVisibility()";
    let nobodys = Server::nobodys().await;
    browser.goto(&nobodys.page()).await.unwrap();
    browser
        .sees("puts {\"shop\": \"<key>\"} into config.json")
        .await
        .unwrap();
    assert_eq!(browser.eval(form).await.unwrap(), false);

    let server = Server::shop("x".to_owned()).await;
    let old = "crypto.subtle.generateKey = async () => { throw new DOMException('Ed25519', 'NotSupportedError'); };";
    let plain = "Object.defineProperty(window, 'isSecureContext', { value: false });";
    for (lacks, words) in [
        (old, "this browser knows no Ed25519"),
        (plain, "Open this one over https."),
    ] {
        let before = json!({ "source": lacks });
        let script = browser.call("Page.addScriptToEvaluateOnNewDocument", before);
        let script = script.await.unwrap();
        browser.goto(&server.page()).await.unwrap();
        browser.sees(words).await.unwrap();
        assert_eq!(browser.eval(form).await.unwrap(), false, "{words}");
        browser
            .call("Page.removeScriptToEvaluateOnNewDocument", script)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_refuses_sums_that_the_wallet_did_not_sign() {
    let world = World::start().await.unwrap();
    let Some(mut browser) = Browser::start(&world).await.unwrap() else {
        return;
    };
    let (site, shop, customer) = shop_and_customer(&world).await;
    customer.wallet().ok(&["snapshot", "on"]).await.unwrap();
    shop.give(&customer, "12.50 USD/2", "bottles")
        .await
        .unwrap();
    settle(&shop, &customer).await;
    let server = Server::shop(shop.key().to_owned()).await;
    let liar = Liar::start(&site.plugin).await;
    browser.goto(&server.page()).await.unwrap();
    let address = format!("{}@{}", site.plugin.key(), liar.url);
    sign_in(&mut browser, &address, &customer).await;
    browser.sees("(signature_invalid)").await.unwrap();
    let text = browser.eval("document.body.innerText").await.unwrap();
    assert!(!text.as_str().unwrap().contains("9,999"), "{text}");
    assert!(!text.as_str().unwrap().contains("of credit here"), "{text}");
}

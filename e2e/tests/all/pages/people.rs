//! The pages of users and of what they ask for.

use atomicity_e2e::people::{Person, Site, string};
use atomicity_e2e::town::{befriend, live};
use atomicity_e2e::{World, wait};

use super::Visitor;

const USD: &str = "USD/2";
/// What somebody calls themselves who means harm.
const HOSTILE: &str = "<script>window.harm=1</script><img src=x onerror=harm=1>";

/// A homeserver with a plugin that serves pages.
async fn site(world: &World) -> Site {
    let homeserver = world.homeserver("h").await.unwrap();
    let mut options = world.plugin_options("p", &homeserver).await.unwrap();
    options.more.push("pages.enabled=true".to_owned());
    // Who opts in is seen at once.
    options.more.push("network.profile_max_age_s=0".to_owned());
    let plugin = world.plugin_with("p", options).await.unwrap();
    Site { homeserver, plugin }
}

async fn person(world: &World, site: &Site, name: &str) -> Person {
    let mut person = Person::new(world, name).unwrap();
    person.join(site, USD).await.unwrap();
    person
}

async fn do_this(person: &Person, words: &[&str]) -> serde_json::Value {
    person.wallet().ok(words).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_a_page_only_if_they_say_so_and_their_name_is_text() {
    let world = World::start().await.unwrap();
    let Some(mut visitor) = Visitor::come(&world).await else {
        return;
    };
    let site = site(&world).await;
    let base = site.plugin.http_url();
    visitor.inspect(&format!("{base}/"), "home").await;

    let paula = person(&world, &site, "paula").await;
    let page = format!("{base}/u/{}", paula.key());
    visitor.browser.goto(&page).await.unwrap();
    assert_eq!(visitor.text("h1").await, "There is nothing here");
    assert!(visitor.text("main").await.contains("404 page_unknown"));

    do_this(&paula, &["profile", "page", "on"]).await;
    let iban = ["endpoint", "add", "eur-sepa-iban", "DE02120300000000202051"];
    do_this(&paula, &iban).await;
    let chain = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    do_this(&paula, &["endpoint", "add", "btc-bitcoin-address", chain]).await;
    visitor.browser.goto(&page).await.unwrap();
    assert_eq!(visitor.text("h1").await, "paula");
    visitor.inspect(&page, "user").await;
    let text = visitor.text("main").await;
    for shown in [
        paula.key(),
        USD,
        "Credit in USD",
        "EUR by bank transfer",
        "DE02120300000000202051",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    visitor.browser.goto(&page).await.unwrap();
    let links = "[...document.querySelectorAll('a.button')].map((a) => a.href).join(' ')";
    let links = visitor.browser.eval(links).await.unwrap();
    assert_eq!(links, format!("bitcoin:{chain} atomicity:{}", paula.key()));

    // Found by the key in the field of the first page, by keyboard alone.
    visitor.browser.goto(&format!("{base}/")).await.unwrap();
    let typed = format!(
        "document.querySelector('#q').value = 'pubky://{}'; document.querySelector('#q').focus()",
        paula.key()
    );
    visitor.browser.eval(&typed).await.unwrap();
    visitor.browser.press("Enter").await.unwrap();
    visitor
        .browser
        .until("document.querySelector('h1').innerText === 'paula'")
        .await
        .unwrap();

    do_this(&paula, &["profile", "page", "off"]).await;
    visitor.browser.goto(&page).await.unwrap();
    assert!(visitor.text("main").await.contains("404 page_unknown"));

    // Somebody whose name is a program.
    let mallory = world.wallet("mallory").unwrap();
    let made = mallory.ok(&["init", "--name", HOSTILE]).await.unwrap();
    let key = string(&made, "/user").unwrap();
    let (home, plugin) = (site.homeserver.z32(), site.plugin.key());
    mallory
        .ok(&["signup", &home, "--plugin", plugin])
        .await
        .unwrap();
    mallory.ok(&["profile", "page", "on"]).await.unwrap();
    let page = format!("{base}/u/{key}");
    visitor.inspect(&page, "hostile").await;
    visitor.browser.goto(&page).await.unwrap();
    assert_eq!(visitor.text("h1").await, HOSTILE);
    assert_eq!(
        visitor.browser.eval("typeof window.harm").await.unwrap(),
        "undefined"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bill_fills_while_one_looks() {
    let world = World::start().await.unwrap();
    let Some(mut visitor) = Visitor::come(&world).await else {
        return;
    };
    let site = site(&world).await;
    let (paula, ben) = (
        person(&world, &site, "paula").await,
        person(&world, &site, "ben").await,
    );
    befriend(&paula, &ben, "50.00 USD/2").await.unwrap();
    let _running = live(&paula).await.unwrap();
    let bill = [
        "request",
        "new",
        "30.00 USD/2",
        "--together",
        "--min",
        "2.50",
        "--memo",
        "The hut in March",
        "--or",
        "cash=at-the-table",
    ];
    let made = do_this(&paula, &bill).await;
    let (link, name) = (
        string(&made, "/link").unwrap(),
        string(&made, "/request").unwrap(),
    );
    let page = format!(
        "{}/u/{}/requests/{name}",
        site.plugin.http_url(),
        paula.key()
    );
    wait::until("the request to be there", || async {
        anyhow::ensure!(reqwest::get(&page).await?.status().is_success());
        Ok(())
    })
    .await
    .unwrap();
    visitor.inspect(&page, "bill").await;

    visitor
        .browser
        .live_in("de-DE", "Europe/Berlin")
        .await
        .unwrap();
    visitor.browser.goto(&page).await.unwrap();
    let text = visitor.text("main").await;
    for shown in [
        "The hut in March",
        "30,00\u{a0}USD",
        "2,50\u{a0}USD",
        "at-the-table",
        "Cash",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert_eq!(
        visitor.text("#line").await,
        format!("atomicity request pay {link} 2.50")
    );

    // A friend pays in credit, somebody else puts cash on the table: the page that is open shows both.
    do_this(&ben, &["request", "pay", &link, "10.00"]).await;
    visitor
        .browser
        .until("document.querySelector('#filled').innerText === '10,00\\u00a0USD'")
        .await
        .unwrap();
    let bar = "document.querySelector('#bar').value === 333";
    visitor.browser.until(bar).await.unwrap();
    do_this(
        &paula,
        &[
            "request",
            "received",
            &name,
            "20.00 USD/2",
            "--from",
            "Carla",
        ],
    )
    .await;
    visitor
        .browser
        .until("document.querySelector('[data-standing=full]').checkVisibility()")
        .await
        .unwrap();
    assert_eq!(visitor.text("#left").await, "0,00\u{a0}USD");
    let ways = "[...document.querySelectorAll('[data-while]')].some((e) => e.checkVisibility())";
    assert_eq!(
        visitor.browser.eval(ways).await.unwrap(),
        false,
        "nobody should pay more"
    );
    assert_eq!(visitor.browser.complaints(), [""; 0]);
    visitor.browser.live_in("", "").await.unwrap();
    visitor.inspect(&page, "bill-full").await;
}

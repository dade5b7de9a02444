//! The pages of users and of what they ask for.

use atomicity_e2e::people::{Person, Site, string};
use atomicity_e2e::town::{befriend, live};
use atomicity_e2e::{World, wait};

use super::Visitor;

const USD: &str = "USD/2";
/// An offer that any Lightning wallet can pay.
const OFFER: &str = "lno1pqps7sjqpgtyzm3qv4uxzmtsd3jjqer9wd3hy6tsw35k7msjzfpy7nz5yqcnygrfdej82um5wf5k2uckyypwa3eyt44h6txtxquqh7lz5djge4afgfjn7k4rgrkuag0jsd5xvxg";
const CHAIN: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
/// What somebody calls themselves who means harm.
const HOSTILE: &str = "<script>window.harm=1</script><img src=x onerror=harm=1>";

/// A homeserver with a plugin that serves pages.
pub(super) async fn site(world: &World) -> Site {
    let homeserver = world.homeserver("h").await.unwrap();
    let mut options = world.plugin_options("p", &homeserver).await.unwrap();
    options.more.push("pages.enabled=true".to_owned());
    let address = format!("http.public_url=http://127.0.0.1:{}", options.http);
    options.more.push(address);
    // Who opts in is seen at once.
    options.more.push("network.profile_max_age_s=0".to_owned());
    let plugin = world.plugin_with("p", options).await.unwrap();
    Site { homeserver, plugin }
}

pub(super) async fn person(world: &World, site: &Site, name: &str) -> Person {
    let mut person = Person::new(world, name).unwrap();
    person.join(site, USD).await.unwrap();
    person
}

pub(super) async fn do_this(person: &Person, words: &[&str]) -> serde_json::Value {
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
    let code = "svg[aria-label='Code with the link of this request']";
    assert_eq!(visitor.scan(code).await, link);
    assert_eq!(
        visitor.text("#line").await,
        format!("atomicity request pay {link} 2.50")
    );

    // Times are the reader's, too, wherever they are.
    let ends = visitor
        .browser
        .eval("document.querySelector('time').dateTime");
    let ends = ends.await.unwrap().as_str().unwrap().to_owned();
    let (hour, rest) = (ends[11..13].parse::<u32>().unwrap(), &ends[13..19]);
    visitor
        .browser
        .live_in("de-DE", "Asia/Tokyo")
        .await
        .unwrap();
    visitor.browser.goto(&page).await.unwrap();
    let shown = visitor.text("time").await;
    let there = format!(", {:02}{rest}", (hour + 9) % 24);
    assert!(shown.ends_with(&there), "{ends}: {shown}");

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_dollars_are_paid_by_friends_and_guests_and_who_asked_is_told() {
    let world = World::start().await.unwrap();
    let Some(mut visitor) = Visitor::come(&world).await else {
        return;
    };
    let site = site(&world).await;
    let (paula, ben, sam) = (
        person(&world, &site, "paula").await,
        person(&world, &site, "ben").await,
        person(&world, &site, "sam").await,
    );
    befriend(&paula, &ben, "100.00 USD/2").await.unwrap();
    befriend(&paula, &sam, "100.00 USD/2").await.unwrap();
    do_this(&paula, &["endpoint", "add", "btc-lightning-bolt12", OFFER]).await;
    do_this(&paula, &["endpoint", "add", "btc-bitcoin-address", CHAIN]).await;
    let mut watch = live(&paula).await.unwrap();
    let bill = [
        "request",
        "new",
        "300.00 USD/2",
        "--together",
        "--min",
        "10.00",
    ];
    let made = do_this(
        &paula,
        &[
            &bill[..],
            &["--memo", "the hut", "--or", "cash=at-the-door"],
        ]
        .concat(),
    )
    .await;
    let (link, name) = (
        string(&made, "/link").unwrap(),
        string(&made, "/request").unwrap(),
    );
    // The wallet names the page, for who has no wallet.
    let page = string(&made, "/page").unwrap();
    let base = site.plugin.http_url();
    assert_eq!(page, format!("{base}/u/{}/requests/{name}", paula.key()));
    // 270 of the 300 are asked of others: her own part she has paid.
    let own = [
        "request",
        "received",
        &name,
        "30.00 USD/2",
        "--by",
        "my own part",
    ];
    do_this(&paula, &own).await;
    wait::until("the bill to be there", || async {
        let text = reqwest::get(&page)
            .await?
            .error_for_status()?
            .text()
            .await?;
        anyhow::ensure!(text.contains("value=\"270.00\"") && text.contains(OFFER));
        Ok(())
    })
    .await
    .unwrap();
    visitor.inspect(&page, "bill-new").await;

    // A guest with a phone and without an account chooses 25 dollars, and sees how to pay them.
    visitor.browser.resize(360, 740).await.unwrap();
    visitor.browser.goto(&page).await.unwrap();
    let code = "document.querySelector('svg[aria-label=\"Code with the address of this page\"]').checkVisibility()";
    assert_eq!(visitor.browser.eval(code).await.unwrap(), true);
    assert_eq!(visitor.text("#address").await, page);
    let typed = "document.querySelector('#amount').value = '25.00'; document.querySelector('#amount').focus()";
    visitor.browser.eval(typed).await.unwrap();
    visitor.browser.press("Enter").await.unwrap();
    let chosen = "document.querySelector('#chosen')?.innerText === '25.00\\u00a0USD'";
    visitor.browser.until(chosen).await.unwrap();
    let line = visitor.text("#line").await;
    assert_eq!(line, format!("atomicity request pay {link} 25.00"));
    let links =
        "[...document.querySelectorAll('.ways a.button')].map((a) => a.href).sort().join(' ')";
    let links = visitor.browser.eval(links).await.unwrap();
    assert_eq!(links, format!("bitcoin:{CHAIN} lightning:{OFFER}"));
    let text = visitor.text("[aria-labelledby=other]").await;
    for shown in [
        "Cash",
        "at-the-door",
        "25.00\u{a0}USD",
        name.as_str(),
        "BTC over Lightning",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    let chosen = format!("{page}?amount=25.00");
    visitor.inspect(&chosen, "bill-chosen").await;
    let much = format!("{page}?amount=270.01");
    visitor.browser.goto(&much).await.unwrap();
    assert!(visitor.text("#wrong").await.contains("more than is left"));
    visitor.inspect(&much, "bill-too-much").await;

    // Two friends pay in credit and a guest in cash: the page that is open shows each.
    visitor.browser.goto(&page).await.unwrap();
    let shows = |filled: &str| {
        format!("document.querySelector('#filled').innerText === '{filled}\\u00a0USD'")
    };
    do_this(&ben, &["request", "pay", &link, "100.00"]).await;
    visitor.browser.until(&shows("130.00")).await.unwrap();
    let room = "document.querySelector('#room').innerText === '170.00\\u00a0USD'";
    visitor.browser.until(room).await.unwrap();
    do_this(&sam, &["request", "pay", &link, "75.00"]).await;
    visitor.browser.until(&shows("205.00")).await.unwrap();
    let cash = [
        "request",
        "received",
        &name,
        "95.00 USD/2",
        "--from",
        "Carla",
    ];
    do_this(&paula, &cash).await;
    let full = "document.querySelector('[data-standing=full]').checkVisibility()";
    visitor.browser.until(full).await.unwrap();
    assert_eq!(visitor.browser.complaints(), [""; 0]);

    // Paula is told, once.
    let told = watch
        .next("that it is full", |event| {
            event["event"] == "request_filled"
        })
        .await
        .unwrap();
    assert_eq!(told["request"], name);
    assert_eq!(told["amount_text"], "300.00 USD");
    assert_eq!(told["memo"], "the hut");
    watch.stop().await.unwrap();
    let synced = do_this(&paula, &["sync"]).await;
    let again = synced["events"].as_array().unwrap().iter();
    let again = again.filter(|event| event["event"] == "request_filled");
    assert_eq!(again.count(), 0, "{synced}");
}

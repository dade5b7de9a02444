//! A bill from the payee's page to its last part: asked for, passed on, and paid by what its payers propose on their own pages.

use atomicity_e2e::people::{Person, expect};
use atomicity_e2e::town::{live, read_news, until_owed};
use atomicity_e2e::{World, wait};

use super::Visitor;
use super::place::{Place, accepted, agreed, log_in, log_in_at, stands};

const USD: &str = "USD/2";

/// Somebody who has logged in opens a bill at their own plugin, says how much they pay, if not all that is left, and proposes that to
/// their wallet, which pays it.
async fn pays(visitor: &mut Visitor, person: &Person, (bill, amount): (&str, Option<&str>)) {
    let browser = &mut visitor.browser;
    browser.goto(bill).await.unwrap();
    if let Some(amount) = amount {
        browser.fill("#amount", amount).await.unwrap();
        browser.press("Enter").await.unwrap();
        let chosen =
            format!("document.querySelector('#chosen')?.innerText === '{amount}\\u00a0USD'");
        browser.until(&chosen).await.unwrap();
    }
    browser
        .click("a[href^='/wallet/proposals?link=']")
        .await
        .unwrap();
    let form = "document.querySelector('form[action=\"/wallet/proposals/part\"]')";
    let filled = format!(
        "{form}?.elements.link.value.startsWith('atomicity:') && {form}.elements.amount.value === '{}'",
        amount.unwrap_or_default()
    );
    browser.until(&filled).await.unwrap();
    let send = format!("const id = {form}.elements.id.value; {form}.requestSubmit(); id");
    let id = browser.eval(&send).await.unwrap();
    let id = id.as_str().unwrap();
    stands(visitor, id, "open").await;
    agreed(visitor, person, ("part", id)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bill_is_asked_for_and_filled_by_what_people_propose_on_their_pages() {
    let mut world = World::start().await.unwrap();
    let place = Place::found(&mut world, USD).await;
    let (Some(mut hers), Some(mut his)) =
        (Visitor::come(&world).await, Visitor::come(&world).await)
    else {
        return;
    };
    let (anna, ben) = (&place.anna, &place.ben);
    for (one, other) in [(anna, ben), (ben, anna)] {
        one.trust(other, "100.00 USD/2").await.unwrap();
    }
    read_news(anna, ben).await.unwrap();
    read_news(ben, anna).await.unwrap();
    log_in(&world, &mut hers, &place).await;
    let mut runs = live(anna).await.unwrap();

    // Anna asks for 90 dollars; what stands there then leads to the bill with its code.
    let asked = [("amount", "90.00"), ("unit", USD), ("memo", "the hut")];
    let id = accepted(&mut hers, anna, ("ask", &asked)).await;
    let link = format!("document.querySelector('[data-proposal=\"{id}\"] a.button')");
    let leads = format!("{link}?.innerText === 'Show the bill'");
    hers.browser.until(&leads).await.unwrap();
    let path = hers
        .browser
        .eval(&format!("{link}.pathname"))
        .await
        .unwrap();
    let path = path.as_str().unwrap().to_owned();
    let (base, bens) = (&place.base, place.elsewhere.plugin.http_url());
    wait::until("the bill to be there", || async {
        for base in [base, &bens] {
            let answer = reqwest::get(format!("{base}{path}")).await?;
            answer.error_for_status()?;
        }
        Ok(())
    })
    .await
    .unwrap();
    hers.browser.eval(&format!("{link}.click()")).await.unwrap();
    let code = "document.querySelector('svg[aria-label=\"Code with the link of this request\"]')?.checkVisibility()";
    hers.browser.until(code).await.unwrap();
    assert_eq!(hers.text("h1").await, "the hut");
    let misses =
        |left: &str| format!("document.querySelector('#left').innerText === '{left}\\u00a0USD'");
    hers.browser.until(&misses("90.00")).await.unwrap();
    hers.browser.eval("window.same = true").await.unwrap();

    // Ben pays a part, then what is left: the page that Anna has open shows each.
    let bill = format!("{bens}{path}");
    log_in_at(&world, &mut his, (&bens, ben)).await;
    pays(&mut his, ben, (&bill, Some("40.00"))).await;
    let shows = |filled: &str| {
        format!(
            "window.same === true && document.querySelector('#filled').innerText === '{filled}\\u00a0USD'"
        )
    };
    hers.browser.until(&shows("40.00")).await.unwrap();
    hers.browser.until(&misses("50.00")).await.unwrap();
    pays(&mut his, ben, (&bill, None)).await;
    hers.browser.until(&shows("90.00")).await.unwrap();
    let full = "document.querySelector('[data-standing=full]').checkVisibility()";
    hers.browser.until(full).await.unwrap();
    assert_eq!(hers.browser.complaints(), [""; 0]);
    assert_eq!(his.browser.complaints(), [""; 0]);
    until_owed(anna, ben, USD, 9_000).await.unwrap();

    // Her wallet says so too.
    let told = runs
        .next("that it is full", |event| {
            event["event"] == "request_filled"
        })
        .await
        .unwrap();
    expect(&told, "/amount_text", "90.00 USD").unwrap();
    expect(&told, "/memo", "the hut").unwrap();
    assert!(path.ends_with(told["request"].as_str().unwrap()), "{told}");
    runs.stop().await.unwrap();
}

//! What the wallet tells of what waits and what there was, on its user's page as it comes.

use atomicity_e2e::people::{expect, string};
use atomicity_e2e::town::{live, until_owed};
use atomicity_e2e::{World, wait};

use super::Visitor;
use super::place::{Place, log_in};

const USD: &str = "USD/2";

/// The page comes to say this, without being loaded again.
async fn says(visitor: &mut Visitor, words: &str) {
    let shown = format!(
        "document.querySelector('main').innerText.replaceAll('\\u00a0', ' ').includes('{words}')"
    );
    visitor.browser.until(&shown).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_friends_ask_for_waits_on_the_page_and_what_was_paid_has_its_receipt_there() {
    let mut world = World::start().await.unwrap();
    let place = Place::found(&mut world, USD).await;
    let Some(mut visitor) = Visitor::come(&world).await else {
        return;
    };
    let (anna, ben) = (&place.anna, &place.ben);
    for words in [["snapshot", "on"], ["diary", "on"]] {
        anna.wallet().ok(&words).await.unwrap();
    }
    log_in(&world, &mut visitor, &place).await;

    // Ben asks for his share; it waits there until it is paid.
    let asked = [
        "request",
        "new",
        "4.50 USD/2",
        "--to",
        "anna",
        "--memo",
        "pizza",
    ];
    let asked = ben.wallet().ok(&asked).await.unwrap();
    let id = string(&asked, "/request").unwrap();
    wait::until("Anna to be asked", || async {
        anna.sync().await?;
        let list = anna.wallet().ok(&["request", "list"]).await?;
        expect(&list, "/requests/0/memo", "pizza")
    })
    .await
    .unwrap();
    says(&mut visitor, "ben asks you for 4.50 USD").await;
    says(&mut visitor, &format!("atomicity request pay {id}")).await;
    let runs = live(ben).await.unwrap();
    anna.wallet().ok(&["request", "pay", &id]).await.unwrap();
    runs.stop().await.unwrap();
    until_owed(ben, anna, USD, 450).await.unwrap();
    anna.sync().await.unwrap();
    let gone = "!document.querySelector('main').innerText.includes('asks you for')";
    visitor.browser.until(gone).await.unwrap();

    // What she gave stands in the history, with what she signed.
    let history = format!("{}/wallet/history", place.base);
    visitor.browser.goto(&history).await.unwrap();
    anna.give(ben, "2.00 USD/2", "the bus").await.unwrap();
    anna.sync().await.unwrap();
    says(&mut visitor, "the bus").await;
    let receipt = "[...document.querySelectorAll('details')].some((one) => one.querySelector('summary').textContent === 'Receipt' \
        && one.querySelector('code').textContent.split('.').length === 3)";
    visitor.browser.until(receipt).await.unwrap();

    // Ben wants to be paid outside: by hand, which only Anna can do.
    let door = ["endpoint", "add", "usd-cash-hand", "at the blue door"];
    ben.wallet().ok(&door).await.unwrap();
    let debt = ["settle", "anna", "3.00 USD/2", "--no-wait"];
    ben.wallet().ok(&debt).await.unwrap();
    visitor
        .browser
        .goto(&format!("{}/wallet", place.base))
        .await
        .unwrap();
    wait::until("Anna to be asked", || async {
        anna.sync().await?;
        let asked = anna.wallet().ok(&["settle", "requests"]).await?;
        expect(&asked, "/settlements/0/amount", "300")
    })
    .await
    .unwrap();
    says(&mut visitor, "ben asks you to pay off 3.00 USD outside").await;
    says(&mut visitor, "atomicity settle pay ").await;

    // What the plugin was told it forgets.
    anna.wallet().ok(&["diary", "off"]).await.unwrap();
    visitor.browser.goto(&history).await.unwrap();
    says(&mut visitor, "atomicity diary on").await;
}

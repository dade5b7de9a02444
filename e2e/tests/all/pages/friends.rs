//! Whom the page proposes as a friend becomes one: added, with limits on both sides, and seen with both.

use atomicity_e2e::World;
use atomicity_e2e::people::expect;
use atomicity_e2e::town::{read_news, settle_at};
use serde_json::Value;

use super::Visitor;
use super::place::{Place, accepted, log_in};

const USD: &str = "USD/2";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_friend_is_added_from_the_page_and_both_limits_stand_on_their_bar() {
    let mut world = World::start().await.unwrap();
    let place = Place::found(&mut world, USD).await;
    let Some(mut visitor) = Visitor::come(&world).await else {
        return;
    };
    let anna = &place.anna;
    let carl = settle_at(&world, "carl", (&place.elsewhere, USD), &place.log);
    let carl = carl.await.unwrap();
    anna.wallet().ok(&["snapshot", "on"]).await.unwrap();
    log_in(&world, &mut visitor, &place).await;
    let bar = "[...document.querySelectorAll('svg.bar')].map((bar) => bar.getAttribute('aria-label')).find((label) => label.includes('carl'))";
    let none = format!("{bar} === undefined");
    assert_eq!(visitor.browser.eval(&none).await.unwrap(), true);

    // Added, and let owe up to 15.
    let new = [("user", carl.key()), ("name", "carl")];
    accepted(&mut visitor, anna, ("friend", &new)).await;
    let all = anna.wallet().ok(&["friend", "list"]).await.unwrap();
    let mut friends = all["friends"].as_array().unwrap().iter();
    let is_new = |friend: &&Value| friend["user"] == carl.key() && friend["name"] == "carl";
    assert!(friends.any(|friend| is_new(&friend)), "{all}");
    let limit = [("user", carl.key()), ("accept", "15"), ("unit", "USD")];
    accepted(&mut visitor, anna, ("limit", &limit)).await;

    // Carl does the same: now each knows what the other grants.
    visitor
        .browser
        .goto(&format!("{}/wallet", place.base))
        .await
        .unwrap();
    visitor.browser.eval("window.same = true").await.unwrap();
    carl.befriend(anna).await.unwrap();
    carl.trust(anna, "25.00 USD/2").await.unwrap();
    read_news(anna, &carl).await.unwrap();
    let mine = anna.account(&carl, USD).await.unwrap();
    let theirs = carl.account(anna, USD).await.unwrap();
    for (sheet, given, got) in [(&mine, "1500", "2500"), (&theirs, "2500", "1500")] {
        expect(sheet, "/line_for_them", given).unwrap();
        expect(sheet, "/line_for_me", got).unwrap();
    }
    let both = format!(
        "window.same === true && {bar}?.includes('You may owe up to 25.00,') && {bar}.endsWith('up to 15.00')"
    );
    visitor.browser.until(&both).await.unwrap();

    // They can be paid now, right away.
    let gift = [("user", carl.key()), ("amount", "5"), ("unit", "USD")];
    accepted(&mut visitor, anna, ("issue", &gift)).await;
    read_news(anna, &carl).await.unwrap();
    let theirs = carl.account(anna, USD).await.unwrap();
    expect(&theirs, "/net", "500").unwrap();
}

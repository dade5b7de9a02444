//! What a user sees of their books, and what their agent does for them from here.

use atomicity_ledger::{Keypair as LedgerKeypair, UserKey};
use reqwest::Method;

use super::{log_in, pages, told};
use crate::agent::world::{Person, Site, allow, befriend, engage, hand_over, payment, unit};
use crate::support::browser::{Browser, Relay, Shown};
use crate::support::database::Database;
use crate::support::plugin::Plugin;
use crate::support::until;
use crate::support::user::User;

/// A name that tries to be more than a name.
const HOSTILE: &str = "</bdi><script>alert(1)</script>\u{200b}";

/// A plugin with agent, log and pages, and a user whose agent keeps the books towards one friend.
struct Village {
    site: Site,
    owner: Person,
    friend: Person,
    browser: Browser,
}

impl Village {
    async fn start(relay: &Relay) -> Self {
        let relay = format!("pages.relay={:?}", relay.url);
        let sets = [
            "witness_log.enabled=true",
            "witness_log.interval_ms=200",
            "pages.enabled=true",
            relay.as_str(),
        ];
        let site = Site::with_log_and(&sets).await;
        let (mut owner, mut friend) = (site.person().await, site.person().await);
        friend.rename(HOSTILE);
        befriend(&site, &mut owner, &mut friend, 2_000).await;
        let key = engage(&site, &mut owner, 5_000, Some(1_500)).await;
        hand_over(&site, &mut owner, &mut friend, key, allow(1_000)).await;
        let browser = Browser::new(&site.base);
        log_in(&browser, &pubky::Keypair::from_secret(&owner.root.secret())).await;
        Self {
            site,
            owner,
            friend,
            browser,
        }
    }

    fn friends_page(&self) -> String {
        format!("/wallet/friends/{}", self.friend.user)
    }

    /// What is shown before anything is signed.
    async fn check(&self, amount: &str) -> Shown {
        let page = self.browser.get(&self.friends_page()).await;
        let csrf = page.field("/wallet/pay/check", "csrf");
        let peer = self.friend.user.to_string();
        let fields = [
            ("csrf", csrf.as_str()),
            ("peer", peer.as_str()),
            ("unit", "BREAD/2"),
            ("amount", amount),
            ("memo", "<i>two</i> loaves"),
        ];
        self.browser.post("/wallet/pay/check", &fields).await
    }

    /// Says yes to what is shown.
    async fn confirm(&self, shown: &Shown) -> Shown {
        let names = ["csrf", "id", "peer", "unit", "amount"];
        let values = names.map(|name| shown.field("/wallet/pay", name));
        let mut fields: Vec<(&str, &str)> = names
            .into_iter()
            .zip(values.iter().map(String::as_str))
            .collect();
        fields.push(("memo", "<i>two</i> loaves"));
        self.browser.post("/wallet/pay", &fields).await
    }

    async fn paid(&mut self, minor: i64) {
        let user = self.owner.user;
        let what = format!("{minor} arrived");
        self.friend
            .pump_until(&self.site, &what, |friend| {
                friend.pair(&user).balance(&unit()).minor() == minor
            })
            .await;
    }
}

fn is_harmless(shown: &Shown) {
    assert!(!shown.html.contains("<script>alert"), "{}", shown.html);
    assert!(!shown.html.contains('\u{200b}'), "{}", shown.html);
}

#[tokio::test]
async fn a_friend_is_paid_once_and_within_the_limits_however_often_the_button_is_pressed() {
    let relay = Relay::start().await;
    let mut village = Village::start(&relay).await;
    let overview = village.browser.get("/wallet").await;
    is_harmless(&overview);
    assert!(
        overview.html.contains("&lt;script&gt;alert(1)"),
        "{}",
        overview.html
    );
    assert!(overview.html.contains("class=\"bar\""), "{}", overview.html);

    let check = village.check("6.00").await;
    assert_eq!(check.status, 200, "{}", check.html);
    assert!(check.html.contains("data value=\"6.00\""), "{}", check.html);
    assert!(check.html.contains("you owe them"), "{}", check.html);
    is_harmless(&check);
    for _ in 0..2 {
        let sent = village.confirm(&check).await;
        assert_eq!(sent.status, 303, "{}", sent.html);
    }
    village.paid(600).await;
    let journal = village.owner.journal(&village.site).await;
    assert_eq!(Person::of_kind(&journal, "payment"), 1);

    // What is too much is not even asked for; and if it is, the agent says no.
    let check = village.check("5.00").await;
    assert!(
        check.html.contains("more than you can pay"),
        "{}",
        check.html
    );
    let small = village.check("1.00").await;
    let names = ["csrf", "id", "peer", "unit"];
    let values = names.map(|name| small.field("/wallet/pay", name));
    let mut fields: Vec<(&str, &str)> = names
        .into_iter()
        .zip(values.iter().map(String::as_str))
        .collect();
    fields.push(("amount", "50000"));
    let refused = village.browser.post("/wallet/pay", &fields).await;
    refused.assert_code(409, "limit_exceeded");

    let history = village.browser.get("/wallet/history").await;
    is_harmless(&history);
    assert!(history.html.contains("You paid"), "{}", history.html);
    assert!(history.html.contains("&lt;i&gt;two&lt;/i&gt; loaves"));
    let record = journal.iter().find(|item| item["what"] == "payment");
    let record = record.unwrap()["record"].as_str().unwrap();
    assert!(
        history.html.contains(record),
        "the receipt is what was signed"
    );
}

#[tokio::test]
async fn another_limit_leaves_the_other_terms_of_the_line_as_they_are() {
    let relay = Relay::start().await;
    let mut village = Village::start(&relay).await;
    let path = format!("{}/line", village.friends_page());
    let page = village.browser.get(&village.friends_page()).await;
    let csrf = page.field(&path, "csrf");
    let fields = [
        ("csrf", csrf.as_str()),
        ("unit", "BREAD/2"),
        ("accept", "7,50"),
    ];
    let shown = village.browser.submit(&path, &fields).await;
    assert!(shown.html.contains("value=\"7.50\""), "{}", shown.html);
    let user = village.owner.user;
    village
        .friend
        .pump_until(&village.site, "the line arrived", |friend| {
            let line = friend.pair(&user).theirs().unit(&unit()).unwrap().line();
            line.is_some_and(|line| {
                let line = line.record();
                line.accept.minor() == 750 && line.slots == 64 && line.max_deadline_s == 600
            })
        })
        .await;
    let wrong = [
        ("csrf", csrf.as_str()),
        ("unit", "BREAD/2"),
        ("accept", "x"),
    ];
    let refused = village.browser.post(&path, &wrong).await;
    refused.assert_code(400, "amount_invalid");
}

#[tokio::test]
async fn an_invoice_is_made_once_shown_as_a_code_and_withdrawn() {
    let relay = Relay::start().await;
    let village = Village::start(&relay).await;
    let page = village.browser.get("/wallet/invoices").await;
    let (csrf, id) = (
        page.field("/wallet/invoices", "csrf"),
        page.field("/wallet/invoices", "id"),
    );
    let asking = |unit| {
        [
            ("csrf", csrf.as_str()),
            ("id", id.as_str()),
            ("unit", unit),
            ("amount", "3.20"),
            ("memo", "cake"),
        ]
    };
    // A code alone is the unit that the user knows by it; one that they don't know could be any.
    let unclear = village
        .browser
        .post("/wallet/invoices", &asking("USD"))
        .await;
    unclear.assert_code(400, "unit_invalid");
    assert!(unclear.html.contains("USD/2"), "{}", unclear.html);
    let fields = asking("bread");
    // A log must have shown something first.
    until("there is a log to hang on", || async {
        village
            .browser
            .post("/wallet/invoices", &fields)
            .await
            .status
            == 303
    })
    .await;
    let shown = village.browser.submit("/wallet/invoices", &fields).await;
    assert!(shown.html.contains("atomicity:"), "{}", shown.html);
    assert!(shown.html.contains("class=\"qr\""), "{}", shown.html);
    assert!(shown.html.contains(">3.20 BREAD<"), "{}", shown.html);
    let path = format!("/wallet/invoices/{id}/withdraw");
    let csrf = shown.field(&path, "csrf");
    let gone = village.browser.submit(&path, &[("csrf", &csrf)]).await;
    assert!(gone.html.contains("withdrawn"), "{}", gone.html);
    // An open page loses the code and the button as well: what is put in place of them is there, and empty.
    for part in ["invoice-withdraw", "invoice-code"] {
        let empty = format!("<div data-live=\"{part}\"></div>");
        assert!(gone.html.contains(&empty), "{part} in {}", gone.html);
    }
    let list = village.browser.get("/wallet/invoices").await;
    assert_eq!(list.html.matches("cake").count(), 1, "{}", list.html);
}

#[tokio::test]
async fn an_open_page_hears_of_changes_and_of_the_end_of_its_session() {
    let relay = Relay::start().await;
    let village = Village::start(&relay).await;
    let mut events = village.browser.stream("/wallet/events").await;
    events.expect("changed").await;
    let check = village.check("1.00").await;
    village.confirm(&check).await;
    events.expect("changed").await;
    let sessions = village.browser.get("/wallet/sessions").await;
    let csrf = sessions.field("/wallet/logout", "csrf");
    village
        .browser
        .post("/wallet/logout", &[("csrf", &csrf)])
        .await;
    events.expect("ended").await;
}

#[tokio::test]
async fn all_that_was_with_a_friend_can_be_seen() {
    let relay = Relay::start().await;
    let village = Village::start(&relay).await;
    let (site, owner, friend) = (&village.site, &village.owner, &village.friend);
    for n in 1..=55 {
        let body = Some(payment(n, &friend.user, 1));
        let paid = owner.call(site, Method::POST, "/v0/me/agent/issue", body);
        paid.await.assert_status(200);
    }
    let page = village.browser.get(&village.friends_page()).await;
    assert_eq!(page.html.matches("You paid").count(), 50);
    let next = page.html.split("href=\"/wallet/history?").nth(1).unwrap();
    let query = next.split('"').next().unwrap().replace("&amp;", "&");
    let before = format!("/wallet/history?{query}");
    let rest = village.browser.get(&before).await;
    assert_eq!(rest.html.matches("You paid").count(), 5, "{}", rest.html);
    assert!(rest.html.contains(&village.friends_page()), "{}", rest.html);
    // Of somebody else there is nothing.
    let other = format!("/wallet/history?with={}", owner.user);
    let other = village.browser.get(&other).await;
    assert!(!other.html.contains("You paid"), "{}", other.html);
}

#[tokio::test]
async fn what_changes_beside_the_books_is_kept_current_too() {
    let relay = Relay::start().await;
    let village = Village::start(&relay).await;
    let overview = village.browser.get("/wallet").await;
    for part in ["overview", "agent", "accounts"] {
        let mark = format!("data-live=\"{part}\"");
        assert!(overview.html.contains(&mark), "{part} in {}", overview.html);
    }
    let page = village.browser.get(&village.friends_page()).await;
    let form = page.form("/wallet/pay/check");
    assert!(form.contains("data-live=\"most-BREAD/2\""), "{form}");
}

#[tokio::test]
async fn once_the_agent_is_dismissed_what_the_wallet_tells_counts_and_nothing_is_offered_that_only_it_could_sign()
 {
    let relay = Relay::start().await;
    let village = Village::start(&relay).await;
    let (site, owner) = (&village.site, &village.owner);
    let tell = told(&owner.root, &[(village.friend.user, "BREAD/2", -123)]);
    let pushed = owner.call(site, Method::PUT, "/v0/me/snapshot", Some(tell));
    pushed.await.assert_status(200);
    // As long as the agent is at work, its books are newer than anything that is told.
    let page = village.browser.get(&village.friends_page()).await;
    assert!(page.html.contains("/wallet/pay/check"), "{}", page.html);
    assert!(!page.html.contains("-1.23 BREAD"), "{}", page.html);

    let overview = village.browser.get("/wallet").await;
    let csrf = overview.field("/wallet/agent/stop", "csrf");
    let fields = [("csrf", csrf.as_str())];
    let overview = village.browser.submit("/wallet/agent/stop", &fields).await;
    assert!(overview.html.contains("-1.23 BREAD"), "{}", overview.html);
    assert!(
        overview.html.contains("You dismissed it."),
        "{}",
        overview.html
    );
    let page = village.browser.get(&village.friends_page()).await;
    assert!(page.html.contains("-1.23 BREAD"), "{}", page.html);
    let line = format!("{}/line", village.friends_page());
    for form in ["/wallet/pay/check", line.as_str()] {
        assert!(!page.html.contains(form), "{form} in {}", page.html);
    }
}

#[tokio::test]
async fn without_an_agent_the_page_shows_what_the_wallet_told_and_since_when() {
    let relay = Relay::start().await;
    let plugin = Plugin::start_on(Database::create().await, |config| pages(config, &relay)).await;
    let account = plugin.user().await;
    let root = LedgerKeypair::from_secret(&account.user.root.secret());
    let friend: UserKey = User::new().z32().parse().unwrap();
    let body = Some(told(&root, &[(friend, "HOUR/2", -150)]));
    account
        .call(Method::PUT, "/v0/me/snapshot", body)
        .await
        .assert_status(200);
    let browser = Browser::new(&format!("http://{}", plugin.addresses.http));
    let shown = log_in(&browser, &account.user.root).await;
    assert!(shown.html.contains("-1.50 HOUR"), "{}", shown.html);
    assert!(
        shown.html.contains("as your wallet told them"),
        "{}",
        shown.html
    );
    // Only the wallet could pay: there is no form.
    let page = browser.get(&format!("/wallet/friends/{friend}")).await;
    assert!(page.html.contains("2.50 HOUR"), "{}", page.html);
    assert!(!page.html.contains("/wallet/pay/check"));
    let stranger = User::new().z32();
    let missing = browser.get(&format!("/wallet/friends/{stranger}")).await;
    missing.assert_code(404, "friend_unknown");
}

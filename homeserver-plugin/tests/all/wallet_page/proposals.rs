//! What is proposed to the user's wallet: named, bounded, taken back, decided once.

use atomicity_ledger::jws::Version;
use atomicity_ledger::link::Link;
use atomicity_ledger::record::{Goal, Invoice, InvoiceLog, PaymentRequest};
use atomicity_ledger::{Amount, PolicyHash, Preimage, RecordId, Signed, Unit};
use pubky::Keypair;
use reqwest::Method;
use serde_json::{Value, json};

use super::{log_in, pages};
use crate::agent::world::now;
use crate::support::browser::{Browser, Relay};
use crate::support::plugin::{Account, Answer, Plugin, b64};

const PROPOSALS: &str = "/v0/me/proposals";

fn friend(n: u8) -> Value {
    json!({"id": b64(&[n; 16]), "kind": "friend", "user": Keypair::random().public_key().z32()})
}

fn of(n: u8) -> String {
    format!("{PROPOSALS}/{}", b64(&[n; 16]))
}

async fn propose(account: &Account<'_>, body: &Value) -> Answer {
    let body = Some(body.clone());
    account.call(Method::POST, PROPOSALS, body).await
}

async fn say(account: &Account<'_>, n: u8, word: Value) -> Answer {
    account.call(Method::PUT, &of(n), Some(word)).await
}

#[tokio::test]
async fn the_same_proposal_is_there_once_and_another_one_needs_another_name() {
    let plugin = Plugin::start().await;
    let (account, other) = (plugin.user().await, plugin.user().await);
    let body = friend(1);
    let made = propose(&account, &body).await;
    assert_eq!(made.assert_status(201).body["state"], "open");
    assert_eq!(made.body["user"], body["user"]);
    let again = propose(&account, &body).await;
    assert_eq!(again.assert_status(200).body, made.body);
    propose(&account, &friend(1))
        .await
        .assert_problem(409, "id_reused");
    // Names are each user's own, and so is what lies under them.
    propose(&other, &friend(1)).await.assert_status(201);
    let unknown = other.call(Method::GET, &of(2), None).await;
    unknown.assert_problem(404, "proposal_unknown");
    let list = account.call(Method::GET, PROPOSALS, None).await;
    assert_eq!(list.body["items"].as_array().unwrap().len(), 1);
    let visitor = plugin.visitor().await;
    propose(&visitor, &friend(1))
        .await
        .assert_problem(404, "account_unknown");
}

#[tokio::test]
async fn nonsense_is_not_proposed_and_not_too_much() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    let id = b64(&[9; 16]);
    let stranger = Keypair::random().public_key().z32();
    for body in [
        json!({"id": id, "kind": "friend", "user": account.z32()}),
        json!({"id": id, "kind": "pay", "link": "atomicity:x"}),
        json!({"id": id, "kind": "pay", "link": format!("atomicity:{}", account.z32())}),
        json!({"id": id, "kind": "part", "link": format!("atomicity:{}", account.z32())}),
        json!({"id": id, "kind": "reassign", "user": stranger, "link": "atomicity:x"}),
        json!({"id": id, "kind": "ask", "user": account.z32(), "unit": "BREAD/2", "amount": "5"}),
        json!({"id": id, "kind": "settle", "user": stranger, "unit": "BREAD/2", "amount": "5", "invoice": "ł"}),
        json!({"id": id, "kind": "block", "user": account.z32(), "blocked": true}),
        // A rule about many has a cap, one about somebody is a limit, and numbers are the wallet's.
        json!({"id": id, "kind": "rule", "rule": {"who": "anyone", "unit": "BREAD/2", "accept": "500"}}),
        json!({"id": id, "kind": "rule", "rule": {"who": {"peer": stranger}, "unit": "BREAD/2", "accept": "500", "cap": "500"}}),
        json!({"id": id, "kind": "unrule", "rule": {"id": 3, "who": "anyone", "unit": "BREAD/2", "accept": "500", "cap": "500"}}),
        json!({"id": id, "kind": "account", "name": "shop", "key": stranger, "unit": "BREAD/2", "until": now().plus_millis(1_000_000)}),
        json!({"id": id, "kind": "account", "name": "shop", "key": stranger, "unit": "BREAD/2", "total": "500", "until": 1_000}),
        json!({"id": id, "kind": "agent", "until": 1_000}),
    ] {
        propose(&account, &body)
            .await
            .assert_problem(400, "proposal_invalid");
    }
    for body in [
        json!({"id": id, "kind": "everything"}),
        json!({"id": id, "kind": "friend"}),
        json!({"id": id, "kind": "ask", "unit": "BREAD/2", "amount": "0"}),
        json!({"id": id, "kind": "settle", "user": stranger, "unit": "BREAD/2"}),
        json!({"id": id, "kind": "block", "user": stranger, "blocked": "yes"}),
        json!({"id": id, "kind": "friend", "user": account.z32(), "more": 1}),
        json!({"id": "x", "kind": "friend", "user": account.z32()}),
    ] {
        propose(&account, &body)
            .await
            .assert_problem(400, "body_malformed");
    }
    for n in 10..60 {
        propose(&account, &friend(n)).await.assert_status(201);
    }
    propose(&account, &friend(60))
        .await
        .assert_problem(429, "too_many_proposals");
    // One that is over makes room.
    say(&account, 10, json!({"state": "declined"}))
        .await
        .assert_status(200);
    propose(&account, &friend(60)).await.assert_status(201);
}

#[tokio::test]
async fn what_is_over_stays_over_and_what_was_said_can_be_said_again() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    for n in 1..=4 {
        propose(&account, &friend(n)).await.assert_status(201);
    }
    // Quoted, accepted, done: each as often as one likes.
    let over = [Keypair::random(), Keypair::random()].map(|key| key.public_key().z32());
    let quote = json!({"state": "quoted", "fee": "3", "hops": 2, "route": [over]});
    let quoted = say(&account, 1, quote).await;
    assert_eq!(quoted.assert_status(200).body["state"], "open");
    let told = json!({"fee": "3", "hops": 2, "route": [over]});
    assert_eq!(quoted.body["told"], told);
    let long = json!({"state": "quoted", "fee": "3", "route": vec![over.clone(); 5]});
    let refused = say(&account, 1, long).await;
    refused.assert_problem(400, "proposal_invalid");
    for _ in 0..2 {
        let said = say(&account, 1, json!({"state": "accepted"})).await;
        assert_eq!(said.assert_status(200).body["state"], "accepted");
    }
    let back = account.call(Method::DELETE, &of(1), None).await;
    back.assert_problem(409, "proposal_ended");
    for _ in 0..2 {
        let said = say(&account, 1, json!({"state": "done", "fee": "2"})).await;
        assert_eq!(said.assert_status(200).body["told"]["fee"], "2");
    }
    for word in ["accepted", "declined", "failed"] {
        say(&account, 1, json!({"state": word}))
            .await
            .assert_problem(409, "proposal_ended");
    }
    // What was taken back is not accepted any more, even if both come at once.
    let second = of(2);
    let taking = account.call(Method::DELETE, &second, None);
    let (taken, said) = tokio::join!(taking, say(&account, 2, json!({"state": "accepted"})));
    assert_ne!(taken.status == 200, said.status == 200, "{said:?}");
    let open = account
        .call(Method::GET, &format!("{PROPOSALS}?open=true"), None)
        .await;
    let left = open.body["items"].as_array().unwrap().len();
    assert_eq!(left, if said.status == 200 { 3 } else { 2 });
    let empty = say(&account, 3, json!({"state": "quoted"})).await;
    empty.assert_problem(400, "proposal_invalid");
}

#[tokio::test]
async fn the_page_proposes_shows_what_becomes_of_it_and_takes_it_back() {
    let relay = Relay::start().await;
    let plugin = Plugin::start_with(|config| pages(config, &relay)).await;
    let account = plugin.user().await;
    let browser = Browser::new(&format!("http://{}", plugin.addresses.http));
    log_in(&browser, &account.user.root).await;
    let page = browser.get("/wallet/proposals").await;
    let action = "/wallet/proposals/friend";
    let (csrf, id) = (page.field(action, "csrf"), page.field(action, "id"));
    let key = Keypair::random().public_key().z32();
    let written = format!("pubky://{key}");
    let fields = [
        ("csrf", csrf.as_str()),
        ("id", id.as_str()),
        ("user", written.as_str()),
        ("name", "<b>Ben</b>"),
    ];
    for _ in 0..2 {
        let shown = browser.submit(action, &fields).await;
        assert_eq!(shown.html.matches("data-proposal=").count(), 1);
        assert!(
            shown.html.contains("&lt;b&gt;Ben&lt;/b&gt;"),
            "{}",
            shown.html
        );
        assert!(shown.html.contains("Waits for your wallet"));
    }
    assert!(
        browser
            .get("/wallet")
            .await
            .html
            .contains("1 proposal waits")
    );
    let mut events = browser.stream("/wallet/events").await;
    events.expect("changed").await;
    let path = format!("{PROPOSALS}/{id}");
    let word = json!({"state": "failed", "reason": "no_way"});
    account
        .call(Method::PUT, &path, Some(word))
        .await
        .assert_status(200);
    events.expect("changed").await;
    let shown = browser.get("/wallet/proposals").await;
    assert!(shown.html.contains("no_way"), "{}", shown.html);

    let action = "/wallet/proposals/limit";
    let id = shown.field(action, "id");
    let fields = [
        ("csrf", csrf.as_str()),
        ("id", id.as_str()),
        ("user", key.as_str()),
        ("accept", "12.50"),
        ("unit", "BREAD/2"),
    ];
    let shown = browser.submit(action, &fields).await;
    assert!(shown.html.contains("value=\"12.50\""), "{}", shown.html);
    let back = format!("/wallet/proposals/{id}/withdraw");
    let shown = browser.submit(&back, &[("csrf", &csrf)]).await;
    assert!(shown.html.contains("Taken back"), "{}", shown.html);
    browser
        .post(action, &[("csrf", "x")])
        .await
        .assert_code(403, "form_foreign");
}

/// What somebody asks of everybody, and an invoice of theirs.
fn links_of_somebody() -> (String, String) {
    let payee = atomicity_ledger::Keypair::from_secret(&[7; 32]);
    let (unit, now): (Unit, _) = ("BREAD/2".parse().unwrap(), now());
    let request = PaymentRequest {
        v: Version,
        id: RecordId::from_entropy([1; 16]),
        payee: payee.user_key(),
        payer: None,
        unit: unit.clone(),
        amount: Goal::Target {
            amount: Amount::from_minor(3_000).unwrap(),
            min: None,
        },
        targets: Vec::new(),
        memo: None,
        every: None,
        expires: now.plus_millis(3_600_000),
        at: now,
    };
    let invoice = Invoice {
        v: Version,
        id: RecordId::from_entropy([2; 16]),
        payee: payee.user_key(),
        unit,
        amount: Amount::from_minor(250).ok(),
        hash: Preimage::from_bytes([3; 32]).hash(),
        logs: vec![InvoiceLog {
            origin: "log.example/1".parse().unwrap(),
            policy_hash: PolicyHash::from_bytes([1; 32]),
            url: None,
        }],
        logs_refused: Vec::new(),
        hints: Vec::new(),
        expires: now.plus_millis(3_600_000),
        memo: None,
        at: now,
    };
    (
        Link::from(Signed::sign(request, &payee).unwrap()).to_string(),
        Link::from(Signed::sign(invoice, &payee).unwrap()).to_string(),
    )
}

#[tokio::test]
async fn each_form_of_the_page_proposes_what_it_says() {
    let relay = Relay::start().await;
    let plugin = Plugin::start_with(|config| pages(config, &relay)).await;
    let account = plugin.user().await;
    let browser = Browser::new(&format!("http://{}", plugin.addresses.http));
    log_in(&browser, &account.user.root).await;
    let key = Keypair::random().public_key().z32();
    let (bill, invoice) = links_of_somebody();
    type Fields<'a> = &'a [(&'a str, &'a str)];
    let forms: [(&str, Fields, Value, &str); 14] = [
        (
            "part",
            &[("link", &bill), ("amount", "1,50")],
            json!({"link": bill, "amount": "150"}),
            "of what",
        ),
        (
            "part",
            &[("link", &bill)],
            json!({"link": bill}),
            "known once its payee keeps it",
        ),
        (
            "ask",
            &[
                ("amount", "4"),
                ("unit", "BREAD/2"),
                ("memo", "<i>cake</i>"),
            ],
            json!({"unit": "BREAD/2", "amount": "400", "memo": "<i>cake</i>"}),
            "&lt;i&gt;cake&lt;/i&gt;",
        ),
        (
            "issue",
            &[
                ("user", &key),
                ("amount", "2,50"),
                ("unit", "BREAD/2"),
                ("memo", "milk"),
            ],
            json!({"user": key, "unit": "BREAD/2", "amount": "250", "memo": "milk"}),
            "milk",
        ),
        (
            "settle",
            &[("user", &key), ("amount", "2.50"), ("unit", "BREAD/2")],
            json!({"user": key, "unit": "BREAD/2", "amount": "250"}),
            "pay off",
        ),
        (
            "reassign",
            &[("user", &key), ("link", &invoice)],
            json!({"user": key, "link": invoice}),
            "appears here while your wallet runs",
        ),
        (
            "block",
            &[("user", &key), ("blocked", "false")],
            json!({"user": key, "blocked": false}),
            "again",
        ),
        (
            "rule",
            &[
                ("about", "friends_of_friends"),
                ("accept", "20"),
                ("cap", "100"),
                ("unit", "BREAD/2"),
                ("take", "false"),
            ],
            json!({"rule": {
                "id": 0, "who": {"friend_of": null}, "unit": "BREAD/2",
                "accept": "2000", "cap": "10000", "per_introducer": "10000",
            }}),
            "vouches for, each",
        ),
        (
            "unrule",
            &[
                ("about", "tag"),
                ("which", "family"),
                ("accept", "20"),
                ("cap", "100"),
                ("unit", "BREAD/2"),
                ("take", "true"),
            ],
            json!({"rule": {
                "id": 0, "who": {"tag": "family"}, "unit": "BREAD/2",
                "accept": "2000", "cap": "10000",
            }}),
            "Take this rule back: whom you tagged <bdi>family</bdi>",
        ),
        (
            "account",
            &[
                ("name", "<u>shop</u>"),
                ("key", &key),
                ("per_day", "5"),
                ("unit", "BREAD/2"),
                ("days", "30"),
            ],
            json!({"name": "<u>shop</u>", "key": key, "unit": "BREAD/2", "per_day": "500"}),
            "&lt;u&gt;shop&lt;/u&gt;",
        ),
        (
            "revoke",
            &[("key", &key)],
            json!({"key": key}),
            "End the account of the app",
        ),
        (
            "agent",
            &[("days", "90")],
            json!({}),
            "keep the books of all your friends until",
        ),
        (
            "agent_off",
            &[("force", "false")],
            json!({"force": null}),
            "have your wallet keep its books again</p>",
        ),
        (
            "agent_off",
            &[("force", "true")],
            json!({"force": true}),
            "again, by your root key",
        ),
    ];
    for (kind, fields, expected, words) in forms {
        let form = if kind == "unrule" { "rule" } else { kind };
        let action = format!("/wallet/proposals/{form}");
        let page = browser.get("/wallet/proposals").await;
        let (csrf, id) = (page.field(&action, "csrf"), page.field(&action, "id"));
        let mut all = vec![("csrf", csrf.as_str()), ("id", id.as_str())];
        all.extend_from_slice(fields);
        let shown = browser.submit(&action, &all).await;
        assert!(shown.html.contains(words), "{kind}: {}", shown.html);
        let left = account
            .call(Method::GET, &format!("{PROPOSALS}/{id}"), None)
            .await;
        let left = left.assert_status(200).body.clone();
        assert_eq!(left["kind"], kind);
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&left[name], value, "{kind}: {name}");
        }
    }
    // A bill that leads here fills its link in.
    let page = browser.get(&format!("/wallet/proposals?link={bill}")).await;
    assert_eq!(page.field("/wallet/proposals/part", "link"), bill);
}

#[tokio::test]
async fn who_has_asked_is_led_to_the_bill_and_a_settlement_is_no_more_than_asked_for() {
    let relay = Relay::start().await;
    let plugin = Plugin::start_with(|config| pages(config, &relay)).await;
    let account = plugin.user().await;
    let browser = Browser::new(&format!("http://{}", plugin.addresses.http));
    log_in(&browser, &account.user.root).await;
    let friend = Keypair::random().public_key().z32();
    let proposed = [
        json!({"kind": "ask", "unit": "BREAD/2", "amount": "500"}),
        json!({"kind": "ask", "unit": "BREAD/2", "amount": "500", "user": friend}),
        json!({"kind": "settle", "unit": "BREAD/2", "amount": "500", "user": friend}),
    ];
    let bill = format!("/u/{}/requests/{}", account.z32(), b64(&[8; 16]));
    let link = format!("href=\"{bill}\"");
    for (n, mut body) in (1..).zip(proposed) {
        body["id"] = json!(b64(&[n; 16]));
        propose(&account, &body).await.assert_status(201);
        let shown = browser.get("/wallet/proposals").await;
        assert!(!shown.html.contains(&link) && !shown.html.contains("They were asked"));
        let mut word = json!({"state": "done"});
        if body["kind"] == "ask" {
            word["request"] = json!(b64(&[8; 16]));
        }
        let said = say(&account, n, word.clone()).await;
        assert_eq!(
            said.assert_status(200).body["told"]["request"],
            word["request"]
        );
        let shown = browser.get("/wallet/proposals").await;
        // What one person was asked for has no page.
        assert_eq!(shown.html.contains(&link), n == 1, "{}", shown.html);
        assert_eq!(
            shown.html.contains("They were asked"),
            n == 3,
            "{}",
            shown.html
        );
        let shows = format!("atomicity request show {}", b64(&[8; 16]));
        assert_eq!(shown.html.contains(&shows), n == 2, "{}", shown.html);
        plugin_forgets(&plugin).await;
    }
    let odd = json!({"state": "quoted", "request": "../../x"});
    propose(&account, &self::friend(9)).await.assert_status(201);
    say(&account, 9, odd)
        .await
        .assert_problem(400, "body_malformed");
}

/// What was proposed until now is gone.
async fn plugin_forgets(plugin: &Plugin) {
    let pool = sqlx::PgPool::connect(&plugin.database.url).await.unwrap();
    sqlx::query("DELETE FROM proposals")
        .execute(&pool)
        .await
        .unwrap();
}

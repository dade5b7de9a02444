//! Guests pay parts of a bill over Lightning or on the chain: what they and the payee's wallet say to the plugin.

mod limits;
mod page;

use atomicity_ledger::record::{PaymentRequest, RequestState, request_path, request_state_path};
use atomicity_ledger::{Keypair, RecordId, Signed, UserKey};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::plugin::{Account, Answer, Plugin, b64};
use crate::support::sse::Events;
use crate::support::user::User;
use crate::support::world::{File, HomeServer, World};

const FAR: u64 = 4_000_000_000_000;
const INVOICE: &str = "lnbc450u1pguest";

/// A payee with an account at the plugin beside their homeserver.
struct Payee {
    // The network ends with it.
    _world: World,
    home: HomeServer,
    root: Keypair,
    plugin: Plugin,
    token: String,
}

impl Payee {
    async fn new() -> Self {
        let world = World::new();
        let home = HomeServer::open(&world).await;
        let user = User::new();
        world.settle(&user.root, &home.keys).await;
        let root = Keypair::from_secret(&user.root.secret());
        let plugin = Plugin::start_with(|config| {
            world.join(config);
            config.network.profile_max_age_s = 0;
            config.pages.enabled = true;
            config.http.trusted_proxies = vec!["127.0.0.1".to_owned()];
        })
        .await;
        let answer = plugin.open_session(&user.proof(&plugin.key())).await;
        let token = answer.body["token"].as_str().unwrap().to_owned();
        let payee = Self {
            _world: world,
            home,
            root,
            plugin,
            token,
        };
        payee.wallet(Method::PUT, "/v0/me", None).await;
        payee
    }

    fn key(&self) -> UserKey {
        self.root.user_key()
    }

    /// A request of theirs.
    fn publish(&self, n: u8, change: impl FnOnce(&mut Value)) -> Signed<PaymentRequest> {
        let mut asked = json!({
            "v": 1, "id": id(n), "payee": self.key(), "unit": "USD/2", "amount": {"target": {"amount": "9000", "min": "500"}},
            "targets": [], "memo": "dinner", "expires": FAR, "at": 1_700_000_000_000u64,
        });
        change(&mut asked);
        let asked: PaymentRequest = serde_json::from_value(asked).unwrap();
        let path = request_path(asked.id);
        let signed = Signed::sign(asked, &self.root).unwrap();
        let file = File::Is(signed.jws().to_owned(), "\"a\"");
        self.home.put(&self.key(), &path, file);
        signed
    }

    fn say(
        &self,
        request: &Signed<PaymentRequest>,
        serial: u64,
        (filled, reserved, open): (&str, &str, bool),
    ) {
        let state: RequestState = serde_json::from_value(json!({
            "v": 1, "request": request.hash(), "payee": self.key(), "filled": filled, "reserved": reserved,
            "open": open, "serial": serial, "at": 1_700_000_000_000u64,
        }))
        .unwrap();
        let signed = Signed::sign(state, &self.root).unwrap().jws().to_owned();
        let path = request_state_path(request.record().id);
        self.home.put(&self.key(), &path, File::Is(signed, "\"s\""));
    }

    async fn wallet(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.plugin.request(method, path).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Answer::of(request).await
    }

    async fn welcome(&self, ways: &[(&str, &str)]) {
        let ways: Vec<Value> = ways
            .iter()
            .map(|(way, unit)| json!({"way": way, "unit": unit}))
            .collect();
        let body = json!({"ways": ways});
        let answer = self
            .wallet(Method::PUT, "/v0/me/guest-ways", Some(body.clone()))
            .await;
        assert_eq!(answer.assert_status(200).body, body);
    }

    /// A guest asks, from this address.
    async fn ask_from(&self, address: &str, request: u8, body: Value) -> Answer {
        let path = format!(
            "/v0/users/{}/requests/{}/guest-parts",
            self.key(),
            id(request)
        );
        let post = self.plugin.request(Method::POST, &path);
        Answer::of(post.header("x-forwarded-for", address).json(&body)).await
    }

    async fn ask(&self, request: u8, body: Value) -> Answer {
        self.ask_from("192.0.2.1", request, body).await
    }

    async fn look(&self, request: u8, part: u8) -> Answer {
        let path = format!(
            "/v0/users/{}/requests/{}/guest-parts/{}",
            self.key(),
            id(request),
            id(part)
        );
        Answer::of(self.plugin.request(Method::GET, &path)).await
    }

    async fn report(&self, part: u8, body: Value) -> Answer {
        let path = format!("/v0/me/guest-parts/{}", id(part));
        self.wallet(Method::PUT, &path, Some(body)).await
    }

    async fn listed(&self, query: &str) -> Vec<String> {
        let path = format!("/v0/me/guest-parts{query}");
        let answer = self.wallet(Method::GET, &path, None).await;
        let items = answer.assert_status(200).body["items"].as_array().unwrap();
        let name = |item: &Value| item["id"].as_str().unwrap().to_owned();
        items.iter().map(name).collect()
    }

    async fn pool(&self) -> sqlx::PgPool {
        sqlx::PgPool::connect(&self.plugin.database.url)
            .await
            .unwrap()
    }
}

fn id(n: u8) -> RecordId {
    RecordId::from_entropy([n; 16])
}

fn part(n: u8, amount: &str, way: &str) -> Value {
    json!({"id": b64(&[n; 16]), "amount": amount, "way": way})
}

fn offer() -> Value {
    json!({"state": "offered", "amount": "3000", "invoice": INVOICE, "price_msat": "45000000", "expires": FAR})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_asks_the_wallet_answers_and_it_is_paid() {
    let payee = Payee::new().await;
    payee.publish(1, |_| {});
    payee
        .welcome(&[("lightning", "USD/2"), ("lightning", "USD/2")])
        .await;
    let account = Account {
        plugin: &payee.plugin,
        user: User::new(),
        token: payee.token.clone(),
    };
    let mut events = Events::open(&account, "", None).await;
    events.ready().await;
    let mut asked = part(1, "3000", "lightning");
    asked["name"] = json!("Carla");
    let first = payee.ask(1, asked.clone()).await;
    let body = &first.assert_status(201).body;
    let at = body["at"].as_i64().unwrap();
    assert_eq!(
        body,
        &json!({"id": id(1), "request": id(1), "unit": "USD/2", "way": "lightning", "amount": "3000", "name": "Carla",
            "state": "waiting", "at": at, "expires": at + 600_000})
    );
    let told = events.next().await.unwrap();
    assert_eq!(
        (told.name.as_str(), told.data.as_str(), told.id),
        ("guests", "new", None)
    );
    // The same again is the same; another under its name is not.
    payee.ask(1, asked.clone()).await.assert_status(200);
    asked["amount"] = json!("3001");
    payee.ask(1, asked).await.assert_problem(409, "id_reused");
    assert_eq!(payee.listed("?open=true").await, [id(1).to_string()]);
    let seen = payee.look(1, 1).await;
    let etag = seen.assert_status(200).headers["etag"].clone();
    let path = format!(
        "/v0/users/{}/requests/{}/guest-parts/{}",
        payee.key(),
        id(1),
        id(1)
    );
    let again = payee.plugin.request(Method::GET, &path);
    let again = Answer::of(again.header("if-none-match", etag)).await;
    again.assert_status(304);

    for _ in 0..2 {
        let answer = payee.report(1, offer()).await;
        let body = &answer.assert_status(200).body;
        assert_eq!(
            (&body["state"], &body["invoice"]),
            (&json!("offered"), &json!(INVOICE))
        );
        assert_eq!(body["uri"], "lightning:LNBC450U1PGUEST");
        assert_eq!(
            (&body["price_msat"], &body["expires"]),
            (&json!("45000000"), &json!(FAR))
        );
        assert!(body["address"].is_null());
    }
    assert_eq!(payee.look(1, 1).await.body["state"], "offered");
    let mut other = offer();
    other["price_msat"] = json!("46000000");
    payee
        .report(1, other)
        .await
        .assert_problem(409, "guest_part_ended");
    payee
        .report(1, json!({"state": "refused", "reason": "request_full"}))
        .await
        .assert_problem(409, "guest_part_ended");
    for _ in 0..2 {
        let paid = payee
            .report(1, json!({"state": "paid", "amount": "2999"}))
            .await;
        let body = &paid.assert_status(200).body;
        assert_eq!(
            (&body["state"], &body["amount"]),
            (&json!("paid"), &json!("2999"))
        );
    }
    // What was said before does no harm, and changes nothing.
    let before = payee.report(1, offer()).await;
    assert_eq!(before.assert_status(200).body["state"], "paid");
    for late in [
        json!({"state": "ended"}),
        json!({"state": "seen"}),
        json!({"state": "paid", "amount": "1"}),
    ] {
        payee
            .report(1, late)
            .await
            .assert_problem(409, "guest_part_ended");
    }
    assert!(payee.listed("?open=true").await.is_empty());
    assert_eq!(payee.listed("").await, [id(1).to_string()]);
    payee
        .look(1, 2)
        .await
        .assert_problem(404, "guest_part_unknown");
    // Under another request it is not found.
    payee
        .look(2, 1)
        .await
        .assert_problem(404, "guest_part_unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_chain_a_payment_is_seen_first_and_counts_even_if_it_is_late() {
    let payee = Payee::new().await;
    payee.publish(1, |_| {});
    payee.welcome(&[("onchain", "USD/2")]).await;
    payee
        .ask(1, part(1, "3000", "onchain"))
        .await
        .assert_status(201);
    let address = json!({"state": "offered", "amount": "3000", "address": "bc1qguest", "price_msat": "45000000", "expires": FAR});
    let mut uneven = address.clone();
    uneven["price_msat"] = json!("45000001");
    payee
        .report(1, uneven)
        .await
        .assert_problem(400, "guest_part_invalid");
    let offered = payee.report(1, address).await;
    let body = &offered.assert_status(200).body;
    assert_eq!(body["uri"], "bitcoin:bc1qguest?amount=0.00045");
    assert_eq!(
        (&body["address"], body["invoice"].is_null()),
        (&json!("bc1qguest"), true)
    );
    for (report, state) in [
        (json!({"state": "seen"}), "seen"),
        (json!({"state": "ended"}), "ended"),
        (json!({"state": "ended"}), "ended"),
        (json!({"state": "seen"}), "ended"),
        (json!({"state": "paid", "amount": "3000"}), "paid"),
    ] {
        let answer = payee.report(1, report).await;
        assert_eq!(answer.assert_status(200).body["state"], state);
        assert_eq!(
            payee.listed("?open=true").await.is_empty(),
            state != "seen",
            "{state}"
        );
    }
    payee
        .ask(1, part(2, "3000", "onchain"))
        .await
        .assert_status(201);
    let refused = json!({"state": "refused", "reason": "rail_down"});
    let answer = payee.report(2, refused.clone()).await;
    assert_eq!(answer.assert_status(200).body["reason"], "rail_down");
    payee.report(2, refused).await.assert_status(200);
    payee
        .report(2, json!({"state": "paid", "amount": "3000"}))
        .await
        .assert_problem(409, "guest_part_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_says_what_belongs_to_it_and_nothing_else() {
    let payee = Payee::new().await;
    payee.publish(1, |_| {});
    payee.welcome(&[("lightning", "USD/2")]).await;
    payee
        .ask(1, part(1, "3000", "lightning"))
        .await
        .assert_status(201);
    let changed = |change: fn(&mut Value)| {
        let mut report = offer();
        change(&mut report);
        report
    };
    for wrong in [
        changed(|report| report["address"] = json!("bc1q")),
        changed(|report| report["invoice"] = json!("lnbc 1")),
        changed(|report| report["invoice"] = json!("l".repeat(2049))),
        changed(|report| report["invoice"] = json!("")),
        changed(|report| report["reason"] = json!("request_full")),
        changed(|report| report["expires"] = json!(1)),
        changed(|report| drop(report.as_object_mut().unwrap().remove("price_msat"))),
        changed(|report| drop(report.as_object_mut().unwrap().remove("expires"))),
        json!({"state": "offered", "amount": "1", "address": "bc1q", "price_msat": "1000", "expires": FAR}),
        json!({"state": "paid"}),
        json!({"state": "seen", "amount": "1"}),
        json!({"state": "refused"}),
        json!({"state": "refused", "reason": "No!"}),
        json!({"state": "refused", "reason": "x".repeat(65)}),
    ] {
        payee
            .report(1, wrong)
            .await
            .assert_problem(400, "guest_part_invalid");
    }
    payee
        .report(1, json!({"state": "waiting"}))
        .await
        .assert_problem(400, "body_malformed");
    payee
        .report(9, json!({"state": "seen"}))
        .await
        .assert_problem(404, "guest_part_unknown");
    payee
        .report(1, json!({"state": "seen"}))
        .await
        .assert_problem(409, "guest_part_ended");
    assert_eq!(payee.look(1, 1).await.body["state"], "waiting");
    // Somebody else's wallet has nothing to say here.
    let other = payee.plugin.user().await;
    let path = format!("/v0/me/guest-parts/{}", id(1));
    other
        .call(Method::PUT, &path, Some(offer()))
        .await
        .assert_problem(404, "guest_part_unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_are_taken_where_the_wallet_says_so_and_pay_what_can_be_paid() {
    let payee = Payee::new().await;
    let target = payee.publish(1, |_| {});
    let refused = async |request: u8, body: Value, status: u16, code: &str| {
        payee.ask(request, body).await.assert_problem(status, code);
    };
    let lightning = |amount: &str| part(1, amount, "lightning");
    refused(1, lightning("3000"), 404, "guests_unwelcome").await;
    payee
        .welcome(&[("lightning", "EUR/2"), ("onchain", "USD/2")])
        .await;
    refused(1, lightning("3000"), 404, "guests_unwelcome").await;
    payee.welcome(&[("lightning", "USD/2")]).await;
    refused(1, part(1, "3000", "onchain"), 404, "guests_unwelcome").await;
    refused(9, lightning("3000"), 404, "request_unknown").await;
    refused(1, lightning("499"), 400, "guest_part_invalid").await;
    refused(1, lightning("9001"), 400, "guest_part_invalid").await;
    refused(1, lightning("0"), 400, "body_malformed").await;
    refused(1, part(1, "3000", "cash"), 400, "body_malformed").await;
    for (name, code) in [
        ("a\u{202e}b", "body_malformed"),
        ("a\nb", "body_malformed"),
        ("", "body_malformed"),
        (&*"x".repeat(41), "guest_part_invalid"),
    ] {
        let mut named = lightning("3000");
        named["name"] = json!(name);
        refused(1, named, 400, code).await;
    }
    payee.publish(2, |asked| asked["amount"] = json!({"exact": "3000"}));
    refused(2, lightning("2999"), 400, "guest_part_invalid").await;
    payee.publish(3, |asked| {
        asked["payer"] = json!(Keypair::from_secret(&[8; 32]).user_key());
    });
    refused(3, lightning("3000"), 400, "guest_part_invalid").await;
    payee.publish(4, |asked| {
        asked["amount"] = json!({"exact": "3000"});
        asked["every"] = json!({"period": "month", "from": 1_700_000_000_000u64});
    });
    refused(4, lightning("3000"), 400, "guest_part_invalid").await;
    payee.publish(5, |asked| asked["expires"] = json!(1_700_000_000_001u64));
    refused(5, lightning("3000"), 409, "request_closed").await;
    for (n, said) in [
        (6, ("9000", "0", false)),
        (7, ("8000", "1000", true)),
        (8, ("1000", "0", false)),
    ] {
        let asked = payee.publish(n, |_| {});
        payee.say(&asked, 1, said);
        refused(n, lightning("500"), 409, "request_closed").await;
    }
    // Who comes last may pay less than the least.
    let last = payee.publish(10, |_| {});
    payee.say(&last, 1, ("8000", "900", true));
    refused(10, lightning("101"), 400, "guest_part_invalid").await;
    payee.ask(10, lightning("100")).await.assert_status(201);
    payee
        .ask(2, part(2, "3000", "lightning"))
        .await
        .assert_status(201);

    // Without an account nobody is asked any more, and what was asked is still told.
    drop(target);
    payee.wallet(Method::DELETE, "/v0/me", None).await;
    refused(1, part(3, "3000", "lightning"), 404, "guests_unwelcome").await;
    assert_eq!(payee.look(2, 2).await.body["state"], "waiting");
    let body = json!({"ways": [{"way": "lightning", "unit": "USD/2"}]});
    let closed = payee
        .wallet(Method::PUT, "/v0/me/guest-ways", Some(body))
        .await;
    closed.assert_problem(404, "account_unknown");
    // Whoever comes back says it anew.
    payee.wallet(Method::PUT, "/v0/me", None).await;
    refused(1, part(3, "3000", "lightning"), 404, "guests_unwelcome").await;
    let many = vec![json!({"way": "lightning", "unit": "USD/2"}); 201];
    let many = payee
        .wallet(
            Method::PUT,
            "/v0/me/guest-ways",
            Some(json!({"ways": many})),
        )
        .await;
    many.assert_problem(400, "too_many_ways");
}

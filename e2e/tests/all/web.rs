//! What a web app that the user signed in to, and anybody else, can ask the plugin about them.

use atomicity_e2e::people::{Person, Site, amount};
use atomicity_e2e::{Plugin, World};
use atomicity_ledger::Signed;
use atomicity_ledger::record::Profile;
use pubky::ClientId;
use reqwest::header::{ETAG, IF_NONE_MATCH};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::common::{BREAD, settle, village};

/// A web app: it holds a session that the user allowed it, and nothing of the wallet.
struct App {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl App {
    async fn sign_in(world: &World, plugin: &Plugin, person: &Person) -> Self {
        let signer = world.sdk().unwrap().signer(person.wallet().root().unwrap());
        let app = ClientId::new("web.test").unwrap();
        let session = signer.signin(app).await.unwrap();
        let claims = json!({"audience": plugin.key(), "purpose": "atomicity-session"});
        let grant = session.as_grant().expect("a session by grant");
        let proof = grant.create_custom_pop(claims).await.unwrap();

        let http = reqwest::Client::new();
        let base = plugin.http_url();
        let opened = http
            .post(format!("{base}/v0/sessions"))
            .json(&json!({"proof": proof}));
        let opened = answer(opened, StatusCode::CREATED).await;
        assert_eq!(opened["user"], person.key());
        assert_eq!(opened["registered"], true);
        let token = opened["token"].as_str().unwrap().to_owned();
        Self { http, base, token }
    }

    fn get(&self, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.base);
        self.http.get(url).bearer_auth(&self.token)
    }

    async fn read(&self, path: &str) -> Value {
        answer(self.get(path), StatusCode::OK).await
    }
}

async fn send(request: RequestBuilder, expected: StatusCode) -> Response {
    let answer = request.send().await.unwrap();
    let (status, url) = (answer.status(), answer.url().clone());
    if status != expected {
        panic!(
            "{url} answered {status}: {}",
            answer.text().await.unwrap_or_default()
        );
    }
    answer
}

async fn answer(request: RequestBuilder, expected: StatusCode) -> Value {
    send(request, expected).await.json().await.unwrap()
}

/// What anybody can read at the plugin.
async fn public(plugin: &Plugin, path: &str) -> Value {
    let url = format!("{}{path}", plugin.http_url());
    answer(reqwest::Client::new().get(url), StatusCode::OK).await
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name]
        .as_array()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// The totals of `balance --json` as the plugin should say them.
fn expected_balances(sheet: &Value) -> Vec<Value> {
    let channels = |unit: &Value| {
        let lines = list(sheet, "balances").iter();
        lines.filter(|line| line["unit"] == *unit).count()
    };
    let totals = list(sheet, "totals").iter();
    totals
        .map(|total| {
            json!({
                "unit": total["unit"],
                "net": total["net"],
                "owed_to_me": total["owed_to_me"],
                "owed_by_me": total["owed_by_me"],
                "channels": channels(&total["unit"]),
            })
        })
        .collect()
}

/// The lines of `balance --json` as the plugin should say them. All are about one friend, so by unit.
fn expected_channels(sheet: &Value) -> Vec<Value> {
    let lines = list(sheet, "balances").iter();
    lines
        .map(|line| {
            let accepted_by_peer = line["line_for_me"].as_str().unwrap_or("0");
            json!({
                "peer": line["user"],
                "unit": line["unit"],
                "balance": line["net"],
                "accept": line["line_for_them"],
                "accepted_by_peer": accepted_by_peer,
                "frozen": line["state"] == "frozen",
            })
        })
        .collect()
}

/// The plugin shows the web app what the wallet shows its owner.
async fn shows_what_the_wallet_shows(app: &App, person: &Person) {
    let sheet = person.wallet().ok(&["balance"]).await.unwrap();
    let whoami = person.wallet().ok(&["whoami"]).await.unwrap();
    let balances = app.read("/v0/me/balances").await;
    let channels = app.read("/v0/me/channels").await;
    assert_eq!(*list(&balances, "balances"), expected_balances(&sheet));
    assert_eq!(*list(&channels, "channels"), expected_channels(&sheet));
    for said in [&balances, &channels] {
        assert!(
            said["as_of"].as_u64().unwrap() <= sheet["as_of"].as_u64().unwrap(),
            "{said}"
        );
        assert_eq!(said["signed_by"], whoami["book_key"]);
    }
    assert_eq!(balances["as_of"], channels["as_of"]);
}

/// Milkman and baker, with 2.00 bread between them and a line in hours too.
async fn village_with_debts(world: &World) -> (Site, Person, Person) {
    let (site, milkman, baker) = village(world).await;
    for person in [&milkman, &baker] {
        person
            .wallet()
            .ok(&["unit", "open", "HOUR/2"])
            .await
            .unwrap();
    }
    baker.trust(&milkman, "3.00 HOUR/2").await.unwrap();
    milkman.give(&baker, "2.00 BREAD/2", "loaf").await.unwrap();
    settle(&milkman, &baker).await;
    (site, milkman, baker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_app_reads_the_balances_that_the_wallet_pushes() {
    let world = World::start().await.unwrap();
    let (site, milkman, baker) = village_with_debts(&world).await;
    let app = App::sign_in(&world, &site.plugin, &milkman).await;
    let none = answer(app.get("/v0/me/balances"), StatusCode::NOT_FOUND).await;
    assert_eq!(none["code"], "no_snapshot");

    let on = milkman.wallet().ok(&["snapshot", "on"]).await.unwrap();
    assert_eq!(
        (&on["opted_in"], &on["pushed"]),
        (&json!(true), &json!(true))
    );
    shows_what_the_wallet_shows(&app, &milkman).await;
    let first = app.read("/v0/me/balances").await;
    assert_eq!(amount(&first, "/balances/0/net").unwrap(), -200);

    // One channel a page.
    let channels = app.read("/v0/me/channels").await;
    let page = app.read("/v0/me/channels?limit=1").await;
    let after = page["next"].as_str().expect("there is another page");
    let rest = app.read(&format!("/v0/me/channels?after={after}")).await;
    let paged = [
        list(&page, "channels").clone(),
        list(&rest, "channels").clone(),
    ];
    assert_eq!(paged[0].len(), 1);
    assert_eq!(paged.concat(), *list(&channels, "channels"));
    assert_eq!(rest["next"], Value::Null);

    // Who has it already is told so, until it changes.
    let held = send(app.get("/v0/me/balances"), StatusCode::OK).await;
    let held = held.headers()[ETAG].clone();
    let again = app.get("/v0/me/balances").header(IF_NONE_MATCH, &held);
    let again = send(again, StatusCode::NOT_MODIFIED).await;
    assert_eq!(again.text().await.unwrap(), "");
    milkman.give(&baker, "0.50 BREAD/2", "roll").await.unwrap();
    settle(&milkman, &baker).await;
    let changed = app.get("/v0/me/balances").header(IF_NONE_MATCH, &held);
    let changed = answer(changed, StatusCode::OK).await;
    assert_eq!(amount(&changed, "/balances/0/net").unwrap(), -250);
    shows_what_the_wallet_shows(&app, &milkman).await;

    // Nobody else gets to see it, and nobody's books are shown who did not ask for it.
    let url = format!("{}/v0/me/balances", app.base);
    send(app.http.get(url), StatusCode::UNAUTHORIZED).await;
    let other = App::sign_in(&world, &site.plugin, &baker).await;
    send(other.get("/v0/me/balances"), StatusCode::NOT_FOUND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anybody_reads_the_profile_and_only_the_units_that_are_shown() {
    let world = World::start().await.unwrap();
    let site = Site::open(&world, "h").await.unwrap();
    let mut baker = Person::new(&world, "baker").unwrap();
    baker.join(&site, BREAD).await.unwrap();

    let units = format!("/v0/users/{}/units", baker.key());
    assert_eq!(public(&site.plugin, &units).await["units"], json!([]));
    let shown = baker.wallet().ok(&["snapshot", "public", BREAD]).await;
    assert_eq!(shown.unwrap()["units"], json!([BREAD]));
    assert_eq!(public(&site.plugin, &units).await["units"], json!([BREAD]));
    baker.wallet().ok(&["snapshot", "public"]).await.unwrap();
    assert_eq!(public(&site.plugin, &units).await["units"], json!([]));

    let profile = format!("/v0/users/{}/profile", baker.key());
    let said = public(&site.plugin, &profile).await;
    let own = baker.wallet().ok(&["profile", "show"]).await.unwrap();
    for field in ["user", "name", "units", "at"] {
        assert_eq!(said["profile"][field], own[field], "{field}");
    }
    assert_eq!(said["profile"]["name"], "baker");
    assert_eq!(said["profile"]["inboxes"][0]["plugin"], site.plugin.key());
    assert_eq!(said["signed_by"], own["signed_by"]);
    assert_eq!(said["stale"], false);
    let signed = Signed::<Profile>::decode(said["jws"].as_str().unwrap()).unwrap();
    assert_eq!(signed.record().user.to_z32(), baker.key());
    assert_eq!(signed.record().at.millis(), own["at"].as_u64().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_unit_is_among_the_ways_to_pay_and_a_closed_one_is_not() {
    let world = World::start().await.unwrap();
    let site = Site::open(&world, "h").await.unwrap();
    let mut baker = Person::new(&world, "baker").unwrap();
    baker.join(&site, "HOUR/2").await.unwrap();
    // Answers are kept for half a minute, each size of page for itself: another size is a fresh answer.
    let methods = async |limit: u8| {
        let path = format!("/v0/users/{}/endpoints?limit={limit}", baker.key());
        let page = public(&site.plugin, &path).await;
        let items = list(&page, "items").iter();
        let ways: Vec<_> = items
            .map(|item| {
                assert_eq!(item["app"], "atomicity");
                item["method"].as_str().unwrap().to_owned()
            })
            .collect();
        ways
    };
    assert_eq!(methods(50).await, ["hour-atomicity-ledger"]);

    let opened = baker.wallet().ok(&["unit", "open", BREAD]).await.unwrap();
    assert_eq!(opened["published"], true);
    assert_eq!(
        opened["endpoint"],
        "/pub/paykit/v0/apps/atomicity/endpoints/bread-atomicity-ledger"
    );
    assert_eq!(
        methods(49).await,
        ["bread-atomicity-ledger", "hour-atomicity-ledger"]
    );

    let closed = baker.wallet().ok(&["unit", "close", BREAD]).await.unwrap();
    assert_eq!(closed["closed"], true);
    assert_eq!(closed["still_open_with"], json!([]));
    assert_eq!(methods(48).await, ["hour-atomicity-ledger"]);
}

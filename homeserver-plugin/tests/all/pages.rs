//! Pages for people: who gets them, under which policy, and what hostile words do in them.

use atomicity_ledger::record::{
    PaymentRequest, Profile, RequestState, request_path, request_state_path,
};
use atomicity_ledger::seal::EncryptionSecret;
use atomicity_ledger::{Keypair, RecordId, Signed};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::plugin::{Answer, Plugin};
use crate::support::world::{File, HomeServer, World};

const PROFILE: &str = "/pub/atomicity/v0/profile";
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

/// What a browser gets.
struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    html: String,
}

async fn look(plugin: &Plugin, path: &str) -> Seen {
    let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
    let request = plugin.request(Method::GET, path).header("accept", browser);
    let response = request.send().await.unwrap();
    Seen {
        status: response.status(),
        headers: response.headers().clone(),
        html: response.text().await.unwrap(),
    }
}

impl Seen {
    /// Checks that it is a page as all of them are.
    #[track_caller]
    fn assert_page(&self, status: u16) -> &str {
        assert_eq!(self.status.as_u16(), status, "{}", self.html);
        assert_eq!(self.headers["content-type"], "text/html; charset=utf-8");
        assert_eq!(self.headers["content-security-policy"], POLICY);
        assert_eq!(self.headers["x-content-type-options"], "nosniff");
        assert_eq!(self.headers["referrer-policy"], "same-origin");
        let vary: Vec<_> = self.headers.get_all("vary").iter().collect();
        assert!(
            vary.iter()
                .any(|value| value.to_str().unwrap().contains("accept")),
            "{vary:?}"
        );
        for inline in [
            "<style",
            " style=\"",
            " onclick=\"",
            " onerror=\"",
            "javascript:",
        ] {
            assert!(!self.html.contains(inline), "{inline}: {}", self.html);
        }
        assert!(self.html.starts_with("<!DOCTYPE html><html lang=\"en\">"));
        &self.html
    }
}

/// The values of an attribute, as they stand in the text.
fn values<'a>(html: &'a str, attribute: &str) -> Vec<&'a str> {
    let begin = format!(" {attribute}=\"");
    html.split(&begin)
        .skip(1)
        .map(|rest| rest.split_once('"').unwrap().0)
        .collect()
}

async fn with_pages(world: &World, strangers: bool) -> Plugin {
    Plugin::start_with(|config| {
        world.join(config);
        config.network.profile_max_age_s = 0;
        config.pages.enabled = true;
        config.pages.strangers = strangers;
    })
    .await
}

fn profile(root: &Keypair, page: bool) -> String {
    let secret = EncryptionSecret::of_root(&Keypair::from_secret(&[7; 32]));
    let mut record = json!({
        "v": 1, "user": root.user_key(), "serial": if page { 2 } else { 1 }, "name": "<i>The</i> \"baker\" & 'son'",
        "encryption": [{"n": 1, "key": secret.public().to_string()}], "inboxes": [],
        "units": ["BREAD/2", "HOUR/2"], "logs_trusted": [], "logs_refused": [], "at": 1_700_000_000_000u64,
    });
    if page {
        record["page"] = json!(true);
    }
    let record: Profile = serde_json::from_value(record).unwrap();
    Signed::sign(record, root).unwrap().jws().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_pages_only_where_the_operator_wants_them() {
    let off = Plugin::start().await;
    let seen = look(&off, "/").await;
    assert_eq!(seen.status, 404);
    assert_eq!(seen.headers["content-type"], "application/problem+json");

    let on = with_pages(&World::new(), false).await;
    let home = look(&on, "/").await;
    let html = home.assert_page(200);
    assert!(html.contains(&on.key()), "it does not say who it is");
    // Programs are told in their own words, on the same listener.
    let program = Answer::of(on.request(Method::GET, "/nowhere")).await;
    program.assert_problem(404, "route_unknown");
    let person = look(&on, "/nowhere").await;
    assert!(person.assert_page(404).contains("404 route_unknown"));
    let posted = on.request(Method::POST, "/").header("accept", "text/html");
    let posted = posted.send().await.unwrap();
    assert_eq!(posted.status(), 405);
    assert_eq!(posted.headers()["content-type"], "text/html; charset=utf-8");
    // Nothing of it is there for wallets.
    let open = on.request(Method::GET, "/openapi.json");
    let document = Answer::of(open).await.body;
    assert!(document["paths"]["/"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_loads_is_small_and_kept_for_good() {
    let plugin = with_pages(&World::new(), false).await;
    let home = look(&plugin, "/").await;
    let html = home.assert_page(200);
    let mut loaded = values(html, "src");
    loaded.extend(
        values(html, "href")
            .into_iter()
            .filter(|path| path.starts_with("/assets/")),
    );
    assert!(loaded.len() >= 2, "{loaded:?}");
    let mut weight = html.len();
    for path in loaded {
        let asset = look(&plugin, path).await;
        assert_eq!(asset.status, 200, "{path}");
        assert_eq!(
            asset.headers["cache-control"],
            "public, max-age=31536000, immutable"
        );
        assert_eq!(asset.headers["x-content-type-options"], "nosniff");
        weight += asset.html.len();
    }
    assert!(weight < 100_000, "{weight} bytes");
    look(&plugin, "/assets/style.css").await.assert_page(404);
    look(&plugin, "/assets/..%2f..%2fconfig.toml")
        .await
        .assert_page(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_shown_only_with_their_word_and_an_account_here() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let root = home.resident(&world).await;
    let user = root.user_key();
    let path = format!("/u/{user}");
    home.put(&user, PROFILE, File::Is(profile(&root, true), "\"2\""));

    let plugin = with_pages(&world, false).await;
    let unknown = look(&plugin, &path).await;
    assert!(unknown.assert_page(404).contains("404 page_unknown"));
    let database = sqlx::PgPool::connect(&plugin.database.url).await.unwrap();
    sqlx::query("INSERT INTO accounts (owner, registered_at) VALUES ($1, 1)")
        .bind(user.as_bytes().as_slice())
        .execute(&database)
        .await
        .unwrap();
    database.close().await;
    let shown = look(&plugin, &path).await;
    let html = shown.assert_page(200);
    assert!(
        html.contains("&lt;i&gt;The&lt;/i&gt; &quot;baker&quot; &amp; 'son'"),
        "{html}"
    );
    assert!(!html.contains("<i>"));
    assert!(html.contains("BREAD/2") && html.contains(&format!("atomicity:{user}")));

    let open = with_pages(&world, true).await;
    look(&open, &path).await.assert_page(200);
    let shy = home.resident(&world).await;
    home.put(
        &shy.user_key(),
        PROFILE,
        File::Is(profile(&shy, false), "\"1\""),
    );
    let seen = look(&open, &format!("/u/{}", shy.user_key())).await;
    assert!(seen.assert_page(404).contains("404 page_unknown"));
    let cut = look(&open, "/u/abc").await;
    assert!(cut.assert_page(400).contains("400 user_malformed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_endpoints_are_shown_as_what_they_are() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let root = home.resident(&world).await;
    let user = root.user_key();
    home.put(&user, PROFILE, File::Is(profile(&root, true), "\"2\""));
    let apps = "/pub/paykit/v0/apps/";
    let long = "A".repeat(10_000);
    let places = [
        ("x-a-1", "<script>alert(1)</script>".to_owned()),
        ("x-b-1", "\u{202e}gnp.exe\u{200b}".to_owned()),
        ("x-c-1", long.clone()),
        ("btc-bitcoin-address", "x\" onclick=\"alert(1)".to_owned()),
    ];
    let mut listing = String::new();
    for (method, value) in &places {
        let path = format!("{apps}evil/endpoints/{method}");
        listing.push_str(&format!("pubky://{user}{path}\n"));
        let payload = json!({"value": value}).to_string();
        home.put(&user, &path, File::Is(payload, "\"e\""));
    }
    home.put(&user, apps, File::Is(listing, "\"l\""));
    let plugin = with_pages(&world, true).await;
    let seen = look(&plugin, &format!("/u/{user}")).await;
    let html = seen.assert_page(200);
    assert!(
        html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{html}"
    );
    assert!(!html.contains("<script>"));
    assert!(html.contains("gnp.exe") && !html.contains('\u{202e}') && !html.contains('\u{200b}'));
    assert!(!html.contains(&long) && html.contains("AAAA…") && html.len() < 60_000);
    assert!(!html.contains("\" onclick="), "{html}");
    assert!(
        values(html, "href")
            .iter()
            .all(|href| !href.starts_with("bitcoin:"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bill_says_how_it_stands_and_how_to_pay_until_it_is_full() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let root = home.resident(&world).await;
    let user = root.user_key();
    let id = RecordId::from_entropy([7; 16]);
    let path = format!("/u/{user}/requests/{id}");
    let plugin = with_pages(&world, true).await;
    let none = look(&plugin, &path).await;
    assert!(none.assert_page(404).contains("404 request_unknown"));

    let asked: PaymentRequest = serde_json::from_value(json!({
        "v": 1, "id": id, "payee": user, "unit": "BREAD/2", "amount": {"target": {"amount": "3000", "min": "250"}},
        "targets": [{"method": "cash", "value": "at the <table>"}, {"method": "btc-bitcoin-address", "value": "bc1qxyz"}],
        "memo": "</title><script>alert(1)</script>", "expires": 4_000_000_000_000u64, "at": 1_700_000_000_000u64,
    }))
    .unwrap();
    let signed = Signed::sign(asked, &root).unwrap();
    home.put(
        &user,
        &request_path(id),
        File::Is(signed.jws().to_owned(), "\"a\""),
    );
    let state = |serial: u64, filled: &str, reserved: &str| {
        let state: RequestState = serde_json::from_value(json!({
            "v": 1, "request": signed.hash(), "payee": user, "filled": filled, "reserved": reserved,
            "open": filled != "3000", "serial": serial, "at": 1_700_000_000_000u64,
        }))
        .unwrap();
        Signed::sign(state, &root).unwrap().jws().to_owned()
    };
    let said = request_state_path(id);
    home.put(&user, &said, File::Is(state(1, "1000", "500"), "\"1\""));
    let seen = look(&plugin, &path).await;
    let html = seen.assert_page(200);
    assert!(
        !html.contains("<script>") && !html.contains("<table>"),
        "{html}"
    );
    for shown in [
        "30.00 BREAD",
        "10.00 BREAD",
        "20.00 BREAD",
        "5.00 BREAD",
        "2.50 BREAD",
        "value=\"333\"",
        "bitcoin:bc1qxyz",
        "at the &lt;table&gt;",
        "Open: whoever wants to can pay a part.",
    ] {
        assert!(html.contains(shown), "{shown}: {html}");
    }
    let line = format!("atomicity request pay atomicity:{} 2.50", signed.jws());
    assert!(html.contains(&line), "{line}");
    assert!(hidden(html, "standing", "full") && !hidden(html, "standing", "open"));

    home.put(&user, &said, File::Is(state(2, "3000", "0"), "\"2\""));
    let full = loop {
        let seen = look(&plugin, &path).await;
        let html = seen.assert_page(200).to_owned();
        if !hidden(&html, "standing", "full") {
            break html;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert!(
        hidden(&full, "standing", "open") && hidden(&full, "while", "open"),
        "{full}"
    );
}

/// A public request that somebody published: its page.
fn publish(home: &HomeServer, root: &Keypair, unit: &str, amount: serde_json::Value) -> String {
    let (user, id) = (root.user_key(), RecordId::from_entropy([8; 16]));
    let asked: PaymentRequest = serde_json::from_value(json!({
        "v": 1, "id": id, "payee": user, "unit": unit, "amount": amount, "memo": "the hut",
        "targets": [{"method": "btc-lightning-bolt12", "value": "lno1pg257enxv4"}, {"method": "btc-bitcoin-address", "value": "bc1qxyz"}],
        "expires": 4_000_000_000_000u64, "at": 1_700_000_000_000u64,
    }))
    .unwrap();
    let signed = Signed::sign(asked, root).unwrap().jws().to_owned();
    home.put(&user, &request_path(id), File::Is(signed, "\"a\""));
    format!("/u/{user}/requests/{id}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bill_names_its_own_address_for_phones_without_a_wallet_where_the_operator_names_the_server()
 {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let root = home.resident(&world).await;
    let path = publish(
        &home,
        &root,
        "USD/2",
        json!({"target": {"amount": "30000"}}),
    );
    let nameless = with_pages(&world, true).await;
    let seen = look(&nameless, &path).await;
    let html = seen.assert_page(200);
    assert!(!html.contains("Code with the address"), "{html}");
    assert!(html.contains("Code with the link of this request"));
    let info = Answer::of(nameless.request(Method::GET, "/v0/info")).await;
    assert!(info.body["pages"].is_null(), "{}", info.body);

    let shared = &world;
    let named = |pages: bool| {
        Plugin::start_with(move |config| {
            shared.join(config);
            config.pages.enabled = pages;
            config.pages.strangers = true;
            config.http.public_url = Some("https://pay.example.org/".parse().unwrap());
        })
    };
    let plugin = named(true).await;
    let seen = look(&plugin, &path).await;
    let html = seen.assert_page(200);
    let address = format!("https://pay.example.org{path}");
    assert!(
        html.contains(&format!("<code id=\"address\">{address}</code>")),
        "{html}"
    );
    let codes = |label: &str| html.find(label).unwrap();
    assert!(
        codes("Code with the address of this page") < codes("Code with the link of this request")
    );
    let info = Answer::of(plugin.request(Method::GET, "/v0/info")).await;
    assert_eq!(info.body["pages"], "https://pay.example.org");
    let without = named(false).await;
    let info = Answer::of(without.request(Method::GET, "/v0/info")).await;
    assert!(info.body["pages"].is_null(), "{}", info.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_chooses_how_much_finds_it_in_every_way_to_pay() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let root = home.resident(&world).await;
    let plugin = Plugin::start_with(|config| {
        world.join(config);
        config.network.testnet = true;
        config.pages.enabled = true;
        config.pages.strangers = true;
        config.pages.recovery_login = true;
    })
    .await;
    let target = json!({"target": {"amount": "27000", "min": "1000"}});
    let path = publish(&home, &root, "USD/2", target);
    let open = look(&plugin, &path).await.assert_page(200).to_owned();
    assert!(
        open.contains("Choose how much") && !open.contains("You pay"),
        "{open}"
    );
    assert!(open.contains("id=\"room\""), "{open}");

    let chosen = look(&plugin, &format!("{path}?amount=25,00")).await;
    let html = chosen.assert_page(200);
    let line = values(html, "href")
        .into_iter()
        .find(|href| href.starts_with("/wallet/proposals?link="));
    assert!(line.unwrap().ends_with("&amp;amount=25.00"), "{line:?}");
    let command = html
        .split_once("atomicity request pay atomicity:")
        .unwrap()
        .1;
    assert!(
        command.split_once('<').unwrap().0.ends_with(" 25.00"),
        "{command}"
    );
    assert!(html.contains("value=\"25,00\"") && html.contains("Nothing is paid yet"));
    // Dollars are no bitcoins.
    let links = values(html, "href");
    assert!(
        links.contains(&"bitcoin:bc1qxyz") && links.contains(&"lightning:lno1pg257enxv4"),
        "{links:?}"
    );

    for (typed, words) in [
        ("9.99", "That is too little"),
        ("270.01", "That is more than is left"),
        ("ten", "is no amount of USD"),
        ("1e2", "is no amount of USD"),
    ] {
        let seen = look(&plugin, &format!("{path}?amount={typed}")).await;
        let html = seen.assert_page(200);
        assert!(
            html.contains(words) && !html.contains("You pay"),
            "{typed}: {html}"
        );
        assert!(!html.contains("&amp;amount="), "{typed}");
    }

    // In bitcoins the link of a wallet names the amount; who is asked for an exact one has nothing to choose.
    let root = home.resident(&world).await;
    let path = publish(&home, &root, "BTC/8", json!({"exact": "150000"}));
    let seen = look(&plugin, &format!("{path}?amount=1")).await;
    let html = seen.assert_page(200);
    assert!(
        values(html, "href").contains(&"bitcoin:bc1qxyz?amount=0.0015"),
        "{html}"
    );
    assert!(!html.contains("Choose how much") && html.contains("one payer pays all of it at once"));
}

/// Whether each element with this mark is hidden.
fn hidden(html: &str, mark: &str, value: &str) -> bool {
    let mark = format!("data-{mark}=\"{value}\"");
    let tags: Vec<&str> = html
        .split('<')
        .filter_map(|tag| tag.split_once('>').map(|(tag, _)| tag))
        .filter(|tag| tag.contains(&mark))
        .collect();
    assert!(!tags.is_empty(), "{mark} is not there");
    tags.iter().all(|tag| tag.ends_with(" hidden"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_field_of_the_first_page_leads_to_what_was_typed_in() {
    let plugin = with_pages(&World::new(), false).await;
    let user = Keypair::from_secret(&[8; 32]).user_key();
    let client = reqwest::Client::builder();
    let client = client
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let ask = |query: Vec<(&'static str, String)>| {
        let base = format!("http://{}/find", plugin.addresses.http);
        let url = url::Url::parse_with_params(&base, query).unwrap();
        let request = client.get(url).header("accept", "text/html");
        async move { request.send().await.unwrap() }
    };
    let found = ask(vec![("q", format!(" pubky{user} "))]).await;
    assert_eq!(found.status(), 303);
    assert_eq!(found.headers()["location"], format!("/u/{user}"));
    let around = ask(vec![("around", user.to_string())]).await;
    assert_eq!(
        around.headers()["location"],
        format!("/explore/users/{user}")
    );
    for wrong in ["//evil.example", "https://evil.example", "x"] {
        let refused = ask(vec![("q", wrong.to_owned())]).await;
        assert_eq!(refused.status(), 400, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_run_here_is_not_explored_here() {
    let plugin = with_pages(&World::new(), false).await;
    let explorer = look(&plugin, "/explore").await;
    assert!(
        explorer
            .assert_page(200)
            .contains("This server runs none of them.")
    );
    for path in ["/explore/logs/own", "/explore/verdicts", "/explore/check"] {
        assert_eq!(look(&plugin, path).await.status, 404, "{path}");
    }
}

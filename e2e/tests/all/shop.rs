//! The JavaScript module in a real Chromium: a shop that shows a customer what they have there, and every golden vector.

use std::path::PathBuf;
use std::sync::Arc;

use atomicity_e2e::browser::Browser;
use atomicity_e2e::people::{Person, Site};
use atomicity_e2e::programs::source_tree;
use atomicity_e2e::{Plugin, World, town};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pubky::{Capability, ClientId, GRANT_JWS_TYP, GrantClaims, GrantId, PublicKey};
use serde_json::{Value, json};

use crate::common::settle;

const DOLLAR: &str = "USD/2";

/// A web server of the shop: the files as they lie in the source tree, and its own key beside its page.
struct Server {
    url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(routes: Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = axum::serve(listener, routes).into_future();
        let task = tokio::spawn(async move { drop(serving.await) });
        Self { url, task }
    }

    /// The shop whose key is `shop`.
    async fn shop(shop: String) -> Self {
        let config = get(move || async move { axum::Json(json!({"shop": shop})) });
        let routes = Router::new()
            .route("/web/examples/shop/config.json", config)
            .route(
                "/blank",
                get(|| async { axum::response::Html("<title>-</title>") }),
            )
            .route("/{*path}", get(file));
        Self::start(routes).await
    }

    fn page(&self) -> String {
        format!("{}/web/examples/shop/index.html", self.url)
    }
}

/// A file of the source tree.
async fn file(Path(path): Path<String>) -> Response {
    let kind = match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript",
        Some("css") => "text/css",
        Some("html") => "text/html",
        _ => "application/json",
    };
    let wanted = source_tree().join(PathBuf::from(path));
    match tokio::fs::read(wanted).await {
        Ok(bytes) => ([(header::CONTENT_TYPE, kind)], bytes).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// What an authenticator signs for the page's key.
fn grant(person: &Person, app_key: &str) -> String {
    let root = person.wallet().root().unwrap();
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = GrantClaims {
        iss: root.public_key(),
        client_id: ClientId::new("shop.test").unwrap(),
        caps: vec![Capability::read("/pub/atomicity/v0/").unwrap()],
        cnf: PublicKey::try_from(app_key).unwrap(),
        jti: GrantId::generate(),
        iat: now - 10,
        exp: now + 3_600,
    };
    claims.sign(&root, GRANT_JWS_TYP)
}

/// A shop and a customer, who owe each other nothing yet; the customer's wallet tells the plugin of its books.
async fn shop_and_customer(world: &World) -> (Site, Person, Person) {
    let site = Site::open(world, "h").await.unwrap();
    let mut shop = Person::new(world, "shop").unwrap();
    let mut customer = Person::new(world, "customer").unwrap();
    shop.join(&site, DOLLAR).await.unwrap();
    customer.join(&site, DOLLAR).await.unwrap();
    town::befriend(&shop, &customer, "50.00 USD/2")
        .await
        .unwrap();
    customer.wallet().ok(&["snapshot", "on"]).await.unwrap();
    (site, shop, customer)
}

async fn sign_in(browser: &mut Browser, plugin: &str, customer: &Person) {
    let key = "document.getElementById('app-key').textContent";
    browser.until(&format!("{key} !== ''")).await.unwrap();
    let key = browser.eval(key).await.unwrap();
    browser.fill("#plugin", plugin).await.unwrap();
    let grant = grant(customer, key.as_str().unwrap());
    browser.fill("#grant", &grant).await.unwrap();
    browser.click("#sign-in button").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_shows_what_a_customer_has_there_and_it_changes_as_they_are_paid() {
    let world = World::start().await.unwrap();
    let Some(mut browser) = Browser::start(&world).await.unwrap() else {
        return;
    };
    let (mut site, shop, customer) = shop_and_customer(&world).await;
    shop.give(&customer, "12.50 USD/2", "bottles")
        .await
        .unwrap();
    settle(&shop, &customer).await;

    let server = Server::shop(shop.key().to_owned()).await;
    browser.goto(&server.page()).await.unwrap();
    sign_in(&mut browser, &site.plugin.http_url(), &customer).await;
    let credit = "You have 12.50 USD of credit here";
    browser.sees(credit).await.unwrap();
    // What the shop owes, and what it lets the customer owe.
    browser.sees("62.50 USD").await.unwrap();
    browser.sees("It changes here by itself.").await.unwrap();
    let checked = browser.eval("document.getElementById('checked').textContent");
    let checked = checked.await.unwrap();
    assert!(
        checked.as_str().unwrap().contains("(delegation)"),
        "{checked}"
    );
    let named = browser.eval("document.querySelectorAll('#unchecked li').length");
    assert_eq!(named.await.unwrap(), 3);

    // The page is as it was, and shows what has come since.
    browser.eval("window.untouched = true").await.unwrap();
    shop.give(&customer, "2.00 USD/2", "more bottles")
        .await
        .unwrap();
    settle(&shop, &customer).await;
    let changed = "You have 14.50 USD of credit here";
    browser.sees(changed).await.unwrap();
    assert_eq!(browser.eval("window.untouched").await.unwrap(), true);

    // Also over an outage of the plugin.
    assert_eq!(browser.complaints(), Vec::<String>::new());
    site.plugin.stop().await.unwrap();
    browser.sees("Your plugin is away just now").await.unwrap();
    site.plugin.start().await.unwrap();
    browser.sees("It changes here by itself.").await.unwrap();
    customer.give(&shop, "4.50 USD/2", "bread").await.unwrap();
    settle(&customer, &shop).await;
    let changed = "You have 10.00 USD of credit here";
    browser.sees(changed).await.unwrap();
    assert_eq!(browser.eval("window.untouched").await.unwrap(), true);

    // Nothing of it is wider than a telephone.
    browser.resize(360, 700).await.unwrap();
    let wide = browser.eval("document.documentElement.scrollWidth");
    assert!(wide.await.unwrap().as_u64().unwrap() <= 360);
}

/// A plugin that answers as the real one does, but for the sums that it shows.
#[derive(Clone)]
struct Liar(Arc<String>);

impl Liar {
    async fn start(plugin: &Plugin) -> Server {
        let liar = Self(Arc::new(plugin.http_url()));
        let routes = Router::new()
            .route("/v0/me/snapshot/events", get(lie).fallback(pass_on))
            .fallback(pass_on)
            .with_state(liar);
        Server::start(routes).await
    }

    async fn ask(&self, request: Request, path: &str) -> reqwest::Response {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 100_000).await.unwrap();
        let mut asked = reqwest::Client::new().request(parts.method, format!("{}{path}", self.0));
        for name in [header::AUTHORIZATION, header::CONTENT_TYPE, header::ORIGIN] {
            if let Some(value) = parts.headers.get(&name) {
                asked = asked.header(name, value);
            }
        }
        for (name, value) in &parts.headers {
            if name.as_str().starts_with("access-control-") {
                asked = asked.header(name, value);
            }
        }
        asked.body(body).send().await.unwrap()
    }
}

async fn pass_on(State(liar): State<Liar>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let answer = liar.ask(request, &path).await;
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    let body = answer.bytes().await.unwrap();
    response.body(Body::from(body)).unwrap()
}

async fn lie(State(liar): State<Liar>, request: Request) -> Response {
    let answer = liar.ask(request, "/v0/me/snapshot").await;
    let mut said: Value = answer.json().await.unwrap();
    let jws = said["snapshot"].as_str().unwrap().to_owned();
    let [head, payload, signature] = jws.split('.').collect::<Vec<_>>()[..] else {
        panic!("{jws}");
    };
    let mut record: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    record["channels"][0]["balance"] = json!("999900");
    let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&record).unwrap());
    said["snapshot"] = json!(format!("{head}.{payload}.{signature}"));
    let event = format!("id: 1\nevent: snapshot\ndata: {said}\n\n");
    let headers = [
        ("content-type", "text/event-stream"),
        ("access-control-allow-origin", "*"),
    ];
    (headers, event).into_response()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_refuses_sums_that_the_wallet_did_not_sign() {
    let world = World::start().await.unwrap();
    let Some(mut browser) = Browser::start(&world).await.unwrap() else {
        return;
    };
    let (site, shop, customer) = shop_and_customer(&world).await;
    shop.give(&customer, "12.50 USD/2", "bottles")
        .await
        .unwrap();
    settle(&shop, &customer).await;
    let server = Server::shop(shop.key().to_owned()).await;
    let liar = Liar::start(&site.plugin).await;
    browser.goto(&server.page()).await.unwrap();
    sign_in(&mut browser, &liar.url, &customer).await;
    browser.sees("(signature_invalid)").await.unwrap();
    let text = browser.eval("document.body.innerText").await.unwrap();
    assert!(!text.as_str().unwrap().contains("9,999"), "{text}");
    assert!(!text.as_str().unwrap().contains("of credit here"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_reads_every_golden_record_and_refuses_what_must_be_refused() {
    let world = World::start().await.unwrap();
    let Some(mut browser) = Browser::start(&world).await.unwrap() else {
        return;
    };
    let server = Server::shop(String::new()).await;
    browser
        .goto(&format!("{}/blank", server.url))
        .await
        .unwrap();
    let script = r#"(async () => {
        const { decodeRecord, TYPES } = await import("/web/atomicity.js");
        const [good, bad] = await Promise.all(["records", "refused"].map(async (name) =>
            (await fetch(`/ledger/testdata/${name}.json`)).json()));
        const wrong = [], seen = new Set();
        const codeOf = (jws) => decodeRecord(jws).then(() => "accepted", (error) => error.code ?? String(error));
        for (const vector of good) {
            const read = await decodeRecord(vector.jws);
            const plain = JSON.parse(JSON.stringify(read.record, (_, value) => typeof value === "bigint" ? `${value}` : value));
            const same = read.typ === vector.typ && read.kid === vector.public_key_z32 && read.hash === vector.hash;
            if (!same || plain.at !== vector.payload.at) wrong.push(vector.description);
            seen.add(read.typ);
            // Whatever is changed in what was signed, the signature holds no longer.
            const at = vector.jws.indexOf(".") + 20;
            const other = vector.jws[at] === "A" ? "B" : "A";
            const code = await codeOf(vector.jws.slice(0, at) + other + vector.jws.slice(at + 1));
            if (code !== "signature_invalid") wrong.push(`${vector.description}, changed: ${code}`);
        }
        for (const vector of bad) {
            const code = await codeOf(vector.jws);
            if (code !== vector.code) wrong.push(`${vector.description}: ${code} instead of ${vector.code}`);
        }
        return { wrong, good: good.length, bad: bad.length, missing: TYPES.filter((typ) => !seen.has(typ)) };
    })()"#;
    let found = browser.eval(script).await.unwrap();
    assert_eq!(found["wrong"], json!([]));
    assert_eq!(found["missing"], json!([]));
    assert!(found["good"].as_u64().unwrap() > 60 && found["bad"].as_u64().unwrap() > 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_anywhere_imports_the_module_from_a_plugin() {
    let world = World::start().await.unwrap();
    let Some(mut browser) = Browser::start(&world).await.unwrap() else {
        return;
    };
    let site = Site::open(&world, "h").await.unwrap();
    let mut baker = Person::new(&world, "baker").unwrap();
    baker.join(&site, DOLLAR).await.unwrap();
    let server = Server::shop(String::new()).await;
    browser
        .goto(&format!("{}/blank", server.url))
        .await
        .unwrap();
    let script = format!(
        r#"(async () => {{
            const {{ Plugin }} = await import("{url}/web/latest/atomicity.js");
            const plugin = new Plugin("{url}");
            const info = await plugin.info();
            const same = await import(`{url}${{info.web_module}}`);
            const profile = await new same.Plugin("{url}").profile("{baker}");
            return {{ key: info.plugin, name: profile.record.name, by: profile.authority.by, unchecked: profile.unchecked }};
        }})()"#,
        url = site.plugin.http_url(),
        baker = baker.key(),
    );
    let found = browser.eval(&script).await.unwrap();
    assert_eq!(found["key"], site.plugin.key());
    assert_eq!(found["name"], "baker");
    assert_eq!(found["by"], "root");
    assert_eq!(found["unchecked"], json!(["newest"]));
}

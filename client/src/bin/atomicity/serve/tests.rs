//! The document says what the routes do, and the gate lets nobody in who should stay out.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use atomicity_client::config::{Config, Overrides};
use atomicity_client::wallet::{RootKey, Wallet};
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::gate::Gate;
use super::state::Served;
use super::token::Token;
use super::{api, extract};
use crate::args::Global;

/// What the routes are defined in.
const SOURCES: [&str; 10] = [
    include_str!("api.rs"),
    include_str!("events.rs"),
    include_str!("operations.rs"),
    include_str!("routes/accounts.rs"),
    include_str!("routes/endpoints.rs"),
    include_str!("routes/friends.rs"),
    include_str!("routes/payments.rs"),
    include_str!("routes/rails.rs"),
    include_str!("routes/requests.rs"),
    include_str!("routes/settlements.rs"),
];

struct Place {
    router: Router,
    token: String,
    wallet: Wallet,
    _folder: tempfile::TempDir,
}

async fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("wallet");
    let overrides = Overrides {
        home: Some(home.clone()),
        config: None,
        testnet: None,
    };
    let config = Config::load(&overrides).unwrap();
    let root = RootKey::random();
    let made = Wallet::create(&config, &root, "a passphrase", None).await;
    let wallet = made.unwrap().wallet;
    let path = home.join("token");
    let token = Token::open(&path).unwrap();
    let origins = ["https://shop.example".to_owned()];
    let gate = Gate::new(
        "127.0.0.1:6295".parse().unwrap(),
        false,
        (&[], &origins),
        token,
    );
    let global = Global {
        home: Some(home),
        config: None,
        json: true,
        passphrase_file: None,
        quiet: true,
        verbose: 0,
    };
    let served = Served::new(&global, wallet.clone(), CancellationToken::new());
    Place {
        router: api::router(served, Arc::new(gate.unwrap())),
        token: std::fs::read_to_string(&path).unwrap().trim().to_owned(),
        wallet,
        _folder: folder,
    }
}

struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl Place {
    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }

    /// A request as it should be.
    fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "127.0.0.1:6295")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
    }

    async fn get(&self, path: &str) -> Answer {
        let request = self.request("GET", path).body(Body::empty());
        self.send(request.unwrap()).await
    }

    async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Answer {
        let mut request = self
            .request("POST", path)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let body = Body::from(body.to_string());
        self.send(request.body(body).unwrap()).await
    }
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push((method.to_uppercase(), path.clone(), operation.clone()));
        }
    }
    all
}

fn document() -> Value {
    serde_json::from_str(&api::document().to_json().unwrap()).unwrap()
}

#[test]
fn every_route_is_in_the_document() {
    let all = SOURCES.join("\n");
    let described = all.matches("#[utoipa::path(").count();
    let served: usize = all
        .split("routes!(")
        .skip(1)
        .map(|rest| rest.split(')').next().unwrap().split(',').count())
        .sum();
    let listed = operations(&document());
    assert_eq!((described, served), (listed.len(), listed.len()));
    // The document itself is the only route that it does not describe.
    assert_eq!(all.matches(".route(").count(), 1);
    let names: Vec<&Value> = listed.iter().map(|(.., o)| &o["operationId"]).collect();
    assert!(names.iter().all(|name| name.is_string()));
}

#[test]
fn the_document_is_sound() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut ids = BTreeSet::new();
    let tags = document["tags"].as_array().unwrap();
    for (method, path, operation) in operations(&document) {
        let what = format!("{method} {path}");
        assert!(operation["summary"].is_string(), "{what} has no summary");
        assert!(
            !operation["responses"].as_object().unwrap().is_empty(),
            "{what}"
        );
        let tag = &operation["tags"][0];
        assert!(
            tags.iter().any(|known| known["name"] == *tag),
            "{what}: {tag}"
        );
        let id = operation["operationId"].to_string();
        assert!(ids.insert(id.clone()), "{id} twice");
        let in_path = path
            .split('{')
            .skip(1)
            .map(|rest| rest.split('}').next().unwrap());
        let in_path: BTreeSet<&str> = in_path.collect();
        let parameters = operation["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let described = parameters.iter().filter(|p| p["in"] == "path");
        let described: BTreeSet<&str> = described.map(|p| p["name"].as_str().unwrap()).collect();
        assert_eq!(in_path, described, "{what}");
        assert_eq!(
            operation["security"].is_array(),
            path != "/health",
            "{what}"
        );
    }
}

#[tokio::test]
async fn every_documented_route_exists_and_wants_the_token() {
    let place = place().await;
    for (method, path, _) in operations(&document()) {
        let url = path.replace(['{', '}'], "");
        let bare = Request::builder()
            .method(method.as_str())
            .uri(&url)
            .header(header::HOST, "localhost:6295")
            .body(Body::empty());
        let answer = place.send(bare.unwrap()).await;
        let expected = match path.as_str() {
            "/health" => StatusCode::OK,
            _ => StatusCode::UNAUTHORIZED,
        };
        assert_eq!(answer.status, expected, "{method} {path}: {}", answer.body);
        let other = place.request("PATCH", &url).body(Body::empty());
        let other = place.send(other.unwrap()).await;
        assert_eq!(other.code(), "method_not_allowed", "{path}");
        let allowed = other.headers[header::ALLOW].to_str().unwrap();
        let known = allowed.split(',').any(|one| one.trim() == method);
        assert!(known, "{method} {path}: {allowed}");
    }
    assert_eq!(place.get("/openapi.json").await.body, document());
    assert_eq!(place.get("/v0/nothing").await.code(), "route_unknown");
}

#[tokio::test]
async fn foreign_hosts_pages_and_tokens_stay_out() {
    let place = place().await;
    let from = |host: &str, origin: Option<&str>, token: &str| {
        let mut request = Request::builder()
            .uri("/v0/balances")
            .header(header::HOST, host)
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        request.body(Body::empty()).unwrap()
    };
    let own = "127.0.0.1:6295";
    let good = place.send(from(own, None, &place.token)).await;
    assert_eq!(good.status, StatusCode::OK);
    assert!(good.headers.get("access-control-allow-origin").is_none());
    let foreign = place
        .send(from("evil.example:6295", None, &place.token))
        .await;
    assert_eq!(
        (foreign.status.as_u16(), foreign.code()),
        (403, "host_refused")
    );
    let page = Some("https://evil.example");
    let page = place.send(from(own, page, &place.token)).await;
    assert_eq!((page.status.as_u16(), page.code()), (403, "origin_refused"));
    let null = place.send(from(own, Some("null"), &place.token)).await;
    assert_eq!(null.code(), "origin_refused");
    let shop = Some("https://shop.example");
    let shop = place.send(from(own, shop, &place.token)).await;
    assert_eq!(shop.status, StatusCode::OK);
    assert_eq!(
        shop.headers["access-control-allow-origin"],
        "https://shop.example"
    );
    let wrong = place.send(from(own, None, "wrong")).await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.code()),
        (401, "token_invalid")
    );
    assert_eq!(wrong.headers["www-authenticate"], "Bearer");
    assert_eq!(
        wrong.headers[header::CONTENT_TYPE],
        "application/problem+json"
    );
    let preflight = Request::builder()
        .method(Method::OPTIONS)
        .uri("/v0/payments")
        .header(header::HOST, own)
        .header(header::ORIGIN, "https://shop.example")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,idempotency-key",
        );
    let preflight = place.send(preflight.body(Body::empty()).unwrap()).await;
    assert_eq!(preflight.status, StatusCode::OK);
    assert_eq!(
        preflight.headers["access-control-allow-origin"],
        "https://shop.example"
    );
}

#[tokio::test]
async fn bodies_are_bounded_and_read_strictly() {
    let place = place().await;
    let text = place.request("POST", "/v0/friends").body(Body::from("{}"));
    let text = place.send(text.unwrap()).await;
    assert_eq!(text.code(), "unsupported_media_type");
    let unknown = json!({ "key": "x", "nmae": "y" });
    let unknown = place.post("/v0/friends", None, &unknown).await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.code()),
        (400, "body_malformed")
    );
    let list = place.post("/v0/friends", None, &json!(["x", "y"])).await;
    assert_eq!(list.code(), "body_malformed");
    let large = json!({ "key": "x".repeat(extract::BODY) });
    let large = place.post("/v0/friends", None, &large).await;
    assert_eq!(
        (large.status.as_u16(), large.code()),
        (413, "body_too_large")
    );
    let query = place.get("/v0/history?limit=0").await;
    assert_eq!((query.status.as_u16(), query.code()), (400, "usage"));
    let query = place.get("/v0/balances?freind=ben").await;
    assert_eq!(query.code(), "query_invalid");
    let none = place.get("/v0/friends/nobody").await;
    assert_eq!((none.status.as_u16(), none.code()), (404, "unknown_friend"));
    let root = json!({ "unit": "USD/2" });
    let root = place.post("/v0/units", None, &root).await;
    assert_eq!(
        (root.status.as_u16(), root.code()),
        (400, "passphrase_needed")
    );
}

#[tokio::test]
async fn an_operation_needs_a_key_which_means_one_thing() {
    let place = place().await;
    let pay = json!({ "to": "nobody", "amount": "1.00 USD/2" });
    let without = place.post("/v0/payments", None, &pay).await;
    assert_eq!(without.code(), "idempotency_key_missing");
    let odd = place.post("/v0/payments", Some("a/b"), &pay).await;
    assert_eq!(odd.code(), "idempotency_key_invalid");
    let failed = place.post("/v0/payments?wait=20", Some("one"), &pay).await;
    assert!(failed.status.is_client_error(), "{}", failed.body);
    let shown = place.get("/v0/operations/one").await;
    assert_eq!(shown.body["state"], "failed");
    assert_eq!(shown.body["problem"]["code"], failed.body["code"]);
    assert_eq!(shown.body["made"], Value::Null);
    // Asked for again it is tried again; something else under this key is not.
    let again = place.post("/v0/payments?wait=20", Some("one"), &pay).await;
    assert_eq!(again.body, failed.body);
    let other = json!({ "to": "nobody", "amount": "2.00 USD/2" });
    let other = place.post("/v0/payments", Some("one"), &other).await;
    assert_eq!(
        (other.status.as_u16(), other.code()),
        (422, "idempotency_key_reused")
    );
    let unknown = place.get("/v0/operations/two").await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.code()),
        (404, "operation_unknown")
    );
    let far = place
        .post("/v0/payments?wait=101", Some("three"), &pay)
        .await;
    assert_eq!(far.code(), "query_invalid");
    place.wallet.close().await;
}

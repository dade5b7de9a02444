//! The document says what the routes do.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::support::plugin::{Answer, Plugin};

/// Every route there is.
const ROUTES: &[(&str, &str)] = &[
    ("get", "/v0/info"),
    ("post", "/v0/sessions"),
    ("delete", "/v0/sessions/current"),
    ("get", "/v0/me"),
    ("put", "/v0/me"),
    ("delete", "/v0/me"),
    ("put", "/v0/me/tags"),
    ("put", "/v0/me/snapshot"),
    ("put", "/v0/me/diary"),
    ("delete", "/v0/me/diary"),
    ("post", "/v0/me/proposals"),
    ("get", "/v0/me/proposals"),
    ("get", "/v0/me/proposals/{id}"),
    ("put", "/v0/me/proposals/{id}"),
    ("delete", "/v0/me/proposals/{id}"),
    ("put", "/v0/me/guest-ways"),
    ("get", "/v0/me/guest-parts"),
    ("put", "/v0/me/guest-parts/{id}"),
    ("get", "/v0/me/snapshot"),
    ("get", "/v0/me/snapshot/events"),
    ("get", "/v0/me/balances"),
    ("get", "/v0/me/channels"),
    ("get", "/v0/me/public-units"),
    ("put", "/v0/me/public-units"),
    ("post", "/v0/inbox/{user}"),
    ("get", "/v0/inbox"),
    ("post", "/v0/inbox/ack"),
    ("get", "/v0/inbox/events"),
    ("get", "/v0/users/{user}/delegations/{key}"),
    ("get", "/v0/users/{user}/units"),
    ("get", "/v0/users/{user}/profile"),
    ("get", "/v0/users/{user}/endpoints"),
    ("get", "/v0/users/{user}/requests/{id}"),
    ("post", "/v0/users/{user}/requests/{id}/guest-parts"),
    ("get", "/v0/users/{user}/requests/{id}/guest-parts/{part}"),
    ("get", "/web/{version}/{file}"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/metrics"),
];

async fn document(plugin: &Plugin) -> Value {
    Answer::of(plugin.request(Method::GET, "/openapi.json"))
        .await
        .assert_status(200)
        .body
        .clone()
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push((method.clone(), path.clone(), operation.clone()));
        }
    }
    all
}

#[tokio::test]
async fn the_document_lists_every_route_and_no_other() {
    let plugin = Plugin::start().await;
    let document = document(&plugin).await;
    let listed: BTreeSet<(String, String)> = operations(&document)
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .collect();
    let about_itself = ["/openapi.json", "/docs"];
    let listed: BTreeSet<(String, String)> = listed
        .into_iter()
        .filter(|(_, path)| !about_itself.contains(&path.as_str()))
        .collect();
    let expected: BTreeSet<(String, String)> = ROUTES
        .iter()
        .map(|(method, path)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn every_listed_operation_is_there_and_says_who_may_call_it() {
    let plugin = Plugin::start().await;
    let user = crate::support::user::User::new().z32();
    for (method, path, operation) in operations(&document(&plugin).await) {
        let url = path.replace("{user}", &user);
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let answer = Answer::of(plugin.request(method.clone(), &url)).await;
        assert!(
            !matches!(answer.code(), "route_unknown" | "method_not_allowed"),
            "{method} {path}"
        );
        let needs_session = operation["security"].is_array();
        assert_eq!(
            answer.status == 401,
            needs_session,
            "{method} {path}: {}",
            answer.body
        );
        assert!(
            operation["summary"].is_string(),
            "{method} {path} has no summary"
        );
        let status = answer.status.as_u16().to_string();
        let documented = operation["responses"].get(&status).is_some();
        assert!(
            documented || status == "415",
            "{method} {path} answers {status}, which is not in the document"
        );
    }
}

#[tokio::test]
async fn every_reference_in_the_document_leads_somewhere() {
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
    let plugin = Plugin::start().await;
    let document = document(&plugin).await;
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems_and_browsers_may_call() {
    let plugin = Plugin::start().await;
    Answer::of(plugin.request(Method::GET, "/v0/nothing"))
        .await
        .assert_problem(404, "route_unknown");
    Answer::of(plugin.request(Method::PATCH, "/v0/info"))
        .await
        .assert_problem(405, "method_not_allowed");
    let preflight = plugin
        .request(Method::OPTIONS, "/v0/inbox")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "GET")
        .header(
            "access-control-request-headers",
            "authorization,last-event-id",
        );
    let preflight = preflight.send().await.unwrap();
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
    let allowed = preflight.headers()["access-control-allow-headers"]
        .to_str()
        .unwrap()
        .to_lowercase();
    assert!(allowed.contains("authorization") && allowed.contains("last-event-id"));
    let info = plugin
        .request(Method::GET, "/v0/info")
        .header("origin", "https://app.example")
        .send()
        .await
        .unwrap();
    assert_eq!(info.headers()["access-control-allow-origin"], "*");
    assert_eq!(info.headers()["x-content-type-options"], "nosniff");
    // Also on refusals, or a web app could not read why.
    let refused = plugin
        .request(Method::GET, "/v0/me")
        .header("origin", "https://app.example")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            refused.status().as_u16(),
            &refused.headers()["access-control-allow-origin"]
        ),
        (401, &"*".parse().unwrap())
    );
}

//! What the JavaScript module for web apps is given.

use atomicity_ledger::record::Snapshot;
use atomicity_ledger::{Keypair, Signed};
use atomicity_plugin::clock;
use reqwest::Method;
use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use serde_json::json;

use crate::support::plugin::{Account, Answer, Plugin};
use crate::support::sse::Events;

async fn push(account: &Account<'_>, at: i64) -> String {
    let record: Snapshot = serde_json::from_value(json!({
        "v": 1, "user": account.z32(), "at": at, "channels": []
    }))
    .unwrap();
    let root = Keypair::from_secret(&account.user.root.secret());
    let jws = Signed::sign(record, &root).unwrap().jws().to_owned();
    let body = Some(json!({"snapshot": jws}));
    let answer = account.call(Method::PUT, "/v0/me/snapshot", body).await;
    answer.assert_status(200);
    jws
}

#[tokio::test]
async fn the_module_is_kept_for_good_under_its_own_name_only() {
    let plugin = Plugin::start().await;
    let info = Answer::of(plugin.request(Method::GET, "/v0/info")).await;
    let path = info.body["web_module"].as_str().unwrap().to_owned();
    let folder = path.strip_suffix("atomicity.js").unwrap();
    for name in [
        "atomicity.js",
        "authority.js",
        "events.js",
        "records.js",
        "types.js",
    ] {
        let request = plugin.request(Method::GET, &format!("{folder}{name}"));
        let request = request.header("origin", "https://shop.example");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{name}");
        let headers = answer.headers();
        assert_eq!(headers[CONTENT_TYPE], "text/javascript; charset=utf-8");
        assert!(
            headers[CACHE_CONTROL]
                .to_str()
                .unwrap()
                .contains("immutable")
        );
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert_eq!(headers["x-content-type-options"], "nosniff");
    }
    let latest = plugin.request(Method::GET, "/web/latest/atomicity.js");
    let latest = latest.send().await.unwrap();
    assert_eq!(latest.headers()[CACHE_CONTROL], "no-cache");
    let tag = latest.headers()[ETAG].clone();
    let again = plugin
        .request(Method::GET, "/web/latest/atomicity.js")
        .header(IF_NONE_MATCH, tag);
    assert_eq!(again.send().await.unwrap().status(), 304);
    for wrong in ["/web/older/atomicity.js", "/web/latest/other.js"] {
        Answer::of(plugin.request(Method::GET, wrong))
            .await
            .assert_problem(404, "file_unknown");
    }
}

#[tokio::test]
async fn a_summary_is_handed_out_as_it_was_signed_and_to_its_user_alone() {
    let plugin = Plugin::start().await;
    let (account, other) = (plugin.user().await, plugin.user().await);
    let path = "/v0/me/snapshot";
    let none = account.call(Method::GET, path, None).await;
    none.assert_problem(404, "no_snapshot");
    let now = clock::now_ms();
    let jws = push(&account, now).await;
    let answer = account.call(Method::GET, path, None).await;
    let said = &answer.assert_status(200).body;
    assert_eq!(said["snapshot"], jws.as_str());
    assert_eq!(said["as_of"], now);
    assert_eq!(said["signed_by"], account.z32());
    let others = other.call(Method::GET, path, None).await;
    others.assert_problem(404, "no_snapshot");
    Answer::of(plugin.request(Method::GET, path))
        .await
        .assert_problem(401, "session_invalid");
}

async fn live(account: &Account<'_>, last: Option<i64>) -> Events {
    let mut request = account.request(Method::GET, "/v0/me/snapshot/events");
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Events::of(response)
}

#[tokio::test]
async fn summaries_are_live_and_a_stream_goes_on_where_it_stopped() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    let now = clock::now_ms() - 1_000;
    let mut events = live(&account, None).await;
    events.ready().await;
    for at in [now, now + 1] {
        let jws = push(&account, at).await;
        let event = events.next().await.unwrap();
        assert_eq!(event.name, "snapshot");
        assert_eq!(event.id, Some(at.to_string()));
        assert_eq!(event.json()["snapshot"], jws.as_str());
    }
    // Who knows the newest is told nothing; who does not is told that only.
    let mut current = live(&account, Some(now + 1)).await;
    current.ready().await;
    let mut late = live(&account, Some(now)).await;
    assert_eq!(late.next().await.unwrap().id, Some((now + 1).to_string()));
    late.ready().await;
    let bad = account
        .request(Method::GET, "/v0/me/snapshot/events?after=x")
        .send()
        .await
        .unwrap();
    Answer::read(bad).await.assert_problem(400, "id_malformed");
}

#[tokio::test]
async fn a_delegation_is_asked_for_by_user_and_key() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    let key = Keypair::from_secret(&[7; 32]).signer_key();
    let path = |user: &str, key: &str| format!("/v0/users/{user}/delegations/{key}");
    let ask = async |path: String| Answer::of(plugin.request(Method::GET, &path)).await;
    ask(path("x", &key.to_string()))
        .await
        .assert_problem(400, "user_malformed");
    ask(path(&account.z32(), "x"))
        .await
        .assert_problem(400, "key_malformed");
    // There is no network here in which this user has a homeserver.
    let unknown = ask(path(&account.z32(), &key.to_string())).await;
    assert!(
        matches!(
            unknown.code(),
            "homeserver_unknown" | "upstream_unavailable"
        ),
        "{}",
        unknown.body
    );
}

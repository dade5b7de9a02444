//! Leaving messages and fetching them.

use reqwest::Method;
use serde_json::json;

use crate::support::plugin::{Answer, Plugin, b64, ids_of, tag};

#[tokio::test]
async fn the_same_envelope_is_stored_once_however_it_is_written_and_also_after_it_was_read() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    account.set_tags(&[tag(1)]).await;
    let envelope = account.known(1, "bread");
    assert_eq!(account.receive(&envelope).await.assert_status(201).id(), 1);
    assert_eq!(account.receive(&envelope).await.assert_status(200).id(), 1);
    let spaced = format!(
        "{{ \"ciphertext\" : \"{}\",\n \"tag\": \"{}\", \"to\":\"{}\"}}",
        b64(b"bread"),
        tag(1),
        account.z32()
    );
    let request = plugin
        .request(Method::POST, &format!("/v0/inbox/{}", account.z32()))
        .header("content-type", "application/json; charset=utf-8")
        .body(spaced);
    assert_eq!(Answer::of(request).await.assert_status(200).id(), 1);
    let page = account.page("").await;
    assert_eq!(page.body["items"][0]["envelope"], envelope);
    assert!(page.body["items"][0]["received_at"].is_u64());

    assert_eq!(account.acknowledge(&[1]).await, 1);
    assert_eq!(account.receive(&envelope).await.assert_status(200).id(), 1);
    assert!(account.waiting().await.is_empty());
    assert_eq!(
        account
            .receive(&account.known(1, "milk"))
            .await
            .assert_status(201)
            .id(),
        2
    );
}

#[tokio::test]
async fn what_is_not_an_envelope_for_this_user_is_refused() {
    let plugin = Plugin::start().await;
    let (account, other) = (plugin.user().await, plugin.user().await);
    account.set_tags(&[tag(1)]).await;
    let to = account.z32();
    for envelope in [
        json!({"to": to, "ciphertext": "AAAA"}),
        json!({"to": to, "tag": tag(1), "ephemeral": tag(2), "ciphertext": "AAAA"}),
        json!({"to": to, "tag": "AAAA", "ciphertext": "AAAA"}),
        json!({"to": to, "tag": tag(1), "ciphertext": ""}),
        json!({"to": to, "tag": tag(1), "ciphertext": "%%%%"}),
        json!({"to": to, "tag": tag(1), "ciphertext": "AAAA", "from": "somebody"}),
        json!({"to": "me", "tag": tag(1), "ciphertext": "AAAA"}),
        json!([]),
        other.stranger("for somebody else"),
    ] {
        account
            .receive(&envelope)
            .await
            .assert_problem(400, "envelope_malformed");
    }
    account
        .receive(&account.known(9, "x"))
        .await
        .assert_problem(403, "tag_unknown");
    plugin
        .post("nobody", &account.known(1, "x"))
        .await
        .assert_problem(400, "user_malformed");
    let stranger = crate::support::user::User::new().z32();
    let envelope = json!({"to": stranger, "tag": tag(1), "ciphertext": "AAAA"});
    plugin
        .post(&stranger, &envelope)
        .await
        .assert_problem(404, "account_unknown");
    assert!(account.waiting().await.is_empty());
}

#[tokio::test]
async fn bodies_are_bounded_before_they_are_read() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    account.set_tags(&[tag(1)]).await;
    let largest = json!({"to": account.z32(), "tag": tag(1), "ciphertext": b64(&vec![7; 49_000])});
    account.receive(&largest).await.assert_status(201);
    let larger = json!({"to": account.z32(), "tag": tag(1), "ciphertext": b64(&vec![7; 49_200])});
    account
        .receive(&larger)
        .await
        .assert_problem(413, "record_too_large");
    let path = format!("/v0/inbox/{}", account.z32());
    let post = |body: Vec<u8>, kind: &'static str| {
        Answer::of(
            plugin
                .request(Method::POST, &path)
                .header("content-type", kind)
                .body(body),
        )
    };
    post(vec![b' '; 200 * 1024], "application/json")
        .await
        .assert_problem(413, "record_too_large");
    post(vec![b'['; 60 * 1024], "application/json")
        .await
        .assert_problem(400, "envelope_malformed");
    post(vec![0xff; 100], "application/json")
        .await
        .assert_problem(400, "envelope_malformed");
    post(b"{}".to_vec(), "text/plain")
        .await
        .assert_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn an_inbox_is_read_in_pages_and_only_by_its_user() {
    let plugin = Plugin::start().await;
    let (account, other) = (plugin.user().await, plugin.user().await);
    account.set_tags(&[tag(1)]).await;
    for n in 0..25 {
        account
            .receive(&account.known(1, &n.to_string()))
            .await
            .assert_status(201);
    }
    let first = account.page("?limit=10").await;
    assert_eq!(ids_of(&first), (1..=10).collect::<Vec<_>>());
    assert_eq!(first.body["next"], "10");
    let last = account.page("?limit=10&after=15").await;
    assert_eq!(ids_of(&last), (16..=25).collect::<Vec<_>>());
    assert_eq!(last.body["next"], serde_json::Value::Null);
    assert!(ids_of(&account.page("?after=25").await).is_empty());

    assert!(other.waiting().await.is_empty());
    assert_eq!(other.acknowledge(&[1, 2, 3]).await, 0);
    assert_eq!(account.acknowledge(&[1, 3, 999]).await, 2);
    assert_eq!(account.acknowledge(&[1, 3, 999]).await, 0);
    assert_eq!(ids_of(&account.page("?limit=3").await), [2, 4, 5]);

    for (query, code) in [
        ("?limit=0", "limit_invalid"),
        ("?limit=501", "limit_invalid"),
        ("?limit=many", "query_invalid"),
        ("?after=-1", "id_malformed"),
        ("?after=01", "id_malformed"),
        ("?order=desc", "query_invalid"),
    ] {
        account.page(query).await.assert_problem(400, code);
    }
    let ids: Vec<String> = (0..501).map(|n| n.to_string()).collect();
    let many = account
        .call(Method::POST, "/v0/inbox/ack", Some(json!({"ids": ids})))
        .await;
    many.assert_problem(400, "too_many_ids");
    plugin
        .request(Method::GET, "/v0/inbox")
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap_err();
}

#[tokio::test]
async fn tags_are_replaced_as_a_whole() {
    let plugin = Plugin::start_with(|config| config.inbox.max_tags = 3).await;
    let account = plugin.user().await;
    account.set_tags(&[tag(1), tag(2)]).await;
    account.set_tags(&[tag(2), tag(3)]).await;
    account
        .receive(&account.known(1, "x"))
        .await
        .assert_problem(403, "tag_unknown");
    account
        .receive(&account.known(2, "x"))
        .await
        .assert_status(201);
    account
        .receive(&account.known(3, "x"))
        .await
        .assert_status(201);
    let put = |tags: serde_json::Value| {
        account.call(Method::PUT, "/v0/me/tags", Some(json!({"tags": tags})))
    };
    put(json!([tag(1), tag(2), tag(3), tag(4)]))
        .await
        .assert_problem(400, "too_many_tags");
    put(json!(["short"]))
        .await
        .assert_problem(400, "tags_malformed");
    assert_eq!(put(json!([tag(5), tag(5)])).await.body["tags"], 1);
    let visitor = plugin.visitor().await;
    let answer = visitor
        .call(Method::PUT, "/v0/me/tags", Some(json!({"tags": [tag(1)]})))
        .await;
    answer.assert_problem(404, "account_unknown");
}

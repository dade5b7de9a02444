//! The client of the plugin's HTTP API against the real plugin.

use atomicity_client::net::Net;
use atomicity_client::net::plugin::{
    InboxEvent, InboxItem, InboxStream, PluginAddress, PluginClient, discover,
};
use atomicity_client::net::session::{HomeSession, sign_up};
use atomicity_e2e::{Homeserver, Plugin, World, wait};
use atomicity_ledger::UserKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::{key_of, net, new_root};

const TAG: [u8; 32] = [7; 32];

fn address(plugin: &Plugin, with_key: bool) -> PluginAddress {
    let key = match with_key {
        true => plugin.key().parse().unwrap(),
        // Nobody listens under this key, so that only the URL is left.
        false => new_root().user_key(),
    };
    PluginAddress {
        key,
        url: (!with_key).then(|| plugin.http_url().parse().unwrap()),
    }
}

fn envelope(to: &UserKey, content: &str) -> Value {
    json!({"to": to, "tag": URL_SAFE_NO_PAD.encode(TAG), "ciphertext": URL_SAFE_NO_PAD.encode(content)})
}

fn content(item: &InboxItem) -> String {
    let text = item
        .envelope
        .pointer("/ciphertext")
        .unwrap()
        .as_str()
        .unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// Somebody with an account at `server`.
async fn user_of(net: &Net, server: &Homeserver) -> HomeSession {
    let root = new_root();
    let home = key_of(&server.key());
    sign_up(net, &root, &home, None).await.unwrap();
    HomeSession::sign_in(net, &root, &home).await.unwrap()
}

async fn next_item(events: &mut InboxStream) -> InboxItem {
    loop {
        if let InboxEvent::Item(item) = events.next().await.unwrap() {
            return item;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn envelopes_are_posted_read_and_acknowledged() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let plugin = world.plugin("p", &server).await.unwrap();
    let here = net(&world);
    let session = user_of(&here, &server).await;
    let own = PluginClient::with_session(&here, address(&plugin, true), &session);
    assert_eq!(own.info().await.unwrap().plugin, own.address().key);
    assert!(own.register().await.unwrap().new);
    assert!(!own.register().await.unwrap().new);

    let there = net(&world);
    let post = PluginClient::new(&there, address(&plugin, true));
    let to = session.user();
    let unknown = post.post(to, &envelope(to, "x")).await.unwrap_err();
    assert_eq!(
        (unknown.code(), unknown.is_retryable()),
        ("tag_unknown", false)
    );
    own.set_tags(&[TAG]).await.unwrap();
    let first = post.post(to, &envelope(to, "one")).await.unwrap();
    assert!(!first.duplicate);
    let again = post.post(to, &envelope(to, "one")).await.unwrap();
    assert_eq!(
        (again.id.as_str(), again.duplicate),
        (first.id.as_str(), true)
    );
    post.post(to, &envelope(to, "two")).await.unwrap();
    post.post(to, &envelope(to, "three")).await.unwrap();
    let nobody = new_root().user_key();
    let lost = post
        .post(&nobody, &envelope(&nobody, "x"))
        .await
        .unwrap_err();
    assert_eq!(
        (lost.code(), lost.is_retryable()),
        ("account_unknown", false)
    );
    let huge = post
        .post(to, &envelope(to, &"x".repeat(200_000)))
        .await
        .unwrap_err();
    assert_eq!(huge.code(), "invalid_argument");
    assert_eq!(
        post.inbox(None, 10).await.unwrap_err().code(),
        "invalid_argument"
    );

    let page = own.inbox(None, 2).await.unwrap();
    let texts: Vec<String> = page.items.iter().map(content).collect();
    assert_eq!(texts, ["one", "two"]);
    let rest = own.inbox(page.next.as_deref(), 2).await.unwrap();
    assert_eq!(
        rest.items.iter().map(content).collect::<Vec<_>>(),
        ["three"]
    );
    assert_eq!(rest.next, None);
    let ids: Vec<String> = page.items.iter().map(|item| item.id.clone()).collect();
    assert_eq!(own.ack(&ids).await.unwrap(), 2);
    assert_eq!(own.ack(&ids).await.unwrap(), 0);
    assert_eq!(own.inbox(None, 10).await.unwrap().items, rest.items);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_serves_where_the_key_cannot_be_reached() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let plugin = world.plugin("p", &server).await.unwrap();
    let here = net(&world);
    let session = user_of(&here, &server).await;
    let found = discover(&here, &plugin.http_url().parse().unwrap())
        .await
        .unwrap();
    assert_eq!(found.key.to_z32(), plugin.key());
    let own = PluginClient::with_session(&here, found, &session);
    own.register().await.unwrap();
    own.set_tags(&[TAG]).await.unwrap();

    let post = PluginClient::new(&here, address(&plugin, false));
    let to = session.user();
    post.post(to, &envelope(to, "by url")).await.unwrap();
    let page = own.inbox(None, 10).await.unwrap();
    assert_eq!(
        page.items.iter().map(content).collect::<Vec<_>>(),
        ["by url"]
    );
    assert_eq!(post.info().await.unwrap_err().code(), "malformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_tells_strangers_to_its_homeserver_so() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let other = world.homeserver("o").await.unwrap();
    let plugin = world.plugin("p", &server).await.unwrap();
    let here = net(&world);
    let session = user_of(&here, &other).await;
    let own = PluginClient::with_session(&here, address(&plugin, true), &session);
    let refused = own.register().await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.is_retryable()),
        ("not_a_local_user", false)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_inbox_goes_on_where_it_stopped_when_the_plugin_comes_back() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let mut plugin = world.plugin("p", &server).await.unwrap();
    let here = net(&world);
    let session = user_of(&here, &server).await;
    let own = PluginClient::with_session(&here, address(&plugin, true), &session);
    own.register().await.unwrap();
    own.set_tags(&[TAG]).await.unwrap();
    let post = PluginClient::new(&here, address(&plugin, true));
    let to = *session.user();
    let send = |text: &'static str| {
        let post = post.clone();
        async move {
            wait::until("an envelope to be taken", || async {
                Ok(post.post(&to, &envelope(&to, text)).await?)
            })
            .await
            .unwrap();
        }
    };
    send("before").await;
    let mut events = own.events(None);
    assert_eq!(content(&next_item(&mut events).await), "before");
    assert_eq!(events.next().await.unwrap(), InboxEvent::Ready);
    send("live").await;
    assert_eq!(content(&next_item(&mut events).await), "live");

    plugin.kill().await.unwrap();
    assert!(matches!(events.next().await.unwrap(), InboxEvent::Down(_)));
    plugin.start().await.unwrap();
    send("after").await;
    loop {
        if let InboxEvent::Item(item) = events.next().await.unwrap() {
            assert_eq!(content(&item), "after");
            break;
        }
    }
}

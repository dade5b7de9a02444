//! Logging in and out, and what other sites can't do.

use pubky::{Keypair, recovery_file};
use reqwest::Method;
use reqwest::header::SET_COOKIE;

use super::{SESSION, approve, approved, log_in, pages, scan};
use crate::support::browser::{Browser, Relay};
use crate::support::plugin::{Answer, Plugin, b64};
use crate::support::user::User;

/// The operator's password.
const PASSWORD: &str = "correct horse battery staple";

async fn start(relay: &Relay) -> Plugin {
    Plugin::start_with(|config| pages(config, relay)).await
}

fn browser(plugin: &Plugin) -> Browser {
    Browser::new(&format!("http://{}", plugin.addresses.http))
}

fn cookie_set(headers: &reqwest::header::HeaderMap, name: &str) -> String {
    let all = headers.get_all(SET_COOKIE).iter();
    let mut all = all.map(|value| value.to_str().unwrap());
    let found = all.find(|value| value.starts_with(&format!("{name}=")));
    found
        .unwrap_or_else(|| panic!("no {name} in {headers:?}"))
        .to_owned()
}

#[tokio::test]
async fn whoever_approves_is_logged_in_in_the_browser_that_showed_the_code_and_nowhere_else() {
    let relay = Relay::start().await;
    let plugin = start(&relay).await;
    let (mine, other) = (browser(&plugin), browser(&plugin));
    let link = scan(&mine).await.authenticator_link();
    assert!(
        link.starts_with("pubkyauth://signin_grant?caps=&"),
        "{link}"
    );
    // Somebody who saw the code, and began a log-in of their own.
    let others = scan(&other).await.authenticator_link();
    assert_ne!(link, others);
    let root = Keypair::random();
    approve(&root, &link).await;
    approved(&mine).await;
    assert!(relay.is_empty(), "the authenticator hears that it arrived");

    let stranger = other.post("/wallet/login/finish", &[]).await;
    assert_eq!(stranger.status, 303);
    assert!(other.cookie(SESSION).is_none());
    let finished = mine.post("/wallet/login/finish", &[]).await;
    let set = cookie_set(&finished.headers, SESSION);
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(set.contains(flag), "{set}");
    }
    let shown = mine.get("/wallet").await;
    assert!(
        shown.html.contains(&root.public_key().z32()),
        "{}",
        shown.html
    );
    assert_eq!(shown.headers["cache-control"], "no-store");
    let policy = shown.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
    // A log-in counts once.
    let again = mine.post("/wallet/login/finish", &[]).await;
    assert_eq!(again.status, 303);
    assert!(
        again
            .headers
            .get_all(SET_COOKIE)
            .iter()
            .all(|c| !c.to_str().unwrap().starts_with(SESSION))
    );
}

#[tokio::test]
async fn what_is_no_approval_of_this_log_in_opens_nothing() {
    let relay = Relay::start().await;
    let plugin = start(&relay).await;
    let (mine, other) = (browser(&plugin), browser(&plugin));
    scan(&mine).await;
    let theirs = scan(&other).await.authenticator_link();
    // Approved is the other's log-in: ours stays where it was.
    approve(&Keypair::random(), &theirs).await;
    approved(&other).await;
    let ours = mine.get("/wallet/login").await;
    assert!(ours.html.contains("waiting"), "{}", ours.html);
    mine.post("/wallet/login/finish", &[]).await;
    assert!(mine.cookie(SESSION).is_none());
    // Without a relay there is nothing to begin; without a cookie nothing to finish.
    let nobody = browser(&plugin);
    assert!(nobody.get("/wallet/login").await.html.contains("none"));
    mine.post("/wallet/login/stop", &[]).await;
    assert!(mine.get("/wallet/login").await.html.contains("none"));
}

/// Every address of the wallet page that takes a form, as the program names them: none can be forgotten here.
fn posts(peer: &Keypair) -> Vec<String> {
    let source = include_str!("../../../src/pages/wallet.rs");
    let routes = source.split(".route(").skip(1);
    let posts = routes.filter_map(|route| {
        let (path, handlers) = route.split_once('"')?.1.split_once('"')?;
        handlers.contains("post(").then(|| {
            path.replace("{peer}", &peer.public_key().z32())
                .replace("{id}", "x")
        })
    });
    posts.collect()
}

#[tokio::test]
async fn a_form_of_another_site_or_without_its_mark_changes_nothing() {
    let relay = Relay::start().await;
    let plugin = start(&relay).await;
    let mine = browser(&plugin);
    let shown = log_in(&mine, &Keypair::random()).await;
    let sessions = mine.get("/wallet/sessions").await;
    let csrf = sessions.field("/wallet/logout", "csrf");
    assert_eq!(shown.status, 200);
    let forged: &[&[(&str, &str)]] = &[
        &[],
        &[("csrf", "")],
        &[("csrf", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")],
    ];
    let posts = posts(&Keypair::random());
    let inside = posts
        .iter()
        .filter(|path| !path.starts_with("/wallet/login"));
    let inside: Vec<&str> = inside.map(String::as_str).collect();
    for known in ["/wallet/pay", "/wallet/proposals/ask"] {
        assert!(inside.contains(&known), "{inside:?}");
    }
    for path in inside {
        for fields in forged {
            mine.post(path, fields)
                .await
                .assert_code(403, "form_foreign");
        }
        for site in ["cross-site", "same-site", "none"] {
            let fields = [("csrf", csrf.as_str())];
            let headers = [("sec-fetch-site", site)];
            let sent = mine.post_with(path, &fields, &headers).await;
            sent.assert_code(403, "form_foreign");
        }
        let origin = [("origin", "https://evil.example")];
        let sent = mine.post_with(path, &[("csrf", &csrf)], &origin).await;
        sent.assert_code(403, "form_foreign");
    }
    let before = posts
        .iter()
        .filter(|path| path.starts_with("/wallet/login"));
    let before: Vec<&str> = before.map(String::as_str).collect();
    assert_eq!(before.len(), 4, "{before:?}");
    for path in before {
        let headers = [("sec-fetch-site", "cross-site")];
        let sent = mine.post_with(path, &[], &headers).await;
        sent.assert_code(403, "form_foreign");
    }
    // The mark of one session is none of another.
    let other = browser(&plugin);
    log_in(&other, &Keypair::random()).await;
    let crossed = other.post("/wallet/logout", &[("csrf", &csrf)]).await;
    crossed.assert_code(403, "form_foreign");
    assert_eq!(mine.get("/wallet/sessions").await.status, 200);
}

#[tokio::test]
async fn over_plain_http_a_form_is_known_by_its_origin_and_pages_have_browsers_tell_it() {
    let relay = Relay::start().await;
    let plugin = start(&relay).await;
    let mine = browser(&plugin);
    // With `no-referrer` a browser that sends no `Sec-Fetch-Site` (off loopback, without https) would hide its origin from us, too.
    let page = mine.get("/wallet").await;
    assert_eq!(page.headers["referrer-policy"], "same-origin");
    let api = Answer::of(plugin.request(Method::GET, "/v0/me")).await;
    assert_eq!(api.headers["referrer-policy"], "no-referrer");
    let own = format!("http://{}", plugin.addresses.http);
    let sent = mine
        .post_with("/wallet/login", &[], &[("origin", &own)])
        .await;
    assert_eq!(sent.status, 303, "{}", sent.html);
    let hidden = mine.post_with("/wallet/login", &[], &[("origin", "null")]);
    hidden.await.assert_code(403, "form_foreign");
}

#[tokio::test]
async fn a_session_can_be_ended_from_another_and_logging_out_ends_ones_own() {
    let relay = Relay::start().await;
    let plugin = start(&relay).await;
    let user = User::new();
    let (one, two) = (browser(&plugin), browser(&plugin));
    log_in(&one, &user.root).await;
    log_in(&two, &user.root).await;
    let app = plugin.open_session(&user.proof(&plugin.key())).await;
    let token = app.body["token"].as_str().unwrap();
    let list = one.get("/wallet/sessions").await;
    assert_eq!(list.html.matches("A browser with this page").count(), 2);
    assert_eq!(list.html.matches("A wallet or an app").count(), 1);
    for secret in [token, &two.cookie(SESSION).unwrap()] {
        assert!(!list.html.contains(secret), "a token is shown");
    }
    // All but its own are ended, one after the other.
    for _ in 0..2 {
        let list = one.get("/wallet/sessions").await;
        let session = list.field("/wallet/sessions/end", "session");
        let csrf = list.field("/wallet/sessions/end", "csrf");
        let fields = [("csrf", csrf.as_str()), ("session", session.as_str())];
        one.submit("/wallet/sessions/end", &fields).await;
    }
    two.get("/wallet/sessions")
        .await
        .assert_code(401, "session_invalid");
    let bearer = plugin.request(Method::GET, "/v0/me").bearer_auth(token);
    Answer::of(bearer)
        .await
        .assert_problem(401, "session_invalid");
    let csrf = one
        .get("/wallet/sessions")
        .await
        .field("/wallet/logout", "csrf");
    let old = one.cookie(SESSION).unwrap();
    one.submit("/wallet/logout", &[("csrf", &csrf)]).await;
    assert!(one.cookie(SESSION).is_none());
    one.set_cookie(SESSION, &old);
    one.get("/wallet/history")
        .await
        .assert_code(401, "session_invalid");
}

#[tokio::test]
async fn a_recovery_file_opens_the_page_in_a_test_network_that_wants_it_only() {
    let relay = Relay::start().await;
    let root = Keypair::random();
    let file = recovery_file::create_recovery_file(&root, "correct horse");
    let file = base64(&file);
    let fields = |passphrase| [("file", file.as_str()), ("passphrase", passphrase)];
    let without = start(&relay).await;
    let refused = browser(&without)
        .post("/wallet/login/recovery", &fields("correct horse"))
        .await;
    refused.assert_code(404, "recovery_off");

    let plugin = Plugin::start_with(|config| {
        config.pages.enabled = true;
        config.pages.recovery_login = true;
    })
    .await;
    let mine = browser(&plugin);
    let wrong = mine
        .post("/wallet/login/recovery", &fields("battery staple"))
        .await;
    wrong.assert_code(400, "recovery_unreadable");
    let shown = mine
        .submit("/wallet/login/recovery", &fields("correct horse"))
        .await;
    assert!(
        shown.html.contains(&root.public_key().z32()),
        "{}",
        shown.html
    );

    let mut config = plugin.config.clone();
    config.network.testnet = false;
    assert_eq!(config.check().unwrap_err().code(), "config_invalid");
}

fn base64(bytes: &[u8]) -> String {
    // The usual alphabet with padding, as `base64` prints it.
    let text = b64(bytes).replace('-', "+").replace('_', "/");
    let padding = (4 - text.len() % 4) % 4;
    format!("{text}{}", "=".repeat(padding))
}

#[tokio::test]
async fn begun_log_ins_are_bounded_for_an_address() {
    let relay = Relay::start().await;
    let plugin = Plugin::start_with(|config| {
        pages(config, &relay);
        config.sessions.opens_per_minute = 2;
    })
    .await;
    let mine = browser(&plugin);
    for _ in 0..2 {
        assert_eq!(mine.post("/wallet/login", &[]).await.status, 303);
    }
    mine.post("/wallet/login", &[])
        .await
        .assert_code(429, "rate_limited");
}

#[tokio::test]
async fn what_an_approval_opens_counts_for_its_address_too() {
    let relay = Relay::start().await;
    let plugin = Plugin::start_with(|config| {
        pages(config, &relay);
        config.sessions.opens_per_minute = 2;
    })
    .await;
    let (mine, other) = (browser(&plugin), browser(&plugin));
    let link = scan(&mine).await.authenticator_link();
    approve(&Keypair::random(), &link).await;
    approved(&mine).await;
    scan(&other).await;
    let finished = mine.post("/wallet/login/finish", &[]).await;
    finished.assert_code(429, "rate_limited");
    assert!(mine.cookie(SESSION).is_none());
}

#[tokio::test]
async fn passphrases_of_a_recovery_file_cannot_be_tried_without_end() {
    let root = Keypair::random();
    let file = base64(&recovery_file::create_recovery_file(&root, "correct horse"));
    let plugin = Plugin::start_with(|config| {
        config.pages.enabled = true;
        config.pages.recovery_login = true;
        config.sessions.opens_per_minute = 2;
    })
    .await;
    let mine = browser(&plugin);
    let fields = |passphrase| [("file", file.as_str()), ("passphrase", passphrase)];
    for _ in 0..2 {
        mine.post("/wallet/login/recovery", &fields("battery staple"))
            .await
            .assert_code(400, "recovery_unreadable");
    }
    // Now the right one does not help either.
    mine.post("/wallet/login/recovery", &fields("correct horse"))
        .await
        .assert_code(429, "rate_limited");
    assert!(mine.cookie(SESSION).is_none());
}

#[tokio::test]
async fn whoever_begins_many_log_ins_loses_their_own_oldest() {
    let relay = Relay::start().await;
    let plugin = start(&relay).await;
    let mut browsers = Vec::new();
    for _ in 0..12 {
        let one = browser(&plugin);
        scan(&one).await;
        browsers.push(one);
    }
    for (number, one) in browsers.iter().enumerate() {
        let stage = one.get("/wallet/login").await.html;
        let expected = if number < 2 { "none" } else { "waiting" };
        assert!(stage.contains(expected), "{number}: {stage}");
    }
}

#[tokio::test]
async fn an_open_page_of_an_account_that_is_switched_off_hears_that_it_is_over() {
    let relay = Relay::start().await;
    let plugin = Plugin::start_with(|config| {
        pages(config, &relay);
        config.admin.enabled = true;
        config.admin.listen = "127.0.0.1:0".parse().unwrap();
        config.admin.password = Some(PASSWORD.to_owned());
    })
    .await;
    let account = plugin.user().await;
    let mine = browser(&plugin);
    log_in(&mine, &account.user.root).await;
    let mut events = mine.stream("/wallet/events").await;
    events.expect("changed").await;
    let address = plugin.addresses.admin.unwrap();
    let path = format!(
        "http://{address}/v0/admin/accounts/{}/disable",
        account.z32()
    );
    let request = reqwest::Client::new().post(path).bearer_auth(PASSWORD);
    let done = Answer::of(request.json(&serde_json::json!({"reason": "unpaid bills"}))).await;
    done.assert_status(200);
    events.expect("ended").await;
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn there_is_no_wallet_page_where_nobody_could_log_in() {
    let plugin = Plugin::start_with(|config| config.pages.enabled = true).await;
    let missing = plugin.request(Method::GET, "/wallet");
    Answer::of(missing)
        .await
        .assert_problem(404, "route_unknown");
}

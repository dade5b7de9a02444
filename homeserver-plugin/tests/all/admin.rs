//! What operators see and do.

mod agent;
mod pages;
mod program;

use std::collections::BTreeSet;

use atomicity_plugin::Config;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::support::plugin::{Answer, Plugin};
use crate::support::sse::Events;

pub const PASSWORD: &str = "an operator's password";

/// Every route of the listener for operators.
const ROUTES: &[(&str, &str)] = &[
    ("get", "/v0/admin/status"),
    ("get", "/v0/admin/accounts"),
    ("get", "/v0/admin/accounts/{user}"),
    ("get", "/v0/admin/accounts/{user}/signatures"),
    ("post", "/v0/admin/accounts/{user}/disable"),
    ("post", "/v0/admin/accounts/{user}/enable"),
    ("get", "/v0/admin/accounts/{user}/export"),
    ("post", "/v0/admin/drain"),
    ("get", "/v0/admin/audit"),
    ("post", "/v0/admin/password"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
];

fn operated(config: &mut Config) {
    config.admin.enabled = true;
    config.admin.listen = "127.0.0.1:0".parse().unwrap();
    config.admin.password = Some(PASSWORD.to_owned());
    config.admin.attempts_per_minute = 3;
}

fn bare(plugin: &Plugin, method: Method, path: &str) -> RequestBuilder {
    let address = plugin.addresses.admin.unwrap();
    plugin
        .http
        .request(method, format!("http://{address}{path}"))
}

async fn ask(plugin: &Plugin, method: Method, path: &str, body: Option<Value>) -> Answer {
    let mut request = bare(plugin, method, path).bearer_auth(PASSWORD);
    if let Some(body) = body {
        request = request.json(&body);
    }
    Answer::of(request).await
}

async fn read(plugin: &Plugin, path: &str) -> Value {
    let answer = ask(plugin, Method::GET, path, None).await;
    answer.assert_status(200).body.clone()
}

/// What Prometheus fetches.
async fn metrics(plugin: &Plugin) -> String {
    let fetched = plugin.request(Method::GET, "/metrics").send().await;
    fetched.unwrap().text().await.unwrap()
}

/// What was done, the newest first.
async fn actions(plugin: &Plugin) -> Vec<String> {
    let page = read(plugin, "/v0/admin/audit").await;
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| item["action"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn nobody_without_the_password_sees_anything_and_who_guesses_is_slowed_down() {
    let plugin = Plugin::start_with(operated).await;
    let status = || bare(&plugin, Method::GET, "/v0/admin/status");
    Answer::of(status())
        .await
        .assert_problem(401, "admin_password_wrong");
    // Without one, nothing was guessed.
    for _ in 0..3 {
        Answer::of(status().bearer_auth("wrong"))
            .await
            .assert_problem(401, "admin_password_wrong");
    }
    Answer::of(status().bearer_auth(PASSWORD))
        .await
        .assert_problem(429, "too_many_attempts");
    // Nor is there anything of it on the listener for everybody.
    for path in ["/v0/admin/status", "/v0/admin/audit"] {
        let request = plugin.request(Method::GET, path).bearer_auth(PASSWORD);
        Answer::of(request)
            .await
            .assert_problem(404, "route_unknown");
    }
    // And where nobody wants one, there is no such listener.
    assert!(Plugin::start().await.addresses.admin.is_none());
}

#[tokio::test]
async fn every_route_for_operators_is_listed_and_needs_the_password() {
    let plugin = Plugin::start_with(|config| {
        operated(config);
        config.admin.attempts_per_minute = 100;
    })
    .await;
    let document = Answer::of(bare(&plugin, Method::GET, "/openapi.json")).await;
    let mut listed = BTreeSet::new();
    for (path, item) in document.body["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            listed.insert((method.clone(), path.clone()));
            let url = path.replace("{user}", &plugin.key());
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = Answer::of(bare(&plugin, method, &url)).await;
            let needs_password = operation["security"].is_array();
            assert_eq!(answer.status == 401, needs_password, "{path}");
            assert_eq!(needs_password, path.starts_with("/v0/admin/"), "{path}");
            let status = answer.status.as_u16().to_string();
            assert!(
                operation["responses"].get(&status).is_some(),
                "{path}: {status}"
            );
        }
    }
    let expected = ROUTES
        .iter()
        .map(|(m, p)| ((*m).to_owned(), (*p).to_owned()));
    assert_eq!(listed, expected.collect::<BTreeSet<_>>());
}

#[tokio::test]
async fn an_account_that_is_switched_off_says_so_and_loses_nothing() {
    let plugin = Plugin::start_with(operated).await;
    let (user, other) = (plugin.user().await, plugin.user().await);
    user.set_tags(&[crate::support::plugin::tag(1)]).await;
    user.receive(&user.known(1, "before"))
        .await
        .assert_status(201);
    let mut events = Events::open(&user, "", None).await;
    events.envelope().await;
    events.ready().await;

    let account = format!("/v0/admin/accounts/{}", user.z32());
    let disable = format!("{account}/disable");
    let reason = |text: &str| Some(json!({"reason": text}));
    for wrong in ["", " ", "two\nlines"] {
        ask(&plugin, Method::POST, &disable, reason(wrong))
            .await
            .assert_problem(400, "reason_invalid");
    }
    let done = ask(&plugin, Method::POST, &disable, reason("unpaid bills")).await;
    assert_eq!(done.assert_status(200).body["disabled_why"], "unpaid bills");
    assert_eq!(done.body["queued"], 1);

    // What is open ends, and whatever the user calls says why.
    assert_eq!(events.next().await, None);
    for (method, path) in [
        (Method::GET, "/v0/me"),
        (Method::PUT, "/v0/me"),
        (Method::GET, "/v0/inbox"),
        (Method::GET, "/v0/inbox/events"),
        (Method::GET, "/v0/me/balances"),
    ] {
        let answer = user.call(method, path, None).await;
        answer.assert_problem(403, "account_disabled");
    }
    // Others are not touched, and what they send is kept.
    other
        .call(Method::GET, "/v0/me", None)
        .await
        .assert_status(200);
    user.receive(&user.known(1, "meanwhile"))
        .await
        .assert_status(201);
    let only = read(&plugin, "/v0/admin/accounts?disabled=true").await;
    assert_eq!(only["items"].as_array().unwrap().len(), 1);
    assert_eq!(only["items"][0]["user"], user.z32());
    let status = read(&plugin, "/v0/admin/status").await;
    assert_eq!(status["accounts"]["disabled"], 1);
    assert_eq!(status["accounts"]["open"], 2);

    // It stays so over a restart.
    let (token, key) = (user.token.clone(), user.z32());
    drop((user, other));
    let plugin = plugin.restart().await;
    let me = || plugin.request(Method::GET, "/v0/me").bearer_auth(&token);
    Answer::of(me())
        .await
        .assert_problem(403, "account_disabled");
    let enable = format!("/v0/admin/accounts/{key}/enable");
    let done = ask(&plugin, Method::POST, &enable, None).await;
    assert_eq!(done.assert_status(200).body["disabled_at"], Value::Null);
    let inbox = plugin.request(Method::GET, "/v0/inbox").bearer_auth(&token);
    let inbox = Answer::of(inbox).await;
    assert_eq!(
        inbox.assert_status(200).body["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        actions(&plugin).await,
        ["enable_account", "disable_account"]
    );
}

#[tokio::test]
async fn whom_nobody_knows_can_not_be_switched_off() {
    let plugin = Plugin::start_with(operated).await;
    let path = |what: &str| format!("/v0/admin/accounts/{}{what}", plugin.key());
    let body = Some(json!({"reason": "x"}));
    for (method, what, body) in [
        (Method::POST, "/disable", body),
        (Method::POST, "/enable", None),
        (Method::GET, "", None),
        (Method::GET, "/export", None),
    ] {
        let answer = ask(&plugin, method, &path(what), body).await;
        answer.assert_problem(404, "account_unknown");
    }
    // What was not done is not written down either.
    assert_eq!(actions(&plugin).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_draining_plugin_takes_nothing_new_and_finishes_what_is_open() {
    let plugin = Plugin::start_with(operated).await;
    let user = plugin.user().await;
    user.set_tags(&[crate::support::plugin::tag(1)]).await;
    let first = user.receive(&user.known(1, "open")).await;
    first.assert_status(201);
    let drain = |draining: bool| Some(json!({"draining": draining}));
    let done = ask(&plugin, Method::POST, "/v0/admin/drain", drain(true)).await;
    assert_eq!(done.assert_status(200).body["draining"], true);

    assert!(metrics(&plugin).await.contains("atomicity_draining 1"));
    let ready = Answer::of(plugin.request(Method::GET, "/health/ready")).await;
    assert_eq!(
        ready.assert_status(503).body["checks"][0]["detail"],
        "draining"
    );
    Answer::of(plugin.request(Method::GET, "/health/live"))
        .await
        .assert_status(200);
    let refused = user.receive(&user.known(1, "new")).await;
    refused.assert_problem(503, "draining");
    user.call(Method::PUT, "/v0/me/tags", Some(json!({"tags": []})))
        .await
        .assert_problem(503, "draining");
    let session = plugin.open_session(&user.user.proof(&plugin.key())).await;
    session.assert_problem(503, "draining");
    assert_eq!(user.waiting().await, [first.id()]);
    assert_eq!(user.acknowledge(&[first.id()]).await, 1);
    assert_eq!(read(&plugin, "/v0/admin/status").await["draining"], true);

    ask(&plugin, Method::POST, "/v0/admin/drain", drain(false))
        .await
        .assert_status(200);
    assert!(metrics(&plugin).await.contains("atomicity_draining 0"));
    user.receive(&user.known(1, "new")).await.assert_status(201);
    assert_eq!(actions(&plugin).await, ["end_drain", "drain"]);
}

#[tokio::test]
async fn an_export_holds_everything_of_one_user_and_nothing_that_opens_anything() {
    let plugin = Plugin::start_with(operated).await;
    let (user, other) = (plugin.user().await, plugin.user().await);
    for account in [&user, &other] {
        account.set_tags(&[crate::support::plugin::tag(1)]).await;
        account
            .receive(&account.known(1, "sealed"))
            .await
            .assert_status(201);
    }
    let path = format!("/v0/admin/accounts/{}/export", user.z32());
    let export = bare(&plugin, Method::GET, &path).bearer_auth(PASSWORD);
    let export = export.send().await.unwrap();
    assert_eq!(export.headers()["content-type"], "application/jsonl");
    let text = export.text().await.unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["export"], "atomicity-account/1");
    assert_eq!(lines[0]["user"], user.z32());
    let end = lines.last().unwrap();
    assert_eq!(end["end"], true);
    assert_eq!(end["rows"], lines.len() - 2);
    let tables: BTreeSet<&str> = lines[1..lines.len() - 1]
        .iter()
        .map(|line| line["table"].as_str().unwrap())
        .collect();
    let expected = [
        "accounts",
        "budgets",
        "envelopes",
        "operator_audit",
        "proof_nonces",
        "sessions",
        "tags",
    ];
    assert_eq!(tables, expected.into_iter().collect());
    let envelopes: Vec<&Value> = lines
        .iter()
        .filter(|line| line["table"] == "envelopes")
        .collect();
    assert_eq!(envelopes.len(), 1);
    assert!(
        envelopes[0]["row"]["body"]
            .as_str()
            .unwrap()
            .contains(&user.z32())
    );
    for secret in ["token_hash", "sealed\":", &user.token] {
        assert!(!text.contains(secret), "{secret}");
    }
    assert_eq!(actions(&plugin).await, ["export_account"]);
}

#[tokio::test]
async fn what_operators_did_is_not_rewritten() {
    let plugin = Plugin::start_with(operated).await;
    for draining in [true, false] {
        ask(
            &plugin,
            Method::POST,
            "/v0/admin/drain",
            Some(json!({"draining": draining})),
        )
        .await
        .assert_status(200);
    }
    let mut connection = PgConnection::connect(&plugin.database.url).await.unwrap();
    for statement in [
        "UPDATE operator_audit SET action = 'nothing'",
        "DELETE FROM operator_audit",
        "TRUNCATE operator_audit",
    ] {
        assert!(
            sqlx::query(statement)
                .execute(&mut connection)
                .await
                .is_err()
        );
    }
    let page = read(&plugin, "/v0/admin/audit?limit=1").await;
    assert_eq!(page["items"][0]["via"], "api");
    assert_eq!(page["items"][0]["address"], "127.0.0.1");
    let before = page["next"].as_str().unwrap();
    let rest = read(&plugin, &format!("/v0/admin/audit?before={before}")).await;
    assert_eq!(rest["items"][0]["action"], "drain");
    assert_eq!(rest["next"], Value::Null);
    // Another password can't be made here: it stands in the settings.
    ask(&plugin, Method::POST, "/v0/admin/password", None)
        .await
        .assert_problem(409, "password_is_a_setting");
    // What was not done is not written down either.
    assert_eq!(actions(&plugin).await, ["end_drain", "drain"]);
}

#[tokio::test]
async fn who_asks_by_another_name_is_turned_away_unless_a_proxy_stands_in_front() {
    let plugin = Plugin::start_with(operated).await;
    let named = async |plugin: &Plugin, host: &str, path: &str| {
        let request = bare(plugin, Method::GET, path).header("host", host);
        Answer::of(request.bearer_auth(PASSWORD)).await
    };
    for host in ["evil.example", "evil.example:6292", "192.168.1.2", ""] {
        for path in ["/v0/admin/status", "/login", "/docs", "/openapi.json"] {
            named(&plugin, host, path)
                .await
                .assert_problem(403, "host_foreign");
        }
    }
    for host in ["127.0.0.1", "localhost:4711", "[::1]:6292"] {
        named(&plugin, host, "/v0/admin/status")
            .await
            .assert_status(200);
    }
    let elsewhere = Plugin::start_with(|config| {
        operated(config);
        config.admin.anywhere = true;
    })
    .await;
    named(&elsewhere, "operator.example", "/v0/admin/status")
        .await
        .assert_status(200);
}

#[tokio::test]
async fn nobody_chooses_the_address_that_their_guesses_and_actions_are_counted_by() {
    let drained_by = async |plugin: &Plugin| {
        let draining = json!({"draining": false});
        let request = bare(plugin, Method::POST, "/v0/admin/drain").json(&draining);
        let request = request.header("x-forwarded-for", "192.0.2.1");
        Answer::of(request.bearer_auth(PASSWORD))
            .await
            .assert_status(200);
        let page = read(plugin, "/v0/admin/audit").await;
        page["items"][0]["address"].as_str().unwrap().to_owned()
    };
    let proxied = |config: &mut Config| {
        operated(config);
        config.http.trusted_proxies = vec!["127.0.0.1".to_owned()];
    };
    let plugin = Plugin::start_with(proxied).await;
    assert_eq!(drained_by(&plugin).await, "127.0.0.1");
    for n in 0..4 {
        let request = bare(&plugin, Method::GET, "/v0/admin/status").bearer_auth("wrong");
        let answer = Answer::of(request.header("x-forwarded-for", format!("192.0.2.{n}"))).await;
        assert_eq!(answer.status == 429, n == 3, "{n}");
    }
    let elsewhere = Plugin::start_with(|config| {
        proxied(config);
        config.admin.anywhere = true;
    })
    .await;
    assert_eq!(drained_by(&elsewhere).await, "192.0.2.1");
}

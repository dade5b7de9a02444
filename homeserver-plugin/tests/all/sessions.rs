//! Who gets a session, and for how long.

use pubky::{Capability, GRANT_JWS_TYP, Keypair};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::support::plugin::{Account, Plugin};
use crate::support::user::{POP_TYP, User, now_s};

#[tokio::test]
async fn a_proof_opens_a_session_that_says_who_is_asking() {
    let plugin = Plugin::start().await;
    let user = User::new();
    let answer = plugin.open_session(&user.proof(&plugin.key())).await;
    answer.assert_status(201);
    assert_eq!(answer.body["user"], user.z32());
    assert_eq!(answer.body["registered"], false);
    let expires = answer.body["expires_at"].as_u64().unwrap();
    // A session never outlives the grant, which here ends before the configured day does.
    assert_eq!(expires, user.grant.exp * 1_000);
    let token = answer.body["token"].as_str().unwrap().to_owned();
    let account = Account {
        plugin: &plugin,
        user,
        token,
    };
    account
        .call(Method::PUT, "/v0/me", None)
        .await
        .assert_status(201);
    let again = plugin
        .open_session(&account.user.proof(&plugin.key()))
        .await;
    assert_eq!(again.body["registered"], true);
}

#[tokio::test]
async fn a_proof_counts_once_even_after_a_restart_and_many_times_at_once() {
    let plugin = Plugin::start().await;
    let user = User::new();
    let proof = user.proof(&plugin.key());
    plugin.open_session(&proof).await.assert_status(201);
    plugin
        .open_session(&proof)
        .await
        .assert_problem(401, "proof_replayed");
    let plugin = plugin.restart().await;
    plugin
        .open_session(&proof)
        .await
        .assert_problem(401, "proof_replayed");
    let proof = user.proof(&plugin.key());
    let tries = (0..8).map(|_| plugin.open_session(&proof));
    let answers = futures_util::future::join_all(tries).await;
    let opened = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(opened, 1);
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 201 || answer.code() == "proof_replayed")
    );
}

#[tokio::test]
async fn the_nonce_of_one_user_does_not_use_up_the_same_nonce_of_another() {
    let plugin = Plugin::start().await;
    let (a, b) = (User::new(), User::new());
    let claims_a = a.claims(&plugin.key());
    let mut claims_b = b.claims(&plugin.key());
    claims_b.nonce = claims_a.nonce.clone();
    for (user, claims) in [(&a, &claims_a), (&b, &claims_b)] {
        let body = json!({"proof": {"grant": user.signed_grant(), "pop": user.sign(claims)}});
        plugin.open_session(&body).await.assert_status(201);
    }
}

fn proof(grant: String, pop: String) -> Value {
    json!({"proof": {"grant": grant, "pop": pop}})
}

/// Flips one bit of a character in base64url, so that it stays base64url.
fn flip(text: &str, at: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

/// One place in each part of a JWS.
fn spots(jws: &str) -> [usize; 3] {
    [2, jws.find('.').unwrap() + 5, jws.rfind('.').unwrap() + 5]
}

#[tokio::test]
async fn a_forged_proof_opens_nothing() {
    let plugin = Plugin::start().await;
    let user = User::new();
    let (grant, claims) = (user.signed_grant(), user.claims(&plugin.key()));
    let pop = user.sign(&claims);
    let other = User::new();
    let mut forged = Vec::new();
    for at in spots(&grant) {
        forged.push(proof(flip(&grant, at), pop.clone()));
    }
    for at in spots(&pop) {
        forged.push(proof(grant.clone(), flip(&pop, at)));
    }
    // The right words under the wrong signature.
    forged.push(proof(
        user.grant.sign(&other.root, GRANT_JWS_TYP),
        pop.clone(),
    ));
    forged.push(proof(
        grant.clone(),
        pubky_common::auth::jws::sign_jws(&other.app, POP_TYP, &claims),
    ));
    forged.push(proof(
        grant.clone(),
        pubky_common::auth::jws::sign_jws(&user.root, POP_TYP, &claims),
    ));
    // A proof for the homeserver is none for us, and a grant of another kind is none at all.
    forged.push(proof(
        grant.clone(),
        pubky_common::auth::jws::sign_jws(&user.app, "pubky-pop", &claims),
    ));
    forged.push(proof(user.grant.sign(&user.root, "JWT"), pop.clone()));
    // Somebody else's proof beside this grant.
    forged.push(proof(
        grant.clone(),
        other.sign(&other.claims(&plugin.key())),
    ));
    forged.push(proof(String::new(), String::new()));
    forged.push(proof(grant.clone(), "a".repeat(7_000)));
    for body in &forged {
        plugin
            .open_session(body)
            .await
            .assert_problem(401, "proof_invalid");
    }
    // The forgeries used nothing up.
    plugin
        .open_session(&proof(grant, pop))
        .await
        .assert_status(201);
}

#[tokio::test]
async fn a_proof_for_somebody_or_something_else_opens_nothing() {
    let plugin = Plugin::start().await;
    let user = User::new();
    let mut claims = user.claims(&Keypair::random().public_key().z32());
    let open = async |data: &Value| {
        let mut claims = user.claims(&plugin.key());
        claims.data = data.clone();
        plugin
            .open_session(&proof(user.signed_grant(), user.sign(&claims)))
            .await
    };
    open(&claims.data)
        .await
        .assert_problem(401, "proof_wrong_audience");
    claims.data = json!({"audience": plugin.key(), "purpose": "something-else"});
    open(&claims.data)
        .await
        .assert_problem(401, "proof_wrong_audience");
    for data in [
        json!(null),
        json!({"audience": plugin.key()}),
        json!({"audience": plugin.key(), "purpose": "atomicity-session", "more": 1}),
    ] {
        open(&data).await.assert_problem(401, "proof_invalid");
    }
}

#[tokio::test]
async fn a_proof_has_its_time() {
    let plugin = Plugin::start().await;
    let now = now_s();
    let open = async |change: &dyn Fn(&mut User, &mut u64)| {
        let (mut user, mut iat) = (User::new(), now);
        change(&mut user, &mut iat);
        let mut claims = user.claims(&plugin.key());
        claims.iat = iat;
        plugin
            .open_session(&proof(user.signed_grant(), user.sign(&claims)))
            .await
    };
    open(&|user, iat| {
        user.grant.iat = now - 1_000;
        *iat = now - 121;
    })
    .await
    .assert_problem(401, "proof_expired");
    open(&|_, iat| *iat = now + 300)
        .await
        .assert_problem(401, "proof_not_yet_valid");
    open(&|user, _| user.grant.exp = now - 1)
        .await
        .assert_problem(401, "proof_expired");
    open(&|user, _| user.grant.iat = now + 300)
        .await
        .assert_problem(401, "proof_not_yet_valid");
    open(&|_, _| {}).await.assert_status(201);
}

#[tokio::test]
async fn malformed_and_oversized_requests_are_told_what_is_wrong() {
    let plugin = Plugin::start().await;
    let open = async |body: String, kind: &'static str| {
        let request = plugin
            .request(Method::POST, "/v0/sessions")
            .header("content-type", kind)
            .body(body);
        crate::support::plugin::Answer::of(request).await
    };
    const JSON: &str = "application/json";
    open("{".into(), JSON)
        .await
        .assert_problem(400, "body_malformed");
    open("{}".into(), JSON)
        .await
        .assert_problem(400, "body_malformed");
    open("[".repeat(10_000), JSON)
        .await
        .assert_problem(400, "body_malformed");
    let user = User::new();
    let mut more = user.proof(&plugin.key());
    more["extra"] = json!(1);
    open(more.to_string(), JSON)
        .await
        .assert_problem(400, "body_malformed");
    open(user.proof(&plugin.key()).to_string(), "text/plain")
        .await
        .assert_problem(415, "unsupported_media_type");
    open(" ".repeat(17 * 1024), JSON)
        .await
        .assert_problem(413, "body_too_large");
}

#[tokio::test]
async fn a_session_ends_when_it_is_told_to_and_when_its_time_has_come() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    account
        .call(Method::DELETE, "/v0/sessions/current", None)
        .await
        .assert_status(204);
    account
        .call(Method::GET, "/v0/me", None)
        .await
        .assert_problem(401, "session_invalid");
    let account = plugin.user().await;
    account
        .call(Method::GET, "/v0/me", None)
        .await
        .assert_status(200);
    let mut connection = plugin.database.connect().await;
    connection
        .execute("UPDATE sessions SET created_at = 1, expires_at = 2")
        .await
        .unwrap();
    account
        .call(Method::GET, "/v0/me", None)
        .await
        .assert_problem(401, "session_invalid");
}

#[tokio::test]
async fn only_so_many_sessions_are_kept_and_the_oldest_ends() {
    let plugin = Plugin::start_with(|config| config.sessions.max_per_user = 2).await;
    let first = plugin.user().await;
    // What a wallet opens leaves those of apps that read alone.
    let mut reads = User::new();
    reads.root = first.user.root.clone();
    reads.grant.iss = reads.root.public_key();
    reads.grant.caps = vec![Capability::read("/pub/atomicity/v0/").unwrap()];
    let opened = plugin.open_session(&reads.proof(&plugin.key())).await;
    let app = opened.body["token"].as_str().unwrap().to_owned();
    let mut tokens = vec![app, first.token.clone()];
    for _ in 0..2 {
        // Two of one millisecond have no order.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let answer = plugin.open_session(&first.user.proof(&plugin.key())).await;
        tokens.push(answer.body["token"].as_str().unwrap().to_owned());
    }
    let mut statuses = Vec::new();
    for token in tokens {
        let answer = plugin
            .request(Method::GET, "/v0/me")
            .bearer_auth(token)
            .send()
            .await
            .unwrap();
        statuses.push(answer.status().as_u16());
    }
    assert_eq!(statuses, [200, 401, 200, 200]);
}

#[tokio::test]
async fn a_session_by_a_grant_to_read_changes_nothing_and_one_that_was_open_before_still_does() {
    let plugin = Plugin::start().await;
    let writer = plugin.user().await;
    let mut reads = User::new();
    reads.root = writer.user.root.clone();
    reads.grant.iss = reads.root.public_key();
    reads.grant.caps = vec![Capability::read("/pub/atomicity/v0/").unwrap()];
    let opened = plugin.open_session(&reads.proof(&plugin.key())).await;
    opened.assert_status(201);
    let token = opened.body["token"].as_str().unwrap().to_owned();
    let reader = Account {
        plugin: &plugin,
        user: reads,
        token,
    };
    let read = reader.call(Method::GET, "/v0/me", None).await;
    read.assert_status(200);
    let change = [
        (Method::PUT, "/v0/me", None),
        (Method::DELETE, "/v0/me", None),
        (Method::PUT, "/v0/me/tags", Some(json!({"tags": []}))),
        (
            Method::PUT,
            "/v0/me/public-units",
            Some(json!({"units": []})),
        ),
        (Method::POST, "/v0/inbox/ack", Some(json!({"ids": []}))),
        (Method::POST, "/v0/me/proposals", Some(json!({}))),
    ];
    for (method, path, body) in change {
        let answer = reader.call(method.clone(), path, body.clone()).await;
        answer.assert_problem(403, "session_reads_only");
        let may = writer.call(Method::GET, "/v0/me", None).await;
        assert_eq!(may.body["closed_at"], Value::Null, "{method} {path}");
    }

    // What was open before the plugin looked at grants goes on as it was.
    let mut connection = plugin.database.connect().await;
    connection
        .execute("UPDATE sessions SET writes = true")
        .await
        .unwrap();
    let tags = Some(json!({"tags": []}));
    let answer = reader.call(Method::PUT, "/v0/me/tags", tags).await;
    answer.assert_status(200);
    connection
        .execute("UPDATE sessions SET writes = false")
        .await
        .unwrap();

    // Who may only read may still leave.
    let ended = reader.call(Method::DELETE, "/v0/sessions/current", None);
    ended.await.assert_status(204);
    let gone = reader.call(Method::GET, "/v0/me", None).await;
    gone.assert_problem(401, "session_invalid");
}

#[tokio::test]
async fn tokens_are_not_in_the_database() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    let mut connection = plugin.database.connect().await;
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT token_hash FROM sessions")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    assert_ne!(rows[0].0, account.token.as_bytes());
    for authorization in [
        "",
        "Bearer",
        "Bearer x",
        &format!("Basic {}", account.token),
        &format!("Bearer {}x", account.token),
    ] {
        let request = plugin
            .request(Method::GET, "/v0/me")
            .header("authorization", authorization);
        crate::support::plugin::Answer::of(request)
            .await
            .assert_problem(401, "session_invalid");
    }
}

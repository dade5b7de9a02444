//! What the log keeps to itself, however much it is told to say.

use std::collections::BTreeSet;
use std::process::Stdio;

use atomicity_ledger::record::Snapshot;
use atomicity_ledger::{Keypair, Signed};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use url::Url;

use crate::support::database::Database;
use crate::support::plugin::{Answer, b64, tag};
use crate::support::process::{Home, Running};
use crate::support::user::User;

/// An amount that occurs nowhere by chance.
const AMOUNT: &str = "731946285017";
const SEALED: &str = "sealed words that only the wallets can read";

/// The URL with a password in it, also where the server asks for none.
fn with_password(database: &Database) -> (String, String) {
    let mut url = Url::parse(&database.url).unwrap();
    if url.password().is_none() {
        url.set_password(Some("a-password-for-the-log")).unwrap();
    }
    let password = url.password().unwrap().to_owned();
    (url.into(), password)
}

async fn send(request: RequestBuilder, status: u16) -> Value {
    let answer = Answer::of(request).await;
    answer.assert_status(status);
    answer.body
}

fn snapshot(user: &User) -> String {
    let record: Snapshot = serde_json::from_value(json!({
        "v": 1, "user": user.z32(), "at": atomicity_plugin::clock::now_ms(),
        "channels": [{
            "peer": User::new().z32(), "unit": "BREAD/2", "balance": AMOUNT,
            "accept": AMOUNT, "accepted_by_peer": "0", "frozen": false,
        }],
    }))
    .unwrap();
    let root = Keypair::from_secret(&user.root.secret());
    Signed::sign(record, &root).unwrap().jws().to_owned()
}

/// Opens a session, fills the inbox, reads it, pushes a summary, reads metrics. Answers what none of that may leave in the log.
async fn use_everything(running: &Running) -> Vec<String> {
    let (http, user) = (Client::new(), User::new());
    let url = |path: &str| format!("{}{path}", running.http);
    let proof = user.proof(&running.plugin);
    let session = send(http.post(url("/v0/sessions")).json(&proof), 201).await;
    let token = session["token"].as_str().unwrap();
    send(http.put(url("/v0/me")).bearer_auth(token), 201).await;
    let tags = json!({"tags": [tag(1)]});
    send(
        http.put(url("/v0/me/tags")).bearer_auth(token).json(&tags),
        200,
    )
    .await;
    let envelope = json!({"to": user.z32(), "tag": tag(1), "ciphertext": b64(SEALED.as_bytes())});
    let inbox = url(&format!("/v0/inbox/{}", user.z32()));
    send(http.post(&inbox).json(&envelope), 201).await;
    let page = send(http.get(url("/v0/inbox")).bearer_auth(token), 200).await;
    assert_eq!(
        page["items"][0]["envelope"]["ciphertext"],
        envelope["ciphertext"]
    );
    let jws = snapshot(&user);
    let pushed = json!({"snapshot": jws});
    send(
        http.put(url("/v0/me/snapshot"))
            .bearer_auth(token)
            .json(&pushed),
        200,
    )
    .await;
    let balances = send(http.get(url("/v0/me/balances")).bearer_auth(token), 200).await;
    assert!(balances.to_string().contains(AMOUNT), "{balances}");
    send(http.get(url("/metrics")), 200).await;
    // What is refused is no more to be seen than what is taken.
    send(http.post(url("/v0/sessions")).json(&proof), 401).await;
    send(
        http.post(url("/v0/sessions"))
            .json(&json!({"proof": proof["proof"]["pop"]})),
        400,
    )
    .await;
    send(
        http.put(url("/v0/me/snapshot"))
            .bearer_auth(token)
            .json(&json!({"snapshot": format!("{jws}.")})),
        400,
    )
    .await;
    let of_proof = |part: &str| proof["proof"][part].as_str().unwrap().to_owned();
    vec![
        token.to_owned(),
        of_proof("grant"),
        of_proof("pop"),
        b64(SEALED.as_bytes()),
        SEALED.to_owned(),
        jws.split('.').nth(1).unwrap().to_owned(),
        AMOUNT.to_owned(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_talkative_log_holds_no_secret_no_content_and_no_amount() {
    let (home, database) = (Home::new(), Database::create().await);
    let (database_url, password) = with_password(&database);
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = home.run_command(&database);
    command
        .args(["--log-format", "json", "--log-filter", "trace"])
        .env("ATOMICITY_HOMESERVER_DATABASE_URL", database_url)
        .stderr(Stdio::from(file.reopen().unwrap()));
    let running = Running::spawn(command);
    let mut unsaid = use_everything(&running).await;
    unsaid.push(password);
    unsaid.push(
        std::fs::read_to_string(home.0.path().join("secret"))
            .unwrap()
            .trim()
            .to_owned(),
    );
    running.signal("TERM");
    assert!(running.wait().success());

    let log = std::fs::read_to_string(file.path()).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    // It does talk, the libraries too, down to the lowest level.
    let said: BTreeSet<_> = lines
        .iter()
        .map(|line| {
            (
                line["target"].as_str().unwrap(),
                line["level"].as_str().unwrap(),
            )
        })
        .collect();
    for target in ["atomicity", "sqlx"] {
        let talks = said.iter().any(|(found, _)| found.starts_with(target));
        assert!(talks, "{target} is silent: {said:?}");
    }
    assert!(said.iter().any(|(_, level)| *level == "TRACE"), "{said:?}");
    for text in unsaid {
        assert!(text.len() >= 8, "{text:?} may occur by chance");
        let found = lines.iter().find(|line| line.to_string().contains(&text));
        assert!(found.is_none(), "{text} is in the log: {}", found.unwrap());
    }
}

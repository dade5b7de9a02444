//! The wallet page: who gets in, and what they see and can do.

mod books;
mod diary;
mod draining;
mod login;
mod proposals;
mod shown;

use atomicity_ledger::record::Snapshot;
use atomicity_ledger::{Keypair as LedgerKeypair, Signed, UserKey};
use atomicity_plugin::Config;
use pubky::{Keypair, Pubky, PubkyHttpClient};
use serde_json::{Value, json};

use crate::support::browser::{Browser, Relay, Shown};
use crate::support::until;

/// The name of the session's cookie over plain http.
const SESSION: &str = "atomicity-session";

/// What a wallet tells: these balances, each with a limit of 5.00 for them and of 4.00 for the user.
fn told(root: &LedgerKeypair, balances: &[(UserKey, &str, i64)]) -> Value {
    let channels = balances.iter().map(|(peer, unit, balance)| {
        json!({"peer": peer, "unit": unit, "balance": balance.to_string(), "accept": "500", "accepted_by_peer": "400", "frozen": false})
    });
    let record: Snapshot = serde_json::from_value(json!({
        "v": 1, "user": root.user_key(), "at": atomicity_plugin::clock::now_ms(),
        "channels": channels.collect::<Vec<_>>(),
    }))
    .unwrap();
    json!({"snapshot": Signed::sign(record, root).unwrap().jws()})
}

/// Switches the page on.
fn pages(config: &mut Config, relay: &Relay) {
    config.pages.enabled = true;
    config.pages.relay = Some(relay.url.parse().unwrap());
}

/// An authenticator, as the SDK has one: it holds the root key and reaches the relay.
async fn approve(root: &Keypair, link: &str) {
    let mut builder = PubkyHttpClient::builder();
    // Nobody is looked up: the relay is all that is talked to.
    builder.pkarr(|pkarr| pkarr.no_relays().bootstrap(&["127.0.0.1:1"]));
    let sdk = Pubky::with_client(builder.build().unwrap());
    let signer = sdk.signer(root.clone());
    signer.approve_auth(link).await.unwrap();
}

/// Begins a log-in and shows its code.
async fn scan(browser: &Browser) -> Shown {
    let shown = browser.submit("/wallet/login", &[]).await;
    assert_eq!(shown.status, 200, "{}", shown.html);
    shown
}

async fn approved(browser: &Browser) {
    until("the approval arrives", || async {
        browser.get("/wallet/login").await.html.contains("approved")
    })
    .await;
}

/// Logs a user in by their authenticator; what they see then.
async fn log_in(browser: &Browser, root: &Keypair) -> Shown {
    let link = scan(browser).await.authenticator_link();
    approve(root, &link).await;
    approved(browser).await;
    let shown = browser.submit("/wallet/login/finish", &[]).await;
    assert!(browser.cookie(SESSION).is_some(), "{}", shown.html);
    shown
}

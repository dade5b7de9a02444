//! Several processes on one wallet, and the session at the homeserver that they share.

use atomicity_ledger::Keypair;

use super::*;
use crate::net::ServiceKey;
use crate::net::session::HomeSession;

fn sign_in(wallet: &Wallet, homeserver: &ServiceKey) -> HomeSession {
    // Whose root it is makes no difference to who keeps what.
    HomeSession::unseen(wallet.net(), &Keypair::from_secret(&[5; 32]), homeserver).unwrap()
}

#[tokio::test]
async fn who_signs_in_anew_does_so_for_every_process_on_this_wallet() {
    let milkman = Person::new("milkman").await;
    let [old, new] = [1, 2].map(|n| Keypair::from_secret(&[n; 32]).user_key());
    let here = &milkman.wallet;
    here.set_session(sign_in(here, &old)).await.unwrap();
    // Another process, which runs for long.
    let there = Wallet::open(here.config()).await.unwrap();
    assert_eq!(there.session().await.unwrap().homeserver(), &old);
    let first = there.session().await.unwrap().grant_id().to_owned();
    there.keep_session().await.unwrap();
    here.set_session(sign_in(here, &new)).await.unwrap();
    // What it does at its end does not bring the old one back.
    there.keep_session().await.unwrap();
    let now = there.session().await.unwrap();
    assert_eq!(now.homeserver(), &new);
    assert_ne!(now.grant_id(), first);
    there.close().await;
    let later = Wallet::open(here.config()).await.unwrap();
    let found = later.session().await.unwrap();
    assert_eq!(found.grant_id(), now.grant_id());
}

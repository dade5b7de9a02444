//! A friend at another plugin; an agent whose authority is a grant.

use atomicity_ledger::authority::book_path;
use pubky::{Capability, ClientId, GRANT_JWS_TYP, GrantClaims, GrantId};
use reqwest::Method;
use serde_json::json;

use super::world::{
    Site, allow, befriend, befriend_over, engage, hand_over_body, now, payment, unit,
};
use crate::support::plugin::b64;
use crate::support::user::now_s;

#[tokio::test]
async fn a_friend_at_another_plugin_is_paid_there() {
    let (here, there) = (Site::start().await, Site::start().await);
    let (mut owner, mut friend) = (here.person().await, there.person().await);
    befriend_over((&here, &there), &mut owner, &mut friend, 2_000).await;
    let key = engage(&here, &mut owner, 5_000, None).await;
    let body = hand_over_body(&mut owner, &friend.user, key, 5_000, allow(1_000));
    let path = format!("/v0/me/agent/peers/{}", friend.user);
    owner
        .call(&here, Method::PUT, &path, Some(body))
        .await
        .assert_status(200);
    let body = payment(1, &friend.user, 300);
    owner
        .call(&here, Method::POST, "/v0/me/agent/issue", Some(body))
        .await
        .assert_status(200);
    let user = owner.user;
    friend
        .pump_until_over((&there, &here), "300 arrived", |friend| {
            friend.pair(&user).balance(&unit()).minor() == 300
        })
        .await;
    super::world::acknowledged(&here, &owner, &friend.user).await;
}

#[tokio::test]
async fn a_grant_that_names_the_book_is_authority_and_one_for_storage_is_none() {
    let site = Site::start().await;
    let (mut owner, mut friend) = (site.person().await, site.person().await);
    befriend(&site, &mut owner, &mut friend, 2_000).await;
    let mut body = json!({"until": now().millis() + 3_600_000,
        "encryption": [{"n": 1, "secret": b64(&owner.secret_bytes)}]});
    let first = owner
        .call(&site, Method::PUT, "/v0/me/agent", Some(body.clone()))
        .await;
    let key = first.assert_status(200).body["agent_key"].clone();
    let key: atomicity_ledger::SignerKey = key.as_str().unwrap().parse().unwrap();
    let root = pubky::Keypair::from_secret(&owner.root.secret());
    let grant = |path: &str| {
        let claims = GrantClaims {
            iss: root.public_key(),
            client_id: ClientId::new("ring.example").unwrap(),
            caps: vec![Capability::read_write(path).unwrap()],
            cnf: pubky::PublicKey::try_from_z32(&key.to_string()).unwrap(),
            jti: GrantId::generate(),
            iat: now_s() - 10,
            exp: now_s() + 3_600,
        };
        claims.sign(&root, GRANT_JWS_TYP)
    };
    body["authority"] = grant("/pub/atomicity/v0/channels/").into();
    let refused = owner
        .call(&site, Method::PUT, "/v0/me/agent", Some(body.clone()))
        .await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    let word = grant(&book_path(&key));
    body["authority"] = word.clone().into();
    let active = owner
        .call(&site, Method::PUT, "/v0/me/agent", Some(body))
        .await;
    assert_eq!(active.assert_status(200).body["state"], "active");
    for pair in owner.pairs.values_mut() {
        pair.learn_own_authority(&word, now()).unwrap();
    }
    super::world::hand_over(&site, &mut owner, &mut friend, key, allow(1_000)).await;
    let body = payment(1, &friend.user, 300);
    owner
        .call(&site, Method::POST, "/v0/me/agent/issue", Some(body))
        .await
        .assert_status(200);
    let user = owner.user;
    friend
        .pump_until(&site, "300 arrived", |friend| {
            friend.pair(&user).balance(&unit()).minor() == 300
        })
        .await;
}

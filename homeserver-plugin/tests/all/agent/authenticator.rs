//! An agent whose word comes from an authenticator: asked for by a link, signed there, brought by a relay; and how it ends.

use atomicity_ledger::authority::{self, book_path};
use atomicity_ledger::jws::Version;
use atomicity_ledger::record::Revocation;
use atomicity_ledger::{Signed, SignerKey};
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use pubky::{Capability, ClientId, GRANT_JWS_TYP, GrantClaims, GrantId, Pubky, PubkyHttpClient};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::world::{Person, Site, allow, befriend, hand_over, now, payment, unit};
use crate::support::database::Database;
use crate::support::plugin::b64;
use crate::support::until;
use crate::support::user::now_s;
use crate::support::world::{File, HomeServer, World};

const ISSUE: &str = "/v0/me/agent/issue";

/// A site in a world with a homeserver, an owner who lives there, and a friend.
async fn place(world: &World) -> (Site, HomeServer, Person, Person) {
    let home = HomeServer::open(world).await;
    let bootstrap = format!("network.dht_bootstrap={:?}", world.network.bootstrap);
    let sets = [
        bootstrap.as_str(),
        "network.dht_request_timeout_ms=200",
        "agent.authority_poll_s=1",
    ];
    let site = Site::start_on(Database::create().await, &sets).await;
    let (mut owner, mut friend) = (site.person().await, site.person().await);
    befriend(&site, &mut owner, &mut friend, 2_000).await;
    let root = pkarr::Keypair::from_secret_key(&owner.root.secret());
    world.settle(&root, &home.keys).await;
    (site, home, owner, friend)
}

/// The agent's key, and what it is asked with.
async fn asked(site: &Site, owner: &Person) -> (SignerKey, Value) {
    let body = json!({"until": now().millis() + 3_600_000,
        "encryption": [{"n": 1, "secret": b64(&owner.secret_bytes)}]});
    let first = owner
        .call(site, Method::PUT, "/v0/me/agent", Some(body.clone()))
        .await;
    let key = first.assert_status(200).body["agent_key"].clone();
    (key.as_str().unwrap().parse().unwrap(), body)
}

/// Lets the owner's authenticator approve what a link asks for, and takes from the relay what it signed.
async fn approved(world: &World, owner: &Person, key: &SignerKey) -> String {
    let (sent, mut relayed) = mpsc::unbounded_channel::<Bytes>();
    let take = move |body: Bytes| async move { drop(sent.send(body)) };
    let relay = Router::new().route("/inbox/{channel}", post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, relay).await });
    let secret: [u8; 32] = rand::random();
    let link = format!(
        "pubkyauth://signin_grant?caps={}:rw&relay=http://{address}/inbox/&secret={}&cid=agent.example&cpk={key}",
        book_path(key),
        b64(&secret),
    );
    let nodes = world.network.bootstrap.clone();
    let mut client = PubkyHttpClient::builder();
    client.pkarr(|pkarr| pkarr.no_relays().bootstrap(&nodes));
    let sdk = Pubky::with_client(client.build().unwrap());
    let authenticator = sdk.signer(pubky::Keypair::from_secret(&owner.root.secret()));
    authenticator.approve_auth(&link).await.unwrap();
    let sealed = relayed.recv().await.unwrap();
    serving.abort();
    let opened = pubky_common::crypto::decrypt(&sealed, &secret).unwrap();
    String::from_utf8(opened).unwrap()
}

/// Begins the agent with this word, and lets it keep the books towards the friend.
async fn begin(
    site: &Site,
    (owner, friend): (&mut Person, &mut Person),
    (key, mut body): (SignerKey, Value),
    word: &str,
) {
    body["authority"] = word.into();
    let active = owner
        .call(site, Method::PUT, "/v0/me/agent", Some(body))
        .await;
    assert_eq!(active.assert_status(200).body["state"], "active");
    for pair in owner.pairs.values_mut() {
        pair.learn_own_authority(word, now()).unwrap();
    }
    hand_over(site, owner, friend, key, allow(1_000)).await;
}

async fn stopped(site: &Site, owner: &Person, friend: &Person, why: &str) {
    until("the agent has stopped", || async {
        let view = owner.call(site, Method::GET, "/v0/me/agent", None).await;
        view.body["state"] == "stopped" && view.body["why"] == why
    })
    .await;
    let signed = owner.journal(site).await.len();
    let more = Some(payment(9, &friend.user, 1));
    owner
        .call(site, Method::POST, ISSUE, more)
        .await
        .assert_problem(409, "agent_stopped");
    assert_eq!(owner.journal(site).await.len(), signed);
}

#[tokio::test]
async fn an_agent_works_by_what_an_authenticator_signed_until_that_is_revoked() {
    let world = World::new();
    let (site, home, mut owner, mut friend) = place(&world).await;
    let (key, body) = asked(&site, &owner).await;
    let word = approved(&world, &owner, &key).await;
    let claims = GrantClaims::decode(&word).unwrap();
    assert_eq!(claims.cnf.z32(), key.to_string());
    begin(&site, (&mut owner, &mut friend), (key, body), &word).await;
    let paid = Some(payment(1, &friend.user, 300));
    owner
        .call(&site, Method::POST, ISSUE, paid)
        .await
        .assert_status(200);
    let user = owner.user;
    friend
        .pump_until(&site, "300 arrived", |friend| {
            friend.pair(&user).balance(&unit()).minor() == 300
        })
        .await;

    // The revocation of another grant changes nothing, that of this one ends it.
    let revocation = |grant: &str| {
        let revocation = Revocation {
            v: Version,
            root: user,
            key,
            grant: Some(grant.parse().unwrap()),
            at: now(),
        };
        let signed = Signed::sign(revocation, &owner.root).unwrap();
        signed.jws().to_owned()
    };
    let path = authority::delegation_path(&key);
    let other = revocation(GrantId::generate().as_str());
    home.put(&user, &path, File::Is(other, "\"1\""));
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let paid = Some(payment(2, &friend.user, 100));
    owner
        .call(&site, Method::POST, ISSUE, paid)
        .await
        .assert_status(200);
    let own = revocation(claims.jti.as_str());
    home.put(&user, &path, File::Is(own, "\"2\""));
    stopped(&site, &owner, &friend, "revoked").await;
}

#[tokio::test]
async fn an_agent_ends_with_its_grant() {
    let world = World::new();
    let (site, _home, mut owner, mut friend) = place(&world).await;
    let asked = asked(&site, &owner).await;
    let root = pubky::Keypair::from_secret(&owner.root.secret());
    let claims = GrantClaims {
        iss: root.public_key(),
        client_id: ClientId::new("agent.example").unwrap(),
        caps: vec![Capability::read_write(book_path(&asked.0)).unwrap()],
        cnf: pubky::PublicKey::try_from_z32(&asked.0.to_string()).unwrap(),
        jti: GrantId::generate(),
        iat: now_s() - 10,
        exp: now_s() + 6,
    };
    let word = claims.sign(&root, GRANT_JWS_TYP);
    begin(&site, (&mut owner, &mut friend), asked, &word).await;
    // Nothing of it lies on the homeserver, and nobody says stop.
    stopped(&site, &owner, &friend, "ended").await;
}

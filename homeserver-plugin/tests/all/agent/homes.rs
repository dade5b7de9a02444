//! What the agent does at the user's homeserver: writing channel files, heeding a revocation.

use atomicity_ledger::channel_file::ChannelFile;
use atomicity_ledger::jws::Version;
use atomicity_ledger::record::Revocation;
use atomicity_ledger::seal::{CHANNELS_DIR, open_channel_file};
use atomicity_ledger::{Signed, authority};
use pubky::{Capability, ClientId, GRANT_JWS_TYP, GrantClaims, GrantId};
use reqwest::Method;

use super::world::{Site, allow, befriend, engage_with, hand_over, now, payment, total};
use crate::support::database::Database;
use crate::support::until;
use crate::support::user::now_s;
use crate::support::world::{File, HomeServer, World};

#[tokio::test]
async fn channel_files_are_written_by_a_grant_and_a_revocation_stops_everything() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let bootstrap = format!("network.dht_bootstrap={:?}", world.network.bootstrap);
    let sets = [
        bootstrap.as_str(),
        "network.dht_request_timeout_ms=200",
        "agent.file_flush_s=1",
        "agent.authority_poll_s=1",
    ];
    let site = Site::start_on(Database::create().await, &sets).await;
    let (mut owner, mut friend) = (site.person().await, site.person().await);
    befriend(&site, &mut owner, &mut friend, 2_000).await;
    let root = pkarr::Keypair::from_secret_key(&owner.root.secret());
    world.settle(&root, &home.keys).await;
    let pubky_root = pubky::Keypair::from_secret(&owner.root.secret());
    let key = engage_with(&site, &mut owner, 5_000, None, |key| {
        let claims = GrantClaims {
            iss: pubky_root.public_key(),
            client_id: ClientId::new("agent.example").unwrap(),
            caps: vec![Capability::read_write(CHANNELS_DIR).unwrap()],
            cnf: pubky::PublicKey::try_from_z32(&key.to_string()).unwrap(),
            jti: GrantId::generate(),
            iat: now_s() - 10,
            exp: now_s() + 3_600,
        };
        Some(claims.sign(&pubky_root, GRANT_JWS_TYP))
    })
    .await;
    hand_over(&site, &mut owner, &mut friend, key, allow(1_000)).await;
    owner
        .call(
            &site,
            Method::POST,
            "/v0/me/agent/issue",
            Some(payment(1, &friend.user, 300)),
        )
        .await
        .assert_status(200);
    let agreement = friend.reads(&owner.user);
    let path = atomicity_ledger::seal::channel_path(agreement.blind());
    until("the friend finds the payment in the file", || async {
        let Some(bytes) = home.bytes(&owner.user, &path) else {
            return false;
        };
        let content = open_channel_file(&agreement, &bytes).unwrap();
        let file = ChannelFile::decode(&content).unwrap();
        let mut states = file.own().states().iter();
        states.any(|state| state.record().issued == total(300))
    })
    .await;
    let revocation = Revocation {
        v: Version,
        root: owner.user,
        key,
        grant: None,
        at: now(),
    };
    let signed = Signed::sign(revocation, &owner.root).unwrap();
    let file = File::Is(signed.jws().to_owned(), "\"1\"");
    home.put(&owner.user, &authority::delegation_path(&key), file);
    until("the agent has seen the revocation", || async {
        let view = owner.call(&site, Method::GET, "/v0/me/agent", None).await;
        view.body["state"] == "stopped" && view.body["why"] == "revoked"
    })
    .await;
    owner
        .call(
            &site,
            Method::POST,
            "/v0/me/agent/issue",
            Some(payment(2, &friend.user, 1)),
        )
        .await
        .assert_problem(409, "agent_stopped");
}

//! The own homeserver: accounts, sessions that outlive processes, files, locks, recovery.

use std::time::Duration;

use atomicity_client::net::session::{HomeSession, SignUp, revoke_other_grants, sign_up};
use atomicity_client::net::{Body, Freshness, Net};
use atomicity_e2e::World;
use atomicity_paykit_adapter::{AppId, MethodId, Payload, Publisher, Reader};

use super::{key_of, net, new_root};

const FILE: &str = "/pub/atomicity/v0/profile";
const PRIVATE: &str = "/priv/atomicity/v0/contacts";

#[tokio::test(flavor = "multi_thread")]
async fn a_user_signs_up_once_and_is_found() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let home = key_of(&server.key());
    let root = new_root();
    let mine = net(&world);
    assert_eq!(
        sign_up(&mine, &root, &home, None).await.unwrap(),
        SignUp::New
    );
    assert_eq!(
        sign_up(&mine, &root, &home, None).await.unwrap(),
        SignUp::Existing
    );
    let others = net(&world);
    let found = others.home_of(&root.user_key(), Freshness::Cached).await;
    assert_eq!(found.unwrap(), home);
    let stranger = HomeSession::sign_in(&mine, &new_root(), &home)
        .await
        .unwrap_err();
    assert_eq!(stranger.code(), "http_status");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_written_read_listed_and_deleted() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let home = key_of(&server.key());
    let (root, net) = (new_root(), net(&world));
    sign_up(&net, &root, &home, None).await.unwrap();
    let session = HomeSession::sign_in(&net, &root, &home).await.unwrap();

    assert_eq!(
        session.get(FILE, 100).await.unwrap_err().code(),
        "not_found"
    );
    session.put(FILE, b"one".to_vec()).await.unwrap();
    session.put(PRIVATE, b"secret".to_vec()).await.unwrap();
    assert_eq!(session.get(FILE, 100).await.unwrap(), b"one");
    assert_eq!(session.get(PRIVATE, 100).await.unwrap(), b"secret");
    assert_eq!(
        session.get(PRIVATE, 5).await.unwrap_err().code(),
        "too_large"
    );

    let first = session.get_if_changed(PRIVATE, None, 100).await.unwrap();
    assert_eq!(first.body, Body::Bytes(b"secret".to_vec()));
    let tag = first.etag.unwrap();
    let again = session
        .get_if_changed(PRIVATE, Some(&tag), 100)
        .await
        .unwrap();
    assert_eq!(again.body, Body::Unchanged);
    session.put(PRIVATE, b"other".to_vec()).await.unwrap();
    let changed = session
        .get_if_changed(PRIVATE, Some(&tag), 100)
        .await
        .unwrap();
    assert_eq!(changed.body, Body::Bytes(b"other".to_vec()));

    assert!(session.delete(FILE).await.unwrap());
    assert!(!session.delete(FILE).await.unwrap());
    let outside = session
        .put("/pub/other.app/file", b"x".to_vec())
        .await
        .unwrap_err();
    assert_eq!(outside.code(), "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_are_paged_and_bounded() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let home = key_of(&server.key());
    let (root, net) = (new_root(), net(&world));
    sign_up(&net, &root, &home, None).await.unwrap();
    let session = HomeSession::sign_in(&net, &root, &home).await.unwrap();
    let folder = "/pub/atomicity/v0/channels/";
    assert!(session.list_all(folder, 10).await.unwrap().is_empty());
    let mut written: Vec<String> = (0..7).map(|n| format!("{folder}c{n} ü")).collect();
    for path in &written {
        session.put(path, b"x".to_vec()).await.unwrap();
    }
    written.sort();
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = session.list(folder, after.as_deref(), 3).await.unwrap();
        assert!(page.paths.len() <= 3);
        pages.extend(page.paths);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(pages, written);
    assert_eq!(session.list_all(folder, 7).await.unwrap(), written);
    assert_eq!(
        session.list_all(folder, 6).await.unwrap_err().code(),
        "too_large"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_session_opens_while_the_homeserver_is_away_and_works_when_it_is_back() {
    let world = World::start().await.unwrap();
    let mut server = world.homeserver("h").await.unwrap();
    let home = key_of(&server.key());
    let root = new_root();
    let stored = {
        let net = net(&world);
        sign_up(&net, &root, &home, None).await.unwrap();
        let session = HomeSession::sign_in(&net, &root, &home).await.unwrap();
        session.put(PRIVATE, b"kept".to_vec()).await.unwrap();
        session.export().await
    };
    server.stop().await.unwrap();
    let net = net(&world);
    let session = HomeSession::restore(&net, &stored).unwrap();
    assert_eq!(session.user(), &root.user_key());
    let away = session.get(PRIVATE, 100).await.unwrap_err();
    assert!(away.is_network(), "{away}");
    let proof = session.custom_pop(serde_json::json!("who asks"));
    assert!(!proof.pop.is_empty());
    server.restart().await.unwrap();
    let back = atomicity_e2e::wait::until("the homeserver to be used again", || async {
        Ok(session.get(PRIVATE, 100).await?)
    });
    assert_eq!(back.await.unwrap(), b"kept");
    session.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_one_session() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let home = key_of(&server.key());
    let root = new_root();
    let here = net(&world);
    sign_up(&here, &root, &home, None).await.unwrap();
    let one = HomeSession::sign_in(&here, &root, &home).await.unwrap();
    let stored = one.export().await;
    let there = net(&world);
    let two = HomeSession::restore(&there, &stored).unwrap();
    // A homeserver keeps one bearer for each grant: each of them ends the other's.
    for round in 0..3u8 {
        one.put(FILE, vec![round]).await.unwrap();
        assert_eq!(two.get(FILE, 10).await.unwrap(), [round]);
        two.put(PRIVATE, vec![round]).await.unwrap();
        assert_eq!(one.get(PRIVATE, 10).await.unwrap(), [round]);
    }
    assert_eq!(
        HomeSession::restore(&there, b"nonsense")
            .unwrap_err()
            .code(),
        "session_unreadable"
    );
    assert!(!format!("{one:?}").contains("secret"));
}

/// Three processes on one wallet, none of which waits for the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_that_was_replaced_meanwhile_is_renewed_and_the_write_done() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let home = key_of(&server.key());
    let root = new_root();
    let here = net(&world);
    sign_up(&here, &root, &home, None).await.unwrap();
    let one = HomeSession::sign_in(&here, &root, &home).await.unwrap();
    let stored = one.export().await;
    let again = |net: &Net| HomeSession::restore(net, &stored).unwrap();
    let (two, three) = (again(&net(&world)), again(&net(&world)));
    let files = |session: HomeSession, name: &'static str| async move {
        for round in 0..20_u8 {
            let path = format!("/pub/atomicity/v0/{name}");
            session.put(&path, vec![round]).await.unwrap();
            assert_eq!(session.get(&path, 10).await.unwrap(), [round]);
        }
    };
    let endpoints = async {
        let publisher = Publisher::new(three.clone()).unwrap();
        let reader = Reader::new(world.sdk().unwrap().client().clone());
        let (user, app) = (root.user_key(), AppId::atomicity());
        for round in 0..10 {
            let method = MethodId::new(format!("btc-lightning-test{round}")).unwrap();
            let payload = Payload::new("lno1").unwrap();
            publisher.publish(&method, &payload).await.unwrap();
            let read = reader.get(&user, &app, &method).await.unwrap();
            assert_eq!(read.unwrap().payload, payload);
            assert!(publisher.remove(&method).await.unwrap());
            assert!(!publisher.remove(&method).await.unwrap());
        }
    };
    tokio::join!(files(one.clone(), "one"), files(two, "two"), endpoints);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_lock_keeps_other_writers_out() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let home = key_of(&server.key());
    let (root, net) = (new_root(), net(&world));
    sign_up(&net, &root, &home, None).await.unwrap();
    let session = HomeSession::sign_in(&net, &root, &home).await.unwrap();
    let path = "/priv/atomicity/v0/generation";
    let mut lock = session.lock(path, Duration::from_secs(30)).await.unwrap();
    let second = session
        .lock(path, Duration::from_secs(30))
        .await
        .unwrap_err();
    assert_eq!(second.code(), "storage_locked");
    let unlocked = session.put(path, b"2".to_vec()).await.unwrap_err();
    assert_eq!(unlocked.code(), "storage_locked");
    assert!(unlocked.is_retryable());
    session.put_locked(&lock, b"1".to_vec()).await.unwrap();
    session
        .refresh_lock(&mut lock, Duration::from_secs(20))
        .await
        .unwrap();
    let stale = lock.clone();
    session.unlock(lock).await.unwrap();
    let lost = session.put_locked(&stale, b"3".to_vec()).await.unwrap_err();
    assert_eq!(lost.code(), "storage_lock_lost");
    session.unlock(stale).await.unwrap();
    assert_eq!(session.get(path, 10).await.unwrap(), b"1");
    session.put(path, b"4".to_vec()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_ends_every_other_grant() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let home = key_of(&server.key());
    let root = new_root();
    let lost = net(&world);
    sign_up(&lost, &root, &home, None).await.unwrap();
    let stolen = HomeSession::sign_in(&lost, &root, &home).await.unwrap();
    stolen.put(FILE, b"before".to_vec()).await.unwrap();

    let fresh = net(&world);
    let mine = HomeSession::sign_in(&fresh, &root, &home).await.unwrap();
    let revoked = revoke_other_grants(&fresh, &root, &mine).await.unwrap();
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0].id, stolen.grant_id());
    let refused = stolen.put(FILE, b"after".to_vec()).await.unwrap_err();
    assert_eq!(refused.code(), "session_ended");
    assert!(!refused.is_retryable());
    assert_eq!(mine.get(FILE, 100).await.unwrap(), b"before");
    mine.put(FILE, b"mine".to_vec()).await.unwrap();
    assert!(
        revoke_other_grants(&fresh, &root, &mine)
            .await
            .unwrap()
            .is_empty()
    );
}

//! The tools of these tests do what they say; a broken one would make tests pass for nothing.

use std::time::Duration;

use atomicity_e2e::hostile::Answer;
use atomicity_e2e::postgres::{Database, OwnServer};
use atomicity_e2e::proxy::Mode;
use atomicity_e2e::{World, wait};
use pubky::Keypair;
use sqlx::Connection;

const FILE: &str = "/pub/test/file";

async fn read(sdk: &pubky::Pubky, user: &Keypair) -> anyhow::Result<String> {
    let answer = sdk.public_storage().get((&user.public_key(), FILE)).await?;
    Ok(answer.text().await?)
}

async fn write(sdk: &pubky::Pubky, user: &Keypair, text: &'static str) -> anyhow::Result<()> {
    let id = pubky::ClientId::new("e2e.test").map_err(|e| anyhow::anyhow!("{e}"))?;
    let session = sdk.signer(user.clone()).signin(id).await?;
    session.storage().put(FILE, text).await?;
    Ok(())
}

#[tokio::test]
async fn a_homeserver_comes_back_with_its_key_and_files() {
    let world = World::start().await.unwrap();
    let mut server = world.homeserver("h").await.unwrap();
    let user = Keypair::random();
    let sdk = world.sdk().unwrap();
    sdk.signer(user.clone())
        .signup(&server.key(), None)
        .await
        .unwrap();
    write(&sdk, &user, "kept").await.unwrap();
    assert_eq!(read(&sdk, &user).await.unwrap(), "kept");

    server.stop().await.unwrap();
    assert!(
        read(&sdk, &user).await.is_err(),
        "a stopped homeserver answered"
    );

    server.restart().await.unwrap();
    assert_eq!(read(&sdk, &user).await.unwrap(), "kept");
    write(&world.sdk().unwrap(), &user, "written after")
        .await
        .unwrap();
    assert_eq!(read(&sdk, &user).await.unwrap(), "written after");
}

#[tokio::test]
async fn a_proxy_passes_swallows_refuses_and_delays() {
    let world = World::start().await.unwrap();
    let (server, proxy) = world.homeserver_behind_proxy("h").await.unwrap();
    let user = Keypair::random();
    let sdk = world.sdk().unwrap();
    sdk.signer(user.clone())
        .signup(&server.key(), None)
        .await
        .unwrap();
    write(&sdk, &user, "through").await.unwrap();

    proxy.set(Mode::BlackHole);
    let swallowed = tokio::time::timeout(Duration::from_secs(2), read(&sdk, &user)).await;
    assert!(swallowed.is_err(), "a black hole answered: {swallowed:?}");

    proxy.set(Mode::Refuse);
    assert!(read(&sdk, &user).await.is_err());

    proxy.set(Mode::Pass);
    let text = wait::until("the proxy to listen again", || read(&sdk, &user))
        .await
        .unwrap();
    assert_eq!(text, "through");

    let delay = Duration::from_millis(700);
    proxy.set(Mode::Delay(delay));
    let start = tokio::time::Instant::now();
    // A client without open connections.
    let text = read(&world.sdk().unwrap(), &user).await.unwrap();
    assert_eq!(text, "through");
    assert!(start.elapsed() >= delay, "nothing was delayed");
}

#[tokio::test]
async fn a_hostile_homeserver_answers_as_told() {
    let world = World::start().await.unwrap();
    let hostile = world.hostile().await.unwrap();
    let user = Keypair::random();
    hostile.adopt(&user).await.unwrap();
    let sdk = world.sdk().unwrap();
    assert_eq!(
        sdk.get_homeserver_of(&user.public_key()).await.unwrap(),
        Some(hostile.key())
    );

    assert!(read(&sdk, &user).await.is_err(), "nothing is served yet");
    hostile.serve(FILE, Answer::Bytes(b"old news".to_vec()));
    assert_eq!(read(&sdk, &user).await.unwrap(), "old news");
    hostile.serve(FILE, Answer::Flood(3 * 1024 * 1024));
    assert_eq!(read(&sdk, &user).await.unwrap().len(), 3 * 1024 * 1024);
    hostile.serve(
        FILE,
        Answer::Late(Duration::from_millis(300), Answer::Status(500).into()),
    );
    assert!(read(&sdk, &user).await.is_err());
    for answer in [Answer::Silence, Answer::Stall(b"begin".to_vec())] {
        hostile.serve(FILE, answer);
        let silent = tokio::time::timeout(Duration::from_secs(1), read(&sdk, &user)).await;
        assert!(silent.is_err(), "it said something: {silent:?}");
    }
    assert_eq!(
        hostile.asked().iter().filter(|path| *path == FILE).count(),
        6
    );
}

#[tokio::test]
async fn a_postgres_of_its_own_survives_a_crash() {
    let server = OwnServer::start().await.unwrap();
    let database = Database::create_on(server.url(), "crash").await.unwrap();
    let mut connection = database.connect().await.unwrap();
    sqlx::query("CREATE TABLE t (x int)")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query("INSERT INTO t VALUES (7)")
        .execute(&mut connection)
        .await
        .unwrap();

    server.crash().await.unwrap();
    // The process that serves this connection ends a moment after its parent.
    let broken = async {
        while connection.ping().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(wait::PATIENCE, broken).await.unwrap();
    assert!(
        database.connect().await.is_err(),
        "a dead server takes connections"
    );

    server.restart().await.unwrap();
    let mut connection = database.connect().await.unwrap();
    let x: i32 = sqlx::query_scalar("SELECT x FROM t")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(x, 7);
}

//! Two friends to start a test from.

use atomicity_e2e::World;
use atomicity_e2e::people::{Person, Site, agree};
use atomicity_e2e::town;

pub const BREAD: &str = "BREAD/2";

/// Two people who let each other owe 20.00 `BREAD/2`.
pub async fn friends(one: &Person, other: &Person) {
    town::befriend(one, other, "20.00 BREAD/2").await.unwrap();
}

/// Both read the news, often enough that answers to answers arrive.
pub async fn settle(one: &Person, other: &Person) {
    town::read_news(one, other).await.unwrap();
}

/// A milkman and a baker at one site, friends.
pub async fn village(world: &World) -> (Site, Person, Person) {
    let site = Site::open(world, "h").await.unwrap();
    let mut milkman = Person::new(world, "milkman").unwrap();
    let mut baker = Person::new(world, "baker").unwrap();
    milkman.join(&site, BREAD).await.unwrap();
    baker.join(&site, BREAD).await.unwrap();
    friends(&milkman, &baker).await;
    (site, milkman, baker)
}

/// `one` is owed `expected` by `other`, and both say so.
pub async fn owed(one: &Person, other: &Person, expected: i64) {
    agree(one, other, BREAD, expected).await.unwrap();
}

/// Writes a file on the homeserver of `person`, as another app of theirs would.
pub async fn put(world: &World, person: &Person, path: &str, bytes: Vec<u8>) {
    let root = person.wallet().root().unwrap();
    let app = pubky::ClientId::new("e2e.test").unwrap();
    let signer = world.sdk().unwrap().signer(root);
    let session = signer.signin(app).await.unwrap();
    session.storage().put(path, bytes).await.unwrap();
}

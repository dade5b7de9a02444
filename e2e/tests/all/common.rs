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

/// The commits at which somebody dies, the first being 1: some that lie ever farther apart, others before than after, or all up to `most` if
/// `ATOMICITY_TEST_COMMITS` is `all` (`make crashes`: an hour). Each death is a whole payment, with all who take part.
pub fn commits(place: &str, most: usize) -> Vec<usize> {
    let all = std::env::var("ATOMICITY_TEST_COMMITS").is_ok_and(|value| value == "all");
    let before = usize::from(place == "before_commit");
    // 1, 3, 6, 10, 15, … before commits; 1, 2, 4, 7, 11, 16, … after them.
    let far = |n: usize| n * (n - 1) / 2 + 1 + before * (n - 1);
    (1..=most)
        .map(|n| if all { n } else { far(n) })
        .take_while(|n| *n <= most)
        .collect()
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

//! Where somebody can be paid by one friend alone: that friend sees it, nobody else does, and it is back after a loss.

use atomicity_e2e::people::{Person, expect, string};
use atomicity_e2e::town::{self, Town};
use atomicity_e2e::wait;
use serde_json::Value;

const USD: &str = "USD/2";
const DOOR: &str = "ring twice at the blue door";
const BANK: &str = "DE02120300000000202051";

fn places(list: &Value) -> Vec<(&str, bool)> {
    let all = list["endpoints"].as_array().unwrap().iter();
    let ours = all.filter(|one| one["method"] != "usd-atomicity-ledger");
    ours.map(|one| {
        (
            one["value"].as_str().unwrap(),
            one["private"].as_bool().unwrap(),
        )
    })
    .collect()
}

async fn sees(who: &Person, whose: &Person, expected: &[(&str, bool)]) {
    wait::until("a list of endpoints", || async {
        who.sync().await?;
        let list = ["endpoint", "list", whose.key()];
        let list = who.wallet().ok(&list).await?;
        anyhow::ensure!(places(&list) == expected, "{list}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Everything that anybody can read of a user's files.
async fn readable(town: &Town, person: &Person) -> Vec<(String, Vec<u8>)> {
    let sdk = town.world.sdk().unwrap();
    let storage = sdk.public_storage();
    let user = pubky::PublicKey::try_from_z32(person.key()).unwrap();
    let listed = storage.list((&user, "/pub/")).unwrap().limit(1000).send();
    let mut files = Vec::new();
    for entry in listed.await.unwrap() {
        let path = entry.path.as_str().to_owned();
        let answer = storage.get((&user, path.as_str())).await.unwrap();
        files.push((path, answer.bytes().await.unwrap().to_vec()));
    }
    files
}

/// A new device, with nothing but the root key.
async fn loses_everything(town: &Town, person: &Person, site: usize) -> Person {
    let folder = format!("new-device-of-{}", person.name());
    let paper = town.world.new_path(&format!("{folder}.pkarr"));
    std::fs::copy(person.wallet().root_file(), &paper).unwrap();
    std::fs::remove_dir_all(person.wallet().home()).unwrap();
    let wallet = person
        .wallet()
        .on_a_new_device(town.world.new_path(&folder));
    let person = person.with(wallet);
    let paper = paper.display().to_string();
    let plugin = town.sites[site].plugin.key();
    let recover = ["recover", "--root-file", &paper, "--plugin", plugin];
    let recovered = person.wallet().ok(&recover).await.unwrap();
    expect(&recovered, "/user", person.key()).unwrap();
    person
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_friend_alone_is_told_and_a_loss_takes_it_from_nobody() {
    let town = Town::found(USD).await.unwrap();
    let hanna = town.person("hanna", 0).await.unwrap();
    let ivan = town.person("ivan", 1).await.unwrap();
    let carol = town.person("carol", 1).await.unwrap();
    town::befriend(&hanna, &ivan, "50.00 USD/2").await.unwrap();
    town::befriend(&hanna, &carol, "50.00 USD/2").await.unwrap();
    let wallet = hanna.wallet();
    wallet
        .ok(&["endpoint", "add", "usd-bank-iban", BANK])
        .await
        .unwrap();
    let door = ["endpoint", "add", "usd-cash-hand", DOOR, "--for", "ivan"];
    let told = [&door[..], &["--max", "20"]].concat();
    let told = wallet.ok(&told).await.unwrap();
    expect(&told, "/private", true).unwrap();

    // Ivan sees one list, what he alone was told first; Carol sees what everybody sees.
    let both = [(DOOR, true), (BANK, false)];
    sees(&ivan, &hanna, &both).await;
    sees(&carol, &hanna, &[(BANK, false)]).await;
    let own = ["endpoint", "list", "--for", "ivan"];
    let list = wallet.ok(&own).await.unwrap();
    assert_eq!(places(&list), [(DOOR, true)]);
    expect(&list, "/endpoints/0/max", "20").unwrap();
    let none = wallet
        .ok(&["endpoint", "list", "--for", "carol"])
        .await
        .unwrap();
    assert_eq!(places(&none), []);
    // Nor does it lie open on either homeserver.
    for person in [&hanna, &ivan] {
        let files = readable(&town, person).await;
        assert!(files.iter().any(|(path, _)| path.contains("/channels/")));
        for (path, bytes) in files {
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("blue door"), "{path}");
        }
    }

    // Asked without a place, Ivan's wallet takes the one that it was told.
    let purse = ["rail", "add", "manual", "--method", "usd-cash-hand"];
    ivan.wallet().ok(&purse).await.unwrap();
    ivan.give(&hanna, "9.00 USD/2", "the roof").await.unwrap();
    town::read_news(&hanna, &ivan).await.unwrap();
    let ask = ["settle", "ivan", "4.00 USD/2", "--no-wait"];
    let id = string(&wallet.ok(&ask).await.unwrap(), "/id").unwrap();
    wait::until("the request", || async {
        ivan.sync().await?;
        let agreed = ivan.wallet().ok(&["settle", "pay", &id]).await?;
        expect(&agreed, "/way/target/value", DOOR)
    })
    .await
    .unwrap();
    ivan.wallet()
        .ok(&["settle", "paid", &id, "at the door"])
        .await
        .unwrap();
    wait::until("Hanna to hear of it", || async {
        hanna.sync().await?;
        let confirm = ["settle", "confirm", &id];
        hanna.wallet().ok(&confirm).await
    })
    .await
    .unwrap();
    town::read_news(&hanna, &ivan).await.unwrap();
    town::until_owed(&hanna, &ivan, USD, 500).await.unwrap();

    // Both lose everything but their root keys, one after the other.
    let ivan = loses_everything(&town, &ivan, 1).await;
    sees(&ivan, &hanna, &both).await;
    town::read_news(&hanna, &ivan).await.unwrap();
    let hanna = loses_everything(&town, &hanna, 0).await;
    let list = hanna.wallet().ok(&own).await.unwrap();
    assert_eq!(places(&list), [(DOOR, true)]);
    expect(&list, "/endpoints/0/max", "20").unwrap();
    town::read_news(&hanna, &ivan).await.unwrap();
    sees(&ivan, &hanna, &both).await;

    // Her new key has the word from now on: another place, then none.
    let garden = ["endpoint", "add", "usd-cash-hand", "in the garden", "--for"];
    let garden = [&garden[..], &["ivan"]].concat();
    hanna.wallet().ok(&garden).await.unwrap();
    let three = [(DOOR, true), ("in the garden", true), (BANK, false)];
    sees(&ivan, &hanna, &three).await;
    let gone = ["endpoint", "remove", "usd-cash-hand", "--for", "ivan"];
    let gone = hanna.wallet().ok(&gone).await.unwrap();
    expect(&gone, "/removed", true).unwrap();
    sees(&ivan, &hanna, &[(BANK, false)]).await;
}

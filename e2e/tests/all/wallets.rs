//! What befalls wallets: full disks, two of them with one book key, old backups.

use std::process::Stdio;

use atomicity_e2e::World;
use atomicity_e2e::people::{Person, string};
use atomicity_e2e::thief::Thief;
use serde_json::Value;

use crate::common::{BREAD, owed, settle, village};

const ISSUE: [&str; 4] = ["--json", "issue", "baker", "1.00 BREAD/2"];

/// Runs `atomicity` so that no file can grow beyond `kib` KiB, as on a disk that is full or fills up.
async fn on_a_full_disk(person: &Person, kib: u32, arguments: &[&str]) -> (Option<i32>, Value) {
    let real = person.wallet().command(arguments);
    let real = real.as_std();
    // Without the signal, a write beyond the limit fails as one on a full disk does.
    let mut command = tokio::process::Command::new("bash");
    command
        .args([
            "-c",
            r#"trap "" XFSZ; ulimit -f "$1"; shift; exec "$@""#,
            "-",
        ])
        .arg(kib.to_string())
        .arg(real.get_program())
        .args(real.get_args())
        .stdin(Stdio::null());
    for (name, value) in real.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output().await.unwrap();
    let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_nothing_is_sent_and_the_retry_uses_the_same_number() {
    let world = World::start().await.unwrap();
    let (_site, milkman, baker) = village(&world).await;
    let first = milkman.give(&baker, "1.00 BREAD/2", "loaf").await.unwrap();
    assert_eq!(first["seq"], "1");
    settle(&milkman, &baker).await;

    // The write that fails is another one each time.
    let mut given = 1;
    for kib in [0, 8, 64] {
        let before = (milkman.books().await.unwrap(), baker.books().await.unwrap());
        let (code, said) = on_a_full_disk(&milkman, kib, &ISSUE).await;
        settle(&milkman, &baker).await;
        if code == Some(0) {
            // There was room for the payment, and none for what came after it: then it counts, once.
            assert!(kib > 8, "{kib} KiB: {said}");
            given += 1;
            assert_eq!(said["seq"], given.to_string(), "{kib} KiB: {said}");
            owed(&baker, &milkman, given * 100).await;
            continue;
        }
        assert_eq!(code, Some(7), "{kib} KiB: {said}");
        assert!(said["error"]["code"].is_string(), "{kib} KiB: {said}");
        let after = (milkman.books().await.unwrap(), baker.books().await.unwrap());
        assert_eq!(after, before, "{kib} KiB: something was signed or sent");

        let retry = milkman.give(&baker, "1.00 BREAD/2", "loaf").await.unwrap();
        given += 1;
        let number = given.to_string();
        assert_eq!(retry["seq"], number, "{kib} KiB: a number was used up");
        settle(&milkman, &baker).await;
        owed(&baker, &milkman, given * 100).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_wallets_with_one_book_key_the_second_refuses_before_it_signs() {
    let world = World::start().await.unwrap();
    let (_site, milkman, baker) = village(&world).await;
    let copy = milkman.with(milkman.wallet().copy_to(world.new_path("copy")).unwrap());

    milkman
        .give(&baker, "1.00 BREAD/2", "by the first")
        .await
        .unwrap();
    let refused = copy
        .wallet()
        .fails(5, &["issue", "baker", "0.50 BREAD/2"])
        .await
        .unwrap();
    assert_eq!(refused["code"], "book_key_in_use", "{refused}");
    settle(&milkman, &baker).await;
    owed(&baker, &milkman, 100).await;

    // The first goes on undisturbed.
    milkman
        .give(&baker, "0.25 BREAD/2", "again by the first")
        .await
        .unwrap();
    settle(&milkman, &baker).await;
    owed(&baker, &milkman, 125).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_from_an_old_backup_refuses_to_sign() {
    let world = World::start().await.unwrap();
    let (_site, milkman, baker) = village(&world).await;
    let backup = milkman.with(milkman.wallet().copy_to(world.new_path("backup")).unwrap());
    milkman
        .give(&baker, "1.00 BREAD/2", "after the backup")
        .await
        .unwrap();
    settle(&milkman, &baker).await;
    drop(milkman);

    for _ in 0..2 {
        let refused = backup
            .wallet()
            .fails(5, &["issue", "baker", "0.50 BREAD/2"])
            .await
            .unwrap();
        assert_eq!(refused["code"], "book_key_in_use", "{refused}");
    }
    let line = baker.account(&backup, BREAD).await.unwrap();
    assert_eq!(string(&line, "/net").unwrap(), "100");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_states_with_one_number_freeze_the_channel_and_both_are_kept() {
    let world = World::start().await.unwrap();
    let (site, milkman, baker) = village(&world).await;
    // Two programs without any scruple sign from the same point on.
    let one = milkman.wallet().copy_to(world.new_path("one")).unwrap();
    let two = milkman.wallet().copy_to(world.new_path("two")).unwrap();
    for (wallet, minor) in [(one, 100), (two, 200)] {
        let mut program = Thief::open(wallet.home()).await.unwrap();
        let envelopes = program.forge(baker.key(), BREAD, minor).await.unwrap();
        let inbox = format!("{}/v0/inbox/{}", site.plugin.http_url(), baker.key());
        let post = reqwest::Client::new().post(inbox).json(&envelopes[0]);
        assert_eq!(post.send().await.unwrap().status(), 201);
        baker.sync().await.unwrap();
    }

    // The first bytes stand; the second freeze the channel.
    let line = baker.account(&milkman, BREAD).await.unwrap();
    assert_eq!(line["net"], "100");
    assert_eq!(line["state"], "frozen");
    let about = baker
        .wallet()
        .ok(&["friend", "inspect", "milkman"])
        .await
        .unwrap();
    assert_eq!(about["frozen"]["unit"], BREAD);
    assert_eq!(
        about["frozen"]["records"].as_array().unwrap().len(),
        2,
        "{about}"
    );
    let refused = baker
        .wallet()
        .fails(3, &["issue", "milkman", "0.10 BREAD/2"])
        .await
        .unwrap();
    assert_eq!(refused["code"], "channel_frozen");
}

//! Two wallets that hand each other what their outboxes hold: no network, everything else is real.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod proposals;
mod requests;
mod sessions;
mod settlements;

use std::path::Path;

use atomicity_ledger::seal::Parcel;
use atomicity_ledger::{Memo, Money, RecordHash, UserKey};

use super::friends::Found;
use super::receive::{Received, Source};
use super::*;
use crate::config::NetworkConfig;
use crate::store::{inbox as held_records, outbox, pairs};

const BREAD: &str = "BREAD/2";

struct Person {
    _dir: tempfile::TempDir,
    wallet: Wallet,
    root: RootKey,
}

pub(super) fn config(home: &Path) -> Config {
    Config {
        home: home.to_owned(),
        network: NetworkConfig {
            testnet: true,
            dht_bootstrap: vec!["127.0.0.1:9".to_owned()],
            relays: Some(Vec::new()),
            ..NetworkConfig::default()
        },
        defaults: crate::config::Defaults::default(),
        rates: Vec::new(),
    }
}

impl Person {
    async fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = RootKey::random();
        let config = config(&dir.path().join("wallet"));
        let name = Some(name.parse().unwrap());
        let created = Wallet::create(&config, &root, "pass", name).await.unwrap();
        let wallet = created.wallet;
        wallet
            .open_unit(&root, BREAD.parse().unwrap(), None)
            .await
            .unwrap();
        // As if the homeserver had just said so.
        wallet.note_checked();
        Self {
            _dir: dir,
            wallet,
            root,
        }
    }

    fn key(&self) -> UserKey {
        self.wallet.user()
    }

    async fn setting(&self, name: &'static str) -> String {
        let mut conn = self.wallet.store().read().await.unwrap();
        settings::need(&mut conn, name).await.unwrap()
    }

    async fn befriend(&self, other: &Self) {
        let mut found = Found::default();
        found.profile = Some(other.setting(settings::PROFILE).await);
        self.wallet
            .commit_friend(&other.key(), None, &found)
            .await
            .unwrap();
    }

    /// Everything that waits to be sent to `other`, taken out.
    async fn outgoing(&self, other: &Self) -> Vec<String> {
        let mut tx = self.wallet.store().write().await.unwrap();
        let rows = outbox::due(tx.conn(), u64::MAX >> 1, 1000).await.unwrap();
        let rows: Vec<_> = rows
            .into_iter()
            .filter(|row| row.user == other.key())
            .collect();
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        outbox::remove(tx.conn(), &ids).await.unwrap();
        tx.commit().await.unwrap();
        rows.into_iter().flat_map(|row| row.records).collect()
    }

    async fn take(&self, from: &Self, records: &[String]) -> Received {
        self.wallet
            .receive(&from.key(), records, &[], Source::Nowhere)
            .await
            .unwrap()
    }

    /// Hands everything to `other`, who looks up whatever authority is missing.
    async fn deliver(&self, other: &Self) -> Received {
        let records = self.outgoing(other).await;
        let mut received = other.take(self, &records).await;
        for key in received.lookups.clone() {
            let delegation = self.setting(settings::DELEGATION).await;
            let more = other
                .wallet
                .receive_authority(&self.key(), key, Some(&delegation))
                .await
                .unwrap();
            received.add(more);
        }
        received
    }

    async fn pay(
        &self,
        other: &Self,
        money: &str,
        memo: &str,
    ) -> Result<IssuedPayment, ClientError> {
        self.wallet.note_checked();
        let money = Money::parse(money, &[]).unwrap();
        let memo: Memo = memo.parse().unwrap();
        let options = IssueOptions::described(Some(memo), None).committed_only();
        self.wallet.issue(&other.key(), money, options).await
    }

    async fn limit(&self, other: &Self, minor: u64) {
        self.wallet.note_checked();
        self.wallet
            .set_limit(&other.key(), &BREAD.parse().unwrap(), minor)
            .await
            .unwrap();
    }

    async fn view(&self, other: &Self) -> ChannelView {
        let views = self
            .wallet
            .balances(Some(&other.key()), None)
            .await
            .unwrap();
        views.into_iter().next().unwrap()
    }

    async fn net(&self, other: &Self) -> i64 {
        self.view(other).await.net.minor()
    }

    async fn payments(&self) -> Vec<(Option<u64>, Option<String>, Option<String>)> {
        let query = HistoryQuery {
            limit: 100,
            ..HistoryQuery::default()
        };
        let items = self.wallet.history(&query).await.unwrap();
        let payments = items.into_iter().filter(|item| item.kind == "payment");
        payments
            .map(|item| (item.amount, item.status, item.memo))
            .collect()
    }

    /// What must not change when something is refused.
    async fn fingerprint(&self, other: &Self) -> (String, u64, u64) {
        let mut conn = self.wallet.store().read().await.unwrap();
        let row = pairs::get(&mut conn, &other.key()).await.unwrap().unwrap();
        let (waiting, _) = outbox::waiting(&mut conn, None).await.unwrap();
        (row.body, row.version, waiting)
    }
}

/// Milkman and baker, friends, with lines of 5.00 and 3.00, everything delivered.
async fn village() -> (Person, Person) {
    let milkman = Person::new("milkman").await;
    let baker = Person::new("baker").await;
    milkman.befriend(&baker).await;
    baker.befriend(&milkman).await;
    settle(&milkman, &baker).await;
    milkman.limit(&baker, 500).await;
    baker.limit(&milkman, 300).await;
    settle(&milkman, &baker).await;
    (milkman, baker)
}

/// Delivers to and fro until nothing is left to say.
async fn settle(one: &Person, other: &Person) {
    for _ in 0..8 {
        let there = one.deliver(other).await;
        let back = other.deliver(one).await;
        if there.applied + back.applied == 0 {
            return;
        }
    }
    panic!("they never fell silent");
}

#[tokio::test]
async fn a_payment_shows_on_both_sides_and_is_acknowledged() {
    let (milkman, baker) = village().await;
    assert_eq!(milkman.view(&baker).await.can_issue, 300);
    assert_eq!(baker.view(&milkman).await.can_receive, 300);
    milkman.pay(&baker, "2.00 BREAD/2", "bread").await.unwrap();
    assert_eq!(milkman.view(&baker).await.unacknowledged, 200);
    assert_eq!(milkman.payments().await[0].1.as_deref(), Some("sent"));
    let received = milkman.deliver(&baker).await;
    let told = received.events.iter().find_map(|event| match &event.kind {
        WalletEventKind::Payment {
            amount, memo, net, ..
        } => Some((*amount, memo.clone().unwrap(), net.minor())),
        _ => None,
    });
    assert_eq!(told, Some((200, "bread".to_owned(), 200)));
    settle(&milkman, &baker).await;
    assert_eq!(
        (milkman.net(&baker).await, baker.net(&milkman).await),
        (-200, 200)
    );
    assert_eq!(milkman.view(&baker).await.unacknowledged, 0);
    let bread = Some("bread".to_owned());
    let acknowledged = (Some(200), Some("acknowledged".to_owned()), bread.clone());
    assert_eq!(milkman.payments().await, [acknowledged]);
    assert_eq!(
        baker.payments().await,
        [(Some(200), Some("received".to_owned()), bread)]
    );
}

#[tokio::test]
async fn what_exceeds_the_limit_changes_nothing_and_says_what_would_fit() {
    let (milkman, baker) = village().await;
    milkman.pay(&baker, "2.00 BREAD/2", "bread").await.unwrap();
    settle(&milkman, &baker).await;
    let before = milkman.fingerprint(&baker).await;
    let refused = milkman
        .pay(&baker, "2.00 BREAD/2", "cake")
        .await
        .unwrap_err();
    let ClientError::LimitExceeded(limit) = &refused else {
        panic!("{refused}");
    };
    assert_eq!((limit.available, limit.accept, limit.net), (100, 300, -200));
    assert_eq!(refused.exit_code(), 3);
    assert_eq!(milkman.fingerprint(&baker).await, before);
    assert_eq!(milkman.payments().await.len(), 1);
}

#[tokio::test]
async fn the_own_ceiling_binds_before_the_friends_line() {
    let (milkman, baker) = village().await;
    let unit = BREAD.parse().unwrap();
    milkman
        .wallet
        .set_own_ceiling(&baker.key(), &unit, 50)
        .await
        .unwrap();
    let refused = milkman.pay(&baker, "0.51 BREAD/2", "x").await.unwrap_err();
    assert!(refused.to_string().contains("your own limit"), "{refused}");
    milkman.pay(&baker, "0.50 BREAD/2", "x").await.unwrap();
}

#[tokio::test]
async fn without_a_line_or_an_open_unit_the_reason_is_named() {
    let milkman = Person::new("milkman").await;
    let baker = Person::new("baker").await;
    milkman.befriend(&baker).await;
    let no_line = milkman.pay(&baker, "1 BREAD/2", "x").await.unwrap_err();
    assert_eq!(no_line.code(), "no_credit_line");
    let closed = milkman.pay(&baker, "1 HOUR", "x").await.unwrap_err();
    assert_eq!(closed.code(), "unit_not_open");
    assert_eq!((no_line.exit_code(), closed.exit_code()), (3, 3));
}

#[tokio::test]
async fn what_came_before_its_authority_waits_and_then_counts_once() {
    let milkman = Person::new("milkman").await;
    let baker = Person::new("baker").await;
    milkman.befriend(&baker).await;
    baker.befriend(&milkman).await;
    baker.limit(&milkman, 300).await;
    baker.deliver(&milkman).await;
    milkman.pay(&baker, "1.00 BREAD/2", "roll").await.unwrap();
    let records = milkman.outgoing(&baker).await;
    let waiting = baker.take(&milkman, &records).await;
    assert!(
        waiting.pending > 0 && !waiting.lookups.is_empty(),
        "{waiting:?}"
    );
    let mut conn = baker.wallet.store().read().await.unwrap();
    let held = held_records::count_held(&mut conn, &milkman.key())
        .await
        .unwrap();
    drop(conn);
    assert_eq!(held, waiting.pending);
    // Again the same: it waits once.
    assert_eq!(
        baker.take(&milkman, &records).await.pending,
        waiting.pending
    );
    for key in waiting.lookups {
        let found = baker
            .wallet
            .receive_authority(&milkman.key(), key, None)
            .await
            .unwrap();
        assert_eq!(found.pending, 0, "{found:?}");
    }
    assert_eq!(baker.net(&milkman).await, 100);
    assert_eq!(baker.view(&milkman).await.pending, 0);
    assert_eq!(baker.take(&milkman, &records).await.applied, 0);
    assert_eq!(baker.payments().await.len(), 1);
}

#[tokio::test]
async fn a_payment_above_a_lowered_line_comes_back_to_the_payer() {
    let (milkman, baker) = village().await;
    baker.limit(&milkman, 50).await;
    // The milkman has not heard of it.
    milkman.pay(&baker, "2.00 BREAD/2", "bread").await.unwrap();
    let received = milkman.deliver(&baker).await;
    let paid_back =
        |event: &WalletEvent| matches!(event.kind, WalletEventKind::PaidBack { amount: 200, .. });
    assert!(received.events.iter().any(paid_back), "{received:?}");
    settle(&milkman, &baker).await;
    assert_eq!(
        (milkman.net(&baker).await, baker.net(&milkman).await),
        (0, 0)
    );
    assert_eq!(milkman.payments().await[0].1.as_deref(), Some("refused"));
    assert_eq!(milkman.view(&baker).await.line_for_me, Some(50));
}

#[tokio::test]
async fn a_parcel_twice_or_in_any_order_is_one_payment() {
    let (milkman, baker) = village().await;
    milkman.pay(&baker, "1.00 BREAD/2", "one").await.unwrap();
    milkman.pay(&baker, "0.50 BREAD/2", "two").await.unwrap();
    let mut records = milkman.outgoing(&baker).await;
    records.reverse();
    baker.take(&milkman, &records).await;
    baker.take(&milkman, &records).await;
    records.reverse();
    baker.take(&milkman, &records).await;
    settle(&milkman, &baker).await;
    assert_eq!(
        (milkman.net(&baker).await, baker.net(&milkman).await),
        (-150, 150)
    );
    let total: u64 = baker.payments().await.iter().filter_map(|p| p.0).sum();
    assert_eq!(total, 150, "{:?}", baker.payments().await);
}

#[tokio::test]
async fn garbage_and_foreign_records_are_refused_and_reported() {
    let (milkman, baker) = village().await;
    let stranger = Person::new("stranger").await;
    stranger.befriend(&baker).await;
    let foreign = stranger.outgoing(&baker).await;
    let before = baker.fingerprint(&milkman).await;
    let mut records = foreign.clone();
    records.extend(["garbage".to_owned(), "a.b.c".to_owned(), String::new()]);
    let received = baker.take(&milkman, &records).await;
    assert_eq!(received.refused, records.len() as u64, "{received:?}");
    assert_eq!(received.events.len(), records.len());
    assert_eq!(baker.fingerprint(&milkman).await, before);
}

#[tokio::test]
async fn a_stranger_is_noted_and_has_no_credit_until_added() {
    let milkman = Person::new("milkman").await;
    let baker = Person::new("baker").await;
    milkman.befriend(&baker).await;
    let hello = Parcel::new(milkman.key(), milkman.outgoing(&baker).await).unwrap();
    let met = baker.wallet.take_parcel(&hello, &[1; 32]).await.unwrap();
    assert!(matches!(met.events[0].kind, WalletEventKind::Hello));
    let strangers = baker.wallet.strangers().await.unwrap();
    assert_eq!(strangers[0].name, "milkman");
    assert!(baker.wallet.friends().await.unwrap().is_empty());
    assert!(baker.wallet.balances(None, None).await.unwrap().is_empty());
    // Somebody who claims to be another is nobody.
    let claim = Parcel::new(Person::new("x").await.key(), hello.records.clone()).unwrap();
    let claimed = baker.wallet.take_parcel(&claim, &[2; 32]).await.unwrap();
    assert!(claimed.events.is_empty());
    assert_eq!(baker.wallet.strangers().await.unwrap().len(), 1);
    baker.befriend(&milkman).await;
    assert!(baker.wallet.strangers().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_friend_with_open_accounts_is_not_removed_by_mistake() {
    let (milkman, baker) = village().await;
    milkman.pay(&baker, "1.00 BREAD/2", "roll").await.unwrap();
    let kept = milkman
        .wallet
        .remove_friend(&baker.key(), false)
        .await
        .unwrap_err();
    assert_eq!((kept.code(), kept.exit_code()), ("not_settled", 3));
    milkman
        .wallet
        .remove_friend(&baker.key(), true)
        .await
        .unwrap();
    assert!(milkman.wallet.friend("baker").await.is_err());
    assert_eq!(milkman.net(&baker).await, -100, "the debt is still shown");
    milkman.deliver(&baker).await;
    assert_eq!(
        baker.view(&milkman).await.line_for_me,
        Some(0),
        "the line is closed"
    );
}

#[tokio::test]
async fn a_raised_cap_goes_on_with_the_books_without_waiting() {
    let (milkman, baker) = village().await;
    milkman.pay(&baker, "1.00 BREAD/2", "roll").await.unwrap();
    let unit: atomicity_ledger::Unit = BREAD.parse().unwrap();
    let cap = Some(atomicity_ledger::Total::from_minor(20_000).unwrap());
    milkman
        .wallet
        .open_unit(&milkman.root, unit, cap)
        .await
        .unwrap();
    assert_eq!(milkman.view(&baker).await.state, ChannelState::Active);
    milkman.pay(&baker, "0.50 BREAD/2", "cake").await.unwrap();
    settle(&milkman, &baker).await;
    assert_eq!(
        (milkman.net(&baker).await, baker.net(&milkman).await),
        (-150, 150)
    );
    assert_eq!(baker.view(&milkman).await.epoch_theirs, Some(1));
    assert_eq!(baker.view(&milkman).await.line_for_me, Some(500));
    let status: Vec<_> = milkman
        .payments()
        .await
        .into_iter()
        .map(|p| p.1.unwrap())
        .collect();
    assert_eq!(status, ["acknowledged", "acknowledged"]);
}

#[tokio::test]
async fn evidence_convinces_and_any_flipped_byte_does_not() {
    let (milkman, baker) = village().await;
    milkman.pay(&baker, "1.00 BREAD/2", "roll").await.unwrap();
    settle(&milkman, &baker).await;
    let bundle = baker.wallet.export_evidence(&milkman.key()).await.unwrap();
    let report = verify_evidence(bundle.text.as_bytes()).unwrap();
    assert_eq!(report.net.len(), 1);
    assert_eq!(
        (report.net[0].debtor, report.net[0].amount.minor()),
        (milkman.key(), 100)
    );
    let lines = bundle.text.lines().count();
    for line in 1..lines {
        let start: usize = bundle.text.lines().take(line).map(|l| l.len() + 1).sum();
        let length = bundle.text.lines().nth(line).unwrap().len();
        let mut bytes = bundle.text.clone().into_bytes();
        bytes[start + length / 2] ^= 1;
        let ClientError::EvidenceInvalid(fault) = verify_evidence(&bytes).unwrap_err() else {
            panic!("another error");
        };
        assert_eq!(fault.record, Some(line));
        assert!(
            fault.typ.is_some() && fault.message.contains(&line.to_string()),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_wallet_reads_back_what_it_stored() {
    let (milkman, baker) = village().await;
    milkman.pay(&baker, "1.00 BREAD/2", "roll").await.unwrap();
    let before = milkman.fingerprint(&baker).await;
    let config = milkman.wallet.config().clone();
    milkman.wallet.close().await;
    let again = Wallet::open(&config).await.unwrap();
    let views = again.balances(None, None).await.unwrap();
    assert_eq!(views[0].net.minor(), -100);
    let mut conn = again.store().read().await.unwrap();
    let row = pairs::get(&mut conn, &baker.key()).await.unwrap().unwrap();
    assert_eq!(RecordHash::of(&row.body), RecordHash::of(&before.0));
}

#[tokio::test]
async fn a_process_that_asks_the_homeserver_for_long_holds_up_others_only_for_now() {
    let milkman = Person::new("milkman").await;
    let held = milkman.wallet.process_lock(Duration::ZERO).await.unwrap();
    let error = milkman.wallet.process_lock(Duration::ZERO).await;
    let error = error.unwrap_err();
    assert!(error.is_transient(), "{error}");
    drop(held);
    milkman.wallet.process_lock(Duration::ZERO).await.unwrap();
}

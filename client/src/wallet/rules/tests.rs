//! Lines by rules in a real store; only the network is missing.
#![allow(clippy::unwrap_used)]

use atomicity_ledger::Keypair;
use atomicity_ledger::policy::Who;

use super::*;
use crate::store::contacts::ContactStatus;
use crate::wallet::tests::config;
use crate::wallet::{RootKey, now};

struct Me {
    _dir: tempfile::TempDir,
    wallet: Wallet,
}

fn key(n: u32) -> UserKey {
    let mut secret = [9; 32];
    secret[..4].copy_from_slice(&n.to_be_bytes());
    Keypair::from_secret(&secret).user_key()
}

fn usd() -> Unit {
    "USD/2".parse().unwrap()
}

fn total(minor: u64) -> Total {
    Total::from_minor(minor).unwrap()
}

/// Each for whom `friend` vouches may owe 20.00, all together 50.00.
fn friends_of(friend: UserKey) -> Rule {
    Rule {
        accept: Some(total(2000)),
        cap: Some(total(5000)),
        per_introducer: Some(total(5000)),
        ..Rule::about(Who::FriendOf(Some(friend)), usd())
    }
}

impl Me {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = RootKey::random();
        let config = config(&dir.path().join("wallet"));
        let created = Wallet::create(&config, &root, "pass", None).await.unwrap();
        let wallet = created.wallet;
        wallet.open_unit(&root, usd(), None).await.unwrap();
        Self { _dir: dir, wallet }
    }

    async fn add(&self, rule: &Rule) -> RuleId {
        let mut tx = self.wallet.store().write().await.unwrap();
        let id = rules::add(tx.conn(), rule, None).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// Somebody who said hello, and for whom `friend` vouches.
    async fn stranger(&self, user: UserKey, friend: UserKey) {
        let at = now().millis();
        let mut tx = self.wallet.store().write().await.unwrap();
        let contact = Contact::new(user, at);
        contacts::put(tx.conn(), &contact).await.unwrap();
        facts::put_vouch(tx.conn(), &friend, &user, true, at)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    async fn befriend(&self, user: UserKey) {
        let found = crate::wallet::friends::Found::default();
        self.wallet
            .commit_friend(&user, None, &found)
            .await
            .unwrap();
    }

    async fn divide(&self) -> usize {
        self.wallet.divide().await.unwrap().events.len()
    }

    /// The credit line that `user` has in the books.
    async fn line(&self, user: UserKey) -> u64 {
        let mut conn = self.wallet.store().read().await.unwrap();
        let pair = books::load(&mut conn, self.wallet.user(), user)
            .await
            .unwrap();
        pair.own().accept_at(&usd(), now()).minor()
    }

    async fn lines(&self, users: std::ops::Range<u32>) -> u64 {
        let mut sum = 0;
        for n in users {
            sum += self.line(key(n)).await;
        }
        sum
    }

    async fn count(&self, status: ContactStatus) -> u64 {
        let mut conn = self.wallet.store().read().await.unwrap();
        contacts::count(&mut conn, status).await.unwrap()
    }
}

#[tokio::test]
async fn a_crowd_that_one_friend_vouches_for_gets_one_cap() {
    let me = Me::new().await;
    let nora = key(1);
    me.befriend(nora).await;
    let rule = me.add(&friends_of(nora)).await;
    for n in 100..160 {
        me.stranger(key(n), nora).await;
    }
    assert_eq!(me.divide().await, 3);
    assert_eq!(me.lines(100..160).await, 5000);
    assert_eq!(me.count(ContactStatus::Pending).await, 57);
    // Nothing more comes of asking again.
    assert_eq!(me.divide().await, 0);
    let shown = me.wallet.rules().await.unwrap();
    let used = &shown.first().unwrap().used;
    assert_eq!((used.taken, used.people), (5000, 3));
    assert_eq!(used.by_introducer, [(nora, 5000)].into());
    let let_in = me.wallet.let_in().await.unwrap();
    assert_eq!(let_in.len(), 3);

    // Whom a rule let in is nobody's voucher.
    let in_by_rule = *let_in.keys().next().unwrap();
    me.add(&friends_of(in_by_rule)).await;
    me.stranger(key(200), in_by_rule).await;
    assert_eq!(me.divide().await, 0);
    assert_eq!(me.line(key(200)).await, 0);

    // The rule is gone, and so are its lines.
    let mut tx = me.wallet.store().write().await.unwrap();
    rules::remove(tx.conn(), rule).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(me.divide().await, 3);
    assert_eq!(me.lines(100..160).await, 0);
    assert_eq!(me.divide().await, 0);
}

#[tokio::test]
async fn what_is_said_in_person_comes_before_rules_and_a_block_before_that() {
    let me = Me::new().await;
    let (nora, max) = (key(1), key(2));
    me.befriend(nora).await;
    me.add(&friends_of(nora)).await;
    me.stranger(max, nora).await;
    me.divide().await;
    assert_eq!(me.line(max).await, 2000);
    let granted = me.wallet.granted(&max).await.unwrap();
    assert_eq!(granted.first().unwrap().line, 2000);

    // By hand: the rule counts them no more.
    me.befriend(max).await;
    assert!(me.wallet.let_in().await.unwrap().is_empty());
    let mut tx = me.wallet.store().write().await.unwrap();
    rules::set_accept(tx.conn(), &max, &usd(), total(700))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    me.divide().await;
    assert!(me.wallet.granted(&max).await.unwrap().is_empty());

    let other = key(3);
    me.stranger(other, nora).await;
    let mut tx = me.wallet.store().write().await.unwrap();
    let at = now().millis();
    rules::set_blocked(tx.conn(), &other, true, at)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(me.divide().await, 0);
    assert_eq!(me.count(ContactStatus::Pending).await, 1);
}

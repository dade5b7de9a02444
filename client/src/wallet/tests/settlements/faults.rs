//! Claims that nobody has, replays, and wallets that stop anywhere.

use std::task::Poll;

use atomicity_ledger::record::{SettleReason, Settlement};
use atomicity_ledger::{AnyRecord, RecordHash, Signed};
use atomicity_paykit_adapter::rail::PaymentId;

use super::*;

#[tokio::test]
async fn who_holds_no_claim_gets_nothing() {
    let shop = Shop::open().await;
    let much = draft(&shop.rail, secret(1), 201, after(600_000));
    let error = shop.ask_for(much).await.unwrap_err();
    assert_eq!(error.code(), "claim_smaller");
    assert_eq!(error.exit_code(), 3);
    let turned = draft(&shop.rail, secret(2), 1, after(600_000));
    let baker = shop.baker.key();
    let open = shop.milkman.wallet.open_demand(&baker, turned).await;
    assert_eq!(open.unwrap_err().code(), "no_claim");
    // A wallet that does not look at its books before it asks.
    let rail = give_rail(&shop.baker).await;
    let asked = draft(&rail, secret(3), 50, after(600_000));
    let record = Settlement {
        v: atomicity_ledger::jws::Version,
        id: asked.id,
        holder: shop.milkman.key(),
        issuer: shop.baker.key(),
        unit: asked.unit,
        amount: asked.amount,
        targets: asked.targets,
        pays: asked.pays,
        release: Some(RecordHash::of("no release")),
        claim: None,
        memo: None,
        expires: asked.expires,
        at: now(),
    };
    let change = shop.milkman.wallet.change().await.unwrap();
    let forged = Signed::sign(record.clone(), &change.keys.pen).unwrap();
    drop(change);
    let forged = [forged.jws().to_owned()];
    let taken = shop.baker.take(&shop.milkman, &forged).await;
    assert_eq!(taken.applied, 1);
    shop.baker.wallet.note_checked();
    shop.baker.wallet.pay_settlement(&record.id).await.unwrap();
    shop.baker.wallet.settle_all().await.unwrap();
    let view = shop.baker.wallet.settlement(&record.id).await.unwrap();
    assert_eq!(view.reason, Some(SettleReason::NoClaim));
    assert_eq!(rail.times_asked(PaymentId::from(secret(3).hash())), 0);
    // Signed by somebody else than who keeps the books: not even looked at.
    let other = Signed::sign(record, &atomicity_ledger::Keypair::from_secret(&[7; 32])).unwrap();
    let taken = shop
        .baker
        .take(&shop.milkman, &[other.jws().to_owned()])
        .await;
    assert_eq!(taken.applied, 0);
}

#[tokio::test]
async fn a_replay_and_a_second_request_on_one_hash_pay_nothing_more() {
    let shop = Shop::open().await;
    let asked = draft(&shop.rail, secret(1), 50, after(600_000));
    let id = shop.ask_for(asked.clone()).await.unwrap();
    let records = shop.baker.outgoing(&shop.milkman).await;
    shop.milkman.take(&shop.baker, &records).await;
    // The holder's own wallet gives out one release on a hash at a time.
    let twice = shop
        .ask_for(draft(&shop.rail, secret(1), 50, after(500_000)))
        .await;
    assert_eq!(twice.unwrap_err().code(), "hash_used");
    shop.agree(&id).await;
    shop.go_on().await;
    shop.ends(&id, 1, secret(1)).await;
    shop.milkman.take(&shop.baker, &records).await;
    shop.go_on().await;
    shop.ends(&id, 1, secret(1)).await;
    // The release was booked: the holder may try again, and the issuer knows better.
    let again = draft(&shop.rail, secret(1), 50, after(400_000));
    let again = shop.ask_for(again).await.unwrap();
    shop.talk().await;
    shop.agree(&again).await;
    shop.go_on().await;
    let view = shop.baker.wallet.settlement(&again).await.unwrap();
    assert_eq!(view.reason, Some(SettleReason::HashUsed));
    // The same name for something else.
    let mut named = draft(&shop.rail, secret(2), 50, after(400_000));
    named.id = id;
    let change = shop.baker.wallet.change().await.unwrap();
    let pen = change.keys.pen.clone();
    drop(change);
    let known = records.iter().find_map(|jws| match AnyRecord::decode(jws) {
        Ok(AnyRecord::Settlement(asked)) => Some(asked),
        _ => None,
    });
    let mut record = known.unwrap().record().clone();
    record.targets = named.targets;
    record.release = Some(RecordHash::of("another"));
    let same_name = Signed::sign(record, &pen).unwrap();
    shop.milkman
        .take(&shop.baker, &[same_name.jws().to_owned()])
        .await;
    let all = shop.milkman.wallet.settlements().await.unwrap();
    let second = all.iter().find(|view| view.settlement == same_name.hash());
    assert_eq!(second.unwrap().reason, Some(SettleReason::IdUsed));
    assert_eq!(shop.claim().await, (150, 0));
}

/// Runs a future for so many turns, and drops it. Whether it came to its end.
async fn turns(n: usize, work: impl Future<Output = ()>) -> bool {
    let mut work = Box::pin(work);
    for _ in 0..n {
        let done = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context)));
        if done.await.is_ready() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    false
}

#[tokio::test]
async fn whoever_stops_anywhere_has_paid_once_or_not_at_all() {
    let mut shop = Shop::open().await;
    let mut owed = 200;
    let mut held = 0;
    let (mut ended, mut stops) = (false, 0);
    while !ended {
        stops += 1;
        assert!(stops < 120, "it never comes to its end");
        let preimage = secret(u8::try_from(stops).unwrap());
        let hash = shop.rail.learn(preimage);
        let asked = draft(&shop.rail, preimage, 1, after(600_000));
        let id = shop.ask_for(asked).await.unwrap();
        shop.talk().await;
        shop.agree(&id).await;
        let wallet = &shop.milkman.wallet;
        wallet.note_checked();
        let view = wallet.settlement(&id).await.unwrap();
        ended = turns(stops * 2, async {
            wallet.discharge(&view.settlement).await.unwrap();
        })
        .await;
        shop.restart().await;
        for _ in 0..2 {
            shop.go_on().await;
        }
        let paid = shop.rail.times_paid(hash);
        assert!(paid <= 1, "paid {paid} times after {stops} turns");
        match (paid, shop.stage(&id).await) {
            (1, ("booked", "done")) => owed -= 1,
            // The attempt was stored, and the rail not told: nobody can know that, so it is held.
            (0, ("accepted", "dispatched")) => held += 1,
            other => panic!("{other:?} after {stops} turns"),
        }
        assert_eq!(shop.claim().await, (owed, held));
        assert!(shop.rail.times_asked(hash) <= 1);
    }
    println!("{stops} places to stop, {held} times in doubt");
    assert!(stops > 5);
}

//! Prints how many settlements a wallet gets done. It asserts that each is paid once, and nothing about time.

use std::time::{Duration, Instant};

use super::*;

/// Requests at a time: as many as one friend may have open.
const AT_ONCE: u8 = 30;
const ROUNDS: u8 = 6;
const COMMITS: u32 = 500;

fn per_second(count: u32, took: Duration) -> f64 {
    f64::from(count) / took.as_secs_f64()
}

#[tokio::test]
#[ignore = "prints figures: see docs/PERFORMANCE.md"]
async fn settlements_in_a_second() {
    let shop = Shop::open().await;
    let (mut asking, mut paying, mut booking) = Default::default();
    for round in 0..ROUNDS {
        let began = Instant::now();
        let mut ids = Vec::new();
        for n in 0..AT_ONCE {
            let mut bytes = [round; 32];
            bytes[0] = n;
            let draft = draft(&shop.rail, Preimage::from_bytes(bytes), 1, after(600_000));
            let hash = draft.hash.unwrap();
            ids.push((shop.ask_for(draft).await.unwrap(), hash));
        }
        shop.talk().await;
        asking += began.elapsed();
        let began = Instant::now();
        for (id, _) in &ids {
            shop.agree(id).await;
        }
        shop.milkman.wallet.settle_all().await.unwrap();
        paying += began.elapsed();
        let began = Instant::now();
        shop.talk().await;
        booking += began.elapsed();
        for (id, hash) in &ids {
            let view = shop.baker.wallet.settlement(id).await.unwrap();
            assert_eq!(view.stage, "booked");
            assert_eq!(shop.rail.times_paid(PaymentId::from(*hash)), 1);
        }
    }
    let count = u32::from(AT_ONCE) * u32::from(ROUNDS);
    assert_eq!(shop.claim().await, (200 - i64::from(count), 0));
    let began = Instant::now();
    for n in 0..COMMITS {
        let mut tx = shop.milkman.wallet.store().write().await.unwrap();
        let value = n.to_string();
        crate::store::settings::set(tx.conn(), "rate", &value)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    let commits = per_second(COMMITS, began.elapsed());
    println!("asked for: {:.0}/s", per_second(count, asking));
    println!("paid by the issuer: {:.0}/s", per_second(count, paying));
    println!("booked: {:.0}/s", per_second(count, booking));
    println!("one commit of this store: {commits:.0}/s");
}

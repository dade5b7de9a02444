//! What the user agreed to is done once, wherever it was cut off.

use atomicity_ledger::{Amount, RecordId};

use super::*;
use crate::net::plugin::Wish;
use crate::store::proposals::ProposalRow;

/// A proposal to which the user has agreed, and of which nothing was noted since.
fn agreed(n: u8, wish: Wish) -> ProposalRow {
    ProposalRow {
        id: RecordId::from_entropy([n; 16]),
        plugin: "somewhere".to_owned(),
        wish,
        state: ProposalState::Accepted,
        told: true,
        fee: 0,
        max_fee: None,
        reason: None,
        at: now().millis(),
    }
}

fn asking(minor: u64) -> Wish {
    Wish::Ask {
        user: None,
        unit: BREAD.parse().unwrap(),
        amount: Amount::from_minor(minor).unwrap(),
        memo: Some("cake".parse().unwrap()),
    }
}

#[tokio::test]
async fn who_asks_to_be_paid_asks_once_for_each_proposal() {
    let (_, baker) = village().await;
    for row in [agreed(1, asking(400)), agreed(2, asking(400))] {
        for _ in 0..2 {
            baker.wallet.note_checked();
            assert_eq!(baker.wallet.carry_out(&row, false).await.unwrap(), 0);
        }
    }
    let all = baker.wallet.requests().await.unwrap();
    assert_eq!(all.len(), 2);
    let memos = all.iter().filter_map(|view| view.memo.as_ref());
    assert_eq!(memos.filter(|memo| memo.as_str() == "cake").count(), 2);
    // Under the same name nothing else is done: whoever holds the proposals may have changed it.
    baker.wallet.note_checked();
    let other = baker.wallet.carry_out(&agreed(1, asking(900)), false).await;
    assert_eq!(other.unwrap_err().code(), "idempotency_key_reused");
    assert_eq!(baker.wallet.requests().await.unwrap().len(), 2);
}

#[tokio::test]
async fn who_is_blocked_stays_so_and_is_let_in_again() {
    let (milkman, baker) = village().await;
    let user = milkman.key();
    for (blocked, count) in [(true, 1), (true, 1), (false, 0), (false, 0)] {
        baker.wallet.note_checked();
        let row = agreed(1 + u8::from(blocked), Wish::Block { user, blocked });
        baker.wallet.carry_out(&row, false).await.unwrap();
        assert_eq!(baker.wallet.blocked().await.unwrap().len(), count);
    }
}

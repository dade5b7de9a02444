//! Requests to be paid: what a payee grants to friends and strangers, without any network.

mod guests;
mod handed;

use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{Goal, Part, PartAnswer, PartReason, PartSaid, Target};
use atomicity_ledger::{Amount, Keypair, RecordId, Signed};

use super::*;
use crate::store::requests::{self, RequestRow, letters};

fn amount(minor: u64) -> Amount {
    Amount::from_minor(minor).unwrap()
}

/// The baker asks for so much together.
async fn bill(baker: &Person, minor: u64) -> RequestRow {
    let amount = amount(minor);
    let goal = Goal::Target { amount, min: None };
    let mut terms = RequestTerms::new(BREAD.parse().unwrap(), goal);
    terms.targets = vec![Target {
        method: "cash".parse().unwrap(),
        value: "at the counter".parse().unwrap(),
    }];
    let mut change = baker.wallet.change().await.unwrap();
    let signed = baker.wallet.sign_request(&mut change, terms, false).await;
    change.commit().await.unwrap();
    signed.unwrap()
}

fn part(row: &RequestRow, n: u8, payer: &Keypair, minor: u64) -> Signed<Part> {
    let part = Part {
        v: Version,
        id: RecordId::from_entropy([n; 16]),
        request: row.record.hash(),
        from: payer.user_key(),
        to: row.record.record().payee,
        amount: amount(minor),
        turn: None,
        reply: None,
        at: now(),
    };
    Signed::sign(part, payer).unwrap()
}

impl Person {
    fn pen(&self) -> Keypair {
        self.root.keypair().clone()
    }

    /// Takes a part and makes its invoice, if there is to be one.
    async fn hears(&self, part: &Signed<Part>) {
        self.wallet.note_checked();
        self.wallet.take_part(part).await.unwrap();
        self.wallet.make_invoices().await.unwrap();
    }

    /// What was answered since, oldest first.
    async fn answers(&self) -> Vec<PartSaid> {
        let mut tx = self.wallet.store().write().await.unwrap();
        let due = letters::due(tx.conn(), false, u64::MAX, 1000)
            .await
            .unwrap();
        for letter in &due {
            letters::remove(tx.conn(), letter.id).await.unwrap();
        }
        tx.commit().await.unwrap();
        let all = due.iter().flat_map(|letter| &letter.records);
        all.map(|jws| {
            Signed::<PartAnswer>::decode(jws)
                .unwrap()
                .record()
                .said
                .clone()
        })
        .collect()
    }

    /// What is filled, reserved and surplus.
    async fn figures(&self, row: &RequestRow) -> [u64; 3] {
        let mut conn = self.wallet.store().read().await.unwrap();
        let id = row.record.record().id;
        let row = requests::named(&mut conn, &id).await.unwrap().unwrap();
        let fills = &row.fills;
        let state = row.state.record();
        assert_eq!(
            (state.filled, state.reserved),
            (fills.filled(), fills.reserved())
        );
        [fills.filled(), fills.reserved(), fills.surplus()].map(|total| total.minor())
    }
}

fn granted(said: &PartSaid) -> u64 {
    match said {
        PartSaid::Granted { amount, .. } => amount.minor(),
        PartSaid::Refused { reason } => panic!("refused: {reason:?}"),
    }
}

#[tokio::test]
async fn a_part_that_comes_again_is_answered_the_same_and_paid_once() {
    let (milkman, baker) = village().await;
    let row = bill(&baker, 250).await;
    let pen = milkman.pen();
    let wanted = part(&row, 1, &pen, 200);
    for _ in 0..3 {
        baker.hears(&wanted).await;
    }
    let answers = baker.answers().await;
    assert_eq!(answers.len(), 3);
    assert!(
        answers.iter().all(|said| said == &answers[0]),
        "{answers:?}"
    );
    assert_eq!(granted(&answers[0]), 200);
    assert_eq!(baker.figures(&row).await, [0, 200, 0]);
    // The same name with something else in it is another part, and there is one of that name.
    baker.hears(&part(&row, 1, &pen, 100)).await;
    let closed = PartSaid::Refused {
        reason: PartReason::Closed,
    };
    assert_eq!(baker.answers().await, std::slice::from_ref(&closed));
    // Who is last gets what is left, and the next nothing.
    baker.hears(&part(&row, 2, &pen, 200)).await;
    baker.hears(&part(&row, 3, &pen, 200)).await;
    let answers = baker.answers().await;
    assert_eq!(granted(&answers[0]), 50);
    let full = PartSaid::Refused {
        reason: PartReason::Full,
    };
    assert_eq!(answers[1], full);

    // It is given directly, with its name: that counts, and once. More under the same name is a gift.
    for (money, counted) in [
        ("2.00 BREAD/2", [200, 50, 0]),
        ("0.70 BREAD/2", [200, 50, 0]),
    ] {
        milkman.wallet.note_checked();
        let money = Money::parse(money, &[]).unwrap();
        let name: Memo = wanted.record().id.to_string().parse().unwrap();
        let options = IssueOptions::described(None, Some(name)).committed_only();
        let given = milkman.wallet.issue(&baker.key(), money, options).await;
        given.unwrap();
        settle(&milkman, &baker).await;
        assert_eq!(baker.figures(&row).await, counted);
    }
    baker.hears(&wanted).await;
    let paid = PartSaid::Refused {
        reason: PartReason::Paid,
    };
    assert_eq!(baker.answers().await, [paid]);
    assert_eq!(baker.figures(&row).await, [200, 50, 0]);
}

#[tokio::test]
async fn a_stranger_without_a_common_log_is_told_to_come_again_and_nothing_stays_kept() {
    let (_milkman, baker) = village().await;
    let row = bill(&baker, 250).await;
    let stranger = Keypair::from_secret(&[7; 32]);
    baker.hears(&part(&row, 1, &stranger, 200)).await;
    let busy = PartSaid::Refused {
        reason: PartReason::Busy,
    };
    assert_eq!(baker.answers().await, [busy]);
    assert_eq!(baker.figures(&row).await, [0, 0, 0]);
}

#[tokio::test]
async fn letters_of_one_user_are_bounded_and_those_of_whom_one_blocked_are_not_kept() {
    let (milkman, baker) = village().await;
    let stranger = Keypair::from_secret(&[7; 32]).user_key();
    let records = ["x".to_owned()];
    let mut kept = 0;
    for _ in 0..100 {
        kept += u32::from(baker.wallet.keep_letter(&stranger, &records).await.unwrap());
    }
    assert_eq!(kept, 64);
    assert!(
        baker
            .wallet
            .keep_letter(&milkman.key(), &records)
            .await
            .unwrap()
    );
    assert!(
        !baker
            .wallet
            .keep_letter(&baker.key(), &records)
            .await
            .unwrap()
    );
}

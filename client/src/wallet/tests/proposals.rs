//! What the user agreed to is done once, wherever it was cut off.

use atomicity_ledger::policy::{Rule, Who};
use atomicity_ledger::{Amount, RecordId, Timestamp, Total};

use super::*;
use crate::net::plugin::Wish;
use crate::store::lock;
use crate::store::proposals::{self as stored, Cost, ProposalRow};
use crate::wallet::{AcceptTerms, ProposalView};

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
        amount: None,
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
            assert_eq!(
                baker
                    .wallet
                    .carry_out(&row, false, AcceptTerms::default())
                    .await
                    .unwrap(),
                Cost::default()
            );
        }
    }
    let all = baker.wallet.requests().await.unwrap();
    assert_eq!(all.len(), 2);
    let memos = all.iter().filter_map(|view| view.memo.as_ref());
    assert_eq!(memos.filter(|memo| memo.as_str() == "cake").count(), 2);
    // Under the same name nothing else is done: whoever holds the proposals may have changed it.
    baker.wallet.note_checked();
    let other = baker
        .wallet
        .carry_out(&agreed(1, asking(900)), false, AcceptTerms::default())
        .await;
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
        baker
            .wallet
            .carry_out(&row, false, AcceptTerms::default())
            .await
            .unwrap();
        assert_eq!(baker.wallet.blocked().await.unwrap().len(), count);
    }
}

#[tokio::test]
async fn a_rule_about_many_stands_once_and_is_taken_back() {
    let (_, baker) = village().await;
    let total = |minor| Total::from_minor(minor).ok();
    let rule = Box::new(Rule {
        accept: total(500),
        cap: total(2_000),
        ..Rule::about(Who::Anyone, BREAD.parse().unwrap())
    });
    let other = Box::new(Rule {
        accept: total(600),
        ..(*rule).clone()
    });
    let wishes = [
        (Wish::Rule { rule: rule.clone() }, 1),
        (Wish::Rule { rule: rule.clone() }, 1),
        (Wish::Unrule { rule: other }, 1),
        (Wish::Unrule { rule: rule.clone() }, 0),
        (Wish::Unrule { rule }, 0),
    ];
    let mut ends = Vec::new();
    for (n, (wish, count)) in (1..).zip(wishes) {
        // Each is begun again, as after a crash.
        for _ in 0..2 {
            baker.wallet.note_checked();
            let row = agreed(n, wish.clone());
            let done = baker
                .wallet
                .carry_out(&row, false, AcceptTerms::default())
                .await;
            ends.push(done.err().map(|error| error.code().to_owned()));
            assert_eq!(baker.wallet.rules().await.unwrap().len(), count, "{n}");
        }
    }
    let unknown = || Some("unknown_rule".to_owned());
    let said = [
        None,
        None,
        None,
        None,
        unknown(),
        unknown(),
        None,
        None,
        unknown(),
        unknown(),
    ];
    assert_eq!(ends, said);
}

#[tokio::test]
async fn a_friend_is_paid_once_for_each_proposal() {
    let (milkman, baker) = village().await;
    let wish = Wish::Issue {
        user: milkman.key(),
        unit: BREAD.parse().unwrap(),
        amount: Amount::from_minor(200).unwrap(),
        memo: Some("milk".parse().unwrap()),
    };
    for n in [1, 1, 2, 2] {
        baker.wallet.note_checked();
        let row = agreed(n, wish.clone());
        baker
            .wallet
            .carry_out(&row, false, AcceptTerms::default())
            .await
            .unwrap();
    }
    assert_eq!(baker.net(&milkman).await, -400);
    // What is above the limit is not tried again and again.
    baker.wallet.note_checked();
    let over = baker
        .wallet
        .carry_out(&agreed(3, wish), false, AcceptTerms::default())
        .await;
    let error = over.unwrap_err();
    assert_eq!(error.code(), "limit_exceeded");
    assert!(super::super::proposals::is_final(&error));
}

/// Keeps a proposal as the user sees it, and shows it.
async fn seen(baker: &Person, n: u8, wish: &Wish) -> ProposalView {
    let id = RecordId::from_entropy([n; 16]);
    let mut tx = baker.wallet.store().write().await.unwrap();
    let place = (&id, "somewhere");
    stored::see(tx.conn(), place, wish, now().millis())
        .await
        .unwrap();
    let row = stored::get(tx.conn(), &id).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    row.into()
}

async fn kept(baker: &Person, row: &ProposalRow) {
    let mut tx = baker.wallet.store().write().await.unwrap();
    stored::decide(tx.conn(), row).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn nothing_is_done_that_was_not_shown() {
    let (_, baker) = village().await;
    let mut view = seen(&baker, 1, &asking(400)).await;
    // The plugin says something else now than when it was seen first: that is remembered, and shown.
    let again = seen(&baker, 1, &asking(900)).await;
    assert_eq!(again.wish, asking(400));
    view.wish = asking(900);
    baker.wallet.note_checked();
    let done = baker
        .wallet
        .accept_proposal(&view, AcceptTerms::default())
        .await;
    assert_eq!(done.unwrap_err().code(), "proposal_changed");
    // One that is not there any more is not done either.
    view.wish = asking(400);
    let done = baker
        .wallet
        .accept_proposal(&view, AcceptTerms::default())
        .await;
    assert_eq!(done.unwrap_err().code(), "unknown_proposal");
    assert!(baker.wallet.requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn who_declines_takes_back_what_was_not_begun_and_no_more() {
    let (_, baker) = village().await;
    let mut row = ProposalRow {
        told: false,
        ..agreed(1, asking(400))
    };
    kept(&baker, &row).await;
    let declined = baker.wallet.decline_proposal(&row.id).await.unwrap();
    assert_eq!(declined.state, Some(ProposalState::Declined));
    row = ProposalRow {
        told: false,
        ..agreed(2, asking(400))
    };
    kept(&baker, &row).await;
    let mut tx = baker.wallet.store().write().await.unwrap();
    stored::told(tx.conn(), &row.id, row.state).await.unwrap();
    tx.commit().await.unwrap();
    let begun = baker.wallet.decline_proposal(&row.id).await;
    assert_eq!(begun.unwrap_err().code(), "proposal_accepted");
    assert!(baker.wallet.requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn one_process_is_at_a_proposal_at_a_time_and_an_old_word_counts_no_more() {
    let (_, baker) = village().await;
    let row = agreed(1, asking(400));
    kept(&baker, &row).await;
    let held = lock::take_proposal(baker.wallet.home(), &row.id, std::time::Duration::ZERO);
    let held = held.await.unwrap().unwrap();
    baker.wallet.note_checked();
    baker.wallet.drive_proposals().await.unwrap();
    assert!(baker.wallet.requests().await.unwrap().is_empty());
    drop(held);
    baker.wallet.drive_proposals().await.unwrap();
    assert_eq!(baker.wallet.requests().await.unwrap().len(), 1);
    let made = baker.wallet.requests().await.unwrap()[0].id;
    let done = ProposalRow {
        state: ProposalState::Done,
        ..row.clone()
    };
    let told = baker.wallet.request_made(&done).await.unwrap();
    assert_eq!(told, Some(made));

    let old = ProposalRow {
        at: now().millis() - 15 * 24 * 3600 * 1000,
        ..agreed(2, asking(400))
    };
    kept(&baker, &old).await;
    baker.wallet.drive_proposals().await.unwrap();
    assert_eq!(baker.wallet.requests().await.unwrap().len(), 1);
    let mut conn = baker.wallet.store().read().await.unwrap();
    let ended = stored::get(&mut conn, &old.id).await.unwrap().unwrap();
    assert_eq!(ended.state, ProposalState::Failed);
    assert_eq!(ended.reason.as_deref(), Some("too_late"));
}

#[tokio::test]
async fn what_names_nothing_to_be_paid_is_not_paid() {
    let (milkman, baker) = village().await;
    let user = format!("atomicity:{}", milkman.key());
    let pay = Wish::Pay {
        link: user.clone(),
        max_fee: None,
    };
    let part = Wish::Part {
        link: user,
        amount: Amount::from_minor(5).ok(),
        max_fee: None,
    };
    for wish in [pay, part] {
        let view = seen(&baker, 1 + u8::from(wish.name() == "part"), &wish).await;
        baker.wallet.note_checked();
        let done = baker
            .wallet
            .accept_proposal(&view, AcceptTerms::default())
            .await;
        assert_eq!(done.unwrap_err().code(), "proposal_unreadable");
        let done = baker
            .wallet
            .carry_out(&agreed(9, wish), true, AcceptTerms::default())
            .await;
        assert_eq!(done.unwrap_err().code(), "proposal_unreadable");
    }
    assert!(baker.wallet.payments().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_only_the_root_signs_waits_for_it() {
    let (milkman, baker) = village().await;
    let until = Timestamp::from_millis(now().millis() + 1_000_000).unwrap();
    for wish in [Wish::Agent { until }, Wish::AgentOff { force: true }] {
        let row = agreed(1, wish);
        assert!(row.wish.needs_root());
        for wait in [true, false] {
            let done = baker
                .wallet
                .carry_out(&row, wait, AcceptTerms::default())
                .await;
            assert_eq!(done.unwrap_err().code(), "passphrase_needed");
        }
    }
    drop(milkman);
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_not_ended_and_one_that_was_ended_for_it_is_no_failure() {
    let (_, baker) = village().await;
    let row = agreed(1, serde_json::from_str(r#"{"kind": "agent_off"}"#).unwrap());
    assert!(!row.wish.needs_root());
    let done = baker
        .wallet
        .carry_out(&row, false, AcceptTerms::default())
        .await;
    let error = done.unwrap_err();
    assert_eq!(error.code(), "no_agent");
    assert!(super::super::proposals::is_final(&error));
    // As a crash leaves it that comes once the agent has ended, before that is noted.
    let begun = format!("proposal/{}", row.id);
    baker
        .wallet
        .begin_operation(&begun, &[1; 32])
        .await
        .unwrap();
    let done = baker
        .wallet
        .carry_out(&row, false, AcceptTerms::default())
        .await;
    assert_eq!(done.unwrap(), Cost::default());
}

//! What recurs is paid once, by the wallet or by the agent.

use atomicity_ledger::record::{Every, Inbox, Period, ReplyTo, turn_part};
use atomicity_ledger::seal::{EncryptionSecret, KeyId};
use atomicity_ledger::{RecordHash, Timestamp};

use super::*;
use crate::net::plugin::AgentTurn;
use crate::store::requests::approvals::{self, ApprovalRow};
use crate::store::requests::paying::{self, AskedRow};

const DAY_MS: u64 = 86_400_000;

/// The baker asks the milkman for 1.00 every day, of which so many days are due.
async fn daily(milkman: &Person, baker: &Person, due: u64) -> RequestRow {
    let mut terms = RequestTerms::new(BREAD.parse().unwrap(), Goal::Exact(amount(100)));
    terms.payer = Some(milkman.key());
    terms.every = Some(Every {
        period: Period::Day,
        from: Timestamp::from_millis(now().millis() - due * DAY_MS + DAY_MS / 2).unwrap(),
        count: None,
    });
    let mut change = baker.wallet.change().await.unwrap();
    let signed = baker.wallet.sign_request(&mut change, terms, false).await;
    change.commit().await.unwrap();
    signed.unwrap()
}

/// The milkman approves it; who pays it is `place`.
async fn approved(milkman: &Person, row: &RequestRow, place: ApprovalPlace) -> RecordHash {
    let hash = row.record.hash();
    let asked = AskedRow {
        record: row.record.clone(),
        state: None,
        was_sent: true,
        seen_at: 0,
    };
    let approval = ApprovalRow {
        request: hash,
        up_to: 100,
        until: None,
        first_turn: 0,
        next_at: 0,
        why: None,
        created_at: 0,
        ended_at: None,
        place,
        place_why: None,
    };
    let mut tx = milkman.wallet.store().write().await.unwrap();
    paying::put_asked(tx.conn(), &asked).await.unwrap();
    approvals::put_approval(tx.conn(), &approval).await.unwrap();
    approvals::set_place(tx.conn(), &hash, place, None, 0)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    hash
}

impl Person {
    /// Goes on with what recurs, and returns the parts that it has asked for since.
    async fn asks(&self) -> Vec<Signed<Part>> {
        self.wallet.note_checked();
        let mut tx = self.wallet.store().write().await.unwrap();
        sqlx::query("UPDATE approval SET next_at = 0")
            .execute(tx.conn())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        self.wallet.ask_for_turns().await.unwrap();
        let mut tx = self.wallet.store().write().await.unwrap();
        let due = letters::due(tx.conn(), false, u64::MAX, 1000)
            .await
            .unwrap();
        for letter in &due {
            letters::remove(tx.conn(), letter.id).await.unwrap();
        }
        tx.commit().await.unwrap();
        let all = due.iter().flat_map(|letter| &letter.records);
        all.map(|jws| Signed::decode(jws).unwrap()).collect()
    }

    /// What was answered since, and to whom.
    async fn replies(&self) -> Vec<(Signed<PartAnswer>, Option<ReplyTo>)> {
        let mut tx = self.wallet.store().write().await.unwrap();
        let due = letters::due(tx.conn(), false, u64::MAX, 1000)
            .await
            .unwrap();
        for letter in &due {
            letters::remove(tx.conn(), letter.id).await.unwrap();
        }
        tx.commit().await.unwrap();
        // The request itself is sent to whom it is for, too.
        due.into_iter()
            .filter_map(|letter| Some((Signed::decode(&letter.records[0]).ok()?, letter.reply)))
            .collect()
    }

    async fn turns(&self, request: &RecordHash) -> Vec<u32> {
        let mut conn = self.wallet.store().read().await.unwrap();
        paying::turns(&mut conn, request).await.unwrap()
    }
}

/// The same part, as an agent asks for it.
fn by_agent(part: &Signed<Part>, pen: &Keypair) -> Signed<Part> {
    let mut record = part.record().clone();
    record.reply = Some(ReplyTo {
        key: EncryptionSecret::new(KeyId::REPLY, [5; 32]).public(),
        inbox: Inbox {
            plugin: Keypair::from_secret(&[6; 32]).user_key(),
            url: None,
        },
    });
    Signed::sign(record, pen).unwrap()
}

fn agents_turn(request: &RecordHash, payer: &Person, turn: u32) -> AgentTurn {
    serde_json::from_value(serde_json::json!({
        "turn": turn, "id": turn_part(request, &payer.key(), turn, 0), "record": "signed there",
        "amount": "100", "state": "paid", "at": 1, "ended_at": 2,
    }))
    .unwrap()
}

#[tokio::test]
async fn a_turn_that_wallet_and_agent_ask_for_is_kept_once_and_both_are_answered() {
    let (milkman, baker) = village().await;
    let row = daily(&milkman, &baker, 1).await;
    let hash = approved(&milkman, &row, ApprovalPlace::Here).await;
    let asked = milkman.asks().await;
    assert_eq!(asked.len(), 1);
    let name = turn_part(&hash, &milkman.key(), 0, 0);
    assert_eq!(asked[0].record().id, name);
    // By the root, whose word needs no looking up.
    let asked = [Signed::sign(asked[0].record().clone(), &milkman.pen()).unwrap()];
    let agents = by_agent(&asked[0], &milkman.pen());
    baker.hears(&asked[0]).await;
    baker.hears(&agents).await;
    baker.hears(&asked[0]).await;
    let answers = baker.replies().await;
    let parts: Vec<RecordHash> = answers.iter().map(|(a, _)| a.record().part).collect();
    assert_eq!(parts, [asked[0].hash(), agents.hash(), asked[0].hash()]);
    let said = |n: usize| &answers[n].0.record().said;
    assert!(said(0) == said(1) && said(1) == said(2), "{answers:?}");
    assert_eq!(granted(said(0)), 100);
    let to: Vec<bool> = answers.iter().map(|(_, reply)| reply.is_some()).collect();
    assert_eq!(to, [false, true, false]);
    assert_eq!(answers[1].1, agents.record().reply);
    assert_eq!(baker.figures(&row).await, [0, 100, 0]);
}

#[tokio::test]
async fn an_agent_of_nobody_whom_the_payee_knows_is_told_that_it_can_not_pay() {
    let (milkman, baker) = village().await;
    let mut terms = RequestTerms::new(BREAD.parse().unwrap(), Goal::Exact(amount(100)));
    terms.payer = None;
    let mut change = baker.wallet.change().await.unwrap();
    let row = baker.wallet.sign_request(&mut change, terms, false).await;
    change.commit().await.unwrap();
    let row = row.unwrap();
    let stranger = Keypair::from_secret(&[7; 32]);
    let asked = by_agent(&part(&row, 1, &stranger, 100), &stranger);
    baker.hears(&asked).await;
    let answers = baker.replies().await;
    let not_direct = PartSaid::Refused {
        reason: PartReason::NotDirect,
    };
    assert_eq!(answers[0].0.record().said, not_direct);
    assert_eq!(answers[0].1, asked.record().reply);
    assert_eq!(baker.figures(&row).await, [0, 0, 0]);
    // A friend is: directly, without an invoice.
    let asked = by_agent(&part(&row, 2, &milkman.pen(), 100), &milkman.pen());
    baker.hears(&asked).await;
    let answers = baker.replies().await;
    let said = &answers[0].0.record().said;
    assert!(
        matches!(said, PartSaid::Granted { invoice: None, .. }),
        "{said:?}"
    );
}

#[tokio::test]
async fn what_the_agent_pays_the_wallet_does_not_ask_for() {
    let (milkman, baker) = village().await;
    let row = daily(&milkman, &baker, 3).await;
    for place in [
        ApprovalPlace::Handing,
        ApprovalPlace::Agent,
        ApprovalPlace::Taking,
    ] {
        let hash = approved(&milkman, &row, place).await;
        assert_eq!(milkman.asks().await.len(), 0, "{place:?}");
        // By hand neither.
        let mut conn = milkman.wallet.store().read().await.unwrap();
        let asked = paying::asked(&mut conn, &hash).await.unwrap().unwrap();
        drop(conn);
        let wanted = milkman
            .wallet
            .want_part(&asked, amount(100), Some(0), false)
            .await;
        assert_eq!(wanted.unwrap_err().code(), "agent_pays");
    }
    // The agent has paid two turns; what it says twice counts once.
    let hash = approved(&milkman, &row, ApprovalPlace::Agent).await;
    let mut conn = milkman.wallet.store().read().await.unwrap();
    let approval = approvals::approval(&mut conn, &hash)
        .await
        .unwrap()
        .unwrap();
    let asked = paying::asked(&mut conn, &hash).await.unwrap().unwrap();
    drop(conn);
    let paid = [0, 1].map(|turn| agents_turn(&hash, &milkman, turn));
    for _ in 0..2 {
        let noted = milkman.wallet.note_turns(&approval, &asked, &paid).await;
        noted.unwrap();
    }
    assert_eq!(milkman.turns(&hash).await, [0, 1]);
    // Taken back, the wallet goes on where the agent was.
    approved(&milkman, &row, ApprovalPlace::Here).await;
    let next = milkman.asks().await;
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].record().turn, Some(2));
    assert_eq!(next[0].record().id, turn_part(&hash, &milkman.key(), 2, 0));
}

#[tokio::test]
async fn a_turn_that_the_payee_says_is_paid_is_not_paid_again() {
    let (milkman, baker) = village().await;
    let row = daily(&milkman, &baker, 2).await;
    let hash = approved(&milkman, &row, ApprovalPlace::Here).await;
    let asked = milkman.asks().await.remove(0);
    let answer = PartAnswer {
        v: Version,
        part: asked.hash(),
        from: baker.key(),
        to: milkman.key(),
        said: PartSaid::Refused {
            reason: PartReason::Paid,
        },
        at: now(),
    };
    let answer = Signed::sign(answer, baker.root.keypair()).unwrap();
    milkman.wallet.take_answer(&answer, &[]).await.unwrap();
    assert_eq!(milkman.turns(&hash).await, [0]);
    let next = milkman.asks().await;
    assert_eq!(next[0].record().turn, Some(1));
    let views = milkman.wallet.approvals().await.unwrap();
    assert_eq!(views[0].place, ApprovalPlace::Here);
    assert_eq!(views[0].turns, [0, 1]);
    let name = row.record.record().id.to_string();
    let parts = milkman.wallet.request(&name).await.unwrap().parts;
    assert_eq!(parts.iter().filter(|part| part.stage == "paid").count(), 1);
}

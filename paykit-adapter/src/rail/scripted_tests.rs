#![allow(clippy::unwrap_used)]
use super::*;

const FAR: u64 = 4_000_000_000_000;

struct Case {
    rail: ScriptedRail,
    order: Order,
}

fn case(script: Script) -> Case {
    let method = MethodId::new("eur-cash-note").unwrap();
    let rail = ScriptedRail::new("fake", vec![method], Total::from_minor(3).unwrap());
    let id = rail.learn(Preimage::from_bytes([5; 32]));
    rail.state().account(id).script = script.clone();
    rail.state().account(id).knows = script.knows.into();
    let amount = Money::parse("5.00 EUR/2", &[]).unwrap();
    let deadline = Timestamp::saturating_from_millis(FAR);
    let order = Order {
        id,
        target: ScriptedRail::target(id, &amount, deadline),
        amount,
        max_fee: Total::from_minor(3).unwrap(),
        deadline,
    };
    Case { rail, order }
}

fn script(effect: Effect, says: Says, knows: &[Knows]) -> Script {
    Script {
        effect,
        says,
        knows: knows.to_vec(),
    }
}

#[tokio::test]
async fn it_pays_once_however_often_it_is_asked() {
    let Case { rail, order } = case(Script::works());
    for _ in 0..3 {
        let Outcome::Succeeded(receipt) = rail.pay(&order).await else {
            unreachable!("it works");
        };
        assert_eq!(
            receipt.proof.preimage(),
            Some(Preimage::from_bytes([5; 32]))
        );
        assert_eq!(receipt.fee.minor(), 3);
    }
    assert_eq!(rail.times_paid(order.id), 1);
    assert_eq!(rail.times_asked(order.id), 3);
}

#[tokio::test]
async fn what_is_said_and_what_is_true_are_two_things() {
    let knows = [Knows::Unreachable, Knows::InFlight];
    let Case { rail, order } = case(script(Effect::Pays, Says::Unknown, &knows));
    assert!(matches!(rail.pay(&order).await, Outcome::Unknown(_)));
    assert_eq!(rail.times_paid(order.id), 1, "the truth");
    assert!(rail.look_up(order.id).await.is_err());
    assert_eq!(rail.look_up(order.id).await.unwrap(), Standing::InFlight);
    let standing = rail.look_up(order.id).await.unwrap();
    assert!(matches!(standing, Standing::Succeeded(_)), "{standing:?}");
}

#[tokio::test]
async fn a_lost_request_is_as_if_it_had_not_been() {
    let Case { rail, order } = case(script(Effect::Lost, Says::Unknown, &[]));
    assert!(matches!(rail.pay(&order).await, Outcome::Unknown(_)));
    assert_eq!(rail.look_up(order.id).await.unwrap(), Standing::NeverSeen);
    assert!(matches!(rail.pay(&order).await, Outcome::Unknown(_)));
    assert_eq!(rail.times_paid(order.id), 1);
}

#[tokio::test]
async fn what_hangs_is_resolved_once() {
    let Case { rail, order } = case(script(Effect::Hangs, Says::Truth, &[]));
    let outcome = rail.pay(&order).await;
    assert!(matches!(outcome, Outcome::Unknown(RailError::UnderWay)));
    rail.resolve(order.id, Some(FailureReason::Canceled));
    rail.resolve(order.id, None);
    let Outcome::FailedForGood(failure) = rail.pay(&order).await else {
        unreachable!("it was resolved as failed");
    };
    assert_eq!(failure.reason, FailureReason::Canceled);
    assert_eq!(rail.times_paid(order.id), 0);
}

#[tokio::test]
async fn a_call_that_never_returns_has_paid_all_the_same() {
    let Case { rail, order } = case(script(Effect::Pays, Says::Nothing, &[]));
    assert!(rail.pay(&order).now_or_never().is_none());
    assert_eq!(rail.times_paid(order.id), 1);
}

#[tokio::test]
async fn a_rail_that_is_down_does_nothing() {
    let Case { rail, order } = case(Script::works());
    rail.set_down(true);
    assert!(matches!(rail.pay(&order).await, Outcome::Unknown(_)));
    assert!(rail.look_up(order.id).await.is_err());
    assert!(rail.health().await.is_err());
    assert_eq!(rail.times_asked(order.id), 0);
}

#[tokio::test]
async fn an_order_that_is_not_the_targets_is_refused() {
    let Case { rail, order } = case(Script::works());
    let quote = rail.check(&order.target).await.unwrap();
    assert_eq!(quote.id, Some(order.id));
    assert_eq!(quote.amount.as_ref(), Some(&order.amount));
    let other_amount = Order {
        amount: Money::parse("5.01 EUR/2", &[]).unwrap(),
        ..order.clone()
    };
    let other_id = Order {
        id: PaymentId::from_bytes([1; 32]),
        ..order.clone()
    };
    let dear = Order {
        max_fee: Total::from_minor(2).unwrap(),
        ..order.clone()
    };
    let late = Order {
        deadline: Timestamp::saturating_from_millis(1),
        ..order.clone()
    };
    for (order, reason) in [
        (other_amount, "target_unusable"),
        (other_id, "target_unusable"),
        (dear, "no_route"),
        (late, "too_late"),
    ] {
        let Outcome::FailedForGood(failure) = rail.pay(&order).await else {
            unreachable!("{reason}");
        };
        assert_eq!(failure.reason.code(), reason);
        assert_eq!(rail.times_paid(order.id), 0);
    }
}

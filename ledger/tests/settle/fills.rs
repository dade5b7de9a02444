//! Requests that many fill: what is paid and being paid never exceeds what is asked for.

use std::collections::BTreeMap;

use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{Every, Goal, Part, PartReason, PaymentRequest, Period, turn_part};
use atomicity_ledger::settle::{Fills, MAX_OPEN_PARTS_OF_GUESTS, MAX_OPEN_PARTS_OF_ONE, PartStage};
use atomicity_ledger::{RecordHash, RecordId, Serial};
use proptest::prelude::*;

use crate::common::{amount, at, bread, key};

const DAY: u64 = 86_400_000;

fn bill(goal: Goal) -> Fills {
    let request = PaymentRequest {
        v: Version,
        id: RecordId::from_entropy([9; 16]),
        payee: key(1).user_key(),
        payer: None,
        unit: bread(),
        amount: goal,
        targets: vec![],
        memo: None,
        every: None,
        expires: at(1_000),
        at: at(0),
    };
    Fills::new(RecordHash::of("a bill"), request)
}

fn target(minor: u64, min: Option<u64>) -> Fills {
    bill(Goal::Target {
        amount: amount(minor),
        min: min.map(amount),
    })
}

fn part(n: u8, payer: u8, minor: u64) -> Part {
    Part {
        v: Version,
        id: RecordId::from_entropy([n; 16]),
        request: RecordHash::of("a bill"),
        from: key(payer).user_key(),
        to: key(1).user_key(),
        amount: amount(minor),
        turn: None,
        reply: None,
        at: at(0),
    }
}

fn id(n: u8) -> RecordId {
    RecordId::from_entropy([n; 16])
}

fn figures(fills: &Fills) -> (u64, u64, u64) {
    (
        fills.filled().minor(),
        fills.reserved().minor(),
        fills.surplus().minor(),
    )
}

#[test]
fn two_last_payers_at_once_do_not_overfill_a_bill() {
    let mut fills = target(1_000, None);
    assert_eq!(fills.grant(&part(1, 2, 700), at(1)).unwrap().minor(), 700);
    fills.paid(id(1), amount(700)).unwrap();
    // Both see that 300 are left, and ask for it.
    assert_eq!(fills.grant(&part(2, 3, 300), at(1)).unwrap().minor(), 300);
    assert_eq!(fills.grant(&part(3, 4, 300), at(1)), Err(PartReason::Full));
    assert!(fills.is_open(at(1)));
    // The first never pays: what was kept for them is there for the other.
    assert!(fills.ended(id(2)).unwrap());
    assert!(!fills.ended(id(2)).unwrap());
    assert_eq!(fills.grant(&part(4, 4, 500), at(1)).unwrap().minor(), 300);
    assert!(fills.paid(id(4), amount(300)).unwrap());
    assert!(!fills.paid(id(4), amount(300)).unwrap());
    assert_eq!(figures(&fills), (1_000, 0, 0));
    assert!(!fills.is_open(at(1)));
    let state = fills.state(Serial::new(1).unwrap(), at(1));
    assert_eq!((state.filled.minor(), state.open), (1_000, false));
    // It comes outside after all: counted apart.
    assert!(fills.paid(id(2), amount(300)).unwrap());
    assert_eq!(figures(&fills), (1_000, 0, 300));
}

#[test]
fn what_is_noted_by_hand_counts_once_and_what_there_is_no_room_for_counts_apart() {
    let mut fills = target(1_000, None);
    assert_eq!(fills.grant(&part(1, 2, 600), at(1)).unwrap().minor(), 600);
    assert!(fills.came(id(7), amount(500)).unwrap());
    assert!(!fills.came(id(7), amount(500)).unwrap());
    // What is kept for a payer stays kept: 100 of the cash are too much for now, and for good.
    assert_eq!(figures(&fills), (400, 600, 100));
    assert_eq!(
        fills.grant(&part(7, 3, 100), at(1)),
        Err(PartReason::Closed)
    );
    assert_eq!(fills.grant(&part(2, 3, 100), at(1)), Err(PartReason::Full));
    fills.paid(id(1), amount(600)).unwrap();
    assert_eq!(figures(&fills), (1_000, 0, 100));
    // A part's name can't be counted a second time by hand, and by hand nothing is lost when all is full.
    assert!(!fills.came(id(1), amount(600)).unwrap());
    assert!(fills.came(id(8), amount(50)).unwrap());
    assert_eq!(figures(&fills), (1_000, 0, 150));
    let kept = serde_json::to_string(&fills).unwrap();
    assert_eq!(serde_json::from_str::<Fills>(&kept).unwrap(), fills);
}

#[test]
fn a_part_that_comes_again_is_granted_the_same_and_reserved_once() {
    let mut fills = target(1_000, None);
    for _ in 0..3 {
        assert_eq!(fills.grant(&part(1, 2, 400), at(1)).unwrap().minor(), 400);
    }
    assert_eq!(figures(&fills), (0, 400, 0));
    // Under the same id by somebody else it is none.
    assert_eq!(
        fills.grant(&part(1, 3, 400), at(1)),
        Err(PartReason::Closed)
    );
    fills.paid(id(1), amount(400)).unwrap();
    assert_eq!(fills.grant(&part(1, 2, 400), at(1)), Err(PartReason::Paid));
    // Of what became of it nobody else is told.
    assert_eq!(
        fills.grant(&part(1, 3, 400), at(1)),
        Err(PartReason::Closed)
    );
    fills.grant(&part(2, 2, 300), at(1)).unwrap();
    fills.ended(id(2)).unwrap();
    assert_eq!(fills.grant(&part(2, 2, 300), at(1)), Err(PartReason::Ended));
    assert_eq!(fills.part(id(1)).unwrap().0, PartStage::Paid);
}

#[test]
fn what_is_too_much_too_little_too_late_or_for_somebody_else_is_refused() {
    let mut fills = bill(Goal::Exact(amount(500)));
    assert_eq!(
        fills.grant(&part(1, 2, 499), at(1)),
        Err(PartReason::TooSmall)
    );
    assert_eq!(
        fills.grant(&part(1, 2, 501), at(1)),
        Err(PartReason::TooLarge)
    );
    assert_eq!(
        fills.grant(&part(1, 1, 500), at(1)),
        Err(PartReason::Closed)
    );
    assert_eq!(
        fills.grant(&part(1, 2, 500), at(1_000)),
        Err(PartReason::Expired)
    );
    let mut other = part(1, 2, 500);
    other.request = RecordHash::of("another bill");
    assert_eq!(fills.grant(&other, at(1)), Err(PartReason::Closed));
    assert_eq!(fills.grant(&part(1, 2, 500), at(1)).unwrap().minor(), 500);
    assert_eq!(fills.grant(&part(2, 3, 500), at(1)), Err(PartReason::Full));

    let mut fills = target(1_000, Some(300));
    assert_eq!(
        fills.grant(&part(1, 2, 299), at(1)),
        Err(PartReason::TooSmall)
    );
    assert_eq!(fills.grant(&part(1, 2, 800), at(1)).unwrap().minor(), 800);
    // The last one may bring less than the least.
    assert_eq!(fills.grant(&part(2, 3, 200), at(1)).unwrap().minor(), 200);

    let mut fills = bill(Goal::Open {
        min: Some(amount(10)),
        max: Some(amount(20)),
    });
    assert_eq!(
        fills.grant(&part(1, 2, 9), at(1)),
        Err(PartReason::TooSmall)
    );
    assert_eq!(
        fills.grant(&part(1, 2, 21), at(1)),
        Err(PartReason::TooLarge)
    );
    for n in 1..200 {
        assert_eq!(
            fills.grant(&part(n, n / 2 + 2, 20), at(1)).unwrap().minor(),
            20
        );
        fills.paid(id(n), amount(20)).unwrap();
    }
    assert_eq!(fills.left(), None);

    fills.cancel();
    assert_eq!(
        fills.grant(&part(201, 2, 20), at(1)),
        Err(PartReason::Closed)
    );
    assert!(!fills.is_open(at(1)));
}

#[test]
fn what_was_granted_may_be_paid_after_the_request_was_cancelled() {
    let mut fills = target(1_000, None);
    fills.grant(&part(1, 2, 400), at(1)).unwrap();
    fills.cancel();
    assert!(fills.paid(id(1), amount(400)).unwrap());
    assert_eq!(figures(&fills), (400, 0, 0));
    assert_eq!(
        fills.paid(id(7), amount(1)).unwrap_err().code(),
        "part_unknown"
    );
}

#[test]
fn one_payer_can_not_reserve_everything_in_crumbs() {
    let mut fills = target(1_000, None);
    for n in 0..MAX_OPEN_PARTS_OF_ONE as u8 {
        fills.grant(&part(n, 2, 1), at(1)).unwrap();
    }
    assert_eq!(fills.grant(&part(99, 2, 1), at(1)), Err(PartReason::Busy));
    assert_eq!(fills.grant(&part(99, 3, 1), at(1)).unwrap().minor(), 1);
}

#[test]
fn a_guests_part_is_kept_like_any_other_and_only_of_what_asks_everybody_once() {
    let mut fills = target(1_000, Some(300));
    let mut guest = |n, minor, now| fills.grant_guest(id(n), amount(minor), at(now));
    assert_eq!(guest(1, 299, 1), Err(PartReason::TooSmall));
    assert_eq!(guest(1, 700, 1_000), Err(PartReason::Expired));
    for _ in 0..3 {
        assert_eq!(guest(1, 700, 1).unwrap().minor(), 700);
    }
    // The last one gets what is left, and nobody more.
    assert_eq!(guest(2, 800, 1).unwrap().minor(), 300);
    assert_eq!(guest(3, 300, 1), Err(PartReason::Full));
    assert_eq!(figures(&fills), (0, 1_000, 0));
    assert_eq!(fills.grant(&part(3, 2, 300), at(1)), Err(PartReason::Full));
    // A payer with a key can't take over a guest's part, nor a guest theirs.
    assert_eq!(
        fills.grant(&part(1, 2, 700), at(1)),
        Err(PartReason::Closed)
    );
    assert!(fills.ended(id(2)).unwrap());
    fills.grant(&part(4, 2, 300), at(1)).unwrap();
    let taken = fills.grant_guest(id(4), amount(300), at(1));
    assert_eq!(taken, Err(PartReason::Closed));
    assert!(fills.paid(id(1), amount(700)).unwrap());
    assert!(!fills.paid(id(1), amount(700)).unwrap());
    assert!(fills.paid(id(4), amount(300)).unwrap());
    for (n, reason) in [(1, PartReason::Paid), (2, PartReason::Ended)] {
        let again = fills.grant_guest(id(n), amount(700), at(1));
        assert_eq!(again, Err(reason));
    }
    // An address is paid although its time is over.
    assert!(fills.paid(id(2), amount(300)).unwrap());
    assert_eq!(figures(&fills), (1_000, 0, 300));

    let mut cancelled = target(1_000, None);
    cancelled.cancel();
    let asked = target(1_000, None).asked().clone();
    let for_one = PaymentRequest {
        payer: Some(key(2).user_key()),
        ..asked.clone()
    };
    let weekly = PaymentRequest {
        amount: Goal::Exact(amount(500)),
        every: Some(Every {
            period: Period::Week,
            from: at(0),
            count: None,
        }),
        ..asked
    };
    let hash = RecordHash::of("a bill");
    for (mut fills, reason) in [
        (cancelled, PartReason::Closed),
        (Fills::new(hash, for_one), PartReason::Closed),
        (Fills::new(hash, weekly), PartReason::WrongTurn),
    ] {
        let refused = fills.grant_guest(id(1), amount(500), at(1));
        assert_eq!(refused, Err(reason));
        assert_eq!(figures(&fills), (0, 0, 0));
    }
}

#[test]
fn guests_together_can_not_reserve_everything_in_crumbs() {
    let mut fills = target(1_000, None);
    for n in 0..MAX_OPEN_PARTS_OF_GUESTS as u8 {
        fills.grant_guest(id(n), amount(1), at(1)).unwrap();
    }
    let more = fills.grant_guest(id(99), amount(1), at(1));
    assert_eq!(more, Err(PartReason::Busy));
    // Friends still can pay, and one guest less makes room for another.
    fills.grant(&part(98, 2, 1), at(1)).unwrap();
    fills.ended(id(0)).unwrap();
    fills.grant_guest(id(99), amount(1), at(1)).unwrap();
}

#[test]
fn each_turn_of_what_recurs_is_paid_once_by_each_payer() {
    let mut request = bill(Goal::Exact(amount(500))).asked().clone();
    request.every = Some(Every {
        period: Period::Week,
        from: at(0),
        count: Some(3),
    });
    request.expires = at(100 * DAY);
    let mut fills = Fills::new(RecordHash::of("a bill"), request);
    let turn = |n, payer, turn| Part {
        turn: Some(turn),
        ..part(n, payer, 500)
    };
    let now = at(8 * DAY);
    assert_eq!(
        fills.grant(&part(1, 2, 500), now),
        Err(PartReason::WrongTurn)
    );
    assert_eq!(fills.grant(&turn(1, 2, 2), now), Err(PartReason::WrongTurn));
    fills.grant(&turn(1, 2, 0), now).unwrap();
    assert_eq!(fills.grant(&turn(2, 2, 0), now), Err(PartReason::WrongTurn));
    fills.paid(id(1), amount(500)).unwrap();
    assert_eq!(fills.grant(&turn(3, 2, 0), now), Err(PartReason::Paid));
    fills.grant(&turn(4, 2, 1), now).unwrap();
    fills.grant(&turn(5, 3, 1), now).unwrap();
    let far = at(90 * DAY);
    assert_eq!(fills.grant(&turn(6, 2, 3), far), Err(PartReason::WrongTurn));
    fills.grant(&turn(6, 2, 2), far).unwrap();
}

#[test]
fn a_turn_that_two_ask_for_under_its_name_is_granted_once() {
    let mut request = bill(Goal::Exact(amount(500))).asked().clone();
    request.every = Some(Every {
        period: Period::Week,
        from: at(0),
        count: None,
    });
    let hash = RecordHash::of("a bill");
    let mut fills = Fills::new(hash, request);
    let payer = key(2).user_key();
    let ask = |attempt, signed| Part {
        id: turn_part(&hash, &payer, 0, attempt),
        turn: Some(0),
        at: at(signed),
        ..part(1, 2, 500)
    };
    // A wallet and an agent, who don't know of each other.
    assert_eq!(fills.grant(&ask(0, 1), at(1)).unwrap().minor(), 500);
    assert_eq!(fills.grant(&ask(0, 2), at(2)).unwrap().minor(), 500);
    assert_eq!(figures(&fills), (0, 500, 0));
    assert_eq!(
        fills.grant(&ask(1, 3), at(3)),
        Err(PartReason::WrongTurn),
        "it is being paid under another name"
    );
    fills.ended(ask(0, 1).id).unwrap();
    assert_eq!(fills.grant(&ask(0, 4), at(4)), Err(PartReason::Ended));
    assert_eq!(fills.grant(&ask(1, 5), at(5)).unwrap().minor(), 500);
    fills.paid(ask(1, 5).id, amount(500)).unwrap();
    for attempt in [1, 2] {
        assert_eq!(fills.grant(&ask(attempt, 6), at(6)), Err(PartReason::Paid));
    }
    assert_eq!(figures(&fills), (500, 0, 0));
}

#[derive(Clone, Debug)]
enum Act {
    Grant(u8, u8, u64),
    Guest(u8, u64),
    Paid(u8, u64),
    Ended(u8),
    Came(u8, u64),
    Cancel,
    Store,
}

fn an_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..24u8, 2..9u8, 1..700u64).prop_map(|(n, p, m)| Act::Grant(n, p, m)),
        2 => (0..24u8, 1..700u64).prop_map(|(n, m)| Act::Guest(n, m)),
        3 => (0..24u8, 1..700u64).prop_map(|(n, m)| Act::Paid(n, m)),
        2 => (0..24u8).prop_map(Act::Ended),
        1 => (0..30u8, 1..700u64).prop_map(|(n, m)| Act::Came(n, m)),
        1 => Just(Act::Store),
        1 => any::<bool>().prop_map(|rare| if rare { Act::Cancel } else { Act::Store }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_happens_a_bill_is_never_overfilled(acts in prop::collection::vec(an_act(), 1..80)) {
        let mut fills = target(1_000, Some(50));
        // What came in all, by the model: each part once.
        let mut came: BTreeMap<u8, u64> = BTreeMap::new();
        for act in acts {
            match act {
                Act::Grant(n, payer, minor) => {
                    let (left, known) = (fills.left().unwrap(), fills.part(id(n)).is_some());
                    if let Ok(granted) = fills.grant(&part(n, payer, minor), at(1)) {
                        let again = fills.part(id(n)).unwrap();
                        prop_assert_eq!(again, (PartStage::Reserved, granted));
                        prop_assert!(known || granted.minor() <= left.min(minor));
                    }
                }
                Act::Guest(n, minor) => {
                    let (left, known) = (fills.left().unwrap(), fills.part(id(n)).is_some());
                    if let Ok(granted) = fills.grant_guest(id(n), amount(minor), at(1)) {
                        prop_assert_eq!(fills.part(id(n)).unwrap(), (PartStage::Reserved, granted));
                        prop_assert!(known || granted.minor() <= left.min(minor));
                    }
                }
                Act::Paid(n, minor) => {
                    // In credit it is what was granted; outside somebody may send anything.
                    if fills.paid(id(n), amount(minor)) == Ok(true) {
                        prop_assert!(came.insert(n, minor).is_none());
                    }
                }
                Act::Came(n, minor) => {
                    if fills.came(id(n), amount(minor)).unwrap() {
                        prop_assert!(came.insert(n, minor).is_none());
                    }
                }
                Act::Ended(n) => drop(fills.ended(id(n))),
                Act::Cancel => fills.cancel(),
                Act::Store => {
                    let json = serde_json::to_string(&fills).unwrap();
                    prop_assert_eq!(&serde_json::from_str::<Fills>(&json).unwrap(), &fills);
                }
            }
            let (filled, reserved, surplus) = figures(&fills);
            prop_assert!(filled + reserved <= 1_000);
            prop_assert_eq!(filled + surplus, came.values().sum::<u64>());
        }
    }
}

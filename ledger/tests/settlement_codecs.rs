//! Whatever a record of a settlement or a request may hold comes back as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{
    ClaimRef, Endpoint, Endpoints, Every, Goal, Inbox, LIGHTNING_INVOICE, Part, PartAnswer,
    PartReason, PartSaid, PaymentRequest, Pays, Period, ReplyTo, RequestState, SettleReason,
    Settlement, SettlementAnswer, SettlementSaid, SettlementWithdrawal, Spend, SpendTo, Target,
    turn_part,
};
use atomicity_ledger::seal::{EncryptionSecret, KeyId};
use atomicity_ledger::{
    Amount, AnyRecord, Decimal, Epoch, Keypair, Record, RecordHash, RecordId, Seq, Serial, Signed,
    Timestamp, UserKey,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use support::{BAKER, BAKER_BOOK, MILKMAN, total, unit};

fn user(secret: &[u8; 32]) -> UserKey {
    Keypair::from_secret(secret).user_key()
}

fn an_amount() -> impl Strategy<Value = Amount> {
    (1..=i64::MAX as u64).prop_map(|minor| Amount::from_minor(minor).unwrap())
}

fn a_time() -> impl Strategy<Value = Timestamp> {
    (0..1u64 << 53).prop_map(|ms| Timestamp::from_millis(ms).unwrap())
}

fn a_hash() -> impl Strategy<Value = RecordHash> {
    any::<u64>().prop_map(|n| RecordHash::of(&n.to_string()))
}

fn an_id() -> impl Strategy<Value = RecordId> {
    any::<[u8; 16]>().prop_map(RecordId::from_entropy)
}

/// More than nothing.
fn a_decimal() -> impl Strategy<Value = Decimal> {
    (1..u64::MAX >> 1, 0..=18u8)
        .prop_map(|(minor, places)| Decimal::from_minor(minor, places).unwrap())
}

fn some_pays() -> impl Strategy<Value = Pays> {
    ("[A-Z][A-Z0-9]{0,16}", a_decimal()).prop_map(|(asset, amount)| Pays {
        asset: asset.parse().unwrap(),
        amount,
    })
}

fn some_targets() -> impl Strategy<Value = Vec<Target>> {
    let text = "[^\\p{C}\u{61c}\u{200e}\u{200f}\u{202a}-\u{202e}\u{2066}-\u{2069}]{1,60}";
    vec(("[a-z]{1,9}-[a-z]{1,9}-[a-z0-9]{1,9}", text), 0..=8).prop_map(|list| {
        let mut targets: Vec<Target> = Vec::new();
        for (method, value) in list {
            let target = Target {
                method: method.parse().unwrap(),
                value: value.parse().unwrap(),
            };
            if !targets.contains(&target) && !target.is_invoice() {
                targets.push(target);
            }
        }
        targets
    })
}

fn a_reason() -> impl Strategy<Value = SettleReason> {
    proptest::sample::select(SettleReason::ALL.to_vec())
}

fn some_endpoints() -> impl Strategy<Value = Endpoints> {
    let bounds = option::of((a_decimal(), a_decimal()));
    let list = (some_targets(), vec(bounds, 8));
    (list, any::<u32>(), option::of(a_time()), a_time()).prop_map(
        |((targets, bounds), serial, expires, at)| Endpoints {
            v: Version,
            from: user(&BAKER),
            to: user(&MILKMAN),
            serial: Serial::new(u64::from(serial)).unwrap(),
            endpoints: targets
                .into_iter()
                .zip(bounds)
                .map(|(target, bounds)| Endpoint {
                    method: target.method,
                    value: target.value,
                    min: bounds.map(|(a, b)| a.min(b)),
                    max: bounds.map(|(a, b)| a.max(b)),
                })
                .collect(),
            expires,
            at,
        },
    )
}

/// Where a Lightning invoice is paid, and what.
fn an_invoice() -> impl Strategy<Value = (Target, Pays)> {
    (1..1u64 << 60).prop_map(|msat| {
        let target = Target {
            method: LIGHTNING_INVOICE.parse().unwrap(),
            value: "lnbc1".parse().unwrap(),
        };
        let pays = Pays {
            asset: "BTC".parse().unwrap(),
            amount: Decimal::from_minor(msat, 11).unwrap(),
        };
        (target, pays)
    })
}

fn a_spend_outside() -> impl Strategy<Value = Spend> {
    let place = (some_targets(), option::of(some_pays()));
    let place = place.prop_filter_map("a place", |(targets, pays)| {
        Some((targets.into_iter().next()?, pays))
    });
    let lightning = an_invoice().prop_map(|(target, pays)| (target, Some(pays)));
    let way = prop_oneof![place, lightning];
    (an_id(), an_amount(), way, (a_time(), a_time())).prop_map(
        |(id, amount, (target, pays), (expires, at))| Spend {
            v: Version,
            id,
            owner: user(&BAKER),
            plugin: user(&MILKMAN),
            unit: unit("USD/2"),
            amount,
            to: SpendTo::Target(target),
            pays,
            max_fee: None,
            memo: None,
            expires,
            at,
        },
    )
}

fn a_settlement() -> impl Strategy<Value = Settlement> {
    let claim = (0..1u64 << 31, 1..1u64 << 53, a_hash()).prop_map(|(epoch, seq, hash)| ClaimRef {
        epoch: Epoch::new(epoch).unwrap(),
        seq: Seq::new(seq).unwrap(),
        hash,
    });
    let outside = (some_targets(), option::of(some_pays()), Just(None));
    let lightning = (an_invoice(), a_hash())
        .prop_map(|((target, pays), release)| (vec![target], Some(pays), Some(release)));
    let way = prop_oneof![outside, lightning];
    let rest = (option::of(claim), a_time(), a_time());
    (an_id(), an_amount(), way, rest).prop_map(
        |(id, amount, (targets, pays, release), (claim, expires, at))| Settlement {
            v: Version,
            id,
            holder: user(&BAKER),
            issuer: user(&MILKMAN),
            unit: unit("USD/2"),
            amount,
            targets,
            pays,
            release,
            claim,
            memo: None,
            expires,
            at,
        },
    )
}

fn an_answer() -> impl Strategy<Value = SettlementAnswer> {
    let said = prop_oneof![
        Just(SettlementSaid::Accepted),
        Just(SettlementSaid::Dispatched),
        (a_reason(), option::of(some_pays()))
            .prop_map(|(reason, offer)| SettlementSaid::Declined { reason, offer }),
        a_reason().prop_map(|reason| SettlementSaid::Failed { reason }),
        ("[a-z]{1,64}", "[ -~]{1,1024}").prop_filter_map("a name", |(method, proof)| {
            (method != "private").then(|| SettlementSaid::Paid {
                method: method.parse().unwrap(),
                proof: proof.parse().unwrap(),
            })
        }),
    ];
    (a_hash(), said, a_time()).prop_map(|(settlement, said, at)| SettlementAnswer {
        v: Version,
        settlement,
        from: user(&MILKMAN),
        to: user(&BAKER),
        said,
        at,
    })
}

fn a_request() -> impl Strategy<Value = PaymentRequest> {
    let pair = (option::of(an_amount()), option::of(an_amount()));
    let ordered = pair.prop_map(|(a, b)| match (a, b) {
        (Some(a), Some(b)) => (Some(a.min(b)), Some(a.max(b))),
        other => other,
    });
    let goal = prop_oneof![
        an_amount().prop_map(Goal::Exact),
        (an_amount(), an_amount()).prop_map(|(a, b)| Goal::Target {
            amount: a.max(b),
            min: Some(a.min(b)),
        }),
        ordered.prop_map(|(min, max)| Goal::Open { min, max }),
    ];
    let period = prop_oneof![Just(Period::Day), Just(Period::Week), Just(Period::Month)];
    let every = option::of((period, option::of(1..=10_000u32)));
    let rest = (any::<bool>(), 1..1u64 << 53, a_time());
    (an_id(), goal, some_targets(), every, rest).prop_map(
        |(id, amount, targets, every, (addressed, expires, at))| PaymentRequest {
            v: Version,
            id,
            payee: user(&BAKER),
            payer: addressed.then(|| user(&MILKMAN)),
            unit: unit("USD/2"),
            every: every
                .filter(|_| matches!(amount, Goal::Exact(_)))
                .map(|(period, count)| Every {
                    period,
                    from: Timestamp::from_millis(expires - 1).unwrap(),
                    count,
                }),
            amount,
            targets,
            memo: None,
            expires: Timestamp::from_millis(expires).unwrap(),
            at,
        },
    )
}

fn a_reply() -> impl Strategy<Value = ReplyTo> {
    let address = option::of("https://[a-z]{1,20}\\.example(:[1-9][0-9]{0,3})?");
    (any::<[u8; 32]>(), 1..=255u8, address).prop_map(|(secret, plugin, url)| ReplyTo {
        key: EncryptionSecret::new(KeyId::REPLY, secret).public(),
        inbox: Inbox {
            plugin: user(&[plugin; 32]),
            url: url.map(|url| url.parse().unwrap()),
        },
    })
}

fn a_part_answer() -> impl Strategy<Value = PartAnswer> {
    let granted = (an_amount(), a_time(), option::of(a_hash()), some_targets()).prop_map(
        |(amount, until, invoice, targets)| PartSaid::Granted {
            amount,
            until,
            target: targets.into_iter().next().filter(|_| invoice.is_none()),
            invoice,
        },
    );
    let refused = proptest::sample::select(vec![
        PartReason::Full,
        PartReason::Closed,
        PartReason::Paid,
        PartReason::Ended,
        PartReason::NotDirect,
        PartReason::Expired,
        PartReason::TooSmall,
        PartReason::TooLarge,
        PartReason::WrongTurn,
        PartReason::Busy,
    ]);
    let refused = refused.prop_map(|reason| PartSaid::Refused { reason });
    (a_hash(), prop_oneof![granted, refused], a_time()).prop_map(|(part, said, at)| PartAnswer {
        v: Version,
        part,
        from: user(&BAKER),
        to: user(&MILKMAN),
        said,
        at,
    })
}

/// It reads as it was written, by the reader of its type and by that of all types, and by no other.
fn comes_back<T: Record>(record: &T) {
    let key = Keypair::from_secret(&BAKER_BOOK);
    let signed = Signed::sign(record.clone(), &key).unwrap();
    assert_eq!(Signed::<T>::decode(signed.jws()).unwrap().record(), record);
    let any = AnyRecord::decode(signed.jws()).unwrap();
    assert_eq!((any.typ(), any.author()), (T::TYP, record.author()));
    if T::TYP == Part::TYP {
        assert!(Signed::<PartAnswer>::decode(signed.jws()).is_err());
    } else {
        assert!(Signed::<Part>::decode(signed.jws()).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_endpoints_come_back(record in some_endpoints()) {
        comes_back(&record);
    }

    #[test]
    fn any_spend_outside_comes_back(record in a_spend_outside()) {
        comes_back(&record);
        let pays = record.payment().unwrap();
        prop_assert!(record.pays.is_none_or(|own| own == pays));
    }

    #[test]
    fn any_settlement_comes_back(record in a_settlement()) {
        comes_back(&record);
        let pays = record.payment().unwrap();
        prop_assert!(record.pays.is_none_or(|own| own == pays));
    }

    #[test]
    fn any_answer_comes_back(record in an_answer()) {
        comes_back(&record);
    }

    #[test]
    fn any_withdrawal_comes_back(settlement in a_hash(), at in a_time()) {
        let (from, to) = (user(&BAKER), user(&MILKMAN));
        comes_back(&SettlementWithdrawal { v: Version, settlement, from, to, at });
    }

    #[test]
    fn any_request_comes_back_and_its_turns_ascend(record in a_request(), now in a_time()) {
        comes_back(&record);
        if let Some(turn) = record.turn_due(now) {
            let every = record.every.as_ref().unwrap();
            prop_assert!(every.turn_at(turn) <= now && every.turn_at(turn) < record.expires);
            prop_assert!(turn == 0 || every.turn_at(turn - 1) < every.turn_at(turn));
        }
    }

    #[test]
    fn any_state_of_a_request_comes_back(
        request in a_hash(),
        figures in (0..=i64::MAX as u64, 0..=i64::MAX as u64),
        open: bool,
        at in a_time(),
    ) {
        comes_back(&RequestState {
            v: Version,
            request,
            payee: user(&BAKER),
            filled: total(figures.0),
            reserved: total(figures.1),
            open,
            serial: Serial::new(figures.0 >> 10).unwrap(),
            at,
        });
    }

    #[test]
    fn any_part_and_its_answer_come_back(
        (id, request, amount) in (an_id(), a_hash(), an_amount()),
        turn in option::of(any::<u32>()),
        reply in option::of(a_reply()),
        at in a_time(),
        answer in a_part_answer(),
    ) {
        let (from, to) = (user(&MILKMAN), user(&BAKER));
        comes_back(&Part { v: Version, id, request, from, to, amount, turn, reply, at });
        comes_back(&answer);
    }

    #[test]
    fn the_name_of_a_turn_tells_request_payer_turn_and_attempt_apart(
        one in (a_hash(), 1..9u8, any::<u32>(), any::<u32>()),
        other in (a_hash(), 1..9u8, any::<u32>(), any::<u32>()),
    ) {
        let name = |(request, payer, turn, attempt): &(RecordHash, u8, u32, u32)| {
            turn_part(request, &user(&[*payer; 32]), *turn, *attempt)
        };
        prop_assert_eq!(name(&one) == name(&other), one == other);
        for attempt in [0, 1, u32::MAX] {
            let next = (one.0, one.1, one.2, attempt);
            prop_assert_eq!(name(&one) == name(&next), one.3 == attempt);
            let turned = (one.0, one.1, one.3, one.2);
            prop_assert_eq!(name(&one) == name(&turned), one.2 == one.3);
        }
    }

    #[test]
    fn any_text_is_no_number_or_one_with_one_spelling(text in "[0-9.]{0,45}") {
        if let Ok(number) = text.parse::<Decimal>() {
            prop_assert_eq!(number.to_string(), text);
        } else if let Ok(number) = Decimal::read(&text) {
            prop_assert_eq!(number.to_string().parse::<Decimal>().unwrap(), number);
        }
    }
}

#[test]
fn reasons_are_written_as_their_codes() {
    for reason in SettleReason::ALL {
        let json = serde_json::to_value(reason).unwrap();
        assert_eq!(json, serde_json::json!(reason.code()));
    }
}

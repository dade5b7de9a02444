//! Samples of what settles debts outside, and of requests that many fill.

use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{
    ClaimRef, Endpoint, Endpoints, Every, Goal, Inbox, LIGHTNING_INVOICE, Part, PartAnswer,
    PartReason, PartSaid, PaymentRequest, Pays, Period, ReplyTo, RequestState, SettleReason,
    Settlement, SettlementAnswer, SettlementSaid, SettlementWithdrawal, Target, turn_part,
};
use atomicity_ledger::seal::{EncryptionSecret, KeyId};
use atomicity_ledger::{RecordHash, RecordId, Serial, Total};

use super::{
    BAKER, BAKER_BOOK, DAY, MILKMAN_BOOK, Sample, amount, at, cast, epoch, sample, seq, total, unit,
};

pub fn settlement_samples() -> Vec<Sample> {
    let mut all = endpoints();
    all.extend(settlements());
    all.extend(answers());
    all.extend(requests());
    all.extend(parts());
    all
}

pub fn target(method: &str, value: &str) -> Target {
    Target {
        method: method.parse().unwrap(),
        value: value.parse().unwrap(),
    }
}

pub fn pays(asset: &str, amount: &str) -> Pays {
    Pays {
        asset: asset.parse().unwrap(),
        amount: amount.parse().unwrap(),
    }
}

fn endpoints() -> Vec<Sample> {
    let c = cast();
    let endpoint = |method: &str, value: &str, min: Option<&str>, max: Option<&str>| Endpoint {
        method: method.parse().unwrap(),
        value: value.parse().unwrap(),
        min: min.map(|min| min.parse().unwrap()),
        max: max.map(|max| max.parse().unwrap()),
    };
    let first = Endpoints {
        v: Version,
        from: c.baker.user_key(),
        to: c.milkman.user_key(),
        serial: Serial::new(1).unwrap(),
        endpoints: vec![
            endpoint(
                "btc-lightning-bolt12",
                "lno1baker",
                Some("0.00001"),
                Some("0.01"),
            ),
            endpoint("usd-cash-hand", "an der Theke 🥐", None, None),
            endpoint("EUR_bank.v2", "DE00 0000 0000", Some("10"), None),
        ],
        expires: Some(at(30 * DAY)),
        at: at(0),
    };
    let none = Endpoints {
        serial: Serial::new(2).unwrap(),
        endpoints: vec![],
        expires: None,
        ..first.clone()
    };
    vec![
        sample("endpoints for one counterparty", BAKER_BOOK, first),
        sample("endpoints that are taken back", BAKER, none),
    ]
}

fn settlements() -> Vec<Sample> {
    let c = cast();
    let coffee = Settlement {
        v: Version,
        id: RecordId::from_entropy([0x31; 16]),
        holder: c.baker.user_key(),
        issuer: c.milkman.user_key(),
        unit: unit("USD/2"),
        amount: amount(500),
        targets: vec![target(LIGHTNING_INVOICE, "lnbcrt50u1coffee")],
        pays: Some(pays("BTC", "0.00005")),
        release: Some(RecordHash::of("a direct release")),
        claim: Some(ClaimRef {
            epoch: epoch(0),
            seq: seq(7),
            hash: RecordHash::of("a state"),
        }),
        memo: Some("a coffee".parse().unwrap()),
        expires: at(3_600_000),
        at: at(1000),
    };
    let bank = Settlement {
        id: RecordId::from_entropy([0x32; 16]),
        targets: vec![
            target("usd-bank-iban", "DE00 0000 0000"),
            target("btc-onchain-p2tr", "bcrt1pbaker"),
        ],
        pays: Some(pays("USD", "5")),
        release: None,
        memo: None,
        ..coffee.clone()
    };
    let least = Settlement {
        id: RecordId::from_entropy([0x33; 16]),
        amount: amount(i64::MAX as u64),
        targets: vec![],
        pays: None,
        claim: None,
        ..bank.clone()
    };
    vec![
        sample("a request to pay a Lightning invoice", BAKER_BOOK, coffee),
        sample("a request to pay by bank or on chain", BAKER_BOOK, bank),
        sample("a request to pay at any endpoint", BAKER, least),
    ]
}

fn answers() -> Vec<Sample> {
    let c = cast();
    let said = |said| SettlementAnswer {
        v: Version,
        settlement: RecordHash::of("a settlement"),
        from: c.milkman.user_key(),
        to: c.baker.user_key(),
        said,
        at: at(2000),
    };
    let declined = SettlementSaid::Declined {
        reason: SettleReason::RateOff,
        offer: Some(pays("BTC", "0.000051")),
    };
    let plainly = SettlementSaid::Declined {
        reason: SettleReason::ClaimSmaller,
        offer: None,
    };
    let paid = SettlementSaid::Paid {
        method: "usd-bank-iban".parse().unwrap(),
        proof: "transfer 7731".parse().unwrap(),
    };
    let failed = SettlementSaid::Failed {
        reason: SettleReason::RailFailed,
    };
    let withdrawal = SettlementWithdrawal {
        v: Version,
        settlement: RecordHash::of("a settlement"),
        from: c.baker.user_key(),
        to: c.milkman.user_key(),
        at: at(1500),
    };
    vec![
        sample(
            "a request is declined, with an offer",
            MILKMAN_BOOK,
            said(declined),
        ),
        sample("a request is declined", MILKMAN_BOOK, said(plainly)),
        sample(
            "a request is accepted",
            MILKMAN_BOOK,
            said(SettlementSaid::Accepted),
        ),
        sample(
            "a request is on its way",
            MILKMAN_BOOK,
            said(SettlementSaid::Dispatched),
        ),
        sample("a request was paid", MILKMAN_BOOK, said(paid)),
        sample("a request has failed", MILKMAN_BOOK, said(failed)),
        sample("a request is taken back", BAKER_BOOK, withdrawal),
    ]
}

fn requests() -> Vec<Sample> {
    let c = cast();
    let exact = PaymentRequest {
        v: Version,
        id: RecordId::from_entropy([0x41; 16]),
        payee: c.baker.user_key(),
        payer: Some(c.milkman.user_key()),
        unit: unit("USD/2"),
        amount: Goal::Exact(amount(1200)),
        targets: vec![target("btc-lightning-bolt12", "lno1baker")],
        memo: Some("bread of January".parse().unwrap()),
        every: Some(Every {
            period: Period::Month,
            from: at(DAY),
            count: Some(12),
        }),
        expires: at(400 * DAY),
        at: at(0),
    };
    let bill = PaymentRequest {
        id: RecordId::from_entropy([0x42; 16]),
        payer: None,
        amount: Goal::Target {
            amount: amount(9_000),
            min: Some(amount(100)),
        },
        targets: vec![],
        memo: None,
        every: None,
        ..exact.clone()
    };
    let tips = PaymentRequest {
        amount: Goal::Open {
            min: None,
            max: None,
        },
        ..bill.clone()
    };
    let endless = PaymentRequest {
        every: Some(Every {
            period: Period::Day,
            from: at(0),
            count: None,
        }),
        ..exact.clone()
    };
    let state = RequestState {
        v: Version,
        request: RecordHash::of("a request"),
        payee: c.baker.user_key(),
        filled: total(700),
        reserved: Total::ZERO,
        open: true,
        serial: Serial::new(3).unwrap(),
        at: at(5000),
    };
    vec![
        sample("a request that recurs", BAKER_BOOK, exact),
        sample("a bill that many fill", BAKER, bill),
        sample("a request for whatever is given", BAKER_BOOK, tips),
        sample(
            "a request that recurs until it expires",
            BAKER_BOOK,
            endless,
        ),
        sample("how far a request has come", BAKER_BOOK, state),
    ]
}

fn parts() -> Vec<Sample> {
    let c = cast();
    let part = Part {
        v: Version,
        id: RecordId::from_entropy([0x51; 16]),
        request: RecordHash::of("a request"),
        from: c.milkman.user_key(),
        to: c.baker.user_key(),
        amount: amount(300),
        turn: None,
        reply: None,
        at: at(3000),
    };
    let turn = Part {
        turn: Some(11),
        ..part.clone()
    };
    let by_agent = Part {
        id: turn_part(&turn.request, &turn.from, 11, 1),
        reply: Some(ReplyTo {
            key: EncryptionSecret::new(KeyId::REPLY, [0x52; 32]).public(),
            inbox: Inbox {
                plugin: c.baker.user_key(),
                url: Some("https://plugin.example".parse().unwrap()),
            },
        }),
        ..turn.clone()
    };
    let answer = |said| PartAnswer {
        v: Version,
        part: RecordHash::of("a part"),
        from: c.baker.user_key(),
        to: c.milkman.user_key(),
        said,
        at: at(3100),
    };
    let granted = |invoice, target| PartSaid::Granted {
        amount: amount(250),
        until: at(DAY),
        invoice,
        target,
    };
    let invoice = granted(Some(RecordHash::of("an invoice")), None);
    let outside = granted(None, Some(target(LIGHTNING_INVOICE, "lnbcrt50u1bread")));
    let refused = PartSaid::Refused {
        reason: PartReason::Full,
    };
    vec![
        sample("a part of a request", MILKMAN_BOOK, part),
        sample("a turn of a request", MILKMAN_BOOK, turn),
        sample("a turn that an agent asks for", MILKMAN_BOOK, by_agent),
        sample("a part is granted by invoice", BAKER_BOOK, answer(invoice)),
        sample("a part is granted outside", BAKER_BOOK, answer(outside)),
        sample(
            "a part is granted to a friend",
            BAKER_BOOK,
            answer(granted(None, None)),
        ),
        sample("a part is refused", BAKER_BOOK, answer(refused)),
    ]
}

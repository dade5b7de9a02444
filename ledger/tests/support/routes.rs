//! Samples of what payments over several hops need: invoices, adverts, ratings, replies.

use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{
    Advert, AdvertUnit, Clears, Hint, Intake, Invoice, InvoiceLog, Offer, Rate, Rates, Rating,
    RatingKind, Reply, Verdict,
};
use atomicity_ledger::{Keypair, PolicyHash, Preimage, RecordHash, RecordId, Serial, Total};

use super::{
    BAKER, BAKER_BOOK, DAY, MILKMAN, MILKMAN_BOOK, Sample, address, amount, at, cast, sample,
    total, unit,
};

/// Somebody whom the baker knows besides the milkman.
pub const MILLER: [u8; 32] = [0x31; 32];

pub fn route_samples() -> Vec<Sample> {
    let mut all = invoices();
    all.extend(adverts());
    all.extend(rates());
    all.extend(others());
    all
}

fn log(n: u8) -> InvoiceLog {
    InvoiceLog {
        origin: address(&format!("log.example/{n}")),
        policy_hash: PolicyHash::from_bytes([n; 32]),
        url: None,
    }
}

fn invoices() -> Vec<Sample> {
    let c = cast();
    let hint = |peer: &Keypair, capacity, base, ppm| Hint {
        peer: peer.user_key(),
        capacity: amount(capacity),
        base: total(base),
        ppm,
    };
    let first = Invoice {
        v: Version,
        id: RecordId::from_entropy([8; 16]),
        payee: c.baker.user_key(),
        unit: unit("BREAD/2"),
        amount: Some(amount(500)),
        hash: Preimage::from_bytes([7; 32]).hash(),
        logs: vec![log(1)],
        logs_refused: vec![address("log.example/9")],
        hints: vec![hint(&c.milkman, 300, 1, 2500)],
        expires: at(DAY),
        memo: None,
        at: at(1000),
    };
    let mut hints = vec![
        hint(&c.milkman, 1, 0, 0),
        hint(
            &Keypair::from_secret(&MILLER),
            i64::MAX as u64,
            i64::MAX as u64,
            1_000_000,
        ),
    ];
    hints.sort_by_key(|hint| hint.peer);
    let with_url = InvoiceLog {
        url: Some(address("https://log.example/2")),
        ..log(2)
    };
    let open = Invoice {
        amount: None,
        logs: vec![log(1), with_url],
        logs_refused: vec![],
        hints,
        memo: Some("Zwölf Brötchen 🥐".parse().unwrap()),
        ..first.clone()
    };
    vec![
        sample("an invoice over an amount", BAKER_BOOK, first),
        sample("an invoice open in its amount", BAKER, open),
    ]
}

fn adverts() -> Vec<Sample> {
    let c = cast();
    let offer = Offer {
        capacity: amount(200),
        min: amount(1),
        base: Total::ZERO,
        ppm: 1500,
    };
    let both = AdvertUnit {
        unit: unit("BREAD/2"),
        send: Some(offer.clone()),
        receive: Some(Intake {
            capacity: amount(1000),
        }),
        clears: None,
    };
    let first = Advert {
        v: Version,
        from: c.milkman.user_key(),
        to: c.baker.user_key(),
        serial: Serial::new(1).unwrap(),
        units: vec![both.clone()],
        slots: None,
        max_deadline_s: 120,
        expires: at(DAY),
        at: at(0),
    };
    let largest = Offer {
        capacity: amount(5_000_000_000_000_000_000),
        min: amount(5_000_000_000_000_000_000),
        base: Total::MAX,
        ppm: 1_000_000,
    };
    let several = Advert {
        serial: Serial::new(2).unwrap(),
        units: vec![
            both.clone(),
            AdvertUnit {
                unit: unit("BTC/8"),
                send: Some(largest),
                receive: None,
                clears: None,
            },
            AdvertUnit {
                unit: unit("COFFEE"),
                send: None,
                receive: both.receive.clone(),
                clears: None,
            },
        ],
        slots: Some(128),
        max_deadline_s: u32::MAX,
        ..first.clone()
    };
    let clearing = Advert {
        serial: Serial::new(4).unwrap(),
        units: vec![
            AdvertUnit {
                clears: Some(Clears::Owed(amount(500))),
                ..both.clone()
            },
            AdvertUnit {
                unit: unit("COFFEE"),
                send: None,
                receive: None,
                clears: Some(Clears::Owes(amount(2))),
            },
        ],
        ..first.clone()
    };
    let withdrawn = Advert {
        serial: Serial::new(3).unwrap(),
        units: vec![],
        ..first.clone()
    };
    vec![
        sample("an advert of both ways", MILKMAN_BOOK, first),
        sample("an advert in several units", MILKMAN_BOOK, several),
        sample("an advert that is withdrawn", MILKMAN_BOOK, withdrawn),
        sample("an advert of debts to be cleared", MILKMAN_BOOK, clearing),
    ]
}

fn rates() -> Vec<Sample> {
    let c = cast();
    let rate = |take: &str, give: &str, num, den, max| Rate {
        take: unit(take),
        give: unit(give),
        num: amount(num),
        den: amount(den),
        max: amount(max),
    };
    let first = Rates {
        v: Version,
        from: c.milkman.user_key(),
        serial: Serial::new(1).unwrap(),
        rates: vec![
            rate("BREAD/2", "COFFEE", 250, 1, 20),
            rate("COFFEE", "BREAD/2", 1, 200, 5_000),
        ],
        expires: at(DAY),
        at: at(0),
    };
    let most = i64::MAX as u64;
    let extreme = Rates {
        serial: Serial::new(2).unwrap(),
        rates: vec![rate("A", "B/18", most, most, 5_000_000_000_000_000_000)],
        ..first.clone()
    };
    let withdrawn = Rates {
        serial: Serial::new(3).unwrap(),
        rates: vec![],
        ..first.clone()
    };
    vec![
        sample("rates both ways", MILKMAN_BOOK, first),
        sample("a rate of the largest figures", MILKMAN, extreme),
        sample("rates that are withdrawn", MILKMAN_BOOK, withdrawn),
    ]
}

fn others() -> Vec<Sample> {
    let c = cast();
    let rating = Rating {
        v: Version,
        from: c.baker.user_key(),
        subject: Keypair::from_secret(&MILLER).user_key(),
        kind: RatingKind::Router,
        verdict: Verdict::Good,
        serial: Serial::new(1).unwrap(),
        memo: None,
        at: at(0),
    };
    let block = Rating {
        kind: RatingKind::User,
        verdict: Verdict::Block,
        serial: Serial::new(2).unwrap(),
        memo: Some("never came to fetch the flour".parse().unwrap()),
        ..rating.clone()
    };
    let reply = Reply {
        v: Version,
        from: c.baker.user_key(),
        to: c.milkman.user_key(),
        iou: RecordHash::of("a promise"),
        body: "c2VhbGVkIGFuc3dlcg".parse().unwrap(),
        at: at(1200),
    };
    vec![
        sample("a rating of a router", BAKER_BOOK, rating),
        sample("a block of a user, with its reason", BAKER, block),
        sample("a reply", BAKER_BOOK, reply),
    ]
}

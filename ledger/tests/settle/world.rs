//! A holder and an issuer with real books, and what their rails and wallets know.

use atomicity_ledger::hop::Neighbour;
use atomicity_ledger::pair::{Event, Outcome};
use atomicity_ledger::record::{LIGHTNING_INVOICE, Pays, SettlementAnswer, Target};
use atomicity_ledger::settle::{
    Demand, Discharge, Draft, Facts, Holding, InvoiceFacts, Known, Next, Order, Quote, RailSaid,
    Standing, Step, Way,
};
use atomicity_ledger::{
    AnyRecord, LedgerError, PaymentHash, Preimage, RecordId, Signed, Timestamp,
};

use crate::common::{Party, amount, at, bread, friends};

/// When requests expire, after the beginning.
pub const EXPIRES: u64 = 100_000;

pub fn preimage() -> Preimage {
    Preimage::from_bytes([0x5a; 32])
}

pub fn invoice_target() -> Target {
    target(LIGHTNING_INVOICE, "lnbcrt50u1coffee")
}

pub fn target(method: &str, value: &str) -> Target {
    Target {
        method: method.parse().unwrap(),
        value: value.parse().unwrap(),
    }
}

pub fn way(rail: &str, target: Target) -> Way {
    Way {
        rail: rail.parse().unwrap(),
        target,
    }
}

pub fn sats(amount: &str) -> Pays {
    Pays {
        asset: "BTC".parse().unwrap(),
        amount: amount.parse().unwrap(),
    }
}

/// 5.00 for an invoice of 5000 satoshi.
pub fn coffee() -> Draft {
    Draft {
        id: RecordId::from_entropy([1; 16]),
        unit: bread(),
        amount: amount(500),
        targets: vec![invoice_target()],
        pays: Some(sats("0.00005")),
        hash: Some(preimage().hash()),
        memo: Some("a coffee".parse().unwrap()),
        expires: at(EXPIRES),
    }
}

/// 5.00 by bank, or in cash.
pub fn by_bank() -> Draft {
    Draft {
        targets: vec![
            target("bread-bank-iban", "DE00 1234"),
            target("bread-cash-hand", "at the market"),
        ],
        pays: None,
        hash: None,
        ..coffee()
    }
}

pub fn coffee_facts() -> Facts {
    Facts {
        unit_known: true,
        allowed: true,
        busy: false,
        ways: vec![way("lnd", invoice_target())],
        invoice: Some(invoice()),
        quote: Some(Quote {
            pays: sats("0.0000502"),
            spread_ppm: 10_000,
        }),
    }
}

pub fn invoice() -> InvoiceFacts {
    InvoiceFacts {
        hash: preimage().hash(),
        millisatoshi: Some(5_000_000),
        expires: at(2 * EXPIRES),
    }
}

pub fn bank_facts() -> Facts {
    let targets = by_bank().targets;
    Facts {
        ways: vec![
            way("bank", targets[0].clone()),
            way("cash", targets[1].clone()),
        ],
        invoice: None,
        quote: None,
        ..coffee_facts()
    }
}

/// A holder to whom the issuer owes so much. The issuer lets the holder owe nothing.
pub fn owing(minor: u64) -> (Party, Party) {
    let (mut holder, mut issuer) = friends(1_000_000, 0);
    if minor > 0 {
        let paid = issuer.issue(minor).unwrap();
        hand(&mut issuer, &mut holder, vec![paid.state.into()]);
    }
    (holder, issuer)
}

/// Hands records of the books over, and the replies, until nobody has anything to say; what it changed for the first receiver.
pub fn hand(from: &mut Party, to: &mut Party, records: Vec<AnyRecord>) -> Vec<Event> {
    let (mut forth, mut all) = (records, Vec::new());
    while !forth.is_empty() {
        let mut back = Vec::new();
        for record in forth.drain(..) {
            if let Outcome::Applied { replies, events } = to.receive(&record).unwrap() {
                back.extend(replies);
                all.extend(events);
            }
        }
        for record in back {
            if let Outcome::Applied { replies, .. } = from.receive(&record).unwrap() {
                forth.extend(replies);
            }
        }
    }
    all
}

pub fn neighbour(party: &mut Party) -> Neighbour<'_> {
    Neighbour {
        pair: &mut party.pair,
        pen: &party.device,
    }
}

pub fn claim(holder: &Party) -> i64 {
    holder.pair.net_claim(&bread()).minor()
}

/// What is undecided in either direction: nothing if nothing is reserved.
pub fn undecided(party: &Party) -> u64 {
    [party.pair.own(), party.pair.theirs()]
        .into_iter()
        .filter_map(|side| side.unit(&bread()))
        .map(|unit| unit.undecided())
        .sum()
}

/// Both sides of one request, over real books.
pub struct Case {
    pub holder: Party,
    pub issuer: Party,
    pub demand: Demand,
    pub discharge: Option<Discharge>,
    pub facts: Facts,
    /// What other requests reserve and took at the issuer.
    pub reserved: u64,
    pub hash_taken: bool,
    pub payments: u8,
    pub now: Timestamp,
}

impl Case {
    pub fn new(owed: u64, draft: Draft, facts: Facts) -> Self {
        let (mut holder, issuer) = owing(owed);
        let with = neighbour(&mut holder);
        let demand = Demand::open(draft, with, Holding::default(), at(1)).unwrap();
        Self {
            holder,
            issuer,
            demand,
            discharge: None,
            facts,
            reserved: 0,
            hash_taken: false,
            payments: 0,
            now: at(1),
        }
    }

    pub fn coffee() -> Self {
        Self::new(2_000, coffee(), coffee_facts())
    }

    pub fn by_bank() -> Self {
        Self::new(2_000, by_bank(), bank_facts())
    }

    /// The direct release and the request reach the issuer.
    pub fn send(&mut self) -> Next {
        self.send_release();
        let settlement = self.demand.settlement().clone();
        let (discharge, step) = Discharge::receive(settlement, Known::default(), self.now);
        self.discharge = Some(discharge);
        self.carry(step)
    }

    pub fn send_release(&mut self) {
        let books = self.demand.to_send().into_iter();
        let ious = books.filter(|r| matches!(r, AnyRecord::ConditionalIou(_)));
        let events = hand(&mut self.holder, &mut self.issuer, ious.collect());
        drop(events);
    }

    pub fn discharge(&mut self) -> &mut Discharge {
        self.discharge.as_mut().unwrap()
    }

    /// Carries a step out and hands over what it sends; what is next.
    pub fn carry(&mut self, step: Step) -> Next {
        // As if it had been stored and read again.
        let discharge = self.discharge.as_ref().unwrap();
        let stored = serde_json::to_string(discharge).unwrap();
        let discharge: Discharge = serde_json::from_str(&stored).unwrap();
        let with = neighbour(&mut self.issuer);
        let records = discharge.carry_out(&step.entries, with, self.now).unwrap();
        self.discharge = Some(discharge);
        self.hand_to_holder(records);
        step.next
    }

    pub fn hand_to_holder(&mut self, records: Vec<AnyRecord>) {
        for record in records {
            if let AnyRecord::SettlementAnswer(answer) = &record {
                self.answer(answer);
                continue;
            }
            let events = hand(&mut self.issuer, &mut self.holder, vec![record]);
            for event in events {
                self.demand.follow(&event);
            }
        }
        let stored = serde_json::to_string(&self.demand).unwrap();
        self.demand = serde_json::from_str(&stored).unwrap();
    }

    fn answer(&mut self, answer: &Signed<SettlementAnswer>) {
        let record = answer.record();
        assert_eq!(record.settlement, self.demand.settlement().hash());
        assert_eq!(
            (record.from, record.to),
            (self.issuer.user(), self.holder.user())
        );
        self.demand.heard(&record.said);
    }

    pub fn standing(&self) -> Standing {
        let discharge = self.discharge.as_ref().unwrap();
        let hash: Option<PaymentHash> = discharge.plan().and_then(|plan| plan.hash);
        let asked = discharge.settlement().record();
        Standing::read(
            &self.issuer.pair,
            asked,
            hash,
            self.reserved,
            self.hash_taken,
        )
    }

    /// Goes on until a rail is to be told something, or nothing is to be done.
    pub fn go(&mut self, mut next: Next) -> Next {
        loop {
            let (now, facts) = (self.now, self.facts.clone());
            let step = match next {
                Next::Judge => self.discharge().judge(&facts, now),
                Next::Reserve => {
                    let standing = self.standing();
                    self.discharge().reserve(&standing, now)
                }
                Next::Dispatch => {
                    let standing = self.standing();
                    self.discharge().dispatch(&standing, now)
                }
                other => return other,
            };
            next = self.carry(step);
        }
    }

    /// From the request to the order for the rail.
    pub fn order(&mut self) -> Order {
        let next = self.send();
        match self.go(next) {
            Next::Pay(order) => order,
            other => panic!("no order but {other:?}"),
        }
    }

    pub fn rail(&mut self, attempt: u32, said: RailSaid) -> Next {
        let now = self.now;
        let step = self.discharge().rail_said(attempt, said, now);
        let next = self.carry(step);
        self.go(next)
    }

    /// The holder confirms; the issuer takes the books.
    pub fn confirm(&mut self, by_hand: bool) -> Result<usize, LedgerError> {
        self.payments += 1;
        let id = RecordId::from_entropy([self.payments; 16]);
        let with = Neighbour {
            pair: &mut self.holder.pair,
            pen: &self.holder.device,
        };
        let records = self.demand.book(by_hand, id, with, self.now)?;
        let count = records.len();
        for event in hand(&mut self.holder, &mut self.issuer, records) {
            if let Event::Payment(payment) = event
                && self.discharge().is_paid_by(&payment)
            {
                let step = self.discharge().booked();
                self.carry(step);
            }
        }
        Ok(count)
    }

    /// What the holder claims, and what is reserved in both stores.
    pub fn books(&self) -> (i64, u64, u64) {
        assert_eq!(claim(&self.holder), -claim(&self.issuer));
        (
            claim(&self.holder),
            undecided(&self.holder),
            undecided(&self.issuer),
        )
    }
}

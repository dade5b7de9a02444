//! Two users with devices, for the tests of the pair.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod hostile;
pub mod log;
pub mod world;

use atomicity_ledger::jws::Version;
use atomicity_ledger::pair::{Event, Issued, LineTerms, NewBook, Outcome, Pair, PaymentNote};
use atomicity_ledger::record::{Book, Delegation, DelegationLimit, Revocation, Scope, State};
use atomicity_ledger::{
    Amount, AnyRecord, Epoch, Keypair, LedgerError, RecordId, Serial, Signed, Timestamp, Total,
    Unit, UserKey,
};

pub const NOW: u64 = 1_800_000_000_000;

pub fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(NOW + ms).unwrap()
}

pub fn key(n: u8) -> Keypair {
    Keypair::from_secret(&[n; 32])
}

pub fn coffee() -> Unit {
    "COFFEE".parse().unwrap()
}

pub fn bread() -> Unit {
    "BREAD/2".parse().unwrap()
}

pub fn amount(minor: u64) -> Amount {
    Amount::from_minor(minor).unwrap()
}

pub fn total(minor: u64) -> Total {
    Total::from_minor(minor).unwrap()
}

pub fn delegation(root: &Keypair, device: &Keypair, cap: u64, serial: u64) -> Signed<Delegation> {
    delegation_in(&[bread()], root, device, cap, serial)
}

pub fn delegation_in(
    units: &[Unit],
    root: &Keypair,
    device: &Keypair,
    cap: u64,
    serial: u64,
) -> Signed<Delegation> {
    let limit = |unit: &Unit| DelegationLimit {
        unit: unit.clone(),
        per_peer: total(cap),
        per_day: None,
    };
    Signed::sign(
        Delegation {
            v: Version,
            root: root.user_key(),
            key: device.signer_key(),
            scopes: vec![Scope::Book],
            peers: None,
            limits: units.iter().map(limit).collect(),
            not_before: at(0),
            not_after: at(1_000_000_000),
            serial: Serial::new(serial).unwrap(),
        },
        root,
    )
    .unwrap()
}

pub fn revocation(root: &Keypair, device: &Keypair) -> Signed<Revocation> {
    Signed::sign(
        Revocation {
            v: Version,
            root: root.user_key(),
            key: device.signer_key(),
            grant: None,
            at: at(0),
        },
        root,
    )
    .unwrap()
}

/// One user with one device, towards one peer.
pub struct Party {
    pub root: Keypair,
    pub device: Keypair,
    pub delegation: Signed<Delegation>,
    pub pair: Pair,
    pub ids: u8,
}

impl Party {
    pub fn new(n: u8, peer: u8, cap: u64) -> Self {
        Self::new_in(&[bread()], n, peer, cap)
    }

    pub fn new_in(units: &[Unit], n: u8, peer: u8, cap: u64) -> Self {
        let (root, device) = (key(n), key(100 + n));
        let delegation = delegation_in(units, &root, &device, cap, 1);
        let mut pair = Pair::new(root.user_key(), key(peer).user_key()).unwrap();
        pair.learn_own_authority(delegation.jws(), at(0)).unwrap();
        Self {
            root,
            device,
            delegation,
            pair,
            ids: 0,
        }
    }

    pub fn user(&self) -> UserKey {
        self.root.user_key()
    }

    pub fn open_book(&mut self, cap: u64) -> Signed<Book> {
        self.open_book_in(&[bread()], cap)
    }

    pub fn open_book_in(&mut self, units: &[Unit], cap: u64) -> Signed<Book> {
        let new = NewBook {
            key: self.device.signer_key(),
            caps: units
                .iter()
                .map(|unit| (unit.clone(), total(cap)))
                .collect(),
            continues: true,
            at_least: Epoch::ZERO,
        };
        let device = self.device.clone();
        self.pair.open_book(new, &device, at(0)).unwrap()
    }

    pub fn line(&mut self, accept: u64) -> AnyRecord {
        let terms = LineTerms::simple(bread(), total(accept)).unwrap();
        let device = self.device.clone();
        self.pair.set_line(terms, &device, at(0)).unwrap().into()
    }

    pub fn issue(&mut self, minor: u64) -> Result<Issued, LedgerError> {
        self.ids += 1;
        let note = PaymentNote {
            id: RecordId::from_entropy([self.ids; 16]),
            reference: None,
            memo: Some("bread".parse().unwrap()),
        };
        let device = self.device.clone();
        self.pair
            .issue(&bread(), amount(minor), None, note, &device, at(1))
    }

    pub fn receive(&mut self, record: &AnyRecord) -> Result<Outcome, LedgerError> {
        let device = self.device.clone();
        self.pair.receive(record, at(1), Some(&device))
    }

    /// Receives, and asserts that it was taken.
    pub fn take(&mut self, record: &AnyRecord) -> (Vec<Event>, Vec<AnyRecord>) {
        match self.receive(record).unwrap() {
            Outcome::Applied { events, replies } => (events, replies),
            other => panic!("{} was not applied: {other:?}", record.typ()),
        }
    }

    pub fn balance(&self) -> i64 {
        self.pair.balance(&bread()).minor()
    }
}

/// Knows each other's delegation, and that it is not revoked.
pub fn introduce(a: &mut Party, b: &mut Party) {
    a.pair.learn_authority(b.delegation.jws(), at(0)).unwrap();
    a.pair.authority_checked(b.device.signer_key(), at(0));
    b.pair.learn_authority(a.delegation.jws(), at(0)).unwrap();
    b.pair.authority_checked(a.device.signer_key(), at(0));
}

/// Two friends: the books are open, `a` may owe `b_accepts`, `b` may owe `a_accepts`.
pub fn friends(a_accepts: u64, b_accepts: u64) -> (Party, Party) {
    friends_within(1_000_000, a_accepts, b_accepts)
}

/// The same, with another cap on what either device may let its user owe.
pub fn friends_within(cap: u64, a_accepts: u64, b_accepts: u64) -> (Party, Party) {
    let (mut a, mut b) = (Party::new(1, 2, cap), Party::new(2, 1, cap));
    introduce(&mut a, &mut b);
    let book_a = AnyRecord::from(a.open_book(cap));
    let book_b = AnyRecord::from(b.open_book(cap));
    let (_, acks_a) = b.take(&book_a);
    let (_, acks_b) = a.take(&book_b);
    for ack in &acks_a {
        a.take(ack);
    }
    for ack in &acks_b {
        b.take(ack);
    }
    let line_a = a.line(a_accepts);
    let line_b = b.line(b_accepts);
    b.take(&line_a);
    a.take(&line_b);
    (a, b)
}

/// A state signed by whatever key, to try what is refused.
pub fn state(from: &Party, signer: &Keypair, seq: u64, issued: u64) -> AnyRecord {
    let record = State {
        v: Version,
        from: from.user(),
        to: from.pair.peer(),
        unit: bread(),
        epoch: from.pair.own().epoch().unwrap_or_default(),
        seq: atomicity_ledger::Seq::new(seq).unwrap(),
        issued: total(issued),
        merged: Total::ZERO,
        returned: Total::ZERO,
        next: from.pair.own().epoch().unwrap_or_default().first_iou(),
        open: vec![],
        at: at(0),
    };
    Signed::sign(record, signer).unwrap().into()
}

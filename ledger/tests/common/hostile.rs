//! What thieves, liars and unlucky networks need: records put together by hand, recoveries, whole files read.

use std::collections::BTreeMap;

use atomicity_ledger::authority::{GRANT_TYP, GrantClaims, book_path};
use atomicity_ledger::evidence::{self, Report};
use atomicity_ledger::jws::{Record, Version};
use atomicity_ledger::pair::{NewBook, Pair, Recovered};
use atomicity_ledger::record::{
    Ack, AckItem, Book, BookAck, Carried, CreditLine, State, UnitBase, UnitCap,
};
use atomicity_ledger::{
    AnyRecord, Epoch, IouNumber, Keypair, LedgerError, RecordHash, Seq, Signed, Total,
};
use base64::Engine as _;

use super::{NOW, Party, at, bread, delegation, total};

pub fn epoch(n: u64) -> Epoch {
    Epoch::new(n).unwrap()
}

pub fn seq(n: u64) -> Seq {
    Seq::new(n).unwrap()
}

pub fn sign<T: Record>(record: T, key: &Keypair) -> AnyRecord
where
    AnyRecord: From<Signed<T>>,
{
    Signed::sign(record, key).unwrap().into()
}

/// Every record of a list; grants are none.
pub fn decoded(list: &[String]) -> Vec<AnyRecord> {
    list.iter()
        .filter_map(|jws| AnyRecord::decode(jws).ok())
        .collect()
}

pub fn going_on(key: &Keypair, cap: u64) -> NewBook {
    NewBook {
        key: key.signer_key(),
        caps: BTreeMap::from([(bread(), total(cap))]),
        continues: true,
        at_least: Epoch::ZERO,
    }
}

/// Opens a book by the device itself, for the same device.
pub fn rebook(party: &mut Party) -> Signed<Book> {
    let device = party.device.clone();
    let new = going_on(&device, 1_000_000);
    party.pair.open_book(new, &device, at(1)).unwrap()
}

/// The party goes on with another key, which its device's key names; the peer is told of nothing.
pub fn hand_over(party: &mut Party, new: &Keypair, serial: u64) -> Signed<Book> {
    let old = party.device.clone();
    let word = delegation(&party.root, new, 1_000_000, serial);
    party.pair.learn_own_authority(word.jws(), at(1)).unwrap();
    let terms = going_on(new, 1_000_000);
    let book = party.pair.open_book(terms, &old, at(1)).unwrap();
    party.device = new.clone();
    book
}

pub fn state_of(from: &Party, in_epoch: u64, number: u64, issued: u64) -> State {
    State {
        v: Version,
        from: from.user(),
        to: from.pair.peer(),
        unit: bread(),
        epoch: epoch(in_epoch),
        seq: seq(number),
        issued: total(issued),
        merged: Total::ZERO,
        returned: Total::ZERO,
        next: epoch(in_epoch).first_iou(),
        open: vec![],
        at: at(0),
    }
}

pub fn book_of(
    from: &Party,
    opens: u64,
    key: &Keypair,
    cap: impl Into<Option<u64>>,
    after: Option<u64>,
) -> Book {
    let after = after.map(|issued| Carried {
        unit: bread(),
        epoch: epoch(opens - 1),
        seq: seq(1),
        issued: total(issued),
        merged: Total::ZERO,
        returned: Total::ZERO,
        next: IouNumber::default(),
        open: vec![],
    });
    Book {
        v: Version,
        from: from.user(),
        to: from.pair.peer(),
        epoch: epoch(opens),
        key: key.signer_key(),
        after: after.into_iter().collect(),
        cap: vec![UnitCap {
            unit: bread(),
            debt: cap.into().map_or(Total::MAX, total),
        }],
        at: at(0),
    }
}

/// The line that the party has set last.
pub fn line_of(party: &Party) -> CreditLine {
    let unit = party.pair.own().unit(&bread()).unwrap();
    unit.line().unwrap().record().clone()
}

/// An ack of `book` that says the epoch starts from `issued`, of which `merged` was merged, because of `held`.
pub fn ack_of_book(
    from: &Party,
    book: RecordHash,
    held: Vec<RecordHash>,
    base: (u64, u64, IouNumber),
) -> Ack {
    let (issued, merged, next) = base;
    Ack {
        v: Version,
        from: from.user(),
        to: from.pair.peer(),
        items: vec![AckItem::Book(BookAck {
            hash: book,
            held,
            base: vec![UnitBase {
                unit: bread(),
                issued: total(issued),
                merged: total(merged),
                returned: Total::ZERO,
                next,
            }],
        })],
        at: at(0),
    }
}

/// What lies in the party's own channel file: its own records, and the peer's that it holds.
pub fn file_halves(party: &Party) -> (Vec<AnyRecord>, Vec<AnyRecord>) {
    let file = party.pair.file_records();
    (decoded(&file.own), decoded(&file.held))
}

/// A fresh store begins anew with `new` from what was found; `words` are authorities beyond the party's own.
pub fn recover_knowing(
    party: &Party,
    (mine, held): (Vec<AnyRecord>, Vec<AnyRecord>),
    words: &[String],
    new: &Keypair,
    serial: u64,
    cap: u64,
) -> Result<Recovered, LedgerError> {
    let fresh = delegation(&party.root, new, cap, serial);
    let mut authority = vec![party.delegation.jws().to_owned(), fresh.jws().to_owned()];
    authority.extend_from_slice(words);
    Pair::recover(
        party.user(),
        party.pair.peer(),
        &mine,
        &held,
        &authority,
        BTreeMap::from([(bread(), total(cap))]),
        &party.root,
        new,
        at(2),
    )
}

pub fn recover_with(
    party: &Party,
    found: (Vec<AnyRecord>, Vec<AnyRecord>),
    new: &Keypair,
    serial: u64,
    cap: u64,
) -> Result<Recovered, LedgerError> {
    recover_knowing(party, found, &[], new, serial, cap)
}

/// The party goes on with what was recovered, having looked for a revocation of the peer's key.
pub fn go_on(party: &mut Party, recovered: &Recovered, new: &Keypair, peer: &Keypair) {
    party.pair = recovered.pair.clone();
    party.device = new.clone();
    party.pair.authority_checked(peer.signer_key(), at(1));
}

/// `reader` learns the delegation of a key of `of`, and that it is not revoked.
pub fn know(reader: &mut Party, of: &Party, new: &Keypair, serial: u64, cap: u64) {
    let word = delegation(&of.root, new, cap, serial);
    reader.pair.learn_authority(word.jws(), at(1)).unwrap();
    reader.pair.authority_checked(new.signer_key(), at(1));
}

/// Each reads the other's whole channel file, and what it shows of the own records first.
pub fn sync(a: &mut Party, b: &mut Party) {
    let (file_a, file_b) = (a.pair.file_records(), b.pair.file_records());
    for (reader, file) in [(a, file_b), (b, file_a)] {
        for record in decoded(&file.held) {
            let _ = reader.pair.show_own(&record, at(2));
        }
        for record in decoded(&file.own) {
            let _ = reader.receive(&record);
        }
    }
}

pub fn sync_often(a: &mut Party, b: &mut Party) {
    for _ in 0..6 {
        sync(a, b);
    }
}

/// A grant as an authenticator signs it: no `kid`, the issuer stands in the payload.
pub fn grant(root: &Keypair, claims: &GrantClaims) -> String {
    let header = format!("{{\"alg\":\"EdDSA\",\"typ\":\"{GRANT_TYP}\"}}");
    signed_text(root, &header, &serde_json::to_string(claims).unwrap())
}

/// A JWS over any header and payload.
pub fn signed_text(key: &Keypair, header: &str, payload: &str) -> String {
    use ed25519_dalek::{Signer as _, SigningKey};
    let b64 = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let input = format!("{}.{}", b64.encode(header), b64.encode(payload));
    let signature = SigningKey::from_bytes(&key.secret()).sign(input.as_bytes());
    format!("{input}.{}", b64.encode(signature.to_bytes()))
}

/// What `root` grants to `key`: one capability, from ten seconds ago for so many seconds.
pub fn claims(root: &Keypair, key: &Keypair, cap: String, seconds: u64) -> GrantClaims {
    GrantClaims {
        iss: root.user_key(),
        client_id: "x".into(),
        caps: vec![cap],
        cnf: key.signer_key(),
        jti: "AAAAAAAAAAAAAAAAAAAAAA".into(),
        iat: NOW / 1000 - 10,
        exp: NOW / 1000 + seconds,
    }
}

/// A grant that lets `key` keep books.
pub fn book_grant(root: &Keypair, key: &Keypair) -> String {
    let cap = format!("{}:w", book_path(&key.signer_key()));
    grant(root, &claims(root, key, cap, 10_000))
}

/// What the party's bundle says.
pub fn report_of(party: &Party, records: &[String]) -> Result<Report, LedgerError> {
    let (user, peer) = (party.user(), party.pair.peer());
    let text = evidence::export(user, peer, records, None, &party.device, at(5))?;
    evidence::verify(text.as_bytes(), None)
}

/// How much is owed by what the party can show.
pub fn proven(party: &Party) -> u64 {
    owed(&report_of(party, &party.pair.evidence_records()).unwrap())
}

pub fn owed(report: &Report) -> u64 {
    report.net.iter().map(|net| net.amount.minor()).sum()
}

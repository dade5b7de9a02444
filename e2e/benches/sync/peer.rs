//! Counterparties of the wallet that is measured. Each is a user with an account, a key, a profile and books of their own, kept with
//! the ledger alone: a thousand wallets would measure a thousand SQLite files.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use atomicity_client::keys;
use atomicity_client::net::session::{HomeSession, sign_up};
use atomicity_client::net::{Net, ServiceKey, Target};
use atomicity_ledger::authority::{PROFILE_PATH, delegation_path};
use atomicity_ledger::channel_file::ChannelFile;
use atomicity_ledger::jws::Version;
use atomicity_ledger::pair::{LineTerms, NewBook, Pair, PaymentNote};
use atomicity_ledger::record::{Delegation, DelegationLimit, EncryptionKeyEntry, Profile, Scope};
use atomicity_ledger::seal::{
    Agreement, EncryptionSecret, KeyId, MAX_CHANNEL_FILE_BYTES, channel_path, open_channel_file,
    seal_channel_file,
};
use atomicity_ledger::{
    Amount, AnyRecord, Epoch, Keypair, RecordId, Serial, Signed, Timestamp, Total, Unit, UserKey,
};

/// What the delegation of a counterparty's device, and its credit line, allow.
const MOST: u64 = 1_000_000;

/// A counterparty at a homeserver.
pub struct Peer {
    root: Keypair,
    device: Keypair,
    secret: EncryptionSecret,
    session: HomeSession,
    delegation: String,
    unit: Unit,
}

/// A channel file that lies on a homeserver.
#[derive(Clone)]
pub struct File {
    /// Whose it is.
    pub user: UserKey,
    /// Its homeserver.
    pub home: ServiceKey,
    /// Its path.
    pub path: String,
    /// How many bytes it holds.
    pub bytes: usize,
    /// How many of them are not padding.
    pub content: usize,
}

impl Peer {
    /// Takes an account at `home`, and publishes profile and delegation.
    pub async fn join(net: &Net, home: &ServiceKey, unit: &Unit) -> Result<Self> {
        let root = Keypair::from_secret(&keys::random_root());
        let device = Keypair::from_secret(&keys::random_root());
        let secret = EncryptionSecret::new(KeyId::new(1), rand::random());
        sign_up(net, &root, home, None).await?;
        let session = HomeSession::sign_in(net, &root, home).await?;
        let now = now()?;
        let delegation = Signed::sign(delegation(&root, &device, unit, now)?, &root)?;
        let profile = Signed::sign(profile(&root, &secret, unit, now)?, &root)?;
        let path = delegation_path(&device.signer_key());
        session
            .put(&path, delegation.jws().as_bytes().to_vec())
            .await?;
        session
            .put(PROFILE_PATH, profile.jws().as_bytes().to_vec())
            .await?;
        Ok(Self {
            root,
            device,
            secret,
            session,
            delegation: delegation.jws().to_owned(),
            unit: unit.clone(),
        })
    }

    /// Their key.
    pub fn user(&self) -> UserKey {
        self.root.user_key()
    }

    /// Reads what `other` wrote about them, opens a book and a credit line in return, issues two payments, and publishes all that.
    pub async fn answer(&self, net: &Net, other: &Profile) -> Result<File> {
        let me = self.user();
        let key = other.current_key().context("no encryption key")?;
        let incoming = Agreement::incoming(&me, &self.secret, &other.user, &key.key, key.n)?;
        let target =
            Target::new(other.user, channel_path(incoming.blind())).at_most(MAX_CHANNEL_FILE_BYTES);
        let sealed = net.fetch(&target).await?.body.bytes().context("no bytes")?;
        let theirs = ChannelFile::decode(&open_channel_file(&incoming, &sealed)?)?;
        let pair = self.keep_books(&theirs, other.user)?;

        let records = pair.file_records();
        let all = records.own.iter().chain(&records.held);
        let content = ChannelFile::collect(me, other.user, all)?.encode()?;
        let outgoing = Agreement::outgoing(&me, &self.secret, &other.user, &key.key, key.n)?;
        let sealed = seal_channel_file(&outgoing, rand::random(), &content)?;
        let path = channel_path(outgoing.blind());
        let bytes = sealed.len();
        self.session.put(&path, sealed).await?;
        Ok(File {
            user: me,
            home: *self.session.homeserver(),
            path,
            bytes,
            content: content.len(),
        })
    }

    fn keep_books(&self, theirs: &ChannelFile, other: UserKey) -> Result<Pair> {
        let now = now()?;
        let mut pair = Pair::new(self.user(), other)?;
        pair.learn_own_authority(&self.delegation, now)?;
        for jws in theirs.own().authority() {
            pair.learn_authority(jws, now)?;
        }
        let book = NewBook {
            key: self.device.signer_key(),
            caps: BTreeMap::from([(self.unit.clone(), Total::from_minor(MOST)?)]),
            continues: true,
            at_least: Epoch::ZERO,
        };
        pair.open_book(book, &self.device, now)?;
        for book in theirs.own().books() {
            pair.authority_checked(book.record().key, now);
        }
        for record in theirs.own().records() {
            receive(&mut pair, &record, now, &self.device)?;
        }
        let terms = LineTerms::simple(self.unit.clone(), Total::from_minor(MOST)?)?;
        pair.set_line(terms, &self.device, now)?;
        for minor in [100, 50] {
            let note = PaymentNote {
                id: RecordId::from_entropy(rand::random()),
                reference: None,
                memo: Some("a loaf of bread".parse()?),
            };
            let amount = Amount::from_minor(minor)?;
            pair.issue(&self.unit, amount, None, note, &self.device, now)?;
        }
        Ok(pair)
    }
}

fn receive(pair: &mut Pair, record: &AnyRecord, now: Timestamp, pen: &Keypair) -> Result<()> {
    pair.receive(record, now, Some(pen))
        .with_context(|| format!("the wallet's {} is refused", record.typ()))?;
    Ok(())
}

fn delegation(root: &Keypair, device: &Keypair, unit: &Unit, now: Timestamp) -> Result<Delegation> {
    Ok(Delegation {
        v: Version,
        root: root.user_key(),
        key: device.signer_key(),
        scopes: vec![Scope::Book],
        peers: None,
        limits: vec![DelegationLimit {
            unit: unit.clone(),
            per_peer: Total::from_minor(MOST)?,
            per_day: None,
        }],
        not_before: now,
        not_after: now.plus_millis(24 * 3600 * 1000),
        serial: Serial::new(1)?,
    })
}

fn profile(
    root: &Keypair,
    secret: &EncryptionSecret,
    unit: &Unit,
    now: Timestamp,
) -> Result<Profile> {
    Ok(Profile {
        v: Version,
        user: root.user_key(),
        serial: Serial::new(1)?,
        name: None,
        encryption: vec![EncryptionKeyEntry {
            n: secret.id(),
            key: secret.public(),
        }],
        inboxes: Vec::new(),
        units: vec![unit.clone()],
        logs_trusted: Vec::new(),
        logs_refused: Vec::new(),
        page: false,
        at: now,
    })
}

fn now() -> Result<Timestamp> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(Timestamp::from_millis(u64::try_from(now.as_millis())?)?)
}

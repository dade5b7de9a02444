//! Whoever has a stolen wallet and a program of their own, which skips every check that `atomicity`
//! makes before it signs.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use atomicity_ledger::pair::{Issued, Pair, PaymentNote};
use atomicity_ledger::record::Profile;
use atomicity_ledger::seal::{Agreement, EncryptionSecret, Envelope, KeyId, Parcel};
use atomicity_ledger::seal::{seal_known, seal_stranger};
use atomicity_ledger::{Amount, Keypair, RecordId, Signed, Timestamp, Total, Unit, UserKey};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};

/// What a thief finds in the folder of a wallet.
pub struct Thief {
    store: SqliteConnection,
    me: UserKey,
    pen: Keypair,
    encryption: EncryptionSecret,
}

impl Thief {
    /// Opens the wallet in the folder `home`, which needs no passphrase.
    ///
    /// # Errors
    /// If it is not a wallet.
    pub async fn open(home: &Path) -> Result<Self> {
        let file = home.join("wallet.sqlite");
        let mut store = SqliteConnectOptions::new().filename(file).connect().await?;
        let me = setting(&mut store, "user").await?.parse()?;
        let number: u32 = setting(&mut store, "encryption_key_number")
            .await?
            .parse()?;
        let pen = Keypair::from_secret(&secret(&mut store, "book_key").await?);
        let encryption = secret(&mut store, &format!("encryption_key_{number}")).await?;
        let encryption = EncryptionSecret::new(KeyId::new(number), encryption);
        Ok(Self {
            store,
            me,
            pen,
            encryption,
        })
    }

    /// Signs, with the stolen book key, that its owner owes `peer` so much more. Sealed both as from
    /// somebody the peer knows and as from a stranger.
    ///
    /// # Errors
    /// If the wallet holds no books with `peer`, or their own limits forbid it.
    pub async fn forge(&mut self, peer: &str, unit: &str, minor: u64) -> Result<Vec<Envelope>> {
        let mut pair = self.pair(peer).await?;
        let id = RecordId::from_entropy(rand::random());
        let note = PaymentNote {
            id,
            reference: None,
            memo: None,
        };
        let (unit, amount): (Unit, _) = (unit.parse()?, Amount::from_minor(minor)?);
        let Issued { state, payment } = pair.issue(&unit, amount, None, note, &self.pen, now()?)?;
        ensure!(
            state.kid() == self.pen.signer_key(),
            "not signed with the stolen key"
        );
        let records = vec![state.jws().to_owned(), payment.jws().to_owned()];
        self.seal(peer, records).await
    }

    /// The same without any limit, and without a word on what it is for.
    ///
    /// # Errors
    /// If the wallet holds no books with `peer`, or nothing was ever given in `unit`.
    pub async fn forge_without_limit(
        &mut self,
        peer: &str,
        unit: &str,
        minor: u64,
    ) -> Result<Vec<Envelope>> {
        let pair = self.pair(peer).await?;
        let side = pair.own().unit(&unit.parse()?);
        let newest = side
            .and_then(|side| side.newest())
            .context("nothing to go on from")?;
        let mut state = newest.record().clone();
        state.seq = state.seq.next().context("no number is left")?;
        let issued = state.issued.minor().checked_add(minor);
        state.issued = Total::from_minor(issued.context("too much")?)?;
        state.at = now()?;
        let state = Signed::sign(state, &self.pen)?;
        self.seal(peer, vec![state.jws().to_owned()]).await
    }

    async fn pair(&mut self, peer: &str) -> Result<Pair> {
        let body = self
            .text("SELECT body FROM pair WHERE user = ?", peer)
            .await?;
        Ok(serde_json::from_str(&body)?)
    }

    async fn seal(&mut self, peer: &str, records: Vec<String>) -> Result<Vec<Envelope>> {
        let parcel = Parcel::new(self.me, records)?;
        let profile = self
            .text("SELECT profile FROM contact WHERE user = ?", peer)
            .await?;
        let profile = Signed::<Profile>::decode(&profile)?;
        let theirs = profile
            .record()
            .encryption
            .first()
            .context("no encryption key")?;
        let to: UserKey = peer.parse()?;
        let known = Agreement::outgoing(&self.me, &self.encryption, &to, &theirs.key, theirs.n)?;
        Ok(vec![
            seal_known(&known, rand::random(), &parcel)?,
            seal_stranger(&to, &theirs.key, theirs.n, rand::random(), &parcel)?,
        ])
    }

    async fn text(&mut self, query: &'static str, user: &str) -> Result<String> {
        let row = sqlx::query(query)
            .bind(user)
            .fetch_one(&mut self.store)
            .await?;
        Ok(row.try_get(0)?)
    }

    /// Closes the stolen wallet.
    ///
    /// # Errors
    /// If its file cannot be closed.
    pub async fn close(self) -> Result<()> {
        Ok(self.store.close().await?)
    }
}

fn now() -> Result<Timestamp> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(Timestamp::from_millis(u64::try_from(now.as_millis())?)?)
}

async fn setting(store: &mut SqliteConnection, name: &str) -> Result<String> {
    let row = sqlx::query("SELECT value FROM setting WHERE name = ?").bind(name);
    Ok(row.fetch_one(store).await?.try_get(0)?)
}

async fn secret(store: &mut SqliteConnection, name: &str) -> Result<[u8; 32]> {
    let row = sqlx::query("SELECT value FROM secret WHERE name = ?").bind(name);
    let bytes: Vec<u8> = row.fetch_one(store).await?.try_get(0)?;
    bytes
        .try_into()
        .map_err(|_| anyhow::anyhow!("the secret {name} is not 32 bytes long"))
}

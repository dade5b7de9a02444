//! The wallet's own memory: one SQLite file that commits before anything is sent.
//!
//! A change of the books goes through [`Store::write`]: one transaction that holds the database's write lock from its first
//! statement, so that two processes on one wallet take turns, each reading what the other committed. WAL with
//! `synchronous = FULL` means that what was committed is still there after a power cut.

pub(crate) mod accounts;
pub(crate) mod confirmed;
pub(crate) mod contacts;
pub(crate) mod demands;
mod fault;
pub(crate) mod forwarding;
pub(crate) mod hand;
pub(crate) mod history;
pub(crate) mod inbox;
pub(crate) mod invoices;
pub(crate) mod lock;
pub(crate) mod logs;
pub(crate) mod operations;
pub(crate) mod outbox;
pub(crate) mod pairs;
pub(crate) mod payments;
pub(crate) mod preimages;
pub(crate) mod proposals;
pub(crate) mod publications;
pub(crate) mod rails;
pub(crate) mod ratings;
pub(crate) mod relays;
pub(crate) mod requests;
pub(crate) mod rules;
pub(crate) mod services;
pub(crate) mod settings;
pub(crate) mod settlements;
pub(crate) mod units;
pub(crate) mod watchtowers;
pub(crate) mod windows;

use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, SqliteConnection, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::error::ClientError;

/// Name of the database in the wallet's folder.
pub const DATABASE_FILE: &str = "wallet.sqlite";

/// How long a process waits for another one that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The open database of one wallet.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pool: SqlitePool,
    home: PathBuf,
    /// Writers of this process queue up here: the database itself only knows sleeping and asking again.
    turn: Arc<Mutex<()>>,
}

/// A write transaction; dropped without [`WriteTx::commit`], nothing happened.
pub(crate) struct WriteTx {
    tx: Transaction<'static, Sqlite>,
    _turn: OwnedMutexGuard<()>,
}

impl Store {
    /// Makes a new database in `home`, which must not hold one yet.
    pub(crate) async fn create(home: &Path) -> Result<Self, ClientError> {
        let path = home.join(DATABASE_FILE);
        if path.exists() {
            return Err(ClientError::WalletExists(home.to_owned()));
        }
        make_private_folder(home)?;
        make_private_file(&path)?;
        Self::connect(home, options(&path)).await
    }

    /// Opens the database in `home`.
    pub(crate) async fn open(home: &Path) -> Result<Self, ClientError> {
        let path = home.join(DATABASE_FILE);
        if !path.exists() {
            return Err(ClientError::NoWallet(home.to_owned()));
        }
        Self::connect(home, options(&path)).await
    }

    async fn connect(home: &Path, options: SqliteConnectOptions) -> Result<Self, ClientError> {
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_with(options)
            .await?;
        sqlx::migrate!("./migrations")
            .run(&pool)
            .await
            .map_err(|e| ClientError::Store(e.to_string()))?;
        Ok(Self {
            pool,
            home: home.to_owned(),
            turn: Arc::default(),
        })
    }

    /// The folder of the wallet.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Begins a transaction that holds the write lock at once.
    ///
    /// In a task of its own: between the database's word and the value that rolls back when it is dropped, whoever waits may be dropped,
    /// and the lock would be held for ever.
    pub(crate) async fn write(&self) -> Result<WriteTx, ClientError> {
        let (pool, turn) = (self.pool.clone(), self.turn.clone());
        let begun = tokio::spawn(async move {
            let turn = turn.lock_owned().await;
            let tx = pool.begin_with("BEGIN IMMEDIATE").await?;
            Ok(WriteTx { tx, _turn: turn })
        });
        begun.await.map_err(|_| sqlx::Error::WorkerCrashed)?
    }

    /// A connection for reading.
    pub(crate) async fn read(&self) -> Result<sqlx::pool::PoolConnection<Sqlite>, ClientError> {
        Ok(self.pool.acquire().await?)
    }

    /// Closes the database, so that its files are complete.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// Removes a database that was made a moment ago and holds nothing of value.
    pub(crate) async fn discard(&self) {
        self.pool.close().await;
        for suffix in ["", "-wal", "-shm"] {
            let file = self.home.join(format!("{DATABASE_FILE}{suffix}"));
            // What is left behind is found by the next attempt, which says so.
            std::fs::remove_file(file).ok();
        }
    }

    /// Asks the database to check itself; the answer is `ok` or what is broken.
    pub(crate) async fn integrity(&self) -> Result<String, ClientError> {
        let row: (String,) = sqlx::query_as("PRAGMA quick_check(1)")
            .fetch_one(&self.pool)
            .await?;
        Ok(row.0)
    }
}

impl WriteTx {
    /// Makes everything in this transaction durable.
    #[track_caller]
    pub(crate) fn commit(self) -> impl Future<Output = Result<(), ClientError>> + Send {
        self.commit_for(Location::caller())
    }

    /// As [`commit`](Self::commit), asked for at `at`.
    pub(crate) async fn commit_for(
        self,
        at: &'static Location<'static>,
    ) -> Result<(), ClientError> {
        fault::point("before_commit", at);
        self.tx.commit().await?;
        fault::point("after_commit", at);
        Ok(())
    }

    /// The connection that the queries run on.
    pub(crate) fn conn(&mut self) -> &mut SqliteConnection {
        &mut self.tx
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
}

fn make_private_folder(path: &Path) -> Result<(), ClientError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|why| ClientError::Io {
        path: path.to_owned(),
        why,
    })
}

/// Makes an empty file that only its owner may read; SQLite gives its side files the same mode.
fn make_private_file(path: &Path) -> Result<(), ClientError> {
    write_private(path, b"")
}

/// Writes a file that only its owner may read, and that must not exist yet.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), ClientError> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = || -> std::io::Result<()> {
        let mut file = options.open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|why| ClientError::Io {
        path: path.to_owned(),
        why,
    })
}

/// An amount as SQLite keeps it. Amounts never exceed 2^63 − 1, so the sign bit stays free.
pub(crate) fn to_sql(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// An amount as it came from SQLite.
pub(crate) fn from_sql(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// Reads a value that this program wrote itself.
pub(crate) fn parse_own<T>(text: &str, what: &'static str) -> Result<T, ClientError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|e: T::Err| ClientError::StoreCorrupt {
        what,
        why: e.to_string(),
    })
}

/// A value of the ledger as it is stored.
pub(crate) fn json_out(value: &impl serde::Serialize) -> Result<String, ClientError> {
    serde_json::to_string(value).map_err(|e| ClientError::Internal(e.to_string()))
}

/// A value of the ledger that this program stored.
pub(crate) fn json_in<T: serde::de::DeserializeOwned>(
    text: &str,
    what: &'static str,
) -> Result<T, ClientError> {
    serde_json::from_str(text).map_err(|e| ClientError::StoreCorrupt {
        what,
        why: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_second_wallet_never_overwrites_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("wallet");
        Store::create(&home).await.unwrap();
        assert!(matches!(
            Store::create(&home).await,
            Err(ClientError::WalletExists(_))
        ));
        Store::open(&home).await.unwrap();
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn only_the_owner_can_read_the_files() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("wallet");
        let store = Store::create(&home).await.unwrap();
        let mut tx = store.write().await.unwrap();
        settings::set(tx.conn(), "probe", "1").await.unwrap();
        tx.commit().await.unwrap();
        for entry in std::fs::read_dir(&home).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{:?}", entry.file_name());
        }
    }

    #[tokio::test]
    async fn a_dropped_transaction_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("w")).await.unwrap();
        let mut tx = store.write().await.unwrap();
        settings::set(tx.conn(), "probe", "1").await.unwrap();
        drop(tx);
        let mut conn = store.read().await.unwrap();
        assert_eq!(settings::get(&mut conn, "probe").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_full_disk_is_named_and_keeps_the_old_state() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("w");
        Store::create(&home).await.unwrap().close().await;
        let small = options(&home.join(DATABASE_FILE)).pragma("max_page_count", "1");
        let store = Store::connect(&home, small).await.unwrap();
        let mut tx = store.write().await.unwrap();
        let big = "x".repeat(1 << 20);
        let failed = settings::set(tx.conn(), "probe", &big).await;
        assert!(matches!(failed, Err(ClientError::StoreFull)), "{failed:?}");
        drop(tx);
        let mut conn = store.read().await.unwrap();
        assert_eq!(settings::get(&mut conn, "probe").await.unwrap(), None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn whoever_stops_waiting_for_a_transaction_leaves_none_open() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("w");
        let store = Store::create(&home).await.unwrap();
        for n in 0..400 {
            let patience = std::time::Duration::from_micros(n % 200 * 5);
            drop(tokio::time::timeout(patience, store.write()).await);
        }
        // Another process would find the lock free, too.
        let other = Store::open(&home).await.unwrap();
        for store in [&other, &store, &other] {
            let mut tx = store.write().await.unwrap();
            settings::set(tx.conn(), "probe", "1").await.unwrap();
            tx.commit().await.unwrap();
        }
    }

    #[tokio::test]
    async fn writers_take_turns() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("w");
        let first = Store::create(&home).await.unwrap();
        let second = Store::open(&home).await.unwrap();
        let mut tasks = Vec::new();
        for n in 0..20 {
            let store = if n % 2 == 0 {
                first.clone()
            } else {
                second.clone()
            };
            tasks.push(tokio::spawn(async move {
                let mut tx = store.write().await.unwrap();
                let old = settings::get(tx.conn(), "n").await.unwrap();
                let old: u64 = old.map_or(0, |text| text.parse().unwrap());
                tokio::task::yield_now().await;
                settings::set(tx.conn(), "n", &(old + 1).to_string())
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let mut conn = first.read().await.unwrap();
        assert_eq!(settings::get(&mut conn, "n").await.unwrap().unwrap(), "20");
    }
}

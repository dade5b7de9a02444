//! A fresh database for each test.

use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Executor as _};
use url::Url;

const VARIABLE: &str = "ATOMICITY_TEST_POSTGRES";

/// A database that is dropped with this value.
pub struct Database {
    pub url: String,
    admin: String,
    name: String,
}

fn admin_url() -> String {
    std::env::var(VARIABLE).unwrap_or_else(|_| {
        panic!(
            "{VARIABLE} is not set: these tests need a Postgres whose user may create databases. \
             Run them by `e2e/postgres.sh run cargo test -p atomicity-plugin`, or set it to postgres://user:password@host:port/postgres"
        )
    })
}

async fn run(url: &str, statement: &str) {
    let mut connection = PgConnectOptions::from_str(url)
        .unwrap()
        .connect()
        .await
        .unwrap_or_else(|error| panic!("the test Postgres can't be reached: {error}"));
    connection.execute(statement).await.unwrap();
}

impl Database {
    pub async fn create() -> Self {
        Self::create_on(&admin_url()).await
    }

    /// On the server of `admin`, a URL of a user that may create databases.
    pub async fn create_on(admin: &str) -> Self {
        let name = format!("atomicity_plugin_test_{:032x}", rand::random::<u128>());
        run(admin, &format!("CREATE DATABASE {name}")).await;
        let mut url = Url::parse(admin).unwrap();
        url.set_path(&name);
        Self {
            url: url.to_string(),
            admin: admin.to_owned(),
            name,
        }
    }

    /// A copy of it as it is now. Nobody may be connected.
    pub async fn copy(&self) -> Self {
        let name = format!("atomicity_plugin_test_{:032x}", rand::random::<u128>());
        let statement = format!("CREATE DATABASE {name} TEMPLATE {}", self.name);
        run(&self.admin, &statement).await;
        let mut url = Url::parse(&self.url).unwrap();
        url.set_path(&name);
        Self {
            url: url.to_string(),
            admin: self.admin.clone(),
            name,
        }
    }

    /// Ends every connection to it.
    pub async fn end_connections(&self) {
        let statement = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            self.name
        );
        run(&self.admin, &statement).await;
    }

    /// Whether anybody may connect from now on.
    pub async fn allow_connections(&self, allow: bool) {
        run(
            &self.admin,
            &format!("ALTER DATABASE {} ALLOW_CONNECTIONS {allow}", self.name),
        )
        .await;
    }

    /// Ends the connection that holds a plugin's lock.
    pub async fn end_lock_holder(&self) {
        let statement = format!(
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
             WHERE l.locktype = 'advisory' AND d.datname = '{}'",
            self.name
        );
        run(&self.admin, &statement).await;
    }

    pub async fn connect(&self) -> PgConnection {
        PgConnectOptions::from_str(&self.url)
            .unwrap()
            .connect()
            .await
            .unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), self.name.clone());
        // Also when a test fails, and from inside its runtime: hence a thread with another.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let Ok(mut connection) =
                    PgConnectOptions::from_str(&admin).unwrap().connect().await
                else {
                    // A test's own server is gone with all it held.
                    return;
                };
                let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                connection.execute(statement.as_str()).await.unwrap();
            });
        });
        dropping.join().unwrap();
    }
}

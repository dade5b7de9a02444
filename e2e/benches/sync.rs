//! How long a wallet takes to look at a thousand counterparties on two homeservers, beside as many plain GETs of the same files in
//! the same run; and how many bytes a channel takes on a homeserver and in the wallet. Prints numbers; asserts nothing about them.
//!
//! `ATOMICITY_BENCH_PEERS` says how many counterparties there are; 1,000 if it is not set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "sync/peer.rs"]
mod peer;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use atomicity_client::config::{Config, NetworkConfig, Overrides};
use atomicity_client::net::{Net, ServiceKey};
use atomicity_client::wallet::{RootKey, Wallet};
use atomicity_e2e::World;
use atomicity_ledger::record::Profile;
use atomicity_ledger::{Unit, UserKey};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use peer::{File, Peer};

/// Counterparties who sign up, or answer, at once.
const SETUP_AT_ONCE: usize = 32;
/// Friends whom the wallet adds at once: it mostly takes turns with itself.
const ADDED_AT_ONCE: usize = 8;
/// How often a counterparty is looked for before the preparations fail.
const SETUP_TRIES: u32 = 30;
const UNIT: &str = "BREAD/2";
/// What the wallet lets each counterparty owe, in minor units.
const LINE: u64 = 1_000;
/// Older than a wallet remembers homeservers and profiles without asking again.
const A_DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo test` builds benches too and runs them without this flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let count = match std::env::var("ATOMICITY_BENCH_PEERS") {
        Ok(text) => text.parse().context("ATOMICITY_BENCH_PEERS")?,
        Err(_) => 1_000,
    };
    // Room for the homeservers and the wallet too, whose packets nobody asks for once they are known.
    let world = World::crowded(2 * count + 100).await?;
    let (first, second) = (world.homeserver("a").await?, world.homeserver("b").await?);
    let homes: [ServiceKey; 2] = [first.z32().parse()?, second.z32().parse()?];
    let urls = [first.http_url(), second.http_url()];
    let config = config(&world)?;

    let began = Instant::now();
    let step = |what: &str| eprintln!("after {:>4.0} s: {what}", began.elapsed().as_secs_f64());
    let wallet = open_wallet(&config, &homes[0]).await?;
    let empty = close(wallet, &config).await?;
    let peers = join(&config, &homes, count).await?;
    step("counterparties have accounts");
    befriend(&config, &peers).await?;
    step("the wallet has added them and opened credit lines");
    let files = answers(&config, &peers).await?;
    step("they have written their files");
    println!("{count} counterparties on two homeservers");
    let at_once = config.network.per_server.saturating_mul(homes.len());
    println!(
        "at most {} requests under way at each homeserver",
        config.network.per_server
    );

    let get = Gets::new(&world, &homes, &urls)?;
    get.over_http(&files, at_once).await?;
    let plain = get.over_http(&files, at_once).await?;
    report("plain GETs, HTTP", count, plain, None);
    get.over_pubky_tls(&files, at_once).await?;
    let plain = get.over_pubky_tls(&files, at_once).await?;
    report("plain GETs, Pubky TLS", count, plain, None);

    age(&config, Duration::ZERO).await?;
    let news = sync(&config, count).await?;
    report(
        "sync, everything new: read, applied",
        count,
        news.read,
        Some(plain),
    );
    report(
        "  and every answer published",
        count,
        news.whole,
        Some(plain),
    );
    ensure!(news.applied > 0, "nothing was new");
    let full = size(&config).await?;

    let again = sync(&config, count).await?;
    report("sync, nothing new", count, again.whole, Some(plain));
    ensure!(again.applied == 0, "something was new the second time");
    age(&config, A_DAY).await?;
    let old = sync(&config, count).await?;
    report(
        "sync, nothing new, after a day",
        count,
        old.whole,
        Some(plain),
    );
    let plain = get.over_pubky_tls(&files, at_once).await?;
    report("plain GETs, Pubky TLS, once more", count, plain, None);

    println!(
        "stored per channel (one unit, lines both ways, two payments): {} B sealed on the homeserver ({} B without padding); \
         {} B in the wallet's SQLite, of which {} B books, {} B profile",
        mean(&files, |file| file.bytes),
        mean(&files, |file| file.content),
        full.file.saturating_sub(empty) / count.max(1) as u64,
        full.books,
        full.profile,
    );
    Ok(())
}

fn report(what: &str, count: usize, took: Duration, plain: Option<Duration>) {
    let seconds = took.as_secs_f64();
    let ratio = plain.map_or_else(String::new, |plain| {
        format!(", {:.2} x the plain GETs", seconds / plain.as_secs_f64())
    });
    println!(
        "{what:<36} {seconds:>7.2} s {:>7.0}/s{ratio}",
        count as f64 / seconds
    );
}

fn mean(files: &[File], of: impl Fn(&File) -> usize) -> usize {
    files.iter().map(of).sum::<usize>() / files.len().max(1)
}

/// The settings of a wallet in this world, all else as a user has it.
fn config(world: &World) -> Result<Config> {
    let home = world.new_path("wallet");
    let file = world.new_path("wallet.toml");
    std::fs::write(&file, world.network_toml())?;
    Ok(Config::load(&Overrides {
        home: Some(home),
        config: Some(file),
        testnet: None,
    })?)
}

async fn open_wallet(config: &Config, home: &ServiceKey) -> Result<Wallet> {
    let root = RootKey::random();
    let wallet = Wallet::create(config, &root, "a passphrase", None)
        .await?
        .wallet;
    wallet.sign_up(&root, home, None, &[]).await?;
    wallet.open_unit(&root, UNIT.parse()?, None).await?;
    Ok(wallet)
}

/// Closes the wallet, and says how many bytes its database has.
async fn close(wallet: Wallet, config: &Config) -> Result<u64> {
    wallet.close().await;
    Ok(std::fs::metadata(database(&config.home))?.len())
}

fn database(home: &Path) -> PathBuf {
    home.join("wallet.sqlite")
}

/// Counterparties on both homeservers, who have written nothing about the wallet yet.
async fn join(config: &Config, homes: &[ServiceKey; 2], count: usize) -> Result<Vec<Peer>> {
    let unit: Unit = UNIT.parse()?;
    let net = Net::new(&busy(config))?;
    stream::iter(homes.iter().cycle().take(count))
        .map(|home| Peer::join(&net, home, &unit))
        .buffer_unordered(SETUP_AT_ONCE)
        .try_collect()
        .await
}

/// The wallet adds everybody and gives everybody a credit line.
async fn befriend(config: &Config, peers: &[Peer]) -> Result<()> {
    let unit: Unit = UNIT.parse()?;
    let wallet = Wallet::open(config).await?;
    stream::iter(peers)
        .map(|peer| befriend_one(&wallet, &unit, peer.user()))
        .buffer_unordered(ADDED_AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    wallet.flush().await?;
    wallet.close().await;
    Ok(())
}

async fn befriend_one(wallet: &Wallet, unit: &Unit, user: UserKey) -> Result<()> {
    let mut added = wallet.add_friend(&user, None).await?;
    // A DHT of a few nodes on a busy machine does not answer every question in time.
    for _ in 0..SETUP_TRIES {
        if added.has_profile {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        added = wallet.add_friend(&user, None).await?;
    }
    ensure!(
        added.has_profile,
        "{user} was not found: {:?}",
        added.warning
    );
    wallet.set_limit(&user, unit, LINE).await?;
    Ok(())
}

/// Each counterparty reads the wallet's file and writes their own.
async fn answers(config: &Config, peers: &[Peer]) -> Result<Vec<File>> {
    let net = Net::new(&busy(config))?;
    let wallet = Wallet::open(config).await?;
    let own: Profile = wallet
        .published_profile(None)
        .await?
        .profile
        .record()
        .clone();
    wallet.close().await;
    let own = &own;
    let net = &net;
    stream::iter(peers)
        .map(|peer| peer.answer(net, own))
        .buffer_unordered(SETUP_AT_ONCE)
        .try_collect()
        .await
}

/// Settings for the preparations, which are not measured.
fn busy(config: &Config) -> NetworkConfig {
    NetworkConfig {
        per_server: SETUP_AT_ONCE,
        lookups: SETUP_AT_ONCE,
        ..config.network.clone()
    }
}

/// Lets the wallet believe that it looked up every homeserver and every profile so long ago.
async fn age(config: &Config, age: Duration) -> Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let then = u64::try_from(now.saturating_sub(age).as_millis())?;
    let mut store = open_database(config).await?;
    sqlx::query("UPDATE contact SET profile_at = ?")
        .bind(i64::try_from(then)?)
        .execute(&mut store)
        .await?;
    let homes: String = sqlx::query("SELECT value FROM setting WHERE name = 'known_homes'")
        .fetch_one(&mut store)
        .await?
        .try_get(0)?;
    let homes: Vec<(String, String, u64)> = serde_json::from_str(&homes)?;
    let homes: Vec<_> = homes
        .into_iter()
        .map(|(user, home, _)| (user, home, then))
        .collect();
    sqlx::query("UPDATE setting SET value = ? WHERE name = 'known_homes'")
        .bind(serde_json::to_string(&homes)?)
        .execute(&mut store)
        .await?;
    Ok(store.close().await?)
}

async fn open_database(config: &Config) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(database(&config.home));
    Ok(options.connect().await?)
}

/// What a synchronization took.
struct Sync {
    /// Until the last counterparty's records were applied.
    read: Duration,
    /// Until everything that had to be answered was published too.
    whole: Duration,
    applied: u64,
}

/// One `sync` of a process that has just been started.
async fn sync(config: &Config, count: usize) -> Result<Sync> {
    let wallet = Wallet::open(config).await?;
    let began = Instant::now();
    let read = Cell::new(Duration::ZERO);
    let report = wallet
        .sync_with(&[], |_, _| read.set(began.elapsed()))
        .await?;
    let whole = began.elapsed();
    ensure!(
        report.friends == count as u64,
        "looked at {}",
        report.friends
    );
    ensure!(
        report.unreachable.is_empty(),
        "{:?}",
        report.unreachable.first()
    );
    ensure!(report.refused == 0, "{} were refused", report.refused);
    ensure!(report.pending == 0, "{} can't be judged", report.pending);
    ensure!(report.queued == 0, "{} were not published", report.queued);
    wallet.close().await;
    Ok(Sync {
        read: read.get(),
        whole,
        applied: report.applied,
    })
}

/// Sizes in the wallet's database, in bytes.
struct Size {
    file: u64,
    books: i64,
    profile: i64,
}

async fn size(config: &Config) -> Result<Size> {
    let mut store = open_database(config).await?;
    let mean = async |store: &mut SqliteConnection, query: &'static str| -> Result<i64> {
        Ok(sqlx::query(query).fetch_one(store).await?.try_get(0)?)
    };
    let books = mean(
        &mut store,
        "SELECT CAST(avg(length(body)) AS INTEGER) FROM pair",
    )
    .await?;
    let profile = "SELECT CAST(avg(length(profile)) AS INTEGER) FROM contact";
    let profile = mean(&mut store, profile).await?;
    store.close().await?;
    Ok(Size {
        file: std::fs::metadata(database(&config.home))?.len(),
        books,
        profile,
    })
}

/// Clients that only fetch.
struct Gets {
    http: reqwest::Client,
    pubky: pubky::PubkyHttpClient,
    homes: [ServiceKey; 2],
    urls: [String; 2],
}

impl Gets {
    fn new(world: &World, homes: &[ServiceKey; 2], urls: &[String; 2]) -> Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder().no_proxy().build()?,
            pubky: world.sdk()?.client().clone(),
            homes: *homes,
            urls: urls.clone(),
        })
    }

    /// Every file once, by plain HTTP.
    async fn over_http(&self, files: &[File], at_once: usize) -> Result<Duration> {
        self.all(files, at_once, async |file: &File| {
            let first = self.homes.first() == Some(&file.home);
            let base = &self.urls[usize::from(!first)];
            let url = format!("{base}/storage/{}{}", file.user, file.path);
            Ok(self
                .http
                .get(url)
                .send()
                .await?
                .error_for_status()?
                .bytes()
                .await?
                .len())
        })
        .await
    }

    /// Every file once, by the SDK's HTTP client from the homeserver's own key.
    async fn over_pubky_tls(&self, files: &[File], at_once: usize) -> Result<Duration> {
        self.all(files, at_once, async |file: &File| {
            let url = format!("https://{}/storage/{}{}", file.home, file.user, file.path);
            let request = self
                .pubky
                .request_async(reqwest::Method::GET, url.parse()?)
                .await?;
            let answer = request.send().await?.error_for_status()?;
            Ok(answer.bytes().await?.len())
        })
        .await
    }

    async fn all(
        &self,
        files: &[File],
        at_once: usize,
        get: impl AsyncFn(&File) -> Result<usize>,
    ) -> Result<Duration> {
        let began = Instant::now();
        let get = &get;
        let mut gets = stream::iter(files)
            .map(|file| async move { Ok::<_, anyhow::Error>((file.bytes, get(file).await?)) })
            .buffer_unordered(at_once);
        while let Some(got) = gets.next().await {
            let (expected, bytes) = got?;
            ensure!(expected == bytes, "{bytes} B instead of {expected}");
        }
        Ok(began.elapsed())
    }
}

//! A town of people who pay each other over friends: two homeservers with a plugin each, a log on which all rely, a router.

use anyhow::{Context, Result, ensure};
use futures_util::try_join;
use serde_json::Value;

use crate::guard::entry;
use crate::people::{Person, Site, expect, string};
use crate::promises::Cosigned;
use crate::watch::Watch;
use crate::{Homeserver, Plugin, World, wait};

/// People at two homeservers with a plugin each, and a log on which all of them rely.
pub struct Town {
    /// The log.
    pub log: Cosigned,
    /// The homeservers.
    pub sites: [Site; 2],
    /// In what people count here.
    pub unit: &'static str,
    /// Last, so that it ends last.
    pub world: World,
}

impl Town {
    /// Starts everything.
    ///
    /// # Errors
    /// If anything does not start.
    pub async fn found(unit: &'static str) -> Result<Self> {
        let world = World::start().await?;
        let log = Cosigned::start(&world, "log", 3600).await?;
        let sites = [
            Site::open(&world, "h1").await?,
            Site::open(&world, "h2").await?,
        ];
        Ok(Self {
            log,
            sites,
            unit,
            world,
        })
    }

    /// Somebody with an account at one of the sites, who relies on the log.
    ///
    /// # Errors
    /// If the program says anything but what it should.
    pub async fn person(&self, name: &str, site: usize) -> Result<Person> {
        let site = self.sites.get(site).context("no such site")?;
        settle_at(&self.world, name, (site, self.unit), &self.log).await
    }
}

/// Somebody new at `site`, who counts in `unit` and relies on `log`.
///
/// # Errors
/// If the program says anything but what it should.
pub async fn settle_at(
    world: &World,
    name: &str,
    (site, unit): (&Site, &str),
    log: &Cosigned,
) -> Result<Person> {
    let mut person = Person::new(world, name)?;
    person.join(site, unit).await?;
    log.introduce(&person).await?;
    Ok(person)
}

/// Both become friends and let each other owe `money`.
///
/// # Errors
/// If the program says anything but what it should.
pub async fn befriend(one: &Person, other: &Person, money: &str) -> Result<()> {
    one.befriend(other).await?;
    other.befriend(one).await?;
    one.trust(other, money).await?;
    other.trust(one, money).await?;
    read_news(one, other).await
}

/// Both read the news, often enough that answers to answers arrive.
///
/// # Errors
/// If nothing could be reached.
pub async fn read_news(one: &Person, other: &Person) -> Result<()> {
    for _ in 0..2 {
        one.sync().await?;
        other.sync().await?;
    }
    Ok(())
}

/// Passes on to everybody for a fixed fee and a thousandth, and publishes it.
///
/// # Errors
/// If the program refuses.
pub async fn pass_on(person: &Person, unit: &str, fee: &str) -> Result<Value> {
    let arguments = [
        "forward", "on", "--all", "--unit", unit, "--fee", fee, "--ppm", "1000",
    ];
    person.wallet().ok(&arguments).await
}

/// Somebody's wallet, running.
///
/// # Errors
/// If it does not get ready.
pub async fn live(person: &Person) -> Result<Watch> {
    person.wallet().watch(&[]).await
}

/// An invoice of `person`: its link and its name.
///
/// # Errors
/// If the program says anything but what it should.
pub async fn invoice(person: &Person, money: &str, memo: &str) -> Result<(String, String)> {
    let arguments = ["invoice", money, "--memo", memo];
    let made = person.wallet().ok(&arguments).await?;
    expect(&made, "/state", "open")?;
    Ok((string(&made, "/link")?, string(&made, "/invoice")?))
}

/// These people in a row, as `--along` takes them.
#[must_use]
pub fn over(people: &[&Person]) -> String {
    let keys: Vec<&str> = people.iter().map(|person| person.key()).collect();
    keys.join(",")
}

/// Waits until `one` is owed `expected` by `other`, and both say so.
///
/// # Errors
/// If that does not come.
pub async fn until_owed(one: &Person, other: &Person, unit: &str, expected: i64) -> Result<()> {
    wait::until("a balance", || async {
        let (mine, theirs) = try_join!(one.account(other, unit), other.account(one, unit))?;
        let (mine, theirs) = (string(&mine, "/net")?, string(&theirs, "/net")?);
        ensure!(
            mine == expected.to_string() && theirs == (-expected).to_string(),
            "{} shows {mine}, {} shows {theirs}, not {expected}",
            one.name(),
            other.name()
        );
        Ok(())
    })
    .await
}

/// A plugin at `home` that finds ways, beginning with these people, and announces itself.
///
/// # Errors
/// If it does not get ready.
pub async fn router(world: &World, home: &Homeserver, seeds: &[&Person]) -> Result<Plugin> {
    router_with(world, home, seeds, &[]).await
}

/// One that is a watchtower too, and so an indexer.
///
/// # Errors
/// If it does not get ready.
pub async fn indexer(world: &World, home: &Homeserver, seeds: &[&Person]) -> Result<Plugin> {
    router_with(world, home, seeds, &["watchtower.enabled=true"]).await
}

/// One with further settings.
///
/// # Errors
/// If it does not get ready.
pub async fn router_with(
    world: &World,
    home: &Homeserver,
    seeds: &[&Person],
    more: &[&str],
) -> Result<Plugin> {
    let seeds: Vec<&str> = seeds.iter().map(|person| person.key()).collect();
    let mut options = world.plugin_options("router", home).await?;
    options.more.extend([
        "router.enabled=true".to_owned(),
        format!("router.seeds={seeds:?}"),
        "router.homeserver_requests_per_second=200".to_owned(),
        "router.requests_per_second=500".to_owned(),
        "router.queries_per_minute=100000".to_owned(),
    ]);
    options.more.extend(more.iter().map(ToString::to_string));
    world.plugin_with("router", options).await
}

/// A homeserver with a plugin that keeps books for its users, and mirrors the log on which they rely.
///
/// # Errors
/// If anything does not start.
pub async fn agents(world: &World, names: [&str; 2], log: &Cosigned) -> Result<Site> {
    let [home, plugin] = names;
    let homeserver = world.homeserver(home).await?;
    let mut options = world.plugin_options(plugin, &homeserver).await?;
    options.more.extend(agent_settings(log));
    let plugin = world.plugin_with(plugin, options).await?;
    Ok(Site { homeserver, plugin })
}

/// What makes a plugin keep books: it mirrors the log, so that promises on it can be judged.
#[must_use]
pub fn agent_settings(log: &Cosigned) -> [String; 8] {
    [
        "agent.enabled=true".to_owned(),
        "agent.file_flush_s=1".to_owned(),
        "agent.authority_poll_s=1".to_owned(),
        "agent.word_poll_s=1".to_owned(),
        "database.max_connections=20".to_owned(),
        "watchtower.enabled=true".to_owned(),
        "watchtower.poll_ms=500".to_owned(),
        format!("watchtower.logs=[{}]", entry(&log.log.key, &log.url())),
    ]
}

/// Lets an agent keep all books of `person`, and waits until it does and the friends `with` know it.
///
/// # Errors
/// If the agent does not take them.
pub async fn engage(person: &Person, more: &[&str], with: &[&Person]) -> Result<Value> {
    let on = [&["agent", "on"], more].concat();
    let on = person.wallet().ok(&on).await?;
    expect(&on, "/state", "active")?;
    let pairs = on.pointer("/peers").and_then(Value::as_array);
    for pair in pairs.context("no pairs")? {
        expect(pair, "/stage", "kept")?;
    }
    until_known(person, with).await?;
    Ok(on)
}

/// Waits until the friends have acknowledged who keeps the books of `person`.
///
/// # Errors
/// If one does not.
pub async fn until_known(person: &Person, with: &[&Person]) -> Result<()> {
    wait::until("friends to know the agent", || async {
        for friend in with {
            friend.sync().await?;
        }
        let status = person.wallet().ok(&["agent", "status"]).await?;
        let pairs = status.pointer("/peers").and_then(Value::as_array);
        let pairs = pairs.context("no pairs")?;
        for friend in with {
            let pair = pairs
                .iter()
                .find(|pair| pair.get("user").and_then(Value::as_str) == Some(friend.key()));
            let known = pair.and_then(|pair| pair.get("acknowledged"));
            ensure!(known.and_then(Value::as_bool) == Some(true), "{status}");
        }
        Ok(())
    })
    .await
}

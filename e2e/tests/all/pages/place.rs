//! Where somebody has a wallet page: a plugin with agents and a relay, and what one does there.

use atomicity_e2e::World;
use atomicity_e2e::people::{Person, Site, expect};
use atomicity_e2e::promises::Cosigned;
use atomicity_e2e::town::{agent_settings, befriend, settle_at};

use super::Visitor;

/// Anna looks at the page of a plugin that has agents; her friend Ben is elsewhere, where everybody's pages are shown.
pub struct Place {
    pub anna: Person,
    pub ben: Person,
    pub base: String,
    pub elsewhere: Site,
    pub log: Cosigned,
    _site: Site,
}

impl Place {
    pub async fn found(world: &mut World, unit: &'static str) -> Self {
        let relay = world.relay().await.unwrap();
        let log = Cosigned::start(world, "log", 3600).await.unwrap();
        let homeserver = world.homeserver("h1").await.unwrap();
        let mut options = world.plugin_options("agents", &homeserver).await.unwrap();
        options.more.extend(agent_settings(&log));
        options.more.push("pages.enabled=true".to_owned());
        options.more.push(format!("pages.relay={relay:?}"));
        let plugin = world.plugin_with("agents", options).await.unwrap();
        let base = plugin.http_url();
        let site = Site { homeserver, plugin };
        let other = with_pages(world, "h2", &relay).await;
        let anna = settle_at(world, "anna", (&site, unit), &log).await;
        let ben = settle_at(world, "ben", (&other, unit), &log).await;
        let (anna, ben) = (anna.unwrap(), ben.unwrap());
        befriend(&anna, &ben, &format!("20.00 {unit}"))
            .await
            .unwrap();
        Self {
            anna,
            ben,
            base,
            elsewhere: other,
            log,
            _site: site,
        }
    }
}

/// A homeserver with a plugin that has wallet pages, and shows those of strangers too.
async fn with_pages(world: &World, name: &str, relay: &str) -> Site {
    let homeserver = world.homeserver(name).await.unwrap();
    let of = format!("plugin-of-{name}");
    let mut options = world.plugin_options(&of, &homeserver).await.unwrap();
    options.more.push("pages.enabled=true".to_owned());
    options.more.push("pages.strangers=true".to_owned());
    options.more.push(format!("pages.relay={relay:?}"));
    let plugin = world.plugin_with(&of, options).await.unwrap();
    Site { homeserver, plugin }
}

/// Anna logs in where she looks at the page.
pub async fn log_in(world: &World, visitor: &mut Visitor, place: &Place) {
    log_in_at(world, visitor, (&place.base, &place.anna)).await;
}

/// Begins a log-in, approves it with an authenticator that holds the key of `person`, and waits for the overview.
pub async fn log_in_at(world: &World, visitor: &mut Visitor, (base, person): (&str, &Person)) {
    let overview = format!("{base}/wallet");
    visitor.browser.goto(&overview).await.unwrap();
    let press = "document.querySelector('form[action=\"/wallet/login\"] button').click()";
    visitor.browser.eval(press).await.unwrap();
    let code = "document.querySelector('#pubkyauth') !== null && document.querySelector('svg.qr') !== null";
    visitor.browser.until(code).await.unwrap();
    let link = visitor
        .browser
        .eval("document.querySelector('#pubkyauth').href");
    let link = link.await.unwrap();
    assert_eq!(visitor.scan("svg.qr").await, link);
    let root = person.wallet().root().unwrap();
    let authenticator = world.sdk().unwrap().signer(root);
    authenticator
        .approve_auth(link.as_str().unwrap())
        .await
        .unwrap();
    // The page goes on by itself.
    visitor
        .browser
        .until("document.querySelector('[data-live=\"overview\"]') !== null")
        .await
        .unwrap();
}

/// Fills the form of this kind on the page and sends it; the name of what is proposed, once it stands there.
pub async fn proposed(visitor: &mut Visitor, (kind, fields): (&str, &[(&str, &str)])) -> String {
    let here = visitor.browser.eval("location.origin").await.unwrap();
    let page = format!("{}/wallet/proposals", here.as_str().unwrap());
    visitor.browser.goto(&page).await.unwrap();
    let set = fields
        .iter()
        .map(|(name, value)| format!("form.elements.{name}.value = '{value}';"));
    let set = set.collect::<Vec<_>>().join(" ");
    let fill = format!(
        "const form = document.querySelector('form[action=\"/wallet/proposals/{kind}\"]'); {set} \
         const id = form.elements.id.value; form.requestSubmit(); id"
    );
    let id = visitor.browser.eval(&fill).await.unwrap();
    let id = id.as_str().unwrap();
    stands(visitor, id, "open").await;
    id.to_owned()
}

/// The page comes to say this of a proposal, without being loaded again.
pub async fn stands(visitor: &mut Visitor, id: &str, state: &str) {
    let shown =
        format!("document.querySelector('[data-proposal=\"{id}\"]')?.dataset.state === '{state}'");
    visitor.browser.until(&shown).await.unwrap();
}

/// Proposes on the page, and accepts it in the wallet: it is done. The name of what was proposed.
pub async fn accepted(
    visitor: &mut Visitor,
    person: &Person,
    asked: (&str, &[(&str, &str)]),
) -> String {
    let id = proposed(visitor, asked).await;
    agreed(visitor, person, (asked.0, &id)).await;
    id
}

/// What stands on the page is accepted in the wallet, and done.
pub async fn agreed(visitor: &mut Visitor, person: &Person, (kind, id): (&str, &str)) {
    let accept = ["proposals", "accept", id, "--yes"];
    let done = person.wallet().ok(&accept).await.unwrap();
    expect(&done, "/state", "done").unwrap();
    expect(&done, "/kind", kind).unwrap();
    stands(visitor, id, "done").await;
}

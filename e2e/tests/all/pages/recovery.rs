//! The log-in to the wallet page: the code for an authenticator, and, in a test network, a recovery file; over plain http too, as in a local
//! network.

use atomicity_e2e::World;
use atomicity_e2e::plugin::Plugin;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pubky::{Keypair, recovery_file};

use super::Visitor;

const PASSPHRASE: &str = "correct horse";

/// A plugin whose users log in by a relay or with a recovery file.
async fn plugin(world: &mut World) -> Plugin {
    let relay = world.relay().await.unwrap();
    let homeserver = world.homeserver("h").await.unwrap();
    let mut options = world.plugin_options("p", &homeserver).await.unwrap();
    options.more.push("pages.enabled=true".to_owned());
    options.more.push("pages.recovery_login=true".to_owned());
    options.more.push(format!("pages.relay={relay:?}"));
    world.plugin_with("p", options).await.unwrap()
}

/// Fills in a recovery file and sends it.
async fn recover(visitor: &mut Visitor, base: &str, root: &Keypair) {
    let file = recovery_file::create_recovery_file(root, PASSPHRASE);
    let browser = &mut visitor.browser;
    browser.goto(&format!("{base}/wallet")).await.unwrap();
    let fill = format!(
        "const form = document.querySelector('form[action=\"/wallet/login/recovery\"]'); \
         form.elements.file.value = {:?}; form.elements.passphrase.value = {PASSPHRASE:?}; form.requestSubmit()",
        BASE64_STANDARD.encode(file)
    );
    browser.eval(&fill).await.unwrap();
    browser
        .until("document.querySelector('[data-live=\"overview\"]') !== null")
        .await
        .unwrap();
    let shown = visitor.text("main").await;
    assert!(shown.contains(&root.public_key().z32()), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_logs_in_with_a_recovery_file_also_over_plain_http_and_others_see_a_code() {
    let mut world = World::start().await.unwrap();
    let plugin = plugin(&mut world).await;
    let Some(mut visitor) = Visitor::come(&world).await else {
        return;
    };
    let base = plugin.http_url();
    let page = format!("{base}/wallet");
    visitor.inspect(&page, "wallet-recovery").await;
    // The code is another state of the same page.
    visitor.browser.goto(&page).await.unwrap();
    let press = "document.querySelector('form[action=\"/wallet/login\"]').requestSubmit()";
    visitor.browser.eval(press).await.unwrap();
    let code = "document.querySelector('#pubkyauth') !== null && document.querySelector('svg.qr') !== null";
    visitor.browser.until(code).await.unwrap();
    visitor.inspect(&page, "wallet-code").await;

    recover(&mut visitor, &base, &Keypair::random()).await;
    // Off loopback, and without https, a browser tells a form's origin only if the page lets it.
    let plain = base.replace("127.0.0.1", "plain.test");
    assert_ne!(plain, base);
    recover(&mut visitor, &plain, &Keypair::random()).await;
}

//! The pages of operators, without a browser: what they are framed by, load and say.

use std::collections::BTreeSet;

use atomicity_plugin::Config;
use sqlx::{Connection as _, PgConnection};

use super::{PASSWORD, operated};
use crate::support::browser::{Browser, Shown};
use crate::support::plugin::Plugin;

async fn logged_in(plugin: &Plugin) -> Browser {
    let browser = Browser::new(&format!("http://{}", plugin.addresses.admin.unwrap()));
    let form = browser.get("/login").await;
    let csrf = form.field("/login", "csrf");
    let fields = [("csrf", csrf.as_str()), ("password", PASSWORD)];
    let shown = browser.submit("/login", &fields).await;
    assert!(shown.html.contains("How it stands"), "{}", shown.html);
    browser
}

async fn started(change: impl FnOnce(&mut Config)) -> (Plugin, Browser) {
    let plugin = Plugin::start_with(|config| {
        operated(config);
        change(config);
    })
    .await;
    let browser = logged_in(&plugin).await;
    (plugin, browser)
}

/// The values of an attribute, in order.
fn values<'a>(html: &'a str, attribute: &str) -> Vec<&'a str> {
    let mark = format!(" {attribute}=\"");
    html.match_indices(&mark)
        .map(|(at, _)| {
            let rest = &html[at + mark.len()..];
            &rest[..rest.find('"').unwrap()]
        })
        .collect()
}

#[track_caller]
fn assert_for_operators(shown: &Shown) {
    let html = &shown.html;
    assert!(
        html.contains("Operator") && !html.contains("Explorer"),
        "{html}"
    );
    assert!(!html.contains("signed by those it is about"), "{html}");
}

#[tokio::test]
async fn whatever_goes_wrong_is_told_on_a_page_for_operators() {
    let (_plugin, browser) = started(|_| {}).await;
    for (path, status, code) in [
        ("/nowhere", 404, "route_unknown"),
        ("/accounts/x", 400, "user_malformed"),
        ("/audit?before=x", 400, "id_malformed"),
    ] {
        let shown = browser.get(path).await;
        shown.assert_code(status, code);
        assert_for_operators(&shown);
        assert!(shown.html.contains("href=\"/accounts\""), "{}", shown.html);
    }
    for path in ["/", "/accounts", "/keys", "/audit", "/login"] {
        assert_for_operators(&browser.get(path).await);
    }
}

#[tokio::test]
async fn no_two_landmarks_of_a_page_have_the_same_name() {
    let (plugin, browser) = started(|config| config.watchtower.enabled = true).await;
    let mut connection = PgConnection::connect(&plugin.database.url).await.unwrap();
    let name = "log.example";
    sqlx::query("INSERT INTO mirrors (log, origin, vkey, state) VALUES (sha256(convert_to($1, 'UTF8')), $1, $1, '')")
        .bind(name)
        .execute(&mut connection)
        .await
        .unwrap();
    let shown = browser.get("/").await;
    assert!(shown.html.contains(name), "{}", shown.html);
    for attribute in ["aria-label", "aria-labelledby"] {
        let names = values(&shown.html, attribute);
        let different: BTreeSet<_> = names.iter().collect();
        assert_eq!(names.len(), different.len(), "{names:?}");
    }
}

#[tokio::test]
async fn the_page_for_programs_has_no_script_or_style_inside_and_loads_its_own() {
    let (plugin, browser) = started(|_| {}).await;
    let shown = browser.get("/docs").await;
    let policy = shown.headers["content-security-policy"].to_str().unwrap();
    assert!(
        !policy.contains("sha256") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(!shown.html.contains("<style") && !shown.html.contains("<script>"));
    let files: Vec<_> = [values(&shown.html, "src"), values(&shown.html, "href")]
        .concat()
        .into_iter()
        .filter(|path| path.starts_with("/assets/"))
        .collect();
    assert_eq!(files.len(), 2, "{}", shown.html);
    for file in files {
        assert_eq!(browser.get(file).await.status, 200, "{file}");
    }
    // Nobody there says who serves this, and nobody is asked.
    assert_eq!(values(&shown.html, "data-info"), [""]);
    assert_eq!(browser.get("/v0/info").await.status, 404);
    // For everybody else it is one answer, as before.
    let public = Browser::new(&format!("http://{}", plugin.addresses.http));
    let public = public.get("/docs").await;
    assert_eq!(values(&public.html, "data-info"), ["v0/info"]);
    assert!(public.html.contains("<style>") && public.html.contains("<script>"));
}

#[tokio::test]
async fn each_key_is_shown_with_what_changing_it_means_and_how_it_is_done() {
    let (plugin, browser) = started(|config| config.agent.enabled = true).await;
    let shown = browser.get("/keys").await;
    assert_eq!(shown.status, 200, "{}", shown.html);
    for part in [
        plugin.key().as_str(),
        "A new one is a new plugin",
        // The password of these tests is a setting.
        "admin.password",
        "systemctl restart atomicity-homeserver",
        "atomicity agent off\natomicity agent on",
    ] {
        assert!(shown.html.contains(part), "{part}: {}", shown.html);
    }
    // What is not run here has no key here.
    for part in ["cosigner rotate", "The log"] {
        assert!(!shown.html.contains(part), "{part}");
    }
    let nobody = Browser::new(&format!("http://{}", plugin.addresses.admin.unwrap()));
    assert_eq!(nobody.get("/keys").await.status, 303);
}

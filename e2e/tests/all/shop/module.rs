//! The JavaScript module by itself: what it takes, what it refuses, whom it proves itself to.

use atomicity_e2e::World;
use atomicity_e2e::browser::Browser;
use atomicity_e2e::people::{Person, Site};
use serde_json::{Value, json};

use super::granted;
use super::server::{Liar, Server};

/// A browser on a page with nothing on it that can import the module, and what serves it.
async fn blank(world: &World) -> Option<(Browser, Server)> {
    let mut browser = Browser::start(world).await.unwrap()?;
    let server = Server::nobodys().await;
    browser
        .goto(&format!("{}/blank", server.url))
        .await
        .unwrap();
    Some((browser, server))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_reads_every_golden_record_and_refuses_what_must_be_refused() {
    let world = World::start().await.unwrap();
    let Some(mut browser) = Browser::start(&world).await.unwrap() else {
        return;
    };
    let server = Server::shop(String::new()).await;
    browser
        .goto(&format!("{}/blank", server.url))
        .await
        .unwrap();
    let script = r#"(async () => {
        const { decodeRecord, TYPES } = await import("/web/atomicity.js");
        const [good, bad] = await Promise.all(["records", "refused"].map(async (name) =>
            (await fetch(`/ledger/testdata/${name}.json`)).json()));
        const wrong = [], seen = new Set();
        const codeOf = (jws) => decodeRecord(jws).then(() => "accepted", (error) => error.code ?? String(error));
        for (const vector of good) {
            const read = await decodeRecord(vector.jws);
            const plain = JSON.parse(JSON.stringify(read.record, (_, value) => typeof value === "bigint" ? `${value}` : value));
            const same = read.typ === vector.typ && read.kid === vector.public_key_z32 && read.hash === vector.hash;
            if (!same || plain.at !== vector.payload.at) wrong.push(vector.description);
            seen.add(read.typ);
            // Whatever is changed in what was signed, the signature holds no longer.
            const at = vector.jws.indexOf(".") + 20;
            const other = vector.jws[at] === "A" ? "B" : "A";
            const code = await codeOf(vector.jws.slice(0, at) + other + vector.jws.slice(at + 1));
            if (code !== "signature_invalid") wrong.push(`${vector.description}, changed: ${code}`);
        }
        for (const vector of bad) {
            const code = await codeOf(vector.jws);
            if (code !== vector.code) wrong.push(`${vector.description}: ${code} instead of ${vector.code}`);
        }
        return { wrong, good: good.length, bad: bad.length, missing: TYPES.filter((typ) => !seen.has(typ)) };
    })()"#;
    let found = browser.eval(script).await.unwrap();
    assert_eq!(found["wrong"], json!([]));
    assert_eq!(found["missing"], json!([]));
    assert!(found["good"].as_u64().unwrap() > 60 && found["bad"].as_u64().unwrap() > 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_anywhere_imports_the_module_from_a_plugin() {
    let world = World::start().await.unwrap();
    let Some(mut browser) = Browser::start(&world).await.unwrap() else {
        return;
    };
    let site = Site::open(&world, "h").await.unwrap();
    let mut baker = Person::new(&world, "baker").unwrap();
    baker.join(&site, super::DOLLAR).await.unwrap();
    let server = Server::shop(String::new()).await;
    browser
        .goto(&format!("{}/blank", server.url))
        .await
        .unwrap();
    let script = format!(
        r#"(async () => {{
            const {{ Plugin }} = await import("{url}/web/latest/atomicity.js");
            const plugin = new Plugin("{url}");
            const info = await plugin.info();
            const same = await import(`{url}${{info.web_module}}`);
            const profile = await new same.Plugin("{url}").profile("{baker}");
            return {{ key: info.plugin, name: profile.record.name, by: profile.authority.by, unchecked: profile.unchecked }};
        }})()"#,
        url = site.plugin.http_url(),
        baker = baker.key(),
    );
    let found = browser.eval(&script).await.unwrap();
    assert_eq!(found["key"], site.plugin.key());
    assert_eq!(found["name"], "baker");
    assert_eq!(found["by"], "root");
    assert_eq!(found["unchecked"], json!(["newest"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_claims_anothers_key_gets_no_proof_for_it() {
    let world = World::start().await.unwrap();
    let Some((mut browser, _server)) = blank(&world).await else {
        return;
    };
    let site = Site::open(&world, "h").await.unwrap();
    let mut baker = Person::new(&world, "baker").unwrap();
    baker.join(&site, super::DOLLAR).await.unwrap();
    // It passes on what the honest one says of itself, its key too.
    let liar = Liar::start(&site.plugin).await;
    let make = r#"(async () => {
        const { newAppKey } = await import("/web/atomicity.js");
        const { keys, publicKey } = await newAppKey();
        window.keys = keys;
        window.asked = [];
        const real = window.fetch;
        window.fetch = (url, options) => { window.asked.push(new URL(url).pathname); return real(url, options); };
        return publicKey;
    })()"#;
    let key = browser.eval(make).await.unwrap();
    let grant = granted(&baker, key.as_str().unwrap()).await;
    let mut sign_in = async |address: String, grant: &str| {
        let script = format!(
            r#"(async () => {{
                const {{ Plugin }} = await import("/web/atomicity.js");
                window.asked = [];
                const how = await Promise.resolve().then(() => new Plugin("{address}").signIn("{grant}", window.keys))
                    .then((session) => session.user, (error) => error.code ?? String(error));
                return [how, window.asked];
            }})()"#
        );
        browser.eval(&script).await.unwrap()
    };
    let (honest, lying) = (site.plugin.http_url(), &liar.url);
    let info = json!(["/v0/info"]);
    let own = pubky::Keypair::random().public_key().z32();
    // The user's wallet said which key the plugin there has: the proof is for that one alone, and is not made.
    let found = sign_in(format!("{own}@{lying}"), &grant).await;
    assert_eq!(found, json!(["plugin_foreign", info]));
    let found = sign_in(lying.clone(), &grant).await;
    assert_eq!(found, json!(["plugin_key_missing", []]));
    let found = sign_in("no address".to_owned(), &grant).await;
    assert_eq!(found, json!(["address_invalid", []]));
    let address = format!("{}@{honest}", site.plugin.key());
    let found = sign_in(address.clone(), "half.a").await;
    assert_eq!(found, json!(["grant_unreadable", []]));
    let found = sign_in(address, &grant).await;
    assert_eq!(found, json!([baker.key(), ["/v0/info", "/v0/sessions"]]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_read_the_same_wherever_it_is_cut() {
    let world = World::start().await.unwrap();
    let Some((mut browser, _server)) = blank(&world).await else {
        return;
    };
    let script = r#"(async () => {
        const { events } = await import("/web/events.js");
        const said = "id: 1\r\nevent: a\r\ndata: one\r\ndata: more\u2028\r\n\r\n: nothing\r\n\r\nid: 2\rdata: two\r\rdata: three\n\n";
        const read = async (cuts) => {
            const parts = [0, ...cuts, said.length].map((from, at, all) => said.slice(from, all[at + 1])).slice(0, -1);
            const body = new ReadableStream({ start(to) {
                for (const part of parts) to.enqueue(new TextEncoder().encode(part));
                to.close();
            } });
            const seen = [];
            const end = new AbortController();
            for await (const event of events(async () => new Response(body), { signal: end.signal })) {
                seen.push([event.name, event.id ?? null, event.data]);
                if (seen.length === 3) end.abort();
            }
            return JSON.stringify(seen);
        };
        const whole = await read([]);
        const wrong = [];
        for (let at = 1; at < said.length; at += 1) if ((await read([at])) !== whole) wrong.push(at);
        const single = await read([...said].map((_, at) => at).slice(1));
        return { whole: JSON.parse(whole), wrong, single: single === whole };
    })()"#;
    let found = browser.eval(script).await.unwrap();
    let whole = json!([
        ["a", "1", "one\nmore\u{2028}"],
        ["message", "2", "two"],
        ["message", null, "three"]
    ]);
    assert_eq!(found, json!({"whole": whole, "wrong": [], "single": true}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_an_error_is_no_live_stream() {
    let world = World::start().await.unwrap();
    let Some((mut browser, _server)) = blank(&world).await else {
        return;
    };
    // As `fetch` answers: it does not throw for an error.
    let script = r#"(async () => {
        const { events } = await import("/web/events.js");
        const run = async (statuses) => {
            const states = [], seen = [];
            const end = new AbortController();
            const open = async () => {
                const status = statuses.shift();
                return new Response(status === 200 ? "data: here\n\n" : "{}", { status });
            };
            const given = { signal: end.signal, onState: (state) => states.push(state), pause: 1 };
            try {
                for await (const event of events(open, given)) { seen.push(event.data); end.abort(); }
            } catch (error) {
                seen.push(error.code);
            }
            return [states, seen];
        };
        return [await run([401]), await run([404]), await run([503, 429, 200])];
    })()"#;
    let found: Value = browser.eval(script).await.unwrap();
    assert_eq!(
        found,
        json!([
            [[], ["http_401"]],
            [[], ["http_404"]],
            [["waiting", "waiting", "live"], ["here"]]
        ])
    );
}

//! The same in a browser without scripts.

use reqwest::Method;
use serde_json::json;

use super::{FAR, INVOICE, Payee, id, offer, part};
use crate::support::browser::{Browser, Shown};

const NAME: &str = "<b>Carla</b>";

fn browser(payee: &Payee) -> Browser {
    Browser::new(&format!("http://{}", payee.plugin.addresses.http))
}

fn bill(payee: &Payee, n: u8) -> String {
    format!("/u/{}/requests/{}", payee.key(), id(n))
}

#[track_caller]
fn shows(page: &Shown, words: &[&str]) {
    assert_eq!(page.status.as_u16(), 200, "{}", page.html);
    assert!(page.html.len() < 100_000);
    for words in words {
        assert!(page.html.contains(words), "{words}: {}", page.html);
    }
}

#[track_caller]
fn hides(page: &Shown, words: &[&str]) {
    for words in words {
        assert!(!page.html.contains(words), "{words}: {}", page.html);
    }
}

/// Where an answer leads.
#[track_caller]
fn leads_to(answer: &Shown) -> String {
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.html);
    answer.headers["location"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_pays_without_scripts() {
    let payee = Payee::new().await;
    payee.publish(1, |asked| asked["memo"] = json!("<i>dinner</i>"));
    let browser = browser(&payee);
    let bill = bill(&payee, 1);
    let chosen = format!("{bill}?amount=30");
    let action = format!("{bill}/guest");
    // Nobody takes guests yet.
    let page = browser.get(&chosen).await;
    shows(&page, &["This page does not see what is paid like that."]);
    hides(&page, &["Pay over Lightning", &action]);
    payee
        .welcome(&[("lightning", "USD/2"), ("onchain", "EUR/2")])
        .await;
    let open = browser.get(&bill).await;
    shows(
        &open,
        &["then you can pay it here, over Lightning, and it counts by itself"],
    );
    hides(&open, &["Pay over Lightning"]);
    let page = browser.get(&chosen).await;
    shows(&page, &["Pay over Lightning", "above counts by itself"]);
    hides(&page, &["Pay on-chain"]);

    let drawn = page.field(&action, "id");
    let fields = |id: &str| {
        [
            ("id", id.to_owned()),
            ("amount", page.field(&action, "amount")),
            ("name", NAME.to_owned()),
            ("way", "lightning".to_owned()),
        ]
    };
    let form = fields(&drawn);
    let form: Vec<(&str, &str)> = form.iter().map(|(name, text)| (*name, &**text)).collect();
    // Nobody else's page sends it.
    for headers in [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        let foreign = browser.post_with(&action, &form, &[headers]).await;
        foreign.assert_code(403, "form_foreign");
    }
    assert!(payee.listed("").await.is_empty());
    let to = leads_to(&browser.post(&action, &form).await);
    assert_eq!(to, format!("{action}/{drawn}"));
    // Sent twice it is one.
    assert_eq!(leads_to(&browser.post(&action, &form).await), to);
    assert_eq!(payee.listed("").await.len(), 1);

    let asking = browser.get(&to).await;
    let carla = "&lt;b&gt;Carla&lt;/b&gt;";
    shows(
        &asking,
        &[
            "Asking the wallet of",
            "30.00 USD",
            "&lt;i&gt;dinner&lt;/i&gt;",
            carla,
            "load this page again",
        ],
    );
    shows(
        &asking,
        &["id=\"silent\" hidden", &format!("{bill}?amount=30.00")],
    );
    hides(&asking, &["<b>", "<i>", "lightning:"]);
    let pool = payee.pool().await;
    let later = "UPDATE guest_parts SET at = at - 31000, changed_at = changed_at - 31000";
    sqlx::query(later).execute(&pool).await.unwrap();
    hides(&browser.get(&to).await, &["id=\"silent\" hidden"]);

    let report = async |body| {
        let path = format!("/v0/me/guest-parts/{drawn}");
        let answer = payee.wallet(Method::PUT, &path, Some(body)).await;
        answer.assert_status(200);
    };
    report(offer()).await;
    let ready = browser.get(&to).await;
    shows(
        &ready,
        &[
            "Ready",
            "<svg class=\"qr\"",
            "45000</data> satoshis",
            "href=\"lightning:LNBC450U1PGUEST\"",
            INVOICE,
            "data-copy=\"target\"",
        ],
    );
    shows(
        &ready,
        &[
            "Open in your Lightning wallet",
            "id=\"late\" role=\"status\" hidden",
        ],
    );
    // Over by the clock, it is to be paid no more.
    sqlx::query("UPDATE guest_parts SET expires = at + 1")
        .execute(&pool)
        .await
        .unwrap();
    shows(&browser.get(&to).await, &["id=\"pay\" hidden"]);
    report(json!({"state": "paid", "amount": "3000"})).await;
    let paid = browser.get(&to).await;
    shows(&paid, &["Paid. Thank you.", &format!("href=\"{bill}\"")]);
    hides(&paid, &["lightning:", "<svg class=\"qr\""]);

    // Who goes back and pays once more means another part, whatever the form says.
    let next = leads_to(&browser.post(&action, &form).await);
    assert_ne!(next, to);
    assert_eq!(payee.listed("").await.len(), 2);
    let mut other = form.clone();
    other[2] = ("name", " ");
    let third = leads_to(&browser.post(&action, &other).await);
    assert_ne!(third, next);
    hides(&browser.get(&third).await, &[", from "]);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_chain_the_page_says_that_it_is_seen_and_what_became_of_it() {
    let payee = Payee::new().await;
    payee.publish(1, |asked| asked["amount"] = json!({"exact": "3000"}));
    payee
        .welcome(&[("lightning", "USD/2"), ("onchain", "USD/2")])
        .await;
    let browser = browser(&payee);
    let bill = bill(&payee, 1);
    shows(
        &browser.get(&bill).await,
        &[
            "Pay on-chain",
            "Pay over Lightning",
            "name=\"amount\" value=\"3000\"",
        ],
    );
    for n in 1..=3 {
        payee
            .ask_from("198.51.100.9", 1, part(n, "3000", "onchain"))
            .await
            .assert_status(201);
    }
    let to = |n: u8| format!("{bill}/guest/{}", id(n));
    payee
        .report(1, json!({"state": "offered", "amount": "3000", "address": "bc1qguest", "price_msat": "45000000", "expires": FAR}))
        .await
        .assert_status(200);
    shows(
        &browser.get(&to(1)).await,
        &[
            "bitcoin:bc1qguest?amount=0.00045",
            "Open in a Bitcoin wallet",
            "bc1qguest</code>",
        ],
    );
    payee
        .report(1, json!({"state": "seen"}))
        .await
        .assert_status(200);
    let seen = browser.get(&to(1)).await;
    shows(&seen, &["on its way", "bc1qguest</code>"]);
    hides(&seen, &["href=\"bitcoin:"]);
    payee
        .report(1, json!({"state": "ended"}))
        .await
        .assert_status(200);
    shows(
        &browser.get(&to(1)).await,
        &["Not paid in time", "If you have paid already"],
    );
    payee
        .report(2, json!({"state": "refused", "reason": "request_full"}))
        .await
        .assert_status(200);
    shows(
        &browser.get(&to(2)).await,
        &["There is no room for it any more"],
    );
    payee
        .report(3, json!({"state": "ended"}))
        .await
        .assert_status(200);
    shows(
        &browser.get(&to(3)).await,
        &["did not answer. Nothing was paid."],
    );
    let gone = browser.get(&to(9)).await;
    gone.assert_code(404, "guest_part_unknown");
    assert!(
        gone.html
            .contains(&format!("<a href=\"{bill}\">Back to the bill</a>")),
        "{}",
        gone.html
    );
    browser
        .get(&format!("{bill}/guest/x"))
        .await
        .assert_code(400, "id_malformed");

    // What can't be taken is said on a page that leads back.
    let action = format!("{bill}/guest");
    let drawn = id(4).to_string();
    for (amount, way, name, status, code) in [
        ("1", "lightning", "", 400, "guest_part_invalid"),
        ("3000", "cash", "", 400, "body_malformed"),
        ("3000", "lightning", "a\u{202e}b", 400, "guest_part_invalid"),
        ("x", "lightning", "", 400, "body_malformed"),
    ] {
        let form = [
            ("id", &*drawn),
            ("amount", amount),
            ("way", way),
            ("name", name),
        ];
        let refused = browser.post(&action, &form).await;
        refused.assert_code(status, code);
        assert!(
            refused.html.contains("Back to the bill"),
            "{}",
            refused.html
        );
    }
    payee.welcome(&[("onchain", "USD/2")]).await;
    let form = [("id", &*drawn), ("amount", "3000"), ("way", "lightning")];
    browser
        .post(&action, &form)
        .await
        .assert_code(404, "guests_unwelcome");
    payee.wallet(Method::DELETE, "/v0/me", None).await;
    browser
        .post(&action, &form)
        .await
        .assert_code(404, "page_unknown");
}

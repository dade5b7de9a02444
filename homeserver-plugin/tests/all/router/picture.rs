//! The picture of the graph around a user: only channels that both ends have published are in it.

use atomicity_ledger::record::Advert;
use reqwest::Method;
use serde_json::json;

use super::people::*;
use crate::support::plugin::Plugin;
use crate::support::until;
use crate::support::world::{HomeServer, World};

async fn asked(plugin: &Plugin, of: &Somebody<'_>) -> reqwest::Response {
    let path = format!("/explore/users/{}", of.user());
    let request = plugin
        .request(Method::GET, &path)
        .header("accept", "text/html");
    request.send().await.unwrap()
}

async fn page(plugin: &Plugin, of: &Somebody<'_>) -> String {
    let answer = asked(plugin, of).await;
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

/// How many advertisements of somebody the router knows.
async fn known(plugin: &Plugin, of: &Somebody<'_>) -> usize {
    let answer = get(plugin, &format!("/v0/router/users/{}", of.user())).await;
    answer.body["adverts"].as_array().map_or(0, Vec::len)
}

/// Whether anything of a page says that somebody exists: in the picture, its links and titles, or the table.
fn shows(html: &str, who: &Somebody<'_>) -> bool {
    // Who has no name is called by the beginning of their key.
    html.contains(&who.user().to_z32()[..8])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_only_one_end_publishes_is_in_no_picture() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let middle = Somebody::at(&world, &home).await;
    let friend = Somebody::at(&world, &home).await;
    // Of whom the middle one speaks, who speaks of them, who speaks of their friend, and of whom nobody says anything.
    let praised = Somebody::at(&world, &home).await;
    let boaster = Somebody::at(&world, &home).await;
    let behind = Somebody::at(&world, &home).await;
    let silent = Somebody::at(&world, &home).await;
    let gone = Somebody::at(&world, &home).await;
    middle.publish(
        1,
        &[
            (&friend, both(1_000)),
            (&praised, both(500)),
            (&gone, both(1_000)),
        ],
    );
    friend.publish(1, &[(&middle, both(1_000))]);
    boaster.publish(1, &[(&middle, both(200))]);
    behind.publish(1, &[(&friend, both(100))]);
    gone.publish(1, &[(&middle, both(1_000))]);
    // In a unit of its own too, which comes before the other.
    let mut praise = middle.advert(&praised.user(), 2, both(500), now() + DAY);
    let mut other = both(50).units()[0].clone();
    other["unit"] = json!("AAA/2");
    praise["units"].as_array_mut().unwrap().insert(0, other);
    let praise = signed::<Advert>(praise, &middle.root);
    middle.put(&format!("{ROUTES}{}", praised.user()), praise);

    let seeds = [
        &middle, &friend, &praised, &boaster, &behind, &silent, &gone,
    ];
    let plugin = router(&world, &seeds, |config| {
        config.pages.enabled = true;
        config.pages.strangers = true;
    })
    .await;
    until("the router has started", || async {
        asked(&plugin, &middle).await.status() != 503
    })
    .await;
    // All of it has arrived: what is missing in the picture is not missing because nobody knows it.
    until("everything is read", || async {
        let html = page(&plugin, &middle).await;
        shows(&html, &friend)
            && shows(&html, &gone)
            && known(&plugin, &boaster).await == 1
            && known(&plugin, &behind).await == 1
            && known(&plugin, &middle).await == 3
    })
    .await;
    gone.list(ROUTES, &[]);
    gone.delete(&format!("{ROUTES}{}", middle.user()));
    until("who took it back is gone", || async {
        !shows(&page(&plugin, &middle).await, &gone)
    })
    .await;

    let html = page(&plugin, &middle).await;
    for hidden in [&praised, &boaster, &behind, &silent, &gone] {
        assert!(!shows(&html, hidden), "{html}");
    }
    for said in ["5.00", "2.00", "1.00", "0.50", "AAA/2"] {
        assert!(!html.contains(said), "{said}: {html}");
    }
    // The header has circles of its own.
    let (_, picture) = html.split_once("<svg class=\"graph\"").unwrap();
    assert_eq!(picture.matches("<circle").count(), 2, "{html}");
    assert_eq!(picture.matches("<line").count(), 1, "{html}");
    // Both directions of the one channel, and the heading.
    assert_eq!(html.matches("<tr>").count(), 3, "{html}");
    // Around those whom nobody answers there is nothing at all.
    for alone in [&praised, &boaster, &behind, &silent] {
        let html = page(&plugin, alone).await;
        assert!(html.contains("Nobody has published a channel"), "{html}");
        assert!(!html.contains("<svg class=\"graph\"") && !html.contains("<table"));
        assert!(!shows(&html, &middle) && !shows(&html, &friend), "{html}");
    }

    // The other end answers: there it is.
    friend.publish(2, &[(&middle, both(1_000)), (&behind, both(1_000))]);
    until("both ends have said it", || async {
        shows(&page(&plugin, &middle).await, &behind)
    })
    .await;
}

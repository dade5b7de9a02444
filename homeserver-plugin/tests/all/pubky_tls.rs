//! The plugin found and reached by its key alone.

use pubky::PubkyHttpClient;
use reqwest::Method;

use crate::support::plugin::Plugin;

#[tokio::test]
async fn the_plugin_is_found_and_reached_by_its_key_alone() {
    let network = mainline::Testnet::builder(4).build().unwrap();
    let plugin =
        Plugin::start_with(|config| config.network.dht_bootstrap.clone_from(&network.bootstrap))
            .await;
    let client = PubkyHttpClient::builder()
        .pkarr(|pkarr| {
            pkarr
                .no_default_network()
                .bootstrap(&network.bootstrap)
                .dht_report_policy(pkarr::dht::ReportPolicy::testnet())
        })
        .build()
        .unwrap();
    let get = async |path: &str| {
        let url = format!("https://{}{path}", plugin.key()).parse().unwrap();
        client
            .request_async(Method::GET, url)
            .await
            .ok()?
            .send()
            .await
            .ok()
    };
    crate::support::until("the packet is published", || async {
        get("/v0/info").await.is_some()
    })
    .await;
    let info: serde_json::Value = get("/v0/info").await.unwrap().json().await.unwrap();
    assert_eq!(info["plugin"], plugin.key());
    assert_eq!(info["max_record_bytes"], 65_536);
    // What is for the operator's eyes is not served to the world.
    assert_eq!(get("/metrics").await.unwrap().status(), 404);
    assert_eq!(
        plugin
            .request(Method::GET, "/metrics")
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

//! Paykit endpoints: what we write is read by Paykit's own library and what it writes is read by us, on a real homeserver.

mod conformance;
mod faults;

use std::collections::BTreeSet;
use std::time::Duration;

use atomicity_e2e::{Homeserver, World};
use atomicity_ledger::{Unit, UserKey};
use atomicity_paykit_adapter::{
    AdapterError, AppId, CreditEndpoint, Endpoint, Listing, MethodId, Reader,
};
use paykit_lib::{PaykitAppId, PaymentEndpointIdentifier, PaymentEndpointPayload};
use pubky::{ClientId, Keypair, PubkySession};

/// A user of a homeserver, with a session of ours, and one of the version that Paykit's library is built on.
struct Person {
    key: UserKey,
    session: PubkySession,
    reader: Reader,
    paykit_key: pubky016::PublicKey,
    paykit_session: pubky016::PubkySession,
    paykit_storage: pubky016::PublicStorage,
}

impl Person {
    async fn join(world: &World, server: &Homeserver) -> Self {
        let keypair = Keypair::random();
        let sdk = world.sdk().unwrap();
        let signer = sdk.signer(keypair.clone());
        signer.signup(&server.key(), None).await.unwrap();
        let session = signer
            .signin(ClientId::new("e2e.test").unwrap())
            .await
            .unwrap();

        let paykit_sdk = older_sdk(world);
        let paykit_keypair = pubky016::Keypair::from_secret(&keypair.secret());
        let paykit_session = paykit_sdk
            .signer(paykit_keypair.clone())
            .signin(pubky016::ClientId::new("paykit.test").unwrap())
            .await
            .unwrap();
        Self {
            key: user_key(&keypair),
            reader: Reader::new(world.sdk().unwrap().client().clone()),
            session,
            paykit_key: paykit_keypair.public_key(),
            paykit_session,
            paykit_storage: paykit_sdk.public_storage(),
        }
    }

    async fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.session.storage().put(path, body.into()).await.unwrap();
    }

    async fn text(&self, path: &str) -> String {
        self.session
            .storage()
            .get(path)
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    /// Everything that Paykit's library finds of one app, name and content, in order.
    async fn paykit_list(&self, app: &str) -> Vec<(String, String)> {
        let app = PaykitAppId::new(app).unwrap();
        let list = paykit_lib::get_payment_list(&self.paykit_storage, &self.paykit_key, &app)
            .await
            .unwrap();
        let endpoints = list.payment_endpoints.into_iter();
        let mut found: Vec<_> = endpoints
            .map(|(id, payload)| (id.to_string(), payload.into_inner()))
            .collect();
        found.sort();
        found
    }

    async fn paykit_set(&self, app: &str, name: &str, payload: &str) {
        paykit_lib::set_payment_endpoint(
            &self.paykit_session,
            &PaykitAppId::new(app).unwrap(),
            PaymentEndpointIdentifier::new(name).unwrap(),
            PaymentEndpointPayload::new(payload),
        )
        .await
        .unwrap();
    }

    async fn paykit_registry(&self) -> paykit_lib::PaykitAppRegistry {
        let found =
            paykit_lib::get_paykit_app_registry(&self.paykit_storage, &self.paykit_key).await;
        found.unwrap().unwrap()
    }
}

fn older_sdk(world: &World) -> pubky016::Pubky {
    let nodes = world.bootstrap();
    let client = pubky016::PubkyHttpClient::builder()
        .pkarr(|builder| {
            builder
                .no_default_network()
                .bootstrap(&nodes)
                .no_relays()
                .dht_report_policy(pkarr::dht::ReportPolicy::testnet())
                .dht_request_timeout(Duration::from_millis(100))
        })
        .build()
        .unwrap();
    pubky016::Pubky::with_client(client)
}

fn user_key(keypair: &Keypair) -> UserKey {
    keypair.public_key().z32().parse().unwrap()
}

fn method(name: &str) -> MethodId {
    MethodId::new(name).unwrap()
}

fn app(name: &str) -> AppId {
    AppId::new(name).unwrap()
}

fn unit(text: &str) -> Unit {
    text.parse().unwrap()
}

fn units(texts: &[&str]) -> BTreeSet<Unit> {
    texts.iter().map(|text| unit(text)).collect()
}

/// Endpoints as `app method value`.
fn lines(listing: &Listing) -> Vec<String> {
    let app = |e: &Endpoint| e.app.as_ref().map_or("-".to_owned(), ToString::to_string);
    listing
        .endpoints
        .iter()
        .map(|e| format!("{} {} {}", app(e), e.method, e.payload.value()))
        .collect()
}

/// Faults as `code path`, sorted.
fn faults(listing: &Listing) -> Vec<String> {
    let mut faults: Vec<_> = listing
        .faults
        .iter()
        .map(|f| format!("{} {}", f.error.code(), f.path))
        .collect();
    faults.sort();
    faults
}

fn open_units(listing: &Listing) -> BTreeSet<Unit> {
    let endpoints: Result<Vec<CreditEndpoint>, AdapterError> = listing.credit().collect();
    endpoints
        .unwrap()
        .iter()
        .flat_map(|endpoint| endpoint.units().clone())
        .collect()
}

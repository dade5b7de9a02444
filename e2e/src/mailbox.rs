//! An account at a plugin, used over plain HTTP as any program could.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pubky::{ClientId, Keypair};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::{Homeserver, Plugin, World};

/// A user with an account at a plugin, and one known counterparty.
#[derive(Clone, Debug)]
pub struct Mailbox {
    http: reqwest::Client,
    base: String,
    user: String,
    token: String,
    tag: String,
}

/// What waits in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its number.
    pub id: String,
    /// The sealed message.
    pub content: Vec<u8>,
}

impl Mailbox {
    /// Makes a user, signs them up at `homeserver`, and registers them at `plugin`.
    ///
    /// # Errors
    /// If any of it is refused.
    pub async fn open(world: &World, homeserver: &Homeserver, plugin: &Plugin) -> Result<Self> {
        let user = Keypair::random();
        let sdk = world.sdk()?;
        let signer = sdk.signer(user.clone());
        signer.signup(&homeserver.key(), None).await?;
        let app = ClientId::new("e2e.test").map_err(|error| anyhow::anyhow!("{error}"))?;
        let session = signer.signin(app).await?;
        let claims = json!({"audience": plugin.key(), "purpose": "atomicity-session"});
        let grant = session.as_grant().context("no grant session")?;
        let proof = grant.create_custom_pop(claims).await?;

        let mut mailbox = Self {
            http: reqwest::Client::new(),
            base: plugin.http_url(),
            user: user.public_key().z32(),
            token: String::new(),
            tag: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()),
        };
        let opened = mailbox.http.post(mailbox.url("/v0/sessions"));
        let opened = answer(opened.json(&json!({"proof": proof})), &[201]).await?;
        let token = opened
            .get("token")
            .and_then(Value::as_str)
            .context("no token")?;
        token.clone_into(&mut mailbox.token);
        let me = mailbox
            .http
            .put(mailbox.url("/v0/me"))
            .bearer_auth(&mailbox.token);
        answer(me, &[201]).await?;
        let tags = mailbox
            .http
            .put(mailbox.url("/v0/me/tags"))
            .bearer_auth(&mailbox.token);
        answer(tags.json(&json!({"tags": [mailbox.tag]})), &[200, 204]).await?;
        Ok(mailbox)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The user's key in z-base32.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The token of the user's session.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Posts `content` as the counterparty does. The answer, whatever it is.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn post(&self, content: &[u8]) -> Result<reqwest::Response> {
        let envelope = json!({
            "to": self.user,
            "tag": self.tag,
            "ciphertext": URL_SAFE_NO_PAD.encode(content),
        });
        let path = format!("/v0/inbox/{}", self.user);
        Ok(self
            .http
            .post(self.url(&path))
            .json(&envelope)
            .send()
            .await?)
    }

    /// Posts `content`, which must be taken. Its number.
    ///
    /// # Errors
    /// If it is refused or there is no answer.
    pub async fn deliver(&self, content: &[u8]) -> Result<String> {
        let taken = self.post(content).await?;
        let status = taken.status();
        ensure!(
            status == StatusCode::CREATED || status == StatusCode::OK,
            "refused with {status}: {}",
            taken.text().await?
        );
        let taken: Value = taken.json().await?;
        Ok(taken
            .get("id")
            .and_then(Value::as_str)
            .context("no id")?
            .to_owned())
    }

    /// Everything that waits, in order.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub async fn read(&self) -> Result<Vec<Waiting>> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let page = self
                .http
                .get(self.url(&format!("/v0/inbox?limit=500{after}")));
            let page = answer(page.bearer_auth(&self.token), &[200]).await?;
            let items = page
                .get("items")
                .and_then(Value::as_array)
                .context("no items")?;
            for item in items {
                let id = item
                    .get("id")
                    .and_then(Value::as_str)
                    .context("no id")?
                    .to_owned();
                let content = item.pointer("/envelope/ciphertext").and_then(Value::as_str);
                let content = URL_SAFE_NO_PAD.decode(content.context("no ciphertext")?)?;
                all.push(Waiting { id, content });
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(all),
            }
        }
    }
}

async fn answer(request: RequestBuilder, expected: &[u16]) -> Result<Value> {
    let answer = request.send().await?;
    let (status, url) = (answer.status(), answer.url().clone());
    let body = answer.text().await?;
    ensure!(
        expected.contains(&status.as_u16()),
        "{url} answered {status}: {body}"
    );
    if body.is_empty() {
        return Ok(Value::Null);
    }
    Ok(serde_json::from_str(&body)?)
}

//! A reader of server-sent events.

use futures_util::StreamExt as _;
use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::plugin::Account;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub id: Option<String>,
    pub name: String,
    pub data: String,
}

impl Event {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

pub struct Events {
    bytes: futures_util::stream::BoxStream<'static, reqwest::Result<axum::body::Bytes>>,
    text: String,
}

impl Events {
    pub async fn open(account: &Account<'_>, query: &str, last: Option<i64>) -> Self {
        let response = Self::try_open(account, query, last).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self::of(response)
    }

    /// What comes over this connection.
    pub fn of(response: Response) -> Self {
        Self {
            bytes: response.bytes_stream().boxed(),
            text: String::new(),
        }
    }

    pub async fn try_open(account: &Account<'_>, query: &str, last: Option<i64>) -> Response {
        let mut request =
            account.request(reqwest::Method::GET, &format!("/v0/inbox/events{query}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        request.send().await.unwrap()
    }

    /// Waits for an event of this name, whatever comes before it.
    pub async fn expect(&mut self, name: &str) {
        while let Some(event) = self.next().await {
            if event.name == name {
                return;
            }
        }
        panic!("the stream has ended without {name}");
    }

    /// The next event with a name; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let event = parse(block);
                self.text = rest.to_owned();
                if !event.name.is_empty() {
                    return Some(event);
                }
            }
            match self.bytes.next().await {
                Some(Ok(bytes)) => self.text.push_str(std::str::from_utf8(&bytes).unwrap()),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next event, which must be an envelope: its id.
    pub async fn envelope(&mut self) -> i64 {
        let event = self.next().await.expect("the stream goes on");
        assert_eq!(event.name, "envelope");
        let id = event.id.clone().unwrap();
        assert_eq!(event.json()["id"], id.as_str());
        id.parse().unwrap()
    }

    pub async fn ready(&mut self) {
        assert_eq!(self.next().await.expect("the stream goes on").name, "ready");
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("id", value)) => event.id = Some(value.to_owned()),
            Some(("event", value)) => event.name = value.to_owned(),
            Some(("data", value)) => event.data.push_str(value),
            _ => {}
        }
    }
    event
}

//! Reading the own inbox: by pages, and live.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::super::backoff::Backoff;
use super::super::dial;
use super::super::error::NetError;
use super::super::events::EventConnection;
use super::super::fetch::AbortOnDrop;
use super::PluginClient;

/// The most items that are asked for at once.
const MAX_PAGE: u16 = 100;
/// Room for a page of the largest envelopes.
const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;
/// The most envelopes that are acknowledged at once.
const MAX_ACKS: usize = 500;
/// Events that wait for their consumer; beyond that the plugin waits.
const MAX_READY: usize = 64;

/// An envelope that waits in the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InboxItem {
    /// The plugin's name for it: a decimal number that grows.
    pub id: String,
    /// When the plugin took it, Unix milliseconds by its clock.
    pub received_at: u64,
    /// The sealed envelope.
    pub envelope: serde_json::Value,
}

/// A page of the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InboxPage {
    /// The oldest envelopes after the given one, in order.
    pub items: Vec<InboxItem>,
    /// What to give as `after` for the next page; `None` at the end.
    #[serde(default)]
    pub next: Option<String>,
}

/// What [`PluginClient::events`] reports.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InboxEvent {
    /// An envelope.
    Item(InboxItem),
    /// Everything that had waited was delivered; what follows is new.
    Ready,
    /// A guest wants to pay a part of a request of the user's.
    Guests,
    /// The stream broke or can't be opened. It is tried again, ever less often.
    Down(NetError),
    /// It is open again.
    Up,
}

impl PluginClient {
    /// Reads a page of the own inbox: at most `limit` items (1 to 100) after the one named `after`.
    ///
    /// # Errors
    /// Network errors; what the plugin answers.
    pub async fn inbox(&self, after: Option<&str>, limit: u16) -> Result<InboxPage, NetError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let limit_text = limit.to_string();
        let query = super::super::query(
            [("limit", limit_text.as_str())]
                .into_iter()
                .chain(after.map(|after| ("after", after))),
        );
        let path = format!("/v0/inbox?{query}");
        let call = self.request(Method::GET, path).at_most(MAX_PAGE_BYTES);
        let page: InboxPage = self.send_as_user(call).await?.json(&self.label())?;
        let moves_on = page.next.is_none() || page.next.as_deref() != after;
        if !moves_on || page.items.len() > usize::from(limit) || !page.items.iter().all(has_id) {
            return Err(self.malformed("a page of the inbox that is none"));
        }
        Ok(page)
    }

    /// Says that these envelopes were applied and may be forgotten. Saying it twice does no harm. Returns how many were still there.
    ///
    /// # Errors
    /// Network errors; what the plugin answers.
    pub async fn ack(&self, ids: &[String]) -> Result<u64, NetError> {
        #[derive(Deserialize)]
        struct Removed {
            removed: u64,
        }
        let mut total = 0u64;
        for some in ids.chunks(MAX_ACKS) {
            let call = self
                .request(Method::POST, "/v0/inbox/ack")
                .json(&serde_json::json!({ "ids": some }))?;
            let removed: Removed = self.send_as_user(call).await?.json(&self.label())?;
            total = total.saturating_add(removed.removed);
        }
        Ok(total)
    }

    /// The inbox live, from the envelope after `after` on (from the oldest if `None`). Reconnects for ever, going on where it stopped;
    /// dropping the stream ends it.
    #[must_use]
    pub fn events(&self, after: Option<String>) -> InboxStream {
        let (sender, ready) = mpsc::channel(MAX_READY);
        let client = self.clone();
        let driver = tokio::spawn(async move { client.follow(after, sender).await });
        InboxStream {
            ready,
            _driver: AbortOnDrop(driver),
        }
    }

    async fn follow(self, mut after: Option<String>, out: mpsc::Sender<InboxEvent>) {
        let config = self.net().config();
        let mut backoff = Backoff::new(config.backoff_first, config.backoff_longest);
        let mut down = false;
        loop {
            let ended = match self.connect(after.as_deref()).await {
                Ok(events) => {
                    if std::mem::take(&mut down) && out.send(InboxEvent::Up).await.is_err() {
                        return;
                    }
                    self.relay(events, &mut after, &mut backoff, &out).await
                }
                Err(error) => Some(error),
            };
            let Some(error) = ended else {
                return;
            };
            let asked = error.retry_after().unwrap_or(Duration::ZERO);
            down = true;
            if out.send(InboxEvent::Down(error)).await.is_err() {
                return;
            }
            tokio::time::sleep(backoff.fail().max(asked)).await;
        }
    }

    /// Passes events on until the connection ends. `None`: nobody listens any more.
    async fn relay(
        &self,
        mut events: EventConnection,
        after: &mut Option<String>,
        backoff: &mut Backoff,
        out: &mpsc::Sender<InboxEvent>,
    ) -> Option<NetError> {
        loop {
            let event = match events.next().await {
                Ok(Some(event)) => event,
                Ok(None) => {
                    return Some(NetError::Unreachable {
                        server: self.label(),
                        reason: "it ended the stream".to_owned(),
                    });
                }
                Err(error) => return Some(error),
            };
            backoff.succeed();
            let report = match event.event.as_str() {
                "ready" => InboxEvent::Ready,
                "guests" => InboxEvent::Guests,
                "envelope" => match serde_json::from_str::<InboxItem>(&event.data) {
                    Ok(item) if has_id(&item) => {
                        *after = Some(item.id.clone());
                        InboxEvent::Item(item)
                    }
                    _ => return Some(self.malformed("an event that is no envelope")),
                },
                // Kinds that this version does not know.
                _ => continue,
            };
            if out.send(report).await.is_err() {
                return None;
            }
        }
    }

    async fn connect(&self, after: Option<&str>) -> Result<EventConnection, NetError> {
        let mut call = self
            .request(Method::GET, "/v0/inbox/events")
            .header("accept", "text/event-stream")?;
        if let Some(after) = after {
            call = call.header("last-event-id", after)?;
        }
        let token = self.token(None).await?;
        let mut response = self.open(&call.clone().bearer(&token)?).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let token = self.token(Some(&token)).await?;
            response = self.open(&call.clone().bearer(&token)?).await?;
        }
        let label = self.label();
        if !response.status().is_success() {
            let answer = dial::read_body(response, &label, call.max_bytes, call.timeout).await?;
            return Err(answer.failure(&label));
        }
        let idle = self.net().config().stream_idle_timeout;
        Ok(EventConnection::new(response, idle, label))
    }
}

fn has_id(item: &InboxItem) -> bool {
    (1..=20).contains(&item.id.len()) && item.id.bytes().all(|b| b.is_ascii_digit())
}

/// The own inbox, live.
pub struct InboxStream {
    ready: mpsc::Receiver<InboxEvent>,
    _driver: AbortOnDrop,
}

impl Stream for InboxStream {
    type Item = InboxEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(cx)
    }
}

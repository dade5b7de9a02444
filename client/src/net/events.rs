//! An open stream of server-sent events over any of our connections.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::Response;

use super::dial;
use super::error::NetError;
use super::sse::{SseEvent, SseReader};

/// An event may hold one envelope and its frame.
const MAX_EVENT_BYTES: usize = 256 * 1024;

pub(crate) struct EventConnection {
    response: Response,
    reader: SseReader,
    ready: VecDeque<SseEvent>,
    idle: Duration,
    label: String,
}

impl EventConnection {
    /// Reads events from an answer whose status was checked. Silence longer than `idle` counts as a broken connection.
    pub(crate) fn new(response: Response, idle: Duration, label: String) -> Self {
        Self {
            response,
            reader: SseReader::new(MAX_EVENT_BYTES),
            ready: VecDeque::new(),
            idle,
            label,
        }
    }

    /// The next event; `None` when the server has ended the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<SseEvent>, NetError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let chunk = match tokio::time::timeout(self.idle, self.response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) => return Err(dial::explain(error, &self.label, self.idle)),
                Err(_) => {
                    return Err(NetError::Timeout {
                        server: self.label.clone(),
                        after_ms: u64::try_from(self.idle.as_millis()).unwrap_or(u64::MAX),
                    });
                }
            };
            let mut events = Vec::new();
            self.reader
                .feed(&chunk, &mut events)
                .map_err(|_| NetError::TooLarge {
                    server: self.label.clone(),
                    limit: MAX_EVENT_BYTES,
                })?;
            self.ready.extend(events);
        }
    }
}

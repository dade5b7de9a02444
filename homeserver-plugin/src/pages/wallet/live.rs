//! `GET /wallet/events`: tells an open page that something has changed, so that it reads itself again.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};

use super::visitor::Visitor;
use crate::error::PluginError;
use crate::inbox::hub::Listener;
use crate::state::AppState;

/// What comes within this time is told at once.
const TOGETHER: Duration = Duration::from_millis(300);

/// The stream: `changed` whenever something may look different, `ended` when the session is over or the account was switched off.
///
/// # Errors
/// `session_invalid`, `too_many_streams`.
pub async fn stream(
    State(state): State<AppState>,
    visitor: Visitor,
) -> Result<impl IntoResponse, PluginError> {
    let owner = *visitor.caller.user.as_bytes();
    let agent = state.agent.as_ref();
    let watch = Watch {
        news: state.news.listen(owner)?,
        inbox: state.hub.listen(owner)?,
        books: agent.map(|agent| agent.hub().listen(owner)).transpose()?,
        state,
        visitor,
        begun: false,
        ended: false,
    };
    let headers = [("x-accel-buffering", "no"), ("cache-control", "no-store")];
    let stream = Sse::new(watch.stream()).keep_alive(KeepAlive::default());
    Ok((headers, stream))
}

struct Watch {
    state: AppState,
    visitor: Visitor,
    news: Listener,
    inbox: Listener,
    books: Option<Listener>,
    begun: bool,
    ended: bool,
}

impl Watch {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut watch| async move {
            let shutdown = watch.state.shutdown.clone();
            let event = tokio::select! {
                biased;
                () = shutdown.cancelled() => None,
                event = watch.next() => event,
            }?;
            Some((Ok(event), watch))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        // Whatever changed between the page and this stream is seen by reading it once more.
        if self.begun {
            self.wait().await;
            tokio::time::sleep(TOGETHER).await;
        }
        self.begun = true;
        if !self.visitor.caller.may_go_on(&self.state).await {
            self.ended = true;
            return Some(Event::default().event("ended").data("session"));
        }
        Some(Event::default().event("changed").data("page"))
    }

    async fn wait(&mut self) {
        let patience = Duration::from_millis(self.state.config.inbox.poll_ms);
        let Self {
            news, inbox, books, ..
        } = self;
        let books = async {
            match books {
                Some(books) => books.wait(patience).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = news.wait(patience) => {}
            () = inbox.wait(patience) => {}
            () = books => {}
        }
    }
}

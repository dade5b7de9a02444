//! Talking to servers named by key: bounded per server and in all, with a memory of who can't be reached.
//!
//! A server that has not answered yet is tried by one request at a time; the others wait for its outcome and share it. So a dead server
//! costs one time-out and not one for each of its users, and it holds no place that a living one could use.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lru::LruCache;
use reqwest::Response;
use tokio::sync::Semaphore;

use super::backoff::Backoff;
use super::call::{Answer, Call, LONGEST_PAUSE};
use super::dial::{self, Dialer, Route};
use super::error::NetError;
use super::{Net, ServiceKey};
use crate::config::NetworkConfig;

const MAX_SERVERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);
/// Addresses are looked up again after this long even if they work.
const ROUTE_MAX_AGE: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Health {
    /// Whether it answered the last time.
    proven: bool,
    backoff: Backoff,
    not_before: Option<Instant>,
    /// It asked for patience until then.
    paused_until: Option<Instant>,
    /// Whether it knows `/storage/<user>/…` paths; `None` until asked.
    path_addressed: Option<bool>,
}

pub(crate) struct Server {
    key: ServiceKey,
    pub(crate) label: String,
    turns: Semaphore,
    probe: tokio::sync::Mutex<()>,
    route: tokio::sync::Mutex<Option<(Route, Instant)>>,
    health: Mutex<Health>,
}

impl Server {
    fn with_health<T>(&self, act: impl FnOnce(&mut Health) -> T) -> T {
        let mut health = match self.health.lock() {
            Ok(health) => health,
            Err(poisoned) => poisoned.into_inner(),
        };
        act(&mut health)
    }

    fn proven(&self) -> bool {
        self.with_health(|health| health.proven)
    }

    /// Whether it may be tried now.
    fn admit(&self) -> Result<(), NetError> {
        let now = Instant::now();
        let (wait, pause) = self.with_health(|h| (h.not_before, h.paused_until));
        if let Some(until) = pause.filter(|until| *until > now) {
            return Err(NetError::RateLimited {
                server: self.label.clone(),
                code: "rate_limited",
                detail: "it asked for patience".to_owned(),
                retry_after: until.saturating_duration_since(now),
            });
        }
        match wait.filter(|until| *until > now) {
            Some(until) => Err(NetError::Unreachable {
                server: self.label.clone(),
                reason: format!(
                    "it failed a moment ago and is tried again in {} s",
                    until
                        .saturating_duration_since(now)
                        .as_secs()
                        .saturating_add(1)
                ),
            }),
            None => Ok(()),
        }
    }

    fn note<T>(&self, outcome: &Result<T, NetError>) {
        self.with_health(|health| match outcome {
            Err(error) if error.is_network() => {
                health.proven = false;
                health.not_before = Instant::now().checked_add(health.backoff.fail());
            }
            Err(NetError::RefusedAddress { .. } | NetError::Invalid(_)) => {}
            _ => {
                health.proven = true;
                health.backoff.succeed();
                health.not_before = None;
            }
        });
    }

    pub(crate) fn pause(&self, wait: Duration) {
        let until = Instant::now().checked_add(wait.min(LONGEST_PAUSE));
        self.with_health(|health| health.paused_until = until);
    }

    pub(crate) fn path_addressed(&self) -> Option<bool> {
        self.with_health(|health| health.path_addressed)
    }

    pub(crate) fn set_path_addressed(&self, yes: bool) {
        self.with_health(|health| health.path_addressed = Some(yes));
    }
}

pub(crate) struct Servers {
    pub(crate) dialer: Dialer,
    known: Mutex<LruCache<ServiceKey, Arc<Server>>>,
    /// Requests that wait for an answer to begin.
    dials: Semaphore,
    /// Answers being read.
    transfers: Semaphore,
    per_server: usize,
    backoff: Backoff,
}

impl Servers {
    pub(crate) fn new(dialer: Dialer, config: &NetworkConfig) -> Self {
        Self {
            dialer,
            known: Mutex::new(LruCache::new(MAX_SERVERS)),
            dials: Semaphore::new(config.concurrency.saturating_mul(8).max(1)),
            transfers: Semaphore::new(config.concurrency.max(1)),
            per_server: config.per_server.max(1),
            backoff: Backoff::new(config.backoff_first, config.backoff_longest),
        }
    }

    pub(crate) fn get(&self, key: &ServiceKey) -> Arc<Server> {
        let fresh = || {
            Arc::new(Server {
                key: *key,
                label: key.to_z32(),
                turns: Semaphore::new(self.per_server),
                probe: tokio::sync::Mutex::default(),
                route: tokio::sync::Mutex::default(),
                health: Mutex::new(Health {
                    proven: false,
                    backoff: self.backoff.clone(),
                    not_before: None,
                    paused_until: None,
                    path_addressed: None,
                }),
            })
        };
        match self.known.lock() {
            Ok(mut known) => Arc::clone(known.get_or_insert(*key, fresh)),
            Err(_) => fresh(),
        }
    }
}

fn closed(label: &str) -> NetError {
    NetError::Unreachable {
        server: label.to_owned(),
        reason: "shutting down".to_owned(),
    }
}

impl Net {
    /// Sends `call` to the server with this key and reads the whole answer, whatever its status.
    pub(crate) async fn call(&self, key: &ServiceKey, call: &Call) -> Result<Answer, NetError> {
        let server = self.shared.servers.get(key);
        server.admit()?;
        let _turn = server
            .turns
            .acquire()
            .await
            .map_err(|_| closed(&server.label))?;
        // While nobody knows whether it lives, one asks and the others wait for what comes of it.
        let _probe = match server.proven() {
            true => None,
            false => Some(server.probe.lock().await).filter(|_| !server.proven()),
        };
        server.admit()?;
        let outcome = self.over_some_route(&server, call, true).await;
        server.note(&outcome.as_ref().map(|_| ()).map_err(Clone::clone));
        let (answer, _) = outcome?;
        answer.ok_or_else(|| closed(&server.label))
    }

    /// Sends `call` and gives the answer's head with an open body: for event streams.
    pub(crate) async fn open(&self, key: &ServiceKey, call: &Call) -> Result<Response, NetError> {
        let server = self.shared.servers.get(key);
        server.admit()?;
        let outcome = self.over_some_route(&server, call, false).await;
        server.note(&outcome.as_ref().map(|_| ()).map_err(Clone::clone));
        let (_, response) = outcome?;
        response.ok_or_else(|| closed(&server.label))
    }

    /// Tries the route that is known; if nothing answers there and the network knows another one by now, tries that.
    async fn over_some_route(
        &self,
        server: &Server,
        call: &Call,
        whole: bool,
    ) -> Result<(Option<Answer>, Option<Response>), NetError> {
        let route = self.route(server, false).await?;
        let first = self.attempt(server, &route, call, whole).await;
        match first {
            Err(NetError::Unreachable { .. }) => match self.route(server, true).await {
                Ok(anew) if anew != route => self.attempt(server, &anew, call, whole).await,
                _ => first,
            },
            Err(NetError::Timeout { .. }) => {
                *server.route.lock().await = None;
                first
            }
            other => other,
        }
    }

    async fn route(&self, server: &Server, anew: bool) -> Result<Route, NetError> {
        let mut known = server.route.lock().await;
        if let Some((route, at)) = known.as_ref()
            && !anew
            && at.elapsed() < ROUTE_MAX_AGE
        {
            return Ok(route.clone());
        }
        let policy = &self.shared.servers.dialer.policy;
        match self.shared.lookup.route(&server.key, anew, policy).await {
            Ok(route) => {
                *known = Some((route.clone(), Instant::now()));
                Ok(route)
            }
            // An old address is worth a try while the DHT is silent.
            Err(error) => match known.as_ref() {
                Some((route, _)) if error.is_network() => Ok(route.clone()),
                _ => Err(error),
            },
        }
    }

    async fn attempt(
        &self,
        server: &Server,
        route: &Route,
        call: &Call,
        whole: bool,
    ) -> Result<(Option<Answer>, Option<Response>), NetError> {
        let servers = &self.shared.servers;
        let label = server.label.as_str();
        let mut request =
            servers
                .dialer
                .to_server(&server.key, route, call.method.clone(), &call.path)?;
        request = request.headers(call.headers.clone());
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        let response = {
            let _dial = servers.dials.acquire().await.map_err(|_| closed(label))?;
            dial::send(request, label, call.timeout).await?
        };
        if !whole {
            return Ok((None, Some(response)));
        }
        let _transfer = servers
            .transfers
            .acquire()
            .await
            .map_err(|_| closed(label))?;
        let answer = dial::read_body(response, label, call.max_bytes, call.timeout).await?;
        Ok((Some(answer), None))
    }

    /// Sends `call` to an ordinary URL whose path is `call.path`, and reads the whole answer.
    pub(crate) async fn call_url(&self, base: &url::Url, call: &Call) -> Result<Answer, NetError> {
        let label = base.host_str().unwrap_or("the server").to_owned();
        let response = self.open_url(base, call).await?;
        dial::read_body(response, &label, call.max_bytes, call.timeout).await
    }

    /// Sends `call` to an ordinary URL and gives the answer's head with an open body.
    pub(crate) async fn open_url(
        &self,
        base: &url::Url,
        call: &Call,
    ) -> Result<Response, NetError> {
        let label = base.host_str().unwrap_or("the server").to_owned();
        let text = format!("{}{}", base.as_str().trim_end_matches('/'), call.path);
        let url = text
            .parse()
            .map_err(|_| NetError::Invalid(format!("{text} is no web address")))?;
        let mut request = self
            .shared
            .servers
            .dialer
            .to_url(call.method.clone(), url)?
            .headers(call.headers.clone());
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        dial::send(request, &label, call.timeout).await
    }
}

//! A browser without scripts: it keeps cookies, sends forms, and follows where it is sent. And a relay for authenticators.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use reqwest::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, Response, redirect};

use super::sse::Events;

/// What came back.
pub struct Shown {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub html: String,
}

impl Shown {
    /// The value of the first hidden field `name` of the form with this action.
    pub fn field(&self, action: &str, name: &str) -> String {
        let form = self.form(action);
        let mark = format!("name=\"{name}\" value=\"");
        let from = form
            .find(&mark)
            .unwrap_or_else(|| panic!("no {name} in {form}"));
        let rest = &form[from + mark.len()..];
        rest[..rest.find('"').unwrap()].to_owned()
    }

    /// The form with this action.
    pub fn form(&self, action: &str) -> &str {
        let mark = format!("action=\"{action}\"");
        let from = self
            .html
            .find(&mark)
            .unwrap_or_else(|| panic!("no form to {action} in {}", self.html));
        let rest = &self.html[from..];
        &rest[..rest.find("</form>").unwrap()]
    }

    /// The link that an authenticator is to open.
    pub fn authenticator_link(&self) -> String {
        let from = self.html.find("href=\"pubkyauth:").expect("a link") + 6;
        let rest = &self.html[from..];
        rest[..rest.find('"').unwrap()].replace("&amp;", "&")
    }

    #[track_caller]
    pub fn assert_code(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.html);
        assert!(self.html.contains(code), "{}", self.html);
    }
}

/// A browser.
pub struct Browser {
    http: Client,
    base: String,
    cookies: Mutex<BTreeMap<String, String>>,
}

impl Browser {
    pub fn new(base: &str) -> Self {
        let http = Client::builder().redirect(redirect::Policy::none());
        Self {
            http: http.build().unwrap(),
            base: base.to_owned(),
            cookies: Mutex::default(),
        }
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().unwrap().get(name).cloned()
    }

    pub fn set_cookie(&self, name: &str, value: &str) {
        let mut cookies = self.cookies.lock().unwrap();
        cookies.insert(name.to_owned(), value.to_owned());
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let cookies = self.cookies.lock().unwrap();
        let cookies: Vec<String> = cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        request.header("accept", "text/html")
    }

    async fn take(&self, response: Response) -> Shown {
        let (status, headers) = (response.status(), response.headers().clone());
        for set in headers.get_all(SET_COOKIE) {
            let set = set.to_str().unwrap();
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            let mut cookies = self.cookies.lock().unwrap();
            if set.contains("Max-Age=0") {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let html = response.text().await.unwrap();
        Shown {
            status,
            headers,
            html,
        }
    }

    /// Opens a page.
    pub async fn get(&self, path: &str) -> Shown {
        let response = self.request(Method::GET, path).send().await.unwrap();
        self.take(response).await
    }

    /// Opens a stream of events.
    pub async fn stream(&self, path: &str) -> Events {
        let response = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Events::of(response)
    }

    /// Sends a form, and does not follow.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Shown {
        self.post_with(path, fields, &[("sec-fetch-site", "same-origin")])
            .await
    }

    /// The same with these headers.
    pub async fn post_with(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&'static str, &str)],
    ) -> Shown {
        let body = url_encoded(fields);
        let mut request = self
            .request(Method::POST, path)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.take(request.send().await.unwrap()).await
    }

    /// Sends a form and follows where it leads.
    pub async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Shown {
        let answer = self.post(path, fields).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.html);
        let to = answer.headers[LOCATION].to_str().unwrap().to_owned();
        self.get(&to).await
    }
}

fn url_encoded(fields: &[(&str, &str)]) -> String {
    let plain = |text: &str| {
        let bytes = text.bytes();
        bytes
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                    char::from(byte).to_string()
                }
                byte => format!("%{byte:02X}"),
            })
            .collect::<String>()
    };
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{}={}", plain(name), plain(value)));
    pairs.collect::<Vec<_>>().join("&")
}

type Boxes = Arc<Mutex<HashMap<String, Bytes>>>;

/// A relay as authenticators use it: boxes that hold one message each.
pub struct Relay {
    pub url: String,
    boxes: Boxes,
}

impl Relay {
    pub async fn start() -> Self {
        let boxes = Boxes::default();
        let routes = Router::new()
            .route("/inbox/{id}", get(read).post(write).delete(remove))
            .with_state(boxes.clone());
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.unwrap();
        let url = format!("http://{}/inbox/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, boxes }
    }

    /// Whether everything was fetched and thrown away.
    pub fn is_empty(&self) -> bool {
        self.boxes.lock().unwrap().is_empty()
    }
}

async fn read(State(boxes): State<Boxes>, Path(id): Path<String>) -> Result<Bytes, StatusCode> {
    for _ in 0..20 {
        if let Some(message) = boxes.lock().unwrap().get(&id) {
            return Ok(message.clone());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Err(StatusCode::REQUEST_TIMEOUT)
}

async fn write(State(boxes): State<Boxes>, Path(id): Path<String>, body: Bytes) {
    boxes.lock().unwrap().insert(id, body);
}

async fn remove(State(boxes): State<Boxes>, Path(id): Path<String>) -> StatusCode {
    match boxes.lock().unwrap().remove(&id) {
        Some(_) => StatusCode::OK,
        None => StatusCode::NOT_FOUND,
    }
}

//! What a shop serves, and a plugin that lies.

use std::path::PathBuf;
use std::sync::Arc;

use atomicity_e2e::Plugin;
use atomicity_e2e::programs::source_tree;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A web server of the shop: the files as they lie in the source tree, and its own key beside its page.
pub struct Server {
    pub url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(routes: Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = axum::serve(listener, routes).into_future();
        let task = tokio::spawn(async move { drop(serving.await) });
        Self { url, task }
    }

    /// The shop whose key is `shop`.
    pub async fn shop(shop: String) -> Self {
        let config = get(move || async move { axum::Json(json!({"shop": shop})) });
        let config = Router::new().route("/web/examples/shop/config.json", config);
        Self::start(files().merge(config)).await
    }

    /// One whose owner forgot to say whose it is.
    pub async fn nobodys() -> Self {
        Self::start(files()).await
    }

    pub fn page(&self) -> String {
        format!("{}/web/examples/shop/index.html", self.url)
    }
}

/// The source tree, and a page with nothing on it.
fn files() -> Router {
    let blank = get(|| async { axum::response::Html("<title>-</title>") });
    Router::new()
        .route("/blank", blank)
        .route("/{*path}", get(file))
}

/// A file of the source tree.
async fn file(Path(path): Path<String>) -> Response {
    let kind = match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript",
        Some("css") => "text/css",
        Some("html") => "text/html",
        _ => "application/json",
    };
    let wanted = source_tree().join(PathBuf::from(path));
    match tokio::fs::read(wanted).await {
        Ok(bytes) => ([(header::CONTENT_TYPE, kind)], bytes).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A plugin that answers as the real one does, but for the sums that it shows.
#[derive(Clone)]
pub struct Liar(Arc<String>);

impl Liar {
    pub async fn start(plugin: &Plugin) -> Server {
        let liar = Self(Arc::new(plugin.http_url()));
        let routes = Router::new()
            .route("/v0/me/snapshot/events", get(lie).fallback(pass_on))
            .fallback(pass_on)
            .with_state(liar);
        Server::start(routes).await
    }

    async fn ask(&self, request: Request, path: &str) -> reqwest::Response {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 100_000).await.unwrap();
        let mut asked = reqwest::Client::new().request(parts.method, format!("{}{path}", self.0));
        for name in [header::AUTHORIZATION, header::CONTENT_TYPE, header::ORIGIN] {
            if let Some(value) = parts.headers.get(&name) {
                asked = asked.header(name, value);
            }
        }
        for (name, value) in &parts.headers {
            if name.as_str().starts_with("access-control-") {
                asked = asked.header(name, value);
            }
        }
        asked.body(body).send().await.unwrap()
    }
}

async fn pass_on(State(liar): State<Liar>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let answer = liar.ask(request, &path).await;
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    let body = answer.bytes().await.unwrap();
    response.body(Body::from(body)).unwrap()
}

async fn lie(State(liar): State<Liar>, request: Request) -> Response {
    let answer = liar.ask(request, "/v0/me/snapshot").await;
    let mut said: Value = answer.json().await.unwrap();
    let jws = said["snapshot"].as_str().unwrap().to_owned();
    let [head, payload, signature] = jws.split('.').collect::<Vec<_>>()[..] else {
        panic!("{jws}");
    };
    let mut record: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    record["channels"][0]["balance"] = json!("999900");
    let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&record).unwrap());
    said["snapshot"] = json!(format!("{head}.{payload}.{signature}"));
    let event = format!("id: 1\nevent: snapshot\ndata: {said}\n\n");
    let headers = [
        ("content-type", "text/event-stream"),
        ("access-control-allow-origin", "*"),
    ];
    (headers, event).into_response()
}

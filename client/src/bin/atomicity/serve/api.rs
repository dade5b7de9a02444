//! The routes together, what surrounds them, and their description.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Ref, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::BODY;
use super::gate::{self, Gate};
use super::problem::Problem;
use super::state::Served;
use super::{events, operations, routes};

/// The parts of the document that no route gives.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Atomicity wallet",
        description = "One user's wallet, for programs on the user's own machine. What it answers is what `atomicity … --json` prints. \
                       Times are Unix milliseconds, amounts decimal strings of minor units, keys z-base-32. Errors are problem details \
                       (RFC 9457) with the codes and hints of the command line. What moves money takes an `Idempotency-Key`: asked \
                       again with the same key it is not done again, whatever happened in between."
    ),
    tags(
        (name = "wallet", description = "Whose wallet this is, and how it stands."),
        (name = "friends", description = "Friends, and how much either may owe the other."),
        (name = "payments", description = "Paying, being paid, handing claims on."),
        (name = "requests", description = "Asking to be paid, paying what others ask for, calling debts in."),
        (name = "settlements", description = "Debts that are paid off outside."),
        (name = "rails", description = "What pays outside, within which limits, at which rates."),
        (name = "endpoints", description = "Where one can be paid outside."),
        (name = "accounts", description = "Keys that may spend for the user."),
        (name = "operations", description = "How far things are that move money."),
        (name = "news", description = "What happens, live."),
        (name = "health", description = "Whether it answers."),
    ),
    components(schemas(Problem)),
    modifiers(&Common)
)]
struct ApiDoc;

/// The token.
struct Common;

impl utoipa::Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("token", scheme);
    }
}

/// What every operation behind the token has in common.
fn describe(method: &str, path: &str, operation: &mut Operation) {
    let words = path.trim_start_matches("/v0/").split('/');
    let words = words.map(|word| word.trim_matches(['{', '}']).replace('-', "_"));
    let name: Vec<String> = std::iter::once(method.to_owned()).chain(words).collect();
    operation.operation_id = Some(name.join("_"));
    let empty: [String; 0] = [];
    operation.security = Some(vec![SecurityRequirement::new("token", empty)]);
    let content = Content::new(Some(Ref::from_schema_name("Problem")));
    let problem = ResponseBuilder::new()
        .description("A problem")
        .content("application/problem+json", content);
    let responses = &mut operation.responses.responses;
    responses.insert("default".to_owned(), problem.build().into());
}

/// Whether the process answers.
#[utoipa::path(get, path = "/health", tag = "health",
    responses((status = 200, body = Value, description = "It does")))]
async fn health() -> Json<Value> {
    Json(json!({ "ok": true, "version": env!("CARGO_PKG_VERSION") }))
}

/// The routes behind the token, those before it, and the document.
fn parts() -> (Router<Served>, Router<Served>, utoipa::openapi::OpenApi) {
    let guarded = OpenApiRouter::new()
        .merge(routes::all())
        .merge(operations::routes())
        .merge(events::routes());
    let (guarded, mut document) = guarded.split_for_parts();
    for (path, item) in &mut document.paths.paths {
        let all = [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in all {
            if let Some(operation) = operation {
                describe(method, path, operation);
            }
        }
    }
    let open = OpenApiRouter::with_openapi(ApiDoc::openapi()).routes(routes!(health));
    let (open, mut whole) = open.split_for_parts();
    whole.merge(document);
    (guarded, open, whole)
}

/// The description of the API.
pub fn document() -> utoipa::openapi::OpenApi {
    parts().2
}

/// Everything that is served.
pub fn router(served: Served, gate: Arc<Gate>) -> Router {
    let (guarded, open, document) = parts();
    let text = document.to_json().unwrap_or_default();
    let about = get(|State(_): State<Served>| async move {
        ([(header::CONTENT_TYPE, "application/json")], text).into_response()
    });
    let guarded = guarded.layer(from_fn_with_state(gate.clone(), gate::token));
    open.merge(guarded)
        .route("/openapi.json", about)
        .fallback(gate::not_found)
        .method_not_allowed_fallback(gate::method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn_with_state(gate.clone(), gate::bounds))
        .layer(gate.cors())
        .layer(from_fn_with_state(gate, gate::own_host))
        .layer(from_fn(gate::harden))
        .with_state(served)
}

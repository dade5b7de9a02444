//! Operations: what moves money is done once for each key, however often it is asked for.
//!
//! What was asked for is noted in the wallet's store before anything is done, what came of it in the transaction that signs it, and the
//! answer after that. It is done by a task of its own: who asked may go away.

use std::time::Duration;

use atomicity_client::ClientError;
use atomicity_client::wallet::OperationView;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Named, Once, check_key};
use super::problem::{Answer, Problem};
use super::state::{Outcome, Served, perform, taken};
use super::words::Words;

/// Operations that are under way at the same time.
const AT_ONCE: usize = 32;

/// The routes about operations.
pub fn routes() -> OpenApiRouter<Served> {
    OpenApiRouter::new().routes(routes!(show))
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

fn value(key: &str, view: &OperationView, running: bool) -> Value {
    let state = match (running, &view.answer, view.failed) {
        (true, ..) => "running",
        (false, Some(_), false) => "done",
        (false, Some(_), true) => "failed",
        (false, None, _) => "interrupted",
    };
    let answer = view.answer.as_deref().map(read).filter(|_| !running);
    let (answer, problem) = match view.failed {
        true => (None, answer),
        false => (answer, None),
    };
    let made = view.made.as_ref();
    json!({
        "operation": key,
        "state": state,
        "made": made.map(|(kind, id)| json!({ "kind": kind.as_str(), "id": id.to_string() })),
        "answer": answer,
        "problem": problem,
        "created_at": view.created_at,
        "ended_at": view.ended_at,
    })
}

/// Shows how far an operation is.
///
/// `running`; `done`, with the answer; `failed`, with the problem: ask again with the same key, and it goes on; `interrupted` if this
/// process was ended in between: ask again with the same key. `made` names what was signed, as soon as something was.
#[utoipa::path(
    get,
    path = "/v0/operations/{key}",
    tag = "operations",
    params(("key" = String, Path, description = "The Idempotency-Key of the request")),
    responses((status = 200, body = Value, description = "The operation"))
)]
async fn show(State(served): State<Served>, Named(key): Named) -> Answer {
    check_key(&key)?;
    let running = is_running(&served, &key).await;
    let view = served.wallet().operation(&key).await?;
    let view = view.ok_or_else(|| {
        let detail = "nothing was asked for under this key";
        Problem::new(StatusCode::NOT_FOUND, "operation_unknown", detail)
    })?;
    Ok(Json(value(&key, &view, running)))
}

async fn is_running(served: &Served, key: &str) -> bool {
    let running = served.running().lock().await;
    let found = running.get(key);
    found.is_some_and(|outcome| outcome.has_changed().is_ok())
}

/// Does what the words say, once for this key, and waits for it as long as was asked for.
pub async fn operate(served: &Served, once: Once, words: Words) -> Result<Response, Problem> {
    let command = words.command()?;
    let asked: [u8; 32] = Sha256::digest(words.bytes()).into();
    let key = once.key;
    let mut running = served.running().lock().await;
    let view = served.wallet().begin_operation(&key, &asked).await?;
    if let (Some(answer), false) = (&view.answer, view.failed) {
        return Ok(Json(read(answer)).into_response());
    }
    let under_way = running
        .get(&key)
        .filter(|outcome| outcome.has_changed().is_ok());
    let outcome = match under_way {
        Some(outcome) => outcome.clone(),
        None => {
            // Of one that ended without a word nobody would take it out.
            running.retain(|_, outcome| outcome.has_changed().is_ok());
            if running.len() >= AT_ONCE {
                let detail = "too many operations at a time";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return Err(Problem::new(status, "too_busy", detail));
            }
            let (told, outcome) = watch::channel(None);
            running.insert(key.clone(), outcome.clone());
            served
                .tasks()
                .spawn(work(served.clone(), key.clone(), command, told));
            outcome
        }
    };
    drop(running);
    match wait(outcome, once.wait).await {
        Some(outcome) => outcome.map(|value| Json(value).into_response()),
        None => pending(served, &key).await,
    }
}

async fn work(
    served: Served,
    key: String,
    command: crate::args::Command,
    told: watch::Sender<Option<Outcome>>,
) {
    let context = served.context(served.wallet().lent_for(&key), None);
    let outcome = taken(perform(context, command)).await;
    if let Err(error) = keep(&served, &key, &outcome).await {
        // The store has what was signed all the same: asked again, it is found.
        tracing::warn!(code = error.code(), "an answer could not be kept: {error}");
    }
    let mut running = served.running().lock().await;
    running.remove(&key);
    // Nobody may be waiting.
    told.send(Some(outcome)).ok();
}

async fn keep(served: &Served, key: &str, outcome: &Outcome) -> Result<(), ClientError> {
    let (text, failed) = match outcome {
        Ok(value) => (value.to_string(), false),
        Err(problem) => {
            let text = serde_json::to_string(problem);
            (
                text.map_err(|e| ClientError::Internal(e.to_string()))?,
                true,
            )
        }
    };
    served.wallet().answer_operation(key, &text, failed).await
}

/// The outcome, if there is one in time.
async fn wait(mut outcome: watch::Receiver<Option<Outcome>>, time: Duration) -> Option<Outcome> {
    let done = tokio::time::timeout(time, outcome.wait_for(Option::is_some)).await;
    match done {
        Ok(Ok(outcome)) => outcome.clone(),
        Ok(Err(_)) => Some(Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the operation ended without an answer: ask again with the same key",
        ))),
        Err(_) => None,
    }
}

async fn pending(served: &Served, key: &str) -> Result<Response, Problem> {
    let view = served.wallet().operation(key).await?;
    let running = is_running(served, key).await;
    let shown = view.map(|view| value(key, &view, running));
    let place = format!("/v0/operations/{key}");
    let answer = (
        StatusCode::ACCEPTED,
        [(header::LOCATION, place)],
        Json(shown),
    );
    Ok(answer.into_response())
}

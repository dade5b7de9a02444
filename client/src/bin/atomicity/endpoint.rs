//! `endpoint add`, `endpoint list`, `endpoint remove`.

use atomicity_client::ClientError;
use atomicity_client::wallet::{EndpointView, parse_user};
use serde_json::{Value, json};

use crate::Context;
use crate::args::EndpointCommand;
use crate::output::table;

pub async fn run(context: &Context, command: EndpointCommand) -> Result<u8, ClientError> {
    match command {
        EndpointCommand::Add {
            method,
            value,
            min,
            max,
            only_for,
        } => {
            let bounds = (min.as_deref(), max.as_deref());
            add(context, (&method, &value), bounds, only_for.as_deref()).await
        }
        EndpointCommand::List { who, only_for } => match only_for {
            Some(friend) => list_for(context, &friend).await,
            None => list(context, who.as_deref()).await,
        },
        EndpointCommand::Remove {
            method,
            only_for,
            at,
        } => remove(context, &method, only_for.as_deref(), at.as_deref()).await,
    }
}

fn value(endpoint: &EndpointView) -> Value {
    json!({
        "method": endpoint.method,
        "value": endpoint.value,
        "min": endpoint.min,
        "max": endpoint.max,
        "app": endpoint.app,
        "private": endpoint.private,
    })
}

async fn add(
    context: &Context,
    (method, target): (&str, &str),
    bounds: (Option<&str>, Option<&str>),
    only_for: Option<&str>,
) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let (added, reader) = match only_for {
        None => {
            let added = wallet.add_endpoint(method, target, bounds).await?;
            (added, "Everybody can read now".to_owned())
        }
        Some(friend) => {
            let friend = wallet.friend(friend).await?;
            let user = &friend.user;
            let added = wallet.add_private_endpoint(user, method, target, bounds);
            (
                added.await?,
                format!("{}, and nobody else, is told", friend.name),
            )
        }
    };
    context.out.result(&value(&added), || {
        format!(
            "{reader} that you can be paid by {} at {}.",
            added.method, added.value
        )
    });
    wallet.close().await;
    Ok(0)
}

async fn remove(
    context: &Context,
    method: &str,
    only_for: Option<&str>,
    at: Option<&str>,
) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let removed = match only_for {
        None => wallet.remove_endpoint(method).await?,
        Some(friend) => {
            let user = wallet.friend(friend).await?.user;
            wallet.remove_private_endpoint(&user, method, at).await?
        }
    };
    let answer = json!({ "method": method, "removed": removed });
    context.out.result(&answer, || {
        if removed {
            format!("You can be paid by {method} no more.")
        } else {
            format!("Nothing was said about {method}.")
        }
    });
    wallet.close().await;
    Ok(0)
}

async fn list(context: &Context, who: Option<&str>) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let user = match who {
        None => wallet.user(),
        Some(text) => match parse_user(text) {
            Ok(user) => user,
            Err(_) => wallet.friend(text).await?.user,
        },
    };
    let (endpoints, faults) = wallet.endpoints_of(&user).await?;
    for fault in &faults {
        context.out.warn(&format!("not all could be read: {fault}"));
    }
    let answer = json!({
        "user": user,
        "endpoints": endpoints.iter().map(value).collect::<Vec<_>>(),
        "faults": faults,
    });
    context.out.result(&answer, || text(&endpoints));
    wallet.close().await;
    Ok(0)
}

/// What the user told one friend alone.
async fn list_for(context: &Context, friend: &str) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let user = wallet.friend(friend).await?.user;
    let endpoints = wallet.private_endpoints_for(&user).await?;
    let answer = json!({
        "for": user,
        "endpoints": endpoints.iter().map(value).collect::<Vec<_>>(),
    });
    context.out.result(&answer, || text(&endpoints));
    wallet.close().await;
    Ok(0)
}

fn text(endpoints: &[EndpointView]) -> String {
    if endpoints.is_empty() {
        return "Nothing is said about how to pay there.".to_owned();
    }
    let bounds = |endpoint: &EndpointView| match (&endpoint.min, &endpoint.max) {
        (None, None) => String::new(),
        (Some(min), None) => format!("from {min}"),
        (None, Some(max)) => format!("up to {max}"),
        (Some(min), Some(max)) => format!("{min} to {max}"),
    };
    let row = |endpoint: &EndpointView| {
        let kept = match &endpoint.app {
            _ if endpoint.private => "told in private".to_owned(),
            app => app.clone().unwrap_or_else(|| "-".to_owned()),
        };
        vec![
            endpoint.method.clone(),
            endpoint.value.clone(),
            bounds(endpoint),
            kept,
        ]
    };
    let rows: Vec<Vec<String>> = endpoints.iter().map(row).collect();
    table(&["method", "where", "amounts", "app"], &rows)
}

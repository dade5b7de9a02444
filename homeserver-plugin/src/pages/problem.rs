//! Errors as pages, for whoever asked for a page.

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use super::wallet::next;
use super::{Page, frame, layout};
use crate::problem::{Problem, ProblemCode};

/// Longer problem details than any that we write.
const MOST: usize = 64 * 1024;

/// Whether the caller reads pages: a browser that goes somewhere. Programs and scripts don't say so.
fn reads_pages(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/html"))
}

/// Puts a title and what stands below it into the frame of the other pages around.
pub type Dress = fn(&str, Markup) -> Page;

/// Turns problem details into a page that says the same, with the same status.
pub async fn friendly(request: Request, next: Next) -> Response {
    friendly_as(
        |title, content| layout(&frame(title, ""), content),
        request,
        next,
    )
    .await
}

/// The same for pages that are framed otherwise.
pub async fn friendly_as(dress: Dress, request: Request, next: Next) -> Response {
    let wanted = reads_pages(request.headers());
    let place = Place::of(&request);
    let response = next.run(request).await;
    match response.extensions().get::<ProblemCode>() {
        Some(_) if wanted => page(dress, response, &place).await,
        _ => response,
    }
}

/// Where something went wrong.
#[derive(Debug, Default)]
struct Place {
    /// Whether it is one of the pages of the wallet.
    wallet: bool,
    /// Where to log in, to be led back there.
    log_in: String,
    /// The bill of which a guest wanted to pay a part.
    bill: Option<String>,
}

impl Place {
    fn of(request: &Request) -> Self {
        let uri = request.uri();
        let path = uri.path();
        let wanted = uri.path_and_query().map_or(path, |all| all.as_str());
        // What a form was sent to is no page to come back to.
        let wanted = match *request.method() {
            Method::GET => wanted,
            _ => "/wallet",
        };
        Self {
            wallet: path == "/wallet" || path.starts_with("/wallet/"),
            log_in: next::log_in(wanted),
            bill: bill(path),
        }
    }
}

/// The page of the bill to which a path of its guests belongs.
fn bill(path: &str) -> Option<String> {
    let (bill, _) = path.strip_prefix("/u/")?.split_once("/guest")?;
    Some(format!("/u/{bill}"))
}

async fn page(dress: Dress, response: Response, place: &Place) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, MOST).await.unwrap_or_default();
    let Ok(problem) = serde_json::from_slice::<Problem>(&bytes) else {
        return Response::from_parts(parts, bytes.into());
    };
    let status = parts.status;
    let page = shown(dress, &problem, place)
        .with_status(status)
        .into_response();
    let (dressed, body) = page.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    // What the browser goes by, such as when to try again, stays.
    parts.headers.extend(dressed.headers);
    parts.headers.insert(
        header::CACHE_CONTROL,
        axum::http::HeaderValue::from_static("no-store"),
    );
    Response::from_parts(parts, body)
}

fn shown(dress: Dress, problem: &Problem, place: &Place) -> Page {
    let title = title(problem);
    let content = html! {
        h1 { (title) }
        p.lead { (detail(problem)) }
        @if let Some(advice) = wallet_advice(problem, place) {
            p { (advice) }
        } @else if let Some(advice) = advice(problem) {
            p { (advice) }
        }
        @if let Some(seconds) = problem.retry_after_s {
            p { "Try again in " (seconds) @if seconds == 1 { " second." } @else { " seconds." } }
        }
        p {
            @if place.wallet && problem.code != "route_unknown" { a href="/wallet" { "To your wallet page" } }
            @else if let Some(bill) = &place.bill { a href=(bill) { "Back to the bill" } }
            @else { a href="/" { "To the beginning" } }
        }
        p.quiet { "If you ask somebody about this, tell them: " code { (problem.status) " " (problem.code) } }
    };
    dress(title, content)
}

fn title(problem: &Problem) -> &'static str {
    match StatusCode::from_u16(problem.status).unwrap_or_default() {
        StatusCode::NOT_FOUND | StatusCode::GONE => "There is nothing here",
        StatusCode::TOO_MANY_REQUESTS => "Too fast",
        StatusCode::BAD_GATEWAY => "A homeserver did not answer",
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::REQUEST_TIMEOUT => "Not now",
        status if status.is_client_error() => "That did not work",
        _ => "Something went wrong here",
    }
}

/// What is wrong. What is said to programs does not fit people everywhere.
fn detail(problem: &Problem) -> String {
    match problem.code.as_str() {
        "route_unknown" => "This server has no page at this address.".to_owned(),
        "account_unknown" => "You have no account at this server.".to_owned(),
        _ => sentence(&problem.detail),
    }
}

/// What can be done about it, where that is on the wallet page.
fn wallet_advice(problem: &Problem, place: &Place) -> Option<Markup> {
    let wallet = html! { a href="/wallet" { "your wallet page" } };
    Some(match problem.code.as_str() {
        "session_invalid" if place.wallet => {
            html! { a.button.go href=(place.log_in) { "Log in" } " and you come back to where you wanted to go." }
        }
        "session_invalid" => html! { "Log in again: " (wallet) "." },
        "limit_exceeded" | "day_limit_exceeded" => {
            html! { "Nothing was signed. What can be paid now stands on " (wallet) "." }
        }
        _ => return None,
    })
}

/// What can be done about it.
fn advice(problem: &Problem) -> Option<&'static str> {
    Some(match problem.code.as_str() {
        "form_foreign" => {
            "Another page may have sent it, or you have logged in again since. Nothing was changed."
        }
        "agent_stopped" | "agent_off" => "Only your wallet can do this now.",
        "account_unknown" => {
            "If this is the server of your homeserver, your wallet opens one: `atomicity signup`."
        }
        "route_unknown" => {
            "The address may have been cut off when it was copied, or belong to another server."
        }
        "user_malformed" => {
            "A user's key has 52 characters, lower-case letters and digits. It may have been cut off when it was copied."
        }
        "id_malformed" => {
            "The name of a request has 22 characters. It may have been cut off when it was copied."
        }
        "homeserver_unknown" => {
            "Nobody has published where this key is at home, or not for a long time. Its owner's wallet does that when it syncs."
        }
        "profile_unknown" => "Its owner has not signed up with a wallet yet.",
        "page_unknown" => {
            "A page is shown only if its owner wants one, by `atomicity profile page on`, and has an account here."
        }
        "request_unknown" => {
            "It may never have been public, or its payee has taken it away. Ask who sent you the link."
        }
        "guests_unwelcome" => "The bill names the other ways to pay. Nothing was paid.",
        "request_closed" => "All of it may be paid by now, or its time is over. Nothing was paid.",
        "guest_part_invalid" => {
            "Somebody else may have paid in the meantime. Choose again how much; nothing was paid."
        }
        "guest_part_unknown" => {
            "Parts that are over are forgotten after a while. What was paid counts all the same."
        }
        "too_many_guest_parts" => {
            "Many ask at once, or the payee’s wallet does not answer. Nothing was paid."
        }
        "upstream_unavailable" => {
            "What is shown here lies on its owner's own homeserver. Nothing is lost; it will be there again when that answers."
        }
        "not_indexed_yet" => {
            "New entries take a few seconds; a log that is followed for the first time, or since long before its copy had an index, takes longer. Look again later."
        }
        "not_in_log" => "What was published a moment ago takes a second or two to be seen.",
        _ => return None,
    })
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    let end = if text.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    format!("{first}{}{end}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn browsers_get_pages_and_programs_do_not() {
        let mut headers = HeaderMap::new();
        assert!(!reads_pages(&headers));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        assert!(!reads_pages(&headers));
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        headers.insert(header::ACCEPT, HeaderValue::from_static(browser));
        assert!(reads_pages(&headers));
    }

    #[test]
    fn an_error_says_what_is_wrong_as_text() {
        let problem = Problem {
            kind: String::new(),
            title: String::new(),
            status: 404,
            detail: "no user <b>".to_owned(),
            code: "request_unknown".to_owned(),
            retry_after_s: None,
        };
        let dress: Dress = |title, content| layout(&frame(title, ""), content);
        let page = shown(dress, &problem, &Place::default());
        assert!(page.html().contains("No user &lt;b&gt;."));
        assert!(page.html().contains("Ask who sent you the link."));
        assert!(page.html().contains("404 request_unknown"));
    }
}

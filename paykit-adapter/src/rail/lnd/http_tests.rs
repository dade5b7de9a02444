#![allow(clippy::unwrap_used)]

use super::*;

fn code(status: u16, body: &str) -> &'static str {
    failure(status, body.as_bytes()).code()
}

#[test]
fn failures_are_told_apart() {
    let recorded = [
        (
            500,
            r#"{"error":{"code":2,"message":"invoice expired. Valid until 2026-11-21 19:01:25 +0000 UTC","details":[]}}"#,
            "rail_failed",
        ),
        (
            500,
            r#"{"code":2,"message":"cannot determine data format of binary-encoded macaroon","details":[]}"#,
            "rail_not_permitted",
        ),
        (
            500,
            r#"{"error":{"code":2,"message":"verification failed: signature mismatch after caveat verification","details":[]}}"#,
            "rail_not_permitted",
        ),
        (
            503,
            r#"{"code":14,"message":"connection refused","details":[]}"#,
            "rail_not_ready",
        ),
        (
            500,
            r#"{"code":2,"message":"the RPC server is in the process of starting up, but not yet ready to accept calls","details":[]}"#,
            "rail_not_ready",
        ),
        (
            500,
            r#"{"code":2,"message":"wallet locked, unlock it to enable full RPC access","details":[]}"#,
            "rail_not_ready",
        ),
        (
            500,
            r#"{"code":2,"message":"waiting to start, RPC services not available","details":[]}"#,
            "rail_not_ready",
        ),
        (502, "<html>Bad Gateway</html>", "rail_failed"),
        (401, "", "rail_not_permitted"),
    ];
    for (status, body, expected) in recorded {
        assert_eq!(code(status, body), expected, "{body}");
    }
}

#[test]
fn only_the_nodes_own_refusal_is_one() {
    let refusal = |code: i64| {
        let body = format!(r#"{{"error":{{"code":{code},"message":"no","details":[]}}}}"#);
        super::super::is_refusal(&failure(500, body.as_bytes()))
    };
    assert!(refusal(2) && refusal(3) && refusal(6) && refusal(9));
    // Canceled, deadline exceeded, aborted, internal, unavailable, data loss; and no code at all.
    for broken in [1, 4, 10, 13, 14, 15, 0] {
        assert!(!refusal(broken), "{broken}");
    }
    assert!(!super::super::is_refusal(&failure(502, b"<html>")));
}

#[test]
fn messages_come_in_envelopes() {
    assert_eq!(
        unwrap_message(b"{\"result\":{\"a\":1}}\n").unwrap(),
        br#"{"a":1}"#
    );
    let error = unwrap_message(br#"{"error":{"code":13,"message":"broken"}}"#).unwrap_err();
    assert!(matches!(error, RailError::NodeFailed { code: 13, .. }));
    for odd in [
        "{}",
        "[]",
        "{\"result\":{\"a\":1}",
        "{\"result\":1,\"error\":{}}",
        "\"result\"",
    ] {
        let error = unwrap_message(odd.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "rail_answer_malformed", "{odd}");
    }
}

#[test]
fn long_words_are_cut() {
    let body = format!(r#"{{"code":2,"message":"{}"}}"#, "a\\u0007".repeat(5_000));
    let RailError::NodeFailed { message, .. } = failure(500, body.as_bytes()) else {
        unreachable!("it is the node's own failure");
    };
    assert!(
        message.len() <= 300 && message.chars().all(|c| c == 'a'),
        "{message}"
    );
}

/// An answer that arrives in these pieces; nothing means that the connection breaks there.
fn answer(pieces: &[Option<&'static str>]) -> Lines {
    let pieces: Vec<std::io::Result<&'static str>> = pieces
        .iter()
        .map(|piece| piece.ok_or_else(|| std::io::ErrorKind::ConnectionReset.into()))
        .collect();
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    Lines::new(http::Response::new(body).into())
}

#[tokio::test]
async fn messages_are_put_together_from_pieces() {
    let pieces = [
        "{\"result\":",
        "{\"a\":1}}\n{\"result\":{\"a\"",
        ":2}}\n\n",
        "{\"result\":{\"a\":3}}",
    ];
    let mut lines = answer(&pieces.map(Some));
    for expected in ["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"] {
        let message = lines.next().await.unwrap().unwrap();
        assert_eq!(String::from_utf8(message).unwrap(), expected);
    }
    assert!(lines.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_stream_that_ends_too_early_is_no_answer() {
    for (pieces, expected) in [
        (vec![], "rail_answer_broken"),
        (vec![Some("\n")], "rail_answer_broken"),
        (vec![None], "rail_answer_broken"),
        (
            vec![Some("{\"result\":{\"a\":1}"), None],
            "rail_answer_broken",
        ),
        (vec![Some("{\"result\":{\"a\":1}")], "rail_answer_malformed"),
        (
            vec![Some(
                r#"{"error":{"code":14,"message":"transport is closing"}}"#,
            )],
            "rail_not_ready",
        ),
    ] {
        let error = answer(&pieces).expect_next().await.unwrap_err();
        assert_eq!(error.code(), expected, "{pieces:?}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let piece: &'static str = Box::leak(" ".repeat(1024 * 1024).into_boxed_str());
    let error = answer(&[Some(piece); 17]).expect_next().await.unwrap_err();
    assert_eq!(error.code(), "rail_answer_too_large");
}

#[test]
fn only_https_is_spoken() {
    let pem = include_bytes!("../../../testdata/lnd-tls.cert");
    let certificate = PinnedCertificate::from_pem(pem).unwrap();
    let open = |url: &str| {
        let url = Url::parse(url).unwrap();
        Client::new(url, &certificate, b"secret", Duration::from_secs(1))
    };
    let client = open("https://127.0.0.1:8080").unwrap();
    let shown = format!("{client:?}");
    assert!(!shown.contains(&to_hex(b"secret")), "{shown}");
    let error = open("http://127.0.0.1:8080").unwrap_err();
    assert_eq!(error.code(), "rail_config_invalid");
    PinnedCertificate::from_pem(b"no certificate").unwrap_err();
}

//! Against a real server on this machine.
#![allow(clippy::unwrap_used)]
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const NOW: u64 = 1_800_000_000_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::saturating_from_millis(millis)
}

/// Reads one request's head.
async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            break;
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).unwrap()
}

/// Serves each of these answers once, in order, then nothing. Comes back with its address and, at the end, what was asked.
async fn server(answers: Vec<Vec<u8>>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            asked.push(head(&mut stream).await);
            // A reader may hang up as soon as it has seen enough.
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
        asked
    });
    (format!("http://{address}/v1/price?key=secret"), serving)
}

fn answer(headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

fn config(url: &str) -> UrlConfig {
    UrlConfig {
        pair: Pair::new("BTC".parse().unwrap(), "USD".parse().unwrap()).unwrap(),
        url: url.parse().unwrap(),
        pointer: "/data/price".to_owned(),
        time: None,
        terms: Terms {
            max_age_ms: 60_000,
            spread_ppm: 10_000,
        },
        reuse_ms: 0,
        timeout: Duration::from_secs(10),
        allow_loopback: true,
    }
}

fn price(rate: &Rate) -> String {
    let one = "1".parse().unwrap();
    let (base, quote) = (rate.pair.base(), rate.pair.quote());
    rate.convert(base, one, quote, 18).unwrap().to_string()
}

async fn code_of(config: UrlConfig) -> &'static str {
    let source = Url::new(config).unwrap();
    source.rate(at(NOW)).await.unwrap_err().code()
}

#[tokio::test]
async fn a_price_is_read_to_its_last_digit_and_ages_from_when_it_was_asked_for() {
    let body = r#"{"data":{"price":67234.123456789012}}"#;
    let (url, serving) = server(vec![answer("", body)]).await;
    let source = Url::new(config(&url)).unwrap();
    let rate = source.rate(at(NOW)).await.unwrap();
    assert_eq!(price(&rate), "67234.123456789012");
    assert_eq!(rate.as_of(), Some(at(NOW)));
    assert!(rate.check_age(source.terms(), at(NOW + 59_999)).is_ok());
    let stale = rate.check_age(source.terms(), at(NOW + 60_000));
    assert_eq!(stale.unwrap_err().code(), "rate_stale");
    let asked = serving.await.unwrap();
    assert!(asked[0].starts_with("GET /v1/price?key=secret HTTP/1.1\r\n"));
    assert!(!format!("{source:?}").contains("secret"));
}

#[tokio::test]
async fn an_answer_is_used_again_for_a_while_and_a_failure_never_brings_it_back() {
    let body = |price: u32| answer("", &format!("{{\"data\":{{\"price\":\"{price}\"}}}}"));
    let broken = b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec();
    let (url, serving) = server(vec![body(1), broken, body(3)]).await;
    let source = Url::new(UrlConfig {
        reuse_ms: 5_000,
        ..config(&url)
    })
    .unwrap();
    for since in [0, 4_999] {
        assert_eq!(price(&source.rate(at(NOW + since)).await.unwrap()), "1");
    }
    // The first price would be good for a minute; but the source was asked, and has none.
    let error = source.rate(at(NOW + 5_000)).await.unwrap_err();
    assert_eq!(error.code(), "rate_source_failed");
    assert_eq!(price(&source.rate(at(NOW + 5_001)).await.unwrap()), "3");
    serving.await.unwrap();
    let error = source.rate(at(NOW + 20_000)).await.unwrap_err();
    assert_eq!(error.code(), "rate_unreachable");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn what_is_old_already_when_it_comes_is_refused() {
    let body = r#"{"data":{"price":1,"at":1799999970.9,"ms":1799999970900,"ahead":1800000061,"odd":"-1"}}"#;
    let old = |headers: &str| answer(headers, body);
    let cached = [
        ("age: 59\r\n", "ok"),
        ("age: 60\r\n", "rate_stale"),
        ("age: soon\r\n", "rate_stale"),
    ];
    for (headers, expected) in cached {
        let (url, serving) = server(vec![old(headers)]).await;
        let rate = Url::new(config(&url)).unwrap().rate(at(NOW)).await;
        assert_eq!(
            rate.map_or_else(|why| why.code(), |_| "ok"),
            expected,
            "{headers}"
        );
        serving.await.unwrap();
    }
    let times = [
        ("/data/at", TimeUnit::Seconds, Ok(NOW - 29_100)),
        ("/data/ms", TimeUnit::Milliseconds, Ok(NOW - 29_100)),
        ("/data/ahead", TimeUnit::Seconds, Err("rate_ahead")),
        ("/data/ms", TimeUnit::Seconds, Err("rate_ahead")),
        ("/data/at", TimeUnit::Milliseconds, Err("rate_stale")),
        ("/data/odd", TimeUnit::Seconds, Err("rate_answer_malformed")),
        (
            "/data/none",
            TimeUnit::Seconds,
            Err("rate_answer_malformed"),
        ),
    ];
    for (pointer, unit, expected) in times {
        let (url, serving) = server(vec![old("")]).await;
        let time = Some(TimeAt {
            pointer: pointer.to_owned(),
            unit,
        });
        let source = Url::new(UrlConfig {
            time,
            ..config(&url)
        })
        .unwrap();
        let rate = source.rate(at(NOW)).await;
        let as_of = rate.map(|rate| rate.as_of().unwrap().millis());
        assert_eq!(
            as_of.map_err(|why| why.code()),
            expected,
            "{pointer} {unit:?}"
        );
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn whatever_goes_wrong_has_a_name() {
    let moved =
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n".to_vec();
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"data\":{\"price\":1}}".to_vec();
    let endless = {
        let mut bytes = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
        bytes.resize(bytes.len() + MAX_ANSWER + 1, b' ');
        bytes
    };
    for (bytes, expected) in [
        (moved, "rate_source_failed"),
        (cut, "rate_answer_broken"),
        (endless, "rate_answer_too_large"),
        (b"SMTP\r\n".to_vec(), "rate_unreachable"),
        (Vec::new(), "rate_unreachable"),
        (answer("", "no json"), "rate_answer_malformed"),
        (
            answer("", "{\"data\":{\"price\":-1}}"),
            "rate_answer_malformed",
        ),
        (
            answer("", "{\"data\":{\"price\":null}}"),
            "rate_answer_malformed",
        ),
        (
            answer("", "{\"data\":{\"price\":0}}"),
            "rate_price_unusable",
        ),
        (
            answer("", "{\"data\":{\"price\":1.234567890123456789}}"),
            "rate_price_unusable",
        ),
        (
            answer("", "{\"data\":{\"price\":1,\"price\":2}}"),
            "rate_answer_malformed",
        ),
    ] {
        let (url, serving) = server(vec![bytes]).await;
        assert_eq!(code_of(config(&url)).await, expected);
        serving.await.unwrap();
    }
    // Somebody who takes the connection and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let impatient = UrlConfig {
        timeout: Duration::from_millis(50),
        ..config(&url)
    };
    assert_eq!(code_of(impatient).await, "rate_timeout");
}

#[test]
fn plain_http_is_for_this_machine_and_only_if_allowed() {
    let open = |url: &str, allow_loopback| {
        let config = UrlConfig {
            allow_loopback,
            ..config(url)
        };
        Url::new(config).map_err(|why| why.code())
    };
    for (url, allowed) in [
        ("https://rates.example/", false),
        ("http://127.0.0.1:1/", true),
        ("http://[::1]:1/", true),
    ] {
        assert!(open(url, allowed).is_ok(), "{url}");
    }
    for (url, allowed) in [
        ("http://127.0.0.1:1/", false),
        ("http://rates.example/", true),
        ("http://localhost/", true),
        ("http://127.0.0.1.example/", true),
        ("ftp://127.0.0.1/", true),
    ] {
        assert_eq!(
            open(url, allowed).unwrap_err(),
            "rate_config_invalid",
            "{url}"
        );
    }
    let pointer = UrlConfig {
        pointer: "data".to_owned(),
        ..config("https://rates.example/")
    };
    assert!(Url::new(pointer).is_err());
}

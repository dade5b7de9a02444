//! Callers who take their time.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::plugin::Plugin;

#[tokio::test]
async fn who_never_sends_the_body_is_sent_away() {
    let plugin = Plugin::start_with(|config| config.http.request_timeout_ms = 300).await;
    let user = crate::support::user::User::new().z32();
    let mut connection = TcpStream::connect(plugin.addresses.http).await.unwrap();
    let head = format!(
        "POST /v0/inbox/{user} HTTP/1.1\r\nhost: plugin\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4_096];
    let read = connection.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("request_timeout"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_announced_too_long_is_not_waited_for() {
    let plugin = Plugin::start().await;
    let user = crate::support::user::User::new().z32();
    let mut connection = TcpStream::connect(plugin.addresses.http).await.unwrap();
    let head = format!(
        "POST /v0/inbox/{user} HTTP/1.1\r\nhost: plugin\r\ncontent-type: application/json\r\ncontent-length: 100000000\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4_096];
    let read = connection.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("record_too_large"), "{answer}");
}

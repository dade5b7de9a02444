//! A running `atomicity serve`, and a program that talks to it by HTTP alone.

use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Client, Method, Response};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::people::string;
use crate::{Wallet, wait};

/// A running `atomicity serve`. It is killed with this value.
pub struct Serve {
    child: Child,
    client: Client,
    /// Where it answers.
    pub url: String,
    /// Its token.
    pub token: String,
}

/// What it answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked.
    pub asked: String,
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

impl Answer {
    /// The body of a 200.
    ///
    /// # Errors
    /// If it was something else.
    pub fn ok(self) -> Result<Value> {
        self.status(200)
    }

    /// The body of an answer with this status.
    ///
    /// # Errors
    /// If it was another.
    pub fn status(self, status: u16) -> Result<Value> {
        let Self { asked, body, .. } = &self;
        ensure!(
            self.status == status,
            "{asked} gave {}: {body}",
            self.status
        );
        Ok(self.body)
    }

    /// That it is a problem of this kind.
    ///
    /// # Errors
    /// If it is not.
    pub fn problem(self, status: u16, code: &str) -> Result<Value> {
        let body = self.status(status)?;
        ensure!(body["code"] == code, "{body}");
        Ok(body)
    }
}

impl Serve {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// If it does not say where it answers.
    pub async fn start(wallet: &Wallet, more: &[&str]) -> Result<Self> {
        let all = ["--json", "serve", "--listen", "127.0.0.1:0"];
        let mut command: Command = wallet.command(&[&all[..], more].concat());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(wait::PATIENCE, lines.next_line()).await;
        let line = line.context("serve says nothing")??;
        let line = line.context("serve ended without a word")?;
        let told: Value = serde_json::from_str(&line)?;
        let token = std::fs::read_to_string(string(&told, "/token_file")?)?;
        let token = token.trim().to_owned();
        ensure!(!line.contains(&token), "it tells its token: {line}");
        Ok(Self {
            child,
            client: Client::builder().build()?,
            url: string(&told, "/url")?,
            token,
        })
    }

    /// Waits until it has read all news.
    ///
    /// # Errors
    /// If that does not come.
    pub async fn ready(self) -> Result<Self> {
        wait::until("serve to be ready", || async {
            let state = self.get("/v0/sync").await?.ok()?;
            ensure!(state["ready"] == true, "{state}");
            Ok(())
        })
        .await?;
        Ok(self)
    }

    /// A request with the token.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.url);
        self.client.request(method, url).bearer_auth(&self.token)
    }

    /// Sends it.
    ///
    /// # Errors
    /// If nothing comes back.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer> {
        let request = request.build()?;
        let asked = format!("{} {}", request.method(), request.url().path());
        let response = self.client.execute(request).await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer {
            asked,
            status,
            body,
        })
    }

    /// Gets `path`.
    ///
    /// # Errors
    /// If nothing comes back.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Deletes `path`.
    ///
    /// # Errors
    /// If nothing comes back.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Puts a body to `path`.
    ///
    /// # Errors
    /// If nothing comes back.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    /// Posts a body to `path`.
    ///
    /// # Errors
    /// If nothing comes back.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Posts what moves money, under this key, and waits for the answer.
    ///
    /// # Errors
    /// If nothing comes back.
    pub async fn once(&self, key: &str, path: &str, body: &Value) -> Result<Answer> {
        let request = self.request(Method::POST, &format!("{path}?wait=100"));
        let request = request.header("idempotency-key", key).json(body);
        self.send(request).await
    }

    /// What happens from now on.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn events(&self) -> Result<Events> {
        let response = self.request(Method::GET, "/v0/events").send().await?;
        ensure!(response.status().is_success(), "{response:?}");
        Ok(Events {
            response,
            text: Vec::new(),
            seen: Vec::new(),
        })
    }

    /// Ends it with SIGTERM.
    ///
    /// # Errors
    /// If it does not end with success.
    pub async fn stop(mut self) -> Result<()> {
        let id = self.child.id().context("it has ended")?;
        let pid = Pid::from_raw(i32::try_from(id)?).context("not a process id")?;
        kill_process(pid, Signal::TERM)?;
        let status = tokio::time::timeout(wait::PATIENCE, self.child.wait()).await;
        let status = status.context("serve does not end")??;
        ensure!(status.success(), "serve ended with {status}");
        Ok(())
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// If the system refuses.
    pub async fn kill(mut self) -> Result<()> {
        if self.runs()? {
            self.child.kill().await?;
        }
        Ok(())
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }
}

/// A stream of events.
pub struct Events {
    response: Response,
    text: Vec<u8>,
    seen: Vec<Value>,
}

impl Events {
    /// The next event of this name that `wanted` accepts.
    ///
    /// # Errors
    /// If none comes within [`wait::PATIENCE`].
    pub async fn next(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = tokio::time::Instant::now() + wait::PATIENCE;
        loop {
            while let Some(at) = self.text.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.text.drain(..at + 2).collect();
                let event = String::from_utf8(event)?;
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                let data = data.map(serde_json::from_str::<Value>).transpose()?;
                let Some(data) = data else { continue };
                self.seen.push(data.clone());
                if data["event"] == name && wanted(&data) {
                    return Ok(data);
                }
            }
            let chunk = tokio::time::timeout_at(end, self.response.chunk()).await;
            let Ok(chunk) = chunk else {
                bail!("no {name} among {:?}", self.seen);
            };
            let chunk = chunk?.context("the stream ended")?;
            self.text.extend_from_slice(&chunk);
        }
    }
}

//! A real Chromium, told what to do by its debugging protocol over two pipes, so that tests see pages as people do.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::programs::source_tree;
use crate::{World, wait};

/// With which `tools.sh` ends on a system that has no package of what was asked for.
const NO_PACKAGE: i32 = 3;

/// What a script of `tools.sh` prints; `None` if there is none: outside CI, or on a system that has no package of it.
///
/// # Errors
/// In CI, if there should be one and is not.
pub async fn tool(name: &str) -> Result<Option<String>> {
    let found = Command::new(source_tree().join("e2e/tools.sh"))
        .arg(name)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await?;
    if found.status.success() {
        return Ok(Some(String::from_utf8(found.stdout)?.trim().to_owned()));
    }
    ensure!(
        found.status.code() == Some(NO_PACKAGE) || std::env::var_os("CI").is_none(),
        "in CI this needs `tools.sh {name}`"
    );
    println!("skipped: no {name}");
    Ok(None)
}

/// What came back for calls, by their numbers, and what the browser said by itself.
#[derive(Default)]
struct Heard {
    answers: HashMap<u64, oneshot::Sender<Value>>,
    events: Vec<Value>,
}

/// A running browser with one open page.
pub struct Browser {
    /// Ends with this.
    _child: Child,
    out: pipe::Sender,
    heard: Arc<Mutex<Heard>>,
    calls: u64,
    session: Option<String>,
}

impl Browser {
    /// Starts a Chromium that knows no name but loopback; `None` if there is none here.
    ///
    /// # Errors
    /// If it does not start, or should be there and is not.
    pub async fn start(world: &World) -> Result<Option<Self>> {
        let Some(program) = tool("browser").await? else {
            return Ok(None);
        };
        let dir = world.new_path("browser");
        std::fs::create_dir_all(&dir)?;
        let (orders, words) = (dir.join("orders"), dir.join("words"));
        let made = Command::new("mkfifo").arg(&orders).arg(&words).status();
        ensure!(made.await?.success(), "mkfifo failed");
        // Open at both ends, so that neither side waits for the other.
        let mut open = pipe::OpenOptions::new();
        let open = open.read_write(true);
        let out = open.open_sender(&orders)?;
        let heard: Arc<Mutex<Heard>> = Arc::default();
        tokio::spawn(listen(open.open_receiver(&words)?, Arc::clone(&heard)));
        let mut browser = Self {
            _child: launch(&program, &dir, &orders, &words)?,
            out,
            heard,
            calls: 0,
            session: None,
        };
        browser.open_page().await?;
        Ok(Some(browser))
    }

    async fn open_page(&mut self) -> Result<()> {
        let page = json!({"url": "about:blank"});
        let target = self.call("Target.createTarget", page).await?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.call("Target.attachToTarget", attach).await?;
        self.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({})).await?;
        }
        Ok(())
    }

    /// One order of the protocol, and what it ends in.
    ///
    /// # Errors
    /// If the browser refuses it, or has gone.
    pub async fn call(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.calls += 1;
        let mut order = json!({"id": self.calls, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            order["sessionId"] = json!(session);
        }
        let (sender, answer) = oneshot::channel();
        lock(&self.heard).answers.insert(self.calls, sender);
        let mut bytes = order.to_string().into_bytes();
        bytes.push(0);
        self.out.write_all(&bytes).await?;
        let answer = timeout(wait::PATIENCE, answer)
            .await
            .with_context(|| format!("the browser does not answer {method}"))??;
        if let Some(error) = answer.get("error") {
            bail!("{method}: {error}");
        }
        Ok(answer["result"].clone())
    }

    /// Goes to an address and waits until all of the page is there and its scripts ran once.
    ///
    /// # Errors
    /// If nothing is found there.
    pub async fn goto(&mut self, url: &str) -> Result<()> {
        let went = self.call("Page.navigate", json!({ "url": url })).await?;
        ensure!(went.get("errorText").is_none(), "{url}: {went}");
        self.until("document.readyState === 'complete'").await
    }

    /// What an expression of the page comes to.
    ///
    /// # Errors
    /// If it throws.
    pub async fn eval(&mut self, expression: &str) -> Result<Value> {
        let order = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let done = self.call("Runtime.evaluate", order).await?;
        if let Some(thrown) = done.get("exceptionDetails") {
            bail!("{expression:.200}: {thrown}");
        }
        Ok(done["result"]["value"].clone())
    }

    /// Waits until the page is there as a whole, with its scripts, and an expression of it is true.
    ///
    /// # Errors
    /// If it does not become true.
    pub async fn until(&mut self, expression: &str) -> Result<()> {
        let end = tokio::time::Instant::now() + wait::PATIENCE;
        let expression = format!("document.readyState === 'complete' && ({expression})");
        loop {
            // While a page is being replaced there is nothing to ask.
            let seen = self.eval(&expression).await;
            if matches!(seen, Ok(Value::Bool(true))) {
                return Ok(());
            }
            if tokio::time::Instant::now() > end {
                let text = self.eval("document.body.innerText").await;
                bail!("`{expression}` does not become true ({seen:?}) on {text:?}");
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Waits until the page shows `text`.
    ///
    /// # Errors
    /// If it does not in time.
    pub async fn sees(&mut self, text: &str) -> Result<()> {
        let shown = format!("document.body.innerText.includes({})", json!(text));
        self.until(&shown).await
    }

    /// Writes `text` into the field that `selector` names, over what stood there.
    ///
    /// # Errors
    /// If there is none.
    pub async fn fill(&mut self, selector: &str, text: &str) -> Result<()> {
        let field = json!(selector);
        let select =
            format!("((it) => {{ it.focus(); it.select?.(); }})(document.querySelector({field}))");
        self.eval(&select).await?;
        let written = json!({ "text": text });
        self.call("Input.insertText", written).await.map(drop)
    }

    /// Clicks what `selector` names.
    ///
    /// # Errors
    /// If there is nothing.
    pub async fn click(&mut self, selector: &str) -> Result<()> {
        let click = format!("document.querySelector({}).click()", json!(selector));
        self.eval(&click).await.map(drop)
    }

    /// Presses a key that writes nothing, such as `Tab`, or `Enter`.
    ///
    /// # Errors
    /// If the browser has gone.
    pub async fn press(&mut self, key: &str) -> Result<()> {
        let (code, text) = match key {
            "Tab" => (9, None),
            "Enter" => (13, Some("\r")),
            _ => bail!("{key} is not known here"),
        };
        let mut event = json!({"key": key, "code": key, "windowsVirtualKeyCode": code});
        event["type"] = json!(if text.is_some() {
            "keyDown"
        } else {
            "rawKeyDown"
        });
        event["text"] = json!(text.unwrap_or_default());
        self.call("Input.dispatchKeyEvent", event.clone()).await?;
        event["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", event).await.map(drop)
    }

    /// Makes the window so large, in pixels of the page.
    ///
    /// # Errors
    /// If the browser has gone.
    pub async fn resize(&mut self, width: u32, height: u32) -> Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size)
            .await
            .map(drop)
    }

    /// Lets the reader prefer dark, or light, pages.
    ///
    /// # Errors
    /// If the browser has gone.
    pub async fn prefer_dark(&mut self, dark: bool) -> Result<()> {
        let value = if dark { "dark" } else { "light" };
        let wish = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.call("Emulation.setEmulatedMedia", wish)
            .await
            .map(drop)
    }

    /// Lets the reader speak a language and live in a time zone, such as `de-DE` and `Europe/Berlin`. From the next page on.
    ///
    /// # Errors
    /// If the browser does not know them.
    pub async fn live_in(&mut self, language: &str, zone: &str) -> Result<()> {
        let zone = json!({ "timezoneId": zone });
        self.call("Emulation.setTimezoneOverride", zone).await?;
        let language = json!({ "locale": language });
        self.call("Emulation.setLocaleOverride", language)
            .await
            .map(drop)
    }

    /// Switches scripts of pages off, or on again. From the next page on.
    ///
    /// # Errors
    /// If the browser has gone.
    pub async fn scripts(&mut self, on: bool) -> Result<()> {
        let value = json!({ "value": !on });
        self.call("Emulation.setScriptExecutionDisabled", value)
            .await
            .map(drop)
    }

    /// Saves a picture of what is in the window, as WebP.
    ///
    /// # Errors
    /// If it can't be made or written.
    pub async fn photograph(&mut self, file: &Path) -> Result<()> {
        let order = json!({"format": "webp", "quality": 70});
        let picture = self.call("Page.captureScreenshot", order).await?;
        let data = picture["data"].as_str().context("no picture")?;
        Ok(std::fs::write(file, BASE64_STANDARD.decode(data)?)?)
    }

    /// How bright what `selector` names is on the screen: width and height in pixels, and one byte each, row by row.
    ///
    /// # Errors
    /// If there is none, or no picture can be made of it.
    pub async fn brightness(&mut self, selector: &str) -> Result<(usize, usize, Vec<u8>)> {
        let place = format!(
            "(() => {{ const {{ x, y, width, height }} = document.querySelector({}).getBoundingClientRect(); \
             return {{ x: x + scrollX, y: y + scrollY, width, height, scale: 2 }}; }})()",
            json!(selector)
        );
        let clip = self.eval(&place).await?;
        let order = json!({"format": "png", "clip": clip, "captureBeyondViewport": true});
        let picture = self.call("Page.captureScreenshot", order).await?;
        // The browser takes its own picture apart: nothing else here reads PNG.
        let read = format!(
            "(async () => {{ const file = Uint8Array.from(atob({}), (c) => c.charCodeAt(0)); \
             const picture = await createImageBitmap(new Blob([file], {{ type: 'image/png' }})); \
             const canvas = new OffscreenCanvas(picture.width, picture.height); const ink = canvas.getContext('2d'); \
             ink.drawImage(picture, 0, 0); const {{ data }} = ink.getImageData(0, 0, canvas.width, canvas.height); \
             let bytes = ''; for (let i = 0; i < data.length; i += 4) \
             bytes += String.fromCharCode((data[i] + data[i + 1] + data[i + 2]) / 3); \
             return {{ width: canvas.width, height: canvas.height, bytes: btoa(bytes) }}; }})()",
            picture["data"]
        );
        let seen = self.eval(&read).await?;
        let side = |name: &str| seen[name].as_u64().and_then(|side| side.try_into().ok());
        let (width, height) = side("width").zip(side("height")).context("no picture")?;
        let bytes = seen["bytes"].as_str().context("no picture")?;
        Ok((width, height, BASE64_STANDARD.decode(bytes)?))
    }

    /// Everything that went wrong since this was asked last: exceptions, errors on the console, what the policy of a page kept from
    /// happening, answers that were errors.
    pub fn complaints(&mut self) -> Vec<String> {
        let events = std::mem::take(&mut lock(&self.heard).events);
        events.iter().filter_map(complaint).collect()
    }
}

fn complaint(event: &Value) -> Option<String> {
    let about = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(about["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" if about["type"] == "error" => Some(about["args"].to_string()),
        "Log.entryAdded" if about["entry"]["level"] != "verbose" => {
            Some(about["entry"].to_string())
        }
        _ => None,
    }
}

fn lock(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The browser reads orders from its third descriptor and answers on its fourth: which only a shell can give it.
fn launch(program: &str, dir: &Path, orders: &Path, words: &Path) -> Result<Child> {
    let mut command = Command::new("bash");
    command
        .args([
            "-c",
            "exec \"$0\" \"$@\" 3<\"$ORDERS\" 4>\"$WORDS\"",
            program,
        ])
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .args([
            "--disable-sync",
            "--disable-quic",
            "--remote-debugging-pipe",
        ])
        .args(["--disable-dev-shm-usage", "--hide-scrollbars"])
        // No name but loopback resolves: pages must work without any other host. One leads there that browsers trust no more than any other.
        .arg("--host-resolver-rules=MAP plain.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .env("ORDERS", orders)
        .env("WORDS", words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    Ok(command.spawn()?)
}

/// Sorts what the browser says: messages that end with a zero byte.
async fn listen(mut words: pipe::Receiver, heard: Arc<Mutex<Heard>>) {
    let mut read = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(length) = words.read(&mut chunk).await {
        read.extend_from_slice(&chunk[..length]);
        while let Some(end) = read.iter().position(|byte| *byte == 0) {
            let rest = read.split_off(end + 1);
            let message = std::mem::replace(&mut read, rest);
            if let Ok(message) = serde_json::from_slice(&message[..end]) {
                take(&heard, message);
            }
        }
    }
}

fn take(heard: &Mutex<Heard>, message: Value) {
    let mut heard = lock(heard);
    match message["id"].as_u64() {
        Some(id) => {
            if let Some(waiting) = heard.answers.remove(&id) {
                // Who asked may have given up.
                let _ = waiting.send(message);
            }
        }
        None => heard.events.push(message),
    }
}

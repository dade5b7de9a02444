//! A world to try programs in: a DHT and a homeserver that anyone may sign up at. Says in one line of JSON where they are, and stays up until its standard
//! input ends.

use std::process::ExitCode;

use anyhow::Result;
use atomicity_e2e::World;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<()> {
    let world = World::start().await?;
    let homeserver = world.homeserver("guide").await?;
    let line = json!({
        "homeserver": homeserver.z32(),
        "bootstrap": world.bootstrap(),
    });
    println!("{line}");
    let mut ignored = [0; 256];
    let mut input = tokio::io::stdin();
    while input.read(&mut ignored).await? > 0 {}
    Ok(())
}

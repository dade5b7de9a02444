//! The words of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// `serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:6295")]
    pub listen: SocketAddr,
    /// The file with the token, made if it is not there [default: serve.token in the wallet's folder]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Let other machines in too: whoever has the token has the wallet, and nothing is encrypted on the way
    #[arg(long)]
    pub allow_remote: bool,
    /// A name under which this is reached, such as wallet.lan; again for more
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// A web page that may call this, such as `https://shop.example`; again for more [default: none]
    #[arg(long, value_name = "URL")]
    pub allow_origin: Vec<String>,
    /// How often to look at friends' files [default: as configured, 30 s]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub poll: Option<u64>,
    /// Print the description of the API (OpenAPI) and end
    #[arg(long)]
    pub openapi: bool,
}

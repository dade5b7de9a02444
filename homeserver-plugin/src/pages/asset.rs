//! The style sheet and the scripts. They are part of the program and bear a hash of their content in their names, so that browsers keep
//! them for good and never mix two versions.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::error::PluginError;

/// Under which path all of them lie.
const FOLDER: &str = "/assets/";
/// What never changes may be kept for good.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Name and content. A script may import those that stand before it, as `"./name.js"`.
const SOURCES: &[(&str, &str)] = &[
    ("style.css", include_str!("assets/style.css")),
    ("local.js", include_str!("assets/local.js")),
    ("bill.js", include_str!("assets/bill.js")),
    ("guest.js", include_str!("assets/guest.js")),
    ("proof.js", include_str!("assets/proof.js")),
    ("login.js", include_str!("assets/login.js")),
    ("wallet.js", include_str!("assets/wallet.js")),
    ("docs.css", include_str!("../http/docs/page.css")),
    ("docs.js", include_str!("../http/docs/page.js")),
];

struct Asset {
    /// The name with the hash in it.
    name: String,
    kind: &'static str,
    body: String,
}

impl Asset {
    fn new(name: &str, body: String) -> Self {
        let digest = Sha256::digest(body.as_bytes());
        let hash = BASE64_URL_SAFE_NO_PAD.encode(&digest[..12]);
        let (stem, kind) = match name.rsplit_once('.') {
            Some((stem, "css")) => (stem, "css"),
            Some((stem, "js")) => (stem, "js"),
            _ => (name, "txt"),
        };
        Self {
            name: format!("{stem}.{hash}.{kind}"),
            kind: match kind {
                "css" => "text/css; charset=utf-8",
                "js" => "text/javascript; charset=utf-8",
                _ => "text/plain; charset=utf-8",
            },
            body,
        }
    }
}

/// All assets, by the names that they have in the sources.
static ASSETS: LazyLock<HashMap<&'static str, Asset>> = LazyLock::new(|| {
    let mut assets: HashMap<&'static str, Asset> = HashMap::new();
    for (name, source) in SOURCES {
        let mut body = (*source).to_owned();
        for (other, asset) in &assets {
            body = body.replace(&format!("\"./{other}\""), &format!("\"./{}\"", asset.name));
        }
        assets.insert(name, Asset::new(name, body));
    }
    assets
});

/// The path of an asset, by the name that it has in the sources. What does not exist has a path too, where nothing is found.
#[must_use]
pub fn asset(name: &str) -> String {
    let found = ASSETS.get(name).map_or(name, |asset| asset.name.as_str());
    format!("{FOLDER}{found}")
}

/// The route of all assets, for any listener.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/assets/{name}", get(serve))
}

async fn serve(Path(name): Path<String>) -> Result<Response, PluginError> {
    let found = ASSETS.values().find(|asset| asset.name == name);
    let asset = found.ok_or(PluginError::NotFound {
        code: "asset_unknown",
        detail: "this version has no such file: load the page again",
    })?;
    let mut response = asset.body.as_str().into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, asset.kind),
        (header::CACHE_CONTROL, IMMUTABLE),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_changes_with_its_content_and_with_what_it_imports() {
        let one = Asset::new("a.js", "1".to_owned());
        let other = Asset::new("a.js", "2".to_owned());
        assert_ne!(one.name, other.name);
        assert!(one.name.starts_with("a.") && one.name.ends_with(".js"));
        for (name, asset) in ASSETS.iter() {
            for line in asset.body.lines().filter(|line| line.contains("import ")) {
                let named = ASSETS.values().any(|other| line.contains(&other.name));
                assert!(named, "{name} imports what is not there: {line}");
            }
        }
    }

    #[test]
    fn nothing_is_loaded_from_anywhere_else() {
        for (name, source) in SOURCES {
            for foreign in [
                "://",
                "@import",
                "url(",
                "eval(",
                "innerHTML",
                "document.write",
            ] {
                // The name of SVG's namespace is no address.
                let text = source.replace("http://www.w3.org/2000/svg", "");
                assert!(!text.contains(foreign), "{name} has {foreign}");
            }
        }
    }

    #[test]
    fn all_of_it_is_small() {
        let all: usize = SOURCES.iter().map(|(_, source)| source.len()).sum();
        assert!(all < 60_000, "{all} bytes");
    }
}

//! The JavaScript module for web apps, as the plugin carries it: small files without a build step, under a path that names their
//! content, so that they are fetched once.

use std::sync::OnceLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::etag;
use crate::error::PluginError;
use crate::problem::Problem;
use crate::state::AppState;

/// What an app imports.
const ENTRY: &str = "atomicity.js";
/// Under this name the files are whatever this plugin has now.
const LATEST: &str = "latest";

const FILES: &[(&str, &str)] = &[
    (ENTRY, include_str!("../../../web/atomicity.js")),
    ("authority.js", include_str!("../../../web/authority.js")),
    ("events.js", include_str!("../../../web/events.js")),
    ("records.js", include_str!("../../../web/records.js")),
    ("types.js", include_str!("../../../web/types.js")),
];

/// Names the content of all files: 16 characters of their hash.
fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let mut digest = Sha256::new();
        for (name, text) in FILES {
            digest.update(name.as_bytes());
            digest.update([0]);
            digest.update(Sha256::digest(text.as_bytes()));
        }
        let mut version = URL_SAFE_NO_PAD.encode(digest.finalize());
        version.truncate(16);
        version
    })
}

/// Where an app imports the module from, below this server.
#[must_use]
pub fn module_path() -> String {
    format!("/web/{}/{ENTRY}", version())
}

/// The routes of this module.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(file))
}

/// The JavaScript module for web apps.
///
/// `/v0/info` names the path of the present version, which may be kept for good. Under `latest` the file is asked for anew.
#[utoipa::path(
    get,
    path = "/web/{version}/{file}",
    tag = "plugin",
    params(
        ("version" = String, Path, description = "Of which content, or `latest`"),
        ("file" = String, Path, description = "`atomicity.js`, or a file that it imports"),
    ),
    responses(
        (status = 200, body = String, content_type = "text/javascript", description = "An ES module"),
        (status = 304, description = "What you hold is still right"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`file_unknown`: no such file, or another version"),
    )
)]
async fn file(
    Path((asked, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, PluginError> {
    let found = FILES.iter().find(|(file, _)| *file == name);
    let text = found
        .filter(|_| asked == LATEST || asked == version())
        .map(|(_, text)| *text)
        .ok_or(PluginError::NotFound {
            code: "file_unknown",
            detail: "there is no such file in this version: /v0/info names the module's path",
        })?;
    let caching = if asked == LATEST {
        "no-cache"
    } else {
        "public, max-age=31536000, immutable"
    };
    let etag = format!("\"{}\"", version());
    let mut response = if etag::matches(&headers, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        text.into_response()
    };
    let answer = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        answer.insert(header::ETAG, etag);
    }
    for (name, value) in [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, caching),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
    ] {
        answer.insert(name, HeaderValue::from_static(value));
    }
    // Pages that shut themselves off from other origins may still import it.
    answer.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("cross-origin"),
    );
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_imports_its_own_files_and_nothing_else() {
        for (name, text) in FILES {
            let imports = text.lines().filter_map(|line| {
                let is_import = line.starts_with("import ") || line.starts_with("export {");
                line.split_once(" from \"").filter(|_| is_import)
            });
            for (_, from) in imports {
                let file = from.trim_end_matches("\";").trim_start_matches("./");
                assert!(
                    FILES.iter().any(|(known, _)| *known == file),
                    "{name}: {file}"
                );
            }
            let mut code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with('*'));
            assert!(code.all(|line| !line.contains("import(")), "{name}");
        }
    }

    #[test]
    fn the_path_names_the_content() {
        assert_eq!(version().len(), 16);
        assert_eq!(module_path(), format!("/web/{}/atomicity.js", version()));
    }
}

//! Where Paykit keeps things on a homeserver.

use crate::name::{AppId, MethodId};

/// The list of a user's Paykit apps.
pub const REGISTRY_PATH: &str = "/pub/paykit/v0/app-registry.json";

/// Directory of all apps, one directory each.
pub(crate) const APPS_DIR: &str = "/pub/paykit/v0/apps/";

/// Where endpoints lay before apps had directories of their own. Read as a fallback, never written.
pub const LEGACY_DIR: &str = "/pub/paykit.app/v0/";

/// What a session must be allowed so that [`crate::Publisher`] can work for the app `atomicity`.
pub const CAPABILITIES: [&str; 2] = [
    "/pub/paykit/v0/apps/atomicity/:rw",
    "/pub/paykit/v0/app-registry.json:rw",
];

/// The directory of one app's endpoints, with the slash at its end.
#[must_use]
pub fn endpoints_dir(app: &AppId) -> String {
    format!("{APPS_DIR}{app}/endpoints/")
}

/// The file of one endpoint.
#[must_use]
pub fn endpoint_path(app: &AppId, method: &MethodId) -> String {
    format!("{}{method}", endpoints_dir(app))
}

/// The file where an endpoint lay before apps had directories of their own.
#[must_use]
pub fn legacy_path(method: &MethodId) -> String {
    format!("{LEGACY_DIR}{method}")
}

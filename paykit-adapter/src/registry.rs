//! The registry of a user's Paykit apps: one file that all of them share, so what we don't understand in it we keep.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::AdapterError;
use crate::name::{AppId, MethodId};

/// The largest registry that Paykit reads or writes, in bytes.
pub const MAX_REGISTRY_BYTES: usize = 64 * 1024;

const MAX_APPS: usize = 64;
const MAX_DEFAULTS: usize = 256;
const MAX_DISPLAY_NAME: usize = 128;
const VERSION: u8 = 1;
const KIND: &str = "paykit.app_registry";

/// What an app says that it can do for its user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// It exchanges private payment lists.
    pub private_payments: bool,
    /// It makes or answers payment requests.
    pub payment_requests: bool,
    /// It makes or fetches receipts.
    pub receipts: bool,
    /// It executes outgoing payments.
    pub outgoing_payments: bool,
}

impl Capabilities {
    fn needs_noise_key(self) -> bool {
        self.private_payments || self.payment_requests || self.receipts
    }
}

/// One app in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    display_name: String,
    capabilities: Capabilities,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl App {
    /// An app with a name for people, 1 to 128 bytes without control characters.
    ///
    /// # Errors
    /// [`AdapterError::RegistryMalformed`] if the name is not.
    pub fn new(
        display_name: impl Into<String>,
        capabilities: Capabilities,
    ) -> Result<Self, AdapterError> {
        let app = Self {
            display_name: display_name.into(),
            capabilities,
            other: Map::new(),
        };
        app.check()?;
        Ok(app)
    }

    /// This project's app: it publishes endpoints and takes part in none of Paykit's private messages.
    #[must_use]
    pub fn atomicity() -> Self {
        Self {
            display_name: "Atomicity".to_owned(),
            capabilities: Capabilities::default(),
            other: Map::new(),
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn display_name(&self) -> &str {
        &self.display_name
    }

    /// What it says that it can do.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn check(&self) -> Result<(), AdapterError> {
        let name = &self.display_name;
        if name.trim().is_empty()
            || name.len() > MAX_DISPLAY_NAME
            || name.chars().any(char::is_control)
        {
            return Err(AdapterError::RegistryMalformed(
                "an app's name has 1 to 128 plain bytes",
            ));
        }
        Ok(())
    }
}

/// The registry. Fields that we don't know survive a change by us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRegistry {
    version: u8,
    kind: String,
    key_generation: u64,
    noise_public_key: Option<String>,
    #[serde(deserialize_with = "unique_map")]
    apps: BTreeMap<AppId, App>,
    default_app_id: Option<AppId>,
    #[serde(deserialize_with = "unique_map")]
    default_apps_by_endpoint: BTreeMap<MethodId, AppId>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Default for AppRegistry {
    fn default() -> Self {
        Self {
            version: VERSION,
            kind: KIND.to_owned(),
            key_generation: 1,
            noise_public_key: None,
            apps: BTreeMap::new(),
            default_app_id: None,
            default_apps_by_endpoint: BTreeMap::new(),
            other: Map::new(),
        }
    }
}

impl AppRegistry {
    /// The apps by their id.
    #[must_use]
    pub fn apps(&self) -> &BTreeMap<AppId, App> {
        &self.apps
    }

    /// The app that the user prefers for a method.
    #[must_use]
    pub fn preferred(&self, method: &MethodId) -> Option<&AppId> {
        self.default_apps_by_endpoint
            .get(method)
            .or(self.default_app_id.as_ref())
    }

    /// Adds or replaces an app; what others wrote about the same app beyond our fields stays. True if anything changed.
    ///
    /// # Errors
    /// [`AdapterError::TooMany`] with 64 other apps, [`AdapterError::RegistryMalformed`] if the app needs the user's Noise key
    /// and the registry has none.
    pub fn register(&mut self, id: AppId, mut app: App) -> Result<bool, AdapterError> {
        if app.capabilities.needs_noise_key() && self.noise_public_key.is_none() {
            return Err(AdapterError::RegistryMalformed(
                "these capabilities need a Noise key",
            ));
        }
        if let Some(known) = self.apps.get(&id) {
            app.other = known.other.clone();
            if *known == app {
                return Ok(false);
            }
        } else if self.apps.len() >= MAX_APPS {
            return Err(AdapterError::TooMany {
                what: "apps",
                limit: MAX_APPS,
            });
        }
        self.apps.insert(id, app);
        Ok(true)
    }

    /// Removes an app and the preferences for it. True if it was there.
    pub fn unregister(&mut self, id: &AppId) -> bool {
        if self.default_app_id.as_ref() == Some(id) {
            self.default_app_id = None;
        }
        self.default_apps_by_endpoint.retain(|_, app| app != id);
        self.apps.remove(id).is_some()
    }

    /// Reads a registry.
    ///
    /// # Errors
    /// [`AdapterError::TooLarge`] or [`AdapterError::RegistryMalformed`] with the rule that it breaks.
    pub fn decode(bytes: &[u8]) -> Result<Self, AdapterError> {
        if bytes.len() > MAX_REGISTRY_BYTES {
            return Err(AdapterError::TooLarge {
                limit: MAX_REGISTRY_BYTES,
            });
        }
        let registry: Self = serde_json::from_slice(bytes)
            .map_err(|_| AdapterError::RegistryMalformed("it is no JSON of a registry's form"))?;
        registry.check()?;
        Ok(registry)
    }

    /// The registry's file.
    ///
    /// # Errors
    /// [`AdapterError::TooLarge`] if it exceeds [`MAX_REGISTRY_BYTES`].
    pub fn encode(&self) -> Result<String, AdapterError> {
        let text = serde_json::to_string(self)
            .map_err(|_| AdapterError::RegistryMalformed("it can't be written as JSON"))?;
        if text.len() > MAX_REGISTRY_BYTES {
            return Err(AdapterError::TooLarge {
                limit: MAX_REGISTRY_BYTES,
            });
        }
        Ok(text)
    }

    fn check(&self) -> Result<(), AdapterError> {
        let malformed = |why| Err(AdapterError::RegistryMalformed(why));
        if self.version != VERSION || self.kind != KIND {
            return malformed("its version or kind is unknown");
        }
        if self.key_generation == 0 {
            return malformed("its key generation is 0");
        }
        if self.apps.len() > MAX_APPS || self.default_apps_by_endpoint.len() > MAX_DEFAULTS {
            return malformed("it has too many apps or preferences");
        }
        if let Some(key) = &self.noise_public_key
            && pubky::PublicKey::try_from_z32(key).is_err()
        {
            return malformed("its Noise key is no key");
        }
        for app in self.apps.values() {
            app.check()?;
            if app.capabilities.needs_noise_key() && self.noise_public_key.is_none() {
                return malformed("an app has capabilities that need a Noise key");
            }
        }
        let mut preferred = self
            .default_app_id
            .iter()
            .chain(self.default_apps_by_endpoint.values());
        if preferred.any(|app| !self.apps.contains_key(app)) {
            return malformed("a preference names an app that is not registered");
        }
        Ok(())
    }
}

/// A JSON object in which no key stands twice: readers that take the first and readers that take the last must agree.
fn unique_map<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
{
    struct UniqueMap<K, V>(PhantomData<(K, V)>);

    impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Visitor<'de> for UniqueMap<K, V> {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object without repeated keys")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = entries.next_entry()? {
                if map.insert(key, value).is_some() {
                    return Err(A::Error::custom("repeated key"));
                }
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(UniqueMap(PhantomData))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const OTHERS: &str = r#"{"version":1,"kind":"paykit.app_registry","key_generation":3,"noise_public_key":null,"apps":{"bitkit":{"display_name":"Bitkit","capabilities":{"private_payments":false,"payment_requests":false,"receipts":false,"outgoing_payments":true},"icon":"b.png"}},"default_app_id":"bitkit","default_apps_by_endpoint":{"btc-lightning-bolt11":"bitkit"},"later":[1,2]}"#;

    fn method(name: &str) -> MethodId {
        MethodId::new(name).unwrap()
    }

    #[test]
    fn joining_a_registry_keeps_everything_else_in_it() {
        let mut registry = AppRegistry::decode(OTHERS.as_bytes()).unwrap();
        assert!(
            registry
                .register(AppId::atomicity(), App::atomicity())
                .unwrap()
        );
        assert!(
            !registry
                .register(AppId::atomicity(), App::atomicity())
                .unwrap()
        );
        let mut after: Value = serde_json::from_str(&registry.encode().unwrap()).unwrap();
        let ours = after["apps"]
            .as_object_mut()
            .unwrap()
            .remove("atomicity")
            .unwrap();
        assert_eq!(ours["display_name"], "Atomicity");
        assert_eq!(after, serde_json::from_str::<Value>(OTHERS).unwrap());
    }

    #[test]
    fn a_method_has_its_own_preference_or_the_users() {
        let mut registry = AppRegistry::decode(OTHERS.as_bytes()).unwrap();
        let bitkit = AppId::new("bitkit").unwrap();
        assert_eq!(registry.preferred(&method("eur-sepa-iban")), Some(&bitkit));
        assert!(registry.unregister(&bitkit));
        assert!(!registry.unregister(&bitkit));
        assert_eq!(registry.preferred(&method("btc-lightning-bolt11")), None);
        AppRegistry::decode(registry.encode().unwrap().as_bytes()).unwrap();
    }

    #[test]
    fn malformed_registries_are_refused() {
        let change = |from: &str, to: &str| {
            let text = OTHERS.replacen(from, to, 1);
            assert_ne!(text, OTHERS, "{from}");
            text
        };
        for bad in [
            String::new(),
            "garbage".to_owned(),
            "[]".to_owned(),
            change(r#""version":1"#, r#""version":2"#),
            change("paykit.app_registry", "other"),
            change(r#""key_generation":3"#, r#""key_generation":0"#),
            change(
                r#""noise_public_key":null"#,
                r#""noise_public_key":"nokey""#,
            ),
            change(r#""receipts":false"#, r#""receipts":true"#),
            change(
                r#""default_app_id":"bitkit""#,
                r#""default_app_id":"other""#,
            ),
            change(r#"bolt11":"bitkit""#, r#"bolt11":"other""#),
            change(r#""btc-lightning-bolt11":"bitkit""#, r#""../x":"bitkit""#),
            change(
                r#""btc-lightning-bolt11":"bitkit""#,
                r#""a":"bitkit","a":"bitkit""#,
            ),
            change(r#""display_name":"Bitkit""#, r#""display_name":" ""#),
            change(
                r#""display_name":"Bitkit""#,
                r#""display_name":"A","display_name":"B""#,
            ),
        ] {
            let error = AppRegistry::decode(bad.as_bytes()).unwrap_err();
            assert_eq!(error.code(), "registry_malformed", "{bad}");
        }
        let padded = format!("{OTHERS}{}", " ".repeat(MAX_REGISTRY_BYTES));
        assert_eq!(
            AppRegistry::decode(padded.as_bytes()).unwrap_err().code(),
            "too_large"
        );
    }

    #[test]
    fn the_sixty_fifth_app_is_refused() {
        let mut registry = AppRegistry::default();
        for n in 0..MAX_APPS {
            registry
                .register(AppId::new(format!("app-{n}")).unwrap(), App::atomicity())
                .unwrap();
        }
        let error = registry
            .register(AppId::atomicity(), App::atomicity())
            .unwrap_err();
        assert_eq!(error.code(), "too_many");
    }

    #[test]
    fn private_capabilities_need_a_noise_key() {
        let private = Capabilities {
            receipts: true,
            ..Capabilities::default()
        };
        let app = App::new("Other", private).unwrap();
        let error = AppRegistry::default()
            .register(AppId::atomicity(), app)
            .unwrap_err();
        assert_eq!(error.code(), "registry_malformed");
    }
}

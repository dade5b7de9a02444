//! What a user has published, as their homeserver still has it: the beginning of a recovery.

use std::collections::BTreeSet;

use atomicity_ledger::authority::{PROFILE_PATH, delegation_path};
use atomicity_ledger::record::{self, Delegation, Profile, Scope};
use atomicity_ledger::{Signed, SignerKey};
use sqlx::SqliteConnection;

use super::super::{RootKey, now, profile, receive};
use crate::error::ClientError;
use crate::net::NetError;
use crate::net::plugin::PluginAddress;
use crate::net::session::HomeSession;
use crate::store::units::OpenUnit;
use crate::store::{publications, settings};

/// Where delegations lie.
const DELEGATIONS: &str = "/pub/atomicity/v0/delegations/";
/// Old devices that are looked for at most.
const MAX_DEVICES: usize = 256;

/// What is published about the user.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) key_number: u32,
    pub(super) name: Option<String>,
    pub(super) page: bool,
    pub(super) plugins: Vec<PluginAddress>,
    pub(super) open: Vec<OpenUnit>,
    pub(super) devices: Vec<SignerKey>,
}

/// Plans the revocation of a device in the place of its delegation.
pub(crate) async fn plan_revocation(
    conn: &mut SqliteConnection,
    device: SignerKey,
    jws: &str,
) -> Result<(), ClientError> {
    let path = delegation_path(&device);
    publications::put(conn, &path, Some(jws.as_bytes()), now().millis()).await
}

/// Plans all revocations again: at a new homeserver.
pub(crate) async fn plan_revocations(conn: &mut SqliteConnection) -> Result<(), ClientError> {
    let kept = settings::get(conn, settings::REVOCATIONS).await?;
    for jws in kept.iter().flat_map(|text| text.lines()) {
        let revocation: Signed<record::Revocation> = Signed::decode(jws)?;
        plan_revocation(conn, revocation.record().key, jws).await?;
    }
    Ok(())
}

/// Reads what the user has published: profile and delegations.
pub(super) async fn read(
    session: &HomeSession,
    root: &RootKey,
    warnings: &mut Vec<String>,
) -> Result<Published, ClientError> {
    let mut published = Published::default();
    match session.get(PROFILE_PATH, profile::MAX_BYTES).await {
        Ok(bytes) => read_profile(bytes, root, &mut published, warnings)?,
        Err(NetError::NotFound(_)) => {
            warnings.push(
                "no profile was published: friends may not find this wallet's keys".to_owned(),
            );
        }
        Err(error) => return Err(error.into()),
    }
    let mut devices = BTreeSet::new();
    let mut newest: Option<Signed<Delegation>> = None;
    for path in session.list_all(DELEGATIONS, MAX_DEVICES).await? {
        let Some(key) = path
            .rsplit('/')
            .next()
            .and_then(|key| key.parse::<SignerKey>().ok())
        else {
            continue;
        };
        devices.insert(key);
        let bytes = session.get(&path, profile::MAX_BYTES).await?;
        let Ok(jws) = String::from_utf8(bytes) else {
            continue;
        };
        let Ok(delegation) = Signed::<Delegation>::decode(&jws) else {
            continue;
        };
        // What an app may spend says nothing of the units that a device keeps books in.
        let ours = delegation.kid().is_root_of(&root.user())
            && delegation.record().scopes.contains(&Scope::Book);
        let serial = newest.as_ref().map(|d| d.record().serial);
        if ours && serial.is_none_or(|serial| delegation.record().serial > serial) {
            newest = Some(delegation);
        }
    }
    if let Some(delegation) = newest {
        published.open = delegation
            .record()
            .limits
            .iter()
            .map(|limit| OpenUnit {
                unit: limit.unit.clone(),
                cap: Some(limit.per_peer),
                opened_at: now().millis(),
            })
            .collect();
    }
    published.devices = devices.into_iter().collect();
    Ok(published)
}

fn read_profile(
    bytes: Vec<u8>,
    root: &RootKey,
    published: &mut Published,
    warnings: &mut Vec<String>,
) -> Result<(), ClientError> {
    let jws = profile::text(bytes)?;
    let profile: Signed<Profile> = match receive::judge_profile(&jws, root.user(), None, now()) {
        Ok(profile) => profile,
        Err(error) => {
            warnings.push(format!("the published profile is not usable: {error}"));
            return Ok(());
        }
    };
    let record = profile.record();
    published.key_number = record.current_key().map_or(0, |entry| entry.n.get());
    published.name = record.name.as_ref().map(ToString::to_string);
    published.page = record.page;
    published.plugins = record
        .inboxes
        .iter()
        .map(|inbox| PluginAddress {
            key: inbox.plugin,
            url: inbox.url.as_ref().and_then(|url| url.as_str().parse().ok()),
        })
        .collect();
    Ok(())
}

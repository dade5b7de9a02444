//! Paykit endpoints on Pubky homeservers: publishing, listing and removing them, the credit endpoints of Atomicity, and the rails that
//! pay by them.
//!
//! A Paykit endpoint is one small file on the payee's homeserver. Its name says *how* the payee can be paid
//! (`btc-lightning-bolt11`), its content *where* (`{"value": "lno1…"}`). Several apps of one user keep their endpoints apart:
//!
//! ```text
//! /pub/paykit/v0/apps/<app>/endpoints/<asset>-<rail>-<format>    written and read
//! /pub/paykit/v0/app-registry.json                               written and read: which apps there are
//! /pub/paykit.app/v0/<method>                                    read where no app has the method, never written
//! ```
//!
//! A user who opens a unit for credit gets the endpoint `<code>-atomicity-ledger`; its value names the full units and the payee:
//!
//! ```
//! use atomicity_paykit_adapter::credit_endpoints;
//!
//! let payee = atomicity_ledger::Keypair::from_secret(&[7; 32]).user_key();
//! let open = ["USD/2".parse()?, "USD".parse()?].into();
//! let endpoints = credit_endpoints(&payee, &open)?;
//! let (method, payload) = endpoints.first_key_value().ok_or("nothing open")?;
//! assert_eq!(method.as_str(), "usd-atomicity-ledger");
//! assert_eq!(payload.value(), format!("atomicity:{payee}?units=USD,USD/2"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Reader`] needs no session and serves wallets and sidecars alike; [`Publisher`] writes with the user's session, see [`Storage`]. What
//! comes from a homeserver is bounded before it is parsed, and one bad endpoint never hides a good one: see [`Listing`].
//!
//! What an endpoint names is paid by a *rail*, such as the operator's Lightning node: see [`rail`]. [`choose`] says which rail and which
//! endpoint, [`rates`] what a debt is worth there.

pub mod choose;
mod credit;
mod error;
mod fetch;
mod name;
mod paths;
mod payload;
mod publish;
pub mod rail;
pub mod rates;
mod read;
mod registry;
mod storage;

pub use credit::{CreditEndpoint, MAX_CODE_UNITS, credit_endpoints, is_credit_method};
pub use error::{AdapterError, Fault};
pub use fetch::ReadLimits;
pub use name::{AppId, MAX_NAME, MethodId};
pub use paths::{
    CAPABILITIES, LEGACY_DIR, REGISTRY_PATH, endpoint_path, endpoints_dir, legacy_path,
};
pub use payload::{Limit, MAX_PAYLOAD_BYTES, Payload};
pub use publish::{Publisher, close_unit, open_unit};
pub use read::{Endpoint, Listing, MAX_APPS, MAX_ENDPOINTS, Reader};
pub use registry::{App, AppRegistry, Capabilities, MAX_REGISTRY_BYTES};
pub use storage::Storage;

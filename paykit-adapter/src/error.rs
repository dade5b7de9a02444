//! What can go wrong between us and a user's endpoints.

use std::time::Duration;

use pubky::errors::{CredentialRefreshError, RequestError};

/// Why an endpoint could not be read or written. [`AdapterError::code`] is stable; the text is for people.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The name of a payment method breaks Paykit's rules.
    #[error("{name:?} is no name of a payment method: {why}")]
    MethodMalformed {
        /// The beginning of the name.
        name: String,
        /// The rule.
        why: &'static str,
    },
    /// The name is allowed but no wallet could recognise it: it is not `<asset>-<rail>-<format>`.
    #[error("{0:?} is not of the form asset-rail-format in lower case, so it is not published")]
    MethodUnconventional(String),
    /// The name of an app breaks Paykit's rules.
    #[error("{name:?} is no name of an app: 1 to 64 lower-case letters, digits and '-'")]
    AppMalformed {
        /// The beginning of the name.
        name: String,
    },
    /// The content of an endpoint can't be understood.
    #[error("the endpoint's content is malformed: {0}")]
    PayloadMalformed(&'static str),
    /// A file is larger than Paykit allows.
    #[error("the file is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// An app has more endpoints than Paykit allows, or a user more apps.
    #[error("there are more than {limit} {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The bytes that one listing may read are used up.
    #[error("reading stopped after {limit} bytes")]
    BudgetExhausted {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A credit endpoint's value can't be understood.
    #[error("the credit endpoint is malformed: {0}")]
    CreditMalformed(&'static str),
    /// The credit endpoint names somebody else as payee. It is left as it is: its owner may have meant it.
    #[error("the endpoint {method} names another payee; remove it before opening the unit")]
    PayeeDiffers {
        /// The endpoint.
        method: String,
    },
    /// The app registry can't be understood, so it is not touched: it also speaks for other apps.
    #[error("the app registry is malformed: {0}")]
    RegistryMalformed(&'static str),
    /// The homeserver answered a listing with something else than a listing.
    #[error("the homeserver's listing is malformed: {0}")]
    ListingMalformed(&'static str),
    /// The owner's key can't be used.
    #[error("the owner's key is unusable: {0}")]
    KeyUnusable(&'static str),
    /// The homeserver did not answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The homeserver was not found or not reached.
    #[error("the homeserver can't be reached")]
    Unreachable(#[source] Box<pubky::Error>),
    /// The connection broke while the content was read.
    #[error("the content could not be read")]
    BodyBroken(#[source] reqwest::Error),
    /// The session may not do this, or has ended.
    #[error("the homeserver does not permit this (status {status})")]
    NotPermitted {
        /// 401 or 403.
        status: u16,
    },
    /// Somebody else is writing the same file; later it will work.
    #[error("another program is writing this file")]
    Locked,
    /// The homeserver asks to slow down.
    #[error("the homeserver asks to try again later")]
    RateLimited,
    /// The user's storage is full.
    #[error("the user's storage on the homeserver is full")]
    StorageFull,
    /// The homeserver answered with another failure.
    #[error("the homeserver answered with status {status}")]
    HomeserverFailed {
        /// The HTTP status.
        status: u16,
    },
    /// The SDK refused the request or could not renew its credentials.
    #[error("the request could not be made")]
    RequestFailed(#[source] Box<pubky::Error>),
    /// Whoever writes for the program says why it could not: see [`crate::Storage`].
    #[error("{why}")]
    NotWritten {
        /// Why, in that program's own terms.
        why: Box<dyn std::error::Error + Send + Sync>,
        /// Whether trying again later can help.
        transient: bool,
    },
}

impl AdapterError {
    /// A stable name of the kind of failure, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::MethodMalformed { .. } => "method_malformed",
            Self::MethodUnconventional(_) => "method_unconventional",
            Self::AppMalformed { .. } => "app_malformed",
            Self::PayloadMalformed(_) => "payload_malformed",
            Self::TooLarge { .. } => "too_large",
            Self::TooMany { .. } => "too_many",
            Self::BudgetExhausted { .. } => "budget_exhausted",
            Self::CreditMalformed(_) => "credit_malformed",
            Self::PayeeDiffers { .. } => "payee_differs",
            Self::RegistryMalformed(_) => "registry_malformed",
            Self::ListingMalformed(_) => "listing_malformed",
            Self::KeyUnusable(_) => "key_unusable",
            Self::Timeout(_) => "timeout",
            Self::Unreachable(_) => "homeserver_unreachable",
            Self::BodyBroken(_) => "body_broken",
            Self::NotPermitted { .. } => "not_permitted",
            Self::Locked => "locked",
            Self::RateLimited => "rate_limited",
            Self::StorageFull => "storage_full",
            Self::HomeserverFailed { .. } => "homeserver_failed",
            Self::RequestFailed(_) => "request_failed",
            Self::NotWritten { .. } => "not_written",
        }
    }

    /// Whether trying the same again later can help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Timeout(_)
            | Self::Unreachable(_)
            | Self::BodyBroken(_)
            | Self::Locked
            | Self::RateLimited => true,
            Self::HomeserverFailed { status } => *status >= 500,
            Self::NotWritten { transient, .. } => *transient,
            _ => false,
        }
    }

    pub(crate) fn from_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::NotPermitted { status },
            412 | 423 => Self::Locked,
            429 => Self::RateLimited,
            507 => Self::StorageFull,
            _ => Self::HomeserverFailed { status },
        }
    }
}

impl From<pubky::Error> for AdapterError {
    fn from(error: pubky::Error) -> Self {
        match &error {
            pubky::Error::Request(RequestError::Server { status, .. }) => {
                Self::from_status(status.as_u16())
            }
            pubky::Error::CredentialRefresh(CredentialRefreshError::Request {
                status: Some(status),
            }) => Self::from_status(status.as_u16()),
            pubky::Error::Request(RequestError::Transport(_))
            | pubky::Error::CredentialRefresh(_)
            | pubky::Error::Pkarr(_) => Self::Unreachable(Box::new(error)),
            _ => Self::RequestFailed(Box::new(error)),
        }
    }
}

/// One thing in a listing that could not be read, beside those that could.
#[derive(Debug)]
#[non_exhaustive]
pub struct Fault {
    /// The path on the homeserver, shortened and safe to print.
    pub path: String,
    /// Why it could not be read.
    pub error: AdapterError,
}

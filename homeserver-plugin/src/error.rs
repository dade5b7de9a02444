//! Everything that can go wrong, each with a code that programs can rely on.

use std::path::PathBuf;
use std::time::Duration;

use axum::http::StatusCode;

/// Why something failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// The configuration is missing something or contradicts itself.
    #[error("configuration: {0}")]
    Config(String),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A listener could not be opened or failed.
    #[error("listener {name}: {source}")]
    Listener {
        /// Which listener.
        name: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another plugin holds this database.
    #[error(
        "another atomicity-homeserver is running on this database: stop it first, or give this one its own database"
    )]
    DatabaseInUse,
    /// The database's schema is not the one this version needs.
    #[error("database schema: {0}")]
    Migration(String),
    /// The database refused or could not be reached.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// This process does not hold the database at present.
    #[error("the database is not available at present")]
    NotReady,
    /// Too many envelopes are being stored at once.
    #[error("too much is being stored at once")]
    Overloaded,
    /// The Pkarr network or a homeserver could not be asked.
    #[error("{0}")]
    Upstream(String),
    /// A part of the plugin could not be set up.
    #[error("{0}")]
    Internal(String),

    /// The request is not what the route takes. The code names which part.
    #[error("{detail}")]
    BadRequest {
        /// Stable code.
        code: &'static str,
        /// What was wrong, for people.
        detail: String,
    },
    /// The body is larger than the route takes.
    #[error("the body is larger than this route takes")]
    TooLarge {
        /// Stable code.
        code: &'static str,
    },
    /// The body is not declared as JSON.
    #[error("send the body as application/json")]
    UnsupportedMediaType,
    /// The caller did not prove who they are.
    #[error("{detail}")]
    Unauthorized {
        /// Stable code.
        code: &'static str,
        /// What was wrong, for people.
        detail: &'static str,
    },
    /// The caller is known but may not do this.
    #[error("{detail}")]
    Forbidden {
        /// Stable code.
        code: &'static str,
        /// What was wrong, for people.
        detail: &'static str,
    },
    /// The request is understood, and what it asks for can't be done as things stand.
    #[error("{detail}")]
    Refused {
        /// Stable code.
        code: &'static str,
        /// Why, for people.
        detail: String,
    },
    /// There is nothing here.
    #[error("{detail}")]
    NotFound {
        /// Stable code.
        code: &'static str,
        /// What was looked for, for people.
        detail: &'static str,
    },
    /// The route exists, the method does not.
    #[error("this route does not take that method")]
    MethodNotAllowed,
    /// There was an account here; its user has left.
    #[error("this account has moved: look the user's profile up again")]
    AccountMoved,
    /// More requests than allowed, or a full queue.
    #[error("{detail}")]
    TooMany {
        /// Stable code.
        code: &'static str,
        /// What was exceeded, for people.
        detail: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// The request took too long.
    #[error("the request took too long")]
    Timeout,
    /// A part of the plugin can't do this at present.
    #[error("{detail}")]
    Unavailable {
        /// Stable code.
        code: &'static str,
        /// What is missing, for people.
        detail: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
}

/// What callers are told about a fault of ours.
const OUR_FAULT: &str = "something went wrong here; the log says what";

/// Whether the same request may succeed later: the database is away, out of something, or two transactions got in each other's
/// way. Everything else that it refuses is a fault of ours, which waiting does not mend.
fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(refusal) => refusal.code().is_none_or(|state| is_passing(&state)),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// By the class of the SQLSTATE: connection, rollback, resources, object not in a state for it (connections disallowed, lock not
/// available), operator intervention, system error.
fn is_passing(state: &str) -> bool {
    ["08", "40", "53", "55", "57", "58"]
        .iter()
        .any(|class| state.starts_with(class))
}

impl PluginError {
    /// A code in snake case that programs can rely on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "config_invalid",
            Self::File { .. } => "file_unavailable",
            Self::Listener { .. } => "listener_failed",
            Self::DatabaseInUse => "database_in_use",
            Self::Migration(_) => "database_schema",
            Self::Database(error) if !is_outage(error) => "internal",
            Self::Database(_) | Self::NotReady => "database_unavailable",
            Self::Overloaded => "overloaded",
            Self::Upstream(_) => "upstream_unavailable",
            Self::Internal(_) => "internal",
            Self::BadRequest { code, .. }
            | Self::TooLarge { code }
            | Self::Unauthorized { code, .. }
            | Self::Forbidden { code, .. }
            | Self::Refused { code, .. }
            | Self::NotFound { code, .. }
            | Self::TooMany { code, .. }
            | Self::Unavailable { code, .. } => code,
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::AccountMoved => "account_moved",
            Self::Timeout => "request_timeout",
        }
    }

    /// The HTTP status that says the same.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Config(_)
            | Self::File { .. }
            | Self::Listener { .. }
            | Self::Migration(_)
            | Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Database(error) if !is_outage(error) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::DatabaseInUse
            | Self::Database(_)
            | Self::NotReady
            | Self::Overloaded
            | Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Upstream(_) => StatusCode::BAD_GATEWAY,
            Self::BadRequest { .. } => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::Refused { .. } => StatusCode::CONFLICT,
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::AccountMoved => StatusCode::GONE,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// When it makes sense to try again, if it does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { retry_after, .. } | Self::Unavailable { retry_after, .. } => {
                Some(*retry_after)
            }
            Self::Database(error) if !is_outage(error) => None,
            Self::Database(_) | Self::NotReady | Self::DatabaseInUse => {
                Some(Duration::from_secs(2))
            }
            Self::Overloaded => Some(Duration::from_secs(1)),
            Self::Upstream(_) => Some(Duration::from_secs(30)),
            _ => None,
        }
    }

    /// What the caller is told. Errors of ours name no table, path or host.
    #[must_use]
    pub fn public_detail(&self) -> String {
        match self {
            Self::Database(error) if !is_outage(error) => OUR_FAULT.to_owned(),
            Self::Database(_) | Self::NotReady | Self::DatabaseInUse => {
                "the database is not available at present; nothing was stored".to_owned()
            }
            Self::Config(_)
            | Self::File { .. }
            | Self::Listener { .. }
            | Self::Migration(_)
            | Self::Internal(_) => OUR_FAULT.to_owned(),
            other => other.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_told_to_wait_only_where_waiting_helps() {
        let away = PluginError::Database(sqlx::Error::PoolTimedOut);
        assert_eq!(
            (away.code(), away.status().as_u16()),
            ("database_unavailable", 503)
        );
        assert!(away.retry_after().is_some());
        let ours = PluginError::Database(sqlx::Error::RowNotFound);
        assert_eq!((ours.code(), ours.status().as_u16()), ("internal", 500));
        assert!(ours.retry_after().is_none());
        // A server that is shutting down, a full disk, a deadlock; a violated constraint, a missing table.
        let passing = ["57P01", "53100", "40P01", "23505", "42P01"].map(is_passing);
        assert_eq!(passing, [true, true, true, false, false]);
    }

    #[test]
    fn what_callers_read_names_no_file_and_no_setting() {
        let errors = [
            PluginError::Config("database.url".to_owned()),
            PluginError::Migration("/var/lib".to_owned()),
            PluginError::Database(sqlx::Error::RowNotFound),
            PluginError::Internal("secret".to_owned()),
        ];
        for error in errors {
            assert_eq!(error.public_detail(), OUR_FAULT);
        }
    }
}

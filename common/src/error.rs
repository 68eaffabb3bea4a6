//! The public error of every role: a kind that says what the caller does next, and a sentence.
//!
//! Inside a crate errors are rich enums; at its edge they become this [`Error`]. One table
//! ([`ErrorKind::row`]) maps a kind to its HTTP status, its gRPC code and whether the same
//! request may simply be sent again.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The result of everything that crosses a crate's edge.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, seen from the caller: it decides what to do next by this alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request is wrong; sending it again cannot help.
    InvalidArgument,
    /// The named thing does not exist.
    NotFound,
    /// The named thing exists already.
    AlreadyExists,
    /// The request is right but the state refuses it (writing a derived table, a stale base version).
    FailedPrecondition,
    /// Too much at once; retry after the given time.
    ResourceExhausted,
    /// This server does not own the tablet (any more); refresh the tablet map and retry elsewhere.
    NotMine,
    /// A newer owner has fenced this one off.
    Fenced,
    /// The read's version is below the tablet's floor; take a new snapshot.
    SnapshotTooOld,
    /// The change cursor is below the tablet's floor; everything the reader reaches is due.
    ChangesLost,
    /// A part is unreachable or the outcome of a write is unknown.
    Unavailable,
    /// The time allowed has passed.
    DeadlineExceeded,
    /// Stored data failed its checksum or does not decode.
    Corrupt,
    /// Known, and not built.
    Unimplemented,
    /// A bug of ours.
    Internal,
}

/// One row of the status table.
#[derive(Clone, Copy, Debug)]
pub struct StatusRow {
    /// HTTP status.
    pub http: u16,
    /// gRPC status code.
    pub grpc: i32,
    /// `title` of the problem document.
    pub title: &'static str,
    /// Whether the identical request may succeed later or elsewhere and was not carried out.
    pub retryable: bool,
}

impl ErrorKind {
    /// The status table.
    #[must_use]
    pub const fn row(self) -> StatusRow {
        const fn row(http: u16, grpc: i32, title: &'static str, retryable: bool) -> StatusRow {
            StatusRow { http, grpc, title, retryable }
        }
        match self {
            Self::InvalidArgument => row(400, 3, "invalid request", false),
            Self::NotFound => row(404, 5, "not found", false),
            Self::AlreadyExists => row(409, 6, "already exists", false),
            Self::FailedPrecondition => row(409, 9, "refused in this state", false),
            Self::ResourceExhausted => row(429, 8, "too much at once", true),
            Self::NotMine => row(503, 14, "tablet has moved", true),
            Self::Fenced => row(503, 10, "owner fenced", true),
            Self::SnapshotTooOld => row(410, 11, "snapshot too old", false),
            Self::ChangesLost => row(410, 11, "changes lost", false),
            Self::Unavailable => row(503, 14, "unavailable", false),
            Self::DeadlineExceeded => row(504, 4, "deadline exceeded", false),
            Self::Corrupt => row(500, 15, "stored data is damaged", false),
            Self::Unimplemented => row(501, 12, "not implemented", false),
            Self::Internal => row(500, 13, "internal error", false),
        }
    }
}

/// An error that crosses a crate's or a process's edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What the caller should do.
    pub kind: ErrorKind,
    /// Lower case: what failed, with which value, what to do.
    pub message: String,
    /// How long to wait before a retry, if the kind is retryable.
    pub retry_after: Option<Duration>,
}

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {
        $(
            #[doc = concat!("An [`ErrorKind::", stringify!($kind), "`] with this message.")]
            pub fn $name(message: impl Into<String>) -> Self {
                Self::new(ErrorKind::$kind, message)
            }
        )*
    };
}

impl Error {
    /// An error of `kind` with a message for people.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    constructors! {
        invalid => InvalidArgument,
        not_found => NotFound,
        already_exists => AlreadyExists,
        refused => FailedPrecondition,
        not_mine => NotMine,
        fenced => Fenced,
        snapshot_too_old => SnapshotTooOld,
        changes_lost => ChangesLost,
        unavailable => Unavailable,
        deadline => DeadlineExceeded,
        corrupt => Corrupt,
        unimplemented => Unimplemented,
        internal => Internal,
    }

    /// A refusal for load; `retry_after` becomes HTTP `Retry-After`.
    pub fn exhausted(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { kind: ErrorKind::ResourceExhausted, message: message.into(), retry_after: Some(retry_after) }
    }

    /// Whether the request was not carried out and may be sent again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind.row().retryable
    }

    /// The same error with `what: ` in front of its message.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

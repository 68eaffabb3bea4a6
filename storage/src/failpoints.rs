//! The failpoints: one at every step whose order keeps data. They do nothing without the feature `failpoints`.
//!
//! A failpoint is passed before its step takes effect, those named `…-done` right after, before anybody is told.
//! `tests/crash.rs` ends processes at each of them.

/// Their names. Which log an engine has decides which of the log's are passed.
pub const FAILPOINTS: &[&str] = &[
    // A group commit on disk: written, synced, told; a segment ended and the next begun.
    "log-append",
    "log-sync",
    "log-sync-done",
    "log-roll",
    // A group commit in the store; its outcome is known, but not yet to those who wait.
    "log-object-put",
    "log-object-put-done",
    // A segment or object below all that is needed is deleted; a log that no manifest names is.
    "log-trim-delete",
    "dead-log-delete",
    // A small tablet's records are appended again.
    "log-copy",
    "log-copy-done",
    // Another's log is ended.
    "log-fence-put",
    "log-fence-put-done",
    // Taking over: the manifest is taken, the log read, what it holds flushed and copied, the manifest put.
    "recovery-taken",
    "log-read-index",
    "log-read-records",
    "recovery-replayed",
    "recovery-copied",
    // Giving up: flushed, then logged as closed.
    "close-flushed",
    // An ingest: its SSTables are durable and no log names them; the log does, they can be read, nobody is told.
    "ingest-built",
    "ingest-landed",
    "sstable-put",
    "manifest-put",
    "manifest-put-done",
    "sstable-delete",
];

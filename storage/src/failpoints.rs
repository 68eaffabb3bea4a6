//! The failpoints: one at every step whose order keeps data. They do nothing without the feature `failpoints`.
//!
//! A failpoint is passed before its step takes effect, those named `…-done` right after, before anybody is told.
//! `tests/crash.rs` ends processes at each of them.

/// Their names.
pub const FAILPOINTS: &[&str] = &["log-append", "log-sync", "sstable-put", "manifest-put", "manifest-put-done", "sstable-delete"];

//! Stele's storage engine: an ordered, versioned row store on object storage.
//!
//! One [`Engine`] runs in a tablet server. It owns one shared write-ahead log, one memory budget and
//! one block cache, and opens [`Tablet`]s: contiguous row ranges, each a log-structured merge tree of
//! a memtable and SSTables, with a manifest in the object store.
//!
//! A write is validated, numbered, appended to the log, made durable, inserted into the memtable, made
//! visible, acknowledged, in this order. Nothing is readable before it is durable.
//!
//! Modules import one way: `format` → `log`, `memtable`, `sstable` → `read` → `arrow`, `manifest`,
//! `compaction` → `procedures` → `tablet` → `engine`. Nothing here knows a network or a consensus protocol.

pub mod arrow;
mod codec;
mod compaction;
mod config;
mod engine;
mod event_time;
mod failpoints;
pub mod format;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod inspect;
mod log;
mod manifest;
mod memtable;
mod metrics;
pub mod procedures;
mod raw;
mod read;
mod shared;
mod slice;
mod sstable;
mod store;
mod sync;
mod tablet;

pub use arrow::ScanSpec;
pub use config::{CompactionConfig, DiskCacheConfig, EngineConfig, LogConfig, ObjectLogSettings};
pub use engine::Engine;
pub use failpoints::FAILPOINTS;
pub use log::fence_log;
pub use metrics::MetricsSnapshot;
pub use tablet::{ArrowBatches, ChangeBatches, Ingest, KeySample, RequestId, RowBatches, Tablet, TabletOpen, TabletStats};

#[cfg(test)]
mod tests;

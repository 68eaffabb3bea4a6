//! Settings of the engine.

use crate::procedures::{NothingPinned, ObjectPins};
use common::ids::{Incarnation, ServerId};
use common::store::SharedStore;
use common::threads::Threads;
use common::time::SharedClock;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Settings of one [`crate::Engine`]; [`EngineConfig::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The server that this engine runs in.
    pub server: ServerId,
    /// The life of that server; the log's folder carries it, so it must never be used twice.
    pub incarnation: Incarnation,
    /// Where SSTables and manifests live.
    pub store: SharedStore,
    /// Where the log is written.
    pub log: LogConfig,
    /// Time.
    pub clock: SharedClock,
    /// Bytes that all memtables may hold together. At half of it the largest is flushed; at all of it
    /// writers wait. More: fewer and larger SSTables, longer recovery.
    pub memtable_bytes: usize,
    /// Bytes of rows that one ingest holds in memory before they are in the store. Less: more SSTables where its rows lie in
    /// many slices.
    pub ingest_bytes: usize,
    /// Bytes that staged rows of unpublished runs may hold together.
    pub staged_bytes: usize,
    /// Bytes of decoded blocks kept in memory.
    pub cache_bytes: u64,
    /// Where stored bytes are kept that memory has no room for. Default: nowhere.
    pub disk_cache: Option<DiskCacheConfig>,
    /// Bytes at which a log segment on disk is closed and the next begun. More: fewer files, trimmed later.
    pub log_segment_bytes: u64,
    /// Bytes of log above which the tablets that hold its oldest part back are flushed, or copied to its end if they
    /// have little in it. More: fewer flushes, longer recovery.
    pub log_bytes: u64,
    /// The same as a number of segments or objects. More: more requests at recovery.
    pub log_segments: usize,
    /// A tablet with less than this unflushed is copied to the log's end instead of being flushed. More: fewer tiny
    /// SSTables, more log written twice.
    pub log_copy_bytes: usize,
    /// Uncompressed bytes of an SSTable block, wide columns apart. More: better compression and faster scans, dearer
    /// point reads that miss the cache.
    pub block_bytes: usize,
    /// Rows of a block at most. More: longer runs for scans of few columns, more to decode for one row.
    pub block_rows: usize,
    /// Uncompressed bytes of a block of one wide column. More: better compression, dearer point reads that miss the cache.
    pub wide_block_bytes: usize,
    /// Bytes of rows that a writer gathers before it lays them out: each wide column of them is one contiguous region.
    /// More: fewer requests for a scan of few columns, more memory for each flush and compaction.
    pub stripe_bytes: usize,
    /// Mean bytes of a value above which a column is wide: kept apart from the others. Less: scans of narrow columns read
    /// less, reads of whole rows touch more blocks.
    pub wide_value_bytes: usize,
    /// Cells above which a row is stored cell by cell, so that it may span blocks and be read in parts.
    pub cell_block_cells: usize,
    /// Bytes above which a row is stored cell by cell.
    pub cell_block_bytes: usize,
    /// How long a snapshot (a seq that was visible) stays readable without a pin.
    pub snapshot_retention: Duration,
    /// How long a change reader that does not advance is waited for. More: a reader may be away longer before it has to
    /// begin anew; each pin that is held costs the old versions that only it sees.
    pub change_retention: Duration,
    /// How long a writer waits for memtables to be flushed before it is refused.
    pub write_patience: Duration,
    /// Who else holds SSTables. The default holds nothing: no snapshots, clones and splits can then be made.
    pub pins: Arc<dyn ObjectPins>,
    /// How SSTables are compacted.
    pub compaction: CompactionConfig,
    /// Whether flushes and compactions start by themselves.
    pub background: bool,
    /// Where they run.
    pub threads: Threads,
}

/// How an engine compacts; which SSTables is the table's choice.
#[derive(Clone, Debug)]
pub struct CompactionConfig {
    /// Compactions at once over all tablets, each on a thread of its own. More: they keep up with more writes, and take
    /// more from reads. Default: half of the processors, at least one.
    pub concurrent: usize,
    /// Bytes of rows, before encoding, that all compactions together merge a second: it bounds what they read, write
    /// and compute. Less: reads and writes are disturbed less, until compaction falls behind and writes are slowed.
    pub bytes_per_second: u64,
    /// Bytes that may be merged at once after a pause.
    pub burst_bytes: u64,
    /// Bytes at which leveled compaction closes an SSTable, at most: it cuts finer where memtables are small. Less: smaller steps and less rewriting, more objects.
    pub file_bytes: u64,
    /// SSTables of level 0 in one slice above which writes are slowed. More: reads look into more SSTables.
    pub level0_slow: usize,
    /// SSTables of level 0 in one slice at which writes are refused.
    pub level0_stop: usize,
}

impl Default for CompactionConfig {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            concurrent: (processors / 2).max(1),
            bytes_per_second: 400 << 20,
            burst_bytes: 256 << 20,
            file_bytes: 64 << 20,
            level0_slow: 20,
            level0_stop: 40,
        }
    }
}

/// A cache on a local disk of what SSTables hold, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskCacheConfig {
    /// A folder of its own. What is in it is lost when an engine opens it.
    pub folder: PathBuf,
    /// Bytes of disk, at least [`Self::MIN_BYTES`]. More: fewer reads from the object store.
    pub bytes: u64,
}

impl DiskCacheConfig {
    /// Fewer make no cache: it is written and emptied in large pieces.
    pub const MIN_BYTES: u64 = 64 << 20;
}

/// Which log an engine writes.
#[derive(Clone, Debug)]
pub enum LogConfig {
    /// Files on the server's own volume: a commit costs one fdatasync, and unflushed rows wait for that server.
    Disk {
        /// A folder of that volume. One process has it.
        dir: PathBuf,
    },
    /// Objects in the store: a commit costs one put, and any server can take over.
    Object(ObjectLogSettings),
}

/// How the log in the object store commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectLogSettings {
    /// How long the first append of an object waits for others when no put is in flight. More: fewer puts, slower commits.
    pub linger: Duration,
    /// The same while puts are in flight: at most one object begins in this time. More: fewer puts, slower commits.
    pub gather: Duration,
    /// Bytes of records at which an object is put at once.
    pub object_bytes: usize,
    /// Puts in flight at most, 1 to 32. Too few (under the time a put takes ÷ `gather`) slow commits down.
    pub puts_in_flight: usize,
    /// A put without answer is joined by another one after this long, then after twice as long, and so on; meanwhile writes are
    /// refused.
    pub attempt: Duration,
    /// Bytes appended and not yet durable above which writes are refused.
    pub pending_bytes: usize,
}

impl Default for ObjectLogSettings {
    fn default() -> Self {
        Self {
            linger: Duration::ZERO,
            gather: Duration::from_millis(50),
            object_bytes: 8 << 20,
            puts_in_flight: 8,
            attempt: Duration::from_secs(1),
            pending_bytes: 128 << 20,
        }
    }
}

impl EngineConfig {
    /// As [`EngineConfig::new`], with the log in the object store.
    #[must_use]
    pub fn with_object_log(server: ServerId, incarnation: Incarnation, store: SharedStore, clock: SharedClock) -> Self {
        let log = LogConfig::Object(ObjectLogSettings::default());
        Self { log, ..Self::new(server, incarnation, store, PathBuf::new(), clock) }
    }

    /// The defaults for this server, store, log folder and clock.
    #[must_use]
    pub fn new(server: ServerId, incarnation: Incarnation, store: SharedStore, log_dir: PathBuf, clock: SharedClock) -> Self {
        Self {
            server,
            incarnation,
            store,
            log: LogConfig::Disk { dir: log_dir },
            clock,
            memtable_bytes: 256 << 20,
            ingest_bytes: 128 << 20,
            staged_bytes: 1 << 30,
            cache_bytes: 256 << 20,
            disk_cache: None,
            log_segment_bytes: 64 << 20,
            log_bytes: 256 << 20,
            log_segments: 600,
            log_copy_bytes: 64 << 10,
            block_bytes: 128 << 10,
            block_rows: 4096,
            wide_block_bytes: 24 << 10,
            stripe_bytes: 8 << 20,
            wide_value_bytes: 64,
            cell_block_cells: 1024,
            cell_block_bytes: 256 << 10,
            snapshot_retention: Duration::from_secs(300),
            change_retention: Duration::from_secs(7 * 86_400),
            write_patience: Duration::from_secs(1),
            pins: Arc::new(NothingPinned),
            compaction: CompactionConfig::default(),
            background: true,
            threads: Threads::Own,
        }
    }
}

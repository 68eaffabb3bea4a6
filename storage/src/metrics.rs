//! Counters of everything the engine does, for a metrics endpoint.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The engine's counters.
        #[derive(Debug, Default)]
        pub(crate) struct Metrics {
            $(pub(crate) $name: Counter,)*
        }

        /// The engine's counters at one moment; all grow from the engine's start on, but for bytes that are held now.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct MetricsSnapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Metrics {
            pub(crate) fn snapshot(&self) -> MetricsSnapshot {
                MetricsSnapshot { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Row mutations acknowledged.
    rows_written,
    /// Bytes of row mutations acknowledged.
    bytes_written,
    /// Rows returned by reads.
    rows_read,
    /// Rows of scans that went from pages to arrays without a look at single cells.
    rows_scanned_by_column,
    /// Bytes appended to the log.
    log_bytes,
    /// Group commits: one write and one fdatasync, or one object each.
    log_groups,
    /// Tablets copied to the end of the log so that older segments can go.
    log_copies,
    /// Log segments deleted.
    log_segments_trimmed,
    /// Bytes of SSTables put.
    sstable_bytes_written,
    /// Bytes of SSTables read from the object store.
    sstable_bytes_read,
    /// Requests to the object store that put an object or a part of one.
    store_puts,
    /// Requests to the object store that read.
    store_gets,
    /// Requests to the object store that delete.
    store_deletes,
    /// Requests to the object store that list.
    store_lists,
    /// Blocks, and pages of wide columns, found in memory.
    cache_hits,
    /// Blocks, and pages of wide columns, that were not in memory.
    cache_misses,
    /// Index partitions found in memory.
    cache_index_hits,
    /// Index partitions that were not in memory.
    cache_index_misses,
    /// Filter partitions found in memory.
    cache_filter_hits,
    /// Filter partitions that were not in memory.
    cache_filter_misses,
    /// Bytes of blocks, pages and partitions in memory now, about.
    cache_bytes,
    /// Of these, bytes of partitions of index and filters, which blocks and pages never displace.
    cache_partition_bytes,
    /// Blocks, pages and partitions found in the disk cache.
    disk_cache_hits,
    /// Blocks, pages and partitions that were neither in memory nor in the disk cache, if there is one.
    disk_cache_misses,
    /// Bytes read from the disk cache.
    disk_cache_bytes_read,
    /// Bytes given to the disk cache; it may leave some out when they come too fast.
    disk_cache_bytes_written,
    /// Times that the disk cache did not answer, or with damaged bytes.
    disk_cache_failures,
    /// Blocks that scans left out for what is known of their values.
    blocks_skipped,
    /// Memtables flushed.
    flushes,
    /// Bytes of SSTables that flushes put.
    flush_bytes_written,
    /// SSTables that ingests brought.
    sstables_ingested,
    /// Bytes of them.
    ingest_bytes_written,
    /// Compactions done.
    compactions,
    /// Of these, by their strategy's sizes and levels.
    compactions_for_size,
    /// To join slices that have become old.
    compactions_for_slices,
    /// Because much was deletes.
    compactions_for_deletes,
    /// Because much was too old.
    compactions_for_age,
    /// Because someone asked.
    compactions_on_demand,
    /// Bytes of SSTables that compactions read.
    compaction_bytes_read,
    /// Bytes of SSTables that compactions put.
    compaction_bytes_written,
    /// SSTables left out without reading them: no reader could see anything of them.
    sstables_dropped_whole,
    /// SSTables put on another level without reading them.
    sstables_moved,
    /// Writes that waited because compaction or flushes were behind.
    writes_delayed,
    /// Writes refused for load.
    writes_refused,
    /// Stored data that failed its checksum or did not decode.
    checksum_errors,
    /// Bytes of live SSTables of the open tablets now.
    stored_bytes,
    /// Of these, bytes that full compactions would keep, about: see [`TabletStats::kept_bytes`](crate::TabletStats::kept_bytes).
    kept_bytes,
}

impl MetricsSnapshot {
    /// How often each flushed byte was written to SSTables so far; 0 before the first flush. The log is counted apart.
    #[must_use]
    pub fn write_amplification(&self) -> f64 {
        if self.flush_bytes_written == 0 { 0.0 } else { self.sstable_bytes_written as f64 / self.flush_bytes_written as f64 }
    }

    /// Bytes of live SSTables for each byte that full compactions would keep, about: 1 at best, and where nothing is stored.
    #[must_use]
    pub fn space_amplification(&self) -> f64 {
        space_amplification(self.stored_bytes, self.kept_bytes)
    }
}

/// Bytes stored for each byte that is still wanted: 1 at best, and where nothing is stored. Where nothing is wanted any
/// more, all that is stored counts.
pub(crate) fn space_amplification(stored: u64, kept: u64) -> f64 {
    if stored == 0 { 1.0 } else { stored as f64 / kept.max(1) as f64 }
}

/// A number that only grows, or one that is held now.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// For what is held now.
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

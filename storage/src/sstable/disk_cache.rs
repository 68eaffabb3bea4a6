//! Stored bytes of SSTables on a local disk, with their checksums: what memory has lost need not come from the object store.
//!
//! What is cached is exactly what is read as one: a block, a wide page, a partition. Bytes are verified before they come
//! here, so that what a store got wrong once does not last, and again by whoever reads them. Names of SSTables are never used
//! twice within a store, but a folder may be given to another store: so a cache begins empty with each engine.
//!
//! The disk may fail, be full or hang: then it has nothing, and after some such failures it is not asked any more.

use crate::config::DiskCacheConfig;
use crate::format::SstableName;
use crate::metrics::Metrics;
use bytes::Bytes;
use common::ids::{Epoch, TabletId};
use common::{Error, Result};
use foyer::{
    BlockEngineConfig, Code, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder, HybridCachePolicy, PsyncIoEngineConfig,
    RecoverMode,
};
use std::io::{Read, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes that wait for the disk; decoded blocks have a cache of their own.
const MEMORY_BYTES: usize = 8 << 20;
/// The disk is written and emptied in pieces of this size.
const PIECE_BYTES: usize = 16 << 20;
/// Larger entries are not kept.
const MAX_ENTRY: usize = PIECE_BYTES / 2;
/// An answer that takes longer is none: a store is not much slower.
const PATIENCE: Duration = Duration::from_millis(500);
/// Failures without a success between them after which the disk is not asked any more.
const MAX_FAILURES: u64 = 16;

/// A range of an SSTable that is always read as one, named by where it begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    name: SstableName,
    offset: u64,
}

impl Code for Place {
    fn encode(&self, writer: &mut impl Write) -> foyer::Result<()> {
        let SstableName { home, epoch, number } = self.name;
        [home.0, epoch.0, number, self.offset].iter().try_for_each(|n| n.encode(writer))
    }

    fn decode(reader: &mut impl Read) -> foyer::Result<Self> {
        let mut number = || u64::decode(reader);
        let (home, epoch) = (TabletId(number()?), Epoch(number()?));
        Ok(Self { name: SstableName { home, epoch, number: number()? }, offset: number()? })
    }

    fn estimated_size(&self) -> usize {
        4 * size_of::<u64>()
    }
}

/// See the module's page.
pub(crate) struct DiskCache {
    cache: HybridCache<Place, Bytes>,
    metrics: Arc<Metrics>,
    /// In a row.
    failures: AtomicU64,
}

impl std::fmt::Debug for DiskCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DiskCache")
    }
}

impl DiskCache {
    /// An empty cache.
    ///
    /// # Errors
    /// `Unavailable`, naming the folder; `InvalidArgument` for one that is too small.
    pub(crate) async fn open(config: &DiskCacheConfig, metrics: Arc<Metrics>) -> Result<Self> {
        let DiskCacheConfig { folder, bytes } = config;
        let least = DiskCacheConfig::MIN_BYTES;
        let capacity = usize::try_from(*bytes).map_err(|_| Error::invalid(format!("a disk cache of {bytes} bytes")))?;
        if *bytes < least {
            return Err(Error::invalid(format!("a disk cache of {bytes} bytes; it needs at least {least}")));
        }
        let wrong = |e: &dyn std::fmt::Display| Error::unavailable(format!("cannot open the cache folder '{}': {e}", folder.display()));
        std::fs::create_dir_all(folder).map_err(|e| wrong(&e))?;
        let device = FsDeviceBuilder::new(folder).with_capacity(capacity).build().map_err(|e| wrong(&e))?;
        let cache = HybridCacheBuilder::new()
            .with_name("stele")
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .with_flush_on_close(false)
            .memory(MEMORY_BYTES)
            .with_weighter(|_: &Place, stored: &Bytes| stored.len())
            .storage()
            .with_io_engine_config(PsyncIoEngineConfig::new())
            .with_engine_config(BlockEngineConfig::new(device).with_block_size(PIECE_BYTES))
            .with_recover_mode(RecoverMode::None)
            .build()
            .await
            .map_err(|e| wrong(&e))?;
        Ok(Self { cache, metrics, failures: AtomicU64::new(0) })
    }

    fn is_off(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= MAX_FAILURES
    }

    fn failed(&self, why: &dyn std::fmt::Display) {
        self.metrics.disk_cache_failures.add(1);
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures == 1 || failures == MAX_FAILURES {
            let off = failures == MAX_FAILURES;
            tracing::warn!(error = %why, off, "the disk cache cannot be read; the object store is");
        }
    }

    /// The bytes of a range of an SSTable, if they are here: as they were inserted, or damaged since.
    pub(crate) async fn get(&self, name: SstableName, range: &Range<u64>) -> Option<Bytes> {
        if self.is_off() {
            return None;
        }
        let found = match tokio::time::timeout(PATIENCE, self.cache.get(&Place { name, offset: range.start })).await {
            Ok(Ok(found)) => found,
            Ok(Err(e)) => {
                self.failed(&e);
                return None;
            }
            Err(_) => {
                self.failed(&"no answer");
                return None;
            }
        };
        self.failures.store(0, Ordering::Relaxed);
        let stored = found?.value().clone();
        (stored.len() as u64 == range.end - range.start).then_some(stored)
    }

    /// Keeps verified bytes of an SSTable. Never waits: what the disk cannot take in time is not kept.
    pub(crate) fn insert(&self, name: SstableName, offset: u64, stored: Bytes) {
        if stored.len() <= MAX_ENTRY && !self.is_off() {
            self.metrics.disk_cache_bytes_written.add(stored.len() as u64);
            self.cache.insert(Place { name, offset }, stored);
        }
    }

    /// What was read from here turned out damaged.
    pub(crate) fn remove(&self, name: SstableName, offset: u64) {
        self.metrics.disk_cache_failures.add(1);
        self.cache.remove(&Place { name, offset });
    }

    /// Whether something is here, most likely.
    pub(crate) fn has(&self, name: SstableName, offset: u64) -> bool {
        !self.is_off() && self.cache.contains(&Place { name, offset })
    }

    /// Ends it.
    pub(crate) async fn close(&self) {
        if let Err(e) = self.cache.close().await {
            tracing::warn!(error = %e, "the disk cache is not closed cleanly; it begins empty anyway");
        }
    }

    #[cfg(test)]
    pub(crate) async fn find_for_tests(&self, name: SstableName, offset: u64) -> Option<Bytes> {
        self.cache.get(&Place { name, offset }).await.unwrap().map(|entry| entry.value().clone())
    }

    /// Waits for what is on its way to the disk, and forgets what lies before it in memory.
    #[cfg(test)]
    pub(crate) async fn settle_for_tests(&self) {
        self.cache.storage().wait().await;
        self.cache.memory().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u64) -> SstableName {
        SstableName { home: TabletId(3), epoch: Epoch(2), number }
    }

    fn stored(n: u64) -> Bytes {
        Bytes::from(vec![n as u8; 64 << 10])
    }

    async fn cache(folder: &std::path::Path) -> DiskCache {
        let config = DiskCacheConfig { folder: folder.to_owned(), bytes: DiskCacheConfig::MIN_BYTES };
        DiskCache::open(&config, Arc::default()).await.unwrap()
    }

    async fn found(cache: &DiskCache, n: u64) -> Option<Bytes> {
        cache.get(name(n), &(7..7 + (64 << 10))).await
    }

    #[tokio::test]
    async fn stored_bytes_are_found_again_until_newer_ones_need_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path()).await;
        // 128 MiB through a disk of 64 MiB.
        for n in 0..2048 {
            cache.insert(name(n), 7, stored(n));
            if n % 64 == 63 {
                cache.settle_for_tests().await;
            }
        }
        let mut last = 0;
        for n in 0..2048 {
            if let Some(bytes) = found(&cache, n).await {
                assert_eq!(bytes, stored(n));
                last += u64::from(n >= 1536);
                assert!(n > 512, "{n} is still there");
            }
        }
        assert!(last > 256, "{last} of the last 512");
        assert!(cache.get(name(2047), &(8..9)).await.is_none() && found(&cache, 3000).await.is_none());
        assert!(cache.get(name(2047), &(7..9)).await.is_none(), "another length");
        cache.remove(name(2047), 7);
        assert!(found(&cache, 2047).await.is_none());
        cache.close().await;
    }

    #[tokio::test]
    async fn a_cache_begins_empty_and_says_when_it_cannot_be() {
        let folder = tempfile::tempdir().unwrap();
        let first = cache(folder.path()).await;
        first.insert(name(1), 7, stored(1));
        first.settle_for_tests().await;
        first.close().await;
        drop(first);
        assert!(found(&cache(folder.path()).await, 1).await.is_none());
        let small = DiskCacheConfig { folder: folder.path().to_owned(), bytes: 1 << 20 };
        assert!(DiskCache::open(&small, Arc::default()).await.unwrap_err().message.contains("at least"));
        std::fs::write(folder.path().join("file"), "x").unwrap();
        let file = DiskCacheConfig { folder: folder.path().join("file"), bytes: DiskCacheConfig::MIN_BYTES };
        assert!(DiskCache::open(&file, Arc::default()).await.unwrap_err().message.contains("file'"));
    }

    #[tokio::test]
    async fn a_disk_that_loses_what_it_had_has_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path()).await;
        (0..64).for_each(|n| cache.insert(name(n), 7, stored(n)));
        cache.settle_for_tests().await;
        for (i, file) in std::fs::read_dir(folder.path()).unwrap().enumerate() {
            let file = std::fs::OpenOptions::new().write(true).open(file.unwrap().path()).unwrap();
            let length = file.metadata().unwrap().len();
            // Cut short, or all zeros.
            file.set_len(0).unwrap();
            file.set_len(if i % 2 == 0 { length } else { 0 }).unwrap();
        }
        for n in 0..64 {
            assert!(found(&cache, n).await.is_none(), "{n}");
            cache.insert(name(n), 7, stored(n));
        }
    }
}

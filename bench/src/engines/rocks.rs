//! RocksDB with the settings that its wiki recommends for a general workload.

use super::{Engine, RowRange, Settings};
use crate::checksum::{Checksum, ColumnSum};
use crate::codec;
use crate::columns::{BATCH_ROWS, ThreeBuilder};
use crate::events::Event;
use crate::workloads::Workload;
use anyhow::{Context, Result};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRawIterator, Options, ReadOptions, WaitForCompactOptions, WriteBatch, WriteOptions,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// RocksDB.
pub struct Rocks {
    settings: Settings,
    /// Absent only while it is opened again.
    db: Option<DB>,
    log_bytes: AtomicU64,
}

fn options(settings: &Settings) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(settings.cache_bytes as usize));
    blocks.set_block_size(16 << 10);
    blocks.set_format_version(6);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(settings.memtable_bytes);
    options.set_max_background_jobs(2);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_bytes_per_sync(1 << 20);
    options
}

impl Rocks {
    /// Opens the folder.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn open(settings: Settings) -> Result<Self> {
        let db = Some(DB::open(&options(&settings), &settings.dir)?);
        Ok(Self { settings, db, log_bytes: AtomicU64::new(0) })
    }

    fn db(&self) -> Result<&DB> {
        self.db.as_ref().context("the database is closed")
    }

    /// All rows from `start` to `end`.
    fn each(&self, start: &[u8], end: Option<&[u8]>, mut each: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        let mut read = ReadOptions::default();
        if let Some(end) = end {
            read.set_iterate_upper_bound(end);
        }
        let mut rows: DBRawIterator<'_> = self.db()?.raw_iterator_opt(read);
        rows.seek(start);
        while let Some((key, value)) = rows.item() {
            each(key, value)?;
            rows.next();
        }
        Ok(rows.status()?)
    }
}

impl Engine for Rocks {
    fn does(&self, _: Workload) -> bool {
        true
    }

    fn write(&self, batch: &[Event]) -> Result<()> {
        let mut rows = WriteBatch::default();
        for e in batch {
            rows.put(codec::key_of(e), codec::encode(e));
        }
        self.log_bytes.fetch_add(rows.size_in_bytes() as u64, Ordering::Relaxed);
        let mut options = WriteOptions::default();
        options.set_sync(self.settings.sync);
        Ok(self.db()?.write_opt(rows, &options)?)
    }

    fn settle(&self) -> Result<Instant> {
        let mut options = WaitForCompactOptions::default();
        options.set_flush(true);
        self.db()?.wait_for_compact(&options)?;
        Ok(Instant::now())
    }

    fn reopen(&mut self, cache_bytes: u64) -> Result<()> {
        self.settings.cache_bytes = cache_bytes;
        self.db = None;
        self.db = Some(DB::open(&options(&self.settings), &self.settings.dir)?);
        Ok(())
    }

    fn get_all(&self, keys: &[Vec<u8>], sum: &mut Checksum) -> Result<()> {
        let db = self.db()?;
        for key in keys {
            if let Some(value) = db.get_pinned(key)? {
                sum.add(&codec::decode(key, &value)?);
            }
        }
        Ok(())
    }

    fn range_all(&self, ranges: &[RowRange], sum: &mut Checksum) -> Result<()> {
        ranges.iter().try_for_each(|r| self.each(&r.start, Some(&r.end), |key, value| codec::decode(key, value).map(|r| sum.add(&r))))
    }

    fn scan(&self, sum: &mut Checksum) -> Result<()> {
        self.each(&[], None, |key, value| codec::decode(key, value).map(|r| sum.add(&r)))
    }

    fn scan_columns(&self, sum: &mut ColumnSum) -> Result<()> {
        let mut builder = ThreeBuilder::new(BATCH_ROWS);
        self.each(&[], None, |_, value| {
            let r = codec::decode_three(value)?;
            builder.push(r.event_type, r.price, r.received_at)?.map_or(Ok(()), |batch| sum.add(&batch))
        })?;
        sum.add(&builder.finish()?)
    }

    fn data_bytes(&self) -> Result<u64> {
        Ok(self.db()?.property_int_value("rocksdb.live-sst-files-size")?.unwrap_or_default())
    }

    fn log_bytes(&self) -> Option<u64> {
        Some(self.log_bytes.load(Ordering::Relaxed))
    }
}

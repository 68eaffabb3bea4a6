//! SlateDB on a local folder; where writes are to be durable, its store fsyncs files and folders.

use super::{Engine, RowRange, Settings};
use crate::checksum::{Checksum, ColumnSum};
use crate::codec;
use crate::columns::{BATCH_ROWS, ThreeBuilder};
use crate::events::Event;
use crate::machine;
use crate::workloads::Workload;
use anyhow::{Context, Result};
use slatedb::config::{CompactorOptions, CompressionCodec, FlushOptions, FlushType, ScanOptions, Settings as DbSettings};
use slatedb::db_cache::SplitCache;
use slatedb::db_cache::foyer::{FoyerCache, FoyerCacheOptions};
use slatedb::{Db, WriteBatch};
use slatedb_store::local::LocalFileSystem;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// SlateDB.
pub struct Slate {
    settings: Settings,
    /// Absent only while it is opened again.
    db: Option<Db>,
}

fn cache(bytes: u64) -> Arc<FoyerCache> {
    Arc::new(FoyerCache::new_with_opts(FoyerCacheOptions { max_capacity: bytes, ..FoyerCacheOptions::default() }))
}

async fn open(settings: &Settings) -> Result<Db> {
    let store = LocalFileSystem::new_with_prefix(&settings.dir)?.with_fsync(settings.sync);
    let db_settings = DbSettings {
        // A writer that waits asks for the flush itself; this is the limit for others.
        flush_interval: Some(Duration::from_millis(5)),
        l0_sst_size_bytes: settings.memtable_bytes,
        compression_codec: Some(CompressionCodec::Lz4),
        manifest_poll_interval: Duration::from_millis(200),
        compactor_options: Some(CompactorOptions {
            poll_interval: Duration::from_millis(100),
            commit_compacted_interval: Duration::from_millis(100),
            ..CompactorOptions::default()
        }),
        garbage_collector_options: None,
        ..DbSettings::default()
    };
    let caches = SplitCache::new().with_block_cache(Some(cache(settings.cache_bytes))).with_meta_cache(Some(cache(128 << 20))).build();
    let builder = Db::builder("db", Arc::new(store)).with_settings(db_settings).with_db_cache(Arc::new(caches), 1);
    Ok(builder.build().await?)
}

impl Slate {
    /// Opens the folder.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn open(settings: Settings) -> Result<Self> {
        let db = Some(settings.runtime.block_on(open(&settings))?);
        Ok(Self { settings, db })
    }

    fn db(&self) -> Result<&Db> {
        self.db.as_ref().context("the database is closed")
    }

    fn each(&self, mut each: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        let db = self.db()?;
        self.settings.runtime.block_on(async {
            let options = ScanOptions::default().with_read_ahead_bytes(1 << 20).with_max_fetch_tasks(4);
            let mut rows = db.scan_with_options::<std::ops::RangeFull>(.., &options).await?;
            while let Some(row) = rows.next().await? {
                each(&row.key, &row.value)?;
            }
            Ok(())
        })
    }
}

impl Drop for Slate {
    fn drop(&mut self) {
        if let Some(db) = self.db.take()
            && let Err(e) = self.settings.runtime.block_on(db.close())
        {
            eprintln!("slatedb does not end cleanly: {e:#}");
        }
    }
}

impl Engine for Slate {
    fn does(&self, _: Workload) -> bool {
        true
    }

    fn write(&self, batch: &[Event]) -> Result<()> {
        let mut rows = WriteBatch::new();
        for e in batch {
            rows.put_bytes(codec::key_of(e).into(), codec::encode(e).into());
        }
        let db = self.db()?;
        self.settings.runtime.block_on(async {
            let written = db.write(rows).await?;
            if self.settings.sync {
                db.flush_with_options(FlushOptions { flush_type: FlushType::Wal }).await?;
                written.await_durable().await?;
            }
            Ok(())
        })
    }

    fn settle(&self) -> Result<Instant> {
        let db = self.db()?;
        self.settings.runtime.block_on(async {
            db.flush().await?;
            db.flush_with_options(FlushOptions { flush_type: FlushType::MemTable }).await
        })?;
        let quiet = machine::wait_until_quiet(|| db.manifest().id());
        self.settings.runtime.block_on(db.refresh_manifest())?;
        Ok(quiet)
    }

    fn reopen(&mut self, cache_bytes: u64) -> Result<()> {
        self.settings.cache_bytes = cache_bytes;
        let runtime = self.settings.runtime.clone();
        if let Some(db) = self.db.take() {
            runtime.block_on(db.close())?;
        }
        self.db = Some(runtime.block_on(open(&self.settings))?);
        Ok(())
    }

    fn get_all(&self, keys: &[Vec<u8>], sum: &mut Checksum) -> Result<()> {
        let db = self.db()?;
        self.settings.runtime.block_on(async {
            for key in keys {
                if let Some(value) = db.get(key).await? {
                    sum.add(&codec::decode(key, &value)?);
                }
            }
            Ok(())
        })
    }

    fn range_all(&self, ranges: &[RowRange], sum: &mut Checksum) -> Result<()> {
        let db = self.db()?;
        self.settings.runtime.block_on(async {
            let options = ScanOptions::default().with_cache_blocks(true);
            for range in ranges {
                let mut rows = db.scan_with_options(range.start.clone()..range.end.clone(), &options).await?;
                while let Some(row) = rows.next().await? {
                    sum.add(&codec::decode(&row.key, &row.value)?);
                }
            }
            Ok(())
        })
    }

    fn scan(&self, sum: &mut Checksum) -> Result<()> {
        self.each(|key, value| codec::decode(key, value).map(|r| sum.add(&r)))
    }

    fn scan_columns(&self, sum: &mut ColumnSum) -> Result<()> {
        let mut builder = ThreeBuilder::new(BATCH_ROWS);
        self.each(|_, value| {
            let r = codec::decode_three(value)?;
            builder.push(r.event_type, r.price, r.received_at)?.map_or(Ok(()), |batch| sum.add(&batch))
        })?;
        sum.add(&builder.finish()?)
    }

    fn data_bytes(&self) -> Result<u64> {
        let manifest = self.db()?.manifest();
        let l0: u64 = manifest.l0().iter().map(|s| s.estimate_size()).sum();
        Ok(l0 + manifest.compacted().iter().map(|run| run.estimate_size()).sum::<u64>())
    }
}

//! Fjall, one keyspace.

use super::{Engine, RowRange, Settings};
use crate::checksum::{Checksum, ColumnSum};
use crate::codec;
use crate::columns::{BATCH_ROWS, ThreeBuilder};
use crate::events::Event;
use crate::machine;
use crate::workloads::Workload;
use anyhow::{Context, Result};
use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::time::Instant;

/// Fjall.
pub struct Fjall {
    settings: Settings,
    /// Absent only while it is opened again.
    open: Option<(Database, Keyspace)>,
}

fn open(settings: &Settings) -> Result<(Database, Keyspace)> {
    let db = Database::builder(&settings.dir).cache_size(settings.cache_bytes).open()?;
    let options = || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(settings.memtable_bytes as u64)
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
    };
    let rows = db.keyspace("events", options)?;
    Ok((db, rows))
}

impl Fjall {
    /// Opens the folder.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn open(settings: Settings) -> Result<Self> {
        Ok(Self { open: Some(open(&settings)?), settings })
    }

    fn rows(&self) -> Result<&(Database, Keyspace)> {
        self.open.as_ref().context("the database is closed")
    }
}

impl Engine for Fjall {
    fn does(&self, _: Workload) -> bool {
        true
    }

    fn write(&self, batch: &[Event]) -> Result<()> {
        let (db, rows) = self.rows()?;
        let mode = if self.settings.sync { PersistMode::SyncData } else { PersistMode::Buffer };
        let mut writes = fjall::OwnedWriteBatch::with_capacity(db.clone(), batch.len()).durability(Some(mode));
        for e in batch {
            writes.insert(rows, codec::key_of(e), codec::encode(e));
        }
        Ok(writes.commit()?)
    }

    fn settle(&self) -> Result<Instant> {
        let (db, rows) = self.rows()?;
        rows.rotate_memtable_and_wait()?;
        let counted = || (db.active_compactions() + db.compactions_completed() + db.outstanding_flushes()) as u64;
        Ok(machine::wait_until_quiet(counted))
    }

    fn reopen(&mut self, cache_bytes: u64) -> Result<()> {
        self.settings.cache_bytes = cache_bytes;
        self.open = None;
        self.open = Some(open(&self.settings)?);
        Ok(())
    }

    fn get_all(&self, keys: &[Vec<u8>], sum: &mut Checksum) -> Result<()> {
        let (_, rows) = self.rows()?;
        for key in keys {
            if let Some(value) = rows.get(key)? {
                sum.add(&codec::decode(key, &value)?);
            }
        }
        Ok(())
    }

    fn range_all(&self, ranges: &[RowRange], sum: &mut Checksum) -> Result<()> {
        let (_, rows) = self.rows()?;
        for range in ranges {
            for row in rows.range(range.start.as_slice()..range.end.as_slice()) {
                let (key, value) = row.into_inner()?;
                sum.add(&codec::decode(&key, &value)?);
            }
        }
        Ok(())
    }

    fn scan(&self, sum: &mut Checksum) -> Result<()> {
        let (_, rows) = self.rows()?;
        for row in rows.iter() {
            let (key, value) = row.into_inner()?;
            sum.add(&codec::decode(&key, &value)?);
        }
        Ok(())
    }

    fn scan_columns(&self, sum: &mut ColumnSum) -> Result<()> {
        let (_, rows) = self.rows()?;
        let mut builder = ThreeBuilder::new(BATCH_ROWS);
        for row in rows.iter() {
            let value = row.value()?;
            let r = codec::decode_three(&value)?;
            if let Some(batch) = builder.push(r.event_type, r.price, r.received_at)? {
                sum.add(&batch)?;
            }
        }
        sum.add(&builder.finish()?)
    }

    fn data_bytes(&self) -> Result<u64> {
        Ok(self.rows()?.1.disk_space())
    }
}

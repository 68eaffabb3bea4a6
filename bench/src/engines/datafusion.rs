//! DataFusion's scan of the Parquet engine's rows, on one thread like the others.

use super::parquet::{Parquet, file_in};
use super::{Engine, RowRange, Settings, cannot};
use crate::checksum::{Checksum, ColumnSum};
use crate::columns::{BATCH_ROWS, NAMES};
use crate::events::Event;
use crate::workloads::Workload;
use anyhow::{Context, Result};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt;
use std::time::Instant;

/// DataFusion over a Parquet file of its own.
pub struct Datafusion {
    settings: Settings,
    file: Parquet,
}

impl Datafusion {
    /// Opens the folder.
    ///
    /// # Errors
    /// Never.
    pub fn open(settings: Settings) -> Result<Self> {
        Ok(Self { file: Parquet::open(settings.clone())?, settings })
    }
}

impl Engine for Datafusion {
    fn does(&self, workload: Workload) -> bool {
        matches!(workload, Workload::Columns | Workload::ColumnsAgain)
    }

    fn write(&self, batch: &[Event]) -> Result<()> {
        self.file.write(batch)
    }

    fn settle(&self) -> Result<Instant> {
        self.file.settle()
    }

    fn reopen(&mut self, _cache_bytes: u64) -> Result<()> {
        Ok(())
    }

    fn get_all(&self, _: &[Vec<u8>], _: &mut Checksum) -> Result<()> {
        cannot("point reads")
    }

    fn range_all(&self, _: &[RowRange], _: &mut Checksum) -> Result<()> {
        cannot("range reads")
    }

    fn scan(&self, _: &mut Checksum) -> Result<()> {
        cannot("row scans")
    }

    fn scan_columns(&self, sum: &mut ColumnSum) -> Result<()> {
        let path = file_in(&self.settings.dir);
        let path = path.to_str().context("a folder whose name is not text")?;
        self.settings.runtime.block_on(async {
            let config = SessionConfig::new().with_batch_size(BATCH_ROWS).with_target_partitions(1);
            let context = SessionContext::new_with_config(config);
            let rows = context.read_parquet(path, ParquetReadOptions::default()).await?.select_columns(&NAMES)?;
            let mut batches = rows.execute_stream().await?;
            while let Some(batch) = batches.next().await {
                sum.add(&batch?)?;
            }
            Ok(())
        })
    }

    fn data_bytes(&self) -> Result<u64> {
        self.file.data_bytes()
    }
}

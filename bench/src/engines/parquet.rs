//! One Parquet file, sorted by key, with LZ4: what a column store keeps of the same rows. It is written once and only scanned.

use super::{Engine, RowRange, Settings, cannot};
use crate::checksum::{Checksum, ColumnSum};
use crate::codec::{self, Row};
use crate::columns::{BATCH_ROWS, NAMES, add_rows};
use crate::events::Event;
use crate::workloads::Workload;
use anyhow::{Context, Result};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

type Encoded = (Vec<u8>, Vec<u8>);

/// A Parquet file.
pub struct Parquet {
    path: PathBuf,
    /// Rows not yet in the file.
    rows: Mutex<Vec<Encoded>>,
}

/// The file in an engine's folder.
pub fn file_in(dir: &Path) -> PathBuf {
    dir.join("events.parquet")
}

impl Parquet {
    /// Opens the folder.
    ///
    /// # Errors
    /// Never.
    pub fn open(settings: Settings) -> Result<Self> {
        Ok(Self { path: file_in(&settings.dir), rows: Mutex::default() })
    }

    /// Batches of all columns or of the named ones, in this order of the file.
    fn batches(&self, columns: Option<&[&str]>) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&self.path)?)?.with_batch_size(BATCH_ROWS);
        let mask = match columns {
            None => ProjectionMask::all(),
            Some(names) => ProjectionMask::columns(builder.parquet_schema(), names.iter().copied()),
        };
        Ok(builder.with_projection(mask).build()?.map(|batch| Ok(batch?)))
    }
}

fn batch_of(rows: &[Row<'_>]) -> Result<RecordBatch> {
    let texts = |values: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from_iter_values(values)) };
    let times = |values: Vec<i64>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(values)) };
    let columns: [(&str, ArrayRef); 13] = [
        ("user_id", texts(rows.iter().map(|r| r.user_id).collect())),
        ("at", times(rows.iter().map(|r| r.at).collect())),
        ("event_id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.event_id)))),
        ("event_type", texts(rows.iter().map(|r| r.event_type).collect())),
        ("session", texts(rows.iter().map(|r| r.session).collect())),
        ("device", texts(rows.iter().map(|r| r.device).collect())),
        ("country", texts(rows.iter().map(|r| r.country).collect())),
        ("price", Arc::new(rows.iter().map(|r| r.price).collect::<Float64Array>())),
        ("quantity", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.quantity)))),
        ("paid", Arc::new(BooleanArray::from(rows.iter().map(|r| r.paid).collect::<Vec<_>>()))),
        ("received_at", times(rows.iter().map(|r| r.received_at).collect())),
        ("message", texts(rows.iter().map(|r| r.message).collect())),
        ("payload", texts(rows.iter().map(|r| r.payload).collect())),
    ];
    // Nullable like the table's columns.
    Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))?)
}

fn write(path: &Path, mut rows: Vec<Encoded>) -> Result<()> {
    rows.sort();
    let properties = WriterProperties::builder().set_compression(Compression::LZ4_RAW).build();
    let mut writer: Option<ArrowWriter<File>> = None;
    for chunk in rows.chunks(BATCH_ROWS) {
        let decoded = chunk.iter().map(|(key, value)| codec::decode(key, value)).collect::<Result<Vec<_>>>()?;
        let batch = batch_of(&decoded)?;
        if writer.is_none() {
            writer = Some(ArrowWriter::try_new(File::create(path)?, batch.schema(), Some(properties.clone()))?);
        }
        writer.as_mut().context("a writer")?.write(&batch)?;
    }
    if let Some(writer) = writer {
        writer.close()?;
    }
    Ok(File::open(path)?.sync_all()?)
}

impl Engine for Parquet {
    fn does(&self, workload: Workload) -> bool {
        matches!(workload, Workload::Scan | Workload::ScanAgain | Workload::Columns | Workload::ColumnsAgain | Workload::Bytes)
    }

    fn write(&self, batch: &[Event]) -> Result<()> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.extend(batch.iter().map(|e| (codec::key_of(e), codec::encode(e))));
        Ok(())
    }

    fn settle(&self) -> Result<Instant> {
        let rows = std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner));
        write(&self.path, rows)?;
        Ok(Instant::now())
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

    fn scan(&self, sum: &mut Checksum) -> Result<()> {
        self.batches(None)?.try_for_each(|batch| add_rows(&batch?, sum))
    }

    fn scan_columns(&self, sum: &mut ColumnSum) -> Result<()> {
        // The file's order of these columns is that of `NAMES`.
        self.batches(Some(&NAMES))?.try_for_each(|batch| sum.add(&batch?))
    }

    fn data_bytes(&self) -> Result<u64> {
        Ok(std::fs::metadata(&self.path)?.len())
    }
}

//! Stele's storage engine, with one tablet.

use super::{Engine, RowRange, Settings};
use crate::checksum::{Checksum, ColumnSum};
use crate::codec::{self, Row};
use crate::columns::{ALL, BATCH_ROWS, NAMES, add_rows};
use crate::events::Event;
use crate::machine;
use crate::workloads::Workload;
use anyhow::{Context, Result, bail};
use arrow_array::RecordBatch;
use bytes::{Bytes, BytesMut};
use common::ids::{ColumnId, Epoch, FamilyId, Incarnation, Seq, ServerId, TableId, TabletId};
use common::key::KeyRange;
use common::row::{Mutation, ReadSpec, Row as StoredRow, RowMutation};
use common::schema::{ColumnSpec, KeyPartSpec, StoredQualifier, Table, TableKind, TableSpec};
use common::store::DurableLocal;
use common::time::SystemClock;
use common::value::ValueType;
use futures::TryStreamExt;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use storage::{Engine as StorageEngine, EngineConfig, ScanSpec, Tablet, TabletOpen};
use tokio::task::JoinHandle;

/// Attributes in the order of their declaration.
const COLUMNS: [(&str, ValueType); 10] = [
    ("event_type", ValueType::String),
    ("session", ValueType::String),
    ("device", ValueType::String),
    ("country", ValueType::String),
    ("price", ValueType::Float64),
    ("quantity", ValueType::Int64),
    ("paid", ValueType::Bool),
    ("received_at", ValueType::Timestamp),
    ("message", ValueType::String),
    ("payload", ValueType::Json),
];
/// Batches in flight where no write waits for the disk.
const IN_FLIGHT: usize = 8;
const TABLET: TabletId = TabletId(1);

/// The table of events.
///
/// # Errors
/// Never: the spec is a constant.
pub fn table(sliced: bool) -> Result<Table> {
    let part = |(name, ty): (&str, ValueType)| KeyPartSpec { name: name.into(), ty, descending: false, nullable: false, hidden: false };
    let column = |(name, ty): (&str, ValueType)| ColumnSpec { name: name.into(), ty, family: "data".into(), qualifier: None };
    let mut spec = TableSpec {
        key: [("user_id", ValueType::String), ("at", ValueType::Timestamp), ("event_id", ValueType::Int64)].map(part).into(),
        columns: COLUMNS.map(column).into(),
        undeclared: Some("none".into()),
        ..TableSpec::named("bench.events")
    };
    if sliced {
        spec.time_column = Some("at".into());
    }
    Ok(Table::create(TableId(1), TableKind::Raw, spec)?)
}

/// Makes row mutations.
#[derive(Debug)]
pub struct Writer {
    family: FamilyId,
    qualifiers: [Bytes; 10],
}

impl Writer {
    /// For this table.
    #[must_use]
    pub fn new(table: &Table) -> Self {
        let qualifier = |i: usize| StoredQualifier::Declared(ColumnId(i as u32 + 1)).encode();
        Self { family: table.marker_family(), qualifiers: std::array::from_fn(qualifier) }
    }

    /// All values of a row share one allocation.
    #[must_use]
    pub fn mutation(&self, e: &Event) -> RowMutation {
        let mut numbers = [0; 33];
        numbers[..8].copy_from_slice(&e.price.unwrap_or_default().to_be_bytes());
        numbers[8..16].copy_from_slice(&e.quantity.to_be_bytes());
        numbers[16..24].copy_from_slice(&e.received_at.to_be_bytes());
        numbers[24] = u8::from(e.paid);
        let price: &[u8] = if e.price.is_some() { &numbers[..8] } else { &[] };
        let (quantity, received_at, paid) = (&numbers[8..16], &numbers[16..24], &numbers[24..25]);
        let values: [&[u8]; 10] = [
            e.event_type.as_bytes(),
            e.session.as_bytes(),
            e.device.as_bytes(),
            e.country.as_bytes(),
            price,
            quantity,
            paid,
            received_at,
            e.message.as_bytes(),
            e.payload.as_bytes(),
        ];
        let mut all = BytesMut::with_capacity(values.iter().map(|v| v.len()).sum());
        values.iter().for_each(|v| all.extend_from_slice(v));
        let mut all = all.freeze();
        let mut mutations = Vec::with_capacity(10);
        for (i, value) in values.iter().enumerate() {
            let value = all.split_to(value.len());
            if i != 4 || e.price.is_some() {
                mutations.push(Mutation::Set { family: self.family, qualifier: self.qualifiers[i].clone(), timestamp: None, value });
            }
        }
        RowMutation { key: codec::key_of(e).into(), mutations }
    }
}

/// The number of a declared column that a cell belongs to, from 1.
fn column_number(qualifier: &[u8]) -> Option<u32> {
    let [0, id @ ..] = qualifier else { return None };
    Some(u32::from_be_bytes(id.try_into().ok()?))
}

fn eight(value: &[u8]) -> Result<[u8; 8]> {
    value.try_into().context("a number that has not 8 bytes")
}

/// The typed row of stored cells.
///
/// # Errors
/// If a cell is not what the schema says.
fn typed(row: &StoredRow) -> Result<Row<'_>> {
    let (user_id, at, event_id) = codec::decode_key(&row.key)?;
    let mut out = Row { user_id, at, event_id, ..Row::default() };
    for cell in &row.cells {
        let value = cell.value.as_ref();
        match column_number(&cell.qualifier) {
            Some(1) => out.event_type = str::from_utf8(value)?,
            Some(2) => out.session = str::from_utf8(value)?,
            Some(3) => out.device = str::from_utf8(value)?,
            Some(4) => out.country = str::from_utf8(value)?,
            Some(5) => out.price = Some(f64::from_be_bytes(eight(value)?)),
            Some(6) => out.quantity = i64::from_be_bytes(eight(value)?),
            Some(7) => out.paid = value == [1],
            Some(8) => out.received_at = i64::from_be_bytes(eight(value)?),
            Some(9) => out.message = str::from_utf8(value)?,
            Some(10) => out.payload = str::from_utf8(value)?,
            _ => bail!("a cell of no declared column"),
        }
    }
    Ok(out)
}

type Pending = JoinHandle<common::Result<()>>;

/// Stele.
pub struct Stele {
    settings: Settings,
    engine: Arc<StorageEngine>,
    tablet: Tablet,
    writer: Writer,
    life: u64,
    pending: Mutex<VecDeque<Pending>>,
}

impl Stele {
    /// Opens the folder.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn open(settings: Settings) -> Result<Self> {
        let (engine, tablet) = settings.runtime.block_on(start(&settings, 1))?;
        let writer = Writer::new(&tablet.table());
        Ok(Self { settings, engine, tablet, writer, life: 1, pending: Mutex::default() })
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, VecDeque<Pending>> {
        self.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn drain(&self, leave: usize) -> Result<()> {
        loop {
            let Some(oldest) = ({
                let mut pending = self.pending();
                if pending.len() > leave { pending.pop_front() } else { None }
            }) else {
                return Ok(());
            };
            self.settings.runtime.block_on(oldest)??;
        }
    }

    /// Batches of a scan, here where they are used.
    fn batches(&self, spec: ScanSpec, mut each: impl FnMut(&RecordBatch) -> Result<()>) -> Result<()> {
        self.settings.runtime.block_on(async {
            let mut batches = self.tablet.scan(spec, Seq::MAX)?;
            while let Some(batch) = batches.try_next().await? {
                each(&batch)?;
            }
            Ok(())
        })
    }

    async fn end(&self) -> Result<()> {
        self.engine.close_tablet(TABLET).await?;
        Ok(self.engine.shutdown().await?)
    }

    /// What the engine counts.
    #[must_use]
    pub fn metrics(&self) -> storage::MetricsSnapshot {
        self.engine.metrics()
    }
}

impl Drop for Stele {
    fn drop(&mut self) {
        if let Err(e) = self.settings.runtime.block_on(self.end()) {
            eprintln!("stele does not end cleanly: {e:#}");
        }
    }
}

async fn start(settings: &Settings, life: u64) -> Result<(Arc<StorageEngine>, Tablet)> {
    let store = Arc::new(DurableLocal::open(&settings.dir.join("store"))?);
    let mut config = EngineConfig::new(ServerId(1), Incarnation(life), store, settings.dir.join("log"), SystemClock::shared());
    config.cache_bytes = settings.cache_bytes;
    // At half of it the largest is flushed.
    config.memtable_bytes = settings.memtable_bytes * 2;
    config.write_patience = std::time::Duration::from_secs(60);
    let engine = StorageEngine::open(config).await?;
    let table = Arc::new(table(settings.sliced)?);
    let open = TabletOpen { tablet: TABLET, range: KeyRange::ALL, epoch: Epoch(life), table, pin: None, log_fence: None };
    let tablet = engine.open_tablet(open).await?;
    Ok((engine, tablet))
}

async fn write(tablet: Tablet, rows: Vec<RowMutation>) -> common::Result<()> {
    tablet.write(rows, None).await?.into_iter().try_for_each(|r| r.map(|_| ()))
}

impl Engine for Stele {
    fn does(&self, _: Workload) -> bool {
        true
    }

    fn write(&self, batch: &[Event]) -> Result<()> {
        let rows: Vec<_> = batch.iter().map(|e| self.writer.mutation(e)).collect();
        if self.settings.sync {
            return Ok(self.settings.runtime.block_on(write(self.tablet.clone(), rows))?);
        }
        self.drain(IN_FLIGHT - 1)?;
        let task = self.settings.runtime.spawn(write(self.tablet.clone(), rows));
        self.pending().push_back(task);
        Ok(())
    }

    fn settle(&self) -> Result<Instant> {
        self.drain(0)?;
        self.settings.runtime.block_on(self.tablet.flush())?;
        let counted = || {
            let m = self.metrics();
            m.sstable_bytes_written + m.compaction_bytes_read + m.compactions + m.flushes
        };
        Ok(machine::wait_until_quiet(counted))
    }

    fn reopen(&mut self, cache_bytes: u64) -> Result<()> {
        let runtime = self.settings.runtime.clone();
        runtime.block_on(self.end())?;
        self.settings.cache_bytes = cache_bytes;
        self.life += 1;
        (self.engine, self.tablet) = runtime.block_on(start(&self.settings, self.life))?;
        Ok(())
    }

    fn get_all(&self, keys: &[Vec<u8>], sum: &mut Checksum) -> Result<()> {
        self.settings.runtime.block_on(async {
            let spec = ReadSpec { ranges: Vec::new(), ..ReadSpec::default() };
            for key in keys {
                if let Some(row) = self.tablet.read_row(key, &spec, Seq::MAX).await? {
                    sum.add(&typed(&row)?);
                }
            }
            Ok(())
        })
    }

    fn range_all(&self, ranges: &[RowRange], sum: &mut Checksum) -> Result<()> {
        self.settings.runtime.block_on(async {
            for range in ranges {
                let range = KeyRange::new(range.start.clone(), Some(range.end.clone().into()));
                let spec = ScanSpec { ranges: vec![range], batch_rows: BATCH_ROWS, ..ScanSpec::columns(ALL) };
                let mut batches = self.tablet.scan(spec, Seq::MAX)?;
                while let Some(batch) = batches.try_next().await? {
                    add_rows(&batch, sum)?;
                }
            }
            Ok(())
        })
    }

    fn scan(&self, sum: &mut Checksum) -> Result<()> {
        self.batches(ScanSpec { batch_rows: BATCH_ROWS, ..ScanSpec::columns(ALL) }, |batch| add_rows(batch, sum))
    }

    fn scan_columns(&self, sum: &mut ColumnSum) -> Result<()> {
        self.batches(ScanSpec { ordered: false, batch_rows: BATCH_ROWS, ..ScanSpec::columns(NAMES) }, |batch| sum.add(batch))
    }

    fn data_bytes(&self) -> Result<u64> {
        Ok(self.tablet.stats().stored_bytes)
    }

    fn log_bytes(&self) -> Option<u64> {
        Some(self.metrics().log_bytes)
    }
}

//! A scan as a stream of batches.

use super::builder::BatchBuilder;
use super::filter::Filter;
use super::projection::Projection;
use super::spec::ScanSpec;
use crate::event_time::EventTimes;
use crate::metrics::Metrics;
use crate::raw::{Scan, normalize};
use crate::read::{Merge, Sources, View};
use crate::sstable::Reader;
use arrow_array::RecordBatch;
use common::Result;
use common::ids::Seq;
use common::key::KeyRange;
use common::row::ReadSpec;
use common::schema::Table;
use common::time::Micros;
use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

/// Bytes at which a batch of rows is closed before it has all its rows, so that wide rows do not pile up.
const BATCH_BYTES: usize = 4 << 20;
/// Rows looked at without giving out any after which others get their turn.
const ROWS_A_TURN: usize = 8192;

/// A scan bound to a table and a moment.
#[derive(Debug)]
pub(crate) struct Plan {
    table: Arc<Table>,
    projection: Arc<Projection>,
    filter: Filter,
    scan: Arc<Scan>,
    view: View,
    batch_rows: usize,
    row_limit: u64,
}

impl Plan {
    /// Binds `spec` to the part of `table` in `range`, as of `at`; ages are as of `now`.
    ///
    /// # Errors
    /// `InvalidArgument` for columns that the table does not have, and conditions that do not fit theirs.
    pub(crate) fn new(table: Arc<Table>, spec: &ScanSpec, range: &KeyRange, at: Seq, now: Micros) -> Result<Self> {
        let projection = Arc::new(Projection::new(table.clone(), &spec.columns)?);
        let filter = Filter::new(&table, &spec.predicates)?;
        let columns = filter.with_columns(projection.columns());
        let data = range.intersect(&table.key_schema().data_range());
        let ranges = data.map_or_else(Vec::new, |data| normalize(&spec.ranges, &data));
        let shown = ReadSpec { columns: columns.clone(), keep_empty_rows: true, timestamps: spec.timestamps, ..ReadSpec::default() };
        let scan = Scan {
            reverse: spec.reverse,
            columns,
            // Whether a row exists may hang on any of its cells.
            others: true,
            // Newer cells outside the range still count as versions; older ones decide nothing.
            oldest: spec.timestamps.start,
            fill_cache: spec.fill_cache,
            event_times: EventTimes::of(&table, &ranges, spec.event_time),
            ..Scan::all(ranges, at)
        };
        Ok(Self {
            view: View::new(crate::read::rules(&table), &shown, now),
            scan: Arc::new(scan),
            batch_rows: spec.batch_rows.max(1),
            row_limit: if spec.row_limit == 0 { u64::MAX } else { spec.row_limit },
            table,
            projection,
            filter,
        })
    }
}

impl Plan {
    /// Which event times the rows wanted have.
    pub(crate) fn event_times(&self) -> Option<&EventTimes> {
        self.scan.event_times.as_ref()
    }
}

struct State<R, G> {
    plan: Plan,
    merge: Merge<R>,
    builder: BatchBuilder,
    /// Rows that may still be given.
    left: u64,
    metrics: Arc<Metrics>,
    /// Held as long as the stream.
    _guard: G,
}

/// The batches of a scan.
pub(crate) fn scan<R, G>(sources: &Sources<R>, plan: Plan, metrics: Arc<Metrics>, guard: G) -> BoxStream<'static, Result<RecordBatch>>
where
    R: Deref<Target = Reader> + Clone + Debug + Send + Sync + 'static,
    G: Send + 'static,
{
    let (merge, builder) = (Merge::new(sources, &plan.scan), BatchBuilder::new(plan.projection.clone()));
    let state = State { merge, builder, left: plan.row_limit, plan, metrics, _guard: guard };
    try_unfold(state, |mut state| async move { Ok(state.batch().await?.map(|batch| (batch, state))) }).boxed()
}

impl<R: Deref<Target = Reader> + Clone + Debug, G> State<R, G> {
    async fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut looked_at = 0;
        while self.left > 0 && self.builder.rows() < self.plan.batch_rows && self.builder.bytes() < BATCH_BYTES {
            let Some(raw) = self.merge.next().await? else { break };
            looked_at += 1;
            if looked_at % ROWS_A_TURN == 0 {
                tokio::task::yield_now().await;
            }
            let Some(row) = self.plan.view.resolve(raw, self.plan.scan.at) else { continue };
            if self.plan.filter.passes(&self.plan.table, &row)? {
                self.builder.push(&row)?;
                self.left -= 1;
            }
        }
        self.metrics.rows_read.add(self.builder.rows() as u64);
        if self.builder.rows() == 0 { Ok(None) } else { self.builder.finish().map(Some) }
    }
}

//! A scan bound to a table and a moment.

use super::block::Shape;
use super::clean::Window;
use super::filter::Filter;
use super::needs::Needs;
use super::projections::Projections;
use super::spec::{Comparison, ScanSpec, Test};
use crate::event_time::EventTimes;
use crate::raw::{Scan, normalize};
use crate::read::{Rules, View};
use common::Result;
use common::ids::Seq;
use common::key::KeyRange;
use common::row::ReadSpec;
use common::schema::Table;
use common::time::{Micros, TimeRange};
use common::value::Value;
use std::sync::Arc;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) table: Arc<Table>,
    pub(super) shape: Arc<Shape>,
    pub(super) scan: Arc<Scan>,
    pub(super) view: View,
    pub(super) now: Micros,
    pub(super) ordered: bool,
    pub(super) batch_rows: usize,
    /// Rows that may be given.
    pub(super) row_limit: usize,
}

/// What is known of the table that is scanned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) table: &'a Arc<Table>,
    /// Its GC rules.
    pub(crate) rules: &'a Rules,
    /// Of this table.
    pub(crate) projections: &'a Projections,
}

impl Plan {
    /// Binds `spec` to the part of `known`'s table in `range`, as of `at`; ages are as of `now`.
    ///
    /// # Errors
    /// `InvalidArgument` for columns that the table does not have, and conditions that do not fit theirs.
    pub(crate) fn new(known: Known<'_>, spec: &ScanSpec, range: &KeyRange, at: Seq, now: Micros) -> Result<Self> {
        let table = known.table.clone();
        let bound = known.projections.of(&table, &spec.columns)?;
        let projection = bound.projection.clone();
        let mut filter = Filter::new(&table, &spec.predicates)?;
        let columns = filter.with_columns(projection.columns());
        let data = range.intersect(&table.key_schema().data_range());
        let ranges = data.map_or_else(Vec::new, |data| normalize(&spec.ranges, &data));
        let event_times = EventTimes::of(&table, &ranges, hint(&table, spec));
        filter.times = event_times.clone().filter(EventTimes::is_partial);
        let shown = ReadSpec { columns: columns.clone(), keep_empty_rows: true, timestamps: spec.timestamps, ..ReadSpec::default() };
        let window = Window { at, timestamps: spec.timestamps, wanted: columns.clone() };
        let scan = Scan {
            reverse: spec.reverse,
            columns,
            // Whether a row exists may hang on any of its cells.
            others: true,
            // Newer cells outside the range still count as versions; older ones decide nothing.
            oldest: spec.timestamps.start,
            fill_cache: spec.fill_cache,
            event_times,
            ..Scan::all(ranges, at)
        };
        let needs = if filter.columns.is_empty() { bound.needs.clone() } else { Arc::new(Needs::new(&projection, &filter)) };
        Ok(Self {
            view: View::new(known.rules.clone(), &shown, now),
            scan: Arc::new(scan),
            now,
            ordered: spec.ordered,
            batch_rows: spec.batch_rows.max(1),
            row_limit: if spec.row_limit == 0 { usize::MAX } else { usize::try_from(spec.row_limit).unwrap_or(usize::MAX) },
            shape: Arc::new(Shape { projection, filter, needs, window }),
            table,
        })
    }
}

impl Plan {
    /// Which event times the rows wanted have.
    pub(crate) fn event_times(&self) -> Option<&EventTimes> {
        self.scan.event_times.as_ref()
    }
}

/// The event times that a scan may give, if event times are a part of the key.
fn hint(table: &Table, spec: &ScanSpec) -> Option<TimeRange> {
    let name = table.time_column.as_ref()?;
    let mut times = spec.event_time.unwrap_or(TimeRange::ALL);
    for predicate in spec.predicates.iter().filter(|p| p.column == *name) {
        if let Test::Compare(comparison, Value::Timestamp(t)) = &predicate.test {
            let after = Micros(t.0.saturating_add(1));
            let (start, end) = match comparison {
                Comparison::Eq => (*t, after),
                Comparison::Lt => (Micros::MIN, *t),
                Comparison::LtEq => (Micros::MIN, after),
                Comparison::Gt | Comparison::GtEq => (*t, Micros::MAX),
                Comparison::NotEq => (Micros::MIN, Micros::MAX),
            };
            times = TimeRange { start: times.start.max(start), end: times.end.min(end) };
        }
    }
    (times != TimeRange::ALL).then_some(times)
}

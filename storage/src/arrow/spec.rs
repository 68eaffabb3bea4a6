//! What a scan is asked for.

use common::key::KeyRange;
use common::row::ReadSpec;
use common::time::TimeRange;
use common::value::Value;

/// Rows of a batch, if the scan leaves it to the engine: DataFusion's own batch size.
const BATCH_ROWS: usize = 8192;

/// A scan: which rows of a tablet, and what of each, as Arrow columns.
///
/// A typed row shows its newest values. All rows show that have a visible cell within `timestamps` in any column,
/// whichever columns are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanSpec {
    /// The rows wanted, in any order. Empty: none.
    pub ranges: Vec<KeyRange>,
    /// Largest key first; needs `ordered` to mean anything.
    pub reverse: bool,
    /// Which cell timestamps.
    pub timestamps: TimeRange,
    /// Hint: rows outside this range of event times are not wanted. They may still be given.
    pub event_time: Option<TimeRange>,
    /// Rows at most, counted behind the predicates; 0 for all.
    pub row_limit: u64,
    /// Names of [`common::schema::Table::full_arrow_schema`], in the order of the output. Empty: rows are only counted.
    pub columns: Vec<String>,
    /// Conditions that all hold for each row given.
    pub predicates: Vec<Predicate>,
    /// Rows come in key order. Without it batches come as they lie in the SSTables, which costs less.
    pub ordered: bool,
    /// Rows of a batch at most. More: less work a row, more memory. Whole blocks may come as smaller batches.
    pub batch_rows: usize,
    /// Whether blocks that are read stay in the cache.
    pub fill_cache: bool,
}

impl Default for ScanSpec {
    fn default() -> Self {
        Self {
            ranges: vec![KeyRange::ALL],
            reverse: false,
            timestamps: TimeRange::ALL,
            event_time: None,
            row_limit: 0,
            columns: Vec::new(),
            predicates: Vec::new(),
            ordered: true,
            batch_rows: BATCH_ROWS,
            fill_cache: true,
        }
    }
}

impl ScanSpec {
    /// These columns of all rows.
    #[must_use]
    pub fn columns<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self { columns: names.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// These columns of the rows of a read; what it says of columns and versions is left out.
    #[must_use]
    pub fn rows_of(spec: ReadSpec, columns: Vec<String>) -> Self {
        let ReadSpec { ranges, reverse, timestamps, row_limit, event_time, .. } = spec;
        Self { ranges, reverse, timestamps, event_time, row_limit, columns, ..Self::default() }
    }
}

/// One condition on one column.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicate {
    /// A key part, a declared column, or `row_key` of a table without key parts.
    pub column: String,
    /// What must hold.
    pub test: Test,
}

/// What must hold of a value. All but [`Test::IsNull`] fail for null.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// The value against this one. Floats compare in IEEE 754's total order, as in Arrow; text and JSON by bytes.
    Compare(Comparison, Value),
    /// Equal to one of these.
    In(Vec<Value>),
    /// Null.
    IsNull,
    /// Not null.
    IsNotNull,
}

/// How a value compares with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Eq,
    /// `<>`
    NotEq,
    /// `<`
    Lt,
    /// `<=`
    LtEq,
    /// `>`
    Gt,
    /// `>=`
    GtEq,
}

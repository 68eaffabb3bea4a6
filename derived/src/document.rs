//! A compiled definition: all that a runner needs, with nothing left to look up in the project.
//! It is kept in the catalog as JSON.

use crate::bounds::{Reach, Step, TimeMap, Unit};
use crate::definition::{Late, Need, OnChange};
use crate::fold::MergeRules;
use crate::lineage::ColumnRef;
use crate::row_test::RowTest;
use crate::schedule::Schedule;
use crate::window::Windows;
use common::schema::TableSpec;
use common::time::{Micros, TimeRange};
use common::value::ValueType;
use common::version::RangeSet;
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The version of the document; a runner refuses a newer one.
pub const FORMAT: u32 = 2;

/// A compiled definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// [`FORMAT`] of its compiler.
    pub format: u32,
    /// `dataset.name`.
    pub name: String,
    /// The definition's file, relative to the project.
    pub file: String,
    /// The definition as written.
    pub yaml: String,
    /// Its SQL as written.
    pub source: String,
    /// Its SQL after templates, in one form whatever the layout; window ends are `$window_start` and `$window_end`.
    pub sql: String,
    /// The table it makes.
    pub spec: TableSpec,
    /// What the SQL gives, in order; not all of it is published by a merge.
    pub columns: Vec<OutputColumn>,
    /// What it reads, by name.
    pub inputs: Vec<Input>,
    /// How its rows get into the table.
    pub strategy: Strategy,
    /// How it is cut in time; `None`: it is computed whole.
    pub window: Option<OutputWindow>,
    /// Columns of which no two rows hold the same; part of the row key.
    pub unique: Vec<String>,
    /// Checked on every run before it publishes.
    pub tests: Vec<RowTest>,
    /// When it runs.
    pub timing: Timing,
    /// Its SQL uses the time that it is scheduled for, so it is due at each.
    #[serde(default)]
    pub uses_run_time: bool,
    /// Of a table without windows that is appended to: the input each of whose new rows gives its rows, once.
    #[serde(default)]
    pub driver: Option<String>,
    /// For people.
    pub owner: Option<String>,
    /// For people.
    pub tags: Vec<String>,
    /// What the columns mean, for people.
    pub column_descriptions: Vec<(String, String)>,
    /// Columns that drop the privacy tags of what they are made of, and why.
    pub untagged: Vec<(String, String)>,
    /// Columns of inputs that decide which rows there are; what the columns are made of is said of each.
    pub conditions: Vec<ColumnRef>,
    /// Of everything that decides its rows: the resolved plan, strategy, window and key.
    pub fingerprint: String,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// A column of the SQL's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputColumn {
    /// Its name.
    pub name: String,
    /// What a run casts it to; a value that does not fit fails the run.
    pub ty: ValueType,
    /// Privacy tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Columns of inputs that it is made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<ColumnRef>,
}

/// A table that the SQL reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// `dataset.name`.
    pub name: String,
    /// Whether a definition makes it.
    pub derived: bool,
    /// Its event time; `None`: it has none.
    pub time: Option<InputTime>,
    /// What a window reads of it.
    pub reach: Reach,
    /// Why, for people.
    pub why: String,
    /// What a window waits for.
    pub need: Need,
    /// Whether its changes make windows due.
    pub on_change: OnChange,
}

/// The event time of an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputTime {
    /// The column or key part.
    pub column: String,
    /// It is a date: its event time in µs is midnight without a zone.
    pub date: bool,
    /// The windows of a derived input.
    pub windows: Option<Windows>,
}

/// How rows get into the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Computed windows, or the whole table, are swapped.
    Replace,
    /// A window is first written when it is complete.
    Append {
        /// What happens with later changes.
        late: Late,
    },
    /// Rows of one key are folded; the rows' column order is that of [`MergeRules`].
    Merge(MergeRules),
}

/// How a table is cut in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputWindow {
    /// The windows.
    pub windows: Windows,
    /// The output column that says which window a row lies in.
    pub time_column: String,
    /// It is a date: a row lies in the window in which the zone's day begins.
    pub date: bool,
    /// The SQL uses window ends: the table is the union of its pieces, one query each.
    pub per_window: bool,
    /// Nothing before it is computed; `None`: from the earliest input row.
    pub start: Option<Micros>,
}

/// When a table runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Windows run before they are complete.
    pub eager: bool,
    /// Least time between two runs.
    pub min_interval: Option<Duration>,
    /// Least time between two repairs of complete windows.
    pub repair_interval: Option<Duration>,
    /// Attempts after a failed one.
    pub retries: u32,
    /// A run that takes longer fails.
    pub timeout: Option<Duration>,
    /// How far behind the table may be before status calls it stale.
    pub freshness: Option<Duration>,
    /// Due work starts at these times only; `None`: as soon as it can.
    #[serde(default)]
    pub schedule: Option<Schedule>,
}

/// One query of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// SQL without placeholders. Its columns are [`Artifact::columns`], in order.
    pub sql: String,
    /// The windows that its rows lie in; `None`: the table has no windows.
    pub windows: Option<(Micros, Micros)>,
}

impl Artifact {
    /// The document.
    ///
    /// # Errors
    /// `Internal`: only if this type cannot be written as JSON.
    pub fn to_document(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| Error::internal(format!("definition '{}' does not encode: {e}", self.name)))
    }

    /// Reads a document back.
    ///
    /// # Errors
    /// `Corrupt` if it is no document, `FailedPrecondition` if a newer Stele wrote it.
    pub fn from_document(document: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let wrong = |e| Error::corrupt(format!("a compiled definition does not decode: {e}"));
        let head: Head = serde_json::from_str(document).map_err(wrong)?;
        if head.format > FORMAT {
            return Err(Error::refused(format!(
                "a compiled definition has format {}, this version reads up to {FORMAT}: upgrade it",
                head.format
            )));
        }
        serde_json::from_str(document).map_err(wrong)
    }

    /// Whether its windows read earlier ones of the table itself: then they run in order, one at a time.
    #[must_use]
    pub fn reads_itself(&self) -> bool {
        self.input(&self.name).is_some()
    }

    /// Whether a run starts from the rows of its inputs that changed since the last one.
    #[must_use]
    pub fn follows_rows(&self) -> bool {
        self.driver.is_some() || self.is_by_key()
    }

    /// Whether a run may compute only the keys that changed rows touch: the table has no windows, no two rows share a
    /// row key, and of every input whose changes count it can be told which keys they touch.
    #[must_use]
    pub fn is_by_key(&self) -> bool {
        let told = |i: &Input| i.reach == Reach::Keys || i.on_change == OnChange::Ignore;
        self.window.is_none()
            && self.driver.is_none()
            && !self.uses_run_time
            && self.key_positions().is_some()
            && self.inputs.iter().all(told)
    }

    /// Where the columns of the row key are in the SQL's result; `None`: a hidden part tells rows apart.
    #[must_use]
    pub fn key_positions(&self) -> Option<Vec<usize>> {
        self.spec.key.iter().map(|p| self.columns.iter().position(|c| c.name == p.name)).collect()
    }

    /// The input of this name.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|i| i.name == name)
    }

    /// The definition in an environment: under its name there, reading the tables that it finds there for its inputs.
    ///
    /// # Errors
    /// `InvalidArgument` if its SQL does not parse any more.
    pub fn placed(mut self, name: &str, found: impl Fn(&str) -> String) -> Result<Self> {
        let other = |input: &str| Some(found(input)).filter(|found| found != input && self.inputs.iter().any(|i| i.name == input));
        if self.inputs.iter().any(|i| other(&i.name).is_some()) {
            let sql = crate::sql::rename_tables(&self.sql, other)?;
            self.sql = sql;
        }
        for input in &mut self.inputs {
            input.name = found(&input.name);
        }
        self.driver = self.driver.map(|driver| found(&driver));
        name.clone_into(&mut self.name);
        Ok(self)
    }

    /// The queries that compute the windows of `[start, end)` (`None`: the whole table), in order.
    ///
    /// A table that means its SQL over the whole has one query, which keeps rows of these windows and
    /// those without a time, which fail the run. A `per_window` table has one query a window.
    #[must_use]
    pub fn queries(&self, range: Option<(Micros, Micros)>) -> Vec<Query> {
        match (&self.window, range) {
            (Some(w), Some((start, end))) if w.per_window => {
                w.windows.iter(start, end).map(|(s, e)| Query { sql: crate::sql::bind(&self.sql, s, e), windows: Some((s, e)) }).collect()
            }
            (Some(w), Some((start, end))) => {
                let sql = crate::sql::within(&self.sql, &w.time_column, w.date, w.time_value(start), w.time_value(end));
                vec![Query { sql, windows: Some((start, end)) }]
            }
            _ => vec![Query { sql: self.sql.clone(), windows: None }],
        }
    }

    /// What the windows of `[start, end)` read of an input's event times; rows without one are always read.
    /// `None`: all of it.
    #[must_use]
    pub fn reads(&self, input: &Input, range: Option<(Micros, Micros)>) -> Option<TimeRange> {
        let (window, (start, end)) = (self.window.as_ref()?, range?);
        input.time.as_ref()?;
        input.reach.is_bounded().then(|| input.reach.reads(&window.windows, start, end))
    }

    /// The windows that changes of an input at these event times make dirty; everything for a table without windows.
    /// `changed` is a set of event times; a changed row without one counts as [`RangeSet::all`].
    #[must_use]
    pub fn dirty(&self, input: &Input, changed: &RangeSet) -> RangeSet {
        match &self.window {
            _ if changed.is_empty() || input.on_change == OnChange::Ignore => RangeSet::empty(),
            Some(w) => input.reach.dirty(&w.windows, changed),
            None => RangeSet::all(),
        }
    }
}

impl OutputWindow {
    /// The instant that a value of the time column stands for. For a date, `value` is its midnight without a zone.
    #[must_use]
    pub fn instant(&self, value: Micros) -> Micros {
        if self.date { self.windows.instant(value) } else { value }
    }

    /// The least value of the time column at or after an instant; the inverse of [`Self::instant`].
    #[must_use]
    pub fn time_value(&self, instant: Micros) -> Micros {
        if self.date { date_at_or_after(&self.windows, instant) } else { instant }
    }
}

/// The first date, as its midnight without a zone, that begins at or after an instant.
fn date_at_or_after(windows: &Windows, instant: Micros) -> Micros {
    let date = TimeMap(vec![Step::Trunc(Unit::Day)]).first_at_or_after(windows.local(instant));
    // A clock set back over midnight shows the date's first midnight before the instant.
    if windows.instant(date) < instant { Micros(date.0.saturating_add(DAY)) } else { date }
}

const DAY: i64 = 86_400_000_000;

impl Input {
    /// Event times at which a set of windows of this input, as instants, may change.
    #[must_use]
    pub fn changes(&self, windows: &RangeSet) -> RangeSet {
        match &self.time {
            Some(time) => windows.ranges().iter().map(|&(s, e)| (time.value(s), time.value(e))).collect(),
            None if windows.is_empty() => RangeSet::empty(),
            None => RangeSet::all(),
        }
    }
}

impl InputTime {
    /// The least event time whose row lies at or after an instant.
    #[must_use]
    pub fn value(&self, instant: Micros) -> Micros {
        match &self.windows {
            Some(windows) if self.date => date_at_or_after(windows, instant),
            _ => instant,
        }
    }

    /// The instants in which rows with these event times lie.
    #[must_use]
    pub fn instants(&self, times: TimeRange) -> TimeRange {
        match &self.windows {
            Some(w) if self.date => TimeRange { start: w.instant(times.start), end: w.instant(times.end) },
            _ => times,
        }
    }
}

//! What to run now: a pure decision over a snapshot of facts.
//!
//! A window is *due* when it was never computed, was marked by force, holds changes of an input
//! (dirty), or was computed before its inputs were complete and they are now. A due window runs when
//! what it needs of each input is there and no ancestor has a due window that reaches it; an ancestor
//! that is failed, paused or resting is not waited for, and the run names it as mixed in.

mod decider;
mod group;
mod inputs;
mod table;

use crate::document::Artifact;
use common::catalog::Catalog;
use common::ids::TableId;
use common::time::Micros;
use common::version::RangeSet;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use decider::Decider;

/// Everything a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Wall clock. Windows that begin after it never run.
    pub now: Micros,
    /// Tables, published versions, watermarks, pauses and claims.
    pub catalog: &'a Catalog,
    /// Compiled definitions by name; those of the catalog that decode.
    pub artifacts: &'a BTreeMap<String, Arc<Artifact>>,
    /// The earliest event time of each table that has rows, as a value of its time column: of raw tables, and of
    /// derived ones without windows.
    pub earliest: &'a BTreeMap<TableId, Micros>,
    /// Windows that changes past the cursor reach, by (derived table, input); see [`Artifact::dirty`].
    pub pending: &'a BTreeMap<(TableId, TableId), RangeSet>,
    /// Failed windows, until they succeed, their inputs or definition change, or somebody resumes them.
    pub failures: &'a [Failure],
    /// When each derived table's last run ended.
    pub last_run: &'a BTreeMap<TableId, Micros>,
    /// When each derived table was last seen with nothing due.
    pub idle: &'a BTreeMap<TableId, Micros>,
    /// Windows of one run at most; at least 1.
    pub max_windows: usize,
}

/// Windows of which the last run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The derived table.
    pub table: TableId,
    /// Its windows; everything for a table without windows.
    pub windows: RangeSet,
    /// Failed attempts in a row.
    pub attempts: u32,
    /// When the last one ended.
    pub at: Micros,
    /// Why, for people.
    pub error: String,
}

/// What to do with one derived table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// `dataset.name`.
    pub table: String,
    /// All that is due, run now or not; everything for a table without windows.
    pub due: RangeSet,
    /// What to run, the most urgent first. Runs of one table that are `whole` must not overlap.
    pub runs: Vec<PlannedRun>,
    /// What waits, and for what.
    pub waits: Vec<Wait>,
    /// Nothing before it is computed; `None`: no input row yet, or no windows.
    pub start: Option<Micros>,
    /// The end of the gap-free complete part; `None`: there is none.
    pub watermark: Option<Micros>,
}

/// A run to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRun {
    /// Its windows, one after the other; `None`: the table has none.
    pub range: Option<(Micros, Micros)>,
    /// The run may write any row: it must claim the whole table.
    pub whole: bool,
    /// All inputs are complete and settled for these windows.
    pub complete: bool,
    /// As the run log calls it.
    pub reason: &'static str,
    /// Ancestors with due windows that this run does not wait for.
    pub mixed_with: Vec<String>,
    /// The scheduled time that its SQL uses.
    pub run_time: Option<Micros>,
}

/// Windows that do not run yet: due ones, and the first that waits for its inputs to be complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The windows; everything for a table without windows.
    pub windows: RangeSet,
    /// For people.
    pub why: String,
}

/// Decides for every compiled table, ancestors first.
#[must_use]
pub fn decide(facts: &Facts<'_>) -> Vec<Decision> {
    let mut decider = Decider::default();
    decider.decide_all(facts);
    decider.into_decisions()
}

/// What descendants need to know of a table that was decided on. Times are instants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    /// Due windows that run now or soon: descendants wait for them.
    unsettled: RangeSet,
    /// Windows that hold stale rows which nobody waits for, by the ancestor (or this table) that is stuck.
    mixed: BTreeMap<String, RangeSet>,
    /// Windows computed from complete inputs, and the time before the first.
    complete: RangeSet,
    /// It has a version.
    published: bool,
    start: Option<Micros>,
}

#[cfg(test)]
mod tests;

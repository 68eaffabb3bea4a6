//! A run's queries, its tests, and its output as rows or parts.

use super::keys::Path;
use super::merge::{FoldParts, Parts};
use super::parts::{Fold, PartsEncoder};
use super::query::{self, Restriction};
use super::records::holds;
use super::work::Work;
use crate::rows::arrow::{Encoder, OutputRow, TypedColumn, instant, time_type};
use bytes::Bytes;
use common::ids::RunId;
use common::schema::Table;
use common::time::{Micros, TimeRange};
use common::{Error, Result};
use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::prelude::SessionContext;
use derived::document::{Artifact, Query, Strategy};
use derived::sql::at_run_time;
use std::collections::{BTreeMap, HashMap};

/// Queries of one run at most, unless its table means the union of its pieces.
const MAX_QUERIES: usize = 2;

/// What a run's SQL gave.
pub struct Computed {
    /// As its table stores it.
    pub rows: Rows,
    /// Rows that its scans gave.
    pub rows_read: u64,
    /// Rows that it gave.
    pub rows_given: u64,
}

/// The output of a run.
pub enum Rows {
    /// Rows, sorted by key.
    Plain(Vec<OutputRow>),
    /// A merge's parts by row key.
    Parts(BTreeMap<Bytes, Parts>),
}

/// Runs the queries of a work and checks what they give: all of it, or what the path asks for.
///
/// # Errors
/// `InvalidArgument` for a query that fails, a test that does not hold and rows that do not fit the table.
pub async fn compute(context: &SessionContext, work: &Work, run: RunId, path: Option<&Path>) -> Result<Computed> {
    let mut sink = Sink::of(work);
    if let (Some(Path::Appended(_)), Sink::Plain(rows)) = (path, &mut sink) {
        rows.tell_apart(run);
    }
    let (mut rows_read, mut rows_given) = (0, 0);
    for query in queries(work) {
        let plan = query::plan(context, &query.sql).await?;
        let plan = query::restrict_inputs(plan, &restrictions(work, query.windows))?;
        let plan = match path {
            Some(Path::Keys(keys)) => keys.restrict(plan)?,
            Some(Path::Appended(new)) => new.in_place(plan)?,
            _ => plan,
        };
        let output = query::run(context, plan).await?;
        rows_read += output.rows_read;
        let batches = wanted(work, query.windows, output.batches)?;
        rows_given += batches.iter().map(|b| b.num_rows() as u64).sum::<u64>();
        test(&work.artifact, &batches)?;
        let piece = query.windows.map_or(TimeRange::ALL, |(start, end)| TimeRange { start, end });
        batches.iter().try_for_each(|batch| sink.push(batch, piece))?;
    }
    let mut rows = sink.finish(work)?;
    if let (Rows::Plain(rows), Some(Path::Keys(keys))) = (&mut rows, path) {
        rows.retain(|row| keys.rows.contains(&row.key));
    }
    Ok(Computed { rows, rows_read, rows_given })
}

/// The queries of a work. Many scattered windows are cut out of one query over all that lies between them: each query
/// may have to read its inputs in full.
fn queries(work: &Work) -> Vec<Query> {
    let Some(windows) = &work.ranges else {
        let bound = |q: Query| Query { sql: at_run_time(&q.sql, work.plan.run_time.unwrap_or_default()), ..q };
        return work.artifact.queries(None).into_iter().map(bound).collect();
    };
    let per_window = work.artifact.window.as_ref().is_some_and(|w| w.per_window);
    match windows.ranges() {
        [first, .., last] if !per_window && windows.ranges().len() > MAX_QUERIES => work.artifact.queries(Some((first.0, last.1))),
        ranges => ranges.iter().flat_map(|range| work.artifact.queries(Some(*range))).collect(),
    }
}

/// The rows of a query's output that lie in the windows to compute, or in none (which fails the run later).
fn wanted(work: &Work, queried: Option<(Micros, Micros)>, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    let (Some(windows), Some(window), Some((start, end))) = (&work.ranges, &work.artifact.window, queried) else { return Ok(batches) };
    if windows.covers(start, end) {
        return Ok(batches);
    }
    let keep = |batch: RecordBatch| {
        let times = TypedColumn::of(&batch, &window.time_column, time_type(window), 1)?;
        let at = |row| times.value(row).and_then(|v| instant(window, &v));
        let mask: BooleanArray = (0..batch.num_rows()).map(|row| Some(at(row).is_none_or(|at| holds(windows, at)))).collect();
        filter_record_batch(&batch, &mask).map_err(|e| Error::internal(format!("an output cannot be cut to its windows: {e}")))
    };
    batches.into_iter().map(keep).collect()
}

/// What some windows read of each input, where that is not everything.
fn restrictions(work: &Work, windows: Option<(Micros, Micros)>) -> HashMap<String, Restriction> {
    let one = |table: &Table| {
        let input = work.artifact.input(&table.name)?;
        let (time, times) = (input.time.as_ref()?, work.artifact.reads(input, windows)?);
        let nullable = table.key_part(&time.column).is_none_or(|(_, part)| part.codec.nullable);
        Some((table.name.clone(), Restriction { column: time.column.clone(), date: time.date, nullable, times }))
    };
    work.inputs.iter().filter_map(|i| one(&i.table)).collect()
}

/// Holds a definition's tests against rows that it gives.
///
/// # Errors
/// `InvalidArgument`, naming the first that fails and for how many rows.
pub fn test(artifact: &Artifact, batches: &[RecordBatch]) -> Result<()> {
    for test in &artifact.tests {
        let failures = batches.iter().map(|b| test.failures(b)).sum::<Result<usize>>()?;
        if failures > 0 {
            return Err(Error::invalid(format!("table '{}': test '{test}' does not hold for {failures} rows", artifact.name)));
        }
    }
    Ok(())
}

enum Sink<'a> {
    Plain(Encoder<'a>),
    Parts(PartsEncoder<'a>),
}

impl<'a> Sink<'a> {
    fn of(work: &'a Work) -> Self {
        match &work.artifact.strategy {
            Strategy::Merge(rules) => Self::Parts(PartsEncoder::new(&work.table, &work.artifact, rules)),
            _ => Self::Plain(Encoder::new(&work.table, work.artifact.window.as_ref(), &work.artifact.unique)),
        }
    }

    fn push(&mut self, batch: &RecordBatch, piece: TimeRange) -> Result<()> {
        match self {
            Self::Plain(rows) => rows.push(batch, piece),
            Self::Parts(parts) => parts.push(batch, piece),
        }
    }

    fn finish(self, work: &Work) -> Result<Rows> {
        Ok(match (self, &work.artifact.strategy) {
            (Self::Plain(rows), _) => Rows::Plain(rows.finish()),
            // Without windows a key has one part, which is its row.
            (Self::Parts(parts), Strategy::Merge(rules)) if work.artifact.window.is_none() => {
                let fold = Fold { table: &work.table, rules };
                let row = |(key, parts): (Bytes, Parts)| Ok(OutputRow { key, cells: fold.fold(&parts)?, time: None });
                Rows::Plain(parts.finish()?.into_iter().map(row).collect::<Result<_>>()?)
            }
            (Self::Parts(parts), _) => Rows::Parts(parts.finish()?),
        })
    }
}

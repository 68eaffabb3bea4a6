//! A run's queries, its tests, and its output as rows or parts.

use super::execute::Work;
use super::merge::Parts;
use super::parts::PartsEncoder;
use super::query::{self, Restriction};
use crate::rows::arrow::{Encoder, OutputRow};
use bytes::Bytes;
use common::schema::Table;
use common::time::{Micros, TimeRange};
use common::{Error, Result};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::prelude::SessionContext;
use derived::document::{Artifact, Strategy};
use std::collections::{BTreeMap, HashMap};

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

/// Runs the queries of a work and checks what they give.
///
/// # Errors
/// `InvalidArgument` for a query that fails, a test that does not hold and rows that do not fit the table.
pub async fn compute(context: &SessionContext, work: &Work) -> Result<Computed> {
    let mut sink = Sink::of(work);
    let (mut rows_read, mut rows_given) = (0, 0);
    for query in work.artifact.queries(work.plan.range) {
        let plan = query::plan(context, &query.sql).await?;
        let plan = query::restrict_inputs(plan, &restrictions(work, query.windows))?;
        let output = query::run(context, plan).await?;
        rows_read += output.rows_read;
        rows_given += output.batches.iter().map(|b| b.num_rows() as u64).sum::<u64>();
        test(&work.artifact, &output.batches)?;
        let piece = query.windows.map_or(TimeRange::ALL, |(start, end)| TimeRange { start, end });
        output.batches.iter().try_for_each(|batch| sink.push(batch, piece))?;
    }
    Ok(Computed { rows: sink.finish()?, rows_read, rows_given })
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

fn test(artifact: &Artifact, batches: &[RecordBatch]) -> Result<()> {
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

    fn finish(self) -> Result<Rows> {
        Ok(match self {
            Self::Plain(rows) => Rows::Plain(rows.finish()),
            Self::Parts(parts) => Rows::Parts(parts.finish()?),
        })
    }
}

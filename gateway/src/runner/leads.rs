//! Which windows the changed rows of inputs that are read without time bound reach: found by a query.

use super::changes::{Changed, Followed, times_of};
use super::query;
use super::touched::{ChangedRows, MAX_CHANGED, Touched, changed_rows, values};
use crate::cluster::Cluster;
use crate::rows::arrow::{TypedColumn, instant, time_type};
use crate::sql::Sql;
use common::ids::TableId;
use common::version::{RangeSet, VersionMap};
use common::{Error, Result};
use datafusion::arrow::array::RecordBatch;
use derived::bounds::Reach;
use derived::document::{Artifact, Input, OutputWindow};
use std::collections::HashMap;
use std::sync::Arc;

/// Times of output rows that changed rows lead to, at most: past it all windows are due.
const MAX_TIMES: usize = 1_000_000;

/// Changed rows of one table's inputs that lead to windows.
#[derive(Default)]
pub struct Leads {
    rows: ChangedRows,
}

impl Leads {
    /// Whether windows that changes of an input reach are found through the changed rows, and not by their times.
    #[must_use]
    pub fn are_wanted(artifact: &Artifact, input: &Input) -> bool {
        artifact.window.is_some() && input.reach == Reach::Keys
    }

    /// What changed of an input for which they are wanted in `(from, to]`, and whether the windows that it reaches are still to be found by
    /// [`Self::windows`].
    ///
    /// # Errors
    /// `Unavailable` and the like.
    pub async fn changed(
        &mut self,
        cluster: &Arc<Cluster>,
        artifact: &Artifact,
        followed: &Followed<'_>,
        (from, to): (&VersionMap, &VersionMap),
    ) -> Result<(Changed, bool)> {
        match changed_rows(cluster, followed.table, followed.columns, from, to, MAX_CHANGED).await? {
            Err(why) => {
                tracing::info!(table = %artifact.name, input = %followed.table.name, why, "all windows are due");
                Ok((Changed::unknown(), false))
            }
            Ok(batches) => {
                let times = times_of(followed.input, &batches)?;
                let leads = !times.times.is_empty();
                self.rows.add(followed.table, followed.columns, batches)?;
                Ok((times, leads))
            }
        }
    }

    /// The windows that these rows reach, in inputs at the versions in `pins`.
    ///
    /// # Errors
    /// As [`query::run`].
    pub async fn windows(&self, sql: &Sql, artifact: &Artifact, pins: HashMap<TableId, VersionMap>) -> Result<RangeSet> {
        let Some(window) = &artifact.window else { return Ok(RangeSet::all()) };
        let Some(position) = artifact.columns.iter().position(|c| c.name == window.time_column) else { return Ok(RangeSet::all()) };
        let context = sql.context(pins)?;
        let text = artifact.queries(None).pop().ok_or_else(|| Error::internal("a definition without a query"))?.sql;
        let plan = query::plan(&context, &text).await?;
        match values(&context, &plan, &[position], &self.rows, MAX_TIMES).await? {
            Touched::Unknown(why) => {
                tracing::info!(table = %artifact.name, why, "all windows are due");
                Ok(RangeSet::all())
            }
            Touched::Rows(batches) => windows_of(window, &batches),
        }
    }
}

/// The windows in which the times of the first column lie; all of them if one is null.
fn windows_of(window: &OutputWindow, batches: &[RecordBatch]) -> Result<RangeSet> {
    let mut out = Vec::new();
    for batch in batches {
        let times = TypedColumn::cast(batch.column(0), time_type(window), 1)?;
        for row in 0..batch.num_rows() {
            let Some(at) = times.value(row).and_then(|v| instant(window, &v)) else { return Ok(RangeSet::all()) };
            let start = window.windows.floor(at);
            out.push((start, window.windows.next(start)));
        }
    }
    Ok(out.into_iter().collect())
}

//! A scan as a stream of batches.

use super::assemble::Assembly;
use super::plan::Plan;
use super::runs::{At, Run, RunMerge, Wide};
use crate::metrics::Metrics;
use crate::raw::RawRow;
use crate::read::Sources;
use crate::sstable::Reader;
use arrow_array::RecordBatch;
use common::Result;
use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

/// Runs looked at without giving out a batch after which others get their turn.
const RUNS_A_TURN: usize = 4096;

struct State<R, G> {
    plan: Plan,
    merge: RunMerge<R>,
    assembly: Assembly<Wide<R>>,
    /// Rows that may still be given.
    left: usize,
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
    let merge = RunMerge::new(sources, &plan, metrics.clone());
    let assembly = Assembly::new(plan.shape.projection.clone(), plan.batch_rows, plan.ordered, plan.scan.reverse);
    let state = State { merge, assembly, left: plan.row_limit, plan, metrics, _guard: guard };
    try_unfold(state, |mut state| async move { Ok(state.batch().await?.map(|batch| (batch, state))) }).boxed()
}

impl<R: Deref<Target = Reader> + Clone + Debug + Send + Sync + 'static, G> State<R, G> {
    async fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut looked_at = 0;
        while self.left > 0 && self.assembly.room() > 0 && !self.assembly.is_large_piece() {
            let Some(run) = self.merge.next().await? else { break };
            match run {
                Run::Row(row) => self.row(row)?,
                Run::Rows { source, rows } => {
                    let Some(At { state, wide }) = self.merge.at(source) else { break };
                    let before = self.assembly.rows();
                    let rest = self.assembly.push_run(state, wide, rows.clone(), self.left);
                    let taken = self.assembly.rows() - before;
                    self.left -= taken;
                    self.metrics.rows_scanned_by_column.add(taken as u64);
                    self.merge.take_rows(source, &rows, &rest);
                }
            }
            looked_at += 1;
            if looked_at % RUNS_A_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        self.metrics.rows_read.add(self.assembly.rows() as u64);
        self.assembly.finish().await
    }

    /// Judges a row cell by cell.
    fn row(&mut self, row: RawRow) -> Result<()> {
        let Some(row) = self.plan.view.resolve(row, self.plan.scan.at) else { return Ok(()) };
        if self.plan.shape.filter.passes(&self.plan.table, &row)? {
            self.assembly.push_row(&row)?;
            self.left -= 1;
        }
        Ok(())
    }
}

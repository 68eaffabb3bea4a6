//! A read as a stream of batches.

use super::merge::{Merge, Sources};
use super::resolve::View;
use super::{BATCH_BYTES, BATCH_ROWS};
use crate::metrics::Metrics;
use crate::raw::Scan;
use crate::sstable::Reader;
use common::Result;
use common::row::Row;
use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

struct State<R, G> {
    merge: Merge<R>,
    /// Whether the view shows rows that need no judging as they lie in a block.
    clean: bool,
    scan: Arc<Scan>,
    view: View,
    /// Rows that may still be given; 0 ends.
    left: u64,
    metrics: Arc<Metrics>,
    /// Held as long as the stream.
    _guard: G,
}

/// Rows as `view` sees them at `scan.at`, at most `limit` (0: all).
pub(crate) fn rows<R, G>(
    sources: &Sources<R>,
    scan: Scan,
    view: View,
    limit: u64,
    metrics: Arc<Metrics>,
    guard: G,
) -> BoxStream<'static, Result<Vec<Row>>>
where
    R: Deref<Target = Reader> + Clone + Debug + Send + Sync + 'static,
    G: Send + 'static,
{
    let scan = Arc::new(scan);
    let left = if limit == 0 { u64::MAX } else { limit };
    let clean = view.is_plain();
    let merge = Merge::new(sources, &scan);
    let merge = if clean { merge.with_clean_rows() } else { merge };
    let state = State { merge, clean, scan, view, left, metrics, _guard: guard };
    try_unfold(state, |mut state| async move {
        let batch = state.batch().await?;
        state.metrics.rows_read.add(batch.len() as u64);
        Ok((!batch.is_empty()).then_some((batch, state)))
    })
    .boxed()
}

impl<R: Deref<Target = Reader> + Clone + Debug, G> State<R, G> {
    async fn batch(&mut self) -> Result<Vec<Row>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while self.left > 0 && batch.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            if self.clean {
                let (before, limit) = (batch.len(), BATCH_ROWS - batch.len());
                let limit = usize::try_from(self.left).map_or(limit, |left| limit.min(left));
                if self.merge.clean_rows(limit, &self.view, &mut batch).await? > 0 {
                    bytes += batch[before..].iter().map(Row::bytes).sum::<usize>();
                    self.left -= (batch.len() - before) as u64;
                    continue;
                }
            }
            let Some(raw) = self.merge.next().await? else { break };
            let size = raw.bytes();
            if let Some(row) = self.view.resolve(raw, self.scan.at) {
                bytes += size;
                batch.push(row);
                self.left -= 1;
            }
        }
        Ok(batch)
    }
}

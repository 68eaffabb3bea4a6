//! Rows touched between two seqs, as visible at both.
//!
//! First the keys: a merge that skips memtables, SSTables and blocks without a seq in between. Then, a batch
//! of keys at a time, the rows themselves, from all sources.

use super::merge::{Merge, Sources};
use super::resolve::View;
use super::{BATCH_BYTES, BATCH_ROWS};
use crate::raw::{RawRow, Scan};
use crate::sstable::Reader;
use common::Result;
use common::ids::Seq;
use common::key::KeyRange;
use common::row::RowChange;
use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

struct State<R, G> {
    sources: Sources<R>,
    touched: Merge<R>,
    /// The rows of the touched keys found last.
    images: Option<Merge<R>>,
    between: (Seq, Seq),
    view: View,
    _guard: G,
}

/// See the module's page; rows that exist at neither end are left out.
pub(crate) fn changes<R, G>(
    sources: Sources<R>,
    between: (Seq, Seq),
    ranges: Vec<KeyRange>,
    view: View,
    guard: G,
) -> BoxStream<'static, Result<Vec<RowChange>>>
where
    R: Deref<Target = Reader> + Clone + Debug + Send + Sync + 'static,
    G: Send + 'static,
{
    let scan = Arc::new(Scan { above: between.0, ..Scan::all(ranges, between.1) });
    let touched = Merge::new(&sources, &scan);
    let state = State { sources, touched, images: None, between, view, _guard: guard };
    try_unfold(state, |mut state| async move {
        let batch = state.batch().await?;
        Ok((!batch.is_empty()).then_some((batch, state)))
    })
    .boxed()
}

impl<R: Deref<Target = Reader> + Clone + Debug, G> State<R, G> {
    async fn batch(&mut self) -> Result<Vec<RowChange>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let Some(row) = self.image().await? else { break };
            bytes += row.bytes();
            batch.extend(self.change(row));
        }
        Ok(batch)
    }

    fn change(&self, row: RawRow) -> Option<RowChange> {
        let (from, to) = self.between;
        let old = self.view.peek(&row, from);
        let key = row.key.clone();
        let new = self.view.resolve(row, to);
        (old.is_some() || new.is_some()).then_some(RowChange { key, old, new })
    }

    /// The next touched row, whole.
    async fn image(&mut self) -> Result<Option<RawRow>> {
        loop {
            if let Some(images) = &mut self.images
                && let Some(row) = images.next().await?
            {
                return Ok(Some(row));
            }
            let keys = self.touched_keys().await?;
            if keys.is_empty() {
                return Ok(None);
            }
            self.images = Some(Merge::new(&self.sources, &Arc::new(Scan::all(keys, self.between.1))));
        }
    }

    async fn touched_keys(&mut self) -> Result<Vec<KeyRange>> {
        let mut keys = Vec::new();
        while keys.len() < BATCH_ROWS {
            let Some(row) = self.touched.next().await? else { break };
            if row.touched(self.between.0, self.between.1) {
                keys.push(KeyRange::single(&row.key));
            }
        }
        Ok(keys)
    }
}

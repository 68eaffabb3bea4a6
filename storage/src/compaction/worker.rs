//! Merging SSTables into one.

use super::retain::Retention;
use crate::format::SstableName;
use crate::raw::Scan;
use crate::read::{Merge, Sources};
use crate::sstable::{Finished, Reader, Writer};
use common::Result;
use common::ids::Seq;
use common::key::KeyRange;
use common::store::SharedStore;
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

/// Rows after which other tasks get their turn.
const YIELD_ROWS: usize = 256;

/// Writes what `retention` keeps of all `sources` within `range` to a new SSTable; `None` if nothing stays.
/// Without a retention everything stays.
pub(crate) async fn merge<R: Deref<Target = Reader> + Clone + Debug>(
    store: SharedStore,
    sources: &Sources<R>,
    range: KeyRange,
    retention: Option<&Retention>,
    (name, block_bytes): (SstableName, usize),
) -> Result<Option<Finished>> {
    let scan = Arc::new(Scan { fill_cache: false, ..Scan::all(vec![range], Seq::MAX) });
    let mut writer = Writer::new(store, name, block_bytes);
    match copy(&mut Merge::new(sources, &scan), retention, &mut writer).await {
        Ok(()) if writer.is_empty() => Ok(None),
        Ok(()) => writer.finish().await.map(Some),
        Err(e) => {
            writer.abort().await;
            Err(e)
        }
    }
}

async fn copy<R: Deref<Target = Reader> + Clone + Debug>(
    merge: &mut Merge<R>,
    retention: Option<&Retention>,
    writer: &mut Writer,
) -> Result<()> {
    let mut rows = 0usize;
    while let Some(row) = merge.next().await? {
        let row = match retention {
            Some(rule) => rule.apply(row),
            None => row,
        };
        if !row.is_empty() {
            writer.add(&row).await?;
        }
        rows += 1;
        if rows.is_multiple_of(YIELD_ROWS) {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

//! Merging sources into SSTables.

use super::outputs::{Output, Outputs, Target};
use super::pace::Pace;
use super::range_deletes::RangeDeletes;
use super::retain::Retention;
use crate::memtable::{Flushed, Memtable, MemtableCursor};
use crate::raw::Scan;
use crate::read::{Merge, Sources};
use crate::sstable::Reader;
use common::Result;
use common::ids::Seq;
use common::key::KeyRange;
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

/// Rows after which other tasks get their turn.
const YIELD_ROWS: usize = 256;

/// Writes what `retention` keeps of all `sources` to new SSTables, none if nothing stays. Without a retention everything
/// stays. `pace`: how fast, `None` as fast as it goes.
pub(crate) async fn merge<R: Deref<Target = Reader> + Clone + Debug>(
    sources: &Sources<R>,
    retention: Option<&Retention>,
    target: Target,
    pace: Option<&Pace>,
) -> Result<Vec<Output>> {
    let scan = Arc::new(Scan { fill_cache: false, ..Scan::all(vec![KeyRange::ALL], Seq::MAX) });
    let mut outputs = Outputs::new(target);
    let mut ranges = RangeDeletes::new(sources.range_deletes(Seq::MAX).await?);
    let copied = copy(&mut Merge::new(sources, &scan), retention, &mut outputs, &mut ranges, pace).await;
    match copied {
        Ok(()) => {
            outputs.add_range_deletes(ranges.keep(retention));
            outputs.finish().await
        }
        Err(e) => {
            outputs.abort().await;
            Err(e)
        }
    }
}

/// Writes all that a memtable holds to new SSTables.
pub(crate) async fn flush(table: &Arc<Memtable>, target: Target) -> Result<Vec<Output>> {
    let mut outputs = Outputs::new(target);
    match copy_table(table, &mut outputs).await {
        Ok(()) => {
            outputs.add_range_deletes(RangeDeletes::new(table.range_deletes(Seq::MAX)).keep(None));
            outputs.finish().await
        }
        Err(e) => {
            outputs.abort().await;
            Err(e)
        }
    }
}

async fn copy_table(table: &Arc<Memtable>, outputs: &mut Outputs) -> Result<()> {
    let (mut cursor, mut rows) = (MemtableCursor::flushing(table), 0usize);
    while let Some(row) = cursor.next_flushed() {
        match row {
            Flushed::Plain(entry) => outputs.add_plain(&entry).await?,
            Flushed::Raw(row) => outputs.add(row).await?,
        }
        rows += 1;
        if rows.is_multiple_of(YIELD_ROWS) {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

async fn copy<R: Deref<Target = Reader> + Clone + Debug>(
    merge: &mut Merge<R>,
    retention: Option<&Retention>,
    outputs: &mut Outputs,
    ranges: &mut RangeDeletes,
    pace: Option<&Pace>,
) -> Result<()> {
    let (mut rows, mut bytes) = (0usize, 0usize);
    while let Some(row) = merge.next().await? {
        bytes += row.bytes();
        let row = match retention {
            Some(rule) => {
                let kept = rule.apply(row);
                ranges.see(&kept);
                kept
            }
            None => row,
        };
        if !row.is_empty() {
            outputs.add(row).await?;
        }
        rows += 1;
        if rows.is_multiple_of(YIELD_ROWS) {
            match pace {
                Some(pace) => pace.spend(std::mem::take(&mut bytes)).await,
                None => tokio::task::yield_now().await,
            }
        }
    }
    Ok(())
}

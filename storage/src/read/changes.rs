//! Rows touched between two seqs, as visible at both.
//!
//! Where no row-range delete lies between the two: first the keys, by a merge that skips memtables, SSTables and blocks
//! without a seq in between; then, a batch of keys at a time, the rows themselves, from all sources. Where one does, every
//! row that there was is touched: they are read as they are.

use super::covers::Covers;
use super::merge::{Merge, Sources, clip};
use super::resolve::View;
use super::{BATCH_BYTES, BATCH_ROWS};
use crate::raw::{RawRow, Scan};
use crate::sstable::Reader;
use common::Result;
use common::ids::Seq;
use common::key::KeyRange;
use common::row::RowChange;
use common::time::Micros;
use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

/// Rows that are found in one way, in key order.
#[derive(Debug, PartialEq, Eq)]
enum Segment {
    /// By their changes.
    Changed(Vec<KeyRange>),
    /// All that there are: a row-range delete covers them.
    Covered(KeyRange),
}

/// The event time of a row key, if it has one.
type TimeOfKey = Box<dyn Fn(&[u8]) -> Option<Micros> + Send + Sync>;

/// Where the slice of an SSTable is a function of the row key: how to tell which of them may have a key.
pub(crate) struct KeyTimes<R> {
    /// The event time in a row key.
    pub(crate) of: TimeOfKey,
    /// Lowest and highest event time of an SSTable, if each of its rows has one.
    pub(crate) within: fn(&R) -> Option<(Micros, Micros)>,
}

struct State<R, G> {
    sources: Sources<R>,
    /// Asked for, until the segments are known.
    ranges: Vec<KeyRange>,
    segments: VecDeque<Segment>,
    /// Finds changes in the present segment.
    touched: Option<Merge<R>>,
    /// The rows of the touched keys found last, or of a covered range.
    images: Option<Merge<R>>,
    between: (Seq, Seq),
    times: KeyTimes<R>,
    view: View,
    _guard: G,
}

/// See the module's page; rows that exist at neither end are left out.
pub(crate) fn changes<R, G>(
    sources: Sources<R>,
    between: (Seq, Seq),
    ranges: Vec<KeyRange>,
    (times, view): (KeyTimes<R>, View),
    guard: G,
) -> BoxStream<'static, Result<Vec<RowChange>>>
where
    R: Deref<Target = Reader> + Clone + Debug + Send + Sync + 'static,
    G: Send + 'static,
{
    let segments = VecDeque::new();
    let state = State { sources, ranges, segments, touched: None, images: None, between, times, view, _guard: guard };
    try_unfold(state, |mut state| async move {
        let batch = state.batch().await?;
        Ok((!batch.is_empty()).then_some((batch, state)))
    })
    .boxed()
}

impl<R: Deref<Target = Reader> + Clone + Debug, G> State<R, G> {
    async fn batch(&mut self) -> Result<Vec<RowChange>> {
        self.begin().await?;
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

    async fn begin(&mut self) -> Result<()> {
        if !self.ranges.is_empty() {
            let (from, to) = self.between;
            let covered = Covers::new(self.sources.range_deletes(to).await?).ranges(|seq| from < seq);
            self.segments = segments(std::mem::take(&mut self.ranges), covered);
        }
        Ok(())
    }

    /// The next touched row, whole.
    async fn image(&mut self) -> Result<Option<RawRow>> {
        let (from, to) = self.between;
        loop {
            if let Some(images) = &mut self.images
                && let Some(row) = images.next().await?
            {
                if row.touched(from, to) {
                    return Ok(Some(row));
                }
                continue;
            }
            let keys = self.touched_keys().await?;
            if !keys.is_empty() {
                self.images = Some(self.images_of(keys));
                continue;
            }
            (self.touched, self.images) = match self.segments.pop_front() {
                None => return Ok(None),
                Some(Segment::Covered(range)) => (None, Some(Merge::new(&self.sources, &Arc::new(Scan::all(vec![range], to))))),
                Some(Segment::Changed(ranges)) => {
                    let scan = Arc::new(Scan { above: from, ..Scan::all(ranges, to) });
                    (Some(Merge::new(&self.sources, &scan)), None)
                }
            };
        }
    }

    /// The rows of these keys. An SSTable is asked for those only that its event times allow.
    fn images_of(&self, keys: Vec<KeyRange>) -> Merge<R> {
        let timed: Vec<_> = keys.iter().map(|key| (self.times.of)(&key.start)).collect();
        let scan = Arc::new(Scan::all(keys, self.between.1));
        Merge::pruned(&self.sources, &scan, |table| {
            let Some((first, last)) = (self.times.within)(table) else { return clip(&scan, table.range()) };
            let allowed = scan.ranges.iter().zip(&timed).filter(|(_, at)| at.is_none_or(|at| first <= at && at <= last));
            let ranges = allowed.map(|(key, _)| key).filter(|key| table.range().contains(&key.start)).cloned().collect();
            Arc::new(Scan { ranges, ..Scan::clone(&scan) })
        })
    }

    async fn touched_keys(&mut self) -> Result<Vec<KeyRange>> {
        let mut keys = Vec::new();
        let Some(touched) = &mut self.touched else { return Ok(keys) };
        while keys.len() < BATCH_ROWS {
            let Some(row) = touched.next().await? else { break };
            if row.touched(self.between.0, self.between.1) {
                keys.push(KeyRange::single(&row.key));
            }
        }
        Ok(keys)
    }
}

/// Cuts `ranges` where `covered` begin and end; both are in order and disjoint.
fn segments(ranges: Vec<KeyRange>, covered: Vec<KeyRange>) -> VecDeque<Segment> {
    let (mut out, mut changed) = (VecDeque::new(), Vec::new());
    let mut covered = covered.into_iter().peekable();
    for mut rest in ranges {
        loop {
            while covered.next_if(|c| c.end.as_ref().is_some_and(|end| *end <= rest.start)).is_some() {}
            let Some(inside) = covered.peek().and_then(|c| c.intersect(&rest)).filter(|inside| !inside.is_empty()) else { break };
            if rest.start < inside.start {
                changed.push(KeyRange { start: rest.start.clone(), end: Some(inside.start.clone()) });
            }
            if !changed.is_empty() {
                out.push_back(Segment::Changed(std::mem::take(&mut changed)));
            }
            out.push_back(Segment::Covered(inside.clone()));
            match inside.end {
                // What is covered may go on behind this range.
                Some(end) if rest.end.as_ref() != Some(&end) => rest.start = end,
                _ => {
                    rest = KeyRange { start: rest.start.clone(), end: Some(rest.start) };
                    break;
                }
            }
        }
        if !rest.is_empty() {
            changed.push(rest);
        }
    }
    if !changed.is_empty() {
        out.push_back(Segment::Changed(changed));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn range(a: &'static str, b: &'static str) -> KeyRange {
        KeyRange::new(a, (!b.is_empty()).then(|| Bytes::from_static(b.as_bytes())))
    }

    #[test]
    fn ranges_are_cut_where_row_range_deletes_begin_and_end() {
        use Segment::{Changed, Covered};
        let cut = |ranges: &[KeyRange], covered: &[KeyRange]| Vec::from(segments(ranges.to_vec(), covered.to_vec()));
        assert_eq!(cut(&[range("a", "")], &[]), [Changed(vec![range("a", "")])]);
        assert_eq!(
            cut(&[range("a", "c"), range("d", "z")], &[range("b", "e"), range("g", "h")]),
            [
                Changed(vec![range("a", "b")]),
                Covered(range("b", "c")),
                Covered(range("d", "e")),
                Changed(vec![range("e", "g")]),
                Covered(range("g", "h")),
                Changed(vec![range("h", "z")])
            ]
        );
        assert_eq!(cut(&[range("b", "d"), range("x", "")], &[range("a", "")]), [Covered(range("b", "d")), Covered(range("x", ""))]);
        assert_eq!(
            cut(&[range("b", "c"), range("d", "f")], &[range("a", "b"), range("f", "g")]),
            [Changed(vec![range("b", "c"), range("d", "f")])]
        );
    }
}

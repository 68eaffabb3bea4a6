//! Row-range deletes: one record a range, in a section of their own.

use bytes::Bytes;
use common::envelope::Magic;
use common::ids::Seq;
use common::key::KeyRange;
use serde::{Deserialize, Serialize};

pub(super) const RANGE_DELETES_MAGIC: Magic = *b"STLX";

/// Hides whatever has a strictly lower seq in all rows of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RangeDelete {
    pub(crate) range: KeyRange,
    pub(crate) seq: Seq,
}

impl RangeDelete {
    /// Bytes that one of this range holds in memory, about.
    pub(crate) fn weight(range: &KeyRange) -> usize {
        const EACH: usize = 96;
        EACH + range.start.len() + range.end.as_ref().map_or(0, Bytes::len)
    }

    /// Whether a reader at `at` sees it cover the key.
    pub(crate) fn covers(&self, key: &[u8], at: Seq) -> bool {
        self.seq <= at && self.range.contains(key)
    }

    /// The part of it inside a range.
    pub(crate) fn within(&self, range: &KeyRange) -> Option<Self> {
        self.range.intersect(range).map(|range| Self { range, seq: self.seq })
    }
}

/// A range that holds all of them.
pub(super) fn span(list: &[RangeDelete]) -> Option<KeyRange> {
    let start = list.iter().map(|d| &d.range.start).min()?.clone();
    let end: Option<Option<&Bytes>> = list.iter().map(|d| d.range.end.as_ref()).reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b)));
    Some(KeyRange { start, end: end.flatten().cloned() })
}

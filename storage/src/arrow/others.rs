//! What other sources have among the keys of one SSTable.

use crate::format::SstableRef;
use crate::memtable::Memtable;
use crate::read::Sources;
use crate::sstable::{IndexEntry, Reader};
use bytes::Bytes;
use std::ops::Deref;
use std::sync::Arc;

/// The sources that may share rows with one SSTable.
#[derive(Debug)]
pub(super) struct Others {
    memtables: Vec<Arc<Memtable>>,
    /// First and last key with cells of each other SSTable.
    spans: Vec<(Bytes, Bytes)>,
    /// Last key with cells of the SSTable itself.
    last: Option<Bytes>,
}

impl Others {
    /// `times_are_of_keys`: rows of different event times have different keys, so that SSTables which share no time share
    /// no row.
    pub(super) fn of<R: Deref<Target = Reader>>(sources: &Sources<R>, own: &SstableRef, times_are_of_keys: bool) -> Self {
        let shares_rows = |other: &&SstableRef| other.name != own.name && !(times_are_of_keys && share_no_time(own, other));
        let spans = sources.sstables.iter().map(|s| s.entry()).filter(shares_rows).filter_map(|entry| entry.keys.clone());
        Self { memtables: sources.memtables.clone(), spans: spans.collect(), last: own.keys.as_ref().map(|(_, last)| last.clone()) }
    }

    /// Whether none of them has a row among those of a block, behind which a block with `next_key` lies.
    pub(super) fn are_apart(&self, entry: &IndexEntry, next_key: Option<&[u8]>) -> bool {
        let first = entry.first_key.as_ref();
        let Some(last) = next_key.or(self.last.as_deref()) else { return false };
        let apart = |(from, to): &(Bytes, Bytes)| to.as_ref() < first || last < from.as_ref();
        self.spans.iter().all(apart) && !self.memtables.iter().any(|m| m.meets(first, last))
    }
}

fn share_no_time(a: &SstableRef, b: &SstableRef) -> bool {
    match (a.event_times, b.event_times) {
        (Some(a), Some(b)) => a.1 < b.0 || b.1 < a.0,
        _ => false,
    }
}

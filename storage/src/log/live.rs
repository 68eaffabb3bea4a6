//! The segments or objects that a log in use has, oldest first.

use super::index::Index;
use crate::sync::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One of them.
#[derive(Clone, Debug, Default)]
pub(super) struct LiveSegment {
    /// Its bytes.
    pub(super) bytes: u64,
    /// When it was last appended to, by the monotonic clock.
    pub(super) touched: Duration,
    /// What is durable in it.
    pub(super) index: Arc<Index>,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct LiveSegments {
    /// Held for map operations only.
    segments: Mutex<BTreeMap<u64, LiveSegment>>,
}

impl LiveSegments {
    /// Changes a segment, or begins it.
    pub(super) fn change(&self, number: u64, change: impl FnOnce(&mut LiveSegment)) {
        change(lock(&self.segments).entry(number).or_default());
    }

    pub(super) fn remove(&self, number: u64) {
        lock(&self.segments).remove(&number);
    }

    /// The oldest; 0 if there is none.
    #[cfg(test)]
    pub(super) fn oldest(&self) -> u64 {
        lock(&self.segments).keys().next().copied().unwrap_or_default()
    }

    /// The oldest if it is below `below` and was not appended to since `young`.
    pub(super) fn trimmable(&self, below: u64, young: Duration) -> Option<u64> {
        let segments = lock(&self.segments);
        let (number, oldest) = segments.first_key_value()?;
        (*number < below && oldest.touched < young).then_some(*number)
    }

    /// The first segment to keep so that those kept are at most `segments` with at most `bytes`; the newest stays.
    pub(super) fn keep_from(&self, bytes: u64, segments: usize) -> u64 {
        let live = lock(&self.segments);
        let mut room = bytes;
        let mut from = live.keys().next_back().copied().unwrap_or_default();
        for (number, segment) in live.iter().rev().take(segments) {
            let Some(left) = room.checked_sub(segment.bytes) else { break };
            (room, from) = (left, *number);
        }
        from
    }

    /// Numbers and contents of those from `from` on, as far as they are durable.
    pub(super) fn indexes(&self, from: u64) -> Vec<(u64, Arc<Index>)> {
        lock(&self.segments).range(from..).map(|(number, s)| (*number, s.index.clone())).collect()
    }
}

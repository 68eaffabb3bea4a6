//! Which old states are still read, and how far compaction may forget.

use crate::sync::lock;
use common::ids::Seq;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Time between two notes of what was visible when.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Snapshots {
    retention: Duration,
    /// Held for map operations only.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    pin: Option<Seq>,
    /// Seqs of open reads, and how many.
    open: BTreeMap<Seq, usize>,
    /// What was visible from when on.
    samples: VecDeque<(Duration, Seq)>,
}

impl Snapshots {
    /// Snapshots stay readable for `retention`.
    pub(crate) fn new(retention: Duration, pin: Option<Seq>) -> Arc<Self> {
        Arc::new(Self { retention, inner: Mutex::new(Inner { pin, ..Inner::default() }) })
    }

    pub(crate) fn set_pin(&self, pin: Option<Seq>) {
        lock(&self.inner).pin = pin;
    }

    /// Notes that `visible` is visible from `now` on.
    pub(crate) fn note(&self, now: Duration, visible: Seq) {
        let samples = &mut lock(&self.inner).samples;
        if samples.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= SAMPLE_EVERY) {
            samples.push_back((now, visible));
        }
        let old = now.checked_sub(self.retention);
        while samples.get(1).is_some_and(|(at, _)| Some(*at) <= old) {
            samples.pop_front();
        }
    }

    /// Holds the state at `at` until the guard goes.
    pub(crate) fn hold(self: &Arc<Self>, at: Seq) -> SnapshotGuard {
        *lock(&self.inner).open.entry(at).or_default() += 1;
        SnapshotGuard { snapshots: self.clone(), at }
    }

    /// The highest seq below which nothing need be told apart; `floor` if that is all.
    pub(crate) fn horizon(&self, now: Duration, visible: Seq, floor: Seq) -> Seq {
        let inner = lock(&self.inner);
        let old = now.checked_sub(self.retention);
        let by_age = if self.retention.is_zero() {
            visible
        } else {
            inner.samples.iter().rev().find(|(at, _)| Some(*at) <= old).map_or(floor, |(_, seq)| *seq)
        };
        let open = inner.open.keys().next().copied().unwrap_or(Seq::MAX);
        visible.min(by_age).min(open).min(inner.pin.unwrap_or(Seq::MAX)).max(floor)
    }
}

/// Holds a state readable.
#[derive(Debug)]
pub(crate) struct SnapshotGuard {
    snapshots: Arc<Snapshots>,
    at: Seq,
}

impl Drop for SnapshotGuard {
    fn drop(&mut self) {
        let mut inner = lock(&self.snapshots.inner);
        if let Some(count) = inner.open.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                inner.open.remove(&self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_horizon_is_the_lowest_of_pin_open_read_and_age() {
        let s = Snapshots::new(Duration::from_secs(10), None);
        let at = Duration::from_secs;
        let horizon = |now| s.horizon(at(now), Seq(9), Seq(1)).0;
        s.note(at(0), Seq(2));
        s.note(at(5), Seq(5));
        s.note(at(8), Seq(9));
        assert_eq!(horizon(9), 1, "nothing is old enough");
        assert_eq!((horizon(10), horizon(15), horizon(100)), (2, 5, 9));
        let read = s.hold(Seq(4));
        s.set_pin(Some(Seq(3)));
        assert_eq!(horizon(100), 3);
        s.set_pin(None);
        assert_eq!(horizon(100), 4);
        drop(read);
        assert_eq!(horizon(100), 9);
    }
}

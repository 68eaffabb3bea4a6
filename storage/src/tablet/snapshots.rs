//! Which old states are still read, and how far compaction may forget.

use crate::compaction::Points;
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
    /// How long a state stays readable that nobody holds.
    retention: Duration,
    /// How long a pin holds after it was set.
    change_retention: Duration,
    /// Held for map operations only.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Everything numbered above it is held, and when it was set.
    tail: Option<(Seq, Duration)>,
    /// Cursors of change readers, and when each was set.
    pins: BTreeMap<Seq, Duration>,
    /// Seqs of open reads, and how many.
    open: BTreeMap<Seq, usize>,
    /// What was visible from when on.
    samples: VecDeque<(Duration, Seq)>,
}

impl Snapshots {
    /// Snapshots stay readable for `retention`, pins hold for `change_retention`.
    pub(crate) fn new(retention: Duration, change_retention: Duration) -> Arc<Self> {
        Arc::new(Self { retention, change_retention, inner: Mutex::default() })
    }

    /// Holds everything numbered above `tail`.
    pub(crate) fn set_tail(&self, now: Duration, tail: Option<Seq>) {
        let inner = &mut lock(&self.inner);
        let since = |seq| inner.tail.filter(|(old, _)| *old == seq).map_or(now, |(_, since)| since);
        inner.tail = tail.map(|seq| (seq, since(seq)));
    }

    /// Holds the newest state at each of these. One that was there keeps its time: only who advances is waited for.
    pub(crate) fn set_pins(&self, now: Duration, pins: &[Seq]) {
        let inner = &mut lock(&self.inner);
        inner.pins = pins.iter().map(|pin| (*pin, inner.pins.get(pin).copied().unwrap_or(now))).collect();
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

    /// What has to stay readable of what is: everything not older than the retention, and the points that someone holds.
    pub(crate) fn retained(&self, now: Duration, visible: Seq, readable: &Points) -> Points {
        let inner = lock(&self.inner);
        let old = now.checked_sub(self.retention);
        let by_age = if self.retention.is_zero() {
            visible
        } else {
            inner.samples.iter().rev().find(|(at, _)| Some(*at) <= old).map_or(readable.floor(), |(_, seq)| *seq)
        };
        let holds = |since: &Duration| now.saturating_sub(*since) <= self.change_retention;
        let tail = inner.tail.filter(|(_, since)| holds(since)).map_or(Seq::MAX, |(seq, _)| seq);
        let pins = inner.pins.iter().filter(|(_, since)| holds(since)).map(|(pin, _)| *pin);
        // The tail itself is a state that its reader goes on from.
        let wanted = pins.chain(inner.open.keys().copied()).chain([tail]);
        readable.advance(visible.min(by_age).min(tail), wanted)
    }
}

/// Holds a state readable.
#[derive(Debug)]
pub(crate) struct SnapshotGuard {
    snapshots: Arc<Snapshots>,
    at: Seq,
}

impl SnapshotGuard {
    /// The state that it holds.
    pub(crate) fn at(&self) -> Seq {
        self.at
    }
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

    const WEEK: Duration = Duration::from_secs(7 * 86_400);

    fn points(kept: &[u64], floor: u64) -> Points {
        Points::new(kept.iter().copied().map(Seq).collect(), Seq(floor))
    }

    #[test]
    fn the_floor_is_the_lower_of_tail_and_age() {
        let s = Snapshots::new(Duration::from_secs(10), WEEK);
        let at = Duration::from_secs;
        let floor = |now| s.retained(at(now), Seq(9), &points(&[], 1)).floor().0;
        s.note(at(0), Seq(2));
        s.note(at(5), Seq(5));
        s.note(at(8), Seq(9));
        assert_eq!(floor(9), 1, "nothing is old enough");
        assert_eq!((floor(10), floor(15), floor(100)), (2, 5, 9));
        s.set_tail(at(100), Some(Seq(3)));
        assert_eq!(floor(100), 3);
        s.set_tail(at(200), Some(Seq(3)));
        assert_eq!(floor(100 + WEEK.as_secs()), 3);
        assert_eq!(floor(101 + WEEK.as_secs()), 9, "who does not advance is waited for a week, not for ever");
        s.set_tail(at(300), None);
        assert_eq!(floor(300), 9);
    }

    #[test]
    fn pins_and_open_reads_are_points() {
        let s = Snapshots::new(Duration::ZERO, WEEK);
        let at = Duration::from_secs;
        let retained = |now| s.retained(at(now), Seq(20), &points(&[], 1));
        let read = s.hold(Seq(4));
        s.set_pins(at(0), &[Seq(6), Seq(8)]);
        assert_eq!(retained(0), points(&[4, 6, 8], 20));
        drop(read);
        s.set_pins(at(10), &[Seq(6), Seq(9)]);
        assert_eq!(retained(10), points(&[6, 9], 20));
        assert_eq!(retained(5 + WEEK.as_secs()), points(&[9], 20), "a pin that did not move has its time");
        assert_eq!(s.retained(at(10), Seq(20), &points(&[], 8)), points(&[9], 20), "6 is lost already");
    }
}

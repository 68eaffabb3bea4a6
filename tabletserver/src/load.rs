//! What clients do to a tablet: how much, and to which keys.

use bytes::Bytes;
use common::rpc::master::Load;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Keys that are remembered.
const KEYS: usize = 256;
/// One key of so many requests is remembered.
const EVERY: u64 = 8;
/// Rates forget half of what was in this time.
const HALF_LIFE: Duration = Duration::from_secs(4);
/// Rates are taken over at least this long: less would be noise.
const LEAST: Duration = Duration::from_millis(200);

/// Counts what is done to one tablet.
#[derive(Debug, Default)]
pub struct Meter {
    reads: AtomicU64,
    writes: AtomicU64,
    requests: AtomicU64,
    /// Held for a few instructions.
    rates: Mutex<Rates>,
    /// Newest last; held for a push or a copy.
    keys: Mutex<VecDeque<Bytes>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rates {
    at: Duration,
    counted: (u64, u64),
    reads: f64,
    writes: f64,
}

impl Meter {
    /// Rows were read; `key` is one of theirs.
    pub fn read(&self, rows: usize, key: impl FnOnce() -> Option<Bytes>) {
        self.reads.fetch_add(rows as u64, Ordering::Relaxed);
        self.note(key);
    }

    /// Rows were written; `key` is one of theirs.
    pub fn written(&self, rows: usize, key: impl FnOnce() -> Option<Bytes>) {
        self.writes.fetch_add(rows as u64, Ordering::Relaxed);
        self.note(key);
    }

    fn note(&self, key: impl FnOnce() -> Option<Bytes>) {
        if !self.requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVERY) {
            return;
        }
        // Whoever finds it locked is one of many: the sample can do without.
        if let (Ok(mut keys), Some(key)) = (self.keys.try_lock(), key()) {
            if keys.len() == KEYS {
                keys.pop_front();
            }
            keys.push_back(key);
        }
    }

    /// Rows a second, smoothed over some seconds.
    pub fn load(&self, now: Duration) -> Load {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_sub(rates.at);
        if passed >= LEAST {
            let counted = (self.reads.load(Ordering::Relaxed), self.writes.load(Ordering::Relaxed));
            let keep = 0.5f64.powf(passed.as_secs_f64() / HALF_LIFE.as_secs_f64());
            let blend = |old: f64, from: u64, to: u64| old * keep + (to - from) as f64 / passed.as_secs_f64() * (1.0 - keep);
            rates.reads = blend(rates.reads, rates.counted.0, counted.0);
            rates.writes = blend(rates.writes, rates.counted.1, counted.1);
            (rates.at, rates.counted) = (now, counted);
        }
        Load { reads: rates.reads.round() as u64, writes: rates.writes.round() as u64 }
    }

    /// A key that has about as much of the load below as above; `None` if nearly all of it meets one key.
    pub fn middle(&self) -> Option<Bytes> {
        let mut keys: Vec<_> = self.keys.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        keys.sort_unstable();
        let lowest = keys.first()?.clone();
        let middle = keys[keys.len() / 2].clone();
        if middle > lowest { Some(middle) } else { keys.into_iter().find(|key| *key > lowest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_what_is_counted_and_fade() {
        let meter = Meter::default();
        let mut now = Duration::from_secs(10);
        meter.load(now);
        for _ in 0..60 {
            now += Duration::from_millis(500);
            meter.written(50, || None);
            meter.read(10, || None);
            meter.load(now);
        }
        let load = meter.load(now);
        assert!((95..=100).contains(&load.writes) && (19..=20).contains(&load.reads), "{load:?}");
        assert_eq!(meter.load(now + Duration::from_secs(120)), Load::default());
    }

    #[test]
    fn the_middle_parts_the_load_and_never_one_key() {
        let meter = Meter::default();
        assert_eq!(meter.middle(), None);
        let note = |key: u8| (0..EVERY).for_each(|_| meter.read(1, || Some(Bytes::from(vec![key]))));
        note(7);
        assert_eq!(meter.middle(), None, "one key");
        (0..20).for_each(|_| note(7));
        note(9);
        assert_eq!(meter.middle().unwrap()[0], 9, "the hot key stays with what is below");
        (0..KEYS).for_each(|i| note((i % 100) as u8));
        assert!((40..55).contains(&meter.middle().unwrap()[0]));
    }
}

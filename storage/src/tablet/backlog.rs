//! Writers wait for compaction: each SSTable of level 0 is one more that reads look into.

use super::inner::Inner;
use crate::compaction::kept_bytes;
use crate::format::SliceKey;
use common::{Error, Result};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Delay of a write just below the hard limit.
const LONGEST: Duration = Duration::from_millis(200);
/// Who is refused may come again after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a write meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    Free,
    After(Duration),
    Refused,
}

/// Above `slow` the delay grows with the square of what is too much, at `stop` nothing passes.
fn admission(level0: usize, slow: usize, stop: usize) -> Admission {
    if level0 >= stop {
        return Admission::Refused;
    }
    let over = level0.saturating_sub(slow) as u32;
    if over == 0 {
        return Admission::Free;
    }
    let room = (stop - slow).max(1) as u32;
    Admission::After(LONGEST.mul_f64((f64::from(over) / f64::from(room)).powi(2)))
}

impl Inner {
    /// Lets a write pass, after a delay if compaction is behind.
    ///
    /// # Errors
    /// `ResourceExhausted`, with a time to wait.
    pub(super) async fn admit_backlog(&self) -> Result<()> {
        let config = &self.shared.config;
        let level0 = self.level0.load(Ordering::Relaxed);
        // Where nothing compacts by itself, waiting does not help.
        if !config.background {
            return Ok(());
        }
        match admission(level0, config.compaction.level0_slow, config.compaction.level0_stop) {
            Admission::Free => Ok(()),
            Admission::After(delay) => {
                self.shared.wake.notify_one();
                self.shared.metrics.writes_delayed.add(1);
                tokio::time::sleep(delay).await;
                Ok(())
            }
            Admission::Refused => {
                self.shared.wake.notify_one();
                self.shared.metrics.writes_refused.add(1);
                let text = format!(
                    "tablet {}: {level0} SSTables wait for compaction, at most {} may: it is slower than the writes",
                    self.id, config.compaction.level0_stop
                );
                Err(Error::exhausted(text, RETRY_AFTER))
            }
        }
    }

    /// Whether so many SSTables wait for compaction that writers are slowed, or soon will be.
    pub(crate) fn is_behind(&self) -> bool {
        self.level0_files() * 2 >= self.shared.config.compaction.level0_slow
    }

    /// Notes how many SSTables of level 0 the slice with the most of them has.
    pub(super) fn note_backlog(&self) {
        let mut counts: HashMap<SliceKey, usize> = HashMap::new();
        let state = self.state();
        for sstable in state.sstables.iter().map(|s| &s.0).filter(|s| s.level() == 0) {
            *counts.entry(sstable.entry.slice).or_default() += 1;
        }
        self.level0.store(counts.into_values().max().unwrap_or(0), Ordering::Relaxed);
    }

    /// Notes how much of the SSTables a full compaction would keep.
    pub(super) fn note_space(&self) {
        let kept = kept_bytes(self.state().sstables.iter().map(|s| &s.0.entry));
        self.kept.store(kept, Ordering::Relaxed);
    }

    /// Bytes that a full compaction would keep, about.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// Bytes of its SSTables, and what a full compaction would keep of them, about.
    pub(crate) fn space(&self) -> (u64, u64) {
        (self.state().sstables.iter().map(|s| s.0.entry.size).sum(), self.kept_bytes())
    }

    /// SSTables of level 0 in the slice that has the most.
    pub(super) fn level0_files(&self) -> usize {
        self.level0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_slowed_before_they_are_refused() {
        let at = |n| admission(n, 10, 20);
        assert_eq!((at(0), at(10)), (Admission::Free, Admission::Free));
        assert_eq!(at(15), Admission::After(LONGEST / 4));
        let delays: Vec<_> = (11..20).map(|n| format!("{:?}", at(n))).collect();
        assert!(delays.iter().all(|d| d.starts_with("After")), "{delays:?}");
        assert_eq!((at(20), at(100)), (Admission::Refused, Admission::Refused));
        assert_eq!(admission(5, 5, 5), Admission::Refused);
    }
}

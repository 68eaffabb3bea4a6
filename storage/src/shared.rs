//! What all tablets of an engine share.

use crate::EngineConfig;
use crate::compaction::{Pace, Pool};
use crate::log::Log;
use crate::metrics::Metrics;
use crate::sstable::ReaderContext;
use crate::tablet::Retired;
use common::time::Micros;
use common::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc};

/// Handed to each tablet.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: EngineConfig,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reader: ReaderContext,
    /// Bytes of memtables and of writes on their way there.
    pub(crate) memory: Budget,
    /// Bytes of staged rows.
    pub(crate) staged: Budget,
    /// Wakes the maintenance.
    pub(crate) wake: Notify,
    /// The master's time as it was last heard, in µs; `i64::MAX` before.
    pub(crate) master_time: AtomicI64,
    /// Compactions at once.
    pub(crate) compactions: Semaphore,
    /// How fast they may go.
    pub(crate) pace: Pace,
    /// Where flushes and compactions run.
    pub(crate) pool: Pool,
    /// SSTables that a tablet here has given up.
    pub(crate) graveyard: mpsc::UnboundedSender<Retired>,
}

impl Shared {
    /// The time as of which cells are removed by age: the lower of the own and the master's, so that a clock that runs
    /// ahead removes nothing early.
    pub(crate) fn removal_time(&self) -> Micros {
        self.config.clock.now().min(Micros(self.master_time.load(Ordering::Acquire)))
    }
}

/// The last part of a budget, one of so many, is given out slowly.
const PACED_SHARE: usize = 4;
/// A writer's pause where the budget is all but used up: some pauses make a flush.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A number of bytes that may be held together.
#[derive(Debug)]
pub(crate) struct Budget {
    what: &'static str,
    limit: usize,
    used: AtomicUsize,
    freed: Notify,
}

impl Budget {
    pub(crate) fn new(what: &'static str, limit: usize) -> Self {
        Self { what, limit, used: AtomicUsize::new(0), freed: Notify::new() }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// How long a writer should pause before it takes more: the fuller, the longer, so that writers fall back to the pace
    /// of flushes before they are refused.
    pub(crate) fn pace(&self) -> Option<Duration> {
        let (used, from) = (self.used(), self.limit - self.limit / PACED_SHARE);
        let over = used.checked_sub(from).filter(|over| *over > 0)?;
        let share = (over as f64 / (self.limit - from).max(1) as f64).min(1.0);
        Some(LONGEST_PAUSE.mul_f64(share))
    }

    /// Takes `bytes` once less than the limit is held, so that one request of any size can pass; waits `patience` for it.
    ///
    /// # Errors
    /// `ResourceExhausted`.
    pub(crate) async fn admit(&self, bytes: usize, patience: Duration) -> Result<()> {
        if self.try_admit(bytes) {
            return Ok(());
        }
        let admitted = async {
            loop {
                let freed = self.freed.notified();
                if self.try_admit(bytes) {
                    return;
                }
                freed.await;
            }
        };
        tokio::time::timeout(patience, admitted).await.map_err(|_| {
            let text =
                format!("{} hold {} of {} bytes: the object store takes data slower than it comes", self.what, self.used(), self.limit);
            Error::exhausted(text, patience)
        })
    }

    fn try_admit(&self, bytes: usize) -> bool {
        let limit = self.limit;
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| (used < limit).then(|| used + bytes)).is_ok()
    }

    /// Takes `bytes`, whatever is held.
    pub(crate) fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(crate) fn release(&self, bytes: usize) {
        if bytes > 0 {
            // A count that is too low lets one write more in; one that wraps would stop them all.
            let lower = |used: usize| Some(used.saturating_sub(bytes));
            let _ = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, lower);
            self.freed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_quarter_of_a_budget_is_given_out_ever_more_slowly() {
        let budget = Budget::new("things", 1000);
        budget.take(750);
        assert_eq!(budget.pace(), None);
        budget.take(125);
        assert_eq!(budget.pace(), Some(LONGEST_PAUSE / 2));
        budget.take(1000);
        assert_eq!(budget.pace(), Some(LONGEST_PAUSE));
    }
}

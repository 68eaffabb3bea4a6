//! What the engine's maintenance asks of a tablet.

use super::inner::{Inner, Status};
use crate::sync::read;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Rounds between two looks at a tablet at rest: its slices grow by hours and days.
const LOOK_AGAIN: u64 = 12;

impl Inner {
    /// Bytes of the memtable that takes writes.
    pub(crate) fn active_bytes(&self) -> usize {
        self.state().active.bytes()
    }

    /// Whether a flush was begun that did not end.
    pub(crate) fn has_frozen(&self) -> bool {
        !self.state().frozen.is_empty()
    }

    /// The first log segment that its newest manifest needs.
    pub(crate) fn log_from(&self) -> u64 {
        self.log_from.load(Ordering::Acquire)
    }

    /// Whether a look for compactions that age alone makes due is worth while in this round. One that found nothing to do,
    /// with the same SSTables as now, is repeated only in every [`LOOK_AGAIN`]th round, different tablets in different ones:
    /// many tablets at rest cost little.
    pub(crate) fn may_have_aged(&self, round: u64) -> bool {
        let at_rest = self.at_rest.load(Ordering::Acquire) == self.shape();
        !self.state().sstables.is_empty() && (!at_rest || (round + self.id.0).is_multiple_of(LOOK_AGAIN))
    }

    /// Other SSTables, another number: names are counted up, and few of them are listed at once.
    pub(super) fn shape(&self) -> u64 {
        self.next_sstable.load(Ordering::Acquire) << 24 | self.state().sstables.len() as u64 & 0xff_ffff
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(*read(&self.status), Status::Ended(_))
    }

    /// Flushes, then compacts as the strategy chooses, unless that is being done. The next round retries what fails.
    pub(crate) fn maintain(self: &Arc<Self>) {
        if self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            let flushed = this.flush().await;
            this.busy.store(false, Ordering::Release);
            this.shared.wake.notify_one();
            match flushed {
                Ok(()) => this.compact_in_background(),
                Err(e) if !this.has_ended() => tracing::warn!(tablet = %this.id, error = %e, "a flush failed; it is tried again"),
                Err(_) => {}
            }
        });
    }
}

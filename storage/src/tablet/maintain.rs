//! What the engine's maintenance asks of a tablet.

use super::inner::{Inner, Status};
use crate::sync::read;
use std::sync::Arc;
use std::sync::atomic::Ordering;

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

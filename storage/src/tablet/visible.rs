//! The newest readable seq of a tablet.

use common::ids::Seq;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// See the module's page. What is numbered up to it is in the memtables of every state that is taken after it was read.
#[derive(Debug)]
pub(super) struct Visible {
    /// The same as in `changes`: readers take no lock.
    now: AtomicU64,
    changes: watch::Sender<Seq>,
}

impl Visible {
    pub(super) fn new(seq: Seq) -> Self {
        Self { now: AtomicU64::new(seq.0), changes: watch::Sender::new(seq) }
    }

    pub(super) fn get(&self) -> Seq {
        Seq(self.now.load(Ordering::Acquire))
    }

    /// Only under the queue's lock.
    pub(super) fn set(&self, seq: Seq) {
        self.now.store(seq.0, Ordering::Release);
        self.changes.send_replace(seq);
    }

    /// Wakes who waits for something else than a seq.
    pub(super) fn wake(&self) {
        self.changes.send_modify(|_| {});
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Seq> {
        self.changes.subscribe()
    }
}

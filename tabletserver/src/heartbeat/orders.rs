//! What a life has been told: the lease, the newest desired list, and how far reports were answered.

use crate::lease::Lease;
use crate::plan::Wanted;
use common::rpc::master::Orders;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Takes orders in, hands the desired list on.
#[derive(Debug)]
pub struct Mailbox {
    lease: Lease,
    /// Of the newest desired list taken.
    version: u64,
    fenced: bool,
    desired: watch::Sender<Option<Arc<Vec<Wanted>>>>,
    /// The newest report sent and the newest one answered.
    progress: watch::Sender<(u64, u64)>,
}

impl Mailbox {
    /// Hands desired lists to `desired` and counts reports in `progress`: (newest sent, newest answered).
    #[must_use]
    pub fn new(desired: watch::Sender<Option<Arc<Vec<Wanted>>>>, progress: watch::Sender<(u64, u64)>) -> Self {
        Self { lease: Lease::default(), version: 0, fenced: false, desired, progress }
    }

    /// Notes that a report is sent.
    pub fn sent(&mut self, sequence: u64, now: Duration) {
        self.lease.sent(sequence, now);
        self.progress.send_modify(|p| p.0 = sequence);
    }

    /// The version of the newest desired list that it has seen.
    #[must_use]
    pub fn order_version(&self) -> u64 {
        self.version
    }

    /// This life is over.
    pub fn fence(&mut self) {
        self.fenced = true;
    }

    /// Whether this life is over.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// Takes orders, unless they are older than ones already taken; when the lease ends from now on.
    pub fn take(&mut self, orders: Orders) -> Option<Duration> {
        if !self.lease.answered(orders.answers, Duration::from_millis(orders.lease_ms), (orders.term, orders.applied)) {
            tracing::debug!(term = orders.term, applied = orders.applied, "older orders are ignored");
            return None;
        }
        // Without a list the version says only that nothing changed; one we lack stays asked for by our reports.
        if let Some(desired) = orders.desired {
            self.version = orders.version;
            let wanted = desired.into_iter().map(Wanted::from).collect();
            self.desired.send_replace(Some(Arc::new(wanted)));
        }
        self.progress.send_modify(|p| p.1 = p.1.max(orders.answers));
        Some(self.lease.until())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(applied: u64, version: u64, list: bool) -> Orders {
        let desired = list.then(Vec::new);
        Orders { answers: 1, lease_ms: 2500, term: 1, applied, version, desired, fenced: false, others: false }
    }

    #[test]
    fn a_version_counts_only_with_its_list() {
        let (desired, seen) = watch::channel(None);
        let mut mailbox = Mailbox::new(desired, watch::channel((0, 0)).0);
        mailbox.sent(1, Duration::from_secs(1));
        assert_eq!(mailbox.take(orders(1, 3, false)), Some(Duration::from_millis(3500)));
        assert_eq!((mailbox.order_version(), seen.borrow().is_some()), (0, false));
        mailbox.take(orders(2, 4, true));
        assert_eq!((mailbox.order_version(), seen.borrow().is_some()), (4, true));
        assert_eq!(mailbox.take(orders(1, 9, true)), None, "older orders");
        assert_eq!(mailbox.order_version(), 4);
    }
}

//! The right to serve: granted by the leader's answers, measured on this server's own monotonic clock.
//!
//! A lease runs from the *send* time of the report that an answer names, so it ends here before the leader,
//! which counts from the report's arrival, can think so. Reads check it before they start and again before
//! each result is sent; data itself is protected by manifests and logs, not by leases.

use common::time::SharedClock;
use common::{Error, Result};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Reports whose send times are remembered; at two a second, far more than any lease.
const REMEMBERED: usize = 256;

/// What a server knows of its lease: pure, the caller gives the time.
#[derive(Debug, Default)]
pub struct Lease {
    /// Sequence and send time of unanswered reports, ascending.
    sent: VecDeque<(u64, Duration)>,
    /// Term and applied index of the newest orders; never falls.
    newest: (u64, u64),
    until: Duration,
}

impl Lease {
    /// Notes that report `sequence` is sent at `now`.
    pub fn sent(&mut self, sequence: u64, now: Duration) {
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((sequence, now));
    }

    /// Takes orders of (term, applied) `order` that answer report `answers` with a lease of `length`. Of two
    /// confirmed leases the longer one counts. `false`: the orders are older than ones already taken, so
    /// they come from a deposed leader and nothing in them counts.
    #[must_use]
    pub fn answered(&mut self, answers: u64, length: Duration, order: (u64, u64)) -> bool {
        if order < self.newest {
            return false;
        }
        self.newest = order;
        while let Some(&(sequence, at)) = self.sent.front().filter(|(s, _)| *s <= answers) {
            self.sent.pop_front();
            if sequence == answers {
                self.until = self.until.max(at + length);
            }
        }
        true
    }

    /// When it ends, on the clock that the send times were read from.
    #[must_use]
    pub fn until(&self) -> Duration {
        self.until
    }
}

/// The lease as requests check it: one atomic and a clock.
#[derive(Debug)]
pub struct LeaseGuard {
    clock: SharedClock,
    /// µs on the monotonic clock; 0: none.
    until: AtomicU64,
    /// This life is over: no later answer gives the lease back.
    revoked: AtomicBool,
}

impl LeaseGuard {
    /// No lease yet.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, until: AtomicU64::new(0), revoked: AtomicBool::new(false) }
    }

    /// The lease lasts until then.
    pub fn extend(&self, until: Duration) {
        let micros = u64::try_from(until.as_micros()).unwrap_or(u64::MAX);
        self.until.fetch_max(micros, Ordering::Release);
    }

    /// Ends it for good.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
    }

    /// Whether this server may serve now.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.revoked.load(Ordering::Acquire) && self.clock.monotonic().as_micros() < u128::from(self.until.load(Ordering::Acquire))
    }

    /// Passes while the lease holds.
    ///
    /// # Errors
    /// `NotMine`.
    pub fn check(&self) -> Result<()> {
        if self.holds() { Ok(()) } else { Err(Error::not_mine("this tablet server has no lease now: ask again, or its successor")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::time::{Clock, ManualClock, Micros};

    const LEASE: Duration = Duration::from_millis(2500);
    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_lease_runs_from_the_send_time_of_the_answered_report() {
        let mut lease = Lease::default();
        lease.sent(1, at(100));
        lease.sent(2, at(600));
        assert!(lease.answered(1, LEASE, (1, 1)));
        assert_eq!(lease.until(), at(2600));
        assert!(lease.answered(2, LEASE, (1, 1)));
        assert_eq!(lease.until(), at(3100));
    }

    #[test]
    fn the_longest_confirmed_lease_counts() {
        let mut lease = Lease::default();
        lease.sent(1, at(100));
        assert!(lease.answered(1, LEASE, (1, 1)));
        lease.sent(2, at(200));
        assert!(lease.answered(2, at(10), (1, 2)));
        assert_eq!(lease.until(), at(2600));
    }

    #[test]
    fn orders_of_a_deposed_leader_are_ignored() {
        let mut lease = Lease::default();
        lease.sent(1, at(100));
        lease.sent(2, at(200));
        assert!(lease.answered(1, LEASE, (2, 7)));
        for older in [(1, 9), (2, 6)] {
            assert!(!lease.answered(2, LEASE, older), "{older:?}");
        }
        assert_eq!(lease.until(), at(2600));
        assert!(lease.answered(2, LEASE, (3, 0)));
        assert_eq!(lease.until(), at(2700));
    }

    #[test]
    fn an_answer_to_an_unknown_report_extends_nothing() {
        let mut lease = Lease::default();
        lease.sent(5, at(100));
        assert!(lease.answered(4, LEASE, (1, 1)));
        assert_eq!(lease.until(), Duration::ZERO);
        assert!(lease.answered(9, LEASE, (1, 1)));
        assert_eq!(lease.until(), Duration::ZERO, "9 was never sent");
    }

    #[test]
    fn a_guard_holds_until_the_lease_ends_and_never_shrinks() {
        let clock = ManualClock::at(Micros(1_000_000));
        let guard = LeaseGuard::new(clock.clone());
        assert!(!guard.holds());
        guard.extend(clock.monotonic() + LEASE);
        guard.extend(clock.monotonic());
        assert!(guard.holds());
        clock.advance(LEASE - Duration::from_micros(1));
        assert!(guard.check().is_ok());
        clock.advance(Duration::from_micros(1));
        assert_eq!(guard.check().unwrap_err().kind, common::ErrorKind::NotMine);
        guard.revoke();
        guard.extend(clock.monotonic() + LEASE);
        assert!(!guard.holds(), "a revoked lease never comes back");
    }
}

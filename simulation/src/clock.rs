//! Virtual time as a role's clock.

use common::time::{Clock, Micros, SharedClock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Where wall clocks stand when a simulation begins, in seconds since the Unix epoch.
pub const BEGIN: u64 = 1_800_000_000;

/// The simulation's time; a host's wall clock is wrong by some time.
#[derive(Debug)]
pub struct SimClock {
    skew: Duration,
    /// The newest time seen, for who asks while no host runs.
    last: AtomicU64,
}

impl SimClock {
    /// A clock whose wall time is ahead by `skew`.
    #[must_use]
    pub fn ahead(skew: Duration) -> SharedClock {
        Arc::new(Self { skew, last: AtomicU64::new(0) })
    }
}

impl Clock for SimClock {
    fn now(&self) -> Micros {
        Micros::default().after(Duration::from_secs(BEGIN) + self.monotonic() + self.skew)
    }

    fn monotonic(&self) -> Duration {
        let now = turmoil::sim_elapsed().map_or(0, |t| t.as_micros() as u64);
        Duration::from_micros(self.last.fetch_max(now, Ordering::Relaxed).max(now))
    }
}

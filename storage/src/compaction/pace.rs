//! How fast compactions may go, over all of an engine: a token bucket of bytes of merged rows.

use crate::sync::lock;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// See the module's page. Bytes are those of rows before encoding, which bounds what is read, written and computed.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: f64,
    burst: f64,
    /// Bytes that may be spent now, below 0 if they were spent in advance, and as of when. Held for arithmetic only.
    left: Mutex<(f64, Option<Instant>)>,
}

impl Pace {
    /// So many bytes a second, and at most `burst` at once after a pause.
    pub(crate) fn new(bytes_per_second: u64, burst: u64) -> Self {
        let (bytes_per_second, burst) = (bytes_per_second.max(1) as f64, burst as f64);
        Self { bytes_per_second, burst, left: Mutex::new((burst, None)) }
    }

    /// Spends bytes, after a wait if too many were spent before.
    pub(crate) async fn spend(&self, bytes: usize) {
        match self.take(bytes, Instant::now()) {
            Duration::ZERO => tokio::task::yield_now().await,
            wait => tokio::time::sleep(wait).await,
        }
    }

    fn take(&self, bytes: usize, now: Instant) -> Duration {
        let mut guard = lock(&self.left);
        let (left, since) = *guard;
        let earned = since.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64() * self.bytes_per_second);
        let left = (left + earned).min(self.burst) - bytes as f64;
        *guard = (left, Some(now));
        if left >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64((-left / self.bytes_per_second).min(3600.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_the_rest_takes_its_time() {
        let pace = Pace::new(1000, 500);
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        assert_eq!(pace.take(400, at(0)), Duration::ZERO);
        assert_eq!(pace.take(300, at(0)), Duration::from_millis(200));
        assert_eq!(pace.take(100, at(100)), Duration::from_millis(200));
        assert_eq!(pace.take(0, at(300)), Duration::ZERO);
        assert_eq!(pace.take(1500, at(60_000)), Duration::from_secs(1), "a pause earns no more than the burst");
    }
}

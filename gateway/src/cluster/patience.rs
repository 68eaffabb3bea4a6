use std::time::Duration;
use tokio::time::{Instant, timeout_at};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Where a new leader is looked for: those who ask are few, and an election is over in seconds.
const LONGEST_FOR_MASTERS: Duration = Duration::from_millis(200);

/// How long, and how often, something is tried again: pauses double up to a longest one until the time is over. They are of random
/// lengths around that, so that those who failed together do not come back together.
#[derive(Debug)]
pub(super) struct Patience {
    until: Instant,
    pause: Duration,
    longest: Duration,
}

impl Patience {
    pub(super) fn of(time: Duration) -> Self {
        Self { until: Instant::now() + time, pause: FIRST_PAUSE, longest: LONGEST_PAUSE }
    }

    /// The same with shorter pauses, for calls to masters.
    pub(super) fn with_masters(self) -> Self {
        Self { longest: LONGEST_FOR_MASTERS, ..self }
    }

    /// Never over, for those who have nothing better to do.
    pub(super) fn endless() -> Self {
        Self::of(Duration::from_secs(365 * 24 * 3600))
    }

    /// Waits before another try, until `sooner` at the latest; false if the time is over.
    pub(super) async fn wait(&mut self, at_least: Option<Duration>, sooner: impl Future<Output = ()>) -> bool {
        let now = Instant::now();
        if now >= self.until {
            return false;
        }
        let at_least = at_least.unwrap_or_default().mul_f64(rand::random_range(1.0..1.25));
        let pause = self.pause.mul_f64(rand::random_range(0.5..1.5)).max(at_least);
        self.pause = (self.pause * 2).min(self.longest);
        // That `sooner` did not happen is as good a reason to go on.
        let _ = timeout_at((now + pause).min(self.until), sooner).await;
        true
    }

    pub(super) async fn pause(&mut self, at_least: Option<Duration>) -> bool {
        self.wait(at_least, std::future::pending()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_up_to_the_longest() {
        for (mut patience, longest) in [(Patience::endless(), LONGEST_PAUSE), (Patience::endless().with_masters(), LONGEST_FOR_MASTERS)] {
            for n in 0..20 {
                let begun = Instant::now();
                assert!(patience.pause(None).await);
                let pause = begun.elapsed();
                assert!(pause < longest * 2 && (n < 10 || pause >= longest / 2), "pause {n}: {pause:?}");
            }
        }
    }
}

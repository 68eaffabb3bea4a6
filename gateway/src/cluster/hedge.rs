//! A read that is slow is sent a second time, and the first answer counts: it costs some work more, and saves the wait for a
//! connection that is stuck or a store's rare slow answer. Off unless configured.

use common::Result;
use futures::future::{Either, select};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// One read in so many may be sent twice, so that a tablet server that is slow because it has too much to do is not given
/// twice as much.
const READS_A_HEDGE: u32 = 10;
/// Hedges that may be saved up.
const SAVED: u32 = 10;

/// When reads are sent twice.
#[derive(Debug)]
pub(super) struct Hedge {
    /// `None`: never.
    after: Option<Duration>,
    /// Reads not yet used for a hedge.
    reads: AtomicU32,
}

impl Hedge {
    pub(super) fn new(after: Option<Duration>) -> Self {
        Self { after, reads: AtomicU32::new(READS_A_HEDGE * SAVED) }
    }

    /// What `first` gives, or `second` if that is begun and is sooner. One that fails leaves it to the other.
    pub(super) async fn read<T, F>(&self, first: impl Future<Output = Result<T>>, second: impl FnOnce() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let Some(after) = self.after else { return first.await };
        let mut first = pin!(first);
        if let Ok(done) = tokio::time::timeout(after, &mut first).await {
            self.count();
            return done;
        }
        if !self.take() {
            return first.await;
        }
        match select(first, pin!(second())).await {
            Either::Left((Err(_), second)) => second.await,
            Either::Right((Err(_), first)) => first.await,
            Either::Left((done, _)) | Either::Right((done, _)) => done,
        }
    }

    fn count(&self) {
        let more = |reads: u32| (reads < READS_A_HEDGE * SAVED).then(|| reads + 1);
        // At the most already.
        let _ = self.reads.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    fn take(&self) -> bool {
        let less = |reads: u32| reads.checked_sub(READS_A_HEDGE);
        self.reads.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::Error;
    use std::future::{pending, ready};

    async fn failing() -> Result<u8> {
        Err(Error::unavailable("lost"))
    }

    #[tokio::test]
    async fn the_first_answer_counts_and_a_failure_does_not() {
        let hedge = Hedge::new(Some(Duration::ZERO));
        assert_eq!(hedge.read(pending(), || ready(Ok(2))).await, Ok(2));
        let late = async {
            tokio::task::yield_now().await;
            Ok(1)
        };
        assert_eq!(hedge.read(late, failing).await, Ok(1));
        assert_eq!(Hedge::new(None).read(failing(), || ready(Ok(2))).await, failing().await);
    }

    #[tokio::test]
    async fn hedges_are_few() {
        let hedge = Hedge::new(Some(Duration::ZERO));
        let begun = (0..100).filter(|_| hedge.take()).count();
        assert_eq!(begun, SAVED as usize);
        for _ in 0..READS_A_HEDGE {
            assert_eq!(hedge.read(ready(Ok(1)), || ready(Ok(2))).await, Ok(1));
        }
        assert!(hedge.take() && !hedge.take());
    }
}

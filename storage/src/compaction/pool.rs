//! Threads for flushes and compactions: merging takes processor time in long stretches, and must not hold up the
//! threads that serve reads and writes. The system shares processors between both.

use common::threads::{self, Threads};
use common::{Error, Result};
use std::future::Future;
use tokio::task::JoinHandle;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Pool {
    pool: threads::Pool,
}

impl Pool {
    /// # Errors
    /// `Unavailable` if the system gives no more threads.
    pub(crate) fn new(threads: Threads, count: usize) -> Result<Self> {
        Ok(Self { pool: threads::Pool::new(threads, "stele-merge", count)? })
    }

    /// Runs `work` on the pool, whoever waits for it.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.pool.spawn(work));
    }

    /// Runs `work` on the pool; it ends with the caller.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let mut task = Abort(self.pool.spawn(work));
        match (&mut task.0).await {
            Ok(done) => done,
            Err(e) if e.is_cancelled() => Err(Error::unavailable("the engine is shutting down")),
            Err(e) => Err(Error::internal(format!("a merge ended early: {e}"))),
        }
    }
}

struct Abort<T>(JoinHandle<T>);

impl<T> Drop for Abort<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

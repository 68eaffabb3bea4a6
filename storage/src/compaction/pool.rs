//! Threads for flushes and compactions: merging takes processor time in long stretches, and must not hold up the
//! threads that serve reads and writes. The system shares processors between both.

use common::{Error, Result};
use std::future::Future;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// A runtime of its own.
#[derive(Debug)]
pub(crate) struct Pool {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Pool {
    /// # Errors
    /// `Unavailable` if the system gives no more threads.
    pub(crate) fn new(threads: usize) -> Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads.max(1)).thread_name("stele-merge").enable_all().build();
        let runtime = runtime.map_err(|e| Error::unavailable(format!("cannot start {threads} threads for compaction: {e}")))?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs `work` on the pool, whoever waits for it.
    ///
    /// # Errors
    /// `Unavailable` while the engine ends.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let Some(runtime) = &self.runtime else { return Err(Error::unavailable("the engine is shutting down")) };
        drop(runtime.spawn(work));
        Ok(())
    }

    /// Runs `work` on the pool; it ends with the caller.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let Some(runtime) = &self.runtime else { return Err(Error::unavailable("the engine is shutting down")) };
        let mut task = Abort(runtime.spawn(work));
        match (&mut task.0).await {
            Ok(done) => done,
            Err(e) if e.is_cancelled() => Err(Error::unavailable("the engine is shutting down")),
            Err(e) => Err(Error::internal(format!("a merge ended early: {e}"))),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The last owner may be a task, where nothing may be waited for.
            runtime.shutdown_background();
        }
    }
}

struct Abort<T>(JoinHandle<T>);

impl<T> Drop for Abort<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

//! Threads of their own for scans and change scans, so that they cannot starve point reads and writes.

use common::{Error, Result};
use std::future::Future;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A small runtime and the permits to make a batch on it.
///
/// A permit is held while one batch is made and never while it waits to be sent: a query that reads one of
/// its streams only after another must not keep the other from going on.
#[derive(Debug)]
pub struct ScanPool {
    /// `Some` until dropped.
    runtime: Option<Runtime>,
    permits: Arc<Semaphore>,
}

/// The right to make one batch.
#[derive(Clone, Debug)]
pub struct Permits(Arc<Semaphore>);

impl Permits {
    /// Waits for its turn.
    ///
    /// # Errors
    /// `Unavailable` once the server ends.
    pub async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        self.0.acquire().await.map_err(|_| Error::unavailable("the tablet server is ending"))
    }
}

impl ScanPool {
    /// Half of the machine's threads, at least two; twice as many batches at once, for some of them wait for the store.
    ///
    /// # Errors
    /// `Unavailable` if the threads cannot be made.
    pub fn new() -> Result<Self> {
        let threads = std::thread::available_parallelism().map_or(2, |n| (n.get() / 2).max(2));
        let runtime = Builder::new_multi_thread().worker_threads(threads).thread_name("scan").enable_all().build();
        let runtime = runtime.map_err(|e| Error::unavailable(format!("cannot make {threads} scan threads: {e}")))?;
        Ok(Self { runtime: Some(runtime), permits: Arc::new(Semaphore::new(threads * 2)) })
    }

    /// Its permits.
    #[must_use]
    pub fn permits(&self) -> Permits {
        Permits(self.permits.clone())
    }

    /// Runs `work` on its threads.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(work);
        }
    }
}

impl Drop for ScanPool {
    fn drop(&mut self) {
        self.permits.close();
        if let Some(runtime) = self.runtime.take() {
            // Dropping a runtime waits, which the thread of another runtime must not.
            runtime.shutdown_background();
        }
    }
}

//! Threads of their own for scans and change scans, so that they cannot starve point reads and writes.

use common::threads::{Pool, Threads};
use common::{Error, Result};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Threads and the permits to make a batch on them.
///
/// A permit is held while one batch is made and never while it waits to be sent: a query that reads one of
/// its streams only after another must not keep the other from going on.
#[derive(Debug)]
pub struct ScanPool {
    pool: Pool,
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
    pub fn new(threads: Threads) -> Result<Self> {
        let count = threads.half(2);
        Ok(Self { pool: Pool::new(threads, "scan", count)?, permits: Arc::new(Semaphore::new(count * 2)) })
    }

    /// Its permits.
    #[must_use]
    pub fn permits(&self) -> Permits {
        Permits(self.permits.clone())
    }

    /// Runs `work` on its threads.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.pool.spawn(work));
    }
}

impl Drop for ScanPool {
    fn drop(&mut self) {
        self.permits.close();
    }
}

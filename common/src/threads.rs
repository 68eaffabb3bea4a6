//! Where work runs that would hold up others.
//!
//! A process gives such work threads of its own. A simulation has one thread, and so one order in which things happen.

use crate::{Error, Result};
use std::future::Future;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Whose threads are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// What takes a processor for long, or must not wait for one, has threads of its own.
    #[default]
    Own,
    /// Everything runs on the runtime that starts it.
    Callers,
}

impl Threads {
    /// Half of the machine's processors, at least so many; on the caller's threads so many, whatever the machine.
    #[must_use]
    pub fn half(self, at_least: usize) -> usize {
        match self {
            Self::Own => std::thread::available_parallelism().map_or(at_least, |n| (n.get() / 2).max(at_least)),
            Self::Callers => at_least,
        }
    }
}

/// Threads for work of one kind. Dropped, work on threads of its own ends at its next pause.
#[derive(Debug)]
pub struct Pool {
    /// `None` on the caller's threads, and while it is dropped.
    runtime: Option<Runtime>,
}

impl Pool {
    /// A pool of `count` threads, at least one, called `name`; `threads` may say that it has none.
    ///
    /// # Errors
    /// `Unavailable` if the system gives no more threads.
    pub fn new(threads: Threads, name: &str, count: usize) -> Result<Self> {
        if threads == Threads::Callers {
            return Ok(Self { runtime: None });
        }
        let count = count.max(1);
        let runtime = Builder::new_multi_thread().worker_threads(count).thread_name(name).enable_all().build();
        let runtime = runtime.map_err(|e| Error::unavailable(format!("cannot start {count} threads for '{name}': {e}")))?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs `work`, whoever waits for it. Must be called on a runtime.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        match &self.runtime {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::{ThreadId, current};

    #[tokio::test]
    async fn work_runs_where_it_was_said() {
        let on = async |threads| -> ThreadId {
            let pool = Pool::new(threads, "test", 1).unwrap();
            pool.spawn(async { current().id() }).await.unwrap()
        };
        assert_eq!(on(Threads::Callers).await, current().id());
        assert_ne!(on(Threads::Own).await, current().id());
    }
}

use super::start::Running;
use crate::raft::Disk;
use common::config::MasterConfig;
use common::surroundings::Surroundings;
use common::time::SharedClock;
use common::{Error, Result};
use std::net::SocketAddr;
use tokio::runtime::{Builder, Runtime};

/// The master does little, but its answers keep leases alive.
const THREADS: usize = 2;

/// A running master node, on threads of its own: in one process with busy queries, leases and commands must
/// not wait for a free worker.
pub struct Master {
    running: Running,
    threads: Threads,
}

/// A runtime that may be dropped anywhere.
struct Threads(Option<Runtime>);

impl Master {
    /// Starts the node on the operating system's network: founds the cluster on an empty data folder and object store,
    /// joins the cluster of `config.masters` with an empty folder, else takes up what the folder holds. A node that is the
    /// only voter leads and has applied all that was committed when this returns; another one goes on joining, and looking
    /// for the leader, by itself.
    ///
    /// # Errors
    /// `FailedPrecondition` if the folder is in use, old, or belongs to another cluster than the object store, or the
    /// store ignores create-if-absent; `Unavailable` if the address or the store cannot be had; `Corrupt`.
    pub async fn start(config: MasterConfig, clock: SharedClock) -> Result<Self> {
        let threads = Threads::start()?;
        let running = threads.run(async move {
            let disk = Disk::open(&config.data_dir)?;
            Running::start(config, disk, Surroundings::machine(clock)).await
        });
        let running = running.await?;
        Ok(Self { running, threads })
    }

    /// Where the RPC listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.running.address
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.running.cluster
    }

    /// Returns once Raft has stopped by itself, because its disk failed or it met a state that must not be.
    /// The process should then end and be started again.
    pub async fn failed(&self) -> Error {
        self.running.failed().await
    }

    /// Ends the streams, lets calls under way finish, copies the state and gives the data folder free.
    ///
    /// # Errors
    /// `Internal` if a part has panicked.
    pub async fn shutdown(self) -> Result<()> {
        self.threads.run(self.running.shutdown()).await
    }
}

impl Threads {
    fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).thread_name("master").enable_all().build();
        Ok(Self(Some(runtime.map_err(|e| Error::unavailable(format!("cannot start the master's threads: {e}")))?)))
    }

    async fn run<T: Send + 'static>(&self, what: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let runtime = self.0.as_ref().ok_or_else(|| Error::internal("the master's threads have ended"))?;
        runtime.spawn(what).await.map_err(|e| Error::internal(format!("a part of the master has panicked: {e}")))?
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

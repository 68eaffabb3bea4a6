//! The runner: keeps derived tables equal to their SQL over their inputs.
//!
//! Everything durable about a derived table is in the catalog and in the table itself; a runner can be stopped at any
//! moment and another one, or several at once, go on. Parts, one way: `query`, `stored`, `records`, `staging`, `failures`,
//! `work` → `difference`, `merge`, `narrow` → `parts`, `base` → `unique`, `changes`, `claims`, `touched` → `appended` → `keys`, `leads` →
//! `compute` (`rehearsal`: without a cluster), `execute`, `compiled`, `looks` → `facts` → `status` → `scheduler`, `outbox`, `seeds` → `apply` →
//! [`Runner`] → `api`.

pub mod api;
mod appended;
mod apply;
mod base;
mod changes;
mod claims;
mod compiled;
mod compute;
mod difference;
mod environments;
mod execute;
mod facts;
mod failures;
mod keys;
mod leads;
mod looks;
mod merge;
mod narrow;
mod outbox;
mod parts;
mod promotion;
mod query;
mod records;
pub mod rehearsal;
mod scheduler;
mod seeds;
mod staging;
mod status;
mod stored;
#[cfg(test)]
mod tests;
mod touched;
mod unique;
mod verify;
mod work;

pub use status::{FailureStatus, RunStatus, RunningStatus, Status, TableStatus, WaitStatus};

use crate::cluster::Cluster;
use crate::sql::Sql;
use claims::Claims;
use common::ids::TableId;
use execute::Executor;
use scheduler::{Scheduler, Shared};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// How often run records are looked for where the catalog does not change.
const DRAIN: Duration = Duration::from_secs(1);

/// The runner of one gateway. Dropped, it stops at once; what it was doing is abandoned.
pub struct Runner {
    cluster: Arc<Cluster>,
    shared: Arc<Shared>,
    claims: Arc<Claims>,
    /// A plain lock, held only to take them out.
    tasks: Mutex<Vec<AbortOnDropHandle<()>>>,
}

impl Runner {
    /// Starts running derived tables under this name.
    #[must_use]
    pub fn start(cluster: Arc<Cluster>, sql: Arc<Sql>, name: String) -> Arc<Self> {
        let (shared, claims) = (Shared::new(), Claims::new(cluster.clone()));
        let executor = Arc::new(Executor { cluster: cluster.clone(), sql, claims: claims.clone(), name });
        let scheduler = Scheduler::new(executor, shared.clone());
        let tasks = vec![
            AbortOnDropHandle::new(tokio::spawn(scheduler.run())),
            AbortOnDropHandle::new(tokio::spawn(claims.clone().keep())),
            AbortOnDropHandle::new(tokio::spawn(drain(cluster.clone()))),
        ];
        Arc::new(Self { cluster, shared, claims, tasks: Mutex::new(tasks) })
    }

    /// Stops at once and gives back what it had claimed, so that the next runner need not wait for it.
    pub async fn stop(&self) {
        let claims = self.claims.live();
        drop(std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner)));
        self.claims.end(claims).await;
    }

    /// What the last tick saw.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        Arc::new(self.shared.seen.borrow().status())
    }

    /// Waits until every change that is visible now has been followed up by everything that reads it, or nothing goes on
    /// by itself any more, or the time is over; then the status, in which nothing is fresh that has not seen those changes.
    pub async fn settled(&self, wait: Duration) -> Arc<Status> {
        let (asked, mut seen) = (self.cluster.clock().monotonic(), self.shared.seen.subscribe());
        self.shared.wake.notify_one();
        let settled = seen.wait_for(|s| s.as_of >= asked && s.settled());
        // Out of time or not, the newest status says how things are.
        let _ = tokio::time::timeout(wait, settled).await.map(|r| r.map(drop));
        let status = self.status();
        if status.as_of >= asked { status } else { Arc::new(status.outdated(&self.cluster.catalog())) }
    }

    /// Tries failed windows of a table again at once.
    pub fn resume(&self, table: TableId) {
        self.shared.failures(|f| f.resume(table));
        self.shared.decide_all();
        self.shared.wake.notify_one();
    }
}

/// Moves run records into `system.runs` until it is dropped.
async fn drain(cluster: Arc<Cluster>) {
    loop {
        let version = cluster.catalog().version;
        if let Err(e) = outbox::drain(&cluster).await {
            tracing::debug!(error = %e, "run records wait");
            tokio::time::sleep(DRAIN).await;
        }
        // A timeout here is only a reason to look again.
        let _ = tokio::time::timeout(DRAIN, cluster.catalog_after(version)).await;
    }
}

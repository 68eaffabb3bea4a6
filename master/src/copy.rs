//! The copy of the state in the object store, from which a lost master is rebuilt: `cluster/raft/{n:020}`,
//! each version the whole state at one Raft index (snapshot and committed tail in one).
//!
//! A copy is put at most [`COPY_EVERY`] after a change, and at once for whoever waits in [`Copier::wait`].

use crate::raft::Applied;
use crate::timing::COPY_EVERY;
use common::register::Register;
use common::store::SharedStore;
use common::{Error, Result};
use object_store::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A waiter is told after this long that the copy is not made; the change itself stays committed.
const WAIT: Duration = Duration::from_secs(20);
/// Pause after a failed put.
const RETRY: Duration = Duration::from_secs(1);
/// Puts between deletions of old versions, which list.
const TRIM_EVERY: u64 = 16;

/// The handle of whoever waits for a copy.
#[derive(Clone, Debug)]
pub struct Copier {
    wanted: watch::Sender<u64>,
    copied: watch::Receiver<u64>,
}

/// The task that copies.
#[derive(Debug)]
pub struct CopyTask {
    register: Register,
    applied: watch::Receiver<Arc<Applied>>,
    wanted: watch::Receiver<u64>,
    copied: watch::Sender<u64>,
    /// The version that the next put creates.
    next: u64,
}

/// Finds the newest copy and makes a copier that goes on from it. Whoever leads has all that was ever
/// committed, so a copy that is ahead says that the data folder is an old one.
///
/// # Errors
/// `Unavailable`, `Corrupt` for a damaged copy, `FailedPrecondition` for one that is ahead.
pub async fn open(store: SharedStore, applied: watch::Receiver<Arc<Applied>>) -> Result<(Copier, CopyTask)> {
    let register = Register::new(store, Path::from("cluster/raft"));
    let newest = register.newest().await?;
    let next = newest.as_ref().map_or(1, |newest| newest.number + 1);
    let done = newest.map(|newest| Applied::decode(&newest.content)).transpose()?.map_or(0, |copy| copy.index());
    let here = applied.borrow().index();
    if done > here {
        return Err(Error::refused(format!(
            "the object store has a copy of the cluster's state at entry {done}, this data folder ends at {here}: it is an old copy of \
             the folder; bring the newest one back"
        )));
    }
    let (wanted, want_seen) = watch::channel(0);
    let (copied, copy_seen) = watch::channel(done);
    Ok((Copier { wanted, copied: copy_seen }, CopyTask { register, applied, wanted: want_seen, copied, next }))
}

impl Copier {
    /// Returns once the state at `index` or a later one is in the object store.
    ///
    /// # Errors
    /// `Unavailable` after a while without.
    pub async fn wait(&self, index: u64) -> Result<()> {
        self.wanted.send_if_modified(|wanted| {
            let more = *wanted < index;
            *wanted = index.max(*wanted);
            more
        });
        let mut copied = self.copied.clone();
        let waited = tokio::time::timeout(WAIT, copied.wait_for(|done| *done >= index)).await;
        if matches!(waited, Ok(Ok(_))) {
            return Ok(());
        }
        Err(Error::unavailable("the change is committed but not yet copied to the object store, which does not answer: repeat the command"))
    }
}

impl CopyTask {
    /// Copies until `stop`, and once more then if something has changed.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let stopped = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                () = self.due() => false,
            };
            if let Err(e) = self.copy().await {
                tracing::warn!(error = %e, "the state is not copied to the object store");
                let _ = tokio::time::timeout(RETRY, stop.wait_for(|stop| *stop)).await;
            }
            if stopped {
                return;
            }
        }
    }

    /// Returns when a copy is wanted at once, or a change has waited long enough.
    async fn due(&mut self) {
        let copied = *self.copied.borrow();
        let waited_for = self.wanted.wait_for(|wanted| *wanted > copied);
        let changed_long_ago = async {
            let _ = self.applied.wait_for(|applied| applied.index() > copied).await;
            tokio::time::sleep(COPY_EVERY).await;
        };
        tokio::select! {
            _ = waited_for => {}
            () = changed_long_ago => {}
        }
    }

    async fn copy(&mut self) -> Result<()> {
        let applied = self.applied.borrow().clone();
        if applied.index() <= *self.copied.borrow() {
            return Ok(());
        }
        let term = applied.last.map_or(0, |id| id.leader_id.term);
        while !self.register.put(self.next, term, &applied.encode()?).await? {
            let newest = self.register.newest().await?;
            if newest.as_ref().is_some_and(|n| n.epoch > term) {
                return Err(Error::fenced(format!("a master of a later term than {term} copies to this object store")));
            }
            self.next = newest.map_or(1, |n| n.number + 1);
        }
        self.next += 1;
        self.copied.send_replace(applied.index());
        if self.next.is_multiple_of(TRIM_EVERY) {
            self.register.trim(self.next - 1).await?;
        }
        Ok(())
    }
}

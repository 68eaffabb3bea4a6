//! The copy of the state in the object store, from which a lost master is rebuilt: `cluster/raft/{n:020}`,
//! each version the whole state at one Raft index (snapshot and committed tail in one).
//!
//! A copy is put at most [`COPY_EVERY`] after a change, and at once for whoever waits in [`Copier::wait`].

use crate::raft::{Applied, NodeId, Raft};
use crate::state::FAR;
use crate::timing::COPY_EVERY;
use common::register::Register;
use common::store::SharedStore;
use common::{Error, ErrorKind, Result};
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

/// The task that copies, while its node leads.
pub struct CopyTask {
    register: Register,
    raft: Raft,
    id: NodeId,
    /// The term that `next` and what was copied are known for.
    term: Option<u64>,
    applied: watch::Receiver<Arc<Applied>>,
    wanted: watch::Receiver<u64>,
    copied: watch::Sender<u64>,
    /// Says that another group has gone on from a copy: this one's time is over.
    over: watch::Sender<Option<Error>>,
    /// The version that the next put creates.
    next: u64,
}

/// The copies.
pub(crate) fn register(store: SharedStore) -> Register {
    Register::new(store, Path::from("cluster/raft"))
}

/// A copier of this node's state. A node that is `alone` has all that was ever committed, so a copy that is ahead of it says
/// that the data folder is an old one.
///
/// # Errors
/// `Unavailable`, `Corrupt` for a damaged copy, `FailedPrecondition` for one that is ahead.
pub async fn open(
    store: SharedStore,
    raft: Raft,
    id: NodeId,
    applied: watch::Receiver<Arc<Applied>>,
    alone: bool,
) -> Result<(Copier, CopyTask)> {
    let register = register(store);
    let (next, done, _) = newest(&register).await?;
    let here = applied.borrow().index();
    if alone && done > here {
        return Err(Error::refused(format!(
            "the object store has a copy of the cluster's state at entry {done}, this data folder ends at {here}: it is an old copy of \
             the folder; bring the newest one back"
        )));
    }
    let (wanted, want_seen) = watch::channel(0);
    let (copied, copy_seen) = watch::channel(done);
    let over = watch::Sender::new(None);
    Ok((Copier { wanted, copied: copy_seen }, CopyTask { register, raft, id, term: None, applied, wanted: want_seen, copied, over, next }))
}

/// The version that the next put creates, the entry that the newest copy ends with, and the term that it was put in.
async fn newest(register: &Register) -> Result<(u64, u64, u64)> {
    let newest = register.newest().await?;
    let (next, epoch) = newest.as_ref().map_or((1, 0), |newest| (newest.number + 1, newest.epoch));
    let done = newest.map(|newest| Applied::decode(&newest.content)).transpose()?.map_or(0, |copy| copy.index());
    Ok((next, done, epoch))
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
    /// Why this group of masters must end, once it must.
    #[must_use]
    pub fn watch_over(&self) -> watch::Receiver<Option<Error>> {
        self.over.subscribe()
    }

    /// Copies until `stop`, and once more then if something has changed.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let stopped = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                () = self.due() => false,
            };
            if let Err(e) = self.copy().await {
                if e.kind == ErrorKind::Fenced {
                    tracing::error!(error = %e, "this group of masters has been replaced");
                    self.over.send_replace(Some(e));
                    return;
                }
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
        let Some(term) = self.leads_in() else {
            // Whoever leads copies; this node looks again now and then.
            self.term = None;
            tokio::time::sleep(RETRY).await;
            return Ok(());
        };
        if self.term != Some(term) {
            self.take_over(term).await?;
            self.term = Some(term);
        }
        let applied = self.applied.borrow().clone();
        while applied.index() > *self.copied.borrow() {
            if self.register.put(self.next, term, &applied.encode()?).await? {
                self.next += 1;
                self.copied.send_replace(applied.index());
                if self.next.is_multiple_of(TRIM_EVERY) {
                    self.register.trim(self.next - 1).await?;
                }
                return Ok(());
            }
            // A put of an earlier leader: what it holds may be older than this state, but never is the copy to go back.
            self.take_over(term).await?;
        }
        Ok(())
    }

    /// Goes on from the newest copy, whoever has put it, unless that was a master of a later term.
    async fn take_over(&mut self, term: u64) -> Result<()> {
        let (next, done, epoch) = newest(&self.register).await?;
        if epoch >= term.saturating_add(FAR / 2) {
            return Err(Error::fenced(format!(
                "the cluster's state was restored from its copy, in term {epoch}; this group's term {term} is over: end it, and let new \
                 masters join the restored one"
            )));
        }
        if epoch > term {
            return Err(Error::unavailable(format!("a master of a later term than {term} copies to this object store")));
        }
        self.next = next;
        self.copied.send_replace(done);
        Ok(())
    }

    fn leads_in(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        (metrics.current_leader == Some(self.id)).then_some(metrics.current_term)
    }
}

//! Logs of earlier incarnations of this server: each is read once for all its tablets, and deleted when no manifest
//! names it any more.

use crate::format::{LogName, LogRecord, NO_SEGMENT};
use crate::log::{TabletRecords, incarnations, read_log, remove_log};
use crate::manifest::ManifestStore;
use crate::shared::Shared;
use crate::sync::lock;
use crate::tablet::LogSource;
use common::ids::{Epoch, TabletId};
use common::store::SharedStore;
use common::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::OnceCell;

#[derive(Debug)]
struct DeadLog {
    oldest: u64,
    records: TabletRecords,
}

type Cell = Arc<OnceCell<Arc<DeadLog>>>;

/// See the module's page.
#[derive(Debug)]
pub(super) struct DeadLogs {
    own: LogName,
    log_dir: PathBuf,
    store: SharedStore,
    /// Dead logs that still exist. Held for map operations only.
    logs: Mutex<HashMap<LogName, Cell>>,
    /// Whether a manifest may have ceased to name a dead log since the last sweep.
    due: AtomicBool,
}

impl DeadLogs {
    pub(super) fn new(shared: &Shared) -> Self {
        let (own, log_dir) = (shared.log.name(), shared.config.log_dir.clone());
        let found = incarnations(&log_dir, own).unwrap_or_else(|e| {
            tracing::warn!(error = %e, "earlier logs of this server are not found");
            Vec::new()
        });
        let logs = found.into_iter().map(|log| (log, Cell::default())).collect();
        Self { own, log_dir, store: shared.config.store.clone(), logs: Mutex::new(logs), due: AtomicBool::new(true) }
    }

    async fn load(&self, log: LogName) -> Result<Arc<DeadLog>> {
        let Some(cell) = lock(&self.logs).get(&log).cloned() else {
            return Err(self.out_of_reach(log));
        };
        cell.get_or_try_init(|| self.read(log, None)).await.cloned()
    }

    async fn read(&self, log: LogName, only: Option<(TabletId, Epoch)>) -> Result<Arc<DeadLog>> {
        let log_dir = self.log_dir.clone();
        let wanted = move |r: &LogRecord| only.is_none_or(|(tablet, epoch)| r.tablet == tablet && r.epoch == epoch);
        let read = tokio::task::spawn_blocking(move || read_log(&log_dir, log, wanted)).await;
        let read = read.map_err(|e| Error::internal(format!("reading a log ended early: {e}")))?;
        match read {
            Ok((oldest, records)) => Ok(Arc::new(DeadLog { oldest, records })),
            Err(e) if e.kind == ErrorKind::NotFound => Err(self.out_of_reach(log)),
            Err(e) => Err(e),
        }
    }

    /// What there still is of a tablet that was closed with everything flushed: only remembered requests count in it.
    async fn left_over(&self, log: LogName, tablet: TabletId, epoch: Epoch) -> Vec<(u64, LogRecord)> {
        match self.read(log, Some((tablet, epoch))).await {
            Ok(found) => found.records.get(&tablet).cloned().unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    fn out_of_reach(&self, log: LogName) -> Error {
        Error::unavailable(format!(
            "the log of server {} incarnation {} is not in '{}': its unflushed rows are on the volume of that server",
            log.server,
            log.incarnation,
            self.log_dir.display()
        ))
    }

    /// A tablet was opened: a dead log may have become free.
    pub(super) fn look_again(&self) {
        self.due.store(true, Ordering::Release);
    }

    /// Deletes the dead logs that no manifest names. Called by one task only.
    pub(super) async fn sweep(&self) {
        if !self.due.swap(false, Ordering::AcqRel) {
            return;
        }
        let logs: Vec<_> = lock(&self.logs).keys().copied().collect();
        for log in logs {
            match self.sweep_one(log).await {
                Ok(true) => tracing::info!(server = %log.server, incarnation = %log.incarnation, "a dead log is deleted"),
                Ok(false) => {}
                Err(e) => {
                    tracing::debug!(error = %e, "a dead log stays for now");
                    self.look_again();
                }
            }
        }
    }

    /// A tablet without records in the log may name it too: all manifests are asked.
    async fn sweep_one(&self, log: LogName) -> Result<bool> {
        for tablet in ManifestStore::tablets(&self.store).await? {
            let newest = ManifestStore::newest(self.store.clone(), tablet).await?;
            if newest.is_some_and(|(_, m)| m.log == log && m.log_from != NO_SEGMENT) {
                return Ok(false);
            }
        }
        let log_dir = self.log_dir.clone();
        let removed = tokio::task::spawn_blocking(move || remove_log(&log_dir, log)).await;
        removed.map_err(|e| Error::internal(format!("deleting a log ended early: {e}")))??;
        lock(&self.logs).remove(&log);
        Ok(true)
    }
}

#[async_trait::async_trait]
impl LogSource for DeadLogs {
    async fn records(&self, log: LogName, tablet: TabletId, epoch: Epoch, from: u64) -> Result<Vec<(u64, LogRecord)>> {
        if from == NO_SEGMENT {
            return Ok(self.left_over(log, tablet, epoch).await);
        }
        // The own log goes on growing: a tablet that was closed here and comes back reads what there is of it.
        let found = if log == self.own { self.read(log, Some((tablet, epoch))).await? } else { self.load(log).await? };
        if found.oldest == 0 || found.oldest > from {
            let text = format!("log of server {} incarnation {}: tablet {tablet} needs segment {from}", log.server, log.incarnation);
            return Err(Error::corrupt(format!("{text}, the oldest there is {}", found.oldest)));
        }
        let records = found.records.get(&tablet).into_iter().flatten();
        Ok(records.filter(|(_, r)| r.epoch == epoch).cloned().collect())
    }
}

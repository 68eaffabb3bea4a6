//! The engine: one a tablet server process.

mod dead_logs;
mod graveyard;
mod maintenance;

use crate::compaction::{Pace, Pool};
use crate::format::LogName;
use crate::log::{DiskLog, DiskLogConfig, Log, ObjectLog};
use crate::metrics::Metrics;
use crate::procedures::Procedures;
use crate::shared::{Budget, Shared};
use crate::sstable::{BlockCache, DiskCache, ReaderContext};
use crate::store::Counted;
use crate::sync::lock;
use crate::tablet::{self, Inner};
use crate::{EngineConfig, LogConfig, MetricsSnapshot, Tablet, TabletOpen};
use common::ids::TabletId;
use common::time::Micros;
use common::{Error, Result};
use dead_logs::DeadLogs;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;

/// A tablet's place here.
#[derive(Clone, Debug)]
enum Slot {
    Opening,
    Open(Arc<Inner>),
    /// Closed with staged rows: the log is kept from this segment on until it is opened again.
    Closed(u64),
}

/// One log, one memory budget, one block cache, many tablets.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    /// Held for map operations only.
    tablets: Arc<Mutex<HashMap<TabletId, Slot>>>,
    dead_logs: Arc<DeadLogs>,
    /// Ends with the engine.
    tasks: Mutex<JoinSet<()>>,
}

impl Engine {
    /// Begins this incarnation's log and finds those of earlier incarnations.
    ///
    /// # Errors
    /// `AlreadyExists` if this incarnation has a log already, `Unavailable` if its folder or the store cannot be written,
    /// `InvalidArgument` for settings of the log that contradict each other.
    pub async fn open(config: EngineConfig) -> Result<Arc<Self>> {
        let metrics = Arc::new(Metrics::default());
        let config = EngineConfig { store: Counted::wrap(config.store.clone(), metrics.clone()), ..config };
        let name = LogName { server: config.server, incarnation: config.incarnation };
        let log = begin_log(&config, name, metrics.clone()).await?;
        let disk = match &config.disk_cache {
            Some(disk) => Some(DiskCache::open(disk, metrics.clone()).await?),
            None => None,
        };
        let cache = Arc::new(BlockCache::new(config.cache_bytes, config.block_bytes).with_disk(disk));
        let (graveyard, dead) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            log,
            reader: ReaderContext { store: config.store.clone(), cache, metrics: metrics.clone() },
            metrics,
            memory: Budget::new("memtables", config.memtable_bytes),
            staged: Budget::new("staged rows of unpublished runs", config.staged_bytes),
            wake: Notify::new(),
            master_time: AtomicI64::new(i64::MAX),
            compactions: Semaphore::new(config.compaction.concurrent.max(1)),
            pace: Pace::new(config.compaction.bytes_per_second, config.compaction.burst_bytes),
            // One more, so that a flush need not wait for compactions.
            pool: Pool::new(config.threads, config.compaction.concurrent.max(1) + 1)?,
            graveyard,
            config,
        });
        let tablets = Arc::default();
        let dead_logs = Arc::new(DeadLogs::new(shared.clone()).await?);
        let mut tasks = JoinSet::new();
        tasks.spawn(graveyard::bury(shared.config.store.clone(), shared.config.pins.clone(), dead));
        if shared.config.background {
            tasks.spawn(maintenance::run(shared.clone(), Arc::clone(&tablets), dead_logs.clone()));
        }
        Ok(Arc::new(Self { shared, tablets, dead_logs, tasks: Mutex::new(tasks) }))
    }

    /// Takes note of where the logs of dead lives were ended ([`crate::fence_log`]), so that opening a tablet need not ask the store.
    pub fn note_fences(&self, fences: impl IntoIterator<Item = (LogName, u64)>) {
        self.dead_logs.note_fences(fences);
    }

    /// Takes over a tablet: recovers what its last owner logged and did not flush.
    ///
    /// # Errors
    /// `Fenced` if the tablet has an owner of the same or a higher epoch, `AlreadyExists` if it is open here,
    /// `Corrupt` if its log or manifest is damaged, `Unavailable` if the store or the log is out of reach.
    pub async fn open_tablet(&self, open: TabletOpen) -> Result<Tablet> {
        let id = open.tablet;
        let before = self.begin_opening(id)?;
        let opened = tablet::open(self.shared.clone(), self.dead_logs.as_ref(), open).await;
        let mut tablets = lock(&self.tablets);
        match (&opened, before) {
            (Ok(inner), _) => tablets.insert(id, Slot::Open(inner.clone())),
            (Err(_), Some(before)) => tablets.insert(id, before),
            (Err(_), None) => tablets.remove(&id),
        };
        drop(tablets);
        self.dead_logs.look_again();
        Ok(Tablet::new(opened?))
    }

    fn begin_opening(&self, id: TabletId) -> Result<Option<Slot>> {
        let mut tablets = lock(&self.tablets);
        match tablets.get(&id) {
            Some(Slot::Opening) => return Err(Error::already_exists(format!("tablet {id} is being opened here"))),
            Some(Slot::Open(inner)) if !inner.has_ended() => return Err(Error::already_exists(format!("tablet {id} is open here"))),
            _ => {}
        }
        Ok(tablets.insert(id, Slot::Opening).filter(|slot| matches!(slot, Slot::Closed(_))))
    }

    /// Ends a tablet here: waits for its writes, flushes, refuses everything after. Not open: done already.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer; the tablet then stays closed for writes, and the call can be repeated.
    pub async fn close_tablet(&self, id: TabletId) -> Result<()> {
        let inner = match lock(&self.tablets).get(&id) {
            Some(Slot::Open(inner)) => inner.clone(),
            _ => return Ok(()),
        };
        // What a fenced tablet has staged belongs to its next owner, from the log as it is.
        let fenced = inner.has_ended();
        inner.close().await?;
        let mut tablets = lock(&self.tablets);
        match inner.holds_log().filter(|_| !fenced) {
            Some(from) => tablets.insert(id, Slot::Closed(from)),
            None => tablets.remove(&id),
        };
        Ok(())
    }

    /// Ends cleanly: waits for writes and closes the log. Unflushed rows stay in the log.
    ///
    /// # Errors
    /// `Unavailable` if the log cannot be closed.
    pub async fn shutdown(&self) -> Result<()> {
        lock(&self.tasks).abort_all();
        self.shared.compactions.close();
        for inner in open_tablets(&self.tablets) {
            inner.stop().await;
        }
        if let Some(disk) = self.shared.reader.cache.disk() {
            disk.close().await;
        }
        self.shared.log.close().await
    }

    /// Snapshots, clones, splits and merges in this engine's store.
    #[must_use]
    pub fn procedures(&self) -> Procedures {
        Procedures::new(self.shared.config.store.clone(), self.shared.config.pins.clone())
    }

    /// Takes the master's time, as the last message from it said. Removal by age goes by the lower of it and the own time.
    pub fn set_master_time(&self, now: Micros) {
        self.shared.master_time.store(now.0, Ordering::Release);
    }

    /// Trims the log as far as it is not needed.
    #[cfg(test)]
    pub(crate) async fn trim_needed_for_tests(&self) {
        if let Some(needed) = maintenance::needed_segment(&self.shared, &self.tablets) {
            // A store may fail here: then later.
            let _ = self.shared.log.trim(needed).await;
        }
    }

    #[cfg(test)]
    pub(crate) async fn trim_for_tests(&self, needed: u64) {
        self.shared.log.trim(needed).await.expect("the folder is writable");
    }

    #[cfg(test)]
    pub(crate) fn reader_for_tests(&self) -> ReaderContext {
        self.shared.reader.clone()
    }

    #[cfg(test)]
    pub(crate) async fn sweep_for_tests(&self) {
        self.dead_logs.sweep().await;
    }

    /// Requests of all kinds to the object store so far.
    #[must_use]
    pub fn store_requests(&self) -> u64 {
        let MetricsSnapshot { store_puts, store_gets, store_deletes, store_lists, .. } = self.shared.metrics.snapshot();
        store_puts + store_gets + store_deletes + store_lists
    }

    /// The counters now.
    #[must_use]
    pub fn metrics(&self) -> MetricsSnapshot {
        let (metrics, cache) = (&self.shared.metrics, &self.shared.reader.cache);
        let space = open_tablets(&self.tablets).iter().map(|inner| inner.space()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        metrics.stored_bytes.set(space.0);
        metrics.kept_bytes.set(space.1);
        metrics.cache_bytes.set(cache.bytes());
        metrics.cache_partition_bytes.set(cache.partition_bytes());
        metrics.snapshot()
    }
}

async fn begin_log(config: &EngineConfig, name: LogName, metrics: Arc<Metrics>) -> Result<Arc<dyn Log>> {
    let clock = config.clock.clone();
    Ok(match &config.log {
        LogConfig::Disk { dir } => {
            let (log_dir, segment_bytes) = (dir.clone(), config.log_segment_bytes);
            Arc::new(DiskLog::create(DiskLogConfig { log_dir, name, segment_bytes, clock }, metrics)?)
        }
        LogConfig::Object(settings) => Arc::new(ObjectLog::create(config.store.clone(), name, settings.clone(), clock, metrics).await?),
    })
}

fn open_tablets(tablets: &Mutex<HashMap<TabletId, Slot>>) -> Vec<Arc<Inner>> {
    let open = |slot: &Slot| match slot {
        Slot::Open(inner) if !inner.has_ended() => Some(inner.clone()),
        _ => None,
    };
    lock(tablets).values().filter_map(open).collect()
}

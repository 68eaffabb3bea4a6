//! Logs that are read back: those of earlier incarnations of this server, those of others that have died, and its own
//! for a tablet that was closed here. Each is read by one reader for all its tablets, and deleted when no manifest names
//! it any more.

use crate::LogConfig;
use crate::format::{LogBody, LogName, LogRecord, NO_SEGMENT, names};
use crate::log::{LogReader, Part, RecordStream, fence_log, incarnations, log_exists, remove_log, remove_objects};
use crate::manifest::ManifestStore;
use crate::shared::Shared;
use crate::sync::lock;
use crate::tablet::{LogNeed, LogSource};
use common::ids::Incarnation;
use common::store::{DurableLocal, SharedStore};
use common::{Error, ErrorKind, Result};
use futures::{StreamExt, TryStreamExt};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::OnceCell;

type Cell = Arc<OnceCell<Arc<LogReader>>>;

/// See the module's page.
#[derive(Debug)]
pub(super) struct DeadLogs {
    shared: Arc<Shared>,
    /// This server's folder of logs, also as a store of their files.
    files: Option<(PathBuf, SharedStore)>,
    /// Dead logs that may still exist. Held for map operations only.
    logs: Mutex<HashMap<LogName, Cell>>,
    /// Where logs in the object store were ended, as the master has said.
    fences: Mutex<HashMap<LogName, u64>>,
    /// Whether a manifest may have ceased to name a dead log since the last sweep.
    due: AtomicBool,
}

impl DeadLogs {
    pub(super) async fn new(shared: Arc<Shared>) -> Result<Self> {
        let files = match &shared.config.log {
            LogConfig::Disk { dir } => Some((dir.clone(), Arc::new(DurableLocal::open(dir)?) as SharedStore)),
            LogConfig::Object(_) => None,
        };
        let this = Self { shared, files, logs: Mutex::default(), fences: Mutex::default(), due: AtomicBool::new(true) };
        let found = this.earlier().await.unwrap_or_else(|e| {
            tracing::warn!(error = %e, "earlier logs of this server are not found");
            Vec::new()
        });
        lock(&this.logs).extend(found.into_iter().map(|log| (log, Cell::default())));
        Ok(this)
    }

    fn own(&self) -> LogName {
        self.shared.log.name()
    }

    fn store(&self) -> &SharedStore {
        &self.shared.config.store
    }

    /// Logs of earlier incarnations of this server.
    async fn earlier(&self) -> Result<Vec<LogName>> {
        let own = self.own();
        if let Some((dir, _)) = &self.files {
            return incarnations(dir, own);
        }
        let prefix = names::server_log_prefix(own.server);
        let listed = self.store().list_with_delimiter(Some(&prefix)).await.map_err(|e| common::store::failed("list", &prefix, &e))?;
        let numbers = listed.common_prefixes.iter().filter_map(|p| p.filename()?.parse().ok());
        let logs = numbers.map(|n| LogName { server: own.server, incarnation: Incarnation(n) });
        Ok(logs.filter(|log| log.incarnation < own.incarnation).collect())
    }

    /// The folder of a log that lies on this server's volume.
    fn folder(&self, log: LogName) -> Option<&(PathBuf, SharedStore)> {
        self.files.as_ref().filter(|(dir, _)| log_exists(dir, log))
    }

    /// The reader of a dead log, whose objects end at `fence`; fenced here if nobody has done so.
    async fn dead(&self, log: LogName, fence: Option<u64>) -> Result<Arc<LogReader>> {
        let cell = lock(&self.logs).entry(log).or_default().clone();
        let reader = cell.get_or_try_init(|| async {
            if let Some((_, files)) = self.folder(log) {
                return LogReader::files(files.clone(), log).await.map(Arc::new);
            }
            let fence = match fence {
                Some(fence) => fence,
                None => self.fence(log).await?,
            };
            LogReader::objects(self.store().clone(), log, fence).await.map(Arc::new)
        });
        reader.await.cloned()
    }

    /// Takes note of where logs were ended.
    pub(super) fn note_fences(&self, fences: impl IntoIterator<Item = (LogName, u64)>) {
        lock(&self.fences).extend(fences);
    }

    /// The reader of a log that holds what a tablet has not flushed.
    async fn reader(&self, log: LogName, part: Part, fence: Option<u64>) -> Result<Arc<LogReader>> {
        let fence = fence.or_else(|| lock(&self.fences).get(&log).copied());
        if log == self.own() {
            return Ok(Arc::new(self.shared.log.reader(0)));
        }
        // A tablet that was closed with staged rows leaves them in the log of a server that goes on.
        if fence.is_none() && self.folder(log).is_none() {
            let reader = self.as_it_is(log).await?;
            let mut records = reader.records(part);
            let mut closed = false;
            while let Some((_, record)) = records.try_next().await? {
                closed = matches!(record.body, LogBody::ClosedTablet);
            }
            if closed {
                return Ok(reader);
            }
        }
        self.dead(log, fence).await
    }

    async fn fence(&self, log: LogName) -> Result<u64> {
        // A log that was ever named has begun: one without objects lies elsewhere.
        if LogReader::objects_as_listed(self.store().clone(), log).await?.oldest().is_none() {
            return Err(self.out_of_reach(log));
        }
        let position = fence_log(self.store(), log, common::store::nonce()).await?;
        tracing::info!(server = %log.server, incarnation = %log.incarnation, position, "a dead log is fenced");
        Ok(position)
    }

    /// A log as it is now, which may go on growing.
    async fn as_it_is(&self, log: LogName) -> Result<Arc<LogReader>> {
        if log == self.own() {
            return Ok(Arc::new(self.shared.log.reader(0)));
        }
        match self.folder(log) {
            Some(_) => self.dead(log, None).await,
            None => LogReader::objects_as_listed(self.store().clone(), log).await.map(Arc::new),
        }
    }

    /// Of a tablet that was closed with everything flushed only remembered requests count. A log that is gone, and what is
    /// damaged, has none; one that does not answer now may have some.
    async fn requests(&self, log: LogName, part: Part) -> Result<RecordStream> {
        let reader = self.as_it_is(log).await?;
        // A tablet that was closed has put them at its end: a large log is not read for them.
        let newest = reader.newest(part).await;
        match newest {
            Ok(newest) if is_farewell(&newest) => Ok(futures::stream::iter(newest.into_iter().map(Ok)).boxed()),
            Err(e) if e.kind == ErrorKind::Unavailable => Err(e),
            _ => Ok(reader.records(part).filter(|found| std::future::ready(found.is_ok() || is_passing(found))).boxed()),
        }
    }

    fn out_of_reach(&self, log: LogName) -> Error {
        let place = match &self.files {
            Some((dir, _)) => format!("in '{}'", dir.display()),
            None => "in the object store".to_owned(),
        };
        Error::unavailable(format!(
            "the log of server {} incarnation {} is not {place}: its unflushed rows are on the volume of that server",
            log.server, log.incarnation
        ))
    }

    /// A tablet was opened: a dead log may have become free.
    pub(super) fn look_again(&self) {
        self.due.store(true, Ordering::Release);
    }

    /// Deletes the dead logs that no manifest names. Called by one task only.
    pub(super) async fn sweep(&self) {
        if !self.due.swap(false, Ordering::AcqRel) || lock(&self.logs).is_empty() {
            return;
        }
        if let Err(e) = self.sweep_all().await {
            tracing::debug!(error = %e, "dead logs stay for now");
            self.look_again();
        }
    }

    async fn sweep_all(&self) -> Result<()> {
        let named = self.named().await?;
        let logs: Vec<_> = lock(&self.logs).keys().filter(|log| !named.contains(*log)).copied().collect();
        for log in logs {
            self.remove(log).await?;
            lock(&self.logs).remove(&log);
            lock(&self.fences).remove(&log);
            tracing::info!(server = %log.server, incarnation = %log.incarnation, "a dead log is deleted");
        }
        Ok(())
    }

    /// The logs that some manifest needs. A tablet without records in a log may name it too: all manifests are asked. One that
    /// was closed with everything flushed names its log for the requests that are remembered there, until it is open again.
    async fn named(&self) -> Result<HashSet<LogName>> {
        let mut named = HashSet::new();
        for tablet in ManifestStore::tablets(self.store()).await? {
            let newest = ManifestStore::newest(self.store().clone(), tablet).await?;
            named.extend(newest.iter().flat_map(|(_, m)| m.logs()));
        }
        Ok(named)
    }

    async fn remove(&self, log: LogName) -> Result<()> {
        if let Some((dir, _)) = self.folder(log).cloned() {
            let removed = tokio::task::spawn_blocking(move || remove_log(&dir, log)).await;
            return removed.map_err(|e| Error::internal(format!("deleting a log ended early: {e}")))?;
        }
        match self.fence(log).await {
            Ok(position) => remove_objects(self.store(), log, position).await,
            Err(_) if LogReader::objects_as_listed(self.store().clone(), log).await?.oldest().is_none() => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// Whether somebody may still be told what was not readable now.
fn is_passing<T>(found: &Result<T>) -> bool {
    found.as_ref().is_err_and(|e| e.kind == ErrorKind::Unavailable)
}

/// Whether these records end with those that closing a tablet leaves.
fn is_farewell(records: &[(u64, LogRecord)]) -> bool {
    matches!(records, [.., (_, requests), (_, closed)]
        if matches!(requests.body, LogBody::Requests(_)) && matches!(closed.body, LogBody::ClosedTablet))
}

#[async_trait::async_trait]
impl LogSource for DeadLogs {
    async fn records(&self, need: LogNeed) -> Result<RecordStream> {
        let LogNeed { log, part, from, fence } = need;
        if from == NO_SEGMENT {
            return self.requests(log, part).await;
        }
        let reader = self.reader(log, part, fence).await?;
        let first = reader.oldest().unwrap_or(u64::MAX);
        if (first..=reader.end()).contains(&from) {
            return Ok(reader.records(part));
        }
        // What the store lists may have been stale: the next attempt lists anew.
        lock(&self.logs).insert(log, Cell::default());
        let text = format!("log of server {} incarnation {}: tablet {} needs segment {from}", log.server, log.incarnation, part.0);
        Err(Error::corrupt(format!("{text}, there are those from {first} to before {}", reader.end())))
    }
}

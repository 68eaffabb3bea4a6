//! Taking a tablet over. The order is what keeps data:
//!
//! 1. put a manifest with the new epoch, which fences the last owner, and leave its log fields as they are;
//! 2. replay from the log that it names the records of its log epoch above its flushed seq;
//! 3. flush them;
//! 4. put a manifest that names the own log (where staged rows and remembered requests were copied to before);
//! 5. serve.
//!
//! Who dies before 4 has changed nothing: the next owner begins again from the same log.

use super::TabletOpen;
use super::hot::HotRows;
use super::inner::{Inner, SstHandle, State, Status};
use super::numbering::Numbering;
use super::queue::Queue;
use super::replay::Replayed;
use super::snapshots::Snapshots;
use super::sst::{Sst, reference};
use super::visible::Visible;
use crate::compaction::{self, Names, Points, Target};
use crate::format::{LogBody, LogName, LogPart, LogRecord, Manifest, NO_SEGMENT, Rows, SstableName, SstableRef};
use crate::log::{EncodedRecords, Part, RecordStream};
use crate::manifest::ManifestStore;
use crate::memtable::Memtable;
use crate::procedures::{self, Referrer};
use crate::shared::Shared;
use crate::slice::Slicer;
use crate::sstable::Layout;
use arc_swap::ArcSwap;
use common::ids::{Epoch, Seq};
use common::time::Micros;
use common::{Error, Result};
use futures::stream::{self, StreamExt};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// Which records of which log a tablet's recovery needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogNeed {
    pub(crate) log: LogName,
    pub(crate) part: Part,
    /// The first segment that must be there; [`NO_SEGMENT`](crate::format::NO_SEGMENT): none.
    pub(crate) from: u64,
    /// Where the log was fenced, if it was.
    pub(crate) fence: Option<u64>,
}

/// Where the records of dead and living logs come from.
#[async_trait::async_trait]
pub(crate) trait LogSource: Send + Sync {
    /// The records of one tablet and epoch with their segments, in order; those below `from` too as far as they are there.
    async fn records(&self, need: LogNeed) -> Result<RecordStream>;
}

/// Takes a tablet over, or begins a new one.
pub(crate) async fn open(shared: Arc<Shared>, logs: &dyn LogSource, open: TabletOpen) -> Result<Arc<Inner>> {
    if open.epoch == Epoch(0) {
        // It marks tablets that nobody has opened yet.
        return Err(Error::invalid(format!("tablet {}: epochs of owners begin with 1", open.tablet)));
    }
    let store = shared.config.store.clone();
    let manifest = match ManifestStore::newest(store.clone(), open.tablet).await? {
        None => ManifestStore::take(store, 0, first_manifest(&shared, &open)).await?,
        Some((number, found)) => {
            check_taking(&shared, &open, &found)?;
            let taken = Manifest { epoch: open.epoch, owner: shared.log.name(), ..found };
            ManifestStore::take(store, number, taken).await?
        }
    };
    fail::fail_point!("recovery-taken", |_| Err(Error::unavailable("failpoint: recovery-taken")));
    let taken = manifest.current().clone();
    let need = LogNeed { log: taken.log, part: (open.tablet, taken.log_epoch), from: taken.log_from, fence: open.log_fence };
    let records = if is_new(&taken) || !taken.had_owner() { stream::empty().boxed() } else { logs.records(need).await? };
    let mut inherited = Vec::new();
    for part in &taken.requests_from {
        let LogPart { log, tablet, epoch } = *part;
        inherited.push(logs.records(LogNeed { log, part: (tablet, epoch), from: NO_SEGMENT, fence: None }).await?);
    }
    let replayed = Replayed::read(&taken, records, inherited, shared.config.clock.as_ref()).await?;
    fail::fail_point!("recovery-replayed", |_| Err(Error::unavailable("failpoint: recovery-replayed")));
    settle_in(&shared, &open, manifest, replayed).await
}

fn first_manifest(shared: &Shared, open: &TabletOpen) -> Manifest {
    let own = shared.log.name();
    Manifest {
        table: open.table.id,
        tablet: open.tablet,
        range: open.range.clone(),
        epoch: open.epoch,
        owner: own,
        log: own,
        log_epoch: open.epoch,
        log_from: shared.log.newest(),
        requests_from: Vec::new(),
        flushed: Seq::ZERO,
        floor: Seq::ZERO,
        points: Vec::new(),
        highest_timestamp: Micros::MIN,
        schema_version: open.table.schema_version,
        applied: Seq::ZERO,
        applied_runs: Vec::new(),
        staged: Vec::new(),
        next_sstable: 1,
        sstables: Vec::new(),
    }
}

/// This owner has just begun it: its own log has nothing of it.
fn is_new(m: &Manifest) -> bool {
    m.log == m.owner
        && m.log_epoch == m.epoch
        && m.next_sstable == 1
        && m.flushed == Seq::ZERO
        && m.sstables.is_empty()
        && m.staged.is_empty()
}

/// Whether an owner that has just begun a tablet would only repeat its first manifest: then that is enough, and from where it
/// has the log read is no later.
fn says_the_same(next: &Manifest, first: &Manifest) -> bool {
    is_new(first) && *next == Manifest { log_from: next.log_from, ..first.clone() }
}

fn check_taking(shared: &Shared, open: &TabletOpen, found: &Manifest) -> Result<()> {
    let id = open.tablet;
    // An owner that failed to open may try again; a second owner of one epoch could write the first one's names.
    let again = found.epoch == open.epoch && found.owner == shared.log.name();
    if found.epoch >= open.epoch && !again {
        return Err(Error::fenced(format!("tablet {id}: epoch {} is not above {}, which another owner has", open.epoch, found.epoch)));
    }
    if found.table != open.table.id || found.range != open.range {
        return Err(Error::refused(format!(
            "tablet {id} is of table {} and range {:?}, not of table {} and range {:?}",
            found.table, found.range, open.table.id, open.range
        )));
    }
    Ok(())
}

/// Steps 3 to 5.
async fn settle_in(shared: &Arc<Shared>, open: &TabletOpen, mut manifest: ManifestStore, replayed: Replayed) -> Result<Arc<Inner>> {
    let Replayed { memtable, ingested, mut staged, staged_bytes, remembered, requests, visible, highest, shapes } = replayed;
    let mut next = manifest.current().clone();
    next.log_from = shared.log.newest();
    next.log = shared.log.name();
    next.log_epoch = open.epoch;
    next.requests_from = Vec::new();
    next.flushed = visible;
    next.highest_timestamp = highest;
    next.schema_version = open.table.schema_version;
    next.applied_runs = staged.applied_up_to(visible);
    if open.table.kind == common::schema::TableKind::Derived {
        next.applied = visible;
    }
    staged.moved_to(next.log_from);
    next.staged = staged.references();
    let flushed = flush(shared, open, &memtable, &mut next).await?;
    next.sstables.extend(flushed.into_iter().chain(ingested));
    let record = |body| LogRecord { tablet: open.tablet, epoch: open.epoch, first: Seq::ZERO, last: Seq::ZERO, body };
    let mut copied = EncodedRecords::default();
    for (run, part, rows) in staged.parts() {
        copied.push(&record(LogBody::Stage { run, part, timestamp: highest, rows: Rows::of(rows, highest) }))?;
    }
    if !remembered.is_empty() {
        copied.push(&record(LogBody::Requests(remembered)))?;
    }
    if copied.count > 0 {
        shared.log.append(copied).await.map_err(|_| Error::unavailable("the log has ended"))??;
    }
    fail::fail_point!("recovery-copied", |_| Err(Error::unavailable("failpoint: recovery-copied")));
    let sstables = open_sstables(shared, &next.sstables);
    if says_the_same(&next, manifest.current()) {
        next = manifest.current().clone();
    } else {
        manifest.put(next.clone()).await?;
    }
    shared.staged.take(staged_bytes);

    // A death between a manifest and its report leaves holds behind: they end here.
    let referrer = Referrer::Tablet(open.tablet);
    if let Err(e) = shared.config.pins.narrow(&referrer, &procedures::names(&next)).await {
        tracing::warn!(tablet = %open.tablet, error = %e, "holds on sstables that are no longer named stay for now");
    }

    let (config, now) = (&shared.config, shared.config.clock.monotonic());
    let snapshots = Snapshots::new(config.snapshot_retention, config.change_retention);
    snapshots.set_tail(now, open.pin);
    snapshots.note(now, visible);
    let state = State {
        generation: 0,
        active: Memtable::new(),
        frozen: Vec::new(),
        sstables,
        readable: Points::new(next.points.clone(), next.floor),
        known: open.table.clone().into(),
    };
    let inner = Arc::new(Inner {
        id: open.tablet,
        range: open.range.clone(),
        epoch: open.epoch,
        shared: shared.clone(),
        status: RwLock::new(Status::Open),
        leaving: tokio::sync::Notify::new(),
        ended: AtomicBool::new(false),
        numbering: Mutex::new(Numbering { next: visible.next(), highest, requests, broken: None }),
        queue: Mutex::new(Queue::new(staged, staged_bytes)),
        state: ArcSwap::from_pointee(state),
        changing: Mutex::default(),
        visible: Visible::new(visible),
        shapes,
        hot: HotRows::default(),
        snapshots,
        flushing: tokio::sync::Mutex::default(),
        compacting: tokio::sync::RwLock::default(),
        building: tokio::sync::RwLock::default(),
        compacted: Mutex::default(),
        compactors: AtomicUsize::new(0),
        at_rest: AtomicU64::new(u64::MAX),
        level0: AtomicUsize::new(0),
        kept: AtomicU64::new(0),
        next_sstable: Arc::new(AtomicU64::new(next.next_sstable)),
        log_from: AtomicU64::new(next.log_from),
        manifest: tokio::sync::Mutex::new(manifest),
        busy: AtomicBool::new(false),
    });
    inner.note_backlog();
    inner.note_space();
    Ok(inner)
}

/// Writes what was replayed; counts the names on.
async fn flush(shared: &Arc<Shared>, open: &TabletOpen, table: &Arc<Memtable>, next: &mut Manifest) -> Result<Vec<SstableRef>> {
    if table.is_empty() {
        return Ok(Vec::new());
    }
    let (home, epoch) = (open.tablet, open.epoch);
    let number = Arc::new(AtomicU64::new(next.next_sstable));
    let counter = number.clone();
    let names: Names = Arc::new(move || SstableName { home, epoch, number: counter.fetch_add(1, Ordering::AcqRel) });
    let days_from = compaction::months_until(next.sstables.iter().map(|s| &s.slice));
    let slicer = Slicer::new(&open.table, shared.config.clock.now(), days_from);
    let (store, layout) = (shared.config.store.clone(), Arc::new(Layout::new(&shared.config, &open.table)));
    let target = Target { store, layout, names, slicer, file_bytes: u64::MAX, warm: None };
    let table = table.clone();
    let made = shared.pool.run(async move { compaction::flush(&table, target).await }).await?;
    next.next_sstable = number.load(Ordering::Acquire);
    let bytes = made.iter().map(|o| o.finished.size).sum();
    shared.metrics.flushes.add(1);
    shared.metrics.flush_bytes_written.add(bytes);
    shared.metrics.sstable_bytes_written.add(bytes);
    Ok(made.iter().map(|output| reference(output, 0, &open.range)).collect())
}

fn open_sstables(shared: &Shared, entries: &[SstableRef]) -> Vec<SstHandle> {
    entries.iter().map(|e| SstHandle(Sst::open(shared, e.clone()))).collect()
}

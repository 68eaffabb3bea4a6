//! A tablet's state, and who may change what.
//!
//! Locks are taken in this order and none is held across an await: `numbering`, `queue`, `changing`. The async
//! locks `building`, `flushing`, `compacting`, `manifest` are taken in this order, before any of the others.

use super::hot::HotRows;
use super::numbering::Numbering;
use super::queue::Queue;
use super::snapshots::Snapshots;
use super::sst::Sst;
use super::visible::Visible;
use crate::arrow::Projections;
use crate::compaction::Points;
use crate::event_time::EventTimes;
use crate::format::{LogBody, LogRecord, Shapes, SliceKey, SstableName, SstableRef};
use crate::manifest::ManifestStore;
use crate::memtable::Memtable;
use crate::read::{Rules, Sources, rules};
use crate::shared::Shared;
use crate::sstable::Reader;
use crate::sync::{lock, read, write};
use arc_swap::ArcSwap;
use common::ids::{Epoch, Seq, TabletId};
use common::key::KeyRange;
use common::schema::{Table, TableKind};
use common::time::Micros;
use common::{Error, Result};
use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// How a tablet stands.
#[derive(Clone, Debug)]
pub(super) enum Status {
    Open,
    /// Takes no more writes, still reads.
    Closing,
    /// Closed or fenced: every call gets this error.
    Ended(Error),
}

/// What is known of the table: replaced with the state.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) table: Arc<Table>,
    /// Its GC rules, as reads want them.
    pub(super) rules: Rules,
    /// Whether some rule looks at the age of cells.
    pub(super) ages: bool,
    pub(super) projections: Arc<Projections>,
}

impl From<Arc<Table>> for Known {
    fn from(table: Arc<Table>) -> Self {
        let ages = table.families.iter().any(|f| f.gc.looks_at_age());
        Self { rules: rules(&table), ages, projections: Arc::default(), table }
    }
}

/// A memtable on its way to an SSTable.
#[derive(Clone, Debug)]
pub(super) struct Frozen {
    pub(super) table: Arc<Memtable>,
    /// Once it is flushed, every seq up to here is.
    pub(super) upto: Seq,
    /// SSTables that came right after it, at `upto`.
    pub(super) ingested: Option<Ingested>,
}

/// SSTables that can be read and that no manifest lists yet: the log does.
#[derive(Clone, Debug)]
pub(super) struct Ingested {
    pub(super) files: Arc<[SstableRef]>,
    /// The first log segment that may hold the record of them.
    pub(super) log_from: u64,
}

impl Frozen {
    /// The first log segment that it needs until it is flushed.
    pub(super) fn log_from(&self) -> u64 {
        self.table.log_from().min(self.ingested.as_ref().map_or(u64::MAX, |i| i.log_from))
    }

    /// What was ingested right after it.
    pub(super) fn ingested(&self) -> &[SstableRef] {
        self.ingested.as_ref().map_or(&[], |i| &i.files)
    }
}

/// What reads see; replaced, never changed.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// Counts the memtables that were frozen, and twice those that SSTables were ingested after: who holds a state and the active
    /// memtable of the next misses nothing.
    pub(super) generation: u64,
    pub(super) active: Arc<Memtable>,
    /// Oldest first.
    pub(super) frozen: Vec<Frozen>,
    /// In any order; those too that were ingested after some frozen memtable, and are listed with it.
    pub(super) sstables: Vec<SstHandle>,
    /// Which seqs can be read.
    pub(super) readable: Points,
    /// The table as last set.
    pub(super) known: Known,
}

/// An SSTable as a source of reads.
#[derive(Clone, Debug)]
pub(crate) struct SstHandle(pub(super) Arc<Sst>);

impl Deref for SstHandle {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.0
    }
}

impl SstHandle {
    /// Whether a row with this event time may lie in it.
    pub(super) fn may_hold(&self, time: Micros) -> bool {
        self.0.entry.event_times.is_none_or(|(low, high)| low <= time && time <= high)
    }
}

impl State {
    /// Those that rows of these event times may lie in.
    pub(super) fn sources_of(&self, times: Option<&EventTimes>) -> Sources<SstHandle> {
        let sstables = self.sstables.iter().filter(|s| times.is_none_or(|times| times.meet(s.0.entry.event_times)));
        Sources { memtables: self.memtables().cloned().collect(), sstables: sstables.cloned().collect() }
    }

    /// SSTables that a row with this event time may lie in.
    pub(super) fn sstables_at(&self, time: Option<Micros>) -> Cow<'_, [SstHandle]> {
        let Some(time) = time else { return Cow::Borrowed(&self.sstables) };
        Cow::Owned(self.sstables.iter().filter(|s| s.may_hold(time)).cloned().collect())
    }

    /// Oldest first.
    pub(super) fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> + Clone {
        self.frozen.iter().map(|f| &f.table).chain([&self.active])
    }

    /// SSTables that no manifest lists yet. They may be numbered above what a frozen memtable holds.
    pub(super) fn unlisted(&self) -> impl Iterator<Item = SstableName> {
        self.frozen.iter().flat_map(Frozen::ingested).map(|f| f.name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = SstableName> {
        self.sstables.iter().map(|s| s.0.entry.name)
    }

    pub(super) fn memtable_bytes(&self) -> usize {
        self.active.bytes() + self.frozen.iter().map(|f| f.table.bytes()).sum::<usize>()
    }
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(super) id: TabletId,
    pub(super) range: KeyRange,
    pub(super) epoch: Epoch,
    pub(super) shared: Arc<Shared>,
    pub(super) status: RwLock<Status>,
    /// Told when the tablet begins to close.
    pub(super) leaving: tokio::sync::Notify,
    /// Whether the status is an end. Set after it and before the memtables go.
    pub(super) ended: AtomicBool,
    /// Gives seqs and timestamps; held while a batch is encoded and handed to the log, so that log order is seq order.
    pub(super) numbering: Mutex<Numbering>,
    /// What the log has and the memtable has not; held while durable batches are inserted.
    pub(super) queue: Mutex<Queue>,
    /// Readers take no lock.
    pub(super) state: ArcSwap<State>,
    /// Held while the state is replaced.
    pub(super) changing: Mutex<()>,
    pub(super) visible: Visible,
    /// Columns of the last batch: the next mostly has the same.
    pub(super) shapes: Shapes,
    /// Rows that read-modify-writes change again and again.
    pub(super) hot: HotRows,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) flushing: tokio::sync::Mutex<()>,
    /// Shared by compactions of single slices; whoever needs all of them at rest holds it alone.
    pub(super) compacting: tokio::sync::RwLock<()>,
    /// Shared by ingests while they write; who closes the tablet holds it alone, so that none writes after.
    pub(super) building: tokio::sync::RwLock<()>,
    /// Slice keys with a compaction under way. Held for set operations, and while the next one is chosen.
    pub(super) compacted: Mutex<HashSet<SliceKey>>,
    /// Background tasks that compact it.
    pub(super) compactors: AtomicUsize,
    /// The SSTables ([`Inner::shape`]) that there was nothing to compact of when that was last looked at; `u64::MAX`: none.
    pub(super) at_rest: AtomicU64,
    /// SSTables of level 0 in the slice that has the most.
    pub(super) level0: AtomicUsize,
    /// Bytes of SSTables that a full compaction would keep, about.
    pub(super) kept: AtomicU64,
    pub(super) manifest: tokio::sync::Mutex<ManifestStore>,
    pub(super) next_sstable: Arc<AtomicU64>,
    /// `log_from` of the newest manifest put: the log is kept from there.
    pub(super) log_from: AtomicU64,
    /// Whether a maintenance task works on it.
    pub(super) busy: AtomicBool,
}

impl Inner {
    pub(super) fn table(&self) -> Arc<Table> {
        self.state.load().known.table.clone()
    }

    /// The GC rules of its table.
    pub(super) fn rules(&self) -> Rules {
        self.state.load().known.rules.clone()
    }

    pub(super) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Replaces the state.
    pub(super) fn change_state(&self, change: impl FnOnce(&mut State)) {
        let _one = lock(&self.changing);
        let mut state = State::clone(&self.state.load());
        change(&mut state);
        self.state.store(Arc::new(state));
    }

    pub(super) fn visible(&self) -> Seq {
        self.visible.get()
    }

    /// Whether it still serves reads.
    pub(super) fn check_serving(&self) -> Result<()> {
        if !self.ended.load(Ordering::Acquire) {
            return Ok(());
        }
        match &*read(&self.status) {
            Status::Open | Status::Closing => Ok(()),
            Status::Ended(e) => Err(e.clone()),
        }
    }

    /// Whether it takes writes.
    pub(super) fn check_open(&self) -> Result<()> {
        match &*read(&self.status) {
            Status::Open => Ok(()),
            Status::Closing => Err(Error::not_mine(format!("tablet {} is closing here", self.id))),
            Status::Ended(e) => Err(e.clone()),
        }
    }

    pub(super) fn check_kind(&self, derived: bool) -> Result<()> {
        let table = self.table();
        match ((table.kind == TableKind::Derived), derived) {
            (true, false) => Err(Error::refused(format!("table '{}' is derived: only runs write it", table.name))),
            (false, true) => Err(Error::refused(format!("table '{}' is not derived: nothing can be staged for it", table.name))),
            _ => Ok(()),
        }
    }

    /// Ends it at once: no call succeeds after. Its memtables no longer count.
    pub(super) fn end(&self, e: Error) {
        {
            let mut status = write(&self.status);
            if matches!(*status, Status::Ended(_)) {
                return;
            }
            tracing::info!(tablet = %self.id, epoch = %self.epoch, reason = %e, "tablet ends here");
            *status = Status::Ended(e);
            self.ended.store(true, Ordering::Release);
        }
        self.release_memory();
        self.visible.wake();
    }

    fn release_memory(&self) {
        // Under the queue's lock nothing is inserted, so what is counted out here was counted in.
        let queue = lock(&self.queue);
        let mut freed = 0;
        self.change_state(|state| {
            freed = state.memtable_bytes();
            (state.active, state.frozen, state.sstables) = (Memtable::new(), Vec::new(), Vec::new());
        });
        self.shared.memory.release(freed);
        self.shared.staged.release(queue.staged_weight());
    }

    pub(super) fn record(&self, first: Seq, last: Seq, body: LogBody) -> LogRecord {
        LogRecord { tablet: self.id, epoch: self.epoch, first, last, body }
    }
}

//! The tablets of this server and what each of them does.

use crate::load::Meter;
use crate::plan::{Doing, Held, Wanted, WantedList};
use common::changes::Ledger;
use common::ids::{Epoch, ProcedureId, RunId, Seq, TabletId};
use common::rpc::master::{SplitBy, SplitPoint, TabletReport, TabletState};
use common::rpc::tablet::Target;
use common::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use storage::Tablet;
use tokio::sync::Notify;

/// Wait after the first failure; doubles up to [`MAX_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
/// A tablet that cannot be opened or closed is tried at least this often.
const MAX_BACKOFF: Duration = Duration::from_secs(15);

/// A tablet is reported closed for this long: the leader that hears it may be gone before it has written it down.
const REPORT_CLOSED: Duration = Duration::from_secs(600);

/// All tablets that this server holds, opens, closes or has closed.
#[derive(Debug, Default)]
pub struct Registry {
    /// Guards the map alone, for lookups and short changes; never held over an await.
    slots: RwLock<HashMap<TabletId, Slot>>,
    /// Something that reports say has changed.
    pub reportable: Notify,
    /// Something that convergence looks at has changed.
    pub work: Notify,
}

#[derive(Debug)]
struct Slot {
    epoch: Epoch,
    phase: Phase,
    /// Failures in a row.
    failures: u32,
    /// Not tried again before, on the monotonic clock.
    retry_at: Duration,
    /// Pin and dropped runs as they were last told to the tablet.
    pin: Option<Seq>,
    dropped: HashSet<RunId>,
    /// How a key to split at was asked for, and which one was found.
    asked: Option<SplitBy>,
    found: Option<SplitPoint>,
    /// The newest snapshot that it was flushed for.
    flushed: Option<ProcedureId>,
    meter: Arc<Meter>,
}

#[derive(Debug)]
enum Phase {
    Opening,
    /// `busy`: a job brings it up to date.
    Open {
        tablet: Tablet,
        busy: bool,
    },
    /// No longer serving. Not `busy`: to be closed, for the first time or again.
    Closing {
        tablet: Tablet,
        busy: bool,
    },
    Closed {
        visible: Seq,
        floor: Seq,
    },
    Failed {
        reason: String,
    },
}

impl Registry {
    fn read(&self) -> RwLockReadGuard<'_, HashMap<TabletId, Slot>> {
        // Each change is one assignment, so a panic elsewhere leaves the map whole.
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<TabletId, Slot>> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open tablet that a request names.
    ///
    /// # Errors
    /// `NotMine` if it is not open here.
    pub fn open(&self, target: &Target) -> Result<Tablet> {
        match self.read().get(&target.tablet_id()).map(|s| &s.phase) {
            Some(Phase::Open { tablet, .. }) if tablet.table().id == target.table_id() => Ok(tablet.clone()),
            _ => Err(Error::not_mine(format!("tablet {} of table {} is not open on this server", target.tablet, target.table))),
        }
    }

    /// What counts the load of a tablet that is open here.
    #[must_use]
    pub fn meter(&self, id: TabletId) -> Arc<Meter> {
        self.read().get(&id).map(|slot| slot.meter.clone()).unwrap_or_default()
    }

    /// What the server holds, as convergence sees it against `wanted`.
    #[must_use]
    pub fn held(&self, wanted: &WantedList) -> BTreeMap<TabletId, Held> {
        let held = |(id, slot): (&TabletId, &Slot)| {
            let doing = match &slot.phase {
                Phase::Opening | Phase::Open { busy: true, .. } | Phase::Closing { busy: true, .. } => Doing::Busy,
                Phase::Open { tablet, .. } => Doing::Open { behind: wanted.get(id).is_some_and(|w| slot.is_behind(tablet, w)) },
                Phase::Closing { .. } => Doing::ToClose,
                Phase::Closed { .. } => Doing::Closed,
                Phase::Failed { .. } => Doing::Failed,
            };
            (*id, Held { epoch: slot.epoch, doing, retry_at: slot.retry_at })
        };
        self.read().iter().map(held).collect()
    }

    /// Ids of all tablets that are not closed.
    #[must_use]
    pub fn unclosed(&self) -> Vec<TabletId> {
        let holds = |s: &Slot| matches!(s.phase, Phase::Opening | Phase::Open { .. } | Phase::Closing { .. });
        self.read().iter().filter(|(_, s)| holds(s)).map(|(id, _)| *id).collect()
    }

    /// All tablets that serve.
    #[must_use]
    pub fn serving(&self) -> Vec<Tablet> {
        let open = |s: &Slot| if let Phase::Open { tablet, .. } = &s.phase { Some(tablet.clone()) } else { None };
        self.read().values().filter_map(open).collect()
    }

    /// Brings `reports`, one a tablet, to what is now.
    pub fn report(&self, reports: &mut Ledger<TabletReport>, now: Duration) {
        let slots = self.read();
        for (id, slot) in slots.iter() {
            reports.set(slot.report(*id, now));
        }
        reports.retain(|id| slots.contains_key(id));
    }

    /// A tablet is being opened.
    pub fn begin_open(&self, id: TabletId, epoch: Epoch) {
        let mut slots = self.write();
        let failures = slots.get(&id).filter(|s| s.epoch == epoch).map_or(0, |s| s.failures);
        slots.insert(id, Slot::new(epoch, Phase::Opening, failures));
        self.reportable.notify_one();
    }

    /// It is open; `pin` is what it was opened with.
    pub fn opened(&self, tablet: Tablet, pin: Option<Seq>) {
        self.change(tablet.id(), |slot| {
            slot.succeed(Phase::Open { tablet, busy: false });
            slot.pin = pin;
        });
    }

    /// It could not be opened.
    pub fn open_failed(&self, id: TabletId, reason: String, now: Duration) {
        self.change(id, |slot| slot.fail(Phase::Failed { reason }, now));
    }

    /// From now on it is not served; [`Registry::closed`] follows. `None`: it is not open here.
    pub fn begin_close(&self, id: TabletId) -> Option<Tablet> {
        let mut slots = self.write();
        let slot = slots.get_mut(&id)?;
        let (Phase::Open { tablet, .. } | Phase::Closing { tablet, .. }) = &slot.phase else { return None };
        let tablet = tablet.clone();
        slot.phase = Phase::Closing { tablet: tablet.clone(), busy: true };
        Some(tablet)
    }

    /// It is closed.
    pub fn closed(&self, tablet: &Tablet, now: Duration) {
        self.change(tablet.id(), |slot| {
            slot.succeed(Phase::Closed { visible: tablet.visible(), floor: tablet.floor() });
            slot.retry_at = now + REPORT_CLOSED;
        });
    }

    /// Reports no longer speak of it.
    pub fn forget(&self, id: TabletId) {
        self.write().remove(&id);
    }

    /// It could not be closed; it stays unserved.
    pub fn close_failed(&self, tablet: Tablet, now: Duration) {
        self.change(tablet.id(), |slot| slot.fail(Phase::Closing { tablet, busy: false }, now));
    }

    /// A newer owner has fenced it off: it is not served from now on and convergence closes it.
    pub fn lost(&self, tablet: &Tablet) {
        self.change(tablet.id(), |slot| {
            if matches!(&slot.phase, Phase::Open { .. }) && slot.epoch == tablet.epoch() {
                slot.succeed(Phase::Closing { tablet: tablet.clone(), busy: false });
            }
        });
    }

    /// An open tablet is brought up to date by one job at a time.
    pub fn begin_update(&self, id: TabletId) -> Option<Tablet> {
        match &mut self.write().get_mut(&id)?.phase {
            Phase::Open { tablet, busy } if !*busy => {
                *busy = true;
                Some(tablet.clone())
            }
            _ => None,
        }
    }

    /// Whether an open tablet is asked for a flush that was not done yet.
    #[must_use]
    pub fn has_to_flush(&self, wanted: &Wanted) -> bool {
        self.read().get(&wanted.desired.tablet).is_some_and(|slot| slot.has_to_flush(wanted))
    }

    /// The job has ended; what it was told is remembered if all of it was done, and where the tablet can be cut.
    pub fn updated(&self, tablet: &Tablet, wanted: &Wanted, result: &Result<Option<SplitPoint>>, now: Duration) {
        self.change(tablet.id(), |slot| {
            let Phase::Open { busy, .. } = &mut slot.phase else { return };
            *busy = false;
            match result {
                Ok(found) => {
                    (slot.failures, slot.retry_at) = (0, Duration::ZERO);
                    (slot.asked, slot.found) = (wanted.desired.split, found.clone());
                    slot.flushed = slot.flushed.max(wanted.desired.flush);
                    slot.pin = wanted.desired.pin;
                    slot.dropped = wanted.desired.aborted.iter().copied().collect();
                }
                Err(e) if e.kind == ErrorKind::Fenced => slot.succeed(Phase::Closing { tablet: tablet.clone(), busy: false }),
                Err(_) => slot.back_off(now),
            }
        });
    }

    /// It could not be flushed before a close: it goes on being served until that is tried again.
    pub fn flush_failed(&self, tablet: &Tablet, now: Duration) {
        self.change(tablet.id(), |slot| {
            if let Phase::Open { busy, .. } = &mut slot.phase {
                *busy = false;
                slot.back_off(now);
            }
        });
    }

    fn change(&self, id: TabletId, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.write().get_mut(&id) {
            change(slot);
        }
        self.reportable.notify_one();
        self.work.notify_one();
    }
}

impl Slot {
    fn new(epoch: Epoch, phase: Phase, failures: u32) -> Self {
        Self {
            epoch,
            phase,
            failures,
            retry_at: Duration::ZERO,
            pin: None,
            dropped: HashSet::new(),
            asked: None,
            found: None,
            flushed: None,
            meter: Arc::default(),
        }
    }

    fn succeed(&mut self, phase: Phase) {
        (self.phase, self.failures, self.retry_at) = (phase, 0, Duration::ZERO);
    }

    fn fail(&mut self, phase: Phase, now: Duration) {
        self.phase = phase;
        self.back_off(now);
    }

    fn back_off(&mut self, now: Duration) {
        self.retry_at = now + (FIRST_BACKOFF * 2u32.saturating_pow(self.failures.min(10))).min(MAX_BACKOFF);
        self.failures += 1;
    }

    /// Whether `wanted` says something that the open tablet has not been told.
    fn is_behind(&self, tablet: &Tablet, wanted: &Wanted) -> bool {
        let desired = &wanted.desired;
        self.pin != desired.pin
            || self.asked != desired.split
            || self.has_to_flush(wanted)
            || desired.runs.last().is_some_and(|(_, version)| *version > tablet.visible())
            || desired.aborted.iter().any(|run| !self.dropped.contains(run))
            || wanted.table != tablet.table()
    }

    /// Whether it is asked for a flush that was not done yet.
    fn has_to_flush(&self, wanted: &Wanted) -> bool {
        wanted.desired.flush > self.flushed
    }

    fn report(&self, tablet: TabletId, now: Duration) -> TabletReport {
        let (state, open) = match &self.phase {
            Phase::Opening => (TabletState::Opening, None),
            Phase::Open { tablet, .. } | Phase::Closing { tablet, .. } => (TabletState::Open, Some(tablet)),
            Phase::Closed { .. } => (TabletState::Closed, None),
            Phase::Failed { reason } => (TabletState::Failed { reason: reason.clone() }, None),
        };
        let (visible_seq, floor) = match (&self.phase, open) {
            (Phase::Closed { visible, floor }, _) => (*visible, *floor),
            (_, Some(tablet)) => (tablet.visible(), tablet.floor()),
            _ => (Seq::ZERO, Seq::ZERO),
        };
        let bytes = open.map(Tablet::stats).map_or(0, |s| s.stored_bytes + s.memtable_bytes);
        let (load, split) = (self.meter.load(now), self.found.clone());
        TabletReport { tablet, epoch: self.epoch, state, visible_seq, floor, bytes, load, split, flushed: self.flushed }
    }
}
